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
from techrevati.runtime.orchestrator.turns import TurnBounds, _usage_of, named
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
    from techrevati.runtime.orchestrator.turns import Model
    from techrevati.runtime.orchestrator.validation import Invalid
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    T = TypeVar("T")
    V = TypeVar("V")


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
        if validate is not None:
            check.function("validate", validate)
            asking = Asking(max_asks, key, self._redactor.text)
            ask = partial(
                self.arun_turn,
                model=model,
                usage=usage,
                estimate_usage=estimate_usage,
                timeout=timeout,
                prompt=prompt,
                input_tokens=input_tokens,
                max_output_tokens=max_output_tokens,
                idempotent=idempotent,
                verify=verify,
            )
            while True:
                told = cast("Callable[..., Awaitable[T]]", partial(fn, feedback=asking.feedback))
                answer, used = await ask(told, key=asking.key)
                if asking.judge(answer, used, await averdict_of(validate, answer)):
                    return asking.value, asking.usage
                self._asks_again(asking)
        options = (prompt, input_tokens, max_output_tokens, key, idempotent, verify)
        if not self._follows_turns:
            return await self._arun_turn(fn, model, usage, estimate_usage, timeout, *options)
        from techrevati.runtime.orchestrator.told_turns import ToldTurn

        with ToldTurn(self, model) as turn:
            returned = await self._arun_turn(
                turn.aattempts(fn), model, usage, estimate_usage, timeout, *options
            )
            turn.returned(returned[1])
        return returned

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
        while True:
            answer, usage = await self.arun_turn(
                partial(fn, so_far=parts.so_far),
                model,
                None,
                estimate_usage,
                timeout,
                prompt=prompt,
                input_tokens=input_tokens,
                max_output_tokens=max_output_tokens,
                key=parts.key,
                idempotent=idempotent,
            )
            if parts.is_over(answer, usage):
                return parts.answer, parts.usage

    async def _arun_turn(
        self,
        fn: Callable[..., Awaitable[T] | T],
        model: Model,
        usage: UsageSnapshot | None,
        estimate_usage: Callable[[T], UsageSnapshot] | None,
        timeout: float | None,
        prompt: object,
        input_tokens: int | None,
        max_output_tokens: int | None,
        key: str | None,
        idempotent: bool,
        verify: Verify | None,
    ) -> tuple[T, UsageSnapshot]:
        if prompt is not None:
            fn = await self._aprompted(fn, named(model), prompt)
        self._begin_turn(usage, estimate_usage, timeout)
        replayed = repeated = False

        async def call() -> T:
            return await _awaited(fn())

        async def timed_call(spend: TurnSpend | None = None) -> T:
            assert timeout is not None
            late = self._late_outcome(model, usage, estimate_usage, spend)
            watched = call if spend is None else partial(_watched, call, spend)
            return await Timeout(timeout, on_late=late).acall(watched)

        config = self._config
        breaker = config.async_circuit_breaker
        if breaker is None and config.circuit_breaker is not None:
            breaker = config.circuit_breaker.as_async()
        run: Callable[[], Awaitable[T]] = call if timeout is None else timed_call
        if self._spending is not None:
            bounds = TurnBounds(model, usage, prompt, input_tokens, max_output_tokens, timeout)
            once = (lambda _: call()) if timeout is None else timed_call
            run = partial(self._spent, bounds, once, breaker, estimate_usage)
            breaker = None  # inside: what the budget refuses says nothing about the dependency
        recovery = config.recovery
        try:
            if self._run is not None:
                # Outside the breaker: what is on record says nothing about its dependency now.
                turn = TurnOnRecord(model, usage, estimate_usage)
                guarded = run if breaker is None else partial(breaker.call, run)
                if recovery is not None:
                    guarded = partial(self._recovered, recovery, run, breaker, model)
                options = {"key": key, "idempotent": idempotent, "verify": verify}
                result = await self._arecorded_turn(turn, guarded, prompt, options)
                usage, replayed, repeated, model = turn.usage, turn.replayed, turn.repeated, turn.model
            elif recovery is not None:
                result = await self._recovered(recovery, run, breaker, model)
            else:
                result = await (run() if breaker is None else breaker.call(run))
        except Exception as error:
            if recovery is None:
                failure = classify(error)
                self._failed_turn(error, failure, await aattempt_recovery(failure.scenario, self.recovery))
            raise
        if not self._looks_at_turns:
            return self._end_turn(result, model, usage, estimate_usage, replayed, repeated)
        result, usage = self._end_turn(result, model, usage, estimate_usage, replayed, repeated)
        return await self._acheck_answer(named(model), prompt, result), usage

    async def _spent(
        self,
        bounds: TurnBounds,
        call: Callable[[TurnSpend], Awaitable[T]],
        breaker: AsyncCircuitBreaker | None,
        estimate_usage: Callable[[T], UsageSnapshot] | None,
    ) -> T:
        """One attempt on the books: reserved, made, settled."""
        assert self._spending is not None
        spend = await self._spending.abegin(bounds)
        try:
            result = await (call(spend) if breaker is None else breaker.call(call, spend))
            used = _usage_of(result, estimate_usage) if bounds.usage is None else bounds.usage
        except BaseException as error:
            await spend.afail(error)
            raise
        await spend.asettle(used)
        return result

    async def _recovered(
        self,
        recovery: Recovery,
        run: Callable[[], Awaitable[T]],
        breaker: AsyncCircuitBreaker | None,
        model: Model,
    ) -> T:
        from techrevati.runtime.orchestrator.recoveries import TurnRecovery

        turn = TurnRecovery(self, model)

        async def attempt() -> T:
            turn.may_go_on()
            return await (run() if breaker is None else breaker.call(run))

        return await recovery.telling(turn).acall(attempt)

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
