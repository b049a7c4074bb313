"""Three tasks in every order, one of them cancelled at each of its awaits: all that was taken is given back.

What is said of each primitive holds whatever the order and wherever the cancellation strikes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from techrevati.runtime.bulkhead import Bulkhead, BulkheadFullError
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.deadlines import LateOutcome, Timeout, TurnTimeoutError
from techrevati.runtime.failover import Failover, Target, TargetSwitch
from techrevati.runtime.hedging import Hedge, Loser
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Recovery, RecoveryNews, Retry, RetryAttempt, RetryBudget
from tests.cancellations import Start, explore

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class Dependency:
    """Takes a second and two steps of the loop; fails its first *failures* calls; counts."""

    def __init__(self, failures: int = 0, seconds: float = 1.0) -> None:
        self.failures = failures
        self.seconds = seconds
        self.inside = self.most = self.begun = self.answered = self.failed = self.cancelled = 0

    async def ask(self) -> str:
        self.inside += 1
        self.begun += 1
        self.most = max(self.most, self.inside)
        fails = self.begun <= self.failures
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(self.seconds)
            await asyncio.sleep(0)
            if fails:
                self.failed += 1
                raise ConnectionResetError("reset by peer")
            self.answered += 1
            return "answer"
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.inside -= 1


async def ended(*tasks: Any) -> list[Any]:
    """How each ended; and then time for everything that is left behind."""
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(100)
    return ends


def cancelled(end: object) -> bool:
    return isinstance(end, asyncio.CancelledError)


# --- breaker ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["call", "decorated", "with", "guard"])
@pytest.mark.parametrize("probes", [1, 2])
def test_a_cancelled_probe_gives_its_permit_back(form: str, probes: int) -> None:
    """At half-open: never more inside than probes, none taken in the end, closed if one returned, half-open
    if none did, and each change told once."""

    async def scenario(starts: list[Start]) -> None:
        loop = asyncio.get_running_loop()
        events: list[tuple[CircuitState, CircuitState]] = []
        breaker = AsyncCircuitBreaker(
            "api",
            1,
            10.0,
            probes,
            loop.time,
            probe_lease_seconds=1e6,  # a permit that is lost is never found again
            on_state_change=lambda name, *change: events.append(change),
        )
        await breaker.record_failure()
        await asyncio.sleep(10)
        api = Dependency()

        async def asked() -> str:
            if form == "call":
                return await breaker.call(api.ask)
            if form == "decorated":
                return await breaker(api.ask)()
            if form == "with":
                async with breaker:
                    return await api.ask()
            with breaker.guard():
                return await api.ask()

        ends = await ended(*(start(asked()) for start in starts))
        assert all(end == "answer" or cancelled(end) or isinstance(end, CircuitOpenError) for end in ends)
        seen = await breaker.snapshot()
        assert (api.most <= probes, api.inside, seen.probes) == (True, 0, 0)
        good = api.answered > 0 and ends.count("answer") > 0
        assert await breaker.state() is (CLOSED if good else HALF_OPEN)
        assert events == [(CLOSED, OPEN), (OPEN, HALF_OPEN), *[(HALF_OPEN, CLOSED)] * good]

    assert explore(scenario) > 100


@pytest.mark.parametrize("window", [{"window_calls": 9}, {"window_seconds": 600, "minimum_calls": 9}])
def test_a_cancelled_call_is_not_counted(window: dict[str, Any]) -> None:
    """A window holds the calls that returned or failed, each once."""

    async def scenario(starts: list[Start]) -> None:
        breaker = AsyncCircuitBreaker(
            "api", clock=asyncio.get_running_loop().time, failure_rate=1.0, **window
        )
        api = Dependency(failures=1)
        ends = await ended(*(start(breaker.call(api.ask)) for start in starts))
        seen = await breaker.snapshot()
        assert seen.window_calls == sum(not cancelled(end) for end in ends)
        assert seen.window_failed == sum(isinstance(end, ConnectionError) for end in ends)

    assert explore(scenario) > 50


# --- retry and recovery -------------------------------------------------------------------------------------


def test_a_cancelled_retry_gives_its_token_back() -> None:
    """The budget counts the retries that were made, and every failure is told once."""

    async def scenario(starts: list[Start]) -> None:
        budget = RetryBudget(3, refill_per_success=0)
        told: list[RetryAttempt] = []
        clock = asyncio.get_running_loop().time
        retry = Retry(3, budget=budget, jitter="none", on_attempt=told.append, clock=clock)
        api = Dependency(failures=4)
        await ended(*(start(retry.acall(api.ask)) for start in starts))
        first_attempts = 3 - (api.begun == 0)
        assert budget.taken == api.begun - first_attempts
        assert budget.left == 3 - budget.taken
        assert len(told) == api.failed
        assert api.inside == 0

    assert explore(scenario) > 100


def test_a_cancelled_recovery_gives_its_token_back() -> None:
    """The same for recoveries, whose end is told once, and not at all where nobody waits for it."""

    async def scenario(starts: list[Start]) -> None:
        budget = RetryBudget(5, refill_per_success=0)
        told: list[RecoveryNews] = []
        recovery = Recovery(budget=budget, jitter="none", on_event=told.append)
        api = Dependency(failures=2)
        ends = await ended(*(start(recovery.acall(api.ask)) for start in starts))
        assert budget.taken == api.begun - 3
        assert budget.left == 5 - budget.taken
        names = [news.event for news in told]
        assert names.count("attempted") == api.failed
        recovered = names.count("succeeded")
        assert recovered <= ends.count("answer")
        assert recovered + sum(map(cancelled, ends)) >= api.failed
        assert names.count("escalated") + names.count("failed") == 0

    assert explore(scenario) > 100


# --- bulkhead and rate limit --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["call", "decorated", "with"])
@pytest.mark.parametrize(
    ("limit", "waiting", "wait_s"), [(1, 2, 50.0), (1, 2, 1.0), (1, 1, 50.0), (2, 1, 50.0)]
)
def test_a_cancelled_caller_gives_its_place_back(form: str, limit: int, waiting: int, wait_s: float) -> None:
    """Waiting or inside: nobody is inside or waits in the end, and who was not cancelled got in, or was
    refused for a reason that was true."""

    async def scenario(starts: list[Start]) -> None:
        bulkhead = Bulkhead(limit, waiting, wait_s, clock=asyncio.get_running_loop().time)
        api = Dependency()

        async def asked() -> str:
            if form == "call":
                return await bulkhead.acall(api.ask)
            if form == "decorated":
                return await bulkhead(api.ask)()
            async with bulkhead:
                return await api.ask()

        ends = await ended(*(start(asked()) for start in starts))
        seen = bulkhead.snapshot()
        assert (seen.running, seen.queued, api.inside) == (0, 0, 0)
        assert api.most <= limit
        refused = [end.reason for end in ends if isinstance(end, BulkheadFullError)]
        assert seen.refused == len(refused)
        assert refused.count("full") <= max(0, 3 - limit - waiting)
        assert refused.count("waited") == 0 or wait_s == 1.0
        assert ends.count("answer") + len(refused) + sum(map(cancelled, ends)) == 3
        assert api.begun <= seen.admitted <= api.begun + 1  # let in, and cancelled before it knew

    assert explore(scenario) > 100


def test_a_cancelled_waiter_gives_back_what_it_took() -> None:
    """One request a second and tokens: what began counts, what did not is there again; what was used is
    known of those that answered, and estimated of those that began and did not."""

    async def scenario(starts: list[Start]) -> None:
        clock = asyncio.get_running_loop().time
        limit = RateLimit(
            60, 6000, burst_requests=1, estimate_tokens=100, tokens_used=lambda answer: 250, clock=clock
        )
        api = Dependency()
        ends = await asyncio.gather(
            *(start(limit.acall(api.ask)) for start in starts), return_exceptions=True
        )
        assert ends.count("answer") == api.answered
        assert limit._requests is not None
        assert limit._requests.full_at_s == pytest.approx(api.begun)
        assert limit._tokens is not None
        used = 250 * api.answered + 100 * (api.begun - api.answered)
        assert limit._tokens.full_at_s == pytest.approx(used / 100, abs=clock() + 1e-6)
        assert limit._tokens.full_at_s >= used / 100 - 1e-6

    assert explore(scenario) > 50


# --- failover and hedge -------------------------------------------------------------------------------------


def test_a_cancelled_failover_asks_nobody_else() -> None:
    """The target that was asked is cancelled, its breaker's permit is free, and every switch that was told is
    a target that was asked."""

    async def scenario(starts: list[Start]) -> None:
        clock = asyncio.get_running_loop().time
        told: list[TargetSwitch] = []
        guards = [
            CircuitBreaker(name, 1, 10.0, clock=clock, probe_lease_seconds=1e6) for name in ("near", "far")
        ]
        near, far = Dependency(failures=9), Dependency()
        guards[0].record_failure()
        guards[1].record_failure()
        await asyncio.sleep(10)
        failover = Failover(
            [Target("near", near.ask, breaker=guards[0]), Target("far", far.ask, breaker=guards[1])],
            on_switch=told.append,
            clock=clock,
        )
        ends = await ended(*(start(failover.acall()) for start in starts))
        assert sum(map(cancelled, ends)) >= near.cancelled + far.cancelled  # each came out
        assert (near.inside, far.inside, near.most, far.most <= 1) == (0, 0, min(near.begun, 1), True)
        assert [guard.snapshot().probes for guard in guards] == [0, 0]
        assert len(told) == far.begun
        assert near.failed + near.cancelled == near.begun

    assert explore(scenario) > 50


@pytest.mark.parametrize(("failures", "delay_s"), [(0, 0.5), (0, 0.0), (1, 0.5), (1, 0.0), (9, 0.0)])
def test_every_request_of_a_cancelled_hedge_ends(failures: int, delay_s: float) -> None:
    """No request is left; each is the outcome of its call or told as a loser, once; and what was counted is
    what was made."""

    async def scenario(starts: list[Start]) -> None:
        losers: list[Loser] = []
        hedge = Hedge(
            idempotent=True, delay_seconds=delay_s, burst_requests=9, max_requests=3, on_loser=losers.append
        )
        api = Dependency(failures)
        own = Dependency(failures)  # of the call that is cancelled

        async def asked() -> str:
            try:
                return await hedge.acall(own.ask)
            except asyncio.CancelledError:
                assert own.inside == 0
                raise

        others = (start(hedge.acall(api.ask)) for start in starts[1:])
        ends = await ended(starts[0](asked()), *others)
        assert not any(isinstance(end, AssertionError) for end in ends)
        assert api.inside == 0
        assert not hedge._cancelled
        seen = hedge.snapshot()
        outcomes = sum(not cancelled(end) for end in ends)
        made = seen.calls + seen.hedged
        assert len(losers) == made - outcomes
        assert api.begun + own.begun <= made

    assert explore(scenario, latest=2) > 50


def test_every_stream_of_a_cancelled_hedge_is_closed() -> None:
    """Whichever is read, and wherever the reader is cancelled, every stream that began is closed."""

    async def scenario(starts: list[Start]) -> None:
        hedge = Hedge(idempotent=True, delay_seconds=0.5, burst_requests=9)
        opened = closed = 0

        async def items() -> AsyncGenerator[int, None]:
            nonlocal opened, closed
            opened += 1
            try:
                await asyncio.sleep(1)
                yield 1
                await asyncio.sleep(1)
                yield 2
            finally:
                closed += 1

        async def read() -> list[int]:
            stream = hedge.astream(items)
            try:
                return [item async for item in stream]
            finally:
                await stream.aclose()

        ends = await ended(*(start(read()) for start in starts))
        assert all(end == [1, 2] or cancelled(end) for end in ends)
        assert opened == closed
        assert not hedge._cancelled

    assert explore(scenario, latest=2) > 20


# --- timeout and pipeline -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0])
def test_a_cancelled_timeout_leaves_nothing(seconds: float) -> None:
    """The call inside ends; an answer that it gives nevertheless is the caller's, or told as late, once."""

    async def scenario(starts: list[Start]) -> None:
        late: list[LateOutcome] = []
        timeout = Timeout(seconds, on_late=late.append)
        api = Dependency()
        ends = await ended(*(start(timeout.acall(api.ask)) for start in starts))
        assert all(end == "answer" or cancelled(end) or isinstance(end, TurnTimeoutError) for end in ends)
        assert api.inside == 0
        assert api.answered == ends.count("answer") + len(late)
        assert seconds < 5 or not any(isinstance(end, TurnTimeoutError) for end in ends)

    assert explore(scenario) > 50


