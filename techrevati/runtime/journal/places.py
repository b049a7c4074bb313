"""Which step of a run is asked for: the one with that key, or the one whose turn it is.

A step without a key is known by its place among the steps of the thread (and task) that opened the run: a
program that is run again asks for the same ones in the same order.  Other threads come in any order, so
theirs are known by what they are: kind, name, arguments, and how often that was asked for.
"""

from __future__ import annotations

from sys import modules
from threading import Lock, get_ident
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments as check
from techrevati.runtime._core.canonical import argument_hash
from techrevati.runtime.journal.core import same
from techrevati.runtime.journal.vocabulary import INTENT, JournalError, ReplayMismatchError, Step

if TYPE_CHECKING:
    from collections.abc import Mapping


class Places:
    """The steps of one run by place, in the order in which they are asked for.  Thread-safe."""

    def __init__(self, run_id: str, steps: Mapping[str, Step], max_steps: int) -> None:
        self._run_id = run_id
        self._steps = steps
        self._max_steps = max_steps
        self._lanes = {step.lane: step for step in steps.values() if step.lane is not None}
        self._lock = Lock()
        self._next = 0
        self._seen: dict[str, int] = {}  # how often each key, or what goes without one, was asked for
        self._asked_for = 0
        self._main = _lane()

    def asked(self, key: str | None, kind: str, name: str, arguments: Mapping[str, object] | None) -> Step:
        """What is asked for, and its place if this thread's steps have places.

        Raises:
            ReplayMismatchError: Something else is on record there.
            JournalError: The run has as many steps as it may have.
        """
        asked = self.placed(key, kind, name, arguments)
        there = None if asked.lane is None else self._lanes.get(asked.lane)
        if there is not None and not same(there, asked):
            raise ReplayMismatchError(self._run_id, there, asked)
        return asked

    def reserved(self, kind: str, name: str, arguments: Mapping[str, object] | None) -> str:
        """The key of a step without one that another thread or task will ask for: those that are alike are
        told apart by the order in which they are reserved, not by who comes first."""
        with self._lock:
            return self._apart_locked(kind, name, "" if arguments is None else argument_hash(arguments))

    def _apart_locked(self, kind: str, name: str, hashed: str) -> str:
        family = f"{kind}:{name}:{hashed[:16]}"
        again = self._seen.get(family, 0)
        self._seen[family] = again + 1
        return f"{family}.{again}"

    def taken(self, step: Step) -> None:
        """That step is on record now."""
        if step.lane is not None:
            self._lanes[step.lane] = step

    def placed(self, key: str | None, kind: str, name: str, arguments: Mapping[str, object] | None) -> Step:
        """:meth:`asked`, whatever is on record there."""
        hashed = "" if arguments is None else argument_hash(arguments)
        if key is not None:
            check.text("key", key)
        in_line = _lane() == self._main
        with self._lock:
            is_new = key is None or key not in self._seen
            lane = self._next if in_line and is_new else None
            own = key or (f"#{lane}" if lane is not None else self._apart_locked(kind, name, hashed))
            if own not in self._steps and max(self._asked_for, len(self._steps)) >= self._max_steps:
                raise JournalError(self._run_id, f"it has max_steps={self._max_steps} steps already")
            if is_new:
                self._asked_for += 1
                if key is not None or lane is not None:
                    self._seen[own] = 1
            if lane is not None:
                self._next = lane + 1
        return Step(own, kind, name, hashed, INTENT, lane)


def _lane() -> tuple[int, int]:
    """Which thread, and which task of it."""
    asyncio = modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return get_ident(), 0
    return get_ident(), id(asyncio.current_task())
