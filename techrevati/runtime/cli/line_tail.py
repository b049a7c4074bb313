"""The lines of a file that others write: bounded memory, no line before it is complete, rotation noticed.

A file that was renamed away is read to its end before the new one of that name is opened; one that became
shorter is read from its beginning.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

LONGEST_LINE = 1 << 20
_CHUNK = 1 << 16


class LineTail:
    """Complete lines of *path*, from its beginning; call :meth:`lines` again for what came since.

    Attributes:
        skipped: Lines that were longer than *longest* bytes.
        rest: What stands behind the last line end: a line that is being written, or was torn.
    """

    def __init__(self, path: str, *, longest: int = LONGEST_LINE) -> None:
        self._path = path
        self._longest = longest
        self._file: FileIO = open(path, "rb", buffering=0)  # noqa: SIM115
        self.skipped: int = 0
        self.rest: bytes = b""
        self._too_long = False

    def lines(self) -> Iterator[bytes]:
        """What is complete by now, without line ends."""
        while True:
            yield from self._of_this_file()
            following = self._following()
            if following is None:
                return
            yield from self._of_this_file()  # what came between the two looks
            self._file.close()
            self._file = following
            self._forget_rest()

    def _of_this_file(self) -> Iterator[bytes]:
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # it was emptied and is written anew
            self._file.seek(0)
            self._forget_rest()
        while chunk := self._file.read(_CHUNK):
            *complete, self.rest = (self.rest + chunk).split(b"\n")
            for line in complete:
                if self._too_long or len(line) > self._longest:
                    self.skipped += 1
                    self._too_long = False
                elif line.strip():
                    yield line
            if len(self.rest) > self._longest:
                self._too_long, self.rest = True, b""

    def _following(self) -> FileIO | None:
        """The file that has the name now, if that is another one."""
        try:
            following = open(self._path, "rb", buffering=0)  # noqa: SIM115
        except OSError:  # between two names, or gone: what is open is still read
            return None
        if os.path.samestat(os.fstat(following.fileno()), os.fstat(self._file.fileno())):
            following.close()
            return None
        return following

    def _forget_rest(self) -> None:
        self.skipped += bool(self.rest) or self._too_long
        self.rest, self._too_long = b"", False

    def close(self) -> None:
        """Close the file."""
        self._file.close()
