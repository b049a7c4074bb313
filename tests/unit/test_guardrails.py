"""Guardrails: in order, the first violation ends it, and doubt never lets anything through."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.guardrails import (
    AllowAllGuardrail,
    Guardrail,
    GuardrailOutcome,
    GuardrailViolatedError,
    chain,
    run_post_checks,
    run_pre_checks,
)


class Scripted:
    """Answers what it is told, and remembers that it was asked."""

    def __init__(self, name: str, answer: Any) -> None:
        self.name = name
        self.answer = answer
        self.asked = 0

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        return self.check_pre(role=role, tool=tool)


@given(st.lists(st.booleans(), max_size=8), st.booleans())
def test_the_first_violation_ends_it(answers: list[bool], post: bool) -> None:
    """Everyone up to the first refusal is asked once, nobody behind it."""
    chain = [Scripted(f"g{n}", GuardrailOutcome(answer, f"r{n}")) for n, answer in enumerate(answers)]
    first = answers.index(False) if False in answers else None

    def check() -> None:
        if post:
            run_post_checks(chain, "value", role="r", tool="t")
        else:
            run_pre_checks(chain, role="r", tool="t")

    if first is None:
        check()
    else:
        with pytest.raises(GuardrailViolatedError) as caught:
            check()
        error = caught.value
        assert (error.guardrail, error.outcome.reason) == (f"g{first}", f"r{first}")
        assert (error.role, error.tool, error.stage) == ("r", "t", "post" if post else "pre")
    reached = len(answers) if first is None else first + 1
    assert [guardrail.asked for guardrail in chain] == [1] * reached + [0] * (len(answers) - reached)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "no",
        0,
        RuntimeError("guardrail broke"),
        SimpleNamespace(allowed="no"),
        SimpleNamespace(allowed=1),
        SimpleNamespace(allowed=True, rewritten="a rewrite that would get lost"),
        GuardrailOutcome("no"),  # type: ignore[arg-type]
        Mock(),
    ],
)
def test_a_broken_guardrail_lets_nothing_through(answer: object) -> None:
    """What is no outcome, and what raises, stops the call."""
    broken, late = Scripted("broken", answer), Scripted("late", GuardrailOutcome(True))
    with pytest.raises(Exception):  # noqa: B017  # whatever it is, it is not silence
        run_pre_checks([broken, late], role="r", tool="t")
    with pytest.raises(Exception):  # noqa: B017
        run_post_checks([broken, late], None, role="r", tool="t")
    assert late.asked == 0


@pytest.mark.parametrize("on_error", ["block", "allow"])
def test_async_guardrails_in_a_sync_session_have_no_say(
    on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them counts as one that failed, and no coroutine is left (warnings are errors here)."""

    class Later(Scripted):
        async def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:  # type: ignore[override]
            return GuardrailOutcome(False)

    guarded = chain.GuardrailChain([Later("one", None), Later("two", None)], on_error=on_error)
    with caplog.at_level(logging.WARNING):
        if on_error == "allow":
            assert guarded.before({"a": 1}, role="r", tool="t") == {"a": 1}
            assert len(caplog.records) == 2
        else:
            with pytest.raises(GuardrailViolatedError, match="TypeError"):
                guarded.before({"a": 1}, role="r", tool="t")


def test_a_violation_without_a_reason_still_explains_itself() -> None:
    """Guardrail, stage and tool are in the text."""
    error = GuardrailViolatedError(
        GuardrailOutcome(False), guardrail="size", role="r", tool="bash", stage="pre"
    )
    for part in ("size", "bash", "pre"):
        assert part in str(error)


def test_checks_take_any_iterable() -> None:
    """A generator is asked once, in order."""
    asked: list[str] = []

    def chain() -> Any:
        for name in ("a", "b"):
            asked.append(name)
            yield AllowAllGuardrail(name)

    run_pre_checks(chain(), role="r", tool="t")
    assert asked == ["a", "b"]


@pytest.mark.parametrize(("name", "kind"), [("", ValueError), (" ", ValueError), (None, TypeError)])
def test_a_guardrail_needs_a_name(name: Any, kind: type[Exception]) -> None:
    """An empty one is refused at once."""
    with pytest.raises(kind, match="name"):
        AllowAllGuardrail(name)


def test_outcomes_are_values() -> None:
    """Equal when they say the same, and immutable."""
    assert GuardrailOutcome(False, "x") == GuardrailOutcome(False, "x")
    with pytest.raises(AttributeError):
        GuardrailOutcome(False).allowed = True  # type: ignore[misc]


def test_half_a_guardrail_is_none() -> None:
    """The protocol asks for a name and both checks."""

    class Half:
        name = "half"

        def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
            return GuardrailOutcome(True)

    assert not isinstance(Half(), Guardrail)
