"""The demo as a program of its own: pipes, terminals, Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.cli import demo

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "techrevati.runtime"]
BOUND_S = 60.0


def surroundings(**more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in (*demo.KEY_VARIABLES, "NO_COLOR")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


@pytest.mark.parametrize("folder", [None, "own"])
def test_two_folders_are_answered(folder: str | None, tmp_path: Path) -> None:
    """``python -m techrevati.runtime demo`` on the sample and on a folder of the user's; ``events.jsonl``
    appears where it was started."""
    arguments: list[str] = []
    if folder:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tides.md").write_text("The tide turns at noon.", encoding="utf-8")
        arguments = [folder, "--question", "When does the tide turn?"]
    done = subprocess.run(
        [*COMMAND, "demo", *arguments],
        cwd=tmp_path,
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Answered from the folder" in done.stdout
    assert "\x1b" not in done.stdout
    assert (tmp_path / "events.jsonl").stat().st_size


def test_no_command_prints_help(tmp_path: Path) -> None:
    """``python -m techrevati.runtime`` explains itself."""
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=surroundings(), capture_output=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0
    assert b"demo" in done.stdout


def test_a_missing_folder_is_2_without_a_traceback(tmp_path: Path) -> None:
    """One line on stderr, nothing on stdout."""
    command = [*COMMAND, "demo", "nowhere"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "techrevati demo: there is no folder 'nowhere'\n"


def on_terminal(tmp_path: Path, **more: str) -> bytes:
    """What the demo writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "demo"], cwd=tmp_path, env=surroundings(COLUMNS="70", **more), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait(BOUND_S) == 0
    return seen


def test_a_terminal_has_colour_and_its_width_is_kept(tmp_path: Path) -> None:
    """Colour on a terminal; with ``NO_COLOR`` none, and no line is wider than the terminal."""
    assert b"\x1b[" in on_terminal(tmp_path)
    plain = on_terminal(tmp_path, NO_COLOR="1").decode()
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 70
    assert "Answered from the folder" in plain


def test_ctrl_c_is_130_and_one_line(tmp_path: Path) -> None:
    """Interrupted while it waits for an endpoint that never answers, the program says so and nothing else;
    the log has the cancelled session."""
    silent = Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=10 * BOUND_S)
    with ChaosServer([silent] * 3) as server:
        process = subprocess.Popen(
            [*COMMAND, "demo", "--base-url", server.base_url, "--model", "chaos-small"],
            cwd=tmp_path,
            env=surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
        )
        assert process.stdout is not None
        for line in process.stdout:
            if " started " in line:
                break
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=BOUND_S)
    assert process.returncode == 130
    assert error == "techrevati: interrupted\n"
    assert '"agent.cancelled"' in (tmp_path / "events.jsonl").read_text(encoding="utf-8")


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    """``| head -1`` is no reason to complain."""
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        cwd=tmp_path,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait(BOUND_S) == 1
