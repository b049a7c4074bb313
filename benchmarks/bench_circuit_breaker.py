"""A call through a breaker: let through, and refused.

Let through, the floor is a function that calls and re-raises.  Refused, it is an exception of one's own that
is raised and caught on the spot: the least that a refusal can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
from benchmarks.peers import BREAKERS, FAILURES, FOREVER_S, BreakerPeer
from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker, CircuitOpenError

SYNC = Aim(2.2)
ASYNC = Aim(1.5)
REFUSED = Aim(2.8)


class Refused(Exception):
    """What the least refusal raises."""


def never() -> int:
    """The dependency while the breaker is open."""
    raise AssertionError("called although the breaker is open")


def comparisons() -> Iterator[Comparison]:
    """Ours over the floor."""
    closed = CircuitBreaker("bench", FAILURES)
    yield Comparison(
        "breaker, success while closed",
        Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1),
        [
            Subject(
                "ours",
                "result = breaker.call(fn)",
                {"breaker": closed, "fn": answer},
                1,
                check=lambda: "call(*args, **kwargs): the empty dict and two tests are 0.7 of the floor",
            )
        ],
        SYNC,
    )
    async_closed = AsyncCircuitBreaker("bench", FAILURES)
    names: dict[str, object] = {"breaker": async_closed, "fn": async_answer}
    yield Comparison(
        "breaker, async success while closed",
        Subject(
            "floor", "result = await floor(fn)", {"floor": async_floor, "fn": async_answer}, 1, awaits=True
        ),
        [Subject("ours", "result = await breaker.call(fn)", names, 1, awaits=True)],
        ASYNC,
    )
    open_ = CircuitBreaker("bench", FAILURES, FOREVER_S)
    for _ in range(FAILURES):
        open_.record_failure()
    call = Subject(
        "ours",
        "result = breaker.call(fn)",
        {"breaker": open_, "fn": never},
        check=lambda: "half of it is the exception, which carries name and retry_after",
    )
    yield Comparison(
        "breaker, refused while open",
        Subject("floor", _caught("raise Refusal('open')"), {"Refusal": Refused}, "refused"),
        [_refused(call, CircuitOpenError)],
        REFUSED,
    )


def with_peers(ours: Comparison) -> tuple[Comparison, list[Figure]]:
    """The same comparison with every peer that can take part, and lines for those that cannot."""
    awaits = ours.floor.awaits
    refused = ours.floor.answer == "refused"
    subjects, absent = list(ours.subjects), []
    for peer in BREAKERS:
        try:
            if refused:
                subject = _refused(*peer.tripped(awaits=peer.sync is None))
                if peer.sync is None:
                    raise LookupError("asyncio only")
            else:
                subject = _let_through(peer, awaits)
        except Exception as error:
            reason = str(error) if isinstance(error, (LookupError, ImportError)) else repr(error)
            absent.append(Figure(ours.what, peer.distribution, note=reason))
        else:
            subjects.append(subject)
    return Comparison(ours.what, ours.floor, subjects, ours.aim), absent


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    figures = []
    for ours in comparisons():
        comparison, absent = with_peers(ours) if peers else (ours, [])
        figures += compare_all([comparison], effort) + absent
    return figures


def _let_through(peer: BreakerPeer, awaits: bool) -> Subject:
    fn: Callable[[], object] = async_answer if awaits else answer
    call = peer.face(awaits=awaits).subject(peer.distribution, peer.load(), fn, FOREVER_S, awaits)
    return Subject(call.name, call.code, call.names, 1, awaits=awaits, check=peer.manners)


def _refused(call: Subject, kind: type[Exception]) -> Subject:
    return Subject(
        call.name,
        _caught(call.code),
        {**call.names, "Refusal": kind},
        "refused",
        awaits=call.awaits,
        check=call.check,
    )


def _caught(code: str) -> str:
    body = "\n".join(f"    {line}" for line in code.splitlines())
    return f"try:\n{body}\nexcept Refusal:\n    result = 'refused'"
