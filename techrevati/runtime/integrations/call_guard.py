"""One model call, guarded: breaker, deadline, budget and books around each physical request.

``CallGuard`` is what every adapter stands on.  ``call`` and ``acall`` make a call with its retries; each
physical request is a ``PhysicalRequest``, which is begun before anything is sent and ended exactly once, by
its answer, its error or its reader who went away.  What refuses it raises before anything is sent.
"""

from __future__ import annotations

import time
from contextvars import copy_context
from itertools import count
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import current
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.budgets import Budget
from techrevati.runtime.budgets.reservation import failure_of
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    BreakerRegistry,
    CircuitBreaker,
    CircuitOpenError,
)
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError
from techrevati.runtime.failures import classify, provider_failures
from techrevati.runtime.integrations import covered
from techrevati.runtime.pricing import output_limit, worst_case_picodollars
from techrevati.runtime.pricing.money import decimal_usd
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from decimal import Decimal
    from typing import Any, TypeVar

    from techrevati.runtime._core.deadline import Remaining
    from techrevati.runtime.budgets import Reservation
    from techrevati.runtime.circuit_breaker import CircuitGuard
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.sinks import EventSink

    T = TypeVar("T")

announce("integrations")

_BOUND_BY_INPUT = frozenset({"usd", "input_tokens", "total_tokens"})
_BOUND_BY_OUTPUT = frozenset({"usd", "output_tokens", "reasoning_tokens", "total_tokens"})
_ONCE = Retry(1)
_breakers = BreakerRegistry()  # for guards that are given none


class _Neutral(BaseException):
    """Ends a breaker's call without a word about the provider, as a cancellation does."""


