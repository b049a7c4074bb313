"""One daemon thread looks after all synchronous streams that wait; it ends with the last of them.

It holds weak references only: a stream that its consumer dropped is closed by its collection.  No clock is
read and nothing is interrupted while the lock is held.
"""

from __future__ import annotations

import os
from threading import Condition, Thread
from typing import TYPE_CHECKING, TypeAlias
from weakref import ref

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.streaming.patience import NEVER

if TYPE_CHECKING:
    from typing import Any

    from techrevati.runtime.streaming.watched import WatchedStream

    # In a tuple of its own, so that each arrangement is told from the one before.
    Entry: TypeAlias = "tuple[ref[WatchedStream[Any]]]"

_LONGEST_S = 3600.0  # a Condition takes no endless wait that is also a number


class Watchdog:
    """The streams that are looked after, and the thread that does it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._entries: dict[int, Entry] = {}
        self._thread: Thread | None = None
        self._news = False

    def watch_over(self, stream: WatchedStream[Any]) -> None:
        """Look at *stream* now, and again whenever it says."""
        with self._changed:
            self._entries[id(stream)] = (ref(stream),)
            self._news = True
            if self._thread is None:
                thread = Thread(target=self._run, name="techrevati-stream-watchdog", daemon=True)
                try:
                    thread.start()
                except BaseException:  # no thread to be had: the next stream tries again
                    del self._entries[id(stream)]
                    raise
                self._thread = thread
            else:
                self._changed.notify()

    def forget(self, stream: WatchedStream[Any]) -> None:
        """Look at *stream* no more."""
        with self._changed:
            if self._entries.pop(id(stream), None) is not None and not self._entries:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._entries:
                    self._thread = None
                    return
                self._news = False
                entries = list(self._entries.copy().items())  # a collection may forget one meanwhile
            wait_s = min(self._looked(key, entry) for key, entry in entries)
            del entries
            with self._changed:
                if self._entries and not self._news:
                    self._changed.wait(min(wait_s, _LONGEST_S))

    def _looked(self, key: int, entry: Entry) -> float:
        """Seconds until the next look at one stream; NEVER when it is none of ours any more."""
        stream = entry[0]()
        try:
            left_s = NEVER if stream is None else stream._look()
        except Exception as trouble:  # a broken clock
            logger("streaming").warning("the watchdog cannot look: %s", error_text(trouble))
            left_s = NEVER
        if left_s == NEVER:
            with self._changed:
                if self._entries.get(key) is entry:
                    del self._entries[key]
        return left_s


_watchdog = Watchdog()


def watch_over(stream: WatchedStream[Any]) -> None:
    """Have the process's watchdog look after *stream*."""
    _watchdog.watch_over(stream)


def forget(stream: WatchedStream[Any]) -> None:
    """The opposite."""
    _watchdog.forget(stream)


def _after_fork_in_child() -> None:
    global _watchdog
    _watchdog = Watchdog()  # the thread and whoever held the lock stayed in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
