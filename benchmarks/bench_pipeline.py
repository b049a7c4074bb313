"""Retries, breakers with windows, and several parts around one call: the happy path.

The floor is a function that calls and re-raises.  A pipeline is also held against its own parts called one
inside the other by hand: what it adds to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

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


def _tenacity(awaits: bool) -> Callable[[Any], Any]:
    m = import_module("tenacity")
    decorator: Callable[[Any], Any] = m.retry(stop=m.stop_after_attempt(3))
    return decorator


def _stamina(awaits: bool) -> Callable[[Any], Any]:
    decorator: Callable[[Any], Any] = import_module("stamina").retry(on=Exception, attempts=3)
    return decorator


def _backoff(awaits: bool) -> Callable[[Any], Any]:
    m = import_module("backoff")
    decorator: Callable[[Any], Any] = m.on_exception(m.expo, Exception, max_tries=3)
    return decorator


def _pyresilience(awaits: bool) -> Callable[[Any], Any]:
    m = import_module("pyresilience")
    decorator: Callable[[Any], Any] = m.resilient(retry=m.RetryConfig(max_attempts=3))
    return decorator


RETRIES = (
    ("tenacity", _tenacity),
    ("stamina", _stamina),
    ("backoff", _backoff),
    ("pyresilience", _pyresilience),
)


def with_peers(ours: Comparison) -> tuple[Comparison, list[Figure]]:
    """A comparison of retries with every peer that can take part, and lines for those that cannot."""
    subjects, absent = list(ours.subjects), []
    awaits = ours.floor.awaits
    fn: Callable[[], object] = async_answer if awaits else answer
    for name, decorator in RETRIES:
        try:
            guarded = decorator(awaits)(fn)
        except Exception as error:
            absent.append(Figure(ours.what, name, note=repr(error)))
        else:
            code = "result = await guarded()" if awaits else "result = guarded()"
            subjects.append(Subject(name, code, {"guarded": guarded}, 1, awaits=awaits))
    return Comparison(ours.what, ours.floor, subjects, ours.aim), absent


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    figures = []
    for ours in comparisons():
        comparison, absent = with_peers(ours) if peers and ours.what.startswith("retry") else (ours, [])
        figures += compare_all([comparison], effort) + absent
    return figures + added(figures)
