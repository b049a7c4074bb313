"""``watch``: one function for both colours."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, TypeVar, overload

from techrevati.runtime.streaming.async_watched import AsyncWatchedStream
from techrevati.runtime.streaming.watched import WatchedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.streaming.vocabulary import StreamOutcome, UsageReader

T = TypeVar("T")


@overload
def watch(
    stream: AsyncIterable[T],
    first_token_seconds: float | None = None,
    idle_seconds: float | None = None,
    *,
    usage: UsageReader | None = None,
    on_end: Callable[[StreamOutcome], object] | None = None,
    interrupt: None = None,
    is_token: Callable[[T], bool] | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncWatchedStream[T]: ...


@overload
def watch(
    stream: Iterable[T],
    first_token_seconds: float | None = None,
    idle_seconds: float | None = None,
    *,
    usage: UsageReader | None = None,
    on_end: Callable[[StreamOutcome], object] | None = None,
    interrupt: Callable[[], object] | None = None,
    is_token: Callable[[T], bool] | None = None,
    clock: Callable[[], float] | None = None,
) -> WatchedStream[T]: ...


def watch(
    stream: AsyncIterable[T] | Iterable[T],
    first_token_seconds: float | None = None,
    idle_seconds: float | None = None,
    *,
    usage: UsageReader | None = None,
    on_end: Callable[[StreamOutcome], object] | None = None,
    interrupt: Callable[[], object] | None = None,
    is_token: Callable[[T], bool] | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncWatchedStream[T] | WatchedStream[T]:
    """*stream* under watch.  The ``Deadline`` in force here counts, too, with the consumer's time.

    Use it up, or close it (``with`` and ``async with`` do).  Give the SDK's own stream, not a generator
    around it: below a generator no socket is found that could be shut down.  An async stream is watched
    inside its event loop.

    Args:
        stream: An iterable, or an async iterable.
        first_token_seconds: How long to wait for the first token, all waits together, > 0; None for no limit.
        idle_seconds: How long to wait for each further chunk, > 0; None for no limit.
        usage: Is given every chunk and tells ``outcome.usage``; see :class:`StreamUsage`.
        on_end: Told how it ended, once.  What it raises reaches the consumer of a stream that completed, and
            is logged else.
        interrupt: Ends a blocked read of a synchronous stream, from another thread; None: the socket below it
            is shut down, if there is one that is not shared (HTTP/2).  A read that cannot be interrupted is
            found out when it ends.
        is_token: Whether a chunk is a token; by default everything but the opening events of the common APIs.
        clock: Monotonic seconds; ``time.monotonic``, or the loop's own time, when None.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
        RuntimeError: An async stream outside an event loop.

    While iterating: StreamStalledError, DeadlineExceededError, and what the stream raises.

    >>> stream = watch(iter("ab"), idle_seconds=5)
    >>> list(stream), stream.outcome.state
    (['a', 'b'], 'completed')
    """
    if isinstance(stream, AsyncIterable):
        if interrupt is not None:
            raise ValueError("interrupt must be None for an async stream: its wait is cancelled")
        return AsyncWatchedStream(
            stream,
            first_token_seconds,
            idle_seconds,
            usage=usage,
            on_end=on_end,
            is_token=is_token,
            clock=clock,
        )
    if not isinstance(stream, Iterable):
        raise TypeError(f"stream must be an iterable or an async iterable, got {type(stream).__name__}")
    return WatchedStream(
        stream,
        first_token_seconds,
        idle_seconds,
        usage=usage,
        on_end=on_end,
        interrupt=interrupt,
        is_token=is_token,
        clock=clock or time.monotonic,
    )
