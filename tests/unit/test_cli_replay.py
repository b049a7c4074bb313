"""``techrevati replay``: what a run did, from a journal or a recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from techrevati.runtime.cli import main
from techrevati.runtime.journal import Journal, Recorder, RunJournal
from techrevati.runtime.stores import SqliteStore
from techrevati.runtime.testing import FakeClock


def refused() -> None:
    """A step that fails."""
    raise ConnectionError("no route")


def interrupted() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def live(run: RunJournal, clock: FakeClock) -> None:
    """A turn, a failure, and a step that is interrupted."""

    def slow() -> str:
        clock.advance(1.5)
        return "x" * 200

    def measure(_: str) -> tuple[dict[str, object], str]:
        return {"input_tokens": 1000, "output_tokens": 20}, "2700000001/2"

    run.step("turn", slow, kind="turn", name="gpt\x1b[31m", measure=measure)
    with pytest.raises(ConnectionError):
        run.step("fails", refused)
    run.step("pay", interrupted)


def test_a_run_is_printed_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Intent and outcome, usage and cost; the same from a recording; nothing raw reaches the terminal."""
    clock, file, recording = FakeClock(1000.0), str(tmp_path / "one.db"), str(tmp_path / "run.jsonl")
    with SqliteStore(file) as store:
        for journal in (Journal(store, clock=clock), Recorder(recording, clock=clock)):
            with pytest.raises(KeyboardInterrupt), journal.open("letter") as run:
                live(run, clock)
    printed = []
    for arguments in (["letter", file], [file], [recording], ["letter", recording]):
        assert main(["replay", *arguments]) == 0
        printed.append(capsys.readouterr().out)
    assert printed == [printed[0]] * 4
    lines = printed[0].splitlines()
    assert lines[0].startswith("   1  turn turn gpt")
    assert 'done in 1.500 s: "xxx' in lines[0]
    assert lines[0].endswith("…  [1000 in, 20 out, $0.00135]")
    assert "\x1b" not in printed[0]
    assert lines[1] == "   2  step fails → failed in 0.000 s: ConnectionError: no route"
    assert lines[2:] == [
        "   3  step pay → in doubt: it never ended",
        "letter: interrupted, 3 steps, 1 in doubt, $0.00135",
    ]


def test_a_run_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every field; a step that was tried again is there twice."""
    file = str(tmp_path / "one.db")
    with SqliteStore(file) as store:
        journal = Journal(store)
        with pytest.raises(KeyboardInterrupt), journal.open("letter") as run:
            run.step("pay", interrupted)
        journal.resolve("letter", "pay", happened=False)
        with journal.open("letter") as run:
            run.step("pay", lambda: {"paid": 5})
    assert main(["replay", "letter", file, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run_id"], told["state"], told["spent_usd"]) == ("letter", "completed", "0.00")
    assert [step["state"] for step in told["steps"]] == ["not_done", "done"]
    assert json.loads(told["steps"][1]["result"]) == {"paid": 5}


def test_what_cannot_be_printed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No such file or run, two runs and none named, something else: status 2 and one line."""
    file, text, empty = tmp_path / "two.db", tmp_path / "text", tmp_path / "none.db"
    text.write_text("hello\n")
    SqliteStore(empty).close()
    with SqliteStore(file) as store:
        for name in ("a", "b"):
            Journal(store).open(name).close()
        run = Journal(store).open("c")
        for arguments, told in (
            (["x", str(file)], "no such run"),
            ([str(file)], "several runs"),
            ([str(empty)], "no run"),
            ([str(tmp_path / "nix")], "no file"),
            ([str(text)], "no recording"),
            (["c", str(file)], "under way"),
        ):
            assert main(["replay", *arguments]) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert told in error
        run.close()
