"""A run whose time is over begins nothing: whoever makes calls says so before the first of them.

A policy that only observes, or is switched off, is not there, and so does not refuse either.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import copy_context
from typing import Any

import pytest

from techrevati.runtime._core import deadline
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError, Timeout
from techrevati.runtime.failover import Failover, NoTargetError, Target
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.retry_policy import Recovery, Retry
from techrevati.runtime.testing import FakeClock, run

MAKERS: dict[str, Callable[[], Any]] = {
    "retry": lambda: Retry(sleep=_no_wait),
    "recovery": lambda: Recovery(sleep=_no_wait),
    "hedge": lambda: Hedge(idempotent=True, delay_seconds=60),
    "timeout": lambda: Timeout(60),
    "pipeline of a retry": lambda: Pipeline(Retry(sleep=_no_wait)),
    "pipeline of a breaker": lambda: Pipeline(CircuitBreaker("b")),
    "pipeline of a failover": lambda: Pipeline(Failover([Target("other", lambda: "answer")])),
}
FACES = ("call", "acall", "def", "async def", "generator", "async generator")


def _no_wait(seconds: float) -> None:
    raise AssertionError(f"nobody waits, and {seconds} s were waited")


class Source:
    """The wrapped function, in every colour."""

    def __init__(self) -> None:
        self.requests = 0

    def plain(self) -> str:
        self.requests += 1
        return "answer"

    async def tasked(self) -> str:
        return self.plain()

    def stream(self) -> Generator[str, None, None]:
        yield self.plain()

    async def astream(self) -> AsyncGenerator[str, None]:
        yield self.plain()


def ask(part: Any, face: str, source: Source) -> object:
    if face == "call":
        return part.call(source.plain)
    if face == "acall":
        return run(part.acall(source.tasked))
    if face == "def":
        return part(source.plain)()
    if face == "async def":
        return run(part(source.tasked)())
    if face == "generator":
        return "".join(part(source.stream)())

    async def read() -> str:
        return "".join([item async for item in part(source.astream)()])

    return run(read())


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", list(MAKERS))
def test_after_the_deadline_no_call_begins(name: str, face: str) -> None:
    clock, source = FakeClock(), Source()
    with Deadline(5, clock=clock):
        assert ask(MAKERS[name](), face, source) == "answer"
        clock.advance(5)
        with pytest.raises(DeadlineExceededError, match="the deadline of 5 s has passed"):
            ask(MAKERS[name](), face, source)
    assert source.requests == 1
    assert ask(MAKERS[name](), face, source) == "answer"


@pytest.mark.parametrize("face", ["call", "acall"])
@pytest.mark.parametrize("name", list(MAKERS))
def test_a_context_keeps_its_deadline_after_the_block(name: str, face: str) -> None:
    """A task that was begun inside, or a copied context in a pool, goes on when the block has been left."""
    clock, source = FakeClock(), Source()
    with Deadline(5, clock=clock):
        context = copy_context()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        context.run(ask, MAKERS[name](), face, source)
    assert source.requests == 0
    assert ask(MAKERS[name](), face, source) == "answer"


def test_no_call_asks_for_deadlines_once_nobody_holds_one() -> None:
    """Contexts end with what holds them; what they kept alive is told exactly until then."""
    told = list[bool]()
    deadline.when_running(told.append)
    with Deadline(5, clock=FakeClock()):
        context = copy_context()
    gc.collect()
    before = told[-1]
    del context
    gc.collect()
    assert (before, told[-1]) == (True, False)
    deadline._told.remove(told.append)


@pytest.mark.parametrize("mode", ["observe_only", "off"])
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", list(MAKERS))
def test_a_policy_that_is_not_there_does_not_refuse(name: str, face: str, mode: str) -> None:
    clock, source, part = FakeClock(), Source(), MAKERS[name]()
    with Deadline(5, clock=clock):
        clock.advance(5)
        part.observe_only, part.enabled = mode == "observe_only", mode != "off"
        assert ask(part, face, source) == "answer"


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("mode", ["observe_only", "off"])
def test_a_deadline_that_is_not_there_refuses_nothing(name: str, mode: str) -> None:
    clock, source = FakeClock(), Source()
    absent = Deadline(5, clock=clock)
    absent.observe_only, absent.enabled = mode == "observe_only", mode != "off"
    clock.advance(5)
    with absent:
        assert ask(MAKERS[name](), "call", source) == "answer"


def test_a_failover_says_that_the_time_is_over_not_that_nobody_is_there() -> None:
    """The one comes back and may be tried again, the other does not."""
    clock, asked = FakeClock(), list[str]()
    failover = Failover(
        [Target("near", lambda: asked.append("near")), Target("far", lambda: None)], clock=clock
    )
    with Deadline(5, clock=clock):
        clock.advance(5)
        for begun in (failover.call, lambda: run(failover.acall()), lambda: list(failover.stream())):  # type: ignore[misc, arg-type]
            with pytest.raises(DeadlineExceededError):
                begun()
    assert asked == []


def test_a_failover_with_everybody_at_rest_and_time_left_has_no_target() -> None:
    breaker = CircuitBreaker("near")
    breaker.force_open()
    with Deadline(5, clock=FakeClock()), pytest.raises(NoTargetError):
        Failover([Target("near", lambda: "answer", breaker=breaker)]).call()


def test_time_that_runs_out_while_targets_are_asked_raises_what_the_last_one_raised() -> None:
    clock = FakeClock()

    def slow() -> str:
        clock.advance(5)
        raise ConnectionError("down")

    with Deadline(5, clock=clock), pytest.raises(ConnectionError, match="down"):
        Failover([Target("near", slow), Target("far", lambda: "answer")], clock=clock).call()