class CallGuard:
    """What is around the model calls of one client.  Thread-safe and task-safe; holds no context of its own.

    Args:
        project, user, session, run, tags: For whom, in the ledger's records.
        breaker: One breaker, or a registry with one for each provider, model and credential.  None takes the
            registry of this process.  A breaker without a judge counts ``provider_failures``.
        budget: Every physical request is reserved there before it is sent, and settled after.
        retry: How calls are tried again; the SDK's own retries are off.
        ledger: Where every physical request is recorded.
        deadline: A ``Deadline`` for all calls together, or the seconds that each call may take, retries and
            waits included.  One that is in force around a call counts in any case.
        credential_id: A name for the credential, for the breaker's key.
        event_sink: Told of every physical request, and of calls that are not guarded.
        redactor: Looks at every event; None takes one with the built-in patterns.
        observe_only: Refuse nothing: what would have been refused is told and sent.
        clock: Monotonic seconds.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    def __init__(
        self,
        *,
        project: str | None = None,
        breaker: CircuitBreaker | AsyncCircuitBreaker | BreakerRegistry | None = None,
        budget: Budget | None = None,
        retry: Retry | None = None,
        ledger: SpendLedger | None = None,
        deadline: Deadline | float | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        credential_id: str | None = None,
        event_sink: EventSink | None = None,
        redactor: Redactor | None = None,
        observe_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(breaker, AsyncCircuitBreaker):
            breaker = breaker.as_sync()
        _check("breaker", breaker, (CircuitBreaker, BreakerRegistry), "a CircuitBreaker or a BreakerRegistry")
        _check("budget", budget, Budget, "a Budget")
        _check("retry", retry, Retry, "a Retry")
        _check("redactor", redactor, Redactor, "a Redactor")
        for name, text in (("project", project), ("user", user), ("session", session), ("run", run)):
            if text is not None:
                arguments.text(name, text)
        if ledger is not None and not callable(getattr(ledger, "transact", None)):
            raise TypeError(f"ledger must be a SpendLedger, got {ledger!r}")
        if deadline is not None and not isinstance(deadline, Deadline):
            deadline = arguments.positive("deadline", deadline)
        self.project: str | None = project
        self.retry: Retry | None = retry
        self.observe_only: bool = observe_only
        self.credential_id: str | None = credential_id
        self._breaker = _breakers if breaker is None else breaker
        self._budgets: list[Budget] = []
        if budget is not None:
            self._budgets.append(budget)
        if ledger is not None and (budget is None or budget.ledger is not ledger):
            self._budgets.append(Budget("guard", ledger=ledger))
        # Books on a disk are not written on an event loop's thread.
        self._blocking = any(one.ledger is not None for one in self._budgets)
        self._deadline = deadline
        self._about = {"project": project, "user": user, "session": session, "run": run, "tags": tags}
        self._sink = event_sink
        self._redactor = redactor
        self._clock = clock

    # --- a whole call ---------------------------------------------------------------------------------------

    def call(
        self,
        request: ModelRequest,
        send: Callable[[PhysicalRequest], T],
        *,
        retry: Retry | None = None,
    ) -> T:
        """The result of ``send(physical_request)``, tried again where that can help.

        *send* makes one physical request and ends it, or leaves that to somebody who reads on.  An exception
        of *send* ends it as well.

        Args:
            retry: Instead of the guard's own.

        Raises:
            CircuitOpenError, BudgetExceededError, DeadlineExceededError: Refused; nothing was sent.
            ValueError: A limited budget cannot bound the request; the text says what to give.
            UnknownModelError, UnknownPriceError: Money is limited and nothing prices the model.
            Exception: What *send* raised last.
        """
        covered.note(request.provider, request.shape, "guarded", calls=1)
        numbers = count(1)

        def once() -> T:
            made = self.begin(request, next(numbers))
            try:
                return send(made)
            except BaseException as error:
                made.fail(error)
                raise

        retry = retry or self.retry or _ONCE
        deadline = self._deadline
        if deadline is None:
            return retry.call(once)
        with deadline if isinstance(deadline, Deadline) else Deadline(deadline):
            return retry.call(once)

    async def acall(
        self,
        request: ModelRequest,
        send: Callable[[PhysicalRequest], Awaitable[T]],
        *,
        retry: Retry | None = None,
    ) -> T:
        """:meth:`call` for tasks; cancelling it ends the request under way as one that was cut off."""
        covered.note(request.provider, request.shape, "guarded", calls=1)
        numbers = count(1)

        async def once() -> T:
            made = await self.abegin(request, next(numbers))
            try:
                return await send(made)
            except Exception as error:
                await made.afail(error)
                raise
            except BaseException as error:  # being cancelled, nothing more is waited for
                made.fail(error)
                raise

        retry = retry or self.retry or _ONCE
        deadline = self._deadline
        if deadline is None:
            return await retry.acall(once)
        with deadline if isinstance(deadline, Deadline) else Deadline(deadline):
            return await retry.acall(once)

    # --- one physical request -------------------------------------------------------------------------------

    def begin(self, request: ModelRequest, number: int = 1) -> PhysicalRequest:
        """Admit one physical request, the *number*-th of its call, and reserve what it may use.

        Raises: See :meth:`call`; what was taken before a refusal is given back.
        """
        made = PhysicalRequest(self, request, number)
        try:
            made._admit()
            for budget in self._budgets:
                try:
                    made._reservations.append(budget.reserve(**self._worst_case(budget, request)))
                except Exception as refusal:
                    self._observed(refusal, request)
                    made._reservations += self._uncapped(budget, request)
        except BaseException as error:
            made._refused(error)
            raise
        return made

    async def abegin(self, request: ModelRequest, number: int = 1) -> PhysicalRequest:
        """:meth:`begin` without blocking the event loop while a ledger is written."""
        if not self._blocking:
            return self.begin(request, number)
        made = PhysicalRequest(self, request, number)
        try:
            made._admit()
            for budget in self._budgets:
                try:
                    made._reservations.append(await budget.areserve(**self._worst_case(budget, request)))
                except Exception as refusal:
                    self._observed(refusal, request)
                    made._reservations += self._uncapped(budget, request)
        except BaseException as error:
            made._refused(error)
            raise
        return made

    def _uncapped(self, refusing: Budget, request: ModelRequest) -> list[Reservation]:
        """What is only observed is on the books all the same, without the limits."""
        if refusing.ledger is None:
            return []
        budget = Budget(f"{refusing.name}/observed", ledger=refusing.ledger)
        return [budget.reserve(**self._worst_case(budget, request))]

    def _observed(self, refusal: Exception, request: ModelRequest) -> None:
        """Raise *refusal*, or only tell it."""
        if not self.observe_only:
            raise refusal
        self.tell(AgentEventName.MODEL_REFUSED, AgentEventStatus.GREEN, request, error=refusal, observed=True)

    def breaker_of(self, request: ModelRequest) -> CircuitBreaker:
        """The breaker that this request is one call of."""
        if isinstance(self._breaker, CircuitBreaker):
            return self._breaker
        credential = request.credential_id if self.credential_id is None else self.credential_id
        return self._breaker.get(request.provider, request.model or "", credential)

    def _worst_case(self, budget: Budget, request: ModelRequest) -> dict[str, Any]:
        """The arguments of a reservation."""
        limited = budget.limited
        if request.unbounded and limited & _BOUND_BY_INPUT:
            raise ValueError(
                f"{request.unbounded} adds input that the request does not show, and {budget.name!r} limits "
                f"{', '.join(sorted(limited & _BOUND_BY_INPUT))}: send the whole input, or guard this client "
                "with a budget of output tokens or calls"
            )
        model, provider = request.model, request.price_provider
        most = request.max_output_tokens
        if most is None and limited & _BOUND_BY_OUTPUT and model is not None:
            most = output_limit(model, provider=provider)
            if most is None:
                raise ValueError(
                    f"the request must say how much it may generate (max_tokens, max_completion_tokens or "
                    f"max_output_tokens): {budget.name!r} limits "
                    f"{', '.join(sorted(limited & _BOUND_BY_OUTPUT))}, and the limit of {model!r} itself is "
                    "not known"
                )
        if most is not None:
            most *= request.answers
        left_s = None if (deadline := current.get()) is None else deadline.remaining()
        return {
            **self._about,
            "model": model,
            "provider": provider,
            "input_tokens": request.input_tokens,
            "max_output_tokens": most,
            "max_cost_usd": self._tier_cost(budget, request, most),
            "wall_seconds": left_s,
        }

    def _tier_cost(self, budget: Budget, request: ModelRequest, most: int | None) -> Decimal | None:
        """The most that a request of a tier costs; what is billed is the tier that the answer names."""
        if request.tier is None or request.model is None or "usd" not in budget.limited:
            return None
        costs = [
            worst_case_picodollars(
                request.model,
                input_tokens=request.input_tokens,
                max_output_tokens=most or 0,
                provider=request.price_provider,
                tier=tier,
            )
            for tier in (None, request.tier)
        ]
        return decimal_usd(max(costs))

    # --- telling --------------------------------------------------------------------------------------------

    def passed_through(self, provider: str, shape: str, *, free: bool) -> None:
        """Note a call that is not guarded; the first of its shape is told."""
        if free:
            covered.note(provider, shape, "free", calls=1)
        elif covered.passed_through(provider, shape):
            self._emit(
                AgentEvent(
                    AgentEventName.MODEL_UNGUARDED,
                    AgentEventStatus.RED,
                    project_id=self.project,
                    detail=f"{provider} {shape} is not guarded",
                    data={"provider": provider, "shape": shape},
                )
            )

    def tell(
        self,
        name: AgentEventName,
        status: AgentEventStatus,
        request: ModelRequest,
        *,
        error: BaseException | None = None,
        **facts: object,
    ) -> None:
        """Emit what became of a physical request; never its content."""
        if self._sink is None:
            return
        data = {
            "provider": request.provider,
            "model": request.model,
            "shape": request.shape,
            **facts,
        }
        failure_class = detail = None
        if error is not None:
            from techrevati.runtime._core.scrub import error_text

            detail = error_text(error)
            if isinstance(error, Exception):
                failure = classify(error)
                failure_class = failure.failure_class
                data["kind"] = failure.kind.value
        self._emit(
            AgentEvent(
                name,
                status,
                project_id=self.project,
                failure_class=failure_class,
                detail=detail,
                data={key: value for key, value in data.items() if value is not None},
            )
        )

    def _emit(self, event: AgentEvent) -> None:
        if self._sink is None:
            return
        if self._redactor is None:
            self._redactor = Redactor()
        try:
            self._sink.emit(self._redactor.event(event))
        except Exception as error:
            logger("integrations").warning("event_sink.emit raised %s", type(error).__name__)


class PhysicalRequest:
    """One request that may be sent now.  Ended exactly once; later ends change nothing.  Thread-safe.

    Attributes:
        request: What is asked.
        number: Which attempt of its call, from 1.
    """

    __slots__ = (
        "_breaking",
        "_deadline",
        "_guard",
        "_open",
        "_reservations",
        "_started_s",
        "number",
        "request",
    )

    def __init__(self, guard: CallGuard, request: ModelRequest, number: int) -> None:
        self.request: ModelRequest = request
        self.number: int = number
        self._guard = guard
        self._open = [True]
        self._reservations: list[Reservation] = []
        self._breaking: tuple[CircuitBreaker, CircuitGuard] | None = None
        self._deadline: Remaining | None = current.get()
        self._started_s = guard._clock()

    # --- beginning ------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        try:
            self.check_time()
        except DeadlineExceededError as refusal:
            self._guard._observed(refusal, self.request)
        breaker = self._guard.breaker_of(self.request)
        admitted = breaker.guard()
        try:
            admitted.__enter__()
        except CircuitOpenError as refusal:
            self._guard._observed(refusal, self.request)
        else:
            self._breaking = (breaker, admitted)

    def _refused(self, error: BaseException) -> None:
        if not self._open:
            return
        self._open.clear()
        for reservation in self._reservations:
            reservation.release()
        self._leave_breaker(_Neutral())
        if isinstance(error, Exception):
            self._tell(AgentEventName.MODEL_REFUSED, AgentEventStatus.RED, error)

    @property
    def left_s(self) -> float | None:
        """Seconds left of the deadline; None without one."""
        if self._deadline is None or self._guard.observe_only:
            return None
        return self._deadline.remaining()

    def check_time(self) -> None:
        """Go on, if there is time.

        Raises:
            DeadlineExceededError: There is none.
        """
        left_s = self.left_s
        if left_s is not None and left_s <= 0:
            raise self._out_of_time()

    async def in_time(self, step: Awaitable[T]) -> T:
        """What *step* gives, if it comes before the deadline.

        Raises:
            DeadlineExceededError: It does not; *step* was cancelled.
        """
        left_s = self.left_s
        if left_s is None:
            return await step
        import asyncio

        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                return await step
        except TimeoutError:
            if limit.expired():
                raise self._out_of_time() from None
            raise

    def _out_of_time(self) -> DeadlineExceededError:
        return DeadlineExceededError(0.0 if self._deadline is None else self._deadline.seconds)

    # --- ending ---------------------------------------------------------------------------------------------

    def finish(self, usage: UsageSnapshot | None, *, measured: bool = True) -> None:
        """The answer is there, whole; *usage* None, or not *measured*, when it does not say what it used."""
        if self._closing():
            self._leave_breaker(None)
            self._settle(usage, None, "measured" if measured else "estimated")
            self._told_end(usage if measured else None, None)

    def fail(
        self, error: BaseException, usage: UsageSnapshot | None = None, *, measured: bool = False
    ) -> None:
        """It ended with *error*; *usage* is what it used until then, as far as known."""
        if self._closing():
            self._leave_breaker(error)
            self._settle(usage, error, "measured" if measured else "estimated")
            self._told_end(usage if measured else None, error)

    def abandon(self, usage: UsageSnapshot | None = None) -> None:
        """The reader went away before the end; that says nothing about the provider."""
        if self._closing():
            self._leave_breaker(_Neutral())
            self._settle(usage, None, "estimated")
            covered.note(self.request.provider, self.request.shape, "guarded", requests=1, without_usage=1)
            self._tell(AgentEventName.MODEL_ABANDONED, AgentEventStatus.COMPLETED, None)

    async def afinish(self, usage: UsageSnapshot | None, *, measured: bool = True) -> None:
        """:meth:`finish` without blocking the event loop while a ledger is written."""
        await self._off_loop(lambda: self.finish(usage, measured=measured))

    async def afail(
        self, error: BaseException, usage: UsageSnapshot | None = None, *, measured: bool = False
    ) -> None:
        """:meth:`fail` without blocking the event loop while a ledger is written."""
        await self._off_loop(lambda: self.fail(error, usage, measured=measured))

    async def aabandon(self, usage: UsageSnapshot | None = None) -> None:
        """:meth:`abandon` without blocking the event loop while a ledger is written."""
        await self._off_loop(lambda: self.abandon(usage))

    async def _off_loop(self, end: Callable[[], None]) -> None:
        if not self._guard._blocking or not self._open:
            end()
            return
        import asyncio

        try:
            # In this context, so that what is told stands under the caller's span.
            ending = asyncio.get_running_loop().run_in_executor(None, copy_context().run, end)
        except RuntimeError:  # the program is ending: no more threads
            end()
            return
        await asyncio.shield(ending)  # a cancellation does not keep it from the books

    def _closing(self) -> bool:
        try:
            return self._open.pop()
        except IndexError:
            return False

    def _leave_breaker(self, error: BaseException | None) -> None:
        if self._breaking is None:
            return
        breaker, admitted = self._breaking
        self._breaking = None
        judged = breaker._counts_as_failure is None
        if judged and isinstance(error, Exception) and not provider_failures(error):
            error = _Neutral()
        admitted.__exit__(None if error is None else type(error), error, None)

    def _settle(
        self, usage: UsageSnapshot | None, error: BaseException | None, certainty: str = "measured"
    ) -> None:
        for reservation in self._reservations:
            try:
                if usage is not None:
                    reservation.settle(usage, certainty=certainty, failure=failure_of(error))
                else:
                    reservation.fail(error)
            except TechrevatiError as trouble:  # the answer is paid for: it is not thrown away
                logger("integrations").error("a request could not be settled: %s", trouble)

    def _told_end(self, usage: UsageSnapshot | None, error: BaseException | None) -> None:
        missing = usage is None and error is None
        covered.note(
            self.request.provider, self.request.shape, "guarded", requests=1, without_usage=int(missing)
        )
        if error is not None:
            self._tell(AgentEventName.MODEL_FAILED, AgentEventStatus.FAILED, error, usage)
        else:
            self._tell(AgentEventName.MODEL_CALLED, AgentEventStatus.COMPLETED, None, usage)

    def _tell(
        self,
        name: AgentEventName,
        status: AgentEventStatus,
        error: BaseException | None,
        usage: UsageSnapshot | None = None,
    ) -> None:
        guard = self._guard
        if guard._sink is not None:
            guard.tell(
                name,
                status,
                self.request,
                error=error,
                attempt=self.number,
                seconds=round(guard._clock() - self._started_s, 6),
                usage=None if usage is None else usage.to_dict(),
            )

    def __repr__(self) -> str:
        return f"PhysicalRequest({self.request!r}, {self.number}, {'open' if self._open else 'ended'})"


def _check(name: str, value: object, kinds: type | tuple[type, ...], what: str) -> None:
    if value is not None and not isinstance(value, kinds):
        raise TypeError(f"{name} must be {what}, got {value!r}")
