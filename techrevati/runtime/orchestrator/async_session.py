"""The asynchronous way to run turns and tools, and to wait for a person."""

from __future__ import annotations

from collections.abc import Awaitable
from threading import Lock
from typing import TYPE_CHECKING, cast, overload

from techrevati.runtime._core.scrub import scrubbed
from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.agent_lifecycle import AgentStatus
from techrevati.runtime.deadlines import Timeout
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.errors import InputStateError, SessionEndedError
from techrevati.runtime.orchestrator.phase import SessionPhase
from techrevati.runtime.orchestrator.tools import SessionTools
from techrevati.runtime.orchestrator.turns import SessionTurns
from techrevati.runtime.retry_policy import aattempt_recovery

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self, TypeVar

    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker
    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    T = TypeVar("T")


class AsyncOrchestrationSession(SessionTurns, SessionTools, SessionPhase):
    """One run of an agent, for ``async with``; see :class:`OrchestrationSession`.

    A cancelled task moves the worker to CANCELLED.
    """

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        super().__init__(config, handoff)
        self._pause: Future[str] | None = None
        self._answered = False
        self._pause_lock = Lock()

    async def __aenter__(self) -> Self:
        self._enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(error)

    @overload
    async def arun_turn(
        self,
        fn: Callable[[], Awaitable[T]],
        model: str = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
    ) -> tuple[T, UsageSnapshot]: ...

    @overload
    async def arun_turn(
        self,
        fn: Callable[[], T],
        model: str = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
    ) -> tuple[T, UsageSnapshot]: ...

    async def arun_turn(
        self,
        fn: Callable[[], Awaitable[T] | T],
        model: str = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
    ) -> tuple[T, UsageSnapshot]:
        """Run one model call and book it; see :meth:`OrchestrationSession.run_turn`.

        *timeout* seconds run the call in a task of its own, which is then cancelled.  An *fn* that is not
        async is called as it is, and blocks the loop while it runs.
        """
        self._begin_turn(usage, estimate_usage, timeout)

        async def call() -> T:
            return await _awaited(fn())

        async def timed_call() -> T:
            assert timeout is not None
            late = self._late_outcome(model, usage, estimate_usage)
            return await Timeout(timeout, on_late=late).acall(call)

        run = call if timeout is None else timed_call
        config = self._config
        breaker = config.async_circuit_breaker
        if breaker is None and config.circuit_breaker is not None:
            breaker = config.circuit_breaker.as_async()
        if config.recovery is not None:
            result = await self._recovered(config.recovery, run, breaker, model)
            return self._end_turn(result, model, usage, estimate_usage)
        try:
            result = await (run() if breaker is None else breaker.call(run))
        except Exception as error:
            failure = classify(error)
            recovery = await aattempt_recovery(failure.scenario, self.recovery)
            self._failed_turn(error, failure, recovery)
            raise
        return self._end_turn(result, model, usage, estimate_usage)

    async def _recovered(
        self,
        recovery: Recovery,
        run: Callable[[], Awaitable[T]],
        breaker: AsyncCircuitBreaker | None,
        model: str,
    ) -> T:
        from techrevati.runtime.orchestrator.recoveries import TurnRecovery

        turn = TurnRecovery(self, model)

        async def attempt() -> T:
            turn.may_go_on()
            return await (run() if breaker is None else breaker.call(run))

        return await recovery.telling(turn).acall(attempt)

    @overload
    async def arun_tool(self, tool_name: str, fn: Callable[[], Awaitable[T]]) -> T: ...

    @overload
    async def arun_tool(self, tool_name: str, fn: Callable[[], T]) -> T: ...

    async def arun_tool(self, tool_name: str, fn: Callable[[], Awaitable[T] | T]) -> T:
        """Run one tool, async or not; see :meth:`OrchestrationSession.run_tool`."""
        with self._tool(tool_name) as look_at:
            value = await _awaited(fn())
            look_at(value)
        return value

    async def pause_for_input(self, prompt: str) -> str:
        """Wait until somebody calls :meth:`provide_input`; the worker is WAITING_FOR_INPUT meanwhile.

        Raises:
            InputStateError: The session already waits (a RuntimeError).
            SessionEndedError: The session was ended meanwhile.
        """
        import asyncio

        self._require_running()
        if self._pause is not None:
            raise InputStateError("the session already waits for input")
        answer: Future[str] = asyncio.get_running_loop().create_future()
        self._pause, self._answered = answer, False
        try:
            self.worker.transition(AgentStatus.WAITING_FOR_INPUT, prompt)
            self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, scrubbed(prompt))
            value = await answer
        finally:
            self._pause = None
            if self.worker.status is AgentStatus.WAITING_FOR_INPUT:
                self.worker.transition(AgentStatus.RUNNING)
        self.emit(Name.AGENT_READY, Status.READY)
        return value

    def provide_input(self, value: str) -> None:
        """Answer the pending :meth:`pause_for_input`; may be called from any thread.

        Raises:
            InputStateError: Nobody waits for input, or it was given already (a RuntimeError).
        """
        with self._pause_lock:
            answer = self._pause
            if answer is None or self._answered or answer.done():
                raise InputStateError("nobody waits for input")
            self._answered = True
        _settle(answer, lambda: answer.set_result(value))

    def _on_end(self) -> None:
        answer, state = self._pause, self._state
        if answer is not None:
            _settle(answer, lambda: answer.set_exception(SessionEndedError(state)))


def _settle(answer: Future[str], how: Callable[[], None]) -> None:
    """Settle a future from whatever thread this is."""
    import asyncio

    def arrive() -> None:
        if not answer.done():
            how()

    loop = answer.get_loop()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        arrive()
    else:
        loop.call_soon_threadsafe(arrive)


async def _awaited(value: Awaitable[T] | T) -> T:
    return cast("T", await value if isinstance(value, Awaitable) else value)
