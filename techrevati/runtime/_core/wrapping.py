"""Put something around a function of any colour without changing what it looks like.

``colour`` says what calling a function gives: a value, an awaitable, a generator or an async generator.
``wrapped`` runs each of them inside a context manager, a plain one also around an ``await`` or a stream.
"""

from __future__ import annotations

from functools import partial, update_wrapper
from types import CoroutineType

from techrevati.runtime._core.unbegun import CoroutineGiven

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from typing import Any, Protocol, TypeVar

    F = TypeVar("F", bound=Callable[..., object])

    class Guard(Protocol):
        """Goes around one call and may look at what it returned."""

        def __enter__(self) -> Guard: ...

        def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None: ...

        def returned(self, value: object) -> None: ...

    class Room(Protocol):
        """Something that threads and tasks can enter."""

        def __enter__(self) -> object: ...

        def __exit__(self, kind: object, error: BaseException | None, trace: object, /) -> None: ...

        async def __aenter__(self) -> object: ...

        async def __aexit__(self, kind: object, error: BaseException | None, trace: object, /) -> None: ...

    Entrance = Callable[[tuple[Any, ...], dict[str, Any]], Room]


PLAIN, COROUTINE, GENERATOR, ASYNC_GENERATOR = "def", "async def", "generator", "async generator"
STREAMS = frozenset({GENERATOR, ASYNC_GENERATOR})
_FLAGS = ((0x200, ASYNC_GENERATOR), (0x80, COROUTINE), (0x20, GENERATOR))  # inspect.CO_*


def colour(fn: Callable[..., object]) -> str:
    """What calling *fn* gives, looking through partials, methods and callable objects.

    Raises:
        TypeError: A wrapper could not be right: *fn* is a class, a ``staticmethod`` or ``classmethod``
            object (decorate the function below it), or cannot be called.
    """
    inner: object = fn
    while isinstance(inner, partial):
        inner = inner.func
    if isinstance(inner, (staticmethod, classmethod)):
        raise TypeError(f"put the decorator below @{type(inner).__name__}, next to the function: {fn!r}")
    if isinstance(inner, type) or not callable(inner):
        raise TypeError(f"only functions can be decorated, got {fn!r}")
    if not hasattr(inner, "__code__"):
        inner = getattr(inner, "__func__", None) or type(inner).__call__
    flags = getattr(getattr(inner, "__code__", None), "co_flags", 0)
    return next((name for flag, name in _FLAGS if flags & flag), PLAIN)


def innermost(fn: Callable[..., object]) -> Callable[..., object]:
    """*fn* without the decorators that say what they are around, as the SDKs' own do."""
    for _ in range(100):
        below = getattr(fn, "__wrapped__", None)
        if below is None or not callable(below):
            break
        fn = below
    return fn


def may_be_async(fn: Callable[..., object]) -> bool:
    """Whether *fn* is a plain function around an ``async def``: only calling it shows what it gives."""
    return colour(fn) == PLAIN and colour(innermost(fn)) == COROUTINE


