"""One model call, guarded: breaker, deadline, budget and books around each physical request.

``CallGuard`` is what every adapter stands on.  ``call`` and ``acall`` make a call with its retries; each
physical request is a ``PhysicalRequest``, which is begun before anything is sent and ended exactly once, by
its answer, its error or its reader who went away.  What refuses it raises before anything is sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import count
from types import NoneType
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.labels import short_text
from techrevati.runtime._core.log import announce
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.agent_events import AgentEventName, AgentEventStatus
from techrevati.runtime.budgets import Budget
from techrevati.runtime.budgets.book import same_books
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    BreakerRegistry,
    CircuitBreaker,
)
from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.integrations import covered
from techrevati.runtime.integrations.call_events import CallEvents
from techrevati.runtime.integrations.physical_request import PhysicalRequest
from techrevati.runtime.integrations.request_bounds import reservation_of, reserved
from techrevati.runtime.retry_policy import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.sinks import EventSink

    T = TypeVar("T")

announce("integrations")

_ONCE = Retry(1)
_breakers = BreakerRegistry()  # for guards that are given none


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
        counted: Whether its calls are part of ``coverage()``; False for a guard inside another one.
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
        counted: bool = True,
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
                short_text(name, text)
        _check("credential_id", credential_id, str, "a string")
        if tags is not None:
            _check("tags", tags, Mapping, "a mapping of names to texts")
            for text in (text for tag in tags.items() for text in tag):
                _check("tags", text, str, "a mapping of names to texts")
        if not callable(getattr(event_sink, "emit", None)):
            _check("event_sink", event_sink, NoneType, "an object with emit(event)")
        if ledger is not None and not callable(getattr(ledger, "transact", None)):
            _check("ledger", ledger, NoneType, "a SpendLedger")
        if deadline is not None and not isinstance(deadline, Deadline):
            deadline = arguments.positive("deadline", deadline)
        self.project: str | None = project
        self.retry: Retry | None = retry
        self.observe_only: bool = arguments.flag("observe_only", observe_only)
        self._counted = arguments.flag("counted", counted)
        self.credential_id: str | None = credential_id
        self._breaker = _breakers if breaker is None else breaker
        self._budgets: list[Budget] = []
        if budget is not None:
            self._budgets.append(budget)
        if ledger is not None and (budget is None or not same_books(budget.ledger, ledger)):
            self._budgets.append(Budget("guard", ledger=ledger))
        # Books on a disk are not written on an event loop's thread; those in memory are, as a hop to
        # another thread costs more than they do.
        self._blocking = any(one._worker is not None for one in self._budgets)
        self._deadline = deadline
        self._about = {"project": project, "user": user, "session": session, "run": run, "tags": tags}
        self.events: CallEvents = CallEvents(project, event_sink, redactor)
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
        self.note(request, calls=1)
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
        around = deadline if isinstance(deadline, Deadline) else Deadline(deadline)
        if self.observe_only:  # it is looked at, and ends neither a retry nor its wait

            def observed() -> T:
                with around:
                    return once()

            return retry.call(observed)
        with around:
            return retry.call(once)

    async def acall(
        self,
        request: ModelRequest,
        send: Callable[[PhysicalRequest], Awaitable[T]],
        *,
        retry: Retry | None = None,
    ) -> T:
        """:meth:`call` for tasks; cancelling it ends the request under way as one that was cut off."""
        self.note(request, calls=1)
        numbers = count(1)

        async def once() -> T:
            made = await self.abegin(request, next(numbers))
            try:
                return await send(made)
            except BaseException as error:
                await made.afail(error)
                raise

        retry = retry or self.retry or _ONCE
        deadline = self._deadline
        if deadline is None:
            return await retry.acall(once)
        around = deadline if isinstance(deadline, Deadline) else Deadline(deadline)
        if self.observe_only:

            async def observed() -> T:
                with around:
                    return await once()

            return await retry.acall(observed)
        with around:
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
                    made._reservations.append(reserved(budget, request, self._about))
                except Exception as refusal:
                    self._observed(refusal, request)
                    for uncapped in _uncapped(budget):
                        asked = reservation_of(uncapped, request, self._about)
                        made._reservations.append(uncapped.reserve(**asked))
        except BaseException as error:
            made._refused(error)
            raise
        return made

    async def abegin(self, request: ModelRequest, number: int = 1) -> PhysicalRequest:
        """:meth:`begin` without blocking the event loop while a ledger or a breaker's store is written."""
        made = PhysicalRequest(self, request, number)
        try:
            await made._aadmit()
            for budget in self._budgets:
                try:
                    made._reservations.append(
                        await budget.areserve(**reservation_of(budget, request, self._about))
                        if self._blocking
                        else reserved(budget, request, self._about)
                    )
                except Exception as refusal:
                    self._observed(refusal, request)
                    for uncapped in _uncapped(budget):
                        asked = reservation_of(uncapped, request, self._about)
                        made._reservations.append(await uncapped.areserve(**asked))
        except BaseException as error:
            await made._arefused(error)
            raise
        return made

    def _observed(self, refusal: Exception, request: ModelRequest) -> None:
        """Raise *refusal*, or only tell it."""
        if not self.observe_only:
            raise refusal
        self.note(request, refused=1)
        self.events.tell(
            AgentEventName.MODEL_REFUSED, AgentEventStatus.GREEN, request, error=refusal, observed=True
        )

    def breaker_of(self, request: ModelRequest) -> CircuitBreaker:
        """The breaker that this request is one call of."""
        if isinstance(self._breaker, CircuitBreaker):
            return self._breaker
        credential = request.credential_id if self.credential_id is None else self.credential_id
        return self._breaker.get(request.provider, request.model or "", credential)

    # --- telling --------------------------------------------------------------------------------------------

    def passed_through(self, provider: str, shape: str, *, free: bool) -> None:
        """Note a call that is not guarded; the first of its shape is told."""
        if not self._counted:
            return
        if free:
            covered.note(provider, shape, "free", calls=1)
        elif covered.passed_through(provider, shape):
            self.events.unguarded(provider, shape)

    def note(
        self,
        request: ModelRequest,
        *,
        calls: int = 0,
        requests: int = 0,
        without_usage: int = 0,
        refused: int = 0,
    ) -> None:
        """Count in ``coverage()`` what became of a guarded call."""
        if self._counted:
            covered.add((request.provider, request.shape, "guarded"), calls, requests, without_usage, refused)

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
        self.events.tell(name, status, request, error=error, answered=None, **facts)


def _uncapped(refusing: Budget) -> list[Budget]:
    """Where what is only observed is on the books all the same, without the limits."""
    if refusing.ledger is None:
        return []
    return [Budget(f"{refusing.name}/observed", ledger=refusing.ledger)]


def _check(name: str, value: object, kinds: type | tuple[type, ...], what: str) -> None:
    if value is not None and not isinstance(value, kinds):
        from techrevati.runtime._core.scrub import scrubbed

        raise TypeError(f"{name} must be {what}, got {scrubbed(repr(value))}")  # it may be a key
