"""A folder of text files that can be listed, searched and read, and nothing outside it.

A name is resolved, links included, before anything is opened; what does not lie inside is refused.  Hidden
files, binary files and everything that is no plain file are left out, and every answer is bounded.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_FILES = 200
MAX_VISITED = 5_000
MAX_READ_CHARACTERS = 20_000
MAX_FILE_BYTES = 1_000_000
MAX_HITS = 30
MAX_HIT_CHARACTERS = 200
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})
_WORD = re.compile(r"\w+")


class FolderError(TechrevatiError, ValueError):
    """The folder cannot be worked with, or a name in it cannot be read."""


class OutsideFolderError(FolderError, PermissionError):
    """A name leads out of the folder."""


class Hit(NamedTuple):
    """A line that a search found."""

    name: str
    number: int
    line: str


class Folder:
    """The text files under one folder, by their path inside it, in a fixed order.

    Args:
        path: The folder.
        leave_out: Files that are not part of it, such as the log that is being written meanwhile.

    Raises:
        FolderError: There is no such folder, or no text file in it.
    """

    def __init__(self, path: str | os.PathLike[str], *, leave_out: Iterable[Path] = ()) -> None:
        given = os.fspath(path)
        self._root = Path(given).resolve()
        if not given or not self._root.exists():
            raise FolderError(f"there is no folder {given!r}")
        if not self._root.is_dir():
            raise FolderError(f"{given!r} is not a folder")
        left_out = {one.resolve() for one in leave_out}
        self.more: bool = False
        self.names: tuple[str, ...] = tuple(self._text_files(left_out))
        if not self.names:
            raise FolderError(f"there is no text file in {given!r}")

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._root

    def read(self, name: str) -> str:
        """The text of one file, cut after ``MAX_READ_CHARACTERS``.

        Raises:
            FolderError: It leads outside, does not exist, is hidden, or is no text file.
        """
        text = self._text(self._inside(name), name)
        if len(text) <= MAX_READ_CHARACTERS:
            return text
        left = len(text) - MAX_READ_CHARACTERS
        return f"{text[:MAX_READ_CHARACTERS]}\n(cut here: {left:,} more characters)"

    def listed_name(self, name: str) -> str:
        """*name* as ``names`` has it, however it was written."""
        return self._inside(name).relative_to(self._root).as_posix()

    def search(self, query: str) -> list[Hit]:
        """Lines that hold words of *query*, those with the most first; at most ``MAX_HITS``."""
        wanted = {word.lower() for word in _WORD.findall(query) if len(word) > 1}
        if not wanted:
            raise FolderError("the query holds no word")
        found: list[tuple[int, Hit]] = []
        for name, text in self.texts():
            for number, line in enumerate(text.splitlines(), 1):
                held = {word.lower() for word in _WORD.findall(line)}
                score = sum(any(one.startswith(word) for one in held) for word in wanted)
                if score:
                    found.append((score, Hit(name, number, line.strip()[:MAX_HIT_CHARACTERS])))
        found.sort(key=lambda one: -one[0])
        return [hit for _, hit in found[:MAX_HITS]]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every file that can still be read, with its text."""
        for name in self.names:
            try:
                yield name, self.read(name)
            except (FolderError, OSError):  # it may be gone or changed since it was listed
                continue

    def _inside(self, name: str) -> Path:
        try:
            path = (self._root / name).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL in it, a loop of links
            raise FolderError(f"{name!r} is no file name") from None
        if not path.is_relative_to(self._root):
            raise OutsideFolderError(f"{name!r} is outside the folder")
        if any(_hidden(part) for part in path.relative_to(self._root).parts):
            raise FolderError(f"{name!r} is hidden and stays so")
        return path

    def _text_files(self, left_out: set[Path]) -> Iterator[str]:
        visited = given = 0
        for where, folders, files in os.walk(self._root):
            folders[:] = sorted(one for one in folders if not _hidden(one))
            for file in sorted(files):
                path = Path(where, file)
                visited += 1
                if visited > MAX_VISITED or given == MAX_FILES:
                    self.more = True
                    return
                name = path.relative_to(self._root).as_posix()
                if not _hidden(file) and path.resolve() not in left_out and self._is_text(name):
                    given += 1
                    yield name

    def _is_text(self, name: str) -> bool:
        try:
            return bool(self._text(self._inside(name), name).strip())
        except (FolderError, OSError):
            return False

    def _text(self, path: Path, name: str) -> str:
        # The path is resolved, so a link at its end was put there since: do not follow it.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            handle = os.open(path, flags)
        except FileNotFoundError:
            raise FolderError(f"there is no file {name!r}") from None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FolderError(f"{name!r} is no file")
            raw = file.read(MAX_FILE_BYTES)
        if b"\0" in raw:
            raise FolderError(f"{name!r} is no text file")
        text = raw.decode("utf-8-sig", "replace")
        if text.count("\ufffd") * 20 > len(text):
            raise FolderError(f"{name!r} is no text file")
        return text


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _LEFT_OUT
