"""Turns, tools and steps of a session with a journal: each happens once in all lives of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from techrevati.runtime._core.canonical import argument_hash
from techrevati.runtime.journal import JournalError, ResultNotStorableError, RunBusyError
from techrevati.runtime.orchestrator.turns import SessionTurns, _usage_of, named
from techrevati.runtime.pricing import cost_picodollars_or_none
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias, TypeVar

    from techrevati.runtime.approvals import Approvals
    from techrevati.runtime.journal import Happened, RunJournal, Step
    from techrevati.runtime.orchestrator.spending import SessionSpending
    from techrevati.runtime.orchestrator.turn_layers import Model, TurnTerms

    T = TypeVar("T")
    Verify: TypeAlias = Callable[[], bool | Happened | None]


_ASKED = "asked"  # beside the usage of a turn: the model that it was priced as, where a function says that
ONE_TURN = {"turns": 1, "model_calls": 1, "attempts": 1}
ONE_TOOL = {"tool_calls": 1}


class TurnOnRecord:
    """One turn: measures what it used when it happens, or reads that from the record.

    Attributes:
        usage: What it used, when that is known.
        model: What was asked; of a turn that is on record what was asked then, whatever a failover would now.
        replayed: True when nothing was called, and an earlier life had done and counted it.
        called: True when it happened now.
    """

    def __init__(self, terms: TurnTerms) -> None:
        self.model: Model = terms.model
        self.usage: UsageSnapshot | None = terms.usage
        self.replayed: bool = False
        self.called: bool = False
        self._estimate_usage = terms.estimate_usage

    def measure(self, result: object) -> tuple[dict[str, object], str]:
        """What it used and what that cost."""
        self.called = True
        if self.usage is None:
            self.usage = _usage_of(result, self._estimate_usage)
        used: dict[str, object] = dict(self.usage.to_dict())
        asked = named(self.model)
        if not isinstance(self.model, str):
            used[_ASKED] = asked
        return used, str(cost_picodollars_or_none(asked, self.usage) or 0)

    @property
    def repeated(self) -> bool:
        """True when somebody else in this life has done it, or has told it from the record: it is counted."""
        return not self.called and not self.replayed

    def on_record(self, step: Step) -> None:
        """It happened in an earlier life; one that was in doubt until now is counted now."""
        self.replayed = not self.called
        used = step.usage or {}
        self.usage = UsageSnapshot.from_dict(used)
        asked = used.get(_ASKED)
        if isinstance(asked, str):
            self.model = asked


class SessionJournalled(SessionTurns):
    """What a journal does for a session."""

    @property
    def run(self) -> RunJournal:
        """The run's open journal.

        Raises:
            JournalError: The orchestrator was given no journal, or the session is not entered.
        """
        if self._run is None:
            raise JournalError(self.run_id, "no journal: give the orchestrator one, and enter the session")
        return self._run

    def step(
        self, key: str, fn: Callable[[], T], *, idempotent: bool = False, verify: Verify | None = None
    ) -> T:
        """Run a step of your own once in all lives of this run; see ``RunJournal.step``.

        Args:
            key: Its name within the run.
            fn: Does it; a later life gets what it returned, without a call.
            idempotent: It may run again when nobody knows whether it happened.
            verify: Says whether it happened: True or ``Happened(result)``, False, or None if unknown.

        Raises:
            InDoubtError, ReplayMismatchError, ResultNotStorableError, RecordedFailureError, RunBusyError:
                See ``RunJournal.step``.
        """
        self._require_running()
        return self.run.step(key, fn, idempotent=idempotent, verify=verify)

    async def astep(
        self,
        key: str,
        fn: Callable[[], Awaitable[T]],
        *,
        idempotent: bool = False,
        verify: Callable[[], Awaitable[bool | Happened | None]] | Verify | None = None,
    ) -> T:
        """:meth:`step` for coroutines."""
        self._require_running()
        return await self.run.astep(key, fn, idempotent=idempotent, verify=verify)

    def _turn_done(self, turn: TurnOnRecord) -> None:
        """Book a turn whose result the journal could not store: it was paid for."""
        if turn.usage is not None:
            self._book(named(turn.model), turn.usage)

    @property
    def _forgetful(self) -> SessionSpending | None:
        """The budgets, if they must be told what earlier lives used."""
        spending = self._spending
        return spending if spending is not None and spending.forgets and self.run._counts else None

    def _turn_options(self, turn: TurnOnRecord, terms: TurnTerms) -> dict[str, Any]:
        """How the journal is asked for a turn."""
        spending = self._forgetful

        def on_record(step: Step) -> None:
            turn.on_record(step)
            if spending is not None:
                spending.on_record(step, ONE_TURN)

        return {
            "kind": "turn",
            "name": named(turn.model),
            "arguments": None if terms.prompt is None else {"prompt": terms.prompt},
            "measure": turn.measure,
            "before": None if spending is None else spending.begins,
            "on_record": on_record,
            "key": terms.key,
            "idempotent": terms.idempotent,
            "verify": terms.verify,
        }

    def _recorded_turn(self, turn: TurnOnRecord, terms: TurnTerms, call: Callable[[], T]) -> T:
        try:
            result: T = self.run.step(fn=call, **self._turn_options(turn, terms))
        except ResultNotStorableError:
            self._turn_done(turn)
            raise
        except RunBusyError as taken:
            if taken.has_result:
                self._turn_done(turn)
            raise
        return result

    async def _arecorded_turn(
        self, turn: TurnOnRecord, terms: TurnTerms, call: Callable[[], Awaitable[T]]
    ) -> T:
        try:
            result: T = await self.run.astep(fn=call, **self._turn_options(turn, terms))
        except ResultNotStorableError:
            self._turn_done(turn)
            raise
        except RunBusyError as taken:
            if taken.has_result:
                self._turn_done(turn)
            raise
        return result

    def _allowed(
        self, approval: Approvals | None, tool: str, arguments: Mapping[str, object] | None
    ) -> Callable[[str], None] | None:
        """What uses the approval of a tool when it is about to run; asks for it first."""
        if approval is None:
            return None

        def use(key: str) -> None:
            name = f"{self.run_id}:{key}"
            approval.request(tool, arguments, reason=f"{self.role} in {self.phase}", id=name)
            approval.consume(name, tool, arguments, by=name if self._run is not None else None)

        return use

    def _recorded_tool(
        self,
        tool: str,
        call: Callable[[], T],
        arguments: Mapping[str, object] | None,
        approval: Approvals | None,
        options: Mapping[str, Any],
    ) -> T:
        use = self._allowed(approval, tool, arguments)
        if self._run is None:
            if use is not None:
                use(options["key"] or f"{tool}:{argument_hash(arguments or {})[:16]}")
            return call()
        spending, forgetful = self._spending, self._forgetful

        def begin(key: str) -> None:
            if use is not None:
                use(key)
            if forgetful is not None:
                forgetful.begins(key)
            if spending is not None:
                spending.tool()

        result: T = self._run.step(
            kind="tool",
            fn=call,
            name=tool,
            arguments=arguments or {},
            before=begin,
            on_record=_tool_on_record(forgetful),
            **options,
        )
        return result

    async def _arecorded_tool(
        self,
        tool: str,
        call: Callable[[], Awaitable[T]],
        arguments: Mapping[str, object] | None,
        approval: Approvals | None,
        options: Mapping[str, Any],
    ) -> T:
        use = self._allowed(approval, tool, arguments)
        if self._run is None:
            if use is not None:
                use(options["key"] or f"{tool}:{argument_hash(arguments or {})[:16]}")
            return await call()
        spending, forgetful = self._spending, self._forgetful

        async def begin(key: str) -> None:
            if use is not None:
                use(key)
            if forgetful is not None:
                forgetful.begins(key)
            if spending is not None:
                await spending.atool()

        result: T = await self._run.astep(
            kind="tool",
            fn=call,
            name=tool,
            arguments=arguments or {},
            before=begin,
            on_record=_tool_on_record(forgetful),
            **options,
        )
        return result


def _tool_on_record(spending: SessionSpending | None) -> Callable[[Step], None] | None:
    return None if spending is None else lambda step: spending.on_record(step, ONE_TOOL)
