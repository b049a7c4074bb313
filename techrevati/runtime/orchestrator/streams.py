"""Streamed turns: breaker, budget, deadline, journal and guardrails cover them from opening to end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakSet

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import given_s, shortened
from techrevati.runtime._core.streams import close
from techrevati.runtime.budgets import estimate_input_tokens
from techrevati.runtime.deadlines import DeadlineExceededError, Timeout, TurnTimeoutError
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.journalled import SessionJournalled
from techrevati.runtime.orchestrator.session_stream import AsyncSessionStream, SessionStream
from techrevati.runtime.orchestrator.stream_turn import StreamTurn
from techrevati.runtime.orchestrator.turn_guards import SessionTurnGuards
from techrevati.runtime.orchestrator.turn_layers import TurnTerms
from techrevati.runtime.orchestrator.turns import named
from techrevati.runtime.retry_policy import aattempt_recovery, attempt_recovery
from techrevati.runtime.streaming import AsyncWatchedStream, StreamStalledError, WatchedStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

    from techrevati.runtime.circuit_breaker import CircuitBreaker
    from techrevati.runtime.deadlines import LateOutcome
    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.journal import Happened
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.orchestrator.journalled import Verify
    from techrevati.runtime.orchestrator.turn_layers import Model
    from techrevati.runtime.streaming import UsageReader

T = TypeVar("T")
C = TypeVar("C")
NEVER = float("inf")


class SessionStreams(SessionJournalled, SessionTurnGuards):
    """What both colours of sessions do about streams."""

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        super().__init__(config, handoff)
        self._open_streams: WeakSet[Any] = WeakSet()

    def _stream_turn(
        self,
        model: Model,
        item: Callable[[Any], T | None] | None,
        usage: UsageReader | None,
        limits: tuple[float | None, float | None],
        bounds: tuple[object, int | None, int | None],
        hold: bool | None,
    ) -> StreamTurn[T]:
        """Check the arguments, and count the turn."""
        for name, seconds in zip(("first_token_seconds", "idle_seconds"), limits, strict=True):
            if seconds is not None:
                arguments.positive(name, seconds)
        if item is not None:
            arguments.function("item", item)
        prompt, input_tokens, max_output_tokens = bounds
        if input_tokens is not None:
            input_tokens = arguments.count("input_tokens", input_tokens)
        elif prompt is not None:
            input_tokens = estimate_input_tokens(prompt)
        terms = TurnTerms(
            model, prompt=prompt, input_tokens=input_tokens, max_output_tokens=max_output_tokens
        )
        turn = StreamTurn(self, terms, item, usage, hold)
        self._begin_turn(terms)
        if self._follows_turns:
            from techrevati.runtime.orchestrator.told_turns import ToldTurn

            turn.told = ToldTurn(self, model, stream=True)
            turn.told.begin()
        return turn

    def _stream_breaker(self) -> CircuitBreaker | None:
        config = self._config
        if config.circuit_breaker is not None or config.async_circuit_breaker is None:
            return config.circuit_breaker
        return config.async_circuit_breaker.as_sync()


def _opening_s(first_token_seconds: float | None) -> float:
    """How long opening may take."""
    return shortened(NEVER if first_token_seconds is None else first_token_seconds)


def _opened_late(seconds: float, first_token_seconds: float | None) -> Exception:
    if first_token_seconds is not None and seconds >= first_token_seconds:
        return StreamStalledError("first_token", first_token_seconds)
    return DeadlineExceededError(given_s(seconds))


class SyncStreams(SessionStreams):
    """Streams of the synchronous session."""

    @overload
    def run_stream(
        self,
        fn: Callable[..., Iterable[C]],
        model: str | Callable[[], str] = "",
        *,
        item: Callable[[C], T | None],
        usage: UsageReader | None = None,
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        hold: bool | None = None,
        interrupt: Callable[[], object] | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> SessionStream[T]: ...

    @overload
    def run_stream(
        self,
        fn: Callable[..., Iterable[T]],
        model: str | Callable[[], str] = "",
        *,
        item: None = None,
        usage: UsageReader | None = None,
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        hold: bool | None = None,
        interrupt: Callable[[], object] | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> SessionStream[T]: ...

    def run_stream(
        self,
        fn: Callable[..., Iterable[Any]],
        model: str | Callable[[], str] = "",
        *,
        item: Callable[[Any], Any] | None = None,
        usage: UsageReader | None = None,
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        hold: bool | None = None,
        interrupt: Callable[[], object] | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> SessionStream[Any]:
        """Run one model call that answers piece by piece, and book it when it ends, however it ends.

        It counts as one turn.  Breaker, budget, the ``Deadline`` in force, journal and an
        ``agent.stream_ended`` event cover it to its end.  Use it up, or close it (``with`` does): a stream
        that ends early proves nothing to the breaker, is booked as estimated, and is in doubt in the journal.
        A ``recovery`` makes the opening again, not a stream that has begun.

        Args:
            fn: Opens the stream; gives the SDK's own, so that usage is read and a stall interrupted.
            model: What to price it as.
            item: What to hand out, and to record, of each chunk, its text say; None from it leaves a chunk
                out.  The chunks themselves when None.
            usage: Reads usage from the chunks; a ``UsageAccumulator`` when None.
            first_token_seconds: To wait for the first token, opening included, > 0; None for no limit.
            idle_seconds: To wait for each further chunk, > 0; None for no limit.
            prompt: What guardrails see before the call and may rewrite; *fn* then gets it as the keyword
                argument ``prompt``.
            input_tokens, max_output_tokens: Upper bounds, for a ``budget``, and for the estimate of a stream
                that ends before it is told; the first is estimated from *prompt* when None.
            hold: Hand nothing out before the whole answer passed the guardrails.  None: where there are
                guardrails that look at answers.  With False one that refuses is heard at the end.
            interrupt: Ends a blocked read, from another thread; see ``watch``.
            key: Its name in the journal; its place in the run when None.
            idempotent, verify: What to do when a journal has its begin and no end; see :meth:`step`.

        Raises:
            MaxIterationsExceededError, CircuitOpenError, BudgetExceededError: *fn* was not called.
            GuardrailViolatedError: The prompt was refused, and *fn* not called.
            InDoubtError, ReplayMismatchError, RecordedFailureError: What the journal says; *fn* was not
                called.
            StreamStalledError, DeadlineExceededError: It did not open in time.
            Exception: Whatever *fn* raised.

        While iterating: StreamStalledError, DeadlineExceededError, what the stream raises, and at the end
        GuardrailViolatedError, LoopDetectedError, BudgetExceededError, ResultNotStorableError.
        """
        given = fn
        if prompt is not None:
            fn = self._prompted(fn, named(model), prompt)
        limits, bounds = (first_token_seconds, idle_seconds), (prompt, input_tokens, max_output_tokens)
        turn: StreamTurn[Any] = self._stream_turn(model, item, usage, limits, bounds, hold)
        arguments.function("fn", given)
        recovery = self._config.recovery
        try:
            if self._run is not None:
                told = None if prompt is None else {"prompt": prompt}
                turn.step = self._run.begin(
                    key,
                    idempotent=idempotent,
                    verify=verify,
                    name=named(model),
                    arguments=told,
                    on_record=turn.recall,
                )
                if turn.step.replayed:
                    return SessionStream(turn, None)
                turn.begun()
            attempt = partial(self._opened_stream, turn, fn, limits, interrupt)
            if recovery is None:
                watched = attempt()
            else:
                from techrevati.runtime.orchestrator.recoveries import TurnRecovery

                watched = recovery.telling(TurnRecovery(self, model)).call(attempt)
        except BaseException as error:
            turn.never_opened(error)
            if recovery is None and isinstance(error, Exception):
                failure = classify(error)
                self._failed_turn(error, failure, attempt_recovery(failure.scenario, self.recovery))
            raise
        stream: SessionStream[Any] = SessionStream(turn, watched)
        self._open_streams.add(stream)
        return stream

    def _opened_stream(
        self,
        turn: StreamTurn[Any],
        fn: Callable[[], Iterable[Any]],
        limits: tuple[float | None, float | None],
        interrupt: Callable[[], object] | None,
    ) -> WatchedStream[Any]:
        """One attempt to open it."""
        turn.begin(self._stream_breaker())
        clock = self._config.clock
        began = clock()
        try:
            seconds = _opening_s(limits[0])
            if seconds == NEVER:
                opened = fn()
            else:
                try:
                    opened = Timeout(seconds, on_late=_close_late).call(fn)
                except (TurnTimeoutError, DeadlineExceededError) as error:
                    if clock() - began < seconds:  # of something inside
                        raise
                    raise _opened_late(seconds, limits[0]) from error
            watched = WatchedStream(
                opened,
                *limits,
                usage=turn.usage,
                on_end=turn.ended,
                interrupt=interrupt,
                clock=clock,
            )
        except BaseException as error:
            turn.not_opened(error)
            raise
        watched._patience.came(clock() - began, False)
        return watched

    def _leave(self, error: BaseException | None) -> None:
        for stream in list(self._open_streams):
            stream.close()
        super()._leave(error)


class AsyncStreams(SessionStreams):
    """Streams of the asynchronous session."""

    @overload
    async def arun_stream(
        self,
        fn: Callable[..., Awaitable[AsyncIterable[C]] | AsyncIterable[C]],
        model: str | Callable[[], str] = "",
        *,
        item: Callable[[C], T | None],
        usage: UsageReader | None = None,
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        hold: bool | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Callable[[], Awaitable[bool | Happened | None]] | Verify | None = None,
    ) -> AsyncSessionStream[T]: ...

    @overload
    async def arun_stream(
        self,
        fn: Callable[..., Awaitable[AsyncIterable[T]] | AsyncIterable[T]],
        model: str | Callable[[], str] = "",
        *,
        item: None = None,
        usage: UsageReader | None = None,
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        hold: bool | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Callable[[], Awaitable[bool | Happened | None]] | Verify | None = None,
    ) -> AsyncSessionStream[T]: ...

    async def arun_stream(
        self,
        fn: Callable[..., Awaitable[AsyncIterable[Any]] | AsyncIterable[Any]],
        model: str | Callable[[], str] = "",
        *,
        item: Callable[[Any], Any] | None = None,
        usage: UsageReader | None = None,
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        hold: bool | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Callable[[], Awaitable[bool | Happened | None]] | Verify | None = None,
    ) -> AsyncSessionStream[Any]:
        """Run one model call that answers piece by piece; see :meth:`OrchestrationSession.run_stream`.

        *fn* gives an async stream, or gives it when awaited.  Cancelling the task that waits for an item
        closes the stream and books what it used as estimated.
        """
        given = fn
        if prompt is not None:
            fn = await self._aprompted(fn, named(model), prompt)
        limits, bounds = (first_token_seconds, idle_seconds), (prompt, input_tokens, max_output_tokens)
        turn: StreamTurn[Any] = self._stream_turn(model, item, usage, limits, bounds, hold)
        arguments.function("fn", given)
        recovery = self._config.recovery
        try:
            if self._run is not None:
                told = None if prompt is None else {"prompt": prompt}
                turn.step = await self._run.abegin(
                    key,
                    idempotent=idempotent,
                    verify=verify,
                    name=named(model),
                    arguments=told,
                    on_record=turn.recall,
                )
                if turn.step.replayed:
                    return AsyncSessionStream(turn, None)
                turn.begun()
            attempt = partial(self._aopened_stream, turn, fn, limits)
            if recovery is None:
                watched = await attempt()
            else:
                from techrevati.runtime.orchestrator.recoveries import TurnRecovery

                watched = await recovery.telling(TurnRecovery(self, model)).acall(attempt)
        except BaseException as error:
            turn.never_opened(error)
            if recovery is None and isinstance(error, Exception):
                failure = classify(error)
                self._failed_turn(error, failure, await aattempt_recovery(failure.scenario, self.recovery))
            raise
        stream: AsyncSessionStream[Any] = AsyncSessionStream(turn, watched)
        self._open_streams.add(stream)
        return stream

    async def _aopened_stream(
        self,
        turn: StreamTurn[Any],
        fn: Callable[[], Awaitable[AsyncIterable[Any]] | AsyncIterable[Any]],
        limits: tuple[float | None, float | None],
    ) -> AsyncWatchedStream[Any]:
        """One attempt to open it."""
        import asyncio

        await turn.abegin(self._stream_breaker())
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            seconds = _opening_s(limits[0])
            limit = asyncio.timeout(None if seconds == NEVER else seconds)
            try:
                async with limit:
                    opened: Any = fn()
                    if hasattr(opened, "__await__"):
                        opened = await opened
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise _opened_late(seconds, limits[0]) from error
            watched: AsyncWatchedStream[Any] = AsyncWatchedStream(
                opened, *limits, usage=turn.usage, on_end=turn.ended
            )
        except BaseException as error:
            await turn.anot_opened(error)
            raise
        watched._patience.came(clock() - began, False)
        return watched

    async def _close_streams(self) -> None:
        for stream in list(self._open_streams):
            await stream.aclose()


def _close_late(late: LateOutcome) -> None:
    """A stream that opened after nobody waited any more is closed."""
    close(late.result)
