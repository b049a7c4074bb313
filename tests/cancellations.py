"""Cancel a task at each of its awaits, one run for each.

``Cancelled`` awaits a coroutine and cancels its own task at one await: while it waits, or at the moment in
which what it waits for has come but the task has not gone on yet; the second is where permits get lost.  What
a call awaits in tasks of its own is reached by cancelling it after each step of the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from itertools import count, product
from typing import Any

from techrevati.runtime.testing import run


class Cancelled:
    """Awaits *made*; cancelled at its await number *at* (from 1; 0: never)."""

    def __init__(self, made: Coroutine[Any, Any, Any], at: int, when: str) -> None:
        self._made = made
        self._at = at
        self._when = when
        self.reached = False
        self.task: asyncio.Task[Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        number = 0
        self.task = asyncio.current_task()
        if self._when == "step" and self._at:
            self._count_steps()
        try:
            while True:
                waits_for = self._made.send(None) if error is None else self._made.throw(error)
                error = None
                number += 1
                if number == self._at and self._when != "step":
                    self.reached = True
                    self._cancel_at(waits_for)
                try:
                    yield waits_for
                except BaseException as raised:
                    error = raised
        except StopIteration as end:
            return end.value
        finally:
            error = None

    def _count_steps(self) -> None:
        loop: Any = asyncio.get_running_loop()
        step, left = loop._run_once, self._at

        def counted() -> None:
            nonlocal left
            step()
            left -= 1
            assert self.task is not None
            if left == 0 and not self.task.done():
                self.reached = True
                self.task.cancel()

        loop._run_once = counted

    def _cancel_at(self, waits_for: Any) -> None:
        task = self.task
        assert task is not None
        if self._when == "has come" and waits_for is not None:
            # Asked before the task itself asks, so called before the task goes on.
            waits_for.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


Start = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
Scenario = Callable[[list[Start]], Awaitable[None]]
"""Starts coroutines with each of the three; the first one is the one that is cancelled; checks in the end."""


def explore(scenario: Scenario, *, latest: int = 3) -> int:
    """Run *scenario* for each await of the first task, each way to cancel there, and each order in which the
    three tasks come, up to *latest* steps of the loop apart; how many runs that were.

    Afterwards no task and no thread is left.
    """
    threads = set(threading.enumerate())
    runs = 0

    async def main(begins: tuple[int, ...], at: int, when: str) -> bool:
        made: list[Cancelled] = []

        async def later(steps: int, coroutine: Coroutine[Any, Any, Any], at: int) -> Any:
            for _ in range(steps):
                await asyncio.sleep(0)
            made.append(Cancelled(coroutine, at, when))
            return await made[-1]

        def start(nth: int) -> Start:
            return lambda coroutine: asyncio.create_task(later(begins[nth], coroutine, at * (nth == 0)))

        try:
            await scenario([start(nth) for nth in range(3)])
        except AssertionError as error:
            error.add_note(f"begun at {begins}, cancelled at await {at} ({when})")
            raise
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is left"
        return any(each.reached for each in made)

    for begins in product(range(latest), repeat=3):
        for when in ("waiting", "has come", "step"):
            for at in count(1):
                runs += 1
                if not run(main(begins, at, when)):
                    break
    assert set(threading.enumerate()) <= threads, "a thread is left"
    return runs
