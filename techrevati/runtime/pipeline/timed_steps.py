"""The deadline of a run around each step of a stream, and not around what its consumer does in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.wrapping import GENERATOR, colour

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, TypeVar

    from techrevati.runtime.deadlines import Deadline

    F = TypeVar("F", bound=Callable[..., object])


def under_deadline(deadline: Deadline, fn: F) -> F:
    """The generator function *fn*, each step under *deadline*; no step begins after it."""
    from functools import update_wrapper

    around = _generator if colour(fn) == GENERATOR else _async_generator
    return update_wrapper(around(deadline, fn), fn)  # type: ignore[arg-type, return-value]


def _generator(
    deadline: Deadline, fn: Callable[..., Generator[Any, Any, Any]]
) -> Callable[..., Generator[Any, Any, Any]]:
    def stream(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        made = fn(*args, **kwargs)
        step: Callable[[Any], Any] = made.send
        value: Any = None
        try:
            while True:
                deadline.check()
                with deadline:
                    try:
                        item = step(value)
                    except StopIteration as end:
                        return end.value
                try:
                    step, value = made.send, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    step, value = made.throw, error
        finally:
            made.close()

    return stream


def _async_generator(
    deadline: Deadline, fn: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def stream(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        made = fn(*args, **kwargs)
        step: Callable[[Any], Any] = made.asend
        value: Any = None
        try:
            while True:
                deadline.check()
                with deadline:
                    try:
                        item = await step(value)
                    except StopAsyncIteration:
                        return
                try:
                    step, value = made.asend, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    step, value = made.athrow, error
        finally:
            await made.aclose()

    return stream
