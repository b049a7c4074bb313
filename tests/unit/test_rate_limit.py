"""So many requests and tokens a minute, reserved first and corrected afterwards."""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.failures import FailureKind, FailureOrigin, classify, provider_failures
from techrevati.runtime.rate_limit import RateLimit, RateLimitedCall, RateLimitExceededError
from techrevati.runtime.testing import FakeClock, run


class RefusedError(Exception):
    """What a provider raises at 429."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("rate limited")
        self.status_code = 429
        self.headers = {"retry-after": str(retry_after)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def limit_on(clock: FakeClock, *args: Any, **kwargs: Any) -> RateLimit:
    return RateLimit(*args, clock=clock, sleep=clock.sleep, asleep=clock.asleep, **kwargs)


def test_calls_wait_until_they_may(clock: FakeClock) -> None:
    """At one a second with a burst of two, five calls begin at 0, 0, 1, 2 and 3 s."""
    limit = limit_on(clock, 60, burst_requests=2)
    assert [limit.call(clock) for _ in range(5)] == [0, 0, 1, 2, 3]
    assert limit.snapshot()[3:] == (5, 3, 0)


def test_tasks_wait_side_by_side_in_order() -> None:
    """Five tasks that come at once begin one refill after the other, in the order they came."""

    async def main() -> list[tuple[int, float]]:
        loop = asyncio.get_running_loop()
        limit = RateLimit(60, burst_requests=1, clock=loop.time)
        begun: list[tuple[int, float]] = []

        async def call(number: int) -> None:
            begun.append((number, loop.time()))

        await asyncio.gather(*(limit.acall(call, number) for number in range(5)))
        return begun

    assert run(main()) == [(number, float(number)) for number in range(5)]


def test_tokens_are_estimated_and_then_corrected(clock: FakeClock) -> None:
    """Three calls that reserve 100 of 600 a minute and use 10 leave 570; one that uses 300 leaves 270."""

    def ask(words: int, used: int = 10) -> dict[str, Any]:
        return {"usage": {"input_tokens": used, "output_tokens": 0}}

    limit = limit_on(
        clock,
        tokens_per_minute=600,
        estimate_tokens=lambda words, used=10: 100 * words,
        tokens_used=lambda answer: answer["usage"]["input_tokens"],
    )
    for _ in range(3):
        limit.call(ask, 1)
    assert limit.snapshot().tokens == pytest.approx(570)
    limit.call(ask, 1, 300)
    assert limit.snapshot().tokens == pytest.approx(270)


def test_usage_is_read_from_responses(clock: FakeClock) -> None:
    """What OpenAI and Anthropic say was used counts; a result without usage keeps the estimate."""
    limit = limit_on(clock, tokens_per_minute=1000, estimate_tokens=100)
    limit.call(lambda: {"usage": {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}})
    assert limit.snapshot().tokens == pytest.approx(950)
    limit.call(lambda: "no usage here")
    assert limit.snapshot().tokens == pytest.approx(850)


def test_a_failed_call_keeps_its_estimate_and_a_refused_one_pays_nothing(clock: FakeClock) -> None:
    """What was sent may have been counted by the provider; what was never sent was not."""
    limit = limit_on(clock, 60, 600, estimate_tokens=100, burst_requests=2, max_wait_seconds=0.5)
    with pytest.raises(KeyError):
        limit.call({}.__getitem__, "k")
    assert limit.snapshot()[:2] == (pytest.approx(1), pytest.approx(500))
    limit.call(int)
    with pytest.raises(RateLimitExceededError) as refusal:
        limit.call(lambda: pytest.fail("ran"))
    error = refusal.value
    assert (error.name, error.limit, error.retry_after, error.reason) == ("rate limit", "requests", 1, "wait")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    failure = classify(error)
    assert (failure.kind, failure.origin, failure.retry_after) == (
        FailureKind.RATE_LIMIT,
        FailureOrigin.RUNTIME,
        1,
    )
    assert not provider_failures(error)
    assert limit.snapshot()[:2] == (pytest.approx(0), pytest.approx(400))


def test_a_call_larger_than_the_bucket_waits_for_its_debt(clock: FakeClock) -> None:
    """It is let through when what it took is covered, and the next one after it."""
    limit = limit_on(clock, tokens_per_minute=600, burst_tokens=100)
    assert limit.reserve(300).wait_seconds == pytest.approx(20)
    assert limit.reserve(0).wait_seconds == pytest.approx(20)
    clock.advance(30)
    assert limit.reserve(100).wait_seconds == pytest.approx(0)


@pytest.mark.parametrize("colour", ["def", "async def", "generator", "async generator"])
def test_who_is_stopped_while_waiting_gives_back(clock: FakeClock, colour: str) -> None:
    """Ctrl-C or cancellation during the wait: the request and its tokens were not used."""

    def stopped(_: float) -> None:
        raise KeyboardInterrupt

    async def astopped(_: float) -> None:
        raise asyncio.CancelledError

    limit = RateLimit(
        60, 600, burst_requests=1, estimate_tokens=50, clock=clock, sleep=stopped, asleep=astopped
    )

    async def coroutine() -> None: ...

    def stream() -> Generator[int, None, None]:
        yield 1

    async def astream() -> AsyncGenerator[int, None]:
        yield 1

    async def first() -> int:
        return await limit(astream)().__anext__()

    calls: dict[str, Any] = {
        "def": lambda: limit.call(int),
        "async def": lambda: run(limit(coroutine)()),
        "generator": lambda: next(limit(stream)()),
        "async generator": lambda: run(first()),
    }
    limit.call(int)
    with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
        calls[colour]()
    assert limit.snapshot()[:2] == (pytest.approx(0), pytest.approx(550))


@pytest.mark.parametrize("observe_only", [False, True])
def test_a_caller_who_is_stopped_while_it_is_told_gives_back(clock: FakeClock, observe_only: bool) -> None:
    """Ctrl-C in ``on_limited``: nothing was sent, so neither request nor tokens were used."""

    def stopped(_: RateLimitedCall) -> None:
        raise KeyboardInterrupt

    limit = limit_on(
        clock,
        60,
        600,
        burst_requests=1,
        estimate_tokens=50,
        on_limited=stopped,
        observe_only=observe_only,
    )
    limit.call(int)
    with pytest.raises(KeyboardInterrupt):
        limit.call(int)
    assert limit.snapshot()[:2] == (pytest.approx(0), pytest.approx(550))


def test_more_tokens_than_a_float_can_hold_are_named(clock: FakeClock) -> None:
    """By hand they are refused; an estimate that says so counts as 0, as any that fails."""
    limit = limit_on(clock, None, 600, estimate_tokens=lambda: 10**400)
    with pytest.raises(ValueError, match="tokens must be"):
        limit.reserve(10**400)
    assert limit.call(int) == 0
    assert limit.snapshot().tokens == pytest.approx(600)


def test_the_deadline_refuses_what_it_would_not_see(clock: FakeClock) -> None:
    """A wait longer than what is left of the run is not begun."""
    limit = limit_on(clock, 6, burst_requests=1)
    limit.call(int)
    with Deadline(9, clock=clock), pytest.raises(RateLimitExceededError) as refusal:
        limit.call(int)
    assert (refusal.value.reason, refusal.value.retry_after) == ("deadline", 10)
    assert clock.now == 0


def test_a_providers_retry_after_stops_everybody(clock: FakeClock) -> None:
    """After a 429 with Retry-After nobody begins before that is over; unless told not to respect it."""

    def refused() -> None:
        raise RefusedError(30)

    limit, careless = limit_on(clock, 6000), limit_on(clock, 6000, respect_retry_after=False)
    for each in (limit, careless):
        with pytest.raises(RefusedError):
            each.call(refused)
    assert limit.snapshot().paused_seconds == 30
    assert careless.call(clock) == 0
    assert limit.call(clock) == 30
    limit.pause(5)
    assert limit.call(clock) == 35


@pytest.mark.parametrize("colour", ["def", "async def", "generator", "async generator", "hidden"])
def test_decorated_functions_of_every_colour_wait(clock: FakeClock, colour: str) -> None:
    """The second call begins a second later; arguments reach the estimate and the function."""
    limit = limit_on(clock, 60, 60, burst_requests=1, estimate_tokens=lambda word: len(word))

    @limit
    def plain(word: str) -> float:
        return clock()

    @limit
    async def coroutine(word: str) -> float:
        return clock()

    @limit
    def stream(word: str) -> Generator[float, None, None]:
        yield clock()

    @limit
    async def astream(word: str) -> AsyncGenerator[float, None]:
        yield clock()

    async def hidden_one(word: str) -> float:
        return clock()

    @functools.wraps(hidden_one)
    def hidden(word: str) -> Any:
        return hidden_one(word)

    async def first() -> float:
        (began,) = [item async for item in astream("ab")]
        return began

    ends: dict[str, Any] = {
        "def": lambda: plain("ab"),
        "async def": lambda: run(coroutine("ab")),
        "generator": lambda: sum(stream("ab")),
        "async generator": lambda: run(first()),
        "hidden": lambda: run(limit(hidden)("ab")),
    }
    assert [ends[colour](), ends[colour]()] == [0, 1]
    assert limit.snapshot().tokens == pytest.approx(57)  # two for each, and one second refilled


def test_an_async_function_needs_acall(clock: FakeClock) -> None:
    """Otherwise nobody would know what it used."""

    async def fetch() -> None: ...

    with pytest.raises(TypeError, match="acall"):
        limit_on(clock, 60).call(fetch)


def test_observing_delays_and_refuses_nobody(clock: FakeClock) -> None:
    """It tells what it would have done, and goes on counting."""
    told: list[RateLimitedCall] = []
    limit = limit_on(
        clock, 60, burst_requests=1, max_wait_seconds=1.5, observe_only=True, on_limited=told.append
    )
    assert [limit.call(clock) for _ in range(3)] == [0, 0, 0]
    assert told == [
        RateLimitedCall("requests", 1, refused=False, made=False),
        RateLimitedCall("requests", 2, refused=True, made=False),
    ]
    assert limit.snapshot()[3:] == (3, 2, 1)


def test_switched_off_it_does_nothing(clock: FakeClock) -> None:
    """Off, calls pass uncounted; on again, it goes on where it was."""
    limit = limit_on(clock, 60, burst_requests=1)
    limit.enabled = False
    assert [limit.call(clock) for _ in range(3)] == [0, 0, 0]
    assert run(limit.acall(clock.asleep, 0)) is None
    assert limit.reserve(5).wait_seconds == 0
    assert limit.snapshot().requests == 1
    limit.enabled = True
    assert [limit.call(clock) for _ in range(2)] == [0, 1]


def test_broken_judges_and_listeners_are_logged(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """The call is made all the same."""

    def broken(*_: object) -> int:
        raise ValueError("broken judge")

    limit = limit_on(
        clock, 60, 60, burst_requests=1, estimate_tokens=broken, tokens_used=broken, on_limited=broken
    )
    with caplog.at_level(logging.WARNING):
        assert limit.call(clock) == 0
        assert limit.call(clock) == 1
    assert caplog.text.count("broken judge") == 5


def test_threads_together_are_no_faster() -> None:
    """Two hundred reservations from ten threads: the waits are 0, 1, 2 … as from one thread."""
    limit = RateLimit(60, burst_requests=1, clock=lambda: 0.0)
    waits: list[float] = []
    barrier = threading.Barrier(10)

    def worker() -> None:
        barrier.wait()
        for _ in range(20):
            waits.append(limit.reserve().wait_seconds)

    threads = [threading.Thread(target=worker) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(round(wait, 6) for wait in waits) == [float(n) for n in range(200)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "requests_per_minute"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": -1}, "tokens_per_minute"),
        ({"requests_per_minute": 1, "burst_requests": 0}, "burst_requests"),
        ({"requests_per_minute": 1, "burst_tokens": 5}, "burst_tokens"),
        ({"requests_per_minute": 1, "estimate_tokens": -5}, "estimate_tokens"),
        ({"requests_per_minute": 1, "tokens_used": 5}, "tokens_used"),
        ({"requests_per_minute": 1, "max_wait_seconds": -5}, "max_wait_seconds"),
        ({"requests_per_minute": 1, "name": ""}, "name"),
        ({"requests_per_minute": 1, "clock": 3}, "clock"),
        ({"requests_per_minute": 1, "sleep": None}, "^sleep must be callable, got None"),
        ({"requests_per_minute": 1, "asleep": 3}, "asleep must be callable, got 3"),
        ({"tokens_per_minute": 1, "estimate_tokens": 10**400}, "estimate_tokens must be"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    """Each by its name."""
    with pytest.raises((ValueError, TypeError), match=named):
        RateLimit(**arguments)


@pytest.mark.parametrize("colour", ["sync", "async", "stream"])
def test_a_pause_holds_for_those_who_wait_already(colour: str) -> None:
    """Three callers of one a second; while two of them wait, the provider asks the first for ten seconds: the
    queue stands still for so long, the two begin after that, a second apart, and are counted once."""
    began: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(60, burst_requests=1, clock=loop.time)

        async def ask() -> None:
            began.append(loop.time())
            if len(began) == 1:
                await asyncio.sleep(0.5)
                limit.pause(10)

        @limit
        async def items() -> AsyncGenerator[int, None]:
            await ask()
            yield 1

        async def read() -> None:
            async for _ in items():
                pass

        await asyncio.gather(*(limit.acall(ask) if colour == "async" else read() for _ in range(3)))
        seen = limit.snapshot()
        assert (seen.admitted, seen.delayed, seen.refused) == (3, 2, 0)

    if colour == "sync":
        clock = FakeClock()
        limit: RateLimit

        def sleep(seconds: float) -> None:
            if clock.now == 0.5:
                clock.advance(0.25)
                limit.pause(10 - 0.25)  # another thread was told so
                clock.advance(seconds - 0.25)
            else:
                clock.advance(seconds)

        limit = RateLimit(60, burst_requests=1, clock=clock, sleep=sleep)
        limit.call(lambda: began.append(clock.now))
        clock.advance(0.5)
        limit.call(lambda: began.append(clock.now))
        limit.call(lambda: began.append(clock.now))
    else:
        run(main())
    assert began == ([0.0, 10.75, 11.75] if colour == "sync" else [0.0, 11.0, 12.0])


def test_a_pause_that_is_too_long_refuses_who_waits_already() -> None:
    """Who would have to wait longer than it may is refused after all, and gives back what it took."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(60, burst_requests=1, max_wait_seconds=5, clock=loop.time)

        async def ask() -> None:
            await asyncio.sleep(0.5)
            limit.pause(10)

        ends = await asyncio.gather(limit.acall(ask), limit.acall(ask), return_exceptions=True)
        assert isinstance(ends[1], RateLimitExceededError)
        assert (ends[1].limit, ends[1].retry_after) == ("pause", pytest.approx(10))
        seen = limit.snapshot()
        assert (seen.admitted, seen.refused) == (1, 1)

    run(main())


