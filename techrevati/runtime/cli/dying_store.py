"""A store in which this process dies, in the middle of one entry of a journal: for ``--kill-at``."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from techrevati.runtime.journal import Step
from techrevati.runtime.stores import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from techrevati.runtime.stores.protocol import Change

    T = TypeVar("T")

_STEPS = "journal/steps/"


class DyingStore(SqliteStore):
    """Counts the entries that journals make, and ends this process in the middle of one of them.

    Args:
        kill_at: At which, from 1; None for never.
        last_words: Told the run and the step of the entry that is not made any more.

    Attributes:
        entries: How many were made.
        done: Steps that were begun and ended in this life, by run.
    """

    def __init__(
        self,
        path: Path,
        kill_at: int | None,
        last_words: Callable[[str, Step], object],
    ) -> None:
        self.entries: int = 0
        self.done: list[tuple[str, str]] = []
        self._kill_at = kill_at
        self._last_words = last_words
        self._seen: set[tuple[str, str]] = set()
        self._begun: set[tuple[str, str]] = set()
        super().__init__(path)

    def update(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[T]],
        *,
        durable: bool = True,
    ) -> T:
        """:meth:`SqliteStore.update`; dies inside the transaction, so that the entry is not there."""

        def watched(records: Mapping[str, bytes | None]) -> Change[T]:
            change = decide(records)
            for log, place, raw in change.appends:
                if log.startswith(_STEPS) and (log, place) not in self._seen:  # decisions may be made twice
                    self._seen.add((log, place))
                    self._enter(log.removeprefix(_STEPS), Step(*json.loads(raw)))
            return change

        return super().update(keys, watched, durable=durable)

    def _enter(self, run: str, step: Step) -> None:
        self.entries += 1
        if self.entries == self._kill_at:
            self._last_words(run, step)
            die()
        name = (run, step.key)
        if step.state == "intent":
            self._begun.add(name)
        elif name in self._begun:
            self.done.append(name)


def die() -> None:
    """End this process as ``kill -9`` does: nothing is cleaned up.  On Windows it is ``TerminateProcess``."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
