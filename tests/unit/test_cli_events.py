"""``techrevati events``: follows, filters and counts; torn lines and rotation are no trouble."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.cli import events, main
from techrevati.runtime.cli.line_tail import LineTail
from techrevati.runtime.sinks import JsonlEventSink


def emit(file: Path, *roles: str, name: AgentEventName = AgentEventName.AGENT_STARTED) -> None:
    """Append events."""
    with JsonlEventSink(file) as sink:
        for role in roles:
            sink.emit(
                AgentEvent(name, AgentEventStatus.RUNNING, role=role, detail="d\x1b[31m", data={"n": 1})
            )


def roles(text: str) -> list[str]:
    """The second column."""
    return [line.split("  ")[1] for line in text.splitlines()]


def test_the_newest_events_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So many of those that are asked for, or all; escape codes stay out of the terminal."""
    file = tmp_path / "events.jsonl"
    emit(file, *(f"r{n}" for n in range(30)))
    emit(file, "ann", "bob", name=AgentEventName.RECOVERY_ATTEMPTED)
    for arguments, expected in (
        (["-n", "3"], ["r29", "ann", "bob"]),
        (["--name", "agent.recovery.*"], ["ann", "bob"]),
        (["--name", "agent.recovery.*", "--role", "bob"], ["bob"]),
        (["--role", "ann", "--role", "r1"], ["r1", "ann"]),
        (["--name", "nothing"], []),
        ([], [*(f"r{n}" for n in range(12, 30)), "ann", "bob"]),
        (["-n", "0"], [*(f"r{n}" for n in range(30)), "ann", "bob"]),
    ):
        assert main(["events", str(file), *arguments]) == 0
        out = capsys.readouterr().out
        assert roles(out) == expected
        assert "\x1b" not in out
    assert main(["events", str(file), "--role", "bob", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["role"] == "bob"


def test_events_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each name; what is no event is said on stderr; so many names at most."""
    file = tmp_path / "events.jsonl"
    emit(file, "a", "b")
    emit(file, "a", name=AgentEventName.RECOVERY_ATTEMPTED)
    with file.open("a") as opened:
        opened.write('no json\n[1]\n{"event": "torn')
    assert main(["events", str(file), "--count"]) == 0
    told = capsys.readouterr()
    assert told.out == "2  agent.started\n1  agent.recovery.attempted\n3 events\n"
    assert "3 lines are no events" in told.err
    with file.open("w") as opened:
        opened.writelines(json.dumps({"event": f"e{n}"}) + "\n" for n in range(1500))
    assert main(["events", str(file), "--count"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("500  (others)\n")
    assert len(out.splitlines()) == 1002


def test_following_sees_what_comes_and_survives_a_rotation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a line waits for its end; the rest of a file that was renamed away is not lost; Ctrl-C ends it."""
    file = tmp_path / "events.jsonl"
    emit(file, "one")
    steps = iter(range(10))

    def sleep(_: float) -> None:
        step = next(steps)
        if step == 0:
            with file.open("a") as opened:
                opened.write('{"event": "x", "emitted_at": "t", "role": "tw')
        elif step == 1:
            with file.open("a") as opened:
                opened.write('o"}\n')
        elif step == 2:
            emit(file, "three")
            file.rename(tmp_path / "events.jsonl.1")
        elif step == 3:
            emit(tmp_path / "events.jsonl.1", "four")  # the writer did not notice yet
            emit(file, "five")
        elif step == 4:
            file.write_text("")
        elif step == 5:
            emit(file, "six")
        else:
            raise KeyboardInterrupt

    parser = argparse.ArgumentParser()
    events.add_to(parser.add_subparsers())
    options = parser.parse_args(["events", str(file), "--follow"])
    with pytest.raises(KeyboardInterrupt):
        events.run(options, sleep=sleep)
    assert roles(capsys.readouterr().out) == ["one", "two", "three", "four", "five", "six"]


def test_nothing_is_lost_between_two_looks(tmp_path: Path) -> None:
    """What is written to the old file after its last read, and before the new one is seen, comes, too."""
    path, away = tmp_path / "file", tmp_path / "file.1"
    path.write_text("one\n")
    tail = LineTail(str(path))
    look = tail._following

    def rotated() -> object:
        if path.exists() and not away.exists():
            path.rename(away)
            with away.open("a") as file:
                file.write("two\n")
            path.write_text("three\n")
        return look()

    tail._following = rotated  # type: ignore[assignment, method-assign]
    assert list(tail.lines()) == [b"one", b"two", b"three"]
    tail.close()


def test_there_must_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and one line."""
    assert main(["events", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["events", str(tmp_path / "none"), "-n", "-1"]) == 2


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"\r", b"")), max_size=20))
def test_lines_come_whole_whatever_the_pieces(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    """However a file grows, each complete line comes once, and the too long ones are counted."""
    path = tmp_path_factory.mktemp("tail") / "file"
    path.touch()
    tail, seen = LineTail(str(path), longest=8), []
    with path.open("ab", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            seen += list(tail.lines())
            assert len(tail.rest) <= 8
    tail.close()
    whole = b"".join(pieces).split(b"\n")[:-1]
    assert seen == [line for line in whole if line.strip() and len(line) <= 8]
    assert tail.skipped == sum(len(line) > 8 for line in whole)