def either(call: Callable[..., Any], acall: Callable[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """*fn*, of which ``may_be_async`` is true, by *acall* if it gives a coroutine, else by *call*.

    The SDKs' own decorators give the coroutine, others run it (``asyncio.run``), and the latter cannot be
    done in the thread of an event loop.
    """
    gives_coroutines = False

    def asked(*args: object, **kwargs: object) -> object:
        value = fn(*args, **kwargs)
        if isinstance(value, CoroutineType):
            raise CoroutineGiven(value)
        return value

    def called(*args: object, **kwargs: object) -> object:
        nonlocal gives_coroutines
        if gives_coroutines or _in_event_loop():
            return acall(fn, *args, **kwargs)
        try:
            return call(asked, *args, **kwargs)
        except CoroutineGiven as given:
            begun = [given.made]
        gives_coroutines = True
        return acall(lambda *args, **kwargs: begun.pop() if begun else fn(*args, **kwargs), *args, **kwargs)

    return called


def _in_event_loop() -> bool:
    import sys

    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def wrapped(fn: F, guard: Callable[[], Guard]) -> F:
    """*fn* inside a new ``guard()`` for each call, or for each stream from its first item to its end."""
    return update_wrapper(_AROUND[colour(fn)](fn, guard), fn)  # type: ignore[return-value]


def inside(room: Entrance, fn: F) -> F:
    """*fn* inside ``with room(args, kwargs):``, or ``async with`` where it is async, each call or stream."""
    if may_be_async(fn):
        made = either(_called_inside(room, PLAIN), _called_inside(room, COROUTINE), fn)
    else:
        made = _INSIDE[colour(fn)](room, fn)
    return update_wrapper(made, fn)  # type: ignore[return-value]


def _called_inside(room: Entrance, kind: str) -> Callable[..., Any]:
    return lambda fn, *args, **kwargs: _INSIDE[kind](room, fn)(*args, **kwargs)


class _Nowhere:
    """A room without walls."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, kind: object, error: object, trace: object) -> None: ...


def chosen(kind: str, choose: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A generator function of that *kind* that is, for each stream, the one that *choose* gives then."""
    nowhere = _Nowhere()
    return _INSIDE[kind](lambda args, kwargs: nowhere, lambda *args, **kwargs: choose()(*args, **kwargs))


def _inside_plain(room: Entrance, fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: object, **kwargs: object) -> object:
        with room(args, kwargs):
            value = fn(*args, **kwargs)
        if isinstance(value, CoroutineType):
            value.close()
            raise TypeError(f"a plain function around an async one cannot be seen through: {fn!r}")
        return value

    return call


def _inside_coroutine(room: Entrance, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def call(*args: object, **kwargs: object) -> object:
        async with room(args, kwargs):
            return await fn(*args, **kwargs)

    return call


def _inside_generator(room: Entrance, fn: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
    def call(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        with room(args, kwargs):
            return (yield from fn(*args, **kwargs))

    return call


def _inside_async_generator(
    room: Entrance, fn: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., Any]:
    async def call(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        async with room(args, kwargs):
            stream = fn(*args, **kwargs)
            step: Awaitable[Any] = stream.__anext__()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                try:
                    step = stream.asend((yield item))
                except GeneratorExit:
                    await stream.aclose()
                    raise
                except BaseException as error:
                    step = stream.athrow(error)

    return call


def _plain(fn: Callable[..., Any], guard: Callable[[], Guard]) -> Callable[..., Any]:
    def call(*args: object, **kwargs: object) -> object:
        around = guard()
        around.__enter__()
        try:
            value = fn(*args, **kwargs)
            if isinstance(value, CoroutineType):  # a plain decorator around ``async def``: nothing ran yet
                raise CoroutineGiven(value)
            around.returned(value)
        except BaseException as error:
            around.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, CoroutineGiven):
                return _awaited(error.made, guard)  # nothing is held for what may never be awaited
            raise
        around.__exit__(None, None, None)
        return value

    return call


async def _awaited(made: CoroutineType[Any, Any, Any], guard: Callable[[], Guard]) -> object:
    try:
        with guard() as around:
            value = await made
            around.returned(value)
        return value
    finally:
        made.close()  # refused: it never began


def _coroutine(fn: Callable[..., Awaitable[Any]], guard: Callable[[], Guard]) -> Callable[..., Any]:
    async def call(*args: object, **kwargs: object) -> object:
        with guard() as around:
            value = await fn(*args, **kwargs)
            around.returned(value)
        return value

    return call


def _generator(fn: Callable[..., Generator[Any, Any, Any]], guard: Callable[[], Guard]) -> Callable[..., Any]:
    def call(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        with guard():
            return (yield from fn(*args, **kwargs))

    return call


def _async_generator(
    fn: Callable[..., AsyncGenerator[Any, Any]], guard: Callable[[], Guard]
) -> Callable[..., Any]:
    async def call(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        with guard():
            stream = fn(*args, **kwargs)
            step: Awaitable[Any] = stream.__anext__()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                try:
                    step = stream.asend((yield item))
                except GeneratorExit:
                    await stream.aclose()
                    raise
                except BaseException as error:
                    step = stream.athrow(error)

    return call


_AROUND: dict[str, Callable[[Callable[..., Any], Callable[[], Guard]], Callable[..., Any]]] = {
    PLAIN: _plain,
    COROUTINE: _coroutine,
    GENERATOR: _generator,
    ASYNC_GENERATOR: _async_generator,
}

_INSIDE: dict[str, Callable[[Entrance, Callable[..., Any]], Callable[..., Any]]] = {
    PLAIN: _inside_plain,
    COROUTINE: _inside_coroutine,
    GENERATOR: _inside_generator,
    ASYNC_GENERATOR: _inside_async_generator,
}
