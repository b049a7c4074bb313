"""Which of several streams is read: the one whose first item came first.

The request itself claims that place as soon as it has its item; whoever comes later closes its own stream, in
its own thread or task, so that none is left open whatever becomes of the call.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.streams import aclose, aopened, close, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any


class FirstItem(NamedTuple):
    """A stream that began: whether it is the one to be read, what it gave first, and the stream."""

    won: bool
    item: object
    begun: Any


class Claim:
    """The place of the stream that is read; taken once."""

    __slots__ = ("_begun", "_lock", "_over")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._over = False
        self._begun: Any = None

    def take(self, begun: Any) -> bool:
        """Whether *begun* is the one to be read."""
        with self._lock:
            if self._over:
                return False
            self._over, self._begun = True, begun
            return True

    def give_up(self) -> Any:
        """Nobody will read; the stream that had won and now is to be closed, or None."""
        with self._lock:
            self._over = True
            return None if self._begun is None else self._begun[0]


def request(claim: Claim, make: Callable[[], Any]) -> FirstItem:
    """Begin one stream; close it when another is read already."""
    begun = opened(make())
    won = claim.take(begun)
    if not won:
        close_quietly(begun[0])
    return FirstItem(won, begun[2], begun)


async def arequest(claim: Claim, make: Callable[[], Any]) -> FirstItem:
    """:func:`request` for async streams."""
    begun = await aopened(make())
    won = claim.take(begun)
    if not won:
        await aclose_quietly(begun[0])
    return FirstItem(won, begun[2], begun)


def close_quietly(made: Iterator[Any] | None) -> None:
    """Close a stream that nobody reads; what that raises is logged."""
    try:
        close(made)
    except Exception as trouble:
        _log(trouble)


async def aclose_quietly(made: AsyncIterator[Any] | None) -> None:
    """:func:`close_quietly` for async streams."""
    try:
        await aclose(made)
    except Exception as trouble:
        _log(trouble)


def _log(trouble: Exception) -> None:
    logger("hedging").warning("closing a stream that lost raised %s", error_text(trouble))
