"""One streamed turn on the books: breaker, reservation, journal, tracker and event hear of its end, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from techrevati.runtime._core.worker import ended
from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.budgets.evidence import Proof, proof
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.journalled import ONE_TURN
from techrevati.runtime.orchestrator.turns import named
from techrevati.runtime.pricing import cost_picodollars_or_none
from techrevati.runtime.streaming import StreamOutcome, StreamUsage
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitGuard
    from techrevati.runtime.journal import Step
    from techrevati.runtime.journal.open_step import OpenStep
    from techrevati.runtime.orchestrator.spending import TurnSpend
    from techrevati.runtime.orchestrator.streams import SessionStreams
    from techrevati.runtime.orchestrator.told_turns import ToldTurn
    from techrevati.runtime.orchestrator.turn_layers import TurnTerms
    from techrevati.runtime.streaming import UsageReader

T = TypeVar("T")

_BROKEN = ("failed", "stalled")
_NOTHING = UsageSnapshot()


class StreamTurn(Generic[T]):
    """What a session knows of one stream.

    Attributes:
        items: What was handed out, where the journal, a guardrail or loop detection will ask for it.
        on_record: How it ended in an earlier life of the run.
    """

    def __init__(
        self,
        session: SessionStreams,
        terms: TurnTerms,
        item: Callable[[Any], T | None] | None,
        usage: UsageReader | None,
        hold: bool | None,
    ) -> None:
        self.session = session
        self.terms = terms
        self._item = item
        self.usage: StreamUsage = StreamUsage(input_tokens=terms.input_tokens or 0, reader=usage)
        self.looks: bool = session._looks_at_turns
        self.holds: bool = session._guardrails.looks_at_answers if hold is None else hold
        kept = self.looks or self.holds or session._run is not None
        self.items: list[T] | None = [] if kept else None
        self.on_record: StreamOutcome | None = None
        self.step: OpenStep | None = None
        self.told: ToldTurn | None = None
        self._spend: TurnSpend | None = None
        self._guard: CircuitGuard | None = None
        self._in_task = False
        self._writing: list[Future[Any]] = []

    @property
    def model(self) -> str:
        """What is asked now, or was at the end."""
        return named(self.terms.model)

    # --- the beginning -------------------------------------------------------------------------------------

    def begin(self, breaker: CircuitBreaker | None) -> None:
        """Before each attempt to open it: reserve what it may use, and ask the breaker."""
        spending = self.session._spending
        self._spend = None if spending is None else spending.begin(self.terms)
        try:
            self._guard = None
            if breaker is not None:
                guard = breaker.guard()
                guard.__enter__()
                self._guard = guard
        except BaseException as error:
            self.not_opened(error)
            raise

    async def abegin(self, breaker: CircuitBreaker | None) -> None:
        """:meth:`begin` for tasks."""
        self._in_task = True
        spending = self.session._spending
        self._spend = None if spending is None else await spending.abegin(self.terms)
        try:
            self._guard = None
            if breaker is not None:
                guard = breaker.guard()
                await guard.__aenter__()
                self._guard = guard
        except BaseException as error:
            await self.anot_opened(error)
            raise

    def not_opened(self, error: BaseException) -> None:
        """The attempt ended before there was a stream."""
        self._leave(error)
        if self._spend is not None:
            self._spend.fail(error)

    async def anot_opened(self, error: BaseException) -> None:
        """:meth:`not_opened` for tasks."""
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.__aexit__(type(error), error, None)
        if self._spend is not None:
            await self._spend.afail(error)

    def _leave(self, error: BaseException | None) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        if self._in_task and guard._blocks:
            leaving = guard._leave_soon(error)
            self._writing += [] if leaving is None else [leaving]
        else:
            guard.__exit__(None if error is None else type(error), error, None)

    def never_opened(self, error: BaseException) -> None:
        """No attempt brought a stream."""
        if self.told is not None:
            self.told.end(error, None)
        if self.step is not None:
            self.step.failed(error)

    def take(self, chunk: Any) -> T | None:
        """What is handed out of one chunk; None for nothing."""
        value: T | None = chunk if self._item is None else self._item(chunk)
        if value is not None and self.items is not None:
            self.items.append(value)
        return value

    def begun(self) -> None:
        """The journal has its intent."""
        forgetful = self.session._forgetful
        if forgetful is not None and self.step is not None:
            forgetful.begins(self.step.step.key)

    def recall(self, step: Step) -> None:
        """It happened in an earlier life: count what it used, and call nothing."""
        told = step.usage or {}
        used = UsageSnapshot.from_dict(told)
        self.session._book(self.model, used, True)
        forgetful = self.session._forgetful
        if forgetful is not None:
            forgetful.on_record(step, ONE_TURN)
        self.on_record = StreamOutcome("completed", 0, used, bool(told.get("estimated")))
        if self.told is not None:
            self.told.end(None, used, replayed=True)

    # --- the end -------------------------------------------------------------------------------------------

    def ended(self, outcome: StreamOutcome) -> None:
        """Tell everybody; what only the consumer of a complete answer should hear is raised last."""
        # Who left early proved nothing about the dependency: to the breaker that is a cancellation.
        error = outcome.error or (GeneratorExit() if outcome.state == "closed" else None)
        self._leave(error)
        used = self._settled(outcome)
        session, model = self.session, self.model
        over = session._book(model, used)
        self._tell(outcome, used)
        if self.step is not None:
            usage: dict[str, object] = dict(used.to_dict())
            if outcome.estimated:
                usage["estimated"] = True
            cost = str(cost_picodollars_or_none(model, used) or 0)
            if error is None:
                self.step.done(self.items, usage, cost)
            else:
                self.step.failed(error, usage, cost)
        if over and session._config.enforce_budget and error is None:
            raise session._over_budget(has_result=self.items is not None, result=self.items, usage=used)

    def _settled(self, outcome: StreamOutcome) -> UsageSnapshot:
        """What it used, as the ledger counts it."""
        used, error = outcome.usage or _NOTHING, outcome.error
        at_once = outcome.state == "failed" and not outcome.chunks
        if at_once and error is not None and proof(error) is not Proof.NONE:
            used = _NOTHING  # refused: nothing is billed
        if self._spend is not None:
            certainty = "estimated" if outcome.estimated else "measured"
            self._writing += self._spend.end_stream(None if used == _NOTHING else used, error, certainty)
        return used

    async def written(self) -> None:
        """Wait until its end is in the files of the ledger and of the breaker."""
        writing, self._writing = self._writing, []
        for future in writing:
            await ended(future)

    def _tell(self, outcome: StreamOutcome, used: UsageSnapshot) -> None:
        broken = outcome.state in _BROKEN and outcome.error is not None
        data: dict[str, object] = {
            "model": self.model,
            "state": outcome.state,
            "chunks": outcome.chunks,
            "usage": used.to_dict(),
            "estimated": outcome.estimated,
        }
        if outcome.first_token_seconds is not None:
            data["first_token_seconds"] = round(outcome.first_token_seconds, 6)
        why = detail = None
        if broken and outcome.error is not None:
            why = classify(outcome.error).failure_class
            detail = self.session._redactor.error_text(outcome.error)
        status = Status.FAILED if broken else Status.COMPLETED
        self.session.emit(Name.AGENT_STREAM_ENDED, status, why, detail, data)
        if self.told is not None:
            self.told.end(outcome.error if broken else None, used, state=outcome.state)

    def answer(self) -> object:
        """The whole answer, as guardrails see it: one text, or the list of what is no text."""
        items = self.items or []
        if items and all(isinstance(item, str) for item in items):
            return "".join(map(str, items))
        return items