@pytest.mark.parametrize("form", ["call", "decorated", "stream"])
def test_a_cancelled_pipeline_gives_everything_back(form: str) -> None:
    """Places, probes, tokens and requests of every part, wherever in it the cancellation strikes."""

    async def scenario(starts: list[Start]) -> None:
        clock = asyncio.get_running_loop().time
        budget, bulkhead = RetryBudget(9, refill_per_success=0), Bulkhead(1, 5, clock=clock)
        guard = CircuitBreaker("api", 1, 10.0, clock=clock, probe_lease_seconds=1e6)
        limit = RateLimit(600, burst_requests=1, clock=clock)
        guard.record_failure()
        await asyncio.sleep(10)
        start_s = clock()
        retry = Retry(3, jitter="none", max_retry_after_seconds=99, clock=clock)
        pipeline = Pipeline(Timeout(30), budget, retry, guard, limit, bulkhead)
        api = Dependency(failures=1)

        async def items() -> AsyncGenerator[str, None]:
            yield await api.ask()

        async def asked() -> str:
            if form == "call":
                return await pipeline.acall(api.ask)
            if form == "decorated":
                return await pipeline(api.ask)()
            stream = pipeline(items)()
            try:
                return str([item async for item in stream].pop())
            finally:
                await stream.aclose()

        ends = await asyncio.gather(*(start(asked()) for start in starts), return_exceptions=True)
        requests = limit._requests
        assert requests is not None
        # Each request moved that moment on by a tenth of a second, from the latest time at which one began.
        assert requests.full_at_s <= clock() + 0.1 * api.begun
        assert requests.full_at_s >= start_s + 0.1 * api.begun - 1e-6 or not api.begun
        await asyncio.sleep(100)
        assert all(end == "answer" or cancelled(end) or isinstance(end, Exception) for end in ends)
        seen = bulkhead.snapshot()
        assert (seen.running, seen.queued, api.inside, guard.snapshot().probes) == (0, 0, 0, 0)
        assert api.most <= 1
        assert budget.left == 9 - budget.taken

    assert explore(scenario, latest=2) > 50


