"""Run threads one at a time and change over at chosen steps, so that every interleaving of a few change-overs
can be made.

A step is an instruction of the code under test that touches a shared name.  ``explore`` runs a scenario once
for each way to change over at most so many times: at every step, to every thread that could go on.  What
blocks (locks, events, queues, threads that the code starts) is replaced by what hands the turn on.  Somebody
who waits with a time limit and is given the turn before what it waits for came has waited too long: so a
limit runs out at every step too.
"""

from __future__ import annotations

import dis
import sys
from _thread import LockType, allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

_PATIENCE_S = 20.0
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR")
_NAMES = ("LOAD_DEREF", "STORE_DEREF", "LOAD_GLOBAL", "STORE_GLOBAL")

Change = tuple[int, int]  # the step before which to change over, and to which of those that could go on


class StuckError(AssertionError):
    """Everybody waits for somebody else."""


class Turns:
    """One run of a scenario.

    Args:
        changes: Where to change over.
        files: Parts of paths: code in such files is the code under test.
        shared: Names of attributes, of variables of closures and of modules that threads share.
        timing_out: Whether a limit on waiting may run out although others could still run.
    """

    def __init__(
        self, changes: tuple[Change, ...], files: tuple[str, ...], shared: frozenset[str], timing_out: bool
    ) -> None:
        self.step = 0
        self.changed = 0  # change-overs that somebody was there for
        self.errors: list[BaseException] = []
        self._changes = dict(changes)
        self._files = files
        self._shared = shared
        self._timing_out = timing_out
        self._steps_of = _known_steps.setdefault((files, shared), {})
        self._running: list[int] = []
        self._waiting: dict[int, tuple[Callable[[], bool], bool]] = {}
        self._turn = 0
        self._given: list[LockType] = []  # each released when its thread is given the turn
        self._over = allocate_lock()
        self._over.acquire()

    def run(self, works: list[Callable[[], object]]) -> None:
        """Run *works*, the first one first."""
        for work in works:
            self.add(work)
        self._hand_to(0)
        assert self._over.acquire(timeout=_PATIENCE_S)
        if self.errors:
            raise self.errors[0]

    def add(self, work: Callable[[], object]) -> None:
        """One thread more; it runs when it is given the turn."""
        number = len(self._given)
        given = allocate_lock()
        given.acquire()
        self._given.append(given)
        self._running.append(number)
        start_new_thread(self._work, (number, work))  # not threading's own: a test may have replaced that

    def wait(self, until: Callable[[], bool], limited: bool = False) -> bool:
        """Hand the turn on until *until*; False when a *limited* wait took too long."""
        here = self._turn
        while not until():
            self._waiting[here] = until, limited
            others = self._ready(here, True)
            if not others:
                del self._waiting[here]
                if limited:
                    return False
                raise StuckError(f"thread {here} waits for ever; waiting: {sorted(self._waiting)}")
            self._hand_over(others[0])
            del self._waiting[here]
            if limited and not until():
                return False
        return True

    def _ready(self, here: int, stuck: bool) -> list[int]:
        """Who could go on after *here*, next one first; *stuck*, *here* itself cannot."""
        others = [n for n in self._running if n > here] + [n for n in self._running if n < here]
        free = [n for n in others if n not in self._waiting or self._waiting[n][0]()]
        limited = [n for n in others if n not in free and self._waiting[n][1]]
        return free + limited if self._timing_out else free or limited * stuck

    def _work(self, number: int, work: Callable[[], object]) -> None:
        self._given[number].acquire(timeout=_PATIENCE_S)
        sys.settrace(self._trace)
        try:
            work()
        except BaseException as error:
            self.errors.append(error)
        finally:
            sys.settrace(None)
            self._running.remove(number)
            ready = self._ready(number, True) or self._running  # those left are stuck, and will say so
            if ready:
                self._hand_to(ready[0])
            else:
                self._over.release()

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        steps = self._steps_of.get(code)
        if steps is None:
            steps = self._steps_of[code] = self._shared_steps(code)
        if not steps:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode" and frame.f_lasti in steps:
            self.step += 1
            which = self._changes.get(self.step)
            if which is not None:
                ready = self._ready(self._turn, False)
                if which < len(ready):
                    self.changed += 1
                    self._hand_over(ready[which])
        return self._trace

    def _shared_steps(self, code: CodeType) -> frozenset[int]:
        if not any(part in code.co_filename for part in self._files) or code.co_name == "__init__":
            return frozenset()
        return frozenset(
            step.offset
            for step in dis.get_instructions(code)
            if (step.opname in _ATTRIBUTES or step.opname in _NAMES) and step.argval in self._shared
        )

    def _hand_over(self, number: int) -> None:
        here = self._turn
        self._hand_to(number)
        assert self._given[here].acquire(timeout=_PATIENCE_S)

    def _hand_to(self, number: int) -> None:
        self._turn = number
        self._given[number].release()

    # --- what blocks ----------------------------------------------------------------------------------------

    def lock(self) -> TurnLock:
        """For ``threading.Lock`` and ``allocate_lock``."""
        return TurnLock(self)

    def event(self) -> TurnEvent:
        """For ``threading.Event``."""
        return TurnEvent(self)

    def queue(self) -> TurnQueue:
        """For ``queue.SimpleQueue``."""
        return TurnQueue(self)

    def thread(self, target: Callable[..., object], args: tuple[object, ...] = (), **named: object) -> Any:
        """For ``threading.Thread``."""
        turns = self

        class Started:
            def start(self) -> None:
                turns.add(lambda: target(*args))

        return Started()


_known_steps: dict[tuple[tuple[str, ...], frozenset[str]], dict[CodeType, frozenset[int]]] = {}


class TurnLock:
    """A lock that hands the turn on instead of waiting for real."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._turns.wait(lambda: not self._held, timeout >= 0):
            return False
        self._held = True
        return True

    def release(self) -> None:
        assert self._held
        self._held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class TurnEvent:
    """An event that hands the turn on."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        return self._turns.wait(lambda: self._is_set, timeout is not None)


class TurnQueue:
    """A queue that hands the turn on."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._items: deque[Any] = deque()

    def put(self, item: object) -> None:
        self._items.append(item)

    def empty(self) -> bool:
        return not self._items

    def get(self, timeout: float | None = None) -> Any:
        from queue import Empty

        if not self._turns.wait(lambda: bool(self._items), timeout is not None):
            raise Empty
        return self._items.popleft()


Scenario = Callable[[Turns], tuple[list[Callable[[], object]], Callable[[], object]]]
"""Makes what threads share; gives what each thread does, and what must hold in the end."""


def explore(
    scenario: Scenario,
    files: tuple[str, ...],
    shared: frozenset[str],
    *,
    changes: int = 2,
    threads: int = 3,
    timing_out: bool = False,
    alike: bool = False,
) -> int:
    """Run *scenario* with every choice of at most *changes* change-overs; how many runs that were.

    Args:
        threads: How many there are at most, those included that the code starts.
        alike: All do the same, so it makes no difference which of those that have not begun comes next.
    """

    def runs(before: tuple[Change, ...]) -> Iterator[None]:
        turns = Turns(before, files, shared, timing_out)
        works, check = scenario(turns)
        try:
            turns.run(works)
            check()
        except BaseException as error:
            error.add_note(f"with change-overs at {before}")
            raise
        yield
        if len(before) == changes or turns.changed < len(before):
            return
        first = before[-1][0] + 1 if before else 1
        for step in range(first, turns.step + 1):
            for which in range(1 if alike and not before else threads - 1):
                yield from runs((*before, (step, which)))

    return sum(1 for _ in runs(()))
