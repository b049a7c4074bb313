"""What ``run_stream`` and ``arun_stream`` give: the items of one turn, on the books to their end."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from techrevati.runtime.failures import classify
from techrevati.runtime.guardrails import GuardrailOutcome, GuardrailViolatedError
from techrevati.runtime.retry_policy import aattempt_recovery, attempt_recovery

if TYPE_CHECKING:
    from typing import Self

    from techrevati.runtime.orchestrator.stream_turn import StreamTurn
    from techrevati.runtime.streaming import AsyncWatchedStream, StreamOutcome, WatchedStream

T = TypeVar("T")


class _Items(Generic[T]):
    """What both colours share: what is ready to be handed out, and what the guardrails left of it."""

    def __init__(
        self, turn: StreamTurn[T], watched: WatchedStream[Any] | AsyncWatchedStream[Any] | None
    ) -> None:
        self._turn = turn
        self._ready: deque[T] = deque()
        self._end_told = watched is None and not turn.looks
        self._any: WatchedStream[Any] | AsyncWatchedStream[Any] | None = watched
        if watched is None:
            recorded: Any = turn.step.result if turn.step is not None else None
            turn.items = list(recorded or ())
            if not (turn.looks and turn.holds):
                self._ready.extend(turn.items)

    @property
    def replayed(self) -> bool:
        """True when it is on record, and nothing was called."""
        return self._any is None

    @property
    def outcome(self) -> StreamOutcome | None:
        """How it ended; None while it runs."""
        return self._turn.on_record if self._any is None else self._any.outcome

    def _kept(self, answer: object, kept: object) -> None:
        """Hand out what guardrails left of the whole answer."""
        turn = self._turn
        if turn.holds:
            left: Any = kept
            if kept is answer:
                self._ready.extend(turn.items or ())
            elif isinstance(kept, list):
                self._ready.extend(left)
            else:
                self._ready.append(left)
        elif kept is not answer:
            outcome = GuardrailOutcome(False, "it was to be changed, and was handed out before", "rewritten")
            refusal = GuardrailViolatedError(
                outcome, guardrail="stream", role=turn.session.role, tool="", stage="post"
            )
            turn.session._refused(refusal)
            raise refusal

    def __repr__(self) -> str:
        state = "running" if self.outcome is None else self.outcome.state
        return f"{type(self).__name__}({state}{', replayed' if self.replayed else ''})"


class SessionStream(_Items[T], Iterator[T]):
    """The items of one streamed turn: an iterator and a context manager, for one thread at a time.

    Use it up, or close it; leaving its session closes it, too.

    Attributes:
        outcome: How it ended; None while it runs.
        replayed: True when it is on record, and nothing was called.
    """

    def __init__(self, turn: StreamTurn[T], watched: WatchedStream[Any] | None) -> None:
        super().__init__(turn, watched)
        self._watched = watched

    def __next__(self) -> T:
        turn = self._turn
        while not self._ready:
            if self._watched is None or self._watched.outcome is not None:
                self._finish()
                break
            try:
                chunk = next(self._watched)
            except StopIteration:
                continue
            except Exception as error:
                self._failed(error)
                raise
            try:
                value = turn.take(chunk)
            except BaseException:
                self.close()
                raise
            if value is not None and not turn.holds:
                return value
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def _finish(self) -> None:
        """Once, at the end of a whole answer: let guardrails see it."""
        whole = self._watched is None or (
            self._watched.outcome is not None and self._watched.outcome.state == "completed"
        )
        if self._end_told or not whole:
            return
        self._end_told = True
        turn = self._turn
        if not turn.looks:
            self._ready.extend(turn.items or () if turn.holds else ())
            return
        answer = turn.answer()
        self._kept(answer, turn.session._check_answer(turn.model, turn.terms.prompt, answer))

    def _failed(self, error: Exception) -> None:
        outcome = self.outcome
        self._end_told = True
        if outcome is not None and outcome.error is error:
            session, failure = self._turn.session, classify(error)
            session._failed_turn(error, failure, attempt_recovery(failure.scenario, session.recovery))

    def close(self) -> None:
        """End it early; what it used is booked as estimated.  Twice does nothing."""
        self._end_told = True
        self._ready.clear()
        if self._watched is not None:
            self._watched.close()

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSessionStream(_Items[T], AsyncIterator[T]):
    """:class:`SessionStream` for tasks: an async iterator and context manager, for one task at a time."""

    def __init__(self, turn: StreamTurn[T], watched: AsyncWatchedStream[Any] | None) -> None:
        super().__init__(turn, watched)
        self._watched = watched

    async def __anext__(self) -> T:
        turn = self._turn
        while not self._ready:
            if self._watched is None or self._watched.outcome is not None:
                await self._finish()
                break
            try:
                chunk = await anext(self._watched)
            except StopAsyncIteration:
                continue
            except Exception as error:
                await self._failed(error)
                raise
            try:
                value = turn.take(chunk)
            except BaseException:
                await self.aclose()
                raise
            if value is not None and not turn.holds:
                return value
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def _finish(self) -> None:
        await self._turn.written()
        whole = self._watched is None or (
            self._watched.outcome is not None and self._watched.outcome.state == "completed"
        )
        if self._end_told or not whole:
            return
        self._end_told = True
        turn = self._turn
        if not turn.looks:
            self._ready.extend(turn.items or () if turn.holds else ())
            return
        answer = turn.answer()
        kept = await turn.session._acheck_answer(turn.model, turn.terms.prompt, answer)
        self._kept(answer, kept)

    async def _failed(self, error: Exception) -> None:
        await self._turn.written()
        outcome = self.outcome
        self._end_told = True
        if outcome is not None and outcome.error is error:
            session, failure = self._turn.session, classify(error)
            session._failed_turn(error, failure, await aattempt_recovery(failure.scenario, session.recovery))

    async def aclose(self) -> None:
        """End it early; what it used is booked as estimated.  Twice does nothing."""
        self._end_told = True
        self._ready.clear()
        if self._watched is not None:
            await self._watched.aclose()
            await self._turn.written()

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
