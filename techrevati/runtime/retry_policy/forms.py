"""Retries and recoveries as decorators: the same for functions of every colour, streams up to an item."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from techrevati.runtime._core.unbegun import CoroutineGiven

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])


def decorated(call: Callable[..., Any], acall: Callable[..., Any], fn: F) -> F:
    """*fn*, each call of it made by *call* or, where it is async, *acall*; a stream up to its first item."""
    from functools import update_wrapper

    from techrevati.runtime._core.streams import abegin, astreaming, begin, streaming
    from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, GENERATOR, colour

    kind, made = colour(fn), cast("Callable[..., Any]", fn)
    if kind == COROUTINE:

        async def acalled(*args: object, **kwargs: object) -> object:
            return await acall(made, *args, **kwargs)

        return cast("F", update_wrapper(acalled, fn))
    if kind == GENERATOR:
        stream = streaming(lambda *args, **kwargs: call(lambda: begin(made(*args, **kwargs))))
        return cast("F", update_wrapper(stream, fn))
    if kind == ASYNC_GENERATOR:
        astream = astreaming(lambda *args, **kwargs: acall(lambda: abegin(made(*args, **kwargs))))
        return cast("F", update_wrapper(astream, fn))

    def asked(*args: object, **kwargs: object) -> object:
        value = made(*args, **kwargs)
        if isinstance(value, CoroutineType):
            raise CoroutineGiven(value)
        return value

    if hasattr(fn, "__self__"):
        asked.__self__ = fn.__self__  # type: ignore[attr-defined]  # whose method it is

    def called(*args: object, **kwargs: object) -> object:
        try:
            return call(asked, *args, **kwargs)
        except CoroutineGiven as unbegun:
            begun = [unbegun.made]
        return acall(lambda: begun.pop() if begun else made(*args, **kwargs))

    return cast("F", update_wrapper(called, fn))
