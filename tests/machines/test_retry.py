"""Many calls that retry at once, in any order: attempts, waits and tokens add up.

Calls are coroutines driven by hand, so that any number of them are inside an attempt or a wait together, and
each can be cancelled there.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.retry_policy import Retry, RetryBudget
from techrevati.runtime.testing import FakeClock

ATTEMPTS, SIZE, CAP_S = 3, 4, 30


class RefusedError(Exception):
    """Refused, with the wait that was asked for."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("refused")
        self.status_code = 429
        self.headers = {"retry-after": str(retry_after)}


@types.coroutine
def parked(where: object) -> Generator[object, Any, Any]:
    return (yield where)


class Call:
    """One call and what a reader of the promises expects of it."""

    def __init__(self, retry: Retry) -> None:
        self.attempts = 0
        self.ended: BaseException | None = None
        self._coroutine: Coroutine[Any, Any, object] = retry.acall(self._attempt)
        self.where: object = self._coroutine.send(None)

    async def _attempt(self) -> object:
        self.attempts += 1
        return await parked("attempt")

    def go(self, error: BaseException | None) -> None:
        try:
            self.where = self._coroutine.throw(error) if error else self._coroutine.send("answer")
        except BaseException as end:
            self.ended = end


class RetryMachine(RuleBasedStateMachine):
    """However attempts and waits of many calls interleave, no call makes more attempts than it may, no wait
    is shorter than asked for, and the tokens taken are the retries made and those being waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.budget = RetryBudget(SIZE, refill_per_success=0.5)
        self.retry = Retry(
            ATTEMPTS,
            base_delay_seconds=2,
            jitter="none",
            max_retry_after_seconds=CAP_S,
            budget=self.budget,
            clock=self.clock,
            asleep=parked,
        )
        self.trying: list[Call] = []
        self.waiting: list[Call] = []
        self.tokens = 2 * SIZE  # in halves
        self.taken = 0

    @rule()
    def start(self) -> None:
        call = Call(self.retry)
        assert call.where == "attempt"
        self.trying.append(call)

    @precondition(lambda self: self.trying)
    @rule(nth=st.integers(0, 9), asked=st.integers(0, 40))
    def refuse(self, nth: int, asked: int) -> None:
        call = self.trying.pop(nth % len(self.trying))
        error = RefusedError(asked)
        call.go(error)
        if call.attempts < ATTEMPTS and asked <= CAP_S and self.tokens >= 2:
            self.tokens -= 2
            self.taken += 1
            assert call.ended is None
            assert call.where == max(asked, 2**call.attempts)
            self.waiting.append(call)
        else:
            assert call.ended is error
            times = "once" if call.attempts == 1 else f"{call.attempts} times"
            why = f"; a wait of {asked} s is asked for, and at most {CAP_S} s are waited"
            if call.attempts == ATTEMPTS:
                why = ""
            elif asked <= CAP_S:
                why = "; the retry budget is used up"
            assert error.__notes__ == [f"tried {times}{why}"]

    @precondition(lambda self: self.trying)
    @rule(nth=st.integers(0, 9), kind=st.sampled_from([TypeError, asyncio.CancelledError]))
    def fail_for_good(self, nth: int, kind: type[BaseException]) -> None:
        call = self.trying.pop(nth % len(self.trying))
        error = kind()
        call.go(error)
        assert call.ended is error

    @precondition(lambda self: self.trying)
    @rule(nth=st.integers(0, 9))
    def answer(self, nth: int) -> None:
        call = self.trying.pop(nth % len(self.trying))
        call.go(None)
        assert isinstance(call.ended, StopIteration)
        assert call.ended.value == "answer"
        self.tokens = min(2 * SIZE, self.tokens + 1)

    @precondition(lambda self: self.waiting)
    @rule(nth=st.integers(0, 9))
    def wake(self, nth: int) -> None:
        call = self.waiting.pop(nth % len(self.waiting))
        before = call.attempts
        call.go(None)
        assert (call.where, call.attempts) == ("attempt", before + 1)
        self.trying.append(call)

    @precondition(lambda self: self.waiting)
    @rule(nth=st.integers(0, 9))
    def cancel_the_wait(self, nth: int) -> None:
        call = self.waiting.pop(nth % len(self.waiting))
        error = asyncio.CancelledError()
        call.go(error)
        assert call.ended is error
        self.tokens = min(2 * SIZE, self.tokens + 2)
        self.taken -= 1

    @invariant()
    def tokens_add_up(self) -> None:
        assert self.budget.left == self.tokens // 2
        assert self.budget.taken == self.taken

    def teardown(self) -> None:
        for call in self.trying + self.waiting:
            call.go(asyncio.CancelledError())


TestRetryMachine = RetryMachine.TestCase
TestRetryMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=200, stateful_step_count=40
)
