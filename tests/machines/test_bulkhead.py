"""Many callers at a bulkhead, in any order: in as they came, never too many, and no place is lost.

Tasks are coroutines driven by hand, so that any number of them are inside or wait together, and each can be
cancelled there.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.bulkhead import Bulkhead, BulkheadFullError
from techrevati.runtime.testing import VirtualEventLoop

LIMIT, QUEUE = 2, 3


class BulkheadMachine(RuleBasedStateMachine):
    """However starts, ends, cancellations and switches interleave: at most the limit is inside while it is
    on, nobody waits while there is room, and the queue moves in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualEventLoop()
        self.bulkhead = Bulkhead(LIMIT, QUEUE)
        self.inside: list[tuple[int, asyncio.Task[None], asyncio.Event]] = []
        self.waiting: list[tuple[int, asyncio.Task[None], asyncio.Event]] = []
        self.entered: list[int] = []
        self.number = 0
        self.on = True
        self.admitted = 0

    def settle(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.001))
        while self.waiting and (not self.on or len(self.inside) < LIMIT):
            self.inside.append(self.waiting.pop(0))
            self.admitted += 1
        assert sorted(self.entered) == sorted(number for number, _, _ in self.inside)

    @rule()
    def start(self) -> None:
        end = asyncio.Event()
        number = self.number = self.number + 1

        async def call() -> None:
            self.entered.append(number)
            try:
                await end.wait()
            finally:
                self.entered.remove(number)

        task = self.loop.create_task(self.bulkhead.acall(call))
        if len(self.inside) >= LIMIT and len(self.waiting) >= QUEUE and self.on:
            with pytest.raises(BulkheadFullError) as refusal:
                self.loop.run_until_complete(task)
            assert (refusal.value.reason, refusal.value.queued) == ("full", QUEUE)
            return
        self.waiting.append((number, task, end))
        self.settle()

    @precondition(lambda self: self.inside)
    @rule(nth=st.integers(0, 9))
    def finish(self, nth: int) -> None:
        _, task, end = self.inside.pop(nth % len(self.inside))
        end.set()
        self.loop.run_until_complete(task)
        self.settle()

    @precondition(lambda self: self.inside or self.waiting)
    @rule(nth=st.integers(0, 9))
    def cancel(self, nth: int) -> None:
        everybody = self.inside + self.waiting
        one = everybody[nth % len(everybody)]
        (self.inside if one in self.inside else self.waiting).remove(one)
        one[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            self.loop.run_until_complete(one[1])
        self.settle()

    @precondition(lambda self: self.inside and self.waiting)
    @rule()
    def cancel_the_one_who_is_just_let_in(self) -> None:
        """The place is handed over, and its new owner is cancelled before it wakes."""
        _, task, end = self.inside.pop(0)
        number, next_task, _ = self.waiting[0]
        number_was_let_in = len(self.inside) < LIMIT
        end.set()
        task.add_done_callback(lambda _: next_task.cancel())
        self.loop.run_until_complete(task)
        self.loop.run_until_complete(asyncio.sleep(0.001))
        assert next_task.cancelled() or number in self.entered
        if next_task.cancelled():
            self.waiting.pop(0)
            self.admitted += number_was_let_in
        self.settle()

    @rule(how=st.sampled_from(["enabled", "observe_only"]))
    def switch(self, how: str) -> None:
        self.on = not self.on
        if self.on:
            self.bulkhead.enabled, self.bulkhead.observe_only = True, False
        elif how == "enabled":
            self.bulkhead.enabled = False
        else:
            self.bulkhead.observe_only = True
        self.settle()

    @invariant()
    def places_add_up(self) -> None:
        now = self.bulkhead.snapshot()
        assert (now.running, now.queued) == (len(self.inside), len(self.waiting))
        assert now.admitted == self.admitted

    def teardown(self) -> None:
        for _, task, _ in self.inside + self.waiting:
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.001))
        assert self.bulkhead.snapshot()[:2] == (0, 0)
        self.loop.close()


TestBulkheadMachine = BulkheadMachine.TestCase
TestBulkheadMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=100, stateful_step_count=40
)
