"""Hedged calls under any order of starts, failures, answers and waits.

The machine holds the decisions to what they promise, with several calls in flight that share one bucket of
extra load.  The property holds the shell, in virtual time, to a reference written without any of its code.
"""

from __future__ import annotations

import asyncio

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.hedging import (
    ExtraLoad,
    Hedge,
    Loser,
    Race,
    begun,
    declined,
    failed,
    is_due,
    is_lost,
    joined,
)
from techrevati.runtime.testing import run

LIMIT, DELAY_S, SHARE, BURST = 3, 2.0, 0.25, 2


class Call:
    """One call in flight: its race, and what really happened to it."""

    def __init__(self, now_s: float, delay_s: float | None) -> None:
        self.delay_s = delay_s
        self.race: Race = begun(now_s, delay_s, LIMIT)
        self.running = {1}
        self.began = [now_s]
        self.failed_at: float | None = None
        self.told_no = False


class HedgeMachine(RuleBasedStateMachine):
    """Calls begin, requests fail or answer, and time passes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.extra = ExtraLoad(SHARE, BURST)
        self.calls = self.made = 0
        self.live: list[Call] = []

    def begin_due(self) -> None:
        for call in self.live:
            while is_due(call.race, self.now_s):
                # As a sum, like the moment it is due: the difference of two floats may fall just short of it.
                late = call.delay_s is not None and self.now_s >= call.began[-1] + call.delay_s
                assert late or call.failed_at == self.now_s, "one more request began for no reason"
                if not self.extra.take():
                    call.race = declined(call.race)
                    continue
                self.made += 1
                call.race = joined(call.race, self.now_s, call.delay_s, LIMIT)
                call.running.add(call.race.started)
                call.began.append(self.now_s)
                call.failed_at = None

    @rule(delay_s=st.sampled_from([DELAY_S, 0.0, None]))
    def start_a_call(self, delay_s: float | None) -> None:
        self.extra.called()
        self.calls += 1
        self.live.append(Call(self.now_s, delay_s))
        self.begin_due()

    @rule(seconds=st.floats(0.125, 5))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.begin_due()

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9), request=st.integers(0, 9), again=st.booleans())
    def fail(self, which: int, request: int, again: bool) -> None:
        call = self.live[which % len(self.live)]
        call.running.remove(sorted(call.running)[request % len(call.running)])
        call.race = failed(call.race, self.now_s, again, LIMIT)
        call.failed_at = self.now_s
        call.told_no |= not again
        before = call.race.started
        self.begin_due()
        if call.told_no:
            assert call.race.started == before, "a request began although none may help"
        if is_lost(call.race):
            assert not call.running
            self.live.remove(call)
        else:
            assert call.running, "nobody runs, nobody is due, and the call is not over"

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9))
    def answer(self, which: int) -> None:
        self.live.pop(which % len(self.live))

    @invariant()
    def the_extra_load_is_bounded(self) -> None:
        assert self.made <= BURST + SHARE * self.calls

    @invariant()
    def every_request_is_accounted_for(self) -> None:
        for call in self.live:
            assert call.race.started - call.race.failed == len(call.running)
            assert call.race.started == len(call.began) <= LIMIT

    @invariant()
    def nothing_due_is_left_undone(self) -> None:
        for call in self.live:
            due_s = call.race.next_at_s
            assert due_s is None or (
                due_s > self.now_s and not call.race.closed and call.race.started < LIMIT
            )


TestHedgeMachine = HedgeMachine.TestCase
TestHedgeMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- the shell ----------------------------------------------------------------------------------------------


class AgainError(Exception):
    """Asking again may help."""


class EnoughError(Exception):
    """It may not."""


Act = tuple[float, type[Exception] | None]
# Fractions that never meet: no two requests end at the same moment, and none ends when one is late.
acts_of_a_call = st.tuples(
    *(
        st.tuples(
            st.integers(0, 7).map(lambda n, part=part: n + part),
            st.sampled_from([None, AgainError, EnoughError]),
        )
        for part in (1 / 8, 1 / 16, 1 / 32)
    )
)


def reference(acts: tuple[Act, ...]) -> tuple[list[float], int | None, float]:
    """When each request begins, who answers (None: all fail), and when the call is over."""
    began, ends = [0.0], {1: acts[0][0]}
    late_s, closed = DELAY_S, False
    while ends:
        number, end_s = min(ends.items(), key=lambda item: item[1])
        may_begin = not closed and len(began) < LIMIT
        if may_begin and late_s < end_s:
            now_s = late_s
        else:
            error = acts[number - 1][1]
            if error is None:
                return began, number, end_s
            del ends[number]
            closed = closed or error is EnoughError
            if closed or len(began) == LIMIT:
                continue
            now_s = end_s
        began.append(now_s)
        ends[len(began)] = now_s + acts[len(began) - 1][0]
        late_s = now_s + DELAY_S
    return began, None, end_s


@settings(max_examples=300, deadline=None)
@given(acts_of_a_call)
def test_the_shell_does_what_the_reference_says(acts: tuple[Act, ...]) -> None:
    """Every request begins when it should, the right one answers in time, and each other is told once."""
    began: list[float] = []
    losers: list[Loser] = []

    async def fn() -> int:
        number = len(began) + 1
        began.append(asyncio.get_running_loop().time())
        takes_s, error = acts[number - 1]
        await asyncio.sleep(takes_s)
        if error is not None:
            raise error(error.__name__)
        return number

    hedge = Hedge(
        idempotent=True,
        delay_seconds=DELAY_S,
        max_requests=LIMIT,
        burst_requests=LIMIT,
        hedges_on=lambda failure: failure.message == "AgainError",
        on_loser=losers.append,
    )

    async def main() -> tuple[int | None, float]:
        loop = asyncio.get_running_loop()
        answer: int | None = None
        try:
            answer = await hedge.acall(fn)
        except (AgainError, EnoughError):
            pass
        over_s = loop.time()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answer, over_s

    answer, over_s = run(main())
    assert (began, answer, over_s) == reference(acts)
    assert len({loser.number for loser in losers}) == len(losers) == len(began) - 1
