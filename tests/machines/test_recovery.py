"""Many calls that are recovered at once, in any order: attempts, handlers, waits and tokens add up.

Calls are coroutines driven by hand, so that any number of them are inside an attempt, a handler or a wait
together, and each can be cancelled there.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.failures import Failure, FailureScenario
from techrevati.runtime.retry_policy import (
    Recovery,
    RecoveryNews,
    RecoveryStep as Step,
    RetryBudget,
    recipe_for,
)

SIZE = 4
OVERFLOW, BUSY = "context_length_exceeded: maximum context length is 8 tokens", "status 429"
SCENARIOS = {OVERFLOW: FailureScenario.CONTEXT_OVERFLOW, BUSY: FailureScenario.LLM_ERROR}


class RefusedError(Exception):
    """Refused by the endpoint."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.status_code = 400 if text == OVERFLOW else 429


@types.coroutine
def parked(where: object) -> Generator[object, Any, Any]:
    return (yield where)


async def handled(failure: Failure) -> object:
    return await parked("handler")


async def slept(seconds: float) -> None:
    await parked("wait")


class Call:
    """One call, its attempts and its news."""

    def __init__(self, budget: RetryBudget) -> None:
        self.attempts, self.tries = 0, dict.fromkeys(SCENARIOS.values(), 0)
        self.ended: BaseException | None = None
        self.news: list[RecoveryNews] = []
        self.holds = 0  # tokens of an attempt that is being prepared
        recovery = Recovery(
            {Step.RETRY_WITH_SMALLER_CONTEXT: handled, Step.SWITCH_PROVIDER: handled},
            budget=budget,
            jitter="none",
            asleep=slept,
            on_event=self.news.append,
        )
        self._coroutine: Coroutine[Any, Any, object] = recovery.acall(self._attempt)
        self.where: object = self._coroutine.send(None)

    async def _attempt(self) -> object:
        self.attempts += 1
        return await parked("attempt")

    def go(self, what: object) -> None:
        try:
            if isinstance(what, BaseException):
                self.where = self._coroutine.throw(what)
            else:
                self.where = self._coroutine.send(what)
        except BaseException as end:
            self.ended = end

    def said(self, event: str) -> int:
        return sum(each.event == event for each in self.news)


class RecoveryMachine(RuleBasedStateMachine):
    """However attempts, handlers and waits of many calls interleave: no scenario is tried more often than its
    recipe allows, "succeeded" is said exactly when a call returned after a failure, and the tokens taken are
    the further attempts made and those being prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget(SIZE, refill_per_success=0)
        self.calls: list[Call] = []
        self.taken = 0

    def at(self, *where: str) -> list[Call]:
        return [call for call in self.calls if call.ended is None and call.where in where]

    def prepared(self, call: Call, before: int) -> None:
        """After a handler or a wait: the next attempt, the next act, or the end."""
        if call.ended is None and call.attempts > before:
            call.holds = 0
        elif call.ended is not None:
            self.taken -= call.holds
            call.holds = 0

    @rule()
    def start(self) -> None:
        self.calls.append(Call(self.budget))

    @precondition(lambda self: self.at("attempt"))
    @rule(nth=st.integers(0, 9), text=st.sampled_from([OVERFLOW, BUSY]))
    def refuse(self, nth: int, text: str) -> None:
        calls = self.at("attempt")
        call, scenario = calls[nth % len(calls)], SCENARIOS[text]
        error = RefusedError(text)
        call.go(error)
        if call.tries[scenario] < recipe_for(scenario).max_attempts and self.taken < SIZE:
            call.tries[scenario] += 1
            self.taken += 1
            call.holds = 1
            assert (call.ended, call.where) == (None, "handler")
        else:
            assert call.ended is error

    @precondition(lambda self: self.at("attempt"))
    @rule(nth=st.integers(0, 9), kind=st.sampled_from([TypeError, asyncio.CancelledError]))
    def fail_for_good(self, nth: int, kind: type[BaseException]) -> None:
        calls = self.at("attempt")
        call, error = calls[nth % len(calls)], kind()
        call.go(error)
        assert call.ended is error

    @precondition(lambda self: self.at("attempt"))
    @rule(nth=st.integers(0, 9))
    def answer(self, nth: int) -> None:
        calls = self.at("attempt")
        call = calls[nth % len(calls)]
        call.go("answer")
        assert isinstance(call.ended, StopIteration)
        assert call.ended.value == "answer"

    @precondition(lambda self: self.at("handler", "wait"))
    @rule(nth=st.integers(0, 9), what=st.sampled_from([None, False, "raise", "cancel"]))
    def go_on(self, nth: int, what: object) -> None:
        calls = self.at("handler", "wait")
        call = calls[nth % len(calls)]
        before = call.attempts
        error = asyncio.CancelledError() if what == "cancel" else LookupError("broken")
        call.go(error if isinstance(what, str) else what)
        if what == "cancel":
            assert call.ended is error
        self.prepared(call, before)

    @invariant()
    def tokens_add_up(self) -> None:
        assert self.budget.taken == self.taken
        assert self.budget.left == SIZE - self.taken

    @invariant()
    def success_is_said_exactly_for_calls_that_returned(self) -> None:
        for call in self.calls:
            returned = isinstance(call.ended, StopIteration)
            assert call.said("succeeded") == (returned and call.attempts > 1)
            assert call.attempts <= 1 + sum(recipe_for(on).max_attempts for on in SCENARIOS.values())
            assert call.said("escalated") + call.said("failed") + call.said("succeeded") <= 1

    def teardown(self) -> None:
        for call in self.calls:
            if call.ended is None:
                call.go(asyncio.CancelledError())


TestRecoveryMachine = RecoveryMachine.TestCase
TestRecoveryMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=150, stateful_step_count=40
)
