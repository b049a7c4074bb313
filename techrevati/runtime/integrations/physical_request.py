"""One request to a model that may be sent now, from its admission to its end.

It is begun before anything is sent and ended exactly once, by its answer, its error or its reader who went
away.  Its end leaves the breaker, settles the reservations and is told, in this order.  One that is only
noticed by the garbage collector is ended by another thread: see ``_core.collector``.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING

from techrevati.runtime._core import collector
from techrevati.runtime._core.deadline import current
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import logger
from techrevati.runtime.agent_events import AgentEventName, AgentEventStatus
from techrevati.runtime.budgets.evidence import Proof, proof
from techrevati.runtime.budgets.reservation import failure_of
from techrevati.runtime.circuit_breaker import CircuitOpenError
from techrevati.runtime.deadlines import DeadlineExceededError
from techrevati.runtime.failures import provider_failures
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from techrevati.runtime._core.deadline import Remaining
    from techrevati.runtime.budgets import Reservation
    from techrevati.runtime.circuit_breaker import CircuitBreaker
    from techrevati.runtime.circuit_breaker.books import Ticket
    from techrevati.runtime.integrations.call_guard import CallGuard
    from techrevati.runtime.integrations.contents import Answered
    from techrevati.runtime.integrations.model_request import ModelRequest

    T = TypeVar("T")


class _Neutral(BaseException):
    """Ends a breaker's call without a word about the provider, as a cancellation does."""


