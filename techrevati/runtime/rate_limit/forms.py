"""How a decorated function of any colour goes through a limit; a stream does so before its first item."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core.wrapping import COROUTINE, STREAMS, colour, either, inside, may_be_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeVar

    from techrevati.runtime.rate_limit.limit import RateLimit
    from techrevati.runtime.rate_limit.reservation import CallReservation

    F = TypeVar("F", bound=Callable[..., object])


def decorated(limit: RateLimit, fn: F) -> F:
    """*fn*, each call or stream of it through *limit*."""
    kind = colour(fn)
    if kind in STREAMS:
        return inside(lambda args, kwargs: _Entrance(limit, args, kwargs), fn)
    call: Callable[..., Any] = fn
    awaited: Callable[..., Awaitable[object]] = cast("Any", fn)

    async def acalled(*args: object, **kwargs: object) -> object:
        return await limit.acall(awaited, *args, **kwargs)

    def called(*args: object, **kwargs: object) -> object:
        return limit.call(call, *args, **kwargs)

    wrapper: Callable[..., Any] = acalled if kind == COROUTINE else called
    if may_be_async(fn):
        wrapper = either(limit.call, limit.acall, call)
    return update_wrapper(wrapper, fn)  # type: ignore[return-value]


class _Entrance:
    """The way into one stream: reserve, wait, go."""

    __slots__ = ("_args", "_kwargs", "_limit", "_reserved")

    def __init__(self, limit: RateLimit, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._limit, self._args, self._kwargs = limit, args, kwargs
        self._reserved: CallReservation | None = None

    def _reserve(self) -> CallReservation | None:
        if self._limit.enabled:
            self._reserved = self._limit._reserved(self._args, self._kwargs)
        return self._reserved

    def __enter__(self) -> None:
        reserved = self._reserve()
        if reserved is None:
            return
        try:
            reserved.wait(self._limit._sleep)
        except BaseException:
            reserved.give_back()
            raise

    async def __aenter__(self) -> None:
        reserved = self._reserve()
        if reserved is None:
            return
        try:
            await reserved.await_turn(self._limit._await_for)
        except BaseException:
            reserved.give_back()
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._reserved is not None:
            self._reserved.__exit__(kind, error, trace)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)
