"""What must stay secret is shown nowhere, and what is clean is not touched."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.agent_events import AgentEvent, AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.redaction import Redactor
from techrevati.runtime.sinks import JsonlEventSink, JsonlUsageSink, RingBufferEventSink

KEY = "sk-proj-abcdefghijklmnop0123456789"
PLAIN = Redactor(environment=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@dataclass
class Client:
    api_key: str


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "x-api-key",
        "X-Api-Key",
        "api_key",
        "apiKey",
        "openai_api_key",
        "OPENAI_API_KEY",
        "password",
        "client_secret",
        "Cookie",
        "Set-Cookie",
        "access_token",
        "token",
        "aws_secret_access_key",
        "Proxy-Authorization",
    ],
)
def test_values_under_the_name_of_a_secret_go(name: str) -> None:
    """Whatever they are, at any depth."""
    assert PLAIN.value({"headers": [{name: "hunter2", "Accept": "*/*"}]}) == {
        "headers": [{name: "[redacted]", "Accept": "*/*"}]
    }
    assert PLAIN.value({name: {"nested": 5}}) == {name: "[redacted]"}


@pytest.mark.parametrize(
    "data",
    [
        {"tool": "search", "input_tokens": 5, "max_tokens": 100, "total_tokens": 3, "tokens": 4},
        {"key": "step-7", "idempotency_key": "abc", "keys": ["a"], "secretary": "Ann", "has_token": True},
        {"token": None, "password": False},
        {"handoff": {"source_role": "a", "context": {"notes": ["x", ("y", {1, 2})]}}},
    ],
)
def test_clean_values_are_the_same_object(data: dict[str, object]) -> None:
    """No copy is made of what has nothing to hide; counts of tokens are no tokens."""
    assert PLAIN.value(data) is data
    assert PLAIN.mapping(data) is data


@given(JSON, st.sampled_from(["{}", "key {} here", "https://x/{}?a", "Bearer {}"]))
def test_a_key_is_found_anywhere(value: object, frame: str) -> None:
    """In any structure, as a key of a mapping too, nothing of it is left."""
    planted = {"a": [value, {"b": (frame.format(KEY), frame.format(KEY))}], frame.format(KEY): value}
    shown = repr(PLAIN.value(planted))
    assert KEY[3:] not in shown
    assert "abcdefghijklmnop" not in shown


@given(JSON)
def test_redacting_twice_changes_nothing_more(value: object) -> None:
    """It is idempotent."""
    once = PLAIN.value(value)
    assert PLAIN.value(once) == once


def test_exact_secrets_patterns_and_names_of_ones_own() -> None:
    """Secrets known by value, by pattern (``keep`` stays), by name."""
    redactor = Redactor(
        secrets=["tuesday", "tuesday at nine"],
        patterns=[r"ID-\d+", r"(?P<keep>pin )\d{4}"],
        keys=["Shoe-Size"],
    )
    assert redactor.text("tuesday at nine ID-77 pin 1234") == "[redacted] [redacted] pin [redacted]"
    assert redactor.value({"shoe_size": 43}) == {"shoe_size": "[redacted]"}
    assert "tuesday" not in repr(redactor)


def test_the_environment_holds_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of variables named like credentials, whatever they look like."""
    monkeypatch.setenv("ACME_API_KEY", "correct horse battery")
    monkeypatch.setenv("SHORT_TOKEN", "none")
    assert Redactor().text("said correct horse battery, none") == "said [redacted], none"
    assert "horse" in PLAIN.text("said correct horse battery")


def test_it_can_be_switched_off() -> None:
    """A redactor that knows nothing changes nothing."""
    off = Redactor(credentials=False, environment=False)
    data = {"api_key": KEY, "note": f"Bearer {KEY}"}
    assert off.value(data) is data


def test_objects_stay_unless_they_show_a_secret() -> None:
    """A late result in an event is still the result."""
    clean, leaky = object(), Client(KEY)
    assert PLAIN.value([clean])[0] is clean  # type: ignore[index]
    assert KEY not in repr(PLAIN.value([leaky]))

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Broken" in str(PLAIN.value(Broken()))


