"""The asynchronous session: one call each for a turn and a tool."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, cast, overload

from techrevati.runtime._core import arguments as check
from techrevati.runtime.agent_events import AgentEventName as Name
from techrevati.runtime.deadlines import Timeout
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.continuing import Continuing
from techrevati.runtime.orchestrator.journalled import TurnOnRecord
from techrevati.runtime.orchestrator.parallel import checked, in_tasks
from techrevati.runtime.orchestrator.pause import SessionPauses
from techrevati.runtime.orchestrator.phase import SessionPhase
from techrevati.runtime.orchestrator.streams import AsyncStreams
from techrevati.runtime.orchestrator.tools import SessionTools, checked_arguments
from techrevati.runtime.orchestrator.turn_layers import TurnTerms, layered
from techrevati.runtime.orchestrator.turns import _usage_of, named
from techrevati.runtime.orchestrator.validation import Asking, averdict_of
from techrevati.runtime.retry_policy import aattempt_recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from techrevati.runtime.approvals import Approvals
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker
    from techrevati.runtime.orchestrator.journalled import Verify
    from techrevati.runtime.orchestrator.parallel import ToolCall, ToolResult
    from techrevati.runtime.orchestrator.spending import TurnSpend
    from techrevati.runtime.orchestrator.validation import Invalid
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    T = TypeVar("T")
    V = TypeVar("V")


_as_terms = tuple.__new__  # of all values, in order: calling the class would cost twice as much


class AsyncOrchestrationSession(AsyncStreams, SessionTools, SessionPauses, SessionPhase):
    """One run of an agent, for ``async with``; see :class:`OrchestrationSession`.

    A cancelled task moves the worker to CANCELLED.
    """

    async def __aenter__(self) -> Self:
        self._enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._close_streams()
        finally:
            self._leave(error)

    @overload
    async def arun_turn(
        self,
        fn: Callable[..., Awaitable[T]],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: None = None,
        max_asks: int = 3,
    ) -> tuple[T, UsageSnapshot]: ...

    @overload
    async def arun_turn(
        self,
        fn: Callable[..., T],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: None = None,
        max_asks: int = 3,
    ) -> tuple[T, UsageSnapshot]: ...

    @overload
    async def arun_turn(
        self,
        fn: Callable[..., Awaitable[T]],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: Callable[[T], Awaitable[V | Invalid]],
        max_asks: int = 3,
    ) -> tuple[V, UsageSnapshot]: ...

    @overload
    async def arun_turn(
        self,
        fn: Callable[..., T],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: Callable[[T], Awaitable[V | Invalid]],
        max_asks: int = 3,
    ) -> tuple[V, UsageSnapshot]: ...

    @overload
    async def arun_turn(
        self,
        fn: Callable[..., Awaitable[T]],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: Callable[[T], V | Invalid],
        max_asks: int = 3,
    ) -> tuple[V, UsageSnapshot]: ...

    @overload
    async def arun_turn(
        self,
        fn: Callable[..., T],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: Callable[[T], V | Invalid],
        max_asks: int = 3,
    ) -> tuple[V, UsageSnapshot]: ...

    async def arun_turn(
        self,
        fn: Callable[..., Awaitable[T] | T],
        model: str | Callable[[], str] = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
        *,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
        validate: Callable[[T], object] | None = None,
        max_asks: int = 3,
    ) -> tuple[Any, UsageSnapshot]:
        """Run one model call and book it; see :meth:`OrchestrationSession.run_turn`.

        *timeout* seconds run the call in a task of its own, which is then cancelled.  An *fn* that is not
        async is called as it is, and blocks the loop while it runs.  *validate* may be async.
        """
        terms: TurnTerms = _as_terms(
            TurnTerms,
            (
                model,
                usage,
                estimate_usage,
                timeout,
                prompt,
                input_tokens,
                max_output_tokens,
                key,
                idempotent,
                verify,
            ),
        )
        if validate is None:
            if self._follows_turns:
                return await self._atold_turn(fn, terms)
            return await self._arun_turn(fn, terms)
        check.function("validate", validate)
        asking = Asking(max_asks, key, self._redactor.text)
        while True:
            told = partial(fn, feedback=asking.feedback)
            answer, used = await self._atold_turn(told, terms._replace(key=asking.key))
            if asking.judge(answer, used, await averdict_of(validate, answer)):
                return asking.value, asking.usage
            self._asks_again(asking)

    async def arun_continued_turn(
        self,
        fn: Callable[..., Awaitable[T]],
        model: str | Callable[[], str] = "",
        *,
        max_continuations: int = 3,
        prompt: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        timeout: float | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        key: str | None = None,
        idempotent: bool = False,
    ) -> tuple[T, UsageSnapshot]:
        """:meth:`OrchestrationSession.run_continued_turn` for tasks."""
        parts: Continuing[T] = Continuing(max_continuations, key)
        terms = TurnTerms(
            model, None, estimate_usage, timeout, prompt, input_tokens, max_output_tokens, key, idempotent
        )
        while True:
            told = partial(fn, so_far=parts.so_far)
            answer, usage = await self._atold_turn(told, terms._replace(key=parts.key))
            if parts.is_over(answer, usage):
                return parts.answer, parts.usage

    async def _atold_turn(self, fn: Callable[..., Any], terms: TurnTerms) -> tuple[Any, UsageSnapshot]:
        """One turn, told to a sink that asks for it."""
        if not self._follows_turns:
            return await self._arun_turn(fn, terms)
        from techrevati.runtime.orchestrator.told_turns import ToldTurn

        with ToldTurn(self, terms.model) as turn:
            returned = await self._arun_turn(turn.aattempts(fn), terms)
            turn.returned(returned[1])
        return returned

    async def _arun_turn(self, fn: Callable[..., Any], terms: TurnTerms) -> tuple[Any, UsageSnapshot]:
        if terms.prompt is not None:
            fn = await self._aprompted(fn, named(terms.model), terms.prompt)
        self._begin_turn(terms)
        config = self._config
        breaker = config.async_circuit_breaker
        if breaker is None and config.circuit_breaker is not None:
            breaker = config.circuit_breaker.as_async()
        turn = None if self._run is None else TurnOnRecord(terms)
        spends = self._spending is not None
        call = layered(self, partial(_called, fn), terms, breaker, config.recovery, turn, spends)
        try:
            result = await call()
        except Exception as error:
            if config.recovery is None:
                failure = classify(error)
                self._failed_turn(error, failure, await aattempt_recovery(failure.scenario, self.recovery))
            raise
        ended = self._end_turn(result, terms, turn)
        if not self._looks_at_turns:
            return ended
        model = terms.model if turn is None else turn.model
        return await self._acheck_answer(named(model), terms.prompt, ended[0]), ended[1]

    # --- layers --------------------------------------------------------------------------------------------

    async def _timed(
        self, terms: TurnTerms, call: Callable[[], Awaitable[T]], spend: TurnSpend | None = None
    ) -> T:
        assert terms.timeout is not None
        late = self._late_outcome(terms, spend)
        return await Timeout(terms.timeout, on_late=late).acall(call)

    async def _spent(
        self, terms: TurnTerms, call: Callable[[], Awaitable[T]], breaker: AsyncCircuitBreaker | None
    ) -> T:
        """One attempt on the books: reserved, made, settled."""
        assert self._spending is not None
        spend = await self._spending.abegin(terms)
        if terms.timeout is not None:
            call = partial(self._timed, terms, partial(_watched, call, spend), spend)
        try:
            result = await (call() if breaker is None else breaker.call(call))
            used = _usage_of(result, terms.estimate_usage) if terms.usage is None else terms.usage
        except BaseException as error:
            await spend.afail(error)
            raise
        await spend.asettle(used)
        return result

    async def _recovered(self, recovery: Recovery, terms: TurnTerms, call: Callable[[], Awaitable[T]]) -> T:
        from techrevati.runtime.orchestrator.recoveries import TurnRecovery

        turn = TurnRecovery(self, terms.model)

        async def attempt() -> T:
            turn.may_go_on()
            return await call()

        return await recovery.telling(turn).acall(attempt)

    async def _recorded(self, turn: TurnOnRecord, terms: TurnTerms, call: Callable[[], Awaitable[T]]) -> T:
        return await self._arecorded_turn(turn, terms, call)

    @overload
    async def arun_tool(
        self,
        tool_name: str,
        fn: Callable[..., Awaitable[T]],
        arguments: Mapping[str, object] | None = None,
        *,
        approval: Approvals | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> T: ...

    @overload
    async def arun_tool(
        self,
        tool_name: str,
        fn: Callable[..., T],
        arguments: Mapping[str, object] | None = None,
        *,
        approval: Approvals | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> T: ...

    async def arun_tool(
        self,
        tool_name: str,
        fn: Callable[..., Awaitable[T] | T],
        arguments: Mapping[str, object] | None = None,
        *,
        approval: Approvals | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> T:
        """Run one tool, async or not; see :meth:`OrchestrationSession.run_tool`."""
        arguments = checked_arguments(arguments)
        await self._apermit(tool_name)
        if len(self._guardrails):
            with self._hook(Name.HOOK_PRE_TOOL, tool_name):
                arguments = await self._guardrails.abefore(arguments, role=self.role, tool=tool_name)
        with self._tool(tool_name, arguments) as returned:
            if self._run is None and approval is None:
                value = await _awaited(fn() if arguments is None else fn(**arguments))
            else:

                async def call() -> T:
                    return await _awaited(fn() if arguments is None else fn(**arguments))

                options = {"key": key, "idempotent": idempotent, "verify": verify}
                value = await self._arecorded_tool(tool_name, call, arguments, approval, options)
            if len(self._guardrails):
                with self._hook(Name.HOOK_POST_TOOL, tool_name):
                    value = cast("T", await self._guardrails.aafter(value, role=self.role, tool=tool_name))
            returned(value)
        return value

    async def arun_tools(
        self, calls: Iterable[ToolCall[Any]], *, max_concurrency: int = 8
    ) -> list[ToolResult[Any]]:
        """Run several tools at once, each in a task and like one of :meth:`arun_tool`.

        What a call raises is its own result.  Cancelling this cancels the calls and waits for them.  A tool
        that is not async blocks the loop while it runs.

        Args:
            calls: What to run.
            max_concurrency: How many at once, >= 1.

        Returns:
            One result a call, in the order of the calls.
        """

        async def run(call: ToolCall[Any]) -> Any:
            return await self.arun_tool(
                call.tool_name,
                call.fn,
                call.arguments,
                approval=call.approval,
                key=call.key,
                idempotent=call.idempotent,
                verify=call.verify,
            )

        return await in_tasks(checked(calls, max_concurrency), run, max_concurrency, self._run)


async def _watched(call: Callable[[], Awaitable[T]], spend: TurnSpend) -> T:
    """The call, telling what it spends when it begins and ends, also long after nobody waits any more."""
    spend.began()
    try:
        result = await call()
    except BaseException as error:
        spend.ended(error)
        raise
    spend.ended(None)
    return result


async def _awaited(value: Awaitable[T] | T) -> T:
    return cast("T", await value if isinstance(value, Awaitable) else value)


async def _called(fn: Callable[[], Awaitable[T] | T]) -> T:
    return await _awaited(fn())
