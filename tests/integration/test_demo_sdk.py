"""``techrevati demo --sdk openai|anthropic``: the same agent through the real SDK and the guard."""

from __future__ import annotations

import argparse
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.cli import demo
from techrevati.runtime.cli.sdk_client import anthropic_messages
from techrevati.runtime.integrations import coverage
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.testing import FakeClock

SDKS = pytest.mark.parametrize("sdk", ["openai", "anthropic"])


def run(folder: Path, *arguments: str) -> int:
    """The demo's status."""
    parser = argparse.ArgumentParser()
    demo.add_to(parser.add_subparsers())
    clock = FakeClock()
    given = parser.parse_args(["demo", *arguments, "--events", str(folder / "events.jsonl")])
    return demo.run(given, sleep=clock.sleep, clock=clock)


@SDKS
def test_the_question_is_answered_and_on_the_books(
    sdk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every fault of the script is met; every request is a record that the guard wrote, with its role."""
    coverage(reset=True)
    assert run(tmp_path, "--sdk", sdk) == 0
    out = capsys.readouterr().out
    assert f"through the SDK of {sdk}, guarded" in out
    assert "Answered from the folder" in out
    assert "context cut from about" in out
    assert "blocked     delete_file" in out
    told = re.search(r"The endpoint's own bill: (\d+) requests", " ".join(out.split()))
    assert told is not None
    rows = coverage(reset=True)
    assert {row.treatment for row in rows} == {"guarded"}
    assert sum(row.requests for row in rows) == int(told[1])
    with SpendLedger(tmp_path / "spend.db", read_only=True) as ledger:
        records = list(ledger.records())
    assert len(records) == int(told[1])
    assert {record.user for record in records} == {"researcher", "writer", "editor", "abridger"}
    assert sum(record.certainty != "measured" for record in records) == 1  # the connection that was reset
    assert sum((record.cost or Decimal(0) for record in records), Decimal(0)) > 0


@SDKS
def test_an_sdk_that_is_not_installed_is_named(
    sdk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and what to install."""
    monkeypatch.setitem(sys.modules, sdk, None)
    assert run(tmp_path, "--sdk", sdk) == 2
    said = capsys.readouterr()
    assert said.err == (
        f"techrevati demo: --sdk {sdk} needs the SDK of that name, which is not installed here: "
        f"pip install {sdk}\n"
    )


@SDKS
def test_a_key_that_is_refused_is_one_line(
    sdk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own key variable is read; what the endpoint says is shown, the key is not."""
    for name in (*demo.KEY_VARIABLES, *demo.ANTHROPIC_KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    key = "sk-wrong-0123456789abcdef"
    monkeypatch.setenv(f"{sdk.upper()}_API_KEY", key)
    with ChaosServer([Fault(FaultKind.INVALID_KEY)] * 9) as server:
        assert run(tmp_path, "--sdk", sdk, "--base-url", server.base_url, "--model", "any-model") == 2
    said = capsys.readouterr()
    assert "refused the key" in said.err
    assert "Traceback" not in said.err
    events = (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    assert key not in said.out + said.err + events


def test_a_conversation_becomes_anthropic_messages() -> None:
    """The system prompt apart, results of parallel calls in one turn of the user."""
    call = {"id": "1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}
    system, turns = anthropic_messages(
        [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Read."},
            {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "2"}]},
            {"role": "tool", "tool_call_id": "1", "content": "A"},
            {"role": "tool", "tool_call_id": "2", "content": "B"},
        ]
    )
    assert system == "Be short."
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == [
        {"type": "tool_use", "id": "1", "name": "read", "input": {"path": "a"}},
        {"type": "tool_use", "id": "2", "name": "read", "input": {"path": "a"}},
    ]
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "content": "A"},
        {"type": "tool_result", "tool_use_id": "2", "content": "B"},
    ]
