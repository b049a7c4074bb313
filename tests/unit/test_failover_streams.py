"""Failover of streams: another target is asked only while no item was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from techrevati.runtime import CircuitBreaker, Failover, Target
from techrevati.runtime.testing import run


class Provider:
    """Streams by script; exceptions are raised where they stand.  Notes who was asked and closed."""

    def __init__(self, *script: object) -> None:
        self.script = script
        self.asked = self.closed = 0

    def items(self) -> Iterator[Any]:
        self.asked += 1
        try:
            for item in self.script:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed += 1

    async def aitems(self) -> AsyncIterator[Any]:
        for item in self.items():
            await asyncio.sleep(0)
            yield item


def failover(first: Provider, second: Provider, colour: str, **more: Any) -> Failover[[], Any]:
    name = "items" if colour == "sync" else "aitems"
    return Failover([Target("a", getattr(first, name), **more), Target("b", getattr(second, name))])


def read(policy: Failover[[], Any], colour: str, got: list[object]) -> list[object]:
    async def aread() -> None:
        async for item in policy.astream():
            got.append(item)

    if colour == "sync":
        for item in policy.stream():
            got.append(item)
    else:
        run(aread())
    return got


both = pytest.mark.parametrize("colour", ["sync", "async"])


@both
def test_the_next_is_asked_before_the_first_item(colour: str) -> None:
    first, second = Provider(ConnectionError("down")), Provider(1, 2)
    assert read(failover(first, second, colour), colour, []) == [1, 2]
    assert (first.asked, second.asked, first.closed, second.closed) == (1, 1, 1, 1)


@both
def test_a_failure_after_the_first_item_is_raised_and_nobody_else_asked(colour: str) -> None:
    first, second, got = Provider(1, ConnectionError("reset")), Provider(2), []
    with pytest.raises(ConnectionError, match="reset"):
        read(failover(first, second, colour), colour, got)
    assert (got, second.asked) == ([1], 0)


@both
def test_an_empty_stream_is_an_answer(colour: str) -> None:
    second = Provider(2)
    assert read(failover(Provider(), second, colour), colour, []) == []
    assert second.asked == 0


@both
def test_a_bug_is_not_asked_twice(colour: str) -> None:
    second = Provider(2)
    with pytest.raises(TypeError, match="bug"):
        read(failover(Provider(TypeError("bug")), second, colour), colour, [])
    assert second.asked == 0


@both
def test_an_open_breaker_passes_its_target_over(colour: str) -> None:
    breaker = CircuitBreaker("a", failure_threshold=1)
    first, second = Provider(ConnectionError("down")), Provider(2)
    policy = failover(first, second, colour, breaker=breaker)
    assert read(policy, colour, []) + read(policy, colour, []) == [2, 2]
    assert first.asked == 1


def test_closing_early_closes_the_stream_of_the_target() -> None:
    first = Provider(1, 2)
    stream = failover(first, Provider(), "sync").stream()
    assert (first.asked, next(stream), first.closed) == (0, 1, 0)
    stream.close()
    assert first.closed == 1


def test_closing_early_closes_the_async_stream_of_the_target() -> None:
    closed: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("a")

    async def early() -> None:
        stream = Failover([Target("a", items)]).astream()
        assert await anext(stream) == 1
        await stream.aclose()
        assert closed == ["a"]

    run(early())


def test_cancelling_before_the_first_item_asks_nobody_else() -> None:
    seen: list[str] = []

    async def stuck() -> AsyncIterator[int]:
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            seen.append("closed")

    second = Provider(2)

    async def cancelled() -> None:
        policy = Failover([Target("a", stuck), Target("b", second.aitems)])
        task = asyncio.ensure_future(anext(policy.astream()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancelled())
    assert (seen, second.asked) == (["closed"], 0)


def test_an_sdk_like_stream_comes_from_an_awaited_call_and_is_closed() -> None:
    class Stream:
        def __init__(self) -> None:
            self.left, self.closed = [1, 2], False

        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> int:
            return self.left.pop(0)

        async def close(self) -> None:
            self.closed = True

    made = Stream()

    async def create() -> Stream:
        return made

    async def early() -> None:
        stream = Failover([Target("a", create)]).astream()
        assert await anext(stream) == 1
        await stream.aclose()

    run(early())
    assert made.closed


@pytest.mark.parametrize("ask", [lambda p: p.call(), lambda p: run(p.acall())])
def test_a_stream_is_not_an_answer(ask: Callable[[Any], object]) -> None:
    for make in (Provider(1).items, Provider(1).aitems):
        with pytest.raises(TypeError, match=r"stream\(\) or astream\(\)"):
            ask(Failover([Target("a", make)]))
