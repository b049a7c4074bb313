"""``techrevati runs`` and ``techrevati approvals``."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path

import pytest

from techrevati.runtime.approvals import Approvals
from techrevati.runtime.cli import main
from techrevati.runtime.journal import Journal
from techrevati.runtime.stores import SqliteStore
from techrevati.runtime.stores.sqlite import SCHEMA


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
    assert capsys.readouterr() == ("", f"techrevati runs: {tmp_path / 'one.db'} holds no run\n")
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


@pytest.mark.parametrize("command", [["runs"], ["approvals", "list"], ["replay"]], ids=" ".join)
def test_a_foreign_file_is_refused_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Another program's database, an empty file and a text: no tables are made in any of them."""
    foreign = tmp_path / "foreign.db"
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("nothing\n", encoding="utf-8")
    for name in ("foreign.db", "empty.db", "text.db"):
        before = (tmp_path / name).read_bytes()
        assert main([*command, str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert name in said.err
        assert said.err.count("\n") == 1
        assert said.out == ""
        assert (tmp_path / name).read_bytes() == before


def test_a_store_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what a script reads."""
    SqliteStore(tmp_path / "s.db").close()
    assert main(["runs", str(tmp_path / "s.db")]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "s.db holds no run" in said.err
    assert main(["runs", "--json", str(tmp_path / "s.db")]) == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_a_store_of_an_older_version_is_brought_forward(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that looks at its runs works."""
    older = sqlite3.connect(tmp_path / "old.db")
    for statement in (
        *SCHEMA[0],
        "CREATE TABLE techrevati_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL)",
        "INSERT INTO techrevati_schema VALUES ('store', 1)",
    ):
        older.execute(statement)
    ended = '{"owner":null,"until":0,"state":"completed"}'
    older.execute("INSERT INTO store_record VALUES ('journal/run/r', ?, 1, NULL)", (ended.encode(),))
    older.commit()
    older.close()
    assert main(["runs", str(tmp_path / "old.db")]) == 0
    assert capsys.readouterr().out == "r  completed  0 steps  $0.000000\n"


def test_what_a_command_does_not_know_points_to_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    """And not to the list of commands."""
    assert main(["spend", "FILE"]) == 2
    said = capsys.readouterr().err
    assert said == "techrevati spend: unrecognized arguments: FILE (see techrevati spend --help)\n"
