"""Retries as a decorator: the same for functions of every colour, streams up to their first item."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, Self, TypeVar

    from techrevati.runtime.retry_policy.retry import Retry

    F = TypeVar("F", bound=Callable[..., object])


def decorated(retry: Retry, fn: F) -> F:
    from functools import update_wrapper

    from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, GENERATOR, STREAMS, colour

    kind = colour(fn)
    if kind in STREAMS and retry._retry_result is not None:
        raise TypeError(f"retry_result judges returned values, and a stream has none: {fn!r}")
    if kind == COROUTINE:

        async def acall(*args: object, **kwargs: object) -> object:
            return await retry.acall(fn, *args, **kwargs)  # type: ignore[arg-type]

        return update_wrapper(acall, fn)  # type: ignore[return-value]
    if kind == GENERATOR:
        return update_wrapper(_generator(retry, fn), fn)  # type: ignore[arg-type, return-value]
    if kind == ASYNC_GENERATOR:
        return update_wrapper(_async_generator(retry, fn), fn)  # type: ignore[arg-type, return-value]

    def call(*args: object, **kwargs: object) -> object:
        value = retry.call(fn, *args, **kwargs)
        if not isinstance(value, CoroutineType):
            return value
        made = [value]  # a plain decorator around ``async def``: nothing ran yet
        return retry.acall(lambda: made.pop() if made else fn(*args, **kwargs))  # type: ignore[arg-type, return-value]

    return update_wrapper(call, fn)  # type: ignore[return-value]


class _Begun:
    """A generator whose first item was already taken: gives that first, then is the generator."""

    __slots__ = ("_first", "close", "send", "throw")

    def __init__(self, made: Generator[Any, Any, Any], first: object) -> None:
        self._first = [first]
        self.send, self.throw, self.close = made.send, made.throw, made.close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> object:
        return self._first.pop() if self._first else self.send(None)


def _generator(
    retry: Retry, fn: Callable[..., Generator[Any, Any, Any]]
) -> Callable[..., Generator[Any, Any, Any]]:
    def stream(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        def begun() -> tuple[Generator[Any, Any, Any], bool, object]:
            made = fn(*args, **kwargs)
            try:
                return made, False, next(made)
            except StopIteration as end:
                return made, True, end.value

        # Only up to the first item: what was handed out cannot be taken back.
        made, ended, item = retry.call(begun)
        if ended:
            return item
        return (yield from _Begun(made, item))

    return stream


def _async_generator(
    retry: Retry, fn: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def stream(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        async def begun() -> tuple[AsyncGenerator[Any, Any], bool, object]:
            made = fn(*args, **kwargs)
            try:
                return made, False, await made.__anext__()
            except StopAsyncIteration:
                return made, True, None

        made, ended, item = await retry.acall(begun)
        while not ended:
            try:
                step = made.asend((yield item))
            except GeneratorExit:
                await made.aclose()
                raise
            except BaseException as error:
                step = made.athrow(error)
            try:
                item = await step
            except StopAsyncIteration:
                ended = True

    return stream
