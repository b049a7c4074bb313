"""The command line itself: what it says about itself, and how it says that something is wrong."""

from __future__ import annotations

import io

import pytest

from techrevati.runtime import __version__
from techrevati.runtime.cli import demo, main
from techrevati.runtime.cli.terminal import OutputClosedError, Terminal


def test_version_and_help_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` and ``--help`` print to stdout and end with 0; no command at all is a call for help."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"techrevati-runtime {__version__}\n"
    for arguments in (["--help"], []):
        assert main(arguments) == 0
        assert "demo" in capsys.readouterr().out
    assert main(["demo", "--help"]) == 0
    assert "--base-url" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bogus"], "bogus"),
        (["demo", "--frobnicate"], "--frobnicate"),
        (["demo", "--question", "  "], "--question is empty"),
        (["demo", "--base-url", "http://127.0.0.1:9/v1"], "--model"),
        (["demo", "--model", "x"], "--base-url"),
        (["demo", "--base-url", "", "--model", "x"], "base URL"),
        (["demo", "--base-url", "ftp://host/v1", "--model", "x"], "base URL"),
        (["demo", "--base-url", "http://user:pw12345678@host/v1", "--model", "x"], "environment"),
        (["demo", "--base-url", "http://host:port/v1", "--model", "x"], "base URL"),
        (["demo", "/no/such/folder"], "/no/such/folder"),
        (["demo", "--events", "/no/such/folder/events.jsonl"], "/no/such/folder/events.jsonl"),
    ],
)
def test_wrong_arguments_end_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with a call, stderr has one line that names it, and the status is 2."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error
    assert "Traceback" not in error
    assert "pw12345678" not in error


@pytest.mark.parametrize(
    ("failure", "status", "told"),
    [
        (KeyboardInterrupt(), 130, "techrevati: interrupted\n"),
        (OSError(28, "No space left on device"), 2, "techrevati: No space left on device\n"),
    ],
)
def test_interruptions_and_full_disks_end_in_one_line(
    failure: BaseException,
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C is 130; trouble with the output is one line."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(demo, "Folder", fail)
    assert main(["demo"]) == status
    assert capsys.readouterr().err == told


class Screen(io.StringIO):
    """A terminal of any width."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_terminal_wraps_under_the_beginning_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal no line is longer than the width, and the rest stands below the text, not the head."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    Terminal(screen).line("words " * 20, head="role  ", word="tool  ", word_width=6)
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("role  tool    words")
    assert len(lines) > 2
    assert all(len(line) <= 50 for line in lines)
    assert all(line.startswith(" " * 14 + "words") for line in lines[1:])


def test_pipes_are_plain_and_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe a line stays whole, whatever ``COLUMNS`` says, and nothing is coloured."""
    monkeypatch.setenv("COLUMNS", "20")
    pipe = io.StringIO()
    terminal = Terminal(pipe)
    terminal.line("words " * 40, style="red")
    assert pipe.getvalue() == ("words " * 40).rstrip() + "\n"


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_only_where_it_is_wanted(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal is coloured unless ``NO_COLOR`` holds something or it is dumb."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    Terminal(screen).title("Answer")
    assert ("\x1b[" in screen.getvalue()) is coloured


def test_texts_cannot_steer_the_terminal() -> None:
    """Control characters in a text are not written."""
    pipe = io.StringIO()
    terminal = Terminal(pipe)
    terminal.line("a\x1b[2Jb\rc\x07")
    terminal.paragraph("d\x1b]0;title\x07e\nf")
    assert not set(pipe.getvalue()) & set("\x1b\r\x07")
    assert pipe.getvalue().endswith("e\nf\n")


def test_a_closed_pipe_is_no_trouble_of_an_endpoint() -> None:
    """Writing to a pipe that nobody reads raises an error of its own kind, which is no OSError."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(OutputClosedError) as caught:
        Terminal(Closed()).line("x")
    assert not isinstance(caught.value, OSError)