def test_everything_is_bounded() -> None:
    """Long texts, deep and wide structures, and structures that contain themselves end."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert "nested too deeply" in repr(PLAIN.value(loop))
    assert len(PLAIN.value("x" * 1_000_000)) == 50_000  # type: ignore[arg-type]
    assert len(PLAIN.value(list(range(100_000)))) <= 10_001  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"patterns": "sk-"}, TypeError),
        ({"patterns": ["("]}, ValueError),
        ({"patterns": ["x*"]}, ValueError),
        ({"patterns": [5]}, TypeError),
        ({"keys": ["  "]}, ValueError),
        ({"secrets": ["abc"]}, ValueError),
        ({"secrets": [5]}, TypeError),
        ({"max_length": 5}, ValueError),
    ],
)
def test_wrong_arguments_are_refused_by_name(wrong: dict[str, Any], kind: type[Exception]) -> None:
    """At construction, without showing a secret."""
    with pytest.raises(kind, match=next(iter(wrong))) as caught:
        Redactor(**wrong)
    assert "abc" not in str(caught.value)


def test_sinks_write_nothing_secret(tmp_path: Path) -> None:
    """Events that never saw a session, too; the event itself stays as it was, but for its repr."""
    event = AgentEvent(
        Name.AGENT_FAILED,
        Status.FAILED,
        detail=f"no {KEY}",
        data={"Authorization": "hunter2", "at": Client(KEY)},
    )
    path = tmp_path / "events.jsonl"
    with JsonlEventSink(path) as sink, JsonlUsageSink(tmp_path / "usage.jsonl") as usage:
        sink.emit(event)
        from techrevati.runtime.usage import UsageSnapshot

        usage.record(f"model-{KEY}", UsageSnapshot(), 0.0)
    written = path.read_text() + (tmp_path / "usage.jsonl").read_text() + repr(event)
    assert "abcdefgh" not in written
    assert "hunter2" not in path.read_text()
    assert json.loads(path.read_text())["detail"] == "no [redacted]"


def test_a_session_tells_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Events, worker, summary, logs and errors of a run that is full of secrets."""
    ring = RingBufferEventSink()

    class Leaky(RingBufferEventSink):
        def emit(self, event: AgentEvent) -> None:
            ring.emit(event)
            raise RuntimeError(f"sink with {KEY} and open sesame")

    mine = Redactor(secrets=["open sesame"])
    orchestrator = Orchestrator("writer", "draft", event_sink=Leaky(), redactor=mine)

    def fail() -> None:
        raise RuntimeError(f"Authorization: Bearer {KEY}; open sesame")

    session = orchestrator.session()
    with caplog.at_level(logging.WARNING), pytest.raises(RuntimeError), session:
        session.emit(
            Name.AGENT_READY, Status.READY, None, "open sesame", {"x-api-key": "hunter2", "a": [KEY]}
        )
        with pytest.raises(RuntimeError):
            session.run_tool("fetch", fail)
        session.run_turn(fail)
    shown = repr(ring.events) + repr(session.summary()) + caplog.text + repr(session.worker.to_dict())
    shown += "".join(event.to_json() for event in session.events)
    assert len(ring.events) > 5
    for secret in ("abcdefgh", "open sesame", "hunter2"):
        assert secret not in shown


def test_logs_of_listeners_and_errors_of_arguments_show_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What a callback raises is logged without its secrets; a key in the wrong place is not repeated."""

    def listen(*_: object) -> None:
        raise RuntimeError(f"with {KEY}")

    with caplog.at_level(logging.WARNING):
        CircuitBreaker("x", failure_threshold=1, on_state_change=listen).record_failure()
    assert "raised RuntimeError" in caplog.text
    assert "abcdefgh" not in caplog.text
    with pytest.raises(TypeError) as caught:
        CircuitBreaker("x", failure_threshold=KEY)  # type: ignore[arg-type]
    assert "abcdefgh" not in str(caught.value)
