"""Write lines for people: in colour and wrapped on a terminal, plain in a pipe.

``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` are honoured.  In a pipe a line is never wrapped, so
that ``grep`` sees it whole.  Secrets are taken out of every line: terminals are logged, too.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime._core.scrub import without_credentials

if TYPE_CHECKING:
    from typing import TextIO

NARROWEST, WIDEST, PIPE_WIDTH = 40, 120, 100
_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


class OutputClosedError(TechrevatiError, RuntimeError):
    """Whoever read the output has gone, as ``| head`` does.

    Not a ``BrokenPipeError``, so that it is never taken for trouble with an endpoint.
    """


class Terminal:
    """A text stream and what can be shown on it.

    Attributes:
        interactive: Somebody is looking at it.
        colour: Styles may be used.
        width: Columns to use.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redactor = Redactor()
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.interactive: bool = stream.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.colour: bool = self.interactive and not plain
        columns = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if self.interactive else PIPE_WIDTH
        self.width: int = min(max(columns, NARROWEST), WIDEST)

    def styled(self, text: str, style: str) -> str:
        """*text* in a style where there is colour; ``""`` is no style."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and style and text else text

    def line(
        self, text: str = "", *, head: str = "", word: str = "", word_width: int = 0, style: str = ""
    ) -> None:
        """One line: *head*, *word*, two spaces and *text*, which goes on under its own beginning.

        A *word* may be styled, so its width on the screen is given beside it; without one there is no gap.
        """
        text = self._shown(text)
        gap = "  " if word_width else ""
        column = len(head) + word_width + len(gap)
        parts = [text]
        if self.interactive and column + len(text) > self.width:
            parts = textwrap.wrap(
                text,
                self.width,
                initial_indent=" " * column,
                subsequent_indent=" " * min(column, self.width // 2),
                break_on_hyphens=False,
            )
            parts[0] = parts[0][column:]
        shown = "\n".join(self.styled(part, style) for part in parts)
        self._write(f"{head}{word}{gap}{shown}".rstrip() + "\n")

    def paragraph(self, text: str, indent: str = "") -> None:
        """Running text within the width, also in a pipe; line breaks of *text* are kept."""
        for part in self._redactor.text(text, max_length=max(len(text), 1)).splitlines() or [""]:
            part = visible(part)
            held = textwrap.wrap(
                part, self.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
            )
            self._write("\n".join(held or [""]) + "\n")

    def title(self, text: str) -> None:
        """A heading with an empty line before it."""
        self.line()
        self.line(text, style="bold")

    def _shown(self, text: str) -> str:
        return visible(self._redactor.text(text, max_length=max(len(text), 1)))

    def _write(self, text: str) -> None:
        # A character that the terminal cannot show must not end the program.
        try:
            self._stream.write(text.encode(self._encoding, "replace").decode(self._encoding))
            self._stream.flush()
        except BrokenPipeError:
            raise OutputClosedError("nobody reads the output any more") from None


def visible(text: str) -> str:
    """*text* without credentials, and without control characters: files and models must not steer the
    terminal."""
    return "".join(one if one.isprintable() else " " for one in without_credentials(text))
