"""A turn through a session with a breaker, usage, an enforced budget and both rings.

Flatness pairs an old session with a young one: a few turns after the first *YOUNG* turns of a fresh session,
next to the same number of turns of one that has *OLD* behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat

from benchmarks.harness import (
    Aim,
    Clock,
    Comparison,
    Effort,
    Figure,
    Pairs,
    Subject,
    WrongAnswerError,
    answer,
    async_answer,
    async_floor,
    compare_all,
    floor,
)
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
from techrevati.runtime.orchestrator.session import OrchestrationSession
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.sinks import RingBufferEventSink, RingBufferUsageSink
from techrevati.runtime.usage import UsageSnapshot

TURN = Aim(8e-6, "s")
FLAT = Aim(1.1)
YOUNG = 100
OLD = 100_000
BLOCK = 500
MODEL = "bench-small"
USAGE = UsageSnapshot(input_tokens=1_000, output_tokens=200, cache_read_tokens=400)
USD_PER_TURN = 0.00084  # 1000 at 0.4, 200 at 2.0 and 400 at 0.1 USD per million


@dataclass
class Desk:
    """An orchestrator with everything a turn can pass through, and a way to look behind it."""

    orchestrator: Orchestrator
    ring: RingBufferUsageSink

    def spent(self, session: OrchestrationSession | AsyncOrchestrationSession) -> Callable[[], str]:
        """A check that one turn of *session* was booked everywhere."""

        def look() -> str:
            books = session.tracker.total_cost(), session.tracker.turns, self.ring.records
            if books != (USD_PER_TURN, 1, [(MODEL, USAGE, USD_PER_TURN)]):
                raise WrongAnswerError(f"one turn was booked as {books}")
            return ""

        return look


def desk() -> Desk:
    """A new one."""
    register_pricing(MODEL, ModelPricing(0.4, 2.0, cache_read_per_million=0.1))
    ring = RingBufferUsageSink()
    orchestrator = Orchestrator(
        "researcher",
        "draft",
        circuit_breaker=CircuitBreaker("bench"),
        budget_usd=1e9,
        enforce_budget=True,
        max_iterations=10**12,
        event_sink=RingBufferEventSink(),
        usage_sink=ring,
    )
    return Desk(orchestrator, ring)


def comparisons(stack: ExitStack) -> Iterator[Comparison]:
    """Ours over the floor; sessions stay open as long as *stack*."""
    here = desk()
    session = stack.enter_context(here.orchestrator.session())
    names: dict[str, object] = {"session": session, "fn": answer, "MODEL": MODEL, "USAGE": USAGE}
    code = "result = session.run_turn(fn, MODEL, USAGE)"
    yield Comparison(
        "turn: breaker, usage, budget, both rings",
        Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1),
        [Subject("ours", code, names, (1, USAGE), check=here.spent(session))],
        TURN,
    )


async def _entered(orchestrator: Orchestrator) -> AsyncOrchestrationSession:
    return await orchestrator.asession().__aenter__()


def async_comparison() -> Comparison:
    """The same turn in an async session; no aim was set for it."""
    import asyncio

    here = desk()
    session = asyncio.run(_entered(here.orchestrator))
    names: dict[str, object] = {"session": session, "fn": async_answer, "MODEL": MODEL, "USAGE": USAGE}
    code = "result = await session.arun_turn(fn, MODEL, USAGE)"
    return Comparison(
        "turn, async",
        Subject(
            "floor", "result = await floor(fn)", {"floor": async_floor, "fn": async_answer}, 1, awaits=True
        ),
        [Subject("ours", code, names, (1, USAGE), awaits=True, check=here.spent(session))],
    )


def flatness(effort: Effort, *, young: int = YOUNG, old: int = OLD, block: int = BLOCK) -> Figure:
    """Turns after *old* turns, with turns after *young* turns of a fresh session as the floor."""
    pairs = Pairs()
    with ExitStack() as stack:
        aged = stack.enter_context(desk().orchestrator.session())
        _turns(aged, old, effort.clock)
        for number in range(effort.rounds):
            with desk().orchestrator.session() as fresh:
                _turns(fresh, young, effort.clock)
                pairs.add(
                    lambda: _turns(aged, block, effort.clock),
                    lambda fresh=fresh: _turns(fresh, block, effort.clock),  # type: ignore[misc]
                    floor_first=number % 2 == 0,
                )
        turns = old + effort.rounds * block
        if aged.tracker.turns != turns:
            raise WrongAnswerError(f"{turns} turns were booked as {aged.tracker.turns}")
    return pairs.figure(f"turn {old:,} over turn {young}", "ours", FLAT, "floor: the young session")


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun; no peer has one like it."""
    with ExitStack() as stack:
        figures = compare_all(comparisons(stack), effort)
    return [*figures, *compare_all([async_comparison()], effort), flatness(effort)]


def _turns(session: OrchestrationSession, count: int, clock: Clock) -> float:
    """Seconds per turn of the next *count* turns."""
    start_s = clock()
    for _ in repeat(None, count):
        session.run_turn(answer, MODEL, USAGE)
    return (clock() - start_s) / count
