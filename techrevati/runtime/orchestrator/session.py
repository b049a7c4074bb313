"""The synchronous session: one call each for a turn and a tool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, overload

from techrevati.runtime._core import arguments as check
from techrevati.runtime.deadlines import Timeout
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.continuing import Continuing
from techrevati.runtime.orchestrator.journalled import TurnOnRecord
from techrevati.runtime.orchestrator.parallel import checked, in_threads
from techrevati.runtime.orchestrator.phase import SessionPhase
from techrevati.runtime.orchestrator.streams import SyncStreams
from techrevati.runtime.orchestrator.tools import SessionTools, checked_arguments
from techrevati.runtime.orchestrator.turns import TurnBounds, _usage_of, named
from techrevati.runtime.orchestrator.validation import Asking, verdict_of
from techrevati.runtime.retry_policy import attempt_recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from techrevati.runtime.approvals import Approvals
    from techrevati.runtime.circuit_breaker import CircuitBreaker
    from techrevati.runtime.orchestrator.journalled import Verify
    from techrevati.runtime.orchestrator.parallel import ToolCall, ToolResult
    from techrevati.runtime.orchestrator.turns import Model
    from techrevati.runtime.orchestrator.validation import Invalid
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    T = TypeVar("T")
    V = TypeVar("V")


class OrchestrationSession(SyncStreams, SessionTools, SessionPhase):
    """One run of an agent, for ``with``.

    Entering walks the worker to RUNNING.  Leaving cleanly completes it; an exception is classified, moves it
    to FAILED and goes on; Ctrl-C and the like move it to CANCELLED and go on.
    """

    def __enter__(self) -> Self:
        self._enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(error)

    @overload
    def run_turn(
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
    def run_turn(
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

    def run_turn(
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
        validate: Callable[[T], object] | None = None,
        max_asks: int = 3,
    ) -> tuple[Any, UsageSnapshot]:
        """Run one model call and book it.

        Args:
            fn: Makes the call and returns its result.
            model: What to price it as; ``""`` counts tokens only.  Where a failover or a recovery may change
                it, a function that says which is asked now: called before each attempt, and after the last
                for what it used.
            usage: What it used, if known before.
            estimate_usage: Says from the result what it used.  With neither, the result itself is read,
                and one that says nothing counts as zero.
            timeout: Seconds to wait for it, in a thread of its own (see ``deadlines.Timeout``).
            prompt: What guardrails see before the call and may rewrite; *fn* then gets it as the keyword
                argument ``prompt``.
            input_tokens, max_output_tokens: Upper bounds, for a ``budget``; the first is estimated from
                *prompt* when None, the second is then the model's own limit.
            key: Its name in the journal; its place in the run when None.
            idempotent, verify: What to do when a journal has its begin and no end; see :meth:`step`.
            validate: Looks at the answer, after the guardrails.  It returns the value to hand back
                (``None``: the answer as it is), or ``Invalid(problem)``, or raises ValueError, TypeError,
                LookupError or AssertionError.  The model is then asked again: *fn* gets the keyword
                argument ``feedback``, ``None`` at first, then a :class:`Feedback`.  Each ask is a turn of
                its own: counted, paid, journalled.
            max_asks: How many turns *validate* may lead to in all, >= 1.

        Returns:
            The result and what it used; with *validate*, what all asks used together.

        Raises:
            MaxIterationsExceededError, CircuitOpenError: *fn* was not called.
            GuardrailViolatedError: The prompt was refused, and *fn* not called; or the answer, which was
                paid for.
            LoopDetectedError: The same answer came too often.
            OutputInvalidError: The last of *max_asks* answers was not valid; it is in ``answer``.
            TurnTimeoutError: It did not end in time; what it returns later becomes an event.
            BudgetExceededError: The budget is enforced and used up: before the call, or after it with the
                paid result in ``result``.
            Exception: Whatever *fn* raised, after a recovery event; with a ``recovery``, what the last
                attempt raised.
        """
        if validate is not None:
            check.function("validate", validate)
            asking = Asking(max_asks, key, self._redactor.text)
            ask = partial(
                self.run_turn,
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
                answer, used = ask(partial(fn, feedback=asking.feedback), key=asking.key)
                if asking.judge(answer, used, verdict_of(validate, answer)):
                    return asking.value, asking.usage
                self._asks_again(asking)
        options = (prompt, input_tokens, max_output_tokens, key, idempotent, verify)
        if not self._follows_turns:
            return self._run_turn(fn, model, usage, estimate_usage, timeout, *options)
        from techrevati.runtime.orchestrator.told_turns import ToldTurn

        with ToldTurn(self, model) as turn:
            returned = self._run_turn(turn.attempts(fn), model, usage, estimate_usage, timeout, *options)
            turn.returned(returned[1])
        return returned

    def run_continued_turn(
        self,
        fn: Callable[..., T],
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
        """Run one model call, and go on where the provider cut its answer off at the maximum of tokens.

        *fn* gets the keyword argument ``so_far``: "" at first, then the text of the answer until now, for
        the prompt of the next part.  Each part is a turn of its own; the options are those of
        :meth:`run_turn`.  Known are the shapes of OpenAI chat completions and responses, and of Anthropic
        messages, as dicts and as objects; any other answer counts as whole.

        Args:
            max_continuations: How often it may go on, >= 0.

        Returns:
            The answer (a copy of the last part with the text of all, if there are several; it is still cut
            off if *max_continuations* was not enough) and what all parts used together.
        """
        parts: Continuing[T] = Continuing(max_continuations, key)
        while True:
            answer, usage = self.run_turn(
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

    def _run_turn(
        self,
        fn: Callable[..., T],
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
            fn = self._prompted(fn, named(model), prompt)
        self._begin_turn(usage, estimate_usage, timeout)
        replayed = repeated = False
        config = self._config
        breaker = config.circuit_breaker
        if breaker is None and config.async_circuit_breaker is not None:
            breaker = config.async_circuit_breaker.as_sync()
        call: Callable[[], T] = fn
        if self._spending is not None:
            bounds = TurnBounds(model, usage, prompt, input_tokens, max_output_tokens, timeout)
            call = partial(self._spent, bounds, fn, breaker, estimate_usage)
            breaker = None  # inside: what the budget refuses says nothing about the dependency
        elif timeout is not None:
            late = self._late_outcome(model, usage, estimate_usage)
            call = partial(Timeout(timeout, on_late=late).call, fn)
        recovery = config.recovery
        try:
            if self._run is not None:
                # Outside the breaker: what is on record says nothing about its dependency now.
                turn = TurnOnRecord(model, usage, estimate_usage)
                guarded = call if breaker is None else partial(breaker.call, call)
                if recovery is not None:
                    guarded = partial(self._recovered, recovery, call, breaker, model)
                options = {"key": key, "idempotent": idempotent, "verify": verify}
                result = self._recorded_turn(turn, guarded, prompt, options)
                usage, replayed, repeated, model = turn.usage, turn.replayed, turn.repeated, turn.model
            elif recovery is not None:
                result = self._recovered(recovery, call, breaker, model)
            else:
                result = call() if breaker is None else breaker.call(call)
        except Exception as error:
            if recovery is None:
                failure = classify(error)
                self._failed_turn(error, failure, attempt_recovery(failure.scenario, self.recovery))
            raise
        if not self._looks_at_turns:
            return self._end_turn(result, model, usage, estimate_usage, replayed, repeated)
        result, usage = self._end_turn(result, model, usage, estimate_usage, replayed, repeated)
        return self._check_answer(named(model), prompt, result), usage

    def _spent(
        self,
        bounds: TurnBounds,
        fn: Callable[[], T],
        breaker: CircuitBreaker | None,
        estimate_usage: Callable[[T], UsageSnapshot] | None,
    ) -> T:
        """One attempt on the books: reserved, made, settled."""
        assert self._spending is not None
        spend = self._spending.begin(bounds)
        call = fn
        if bounds.timeout is not None:

            def watched() -> T:
                spend.began()
                try:
                    result = fn()
                except BaseException as error:
                    spend.ended(error)
                    raise
                spend.ended(None)
                return result

            late = self._late_outcome(bounds.model, bounds.usage, estimate_usage, spend)
            call = partial(Timeout(bounds.timeout, on_late=late).call, watched)
        try:
            result = call() if breaker is None else breaker.call(call)
            used = _usage_of(result, estimate_usage) if bounds.usage is None else bounds.usage
        except BaseException as error:
            spend.fail(error)
            raise
        spend.settle(used)
        return result

    def _recovered(
        self, recovery: Recovery, call: Callable[[], T], breaker: CircuitBreaker | None, model: Model
    ) -> T:
        from techrevati.runtime.orchestrator.recoveries import TurnRecovery

        turn = TurnRecovery(self, model)

        def attempt() -> T:
            turn.may_go_on()
            return call() if breaker is None else breaker.call(call)

        return recovery.telling(turn).call(attempt)

    def run_tool(
        self,
        tool_name: str,
        fn: Callable[..., T],
        arguments: Mapping[str, object] | None = None,
        *,
        approval: Approvals | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> T:
        """Run one tool: permission, guardrails, *fn*, guardrails.

        Args:
            tool_name: What the policy and the guardrails know it as.
            fn: Runs it.  Without *arguments* it is called with nothing; with them, with these as keyword
                arguments, as the guardrails left them.
            arguments: What guardrails see and may rewrite, and what loop detection tells calls apart by.
            approval: Where a human must have allowed exactly this call.  Until somebody has, the run is left
                waiting; the same program with the same ``run_id`` then goes on.
            key: Its name in the journal; its place in the run when None.
            idempotent, verify: What to do when a journal has its begin and no end; see :meth:`step`.

        Returns:
            What *fn* returned, as the guardrails left it.

        Raises:
            PermissionDeniedError: The role may not; *fn* was not called.
            GuardrailViolatedError: A guardrail refused before (*fn* was not called) or after.
            LoopDetectedError: The same was done too often; *fn* was not called.
            ApprovalPendingError, ApprovalDeniedError, ApprovalExpiredError: *fn* was not called.
            Exception: Whatever *fn* raised.
        """
        arguments = checked_arguments(arguments)
        self._permit(tool_name)
        arguments = self._check_before(tool_name, arguments)
        with self._tool(tool_name, arguments) as returned:
            if self._run is None and approval is None:
                value: T = fn() if arguments is None else fn(**arguments)
            else:
                call = fn if arguments is None else partial(fn, **arguments)
                options = {"key": key, "idempotent": idempotent, "verify": verify}
                value = self._recorded_tool(tool_name, call, arguments, approval, options)
            value = self._check_after(tool_name, value)
            returned(value)
        return value

    def run_tools(self, calls: Iterable[ToolCall[T]], *, max_concurrency: int = 8) -> list[ToolResult[T]]:
        """Run several tools at once, each in a thread and like one of :meth:`run_tool`.

        Each call sees a copy of this context's variables.  What a call raises is its own result, also that
        it waits for an approval: raise that (``result.value``) to leave the run waiting.  On Ctrl-C
        no further call starts, those that run are waited for, and no thread is left.

        Args:
            calls: What to run.
            max_concurrency: How many at once, >= 1; 1 needs no thread.

        Returns:
            One result a call, in the order of the calls.
        """

        def run(call: ToolCall[T]) -> T:
            return self.run_tool(
                call.tool_name,
                call.fn,
                call.arguments,
                approval=call.approval,
                key=call.key,
                idempotent=call.idempotent,
                verify=call.verify,
            )

        return in_threads(checked(calls, max_concurrency), run, max_concurrency, self._run)