class PhysicalRequest:
    """One request that may be sent now.  Ended exactly once; later ends change nothing.  Thread-safe.

    Attributes:
        request: What is asked.
        number: Which attempt of its call, from 1.
        answered: What the answer says; None where no sink takes contents.
        blocks: Whether its end may wait for a disk; tasks then wait for a thread.
        timed: Whether a deadline is in force.
    """

    __slots__ = (
        "_breaker",
        "_deadline",
        "_guard",
        "_open",
        "_reservations",
        "_started_s",
        "_ticket",
        "answered",
        "blocks",
        "number",
        "request",
        "timed",
    )

    def __init__(self, guard: CallGuard, request: ModelRequest, number: int) -> None:
        self.request: ModelRequest = request
        self.number: int = number
        self._guard = guard
        self._open = [True]
        self.blocks: bool = guard._blocking
        self._reservations: list[Reservation] = []
        self._breaker: CircuitBreaker | None = None  # while this is one of its calls
        self._ticket: Ticket | None = None
        self._deadline: Remaining | None = current.get()
        self.timed: bool = self._deadline is not None
        self._started_s = guard._clock()
        self.answered: Answered | None = None
        if guard.events.takes_content:
            from techrevati.runtime.integrations.contents import Answered

            self.answered = Answered()

    # --- beginning ------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        guard = self._guard
        if self.timed:
            self._in_time_to_begin()
        breaker = guard.breaker_of(self.request)
        try:
            self._ticket = breaker._begin()
        except CircuitOpenError as refusal:
            guard._observed(refusal, self.request)
        else:
            self._breaker = breaker

    async def _aadmit(self) -> None:
        """:meth:`_admit` without blocking the event loop while a breaker asks its store."""
        guard = self._guard
        if self.timed:
            self._in_time_to_begin()
        breaker = guard.breaker_of(self.request)
        shared = breaker._shared
        try:
            if shared is not None and shared.blocks:
                self.blocks = True
                self._ticket = await shared.off_loop(breaker._begin, breaker._give_back)
            else:
                self._ticket = breaker._begin()
        except CircuitOpenError as refusal:
            guard._observed(refusal, self.request)
        else:
            self._breaker = breaker

    def _in_time_to_begin(self) -> None:
        if self._deadline is not None and self._deadline.remaining() <= 0:
            self._guard._observed(self._out_of_time(), self.request)

    def _refused(self, error: BaseException) -> None:
        if not self._open:
            return
        self._open.clear()
        for reservation in self._reservations:
            reservation.release()
        self._leave_breaker(_Neutral())
        if isinstance(error, Exception):
            self._guard.note(self.request, refused=1)
            self._tell(AgentEventName.MODEL_REFUSED, AgentEventStatus.RED, error)

    async def _arefused(self, error: BaseException) -> None:
        await self._off_loop(lambda: self._refused(error), error)

    @property
    def unread(self) -> bool:
        """Whether nobody asks what the answer used: there are no books, and no sink listens."""
        return not self._reservations and not self._guard.events.heard

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
        if collector.running and collector.collecting():
            collector.later(partial(self.finish, usage, measured=measured))
        elif self._closing():
            try:
                self._leave_breaker(None)
            finally:  # a listener of the program's may end it: what was used is on the books all the same
                if self._reservations:
                    self._settle(usage, None, "measured" if measured else "estimated")
            self._told_end(usage if measured else None, None)

    def fail(
        self, error: BaseException, usage: UsageSnapshot | None = None, *, measured: bool = False
    ) -> None:
        """It ended with *error*; *usage* is what it used until then, as far as known."""
        if collector.running and collector.collecting():
            collector.later(partial(self.fail, error, usage, measured=measured))
        elif self._closing():
            try:
                self._leave_breaker(error)
            finally:
                self._settle(usage, error, "measured" if measured else "estimated")
            self._told_end(usage if measured else None, error)

    def abandon(self, usage: UsageSnapshot | None = None) -> None:
        """The reader went away before the end; that says nothing about the provider."""
        if collector.running and collector.collecting():
            collector.later(partial(self.abandon, usage))
        elif self._closing():
            try:
                self._leave_breaker(_Neutral())
            finally:
                self._settle(usage, None, "estimated")
            self._guard.note(self.request, requests=1, without_usage=1)
            self._tell(AgentEventName.MODEL_ABANDONED, AgentEventStatus.COMPLETED, None)

    def unsent(self) -> None:
        """Nothing was sent after all: what was reserved is given back, and the books know nothing of it."""
        if self._closing():
            for reservation in self._reservations:
                reservation.release()
            self._leave_breaker(_Neutral())

    async def afinish(self, usage: UsageSnapshot | None, *, measured: bool = True) -> None:
        """:meth:`finish` without blocking the event loop while a ledger is written."""
        await self._off_loop(lambda: self.finish(usage, measured=measured))

    async def afail(
        self,
        error: BaseException,
        usage: UsageSnapshot | None = None,
        *,
        measured: bool = False,
        closable: bool = False,
    ) -> None:
        """:meth:`fail` without blocking the event loop while a ledger is written.

        A cancelled task waits, too, until it is cancelled again.  Whoever is interrupted or thrown away ends
        it here and now; an async generator, which is *closable*, may wait even then.
        """
        end = partial(self.fail, error, usage, measured=measured)
        await self._off_loop(end, None if closable and isinstance(error, GeneratorExit) else error)

    async def aabandon(self, usage: UsageSnapshot | None = None) -> None:
        """:meth:`abandon` without blocking the event loop while a ledger is written."""
        await self._off_loop(lambda: self.abandon(usage))

    async def _aunsent(self) -> None:
        """:meth:`unsent` without blocking the event loop while a ledger is written."""
        await self._off_loop(self.unsent)

    async def _off_loop(self, end: Callable[[], None], error: BaseException | None = None) -> None:
        if not self.blocks or not self._open:
            end()
            return
        import asyncio

        if not isinstance(error, (Exception, asyncio.CancelledError, NoneType)):
            end()  # nothing can be waited for
            return
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
        breaker, ticket = self._breaker, self._ticket
        if breaker is None or ticket is None:
            return
        self._breaker = None
        judged = breaker._counts_as_failure is None
        if judged and isinstance(error, Exception) and not provider_failures(error):
            error = _Neutral()
        breaker._end(ticket, error)

    def _settle(
        self, usage: UsageSnapshot | None, error: BaseException | None, certainty: str = "measured"
    ) -> None:
        if usage is None and self._reservations and (error is None or proof(error) is Proof.NONE):
            usage, certainty = UsageSnapshot(self.request.likely_input_tokens), "estimated"
        for at, reservation in enumerate(self._reservations):
            try:
                if usage is not None:
                    failure = None if error is None else failure_of(error)
                    reservation.settle(usage, certainty=certainty, failure=failure)
                else:
                    reservation.fail(error)
            except TechrevatiError as trouble:  # the answer is paid for: it is not thrown away
                logger("integrations").error("a request could not be settled: %s", trouble)
            except BaseException:  # of somebody who is told, and ends the program
                del self._reservations[: at + 1]
                self._settle(usage, error, certainty)
                raise

    def _told_end(self, usage: UsageSnapshot | None, error: BaseException | None) -> None:
        missing = usage is None and error is None
        self._guard.note(self.request, requests=1, without_usage=int(missing))
        if not self._guard.events.heard:
            return
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
        if guard.events.heard:
            guard.events.tell(
                name,
                status,
                self.request,
                error=error,
                attempt=self.number,
                seconds=round(guard._clock() - self._started_s, 6),
                usage=None if usage is None else usage.to_dict(),
                answered=self.answered,
            )

    def __repr__(self) -> str:
        return f"PhysicalRequest({self.request!r}, {self.number}, {'open' if self._open else 'ended'})"
