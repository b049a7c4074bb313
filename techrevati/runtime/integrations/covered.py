"""Which shapes of calls were guarded, which passed through, and which did not say what they used.

Counted by what really happened in this process: silence never means free.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

CAPACITY = 1_000  # shapes; further ones are counted together
_OTHERS = "(others)"


class CallCoverage(NamedTuple):
    """What became of one shape of calls.

    Attributes:
        provider, shape: Such as "openai" and "chat.completions.create, stream".
        treatment: "guarded", "passed through", "free" for requests that no provider charges for, or "unseen"
            for an SDK that was imported under ``techrevati run`` and whose calls nobody sees.
        calls: Calls of the program.
        requests: Physical requests of guarded calls, retries included.
        without_usage: Answers that did not say what they used, aborted streams included; they are on the
            books as estimated.
        refused: Requests that were refused before anything was sent; with ``observe_only`` those that would
            have been.
    """

    provider: str
    shape: str
    treatment: str
    calls: int = 0
    requests: int = 0
    without_usage: int = 0
    refused: int = 0


class Coverage(tuple[CallCoverage, ...]):
    """Rows by provider and shape; prints as a table."""

    __slots__ = ()

    @property
    def passed_through(self) -> tuple[CallCoverage, ...]:
        """Those that nothing guarded and somebody may charge for."""
        return tuple(row for row in self if row.treatment == "passed through")

    @property
    def without_usage(self) -> tuple[CallCoverage, ...]:
        """Those of which at least one answer did not say what it used."""
        return tuple(row for row in self if row.without_usage)

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = [
            ("provider", "call", "treatment", "calls", "requests", "without usage", "refused"),
            *(tuple(map(str, row)) for row in self),
        ]
        widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


class UnguardedCallsError(TechrevatiError, AssertionError):
    """Calls were made that nothing guarded, or that did not say what they used.

    Attributes:
        rows: Which.
    """

    def __init__(self, rows: tuple[CallCoverage, ...]) -> None:
        super().__init__(rows)
        self.rows = rows

    def __str__(self) -> str:
        return "not every model call was guarded and counted:\n" + str(Coverage(self.rows))


_rows: dict[tuple[str, str, str], list[int]] = {}
_lock = Lock()
_notebook: Callable[[tuple[str, str, str], list[int]], None] | None = None


def note(
    provider: str,
    shape: str,
    treatment: str,
    *,
    calls: int = 0,
    requests: int = 0,
    without_usage: int = 0,
    refused: int = 0,
) -> bool:
    """Count; True when this is the first of its kind."""
    return add((provider, shape, treatment), calls, requests, without_usage, refused)


def add(
    key: tuple[str, str, str], calls: int = 0, requests: int = 0, without_usage: int = 0, refused: int = 0
) -> bool:
    """:func:`note`, quicker said."""
    with _lock:
        row = _rows.get(key)
        first = row is None
        if row is None:
            if len(_rows) >= CAPACITY:
                key = (_OTHERS, _OTHERS, key[2])
            row = _rows.setdefault(key, [0, 0, 0, 0])
        row[0] += calls
        row[1] += requests
        row[2] += without_usage
        row[3] += refused
        if _notebook is not None:
            _notebook(key, row)
    return first


def write_down(notebook: Callable[[tuple[str, str, str], list[int]], None] | None) -> None:
    """Have every change told to *notebook*, which must not raise: a kept note outlives its process."""
    global _notebook
    with _lock:
        _notebook = notebook


def forget_after_fork() -> None:
    """Begin anew in a forked process: what its parent called is its parent's."""
    global _lock
    _lock = Lock()  # another thread of the parent may have held it
    _rows.clear()


def passed_through(provider: str, shape: str) -> bool:
    """Count a call that is not guarded; says so once per shape.  True the first time."""
    first = note(provider, shape, "passed through", calls=1)
    if first:
        logger("integrations").warning(
            "%s %s is not guarded: it passes through, and what it costs is on no budget", provider, shape
        )
    return first


def coverage(*, reset: bool = False) -> Coverage:
    """What this process has called through guarded clients so far, by provider and shape.

    Args:
        reset: Begin to count anew.
    """
    with _lock:
        rows = [CallCoverage(*key, *counts) for key, counts in sorted(_rows.items())]
        if reset:
            _rows.clear()
    return Coverage(rows)


def assert_guarded(*, allow_without_usage: bool = False) -> None:
    """Do nothing when every call so far was guarded and said what it used.

    Raises:
        UnguardedCallsError: The text lists the others.
    """
    now = coverage()
    bad = {*now.passed_through, *(() if allow_without_usage else now.without_usage)}
    if bad:
        raise UnguardedCallsError(tuple(sorted(bad)))
