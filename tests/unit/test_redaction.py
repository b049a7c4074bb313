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


UNSHAPED = "q7Wz9hhT2LmmP4xx"
ODD_PLACES: dict[str, object] = {
    "header pair": [("x-api-key", UNSHAPED)],
    "header pair of bytes": [(b"x-api-key", UNSHAPED.encode())],
    "header pair as a list": [["x-api-key", UNSHAPED]],
    "cookie pair": [("cookie", f"sid={UNSHAPED}")],
    "name as bytes": {b"x-api-key": UNSHAPED.encode()},
    "key that is a tuple": {(KEY, 1): 1},
    "frozen set of tuples": frozenset({(KEY, 1)}),
    "numbered name": {"api_key_2": UNSHAPED},
    "JSON in a text": json.dumps({"api_key": UNSHAPED}),
    "JSON in JSON": json.dumps(json.dumps({"api_key": UNSHAPED})),
    "JSON in JSON in JSON": json.dumps(json.dumps(json.dumps({"api_key": UNSHAPED}))),
    "bytes": f"authorization: Bearer {UNSHAPED}".encode(),
    "view of bytes": {"body": memoryview(f"authorization: Bearer {UNSHAPED}".encode())},
    "header pair of changeable bytes": [(b"x-api-key", bytearray(UNSHAPED.encode()))],
    "another scheme": f"Authorization: ApiKey {UNSHAPED}",
    "a scheme with parameters": f'Authorization: Digest username="u", response="{UNSHAPED}"',
    "signed": f"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=c, Signature={UNSHAPED}",
    "repr of a token": f"Client(token='{UNSHAPED}')",
    "user of a URL": f"https://{UNSHAPED}@git.example/x",
    "password of a URL without a user": f"redis://:{UNSHAPED}@h:6379/0",
    "quoted, with blanks": f"password='my {UNSHAPED}'",
    "private key in JSON": json.dumps(
        {"private_key": f"-----BEGIN PRIVATE KEY-----\n{UNSHAPED}\n-----END PRIVATE KEY-----\n"}
    ),
    "encrypted private key": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n"
    f"{UNSHAPED}\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("place", ODD_PLACES)
def test_secrets_in_odd_places_go(place: str) -> None:
    """Pairs, bytes, JSON in JSON, other schemes than Bearer, whole private keys."""
    shown = repr(PLAIN.value(ODD_PLACES[place]))
    assert UNSHAPED not in shown
    assert KEY not in shown
    assert "[redacted]" in shown


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("github_pat_", "aB3x" * 20),
        ("xapp-1-", "A0123456-" + "ab3f" * 16),
        ("whsec_", "aB3x" * 8),
        ("pypi-", "AgEIcHlwaS5vcmc" + "aB3x" * 20),
        ("lsv2_pt_", "ab3f" * 8 + "_ab3fab3f"),
        ("tvly-", "aB3x" * 8),
        ("tvly-dev-", "aB3x" * 8),
        ("GOCSPX-", "aB3x" * 7),
        ("dop_v1_", "ab3f" * 16),
        ("hvs.", "aB3x" * 24),
        ("lin_api_", "aB3x" * 10),
        ("shpat_", "ab3f" * 8),
        ("AGE-SECRET-KEY-1", "QPZRY9X8" * 7),
        ("csk-", "aB3x" * 12),
    ],
    ids=lambda part: part if len(part) < 18 else "",
)
def test_keys_of_services_go_without_a_name_beside_them(head: str, tail: str) -> None:
    """By their own shape, from the redactor and as a guardrail sees them."""
    assert PLAIN.text(f"see {head}{tail} there") == "see [redacted] there"


@pytest.mark.parametrize("head", ["authorization:", "secret", "secret=", 'secret="', "cookie:", "token"])
@pytest.mark.parametrize("filler", [" ", "\\"], ids=["blanks", "backslashes"])
def test_no_text_makes_a_pattern_slow(head: str, filler: str) -> None:
    """Where a pattern was tried again from each blank, a test would not end: minutes, not milliseconds."""
    text = head + filler * 90_000
    assert len(PLAIN.value({"text": text})["text"]) <= 50_000  # type: ignore[index]


def test_views_that_show_nothing_stay() -> None:
    """A clean one comes back itself, one that was released is not looked into, and names stay readable."""
    clean, released = memoryview(b"clean"), memoryview(b"gone")
    released.release()
    assert PLAIN.value(clean) is clean
    assert PLAIN.value(released) == "[not shown: memoryview]"
    assert PLAIN.value("npm_config_registry SG.short.name") == "npm_config_registry SG.short.name"


def test_pairs_of_names_stay() -> None:
    """Two names beside each other are no header."""
    pairs = {"required": ["password", "email"], "columns": ("token", "word"), "sum": [("tokens", "17")]}
    assert PLAIN.value(pairs) is pairs


def test_a_quoted_word_under_the_name_of_a_secret_goes() -> None:
    """As a repr or JSON shows it; prose about the name stays."""
    assert PLAIN.text("Client(password='swordfish')") == "Client(password='[redacted]')"
    assert PLAIN.text("invalid_api_key: Incorrect API key provided") == (
        "invalid_api_key: Incorrect API key provided"
    )


def test_a_secret_at_the_cut_is_not_shown_in_part() -> None:
    """What is in front of it may shrink so much that the cut comes into view."""
    token = f"eyJ{'a' * 3_960}.eyJ{'b' * 20}."  # becomes a few characters
    shown = Redactor(secrets=[UNSHAPED], environment=False).text(token + " " + UNSHAPED * 9)
    assert UNSHAPED[:6] not in shown


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


@pytest.mark.parametrize("name", ["X-Amz-Signature", "X-Goog-Signature", "sig", "signature"])
def test_signatures_in_urls_go(name: str) -> None:
    """Whoever has a signed URL has what it leads to; the rest of the URL stays."""
    shown = PLAIN.text(f"GET https://files.example/a?{name}=0f1e2d3c4b5a&x=1")
    assert shown == f"GET https://files.example/a?{name}=[redacted]&x=1"
