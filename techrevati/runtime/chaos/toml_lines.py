"""On which line of a TOML text each key and array element stands.

``tomllib`` reads values and forgets where they were.  This walks a text that ``tomllib`` has accepted, so it
need not judge anything: it only has to know where strings, arrays, tables and comments end.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}#\n]*")
# The longest first. A multi-line string may end in up to two quotes of its own.
_STRINGS = tuple(
    (start, re.compile(body, re.DOTALL))
    for start, body in (
        ('"""', r'"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?'),
        ("'''", r"'''.*?'''(?:'{1,2}(?!'))?"),
        ('"', r'"(?:\\.|[^"\\\n])*"'),
        ("'", r"'[^'\n]*'"),
    )
)


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of everything in *text*, which is valid TOML.

    Paths are keys and, for elements of arrays, numbers: ``("rule", 1, "from")``.
    """
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line_at = 0
        self._line = 1
        self._tables: dict[Path, int] = {}  # how many [[tables]] of a name there were
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        above: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                above = self._header()
            else:
                self._pair(above)
            self._skip(_BLANK)

    def _header(self) -> Path:
        several = self._text.startswith("[[", self._at)
        line = self._line_here()
        self._at += 2 if several else 1
        *before, last = self._key()
        self._at += 2 if several else 1
        path: Path = ()
        for part in before:
            path = self._last((*path, part))
            self.lines.setdefault(path, line)
        path = (*path, last)
        self.lines.setdefault(path, line)
        if several:
            self._tables[path] = self._tables.get(path, 0) + 1
        path = self._last(path)
        self.lines[path] = line
        return path

    def _last(self, path: Path) -> Path:
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, above: Path) -> None:
        line = self._line_here()
        path = above
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                quoted = self._string()
                parts.append(str(tomllib.loads(f"k = {quoted}")["k"]))
            else:
                parts.append(self._taken(_BARE_KEY))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        sign = self._text[self._at]
        if sign == "[":
            self._inside("]", lambda number: self._element((*path, number)))
        elif sign == "{":
            self._inside("}", lambda _: self._pair(path))
        elif sign in "\"'":
            self._string()
        else:
            self._skip(_PLAIN)

    def _element(self, path: Path) -> None:
        self.lines[path] = self._line_here()
        self._value(path)

    def _inside(self, end: str, read: Callable[[int], None]) -> None:
        self._at += 1
        number = 0
        self._skip(_BLANK)
        while not self._text.startswith(end, self._at):
            read(number)
            number += 1
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _string(self) -> str:
        for start, pattern in _STRINGS:
            if self._text.startswith(start, self._at):
                return self._taken(pattern)
        raise ValueError(f"no string at character {self._at}")

    def _taken(self, pattern: re.Pattern[str]) -> str:
        hit = pattern.match(self._text, self._at)
        if hit is None or not hit[0]:
            raise ValueError(f"no {pattern.pattern} at character {self._at}")
        self._at = hit.end()
        return hit[0]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        hit = pattern.match(self._text, self._at)
        self._at = hit.end() if hit else self._at

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._line_at, self._at)
        self._line_at = self._at
        return self._line
