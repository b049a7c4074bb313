"""What each process of a run has called, kept in a file of its own that outlives it, SIGKILL included.

A row of ``coverage()`` is a line of fixed length that is written over when its counts change: the file stays
as small as the table, and one write per change is all it costs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from techrevati.runtime.integrations import covered
from techrevati.runtime.integrations.covered import CallCoverage, Coverage

_LINE = 512
_SHAPE = 60  # characters, escaped at most six times as long


class RunNotes:
    """The notes of this process, in *folder*; written by ``covered`` under its lock, and never raising."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lines: dict[tuple[str, str, str], int] = {}
        self._file = -1

    def begin(self) -> None:
        """Note everything from now on, in forked processes too."""
        covered.write_down(self.write)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def write(self, key: tuple[str, str, str], counts: list[int]) -> None:
        """Note the counts of one row."""
        line = self._lines.setdefault(key, len(self._lines))
        row = [*(text[:_SHAPE] for text in key), *counts]
        data = json.dumps(row).encode().ljust(_LINE - 1)[: _LINE - 1] + b"\n"
        try:
            if self._file < 0:
                name = f"{os.getpid()}-{os.urandom(4).hex()}.rows"
                self._file = os.open(
                    os.path.join(self._folder, name),
                    os.O_CREAT | os.O_WRONLY | getattr(os, "O_BINARY", 0),
                    0o600,
                )
            os.lseek(self._file, line * _LINE, os.SEEK_SET)
            os.write(self._file, data)
        except OSError:  # the run is over, or its disk is full: the call matters more
            return

    def _forked(self) -> None:
        """A child has notes of its own; the file is its parent's."""
        self._file = -1
        self._lines.clear()
        covered.forget_after_fork()


def read_notes(folder: str) -> tuple[Coverage, int]:
    """What all processes noted, added up, and how many they are."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    processes = 0
    for path in sorted(Path(folder).glob("*.rows")):
        processes += 1
        for line in path.read_bytes().splitlines():
            try:
                provider, shape, treatment, *counts = json.loads(line)
                row = sums.setdefault((provider, shape, treatment), [0, 0, 0, 0])
                row[:] = [before + int(more) for before, more in zip(row, counts, strict=True)]
            except (ValueError, TypeError):  # cut short while it was written
                continue
    rows = [CallCoverage(*key, *counts) for key, counts in sorted(sums.items())]
    return Coverage(rows), processes
