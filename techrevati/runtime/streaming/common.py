"""What both colours of watched streams share: limits, the first token, the end, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import given_s, remaining_s
from techrevati.runtime._core.errors import DeadlineExceededError
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.streaming.patience import NEVER, Patience
from techrevati.runtime.streaming.tokens import is_token as says_something
from techrevati.runtime.streaming.vocabulary import StreamOutcome, StreamStalledError
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.streaming.vocabulary import StreamState, UsageReader

T = TypeVar("T")

announce("streaming")


class Watched(Generic[T]):
    """A stream, its patience and its outcome.

    Attributes:
        stream: The stream that is watched.
        outcome: How it ended; None while it runs.
    """

    def __init__(
        self,
        stream: object,
        first_token_seconds: float | None,
        idle_seconds: float | None,
        usage: UsageReader | None,
        on_end: Callable[[StreamOutcome], object] | None,
        is_token: Callable[[T], bool] | None,
        clock: Callable[[], float],
    ) -> None:
        self.outcome: StreamOutcome | None = None
        self.stream: Any = stream
        first_s = _limit("first_token_seconds", first_token_seconds)
        idle_s = _limit("idle_seconds", idle_seconds)
        for name, given in (("on_end", on_end), ("is_token", is_token), ("clock", clock)):
            if given is not None:
                arguments.function(name, given)
        self._clock = clock
        self._usage = usage
        self._add = None if usage is None else usage.add
        self._usage_broken = False
        self._on_end = on_end
        self._is_token: Callable[[Any], bool] = says_something if is_token is None else is_token
        left_s = remaining_s()
        self._had_s = NEVER if left_s is None else given_s(left_s)
        deadline = NEVER if left_s is None or left_s == NEVER else clock() + left_s
        self._patience = Patience(first_s, idle_s, deadline)
        self._chunks = 0

    def _read_usage(self, chunk: T) -> None:
        try:
            assert self._add is not None
            self._add(chunk)
        except Exception as trouble:
            self._add, self._usage_broken = None, True
            logger("streaming").warning("the usage reader raised %s", error_text(trouble))

    def _came(self, chunk: T, since: float) -> None:
        """A chunk came before the first token."""
        self._patience.came(self._clock() - since, self._is_token(chunk))

    def _both(self) -> tuple[object, ...]:
        """What is to be closed: the iterator and, if that is another object, what it was made from."""
        made = getattr(self, "_made", self.stream)
        return (made,) if made is self.stream else (made, self.stream)

    def _too_late(self) -> StreamStalledError | DeadlineExceededError:
        patience = self._patience
        if patience.fired == "deadline":
            return DeadlineExceededError(self._had_s)
        if patience.fired == "idle":
            return StreamStalledError("idle", patience.idle_s, self._chunks)
        return StreamStalledError("first_token", patience.first_s, self._chunks)

    def _settle(self, state: StreamState, error: BaseException | None = None) -> None:
        """Say how it ended, once; an *on_end* that raises is heard only when all went well."""
        if self.outcome is not None:
            return
        self._patience.since = NEVER
        usage, estimated = self._used(state)
        first_s = self._patience.first_token_s
        self.outcome = StreamOutcome(state, self._chunks, usage, estimated, first_s, error)
        if self._on_end is None:
            return
        try:
            self._on_end(self.outcome)
        except Exception as trouble:
            if state == "completed":
                raise
            logger("streaming").warning("on_end raised %s", error_text(trouble))

    def _used(self, state: StreamState) -> tuple[UsageSnapshot | None, bool]:
        reader = self._usage
        if reader is None:
            return None, False
        try:
            if state == "completed" and reader.complete and not self._usage_broken:
                return reader.snapshot(), False
            estimate: Callable[[], UsageSnapshot] | None = getattr(reader, "estimate", None)
            return (reader.snapshot() if estimate is None else estimate()), True
        except Exception as trouble:
            logger("streaming").warning("the usage reader raised %s", error_text(trouble))
            return UsageSnapshot(), True

    def __repr__(self) -> str:
        state = "running" if self.outcome is None else self.outcome.state
        return f"{type(self).__name__}({self._chunks} chunks, {state})"


def closing_failed(trouble: BaseException) -> None:
    """A stream that cannot be closed is no news to its consumer, who got another."""
    logger("streaming").warning("closing a stream raised %s", error_text(trouble))


def _limit(name: str, seconds: float | None) -> float:
    return NEVER if seconds is None else arguments.positive(name, seconds)
