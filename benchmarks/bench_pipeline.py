"""Retries, breakers with windows, and several parts around one call: the happy path.

The floor is a function that calls and re-raises.  A pipeline is also held against its own parts called one
inside the other by hand: what it adds to them.  A sync timeout's thread is one of these parts, so what the
timeout costs alone is said beside it, over a bare thread that is started and joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Thread

from benchmarks.harness import (
    Aim,
    Comparison,
    Effort,
    Figure,
    Subject,
    answer,
    async_answer,
    async_floor,
    compare_all,
    floor,
)
from benchmarks.policy_peers import (
    COUNT_WINDOWS,
    RETRIES,
    STACKS,
    TIME_WINDOWS,
    TIMED_STACKS,
    PolicyPeer,
)
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.deadlines import Timeout
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.retry_policy import Retry

RETRY, ASYNC_RETRY, WINDOW = Aim(2.5), Aim(1.8), Aim(8.0)
ADDED_S = 3e-6
FLOOR = Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1)
ASYNC_FLOOR = Subject(
    "floor", "result = await floor(fn)", {"floor": async_floor, "fn": async_answer}, 1, awaits=True
)


def _ours(code: str, awaits: bool = False, name: str = "ours", **names: object) -> Subject:
    fn: Callable[[], object] = async_answer if awaits else answer
    return Subject(name, code, {**names, "fn": fn}, 1, awaits=awaits)


def comparisons() -> Iterator[Comparison]:
    """Ours over the floor, and a pipeline over its parts."""
    yield Comparison("retry, success", FLOOR, [_ours("result = r.call(fn)", r=Retry(3))], RETRY)
    yield Comparison(
        "retry, async success",
        ASYNC_FLOOR,
        [_ours("result = await r.acall(fn)", True, r=Retry(3))],
        ASYNC_RETRY,
    )
    for what, window in (("count", {"window_calls": 100}), ("time", {"window_seconds": 60.0})):
        breaker = CircuitBreaker("bench", minimum_calls=10, **window)  # type: ignore[arg-type]
        for _ in range(20):
            breaker.call(answer)
        yield Comparison(
            f"breaker with a {what} window, success", FLOOR, [_ours("result = b.call(fn)", b=breaker)], WINDOW
        )
    yield from pipelines()
    yield from timeouts()


def pipelines() -> Iterator[Comparison]:
    """Retry and breaker, and with a timeout around them, over the same by hand."""
    retry, breaker, timeout = Retry(3), CircuitBreaker("bench"), Timeout(30)
    face = breaker.as_async()
    small, large = Pipeline(retry, breaker), Pipeline(timeout, retry, breaker)
    parts: dict[str, object] = {"r": retry, "b": breaker, "f": face, "t": timeout}
    yield Comparison(
        "pipeline of retry and breaker, over its parts",
        _ours("result = r.call(b.call, fn)", name="parts", r=retry, b=breaker),
        [_ours("result = p.call(fn)", p=small)],
    )
    yield Comparison(
        "async pipeline of retry and breaker, over its parts",
        _ours("result = await r.acall(f.call, fn)", True, name="parts", r=retry, f=face),
        [_ours("result = await p.acall(fn)", True, p=small)],
    )
    yield Comparison(
        "pipeline of timeout, retry and breaker, over its parts",
        _ours("result = t.call(r.call, b.call, fn)", name="parts", **{k: parts[k] for k in "trb"}),
        [_ours("result = p.call(fn)", p=large)],
    )
    yield Comparison(
        "async pipeline of timeout, retry and breaker, over its parts",
        _ours(
            "result = await t.acall(r.acall, f.call, fn)", True, name="parts", **{k: parts[k] for k in "trf"}
        ),
        [_ours("result = await p.acall(fn)", True, p=large)],
    )


def started_and_joined() -> int:
    """The least that a call on a thread of its own can do."""
    answers: list[int] = []
    thread = Thread(target=lambda: answers.append(answer()), daemon=True)
    thread.start()
    thread.join()
    return answers[0]


def timeouts() -> Iterator[Comparison]:
    """What a timeout costs by itself: a sync one needs a thread, one of the parts of the pipeline above."""
    timeout = Timeout(30)
    thread = Subject("a bare thread", "result = fn()", {"fn": started_and_joined}, 1)
    yield Comparison("a timeout alone, over a bare thread", thread, [_ours("result = t.call(fn)", t=timeout)])
    yield Comparison(
        "an async timeout alone", ASYNC_FLOOR, [_ours("result = await t.acall(fn)", True, t=timeout)]
    )


def added(figures: list[Figure]) -> list[Figure]:
    """What each pipeline adds to its parts, in seconds, with its aim."""
    return [
        Figure(
            figure.what.replace("over its parts", "added"),
            "ours",
            seconds=figure.added,
            aim=Aim(ADDED_S, "s"),
        )
        for figure in figures
        if "over its parts" in figure.what and figure.added is not None
    ]


# --- the peers ----------------------------------------------------------------------------------------------


def stacks() -> Iterator[Comparison]:
    """Whole stacks as decorators, ours and others'."""
    for what, timed in (("retry and breaker", ()), ("timeout, retry and breaker", (Timeout(30),))):
        pipeline = Pipeline(*timed, Retry(3), CircuitBreaker("bench"))
        for awaits, floor_of in ((False, FLOOR), (True, ASYNC_FLOOR)):
            guarded = pipeline(async_answer) if awaits else pipeline(answer)
            code = "result = await guarded()" if awaits else "result = guarded()"
            ours = Subject("ours", code, {"guarded": guarded}, 1, awaits=awaits)
            yield Comparison(f"{'async ' * awaits}stack of {what}", floor_of, [ours])


def peers_of(what: str) -> tuple[PolicyPeer, ...]:
    """Whom *what* is compared with."""
    by_beginning = {
        "retry": RETRIES,
        "breaker with a count": COUNT_WINDOWS,
        "breaker with a time": TIME_WINDOWS,
        "stack of timeout": TIMED_STACKS,
        "stack of retry": STACKS,
    }
    bare = what.removeprefix("async ")
    return next((peers for beginning, peers in by_beginning.items() if bare.startswith(beginning)), ())


def with_peers(ours: Comparison) -> tuple[Comparison, list[Figure]]:
    """A comparison with every peer that can take part, and lines for those that cannot."""
    subjects, absent = list(ours.subjects), []
    for peer in peers_of(ours.what):
        try:
            subjects.append(peer.subject(awaits=ours.floor.awaits))
        except Exception as error:
            absent.append(Figure(ours.what, peer.distribution, note=repr(error)))
    return Comparison(ours.what, ours.floor, subjects, ours.aim), absent


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    figures = []
    for ours in (*comparisons(), *stacks()):
        comparison, absent = with_peers(ours) if peers else (ours, [])
        # A thread that is started takes a fifth more or less each time, many times what a pipeline adds.
        steadier = replace(effort, rounds=effort.rounds * 3, sample_s=effort.sample_s * 2)
        threads = comparison.what == "pipeline of timeout, retry and breaker, over its parts"
        figures += compare_all([comparison], steadier if threads else effort) + absent
    return figures + added(figures)
