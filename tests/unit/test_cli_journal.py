"""``techrevati runs`` and ``techrevati approvals``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from techrevati.runtime.approvals import Approvals
from techrevati.runtime.cli import main
from techrevati.runtime.journal import Journal
from techrevati.runtime.stores import SqliteStore


def interrupted() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def test_runs_and_approvals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs show state and doubt; a pending approval is granted once and then denied to latecomers."""
    file = tmp_path / "one.db"
    with SqliteStore(file) as store:
        with pytest.raises(KeyboardInterrupt), Journal(store).open("letter") as run:
            run.step("send", interrupted)
        name = Approvals(store).request("send", {"to": "Ann"})
    assert main(["runs", str(file)]) == 0
    assert capsys.readouterr().out == "letter  interrupted  1 steps  $0.000000  in doubt: send\n"
    assert main(["approvals", "list", str(file)]) == 0
    assert f"{name}  pending  send" in capsys.readouterr().out
    assert main(["approvals", "grant", str(file), name, "--by", "Bea"]) == 0
    assert main(["approvals", "deny", str(file), name, "--by", "Cy"]) == 0
    assert main(["approvals", "grant", str(file), name]) == 1
    assert main(["approvals", "grant", str(file)]) == 2
    assert main(["runs", str(tmp_path / "none.db")]) == 2


def test_a_file_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Silence would look like a file of no use; as JSON it is an empty array."""
    with SqliteStore(tmp_path / "one.db") as store:
        Approvals(store).request("send", {})
    assert main(["runs", str(tmp_path / "one.db")]) == 0
    assert capsys.readouterr() == ("", "techrevati runs: no runs are in this file\n")
    assert main(["runs", str(tmp_path / "one.db"), "--json"]) == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_an_approval_that_expired_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody who lists it takes it for one that still can be granted."""
    file = tmp_path / "one.db"
    with SqliteStore(file) as store:
        asked = Approvals(store, clock=lambda: time.time() - 7200)
        names = [asked.request("send", {"to": to}) for to in ("Ann", "Bob", "Cy")]
        asked.grant(names[1], "Bea")
        asked.deny(names[2], "Bea")
    assert main(["approvals", "list", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {name: line.split()[1] for name in names for line in lines if line.startswith(name)}
    assert said == {names[0]: "expired", names[1]: "expired", names[2]: "denied"}
    assert main(["approvals", "grant", str(file), names[0]]) == 1
    assert "expired" in capsys.readouterr().err


def test_runs_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Money is exact text."""
    file = tmp_path / "one.db"
    with SqliteStore(file) as store, Journal(store).open("letter") as run:
        run.step("ask", lambda: "yes", measure=lambda _: ({}, "1234567/2"))
    assert main(["runs", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "run_id": "letter",
            "state": "completed",
            "steps": 1,
            "spent_usd": "0.0000006172835",
            "in_doubt": [],
        }
    ]


def test_runs_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that waits goes on with the answer; one that does not wait has nothing to answer."""
    file = tmp_path / "one.db"
    with SqliteStore(file) as store:
        with pytest.raises(KeyboardInterrupt), Journal(store).open("letter") as run:
            run.step("which?", interrupted, kind="input")
        assert Journal(store).run("letter").state == "waiting"
    assert main(["runs", "answer", str(file), "letter", "the blue one", "--key", "other"]) == 1
    assert "got key='other'" in capsys.readouterr().err
    assert main(["runs", "answer", str(file), "letter", "the blue one"]) == 0
    assert main(["runs", "answer", str(file), "letter", "the red one"]) == 1
    with SqliteStore(file) as store, Journal(store).open("letter") as run:
        assert run.step("which?", interrupted, kind="input") == "the blue one"
    assert main(["runs", "answer", str(file), "nobody", "x"]) == 1
    assert main(["runs", "answer", str(file), "letter"]) == 2
    assert main(["runs", str(file), "letter"]) == 2
    assert main(["runs", "answer", str(tmp_path / "none.db"), "letter", "x"]) == 2