def test_the_explorer_finds_a_lost_permit() -> None:
    """A semaphore whose waiter forgets to hand on what it was given when it is cancelled loses it; a task
    that nobody ends is noticed."""

    class Forgetful:
        def __init__(self) -> None:
            self.free = True
            self.waiting: list[asyncio.Future[None]] = []

        async def use(self) -> None:
            if self.free:
                self.free = False
            else:
                self.waiting.append(asyncio.get_running_loop().create_future())
                await self.waiting[-1]
            try:
                await asyncio.sleep(1)
            finally:
                while self.waiting:
                    waiter = self.waiting.pop(0)
                    if not waiter.done():
                        waiter.set_result(None)
                        break
                else:
                    self.free = True

    async def losing(starts: list[Start]) -> None:
        semaphore = Forgetful()
        await ended(*(start(semaphore.use()) for start in starts[:2]))
        assert semaphore.free

    with pytest.raises(AssertionError) as found:
        explore(losing)
    assert "has come" in found.value.__notes__[0]

    async def leaving(starts: list[Start]) -> None:
        asyncio.get_running_loop()
        left.append(asyncio.create_task(asyncio.sleep(1e6)))

    left: list[Any] = []
    with pytest.raises(AssertionError, match="a task is left"):
        explore(leaving)
