"""Handoffs: immutable records that own what they were given."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from techrevati.runtime.handoffs import Handoff


def test_the_context_is_copied() -> None:
    """Neither the caller's dict nor the one handed out by ``to_dict`` changes it."""
    context: dict[str, object] = {"pages": 3}
    handoff = Handoff("writer", "editor", "draft", "done", context)
    context["pages"] = 4
    wire = handoff.to_dict()["context"]
    assert isinstance(wire, dict)
    wire["pages"] = 5
    assert handoff.context == {"pages": 3}


def test_two_handoffs_share_no_default() -> None:
    """Each has an empty context of its own."""
    first, second = (Handoff("writer", "editor", "draft", "done") for _ in range(2))
    assert first.context == second.context == {}
    assert first.context is not second.context


@pytest.mark.parametrize("name", ["source_role", "target_role"])
@pytest.mark.parametrize(("value", "kind"), [("", ValueError), ("  ", ValueError), (None, TypeError)])
def test_roles_are_named(name: str, value: Any, kind: type[Exception]) -> None:
    """An empty one is refused, with the argument's name and value."""
    facts: dict[str, Any] = {"source_role": "a", "target_role": "b", "phase": "p", "reason": "r", name: value}
    with pytest.raises(kind, match=name) as caught:
        Handoff(**facts)
    assert repr(value) in str(caught.value)


def test_its_time_is_now_in_utc() -> None:
    """ISO-8601 with an offset of zero."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    created = datetime.fromisoformat(Handoff("a", "b", "p", "r").created_at)
    assert before <= created <= datetime.now(UTC) + timedelta(milliseconds=1)
    assert created.utcoffset() == timedelta(0)


def test_it_travels() -> None:
    """As JSON values and as a pickle."""
    handoff = Handoff("a", "b", "p", "r", {"n": [1, 2]}, "project", "worker")
    assert json.loads(json.dumps(handoff.to_dict())) == handoff.to_dict()
    assert pickle.loads(pickle.dumps(handoff)) == handoff  # noqa: S301
    assert Handoff(**handoff.to_dict()) == handoff  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["source_role", "context", "created_at"])
def test_it_is_immutable(field: str) -> None:
    """No field can be set."""
    handoff = Handoff("a", "b", "p", "r")
    with pytest.raises(AttributeError):
        setattr(handoff, field, "x")
