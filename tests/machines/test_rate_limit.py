"""Many callers at a rate limit, in any order: none too fast, nothing lost by those who give up."""

from __future__ import annotations

import asyncio
import itertools
from fractions import Fraction

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.rate_limit import RateLimit, RateLimitExceededError, Reservation
from techrevati.runtime.testing import FakeClock, run

REQUESTS, TOKENS = 60, 6_000  # 1 and 100 a second
BURST, BURST_TOKENS = 3, 500
LONGEST_S = 20.0


class RateLimitMachine(RuleBasedStateMachine):
    """Whatever is taken, settled and given back in whatever order, the wait is exactly that of a bucket
    that is counted step by step, in exact numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.limit = RateLimit(
            REQUESTS,
            TOKENS,
            burst_requests=BURST,
            burst_tokens=BURST_TOKENS,
            max_wait_seconds=LONGEST_S,
            clock=self.clock,
        )
        self.requests, self.tokens = Fraction(BURST), Fraction(BURST_TOKENS)  # negative: in debt
        self.live: list[Reservation] = []

    @rule(quarters=st.integers(0, 40))
    def time_passes(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)
        self.requests = min(Fraction(BURST), self.requests + Fraction(quarters, 4))
        self.tokens = min(Fraction(BURST_TOKENS), self.tokens + 25 * quarters)

    @rule(tokens=st.integers(0, 900))
    def start(self, tokens: int) -> None:
        wait_s = max(Fraction(0), -(self.requests - 1), -(self.tokens - tokens) / 100)
        reservation = None
        refused_for_s = 0.0
        try:
            reservation = self.limit.reserve(tokens)
        except RateLimitExceededError as refusal:
            refused_for_s = refusal.retry_after
        if reservation is None:
            assert wait_s > LONGEST_S - 1e-6
            assert abs(refused_for_s - float(wait_s)) < 1e-6
            return
        assert wait_s <= LONGEST_S + 1e-6
        assert abs(reservation.wait_seconds - float(wait_s)) < 1e-6
        self.requests -= 1
        self.tokens -= tokens
        self.live.append(reservation)

    @precondition(lambda self: self.live)
    @rule(nth=st.integers(0, 9), used=st.integers(0, 900))
    def finish(self, nth: int, used: int) -> None:
        reservation = self.live.pop(nth % len(self.live))
        reservation.settle(used)
        reservation.give_back()  # settled once is settled
        self.tokens = min(Fraction(BURST_TOKENS), self.tokens + reservation.tokens - used)

    @precondition(lambda self: self.live)
    @rule(nth=st.integers(0, 9))
    def give_up(self, nth: int) -> None:
        reservation = self.live.pop(nth % len(self.live))
        reservation.give_back()
        reservation.settle(900)
        self.requests = min(Fraction(BURST), self.requests + 1)
        self.tokens = min(Fraction(BURST_TOKENS), self.tokens + reservation.tokens)

    @invariant()
    def it_knows_what_is_left(self) -> None:
        now = self.limit.snapshot()
        assert now.requests is not None
        assert now.tokens is not None
        assert abs(now.requests - float(self.requests)) < 1e-6
        assert abs(now.tokens - float(self.tokens)) < 1e-3


TestRateLimitMachine = RateLimitMachine.TestCase
TestRateLimitMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=200, stateful_step_count=40
)


@given(
    callers=st.integers(1, 12),
    pauses=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 40)), max_size=4),
)
@settings(derandomize=True, max_examples=200)
def test_a_queue_stands_still_for_a_pause_and_loses_nothing_else(
    callers: int, pauses: list[tuple[int, int]]
) -> None:
    """However often the provider asks for a pause: nobody begins in one, the queue keeps its order and its
    rate, and nobody waits longer than its turn and the pauses together."""
    began: dict[int, float] = {}
    asked = [(at / 4 + 0.1, at / 4 + 0.1 + length / 4) for at, length in pauses]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(REQUESTS, burst_requests=1, clock=loop.time)

        async def work(number: int) -> None:
            began[number] = loop.time()

        async def pause(begins_s: float, ends_s: float) -> None:
            await asyncio.sleep(begins_s)
            limit.pause(ends_s - begins_s)

        calls = [limit.acall(work, number) for number in range(callers)]
        await asyncio.gather(*calls, *itertools.starmap(pause, asked))

    run(main())
    assert list(began) == list(range(callers))
    times = list(began.values())
    assert all(later - earlier > 1 - 1e-6 for earlier, later in itertools.pairwise(times))
    assert not any(begins_s < time < ends_s - 1e-6 for time in times for begins_s, ends_s in asked)
    for number, time in began.items():
        assert time <= number + sum(ends_s - begins_s for begins_s, ends_s in asked) + 1e-6
