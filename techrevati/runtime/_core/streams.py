"""A stream up to its first item, and from there on.

Whoever chooses between streams (tries again, asks another, asks twice) can do so until one has given an item:
what was handed out cannot be taken back.  ``begin`` takes the first item, ``rest`` is the stream from it to
its end, with ``send``, ``throw`` and ``close`` passed on.  ``streaming`` and ``astreaming`` make functions of
both.
"""

from __future__ import annotations

from types import CoroutineType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Generator,
        Iterable,
        Iterator,
    )
    from typing import Any, Self, TypeAlias

    Begun: TypeAlias = tuple[Iterator[Any], bool, Any]
    AsyncBegun: TypeAlias = tuple[AsyncIterator[Any], bool, Any]


def begin(made: Iterator[Any]) -> Begun:
    """The stream, whether it has ended already, and its first item or, then, what it returned."""
    try:
        return made, False, next(made)
    except StopIteration as end:
        return made, True, end.value


async def abegin(made: AsyncIterator[Any]) -> AsyncBegun:
    """The stream, whether it has ended already, and its first item."""
    try:
        return made, False, await made.__anext__()
    except StopAsyncIteration:
        return made, True, None


def opened(given: Iterable[Any] | Awaitable[Any]) -> Begun:
    """:func:`begin` whatever can be iterated; it is closed when it gives no first item.

    Raises:
        TypeError: It cannot be.
    """
    if isinstance(given, CoroutineType):
        given.close()
    if hasattr(given, "__await__") or not hasattr(given, "__iter__"):
        raise TypeError(f"a stream must be a generator or can be iterated, got {given!r}")
    stream: Any = given
    made = stream if hasattr(stream, "__next__") else iter(stream)
    try:
        return begin(made)
    except BaseException:
        close(made)
        raise


async def aopened(given: AsyncIterable[Any] | Awaitable[AsyncIterable[Any]]) -> AsyncBegun:
    """:func:`opened` for what can be iterated asynchronously, or gives that when awaited."""
    stream: Any = given
    if hasattr(stream, "__await__"):
        stream = await stream
    if not hasattr(stream, "__aiter__"):
        raise TypeError(f"an async stream must be an async generator or can be iterated so, got {stream!r}")
    made = stream if hasattr(stream, "__anext__") else stream.__aiter__()
    try:
        return await abegin(made)
    except BaseException:
        await aclose(made)
        raise


def rest(begun: Begun) -> Generator[Any, Any, Any]:
    """The stream from its first item on."""
    made, ended, item = begun
    if ended:
        return item
    if not hasattr(made, "throw"):  # an iterator that is no generator
        try:
            yield item
            return (yield from made)
        finally:
            close(made)
    return (yield from _FromFirst(made, item))  # type: ignore[arg-type]


def streaming(beginning: Callable[..., Begun]) -> Callable[..., Generator[Any, Any, Any]]:
    """A generator function: what *beginning* began, from its first item on."""

    def stream(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        return (yield from rest(beginning(*args, **kwargs)))

    return stream


def astreaming(beginning: Callable[..., Awaitable[AsyncBegun]]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """An async generator function: what *beginning* began, from its first item on; leaving it early closes
    the stream."""

    async def stream(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        made, ended, item = await beginning(*args, **kwargs)
        plain = not hasattr(made, "athrow")  # an iterator that is no generator
        while not ended:
            try:
                sent = yield item
            except GeneratorExit:
                await aclose(made)
                raise
            except BaseException as error:
                if plain:
                    await aclose(made)
                    raise
                step = made.athrow(error)  # type: ignore[attr-defined]
            else:
                step = made.__anext__() if plain else made.asend(sent)  # type: ignore[attr-defined]
            try:
                item = await step
            except StopAsyncIteration:
                ended = True

    return stream


def close(made: object) -> None:
    """Close a stream, if it can be closed."""
    closing = getattr(made, "close", None)
    if callable(closing):
        closing()


async def aclose(made: object) -> None:
    """Close an async stream, if it can be closed."""
    # The SDKs' streams have close().
    closing: Callable[[], object] | None = getattr(made, "aclose", None) or getattr(made, "close", None)
    if closing is not None:
        closed: Any = closing()
        if hasattr(closed, "__await__"):
            await closed


class _FromFirst:
    """A generator whose first item was already taken: gives that first, then is the generator."""

    __slots__ = ("_first", "close", "send", "throw")

    def __init__(self, made: Generator[Any, Any, Any], first: object) -> None:
        self._first = [first]
        self.send, self.throw, self.close = made.send, made.throw, made.close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> object:
        return self._first.pop() if self._first else self.send(None)