def test_who_comes_during_a_pause_begins_apart() -> None:
    """Ten calls that come during a pause do not all begin at its end: what had flowed in until then is
    there, the others come at the rate."""
    clock = FakeClock()
    limit = RateLimit(60, burst_requests=2, clock=clock)
    limit.pause(30)
    waits = []
    for _ in range(5):
        clock.advance(1)
        waits.append(clock.now + limit.reserve().wait_seconds)
    assert waits == [30, 30, 31, 32, 33]


def test_what_was_reserved_while_switched_off_is_neither_settled_nor_given_back(clock: FakeClock) -> None:
    """Nothing was taken; giving that back would let one call more through than the provider allows."""
    limit = RateLimit(60, 600, burst_requests=1, burst_tokens=100, clock=clock)
    limit.reserve(100)
    limit.enabled = False
    given_back, settled = limit.reserve(50), limit.reserve(50)
    limit.enabled = True
    given_back.give_back()
    settled.settle(90)
    assert limit.snapshot().requests == limit.snapshot().tokens == 0


def test_what_was_reserved_is_settled_also_when_it_was_switched_off_meanwhile(clock: FakeClock) -> None:
    """The switch is for what begins after it."""
    limit = RateLimit(60, 600, burst_requests=2, burst_tokens=100, clock=clock)
    reserved, sent = limit.reserve(50), limit.reserve(50)
    limit.enabled = False
    reserved.give_back()
    sent.settle(40)
    limit.enabled = True
    assert (limit.snapshot().requests, limit.snapshot().tokens) == (1, 60)


class AskedToWaitError(Exception):
    status_code = 429

    def __init__(self, seconds: int) -> None:
        super().__init__("rate limited")
        self.headers = {"retry-after": str(seconds)}


@pytest.mark.parametrize(("asked", "paused"), [(60, 60.0), (10 * 86_400, 86_400.0)])
def test_a_pause_is_a_day_at_most(clock: FakeClock, asked: int, paused: float) -> None:
    """Whatever the provider asks for: a limit that stands still for a month is a mistake of somebody."""
    limit = RateLimit(60, clock=clock)

    def fail() -> None:
        raise AskedToWaitError(asked)

    with pytest.raises(AskedToWaitError):
        limit.call(fail)
    assert limit.snapshot().paused_seconds == paused


def test_a_limit_of_ours_inside_pauses_nobody(clock: FakeClock) -> None:
    """Its refusal says when a call may begin there; it is not the provider that asks to be left alone."""
    limit, inner = RateLimit(60, clock=clock), RateLimit(1, burst_requests=1, max_wait_seconds=0, clock=clock)
    inner.reserve()
    with pytest.raises(RateLimitExceededError):
        limit.call(inner.call, len, "")
    assert limit.snapshot().paused_seconds == 0
