"""Hedging of streams: the first item decides, losers are closed and told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from techrevati.runtime import Hedge
from techrevati.runtime.hedging import Loser
from techrevati.runtime.testing import run


def test_the_first_item_wins_and_the_loser_is_closed_and_told() -> None:
    go, told = threading.Event(), threading.Event()
    losers: list[Loser] = []
    closed: list[int] = []
    numbers = iter([1, 2])

    def lost(loser: Loser) -> None:
        losers.append(loser)
        told.set()

    def items() -> Iterator[str]:
        number = next(numbers)
        try:
            if number == 1:
                assert go.wait(10)
            yield f"{number}a"
            yield f"{number}b"
        finally:
            closed.append(number)

    hedge = Hedge(idempotent=True, delay_seconds=0, on_loser=lost)
    assert list(hedge(items)()) == ["2a", "2b"]
    go.set()
    assert told.wait(10)
    assert [(loser.number, loser.result) for loser in losers] == [(1, "1a")]
    assert closed == [2, 1]


def test_a_failure_after_the_first_item_is_raised_and_not_repeated() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        begun.append(1)
        yield 1
        raise ConnectionError("reset")

    stream = Hedge(idempotent=True, delay_seconds=60).stream(items)
    assert begun == []
    assert next(stream) == 1
    with pytest.raises(ConnectionError, match="reset"):
        next(stream)
    assert begun == [1]


def test_a_failure_before_the_first_item_starts_the_next() -> None:
    script = iter([ConnectionError("down"), None])

    def items() -> Iterator[int]:
        if (error := next(script)) is not None:
            raise error
        yield 1

    assert list(Hedge(idempotent=True, delay_seconds=60).stream(items)) == [1]


def test_closing_early_closes_the_winner() -> None:
    closed: list[int] = []

    def items() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(1)

    stream = Hedge(idempotent=True, delay_seconds=60).stream(items)
    next(stream)
    stream.close()
    assert closed == [1]


@pytest.mark.parametrize("late", [True, False], ids=["late", "at the same time"])
def test_async_losers_are_closed_and_told_and_no_task_is_left(late: bool) -> None:
    losers: list[Loser] = []
    closed: list[int] = []

    async def main() -> None:
        numbers = iter([1, 2])

        async def items() -> AsyncIterator[int]:
            number = next(numbers)
            try:
                if late and number == 1:
                    await asyncio.Event().wait()
                yield number
                yield number * 10
            finally:
                closed.append(number)

        hedge = Hedge(idempotent=True, delay_seconds=0, on_loser=losers.append)
        got = [item async for item in hedge(items)()]
        for _ in range(3):
            await asyncio.sleep(0)
        assert got in ([2, 20], [1, 10])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [loser.number for loser in losers] == [3 - got[0]]
        assert sorted(closed) == [1, 2]

    run(main())


def test_cancelling_before_the_first_item_closes_all() -> None:
    closed: list[int] = []

    async def main() -> None:
        async def items() -> AsyncIterator[int]:
            try:
                await asyncio.Event().wait()
                yield 1
            finally:
                closed.append(1)

        stream = Hedge(idempotent=True, delay_seconds=0).astream(items)
        task = asyncio.ensure_future(anext(stream))  # type: ignore[arg-type]
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
    assert closed == [1, 1]


def test_closing_early_closes_the_async_winner() -> None:
    closed: list[int] = []

    async def main() -> None:
        async def items() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed.append(1)

        stream = Hedge(idempotent=True, delay_seconds=60).astream(items)
        assert await anext(stream) == 1
        await stream.aclose()
        assert closed == [1]

    run(main())


def test_an_async_stream_that_loses_by_a_hair_is_closed() -> None:
    """Two first items in the same step of the loop: one stream is read to its end, and the other one is
    closed."""
    closed: list[int] = []

    class Stream:
        def __init__(self, number: int) -> None:
            self.number, self.left = number, 2

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            await asyncio.sleep(0.0 if self.left < 2 else 5.0 - 2.0 * (self.number - 1))
            self.left -= 1
            return self.number

        async def aclose(self) -> None:
            closed.append(self.number)

    made: list[Stream] = []

    def begin() -> Stream:
        made.append(Stream(len(made) + 1))
        return made[-1]

    async def main() -> list[int]:
        losers: list[Loser] = []
        hedge = Hedge(idempotent=True, delay_seconds=2.0, on_loser=losers.append)
        items = [item async for item in hedge.astream(begin)]
        await asyncio.sleep(10)
        assert len(losers) == 1
        return items

    items = run(main())
    assert items in ([1, 1], [2, 2])
    assert closed == [3 - items[0]]
