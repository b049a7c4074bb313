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
from techrevati.runtime.orchestrator.turn_layers import TurnTerms, layered
from techrevati.runtime.orchestrator.turns import _usage_of, named
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
    from techrevati.runtime.orchestrator.spending import TurnSpend
    from techrevati.runtime.orchestrator.validation import Invalid
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    T = TypeVar("T")
    V = TypeVar("V")


_as_terms = tuple.__new__  # of all values, in order: calling the class would cost twice as much


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
                return self._told_turn(fn, terms)
            return self._run_turn(fn, terms)
        check.function("validate", validate)
        asking = Asking(max_asks, key, self._redactor.text)
        while True:
            told = partial(fn, feedback=asking.feedback)
            answer, used = self._told_turn(told, terms._replace(key=asking.key))
            if asking.judge(answer, used, verdict_of(validate, answer)):
                return asking.value, asking.usage
            self._asks_again(asking)

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
        terms = TurnTerms(
            model, None, estimate_usage, timeout, prompt, input_tokens, max_output_tokens, key, idempotent
        )
        while True:
            told = partial(fn, so_far=parts.so_far)
            answer, usage = self._told_turn(told, terms._replace(key=parts.key))
            if parts.is_over(answer, usage):
                return parts.answer, parts.usage

    def _told_turn(self, fn: Callable[..., T], terms: TurnTerms) -> tuple[T, UsageSnapshot]:
        """One turn, told to a sink that asks for it."""
        if not self._follows_turns:
            return self._run_turn(fn, terms)
        from techrevati.runtime.orchestrator.told_turns import ToldTurn

        with ToldTurn(self, terms.model) as turn:
            returned = self._run_turn(turn.attempts(fn), terms)
            turn.returned(returned[1])
        return returned

    def _run_turn(self, fn: Callable[..., T], terms: TurnTerms) -> tuple[T, UsageSnapshot]:
        if terms.prompt is not None:
            fn = self._prompted(fn, named(terms.model), terms.prompt)
        self._begin_turn(terms)
        config = self._config
        breaker = config.circuit_breaker
        if breaker is None and config.async_circuit_breaker is not None:
            breaker = config.async_circuit_breaker.as_sync()
        turn = None if self._run is None else TurnOnRecord(terms)
        spends = self._spending is not None
        call = layered(self, fn, terms, breaker, config.recovery, turn, spends)
        try:
            result: T = call()
        except Exception as error:
            if config.recovery is None:
                failure = classify(error)
                self._failed_turn(error, failure, attempt_recovery(failure.scenario, self.recovery))
            raise
        ended = self._end_turn(result, terms, turn)
        if not self._looks_at_turns:
            return ended
        model = terms.model if turn is None else turn.model
        return self._check_answer(named(model), terms.prompt, ended[0]), ended[1]

    # --- layers --------------------------------------------------------------------------------------------

    def _timed(self, terms: TurnTerms, call: Callable[[], T], spend: TurnSpend | None = None) -> T:
        assert terms.timeout is not None
        late = self._late_outcome(terms, spend)
        return Timeout(terms.timeout, on_late=late).call(call)

    def _spent(self, terms: TurnTerms, call: Callable[[], T], breaker: CircuitBreaker | None) -> T:
        """One attempt on the books: reserved, made, settled."""
        assert self._spending is not None
        spend = self._spending.begin(terms)
        if terms.timeout is not None:
            call = partial(self._timed, terms, partial(_watched, call, spend), spend)
        try:
            result = call() if breaker is None else breaker.call(call)
            used = _usage_of(result, terms.estimate_usage) if terms.usage is None else terms.usage
        except BaseException as error:
            spend.fail(error)
            raise
        spend.settle(used)
        return result

    def _recovered(self, recovery: Recovery, terms: TurnTerms, call: Callable[[], T]) -> T:
        from techrevati.runtime.orchestrator.recoveries import TurnRecovery

        turn = TurnRecovery(self, terms.model)

        def attempt() -> T:
            turn.may_go_on()
            return call()

        return recovery.telling(turn).call(attempt)

    def _recorded(self, turn: TurnOnRecord, terms: TurnTerms, call: Callable[[], T]) -> T:
        return self._recorded_turn(turn, terms, call)

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


def _watched(call: Callable[[], T], spend: TurnSpend) -> T:
    """The call, telling what it spends when it begins and ends, also long after nobody waits any more."""
    spend.began()
    try:
        result = call()
    except BaseException as error:
        spend.ended(error)
        raise
    spend.ended(None)
    return result
