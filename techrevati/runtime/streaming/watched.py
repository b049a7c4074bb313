"""The synchronous watched stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from techrevati.runtime._core import arguments
from techrevati.runtime._core.collector import collecting, later
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.streams import close
from techrevati.runtime.streaming.common import Watched, closing_failed
from techrevati.runtime.streaming.interrupting import shut_down
from techrevati.runtime.streaming.patience import NEVER
from techrevati.runtime.streaming.watchdog import forget, watch_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from techrevati.runtime.streaming.vocabulary import StreamOutcome, StreamState, UsageReader

T = TypeVar("T")


class WatchedStream(Watched[T], Iterator[T]):
    """A synchronous stream under watch: an iterator and a context manager.  See :func:`watch`.

    For one thread at a time.

    Attributes:
        stream: The stream that is watched.
        outcome: How it ended; None while it runs.
    """

    def __init__(
        self,
        stream: Iterable[T],
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        *,
        usage: UsageReader | None = None,
        on_end: Callable[[StreamOutcome], object] | None = None,
        interrupt: Callable[[], object] | None = None,
        is_token: Callable[[T], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, first_token_seconds, idle_seconds, usage, on_end, is_token, clock)
        if interrupt is not None:
            arguments.function("interrupt", interrupt)
        self._interrupt = interrupt
        self._made = iter(stream)
        self._step: Callable[[], T] = self._made.__next__

    def __next__(self) -> T:
        patience = self._patience
        patience.since = since = self._clock()
        if not patience.armed or since >= patience.deadline:
            self._arrange(since)
        try:
            chunk = self._step()
        except BaseException as error:
            self._over(error)
            raise
        patience.since = NEVER
        if patience.fired is not None:
            raise self._stalled()
        self._chunks += 1
        if self._add is not None:
            self._read_usage(chunk)
        if patience.first_token_s is None:
            self._came(chunk, since)
        return chunk

    def _arrange(self, since: float) -> None:
        """Have somebody look when this wait could be too long."""
        patience = self._patience
        if self.outcome is not None:
            return
        if since >= patience.deadline:
            patience.give_up(since)
            raise self._stalled()
        patience.armed = True
        watch_over(self)

    def _look(self) -> float:
        """What the watchdog does: seconds until the next look, NEVER for none."""
        patience = self._patience
        now = self._clock()
        left_s = patience.look(now)
        if left_s > 0:
            return left_s
        patience.give_up(now)
        try:
            if self._interrupt is not None:
                self._interrupt()
            elif not shut_down(self.stream):
                logger("streaming").warning(
                    "a stalled %s has no socket that could be found: its read is not interrupted; give "
                    "watch(…) an interrupt, or the stream itself and no generator around it",
                    type(self.stream).__name__,
                )
        except Exception as trouble:
            logger("streaming").warning("interrupting a stream raised %s", error_text(trouble))
        return NEVER

    def _over(self, error: BaseException) -> None:
        """The stream ended or raised *error*; raises what its consumer gets in place of that."""
        ended = isinstance(error, StopIteration)
        if self._patience.fired is not None and isinstance(error, Exception):
            raise self._stalled() from (None if ended else error)
        if ended:
            self._finish("completed")
        else:
            self._finish("failed" if isinstance(error, Exception) else "cancelled", error)

    def _stalled(self) -> BaseException:
        error = self._too_late()
        self._finish("stalled", error)
        return error

    def _finish(self, state: StreamState, error: BaseException | None = None) -> None:
        patience = self._patience
        patience.since = NEVER
        self._step = _nothing
        if patience.limited:
            forget(self)
            patience.armed, patience.fired, patience.deadline = True, None, NEVER
        try:
            if state != "completed":
                self._close_all()
        finally:
            self._settle(state, error)

    def _close_all(self) -> None:
        for each in self._both():
            try:
                close(each)
            except Exception as trouble:
                closing_failed(trouble)

    def close(self) -> None:
        """End it early: the stream is closed, and what it used is estimated.  Twice does nothing."""
        if self.outcome is None:
            self._finish("closed")

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "outcome", self) is None and hasattr(self, "_step"):
            # The collector may run while this thread holds a lock that *on_end* waits for.
            later(self.close) if collecting() else self.close()


def _nothing() -> Any:
    raise StopIteration
