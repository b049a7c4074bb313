"""The life of a session: its worker from entry to end, and the events it tells on the way."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime.agent_events import (
    AgentEvent,
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.agent_lifecycle import AgentStatus, AgentWorker, UnknownWorkerError
from techrevati.runtime.approvals import ApprovalPendingError
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.current import current
from techrevati.runtime.orchestrator.errors import SessionEndedError
from techrevati.runtime.orchestrator.loops import LoopWatch
from techrevati.runtime.retry_policy import RecoveryContext
from techrevati.runtime.usage_tracking import UsageTracker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime.agent_lifecycle import AgentRegistry
    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.journal import RunJournal
    from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.orchestrator.session import OrchestrationSession

announce("orchestrator")

EVENT_CAPACITY = 1000
_JOURNALLED = {AgentStatus.WAITING_FOR_INPUT.value: "waiting", "running": "interrupted"}

_ENDS = {
    AgentStatus.COMPLETED: (Name.AGENT_COMPLETED, Status.COMPLETED),
    AgentStatus.FAILED: (Name.AGENT_FAILED, Status.FAILED),
    AgentStatus.CANCELLED: (Name.AGENT_CANCELLED, Status.FAILED),
}


class SessionLife:
    """One run of an agent, from its entry to its end.  Thread-safe.

    Attributes:
        tracker: What was used and what that cost.
        recovery: What recovery did.
        registry, role, phase, project_id: From the orchestrator.
        run_id: Unique; in every event of this session.
        parent_id: The run in whose session this one was entered, or which handed over to it.
    """

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        self._config = config
        self._redactor = config.redactor
        self._follows_turns = bool(getattr(config.event_sink, "follows_turns", False))
        self._loops = None if config.loop_detection is None else LoopWatch(self, config.loop_detection)
        self._guardrails = config.guardrail_chain()
        self._handoff = handoff
        self.tracker: UsageTracker = UsageTracker()
        self.recovery: RecoveryContext = RecoveryContext()
        self.registry: AgentRegistry = config.registry
        self.role: str = config.role
        self.phase: str = config.phase
        self.project_id: str | None = config.project_id
        self.run_id: str = config.run_id or os.urandom(8).hex()
        self._run: RunJournal | None = None
        self.parent_id: str | None = None
        self._reported_error: BaseException | None = None
        self._events: deque[AgentEvent] = deque(maxlen=EVENT_CAPACITY)
        self._event_lock = fork_safe_lock()
        self._event_count = 0
        self._state = "not entered"
        self._started_at = 0.0
        self._worker: AgentWorker | None = None
        self._end_told = False
        self._outer: OrchestrationSession | AsyncOrchestrationSession | None = None

    @property
    def worker(self) -> AgentWorker:
        """The worker whose life this is.

        Raises:
            SessionEndedError: The session was not entered.
        """
        if self._worker is None:
            raise SessionEndedError("not entered")
        return self._worker

    # --- life ----------------------------------------------------------------------------------------------

    def _enter(self, session: OrchestrationSession | AsyncOrchestrationSession) -> None:
        if self._state != "not entered":
            raise SessionEndedError("entered before")
        self._outer = current.get()
        self.parent_id = None if self._outer is None else self._outer.run_id
        if self._config.journal is not None:
            self._run = self._config.journal.open(self.run_id)
        try:
            self._begin(session)
        except BaseException:
            if self._run is not None:
                self._run.close()
            raise

    def _begin(self, session: OrchestrationSession | AsyncOrchestrationSession) -> None:
        worker = self._own_worker()
        if worker.status is AgentStatus.IDLE:
            worker.transition(AgentStatus.INITIALIZING)
        worker.transition(AgentStatus.RUNNING)
        self._worker = worker
        self._state = "running"
        self._started_at = self._config.clock()
        current.set(session)
        try:
            self.emit(Name.AGENT_STARTED, Status.RUNNING)
        except BaseException as error:  # Ctrl-C in the sink: the block is not entered, so nobody leaves it
            self._leave(error)
            raise

    def _own_worker(self) -> AgentWorker:
        handoff = self._handoff
        if handoff is None:
            return self.registry.create(self.role, self.phase, self.project_id)
        if handoff.target_role != self.role:
            raise ValueError(
                f"handoff must be for the role {self.role!r}, got one for {handoff.target_role!r}"
            )
        worker = self.registry.get(handoff.target_worker_id)
        if worker is None:
            raise UnknownWorkerError(handoff.target_worker_id)
        self.parent_id = handoff.source_run_id or self.parent_id
        return worker

    def _leave(self, error: BaseException | None) -> None:
        try:
            self._told_end(error)
        finally:
            if self._follows_turns:
                self._tell_turn(Name.RUN_ENDED, Status.COMPLETED, data={"state": self._state})
            if self._run is not None:
                self._run.close(_JOURNALLED.get(self._state, self._state))

    def _told_end(self, error: BaseException | None) -> None:
        if error is None:
            self._end(AgentStatus.COMPLETED, None, None)
        elif isinstance(error, ApprovalPendingError):
            self._park(str(error))
        elif isinstance(error, Exception):
            detail = self._redactor.error_text(error)
            self._end(AgentStatus.FAILED, detail, classify(error).failure_class, error)
        else:  # Ctrl-C, SystemExit, a cancelled task, a closed generator
            self._end(AgentStatus.CANCELLED, self._redactor.error_text(error), None)
        # Not by token: sessions may be left in another order, or in another context, than they were entered.
        inner = current.get()
        while inner is not None and inner._state != "running":
            inner = inner._outer
        current.set(inner)

    def _park(self, why: str) -> None:
        """Leave the run waiting for a person; the same program with the same run goes on from here."""
        if self._end_told:
            return
        self._end_told = True
        if not self.worker.is_terminal:
            self.worker.transition(AgentStatus.WAITING_FOR_INPUT, why)
        self._state = self.worker.status.value
        self._on_end()
        self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, why)

    def _end(
        self,
        status: AgentStatus,
        detail: str | None,
        failure_class: AgentFailureClass | None,
        error: BaseException | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Move the worker to its end, if it is not there yet, and say so once."""
        if self._end_told:
            return
        self._end_told = True
        detail = None if detail is None else self._redactor.text(detail)  # the worker keeps it, too
        worker = self.worker
        if worker.is_terminal:  # somebody ended it through the registry
            status, detail, failure_class = worker.status, None, None
        else:
            if status is AgentStatus.COMPLETED and worker.status is AgentStatus.WAITING_FOR_INPUT:
                worker.transition(AgentStatus.RUNNING)
            worker.transition(status, detail)
        self._state = status.value
        self._on_end()
        if error is None or error is not self._reported_error:
            name, event_status = _ENDS[status]
            self.emit(name, event_status, failure_class, detail, data)

    def _on_end(self) -> None:
        """For the async session: nobody may wait for input any more."""

    def complete(self, detail: str | None = None) -> None:
        """End well now; leaving the ``with`` block then changes nothing more."""
        self._require_running()
        self._end(AgentStatus.COMPLETED, detail, None)

    def fail(
        self,
        detail: str | AgentFailureClass | BaseException | None = None,
        failure_class: AgentFailureClass | str | None = None,
    ) -> None:
        """End badly now.

        Args:
            detail: What happened, for people, or the exception, which is then classified.
            failure_class: Why; UNKNOWN when nothing says.  The two may come in either order.
        """
        self._require_running()
        if isinstance(detail, AgentFailureClass):
            text = failure_class
            detail, failure_class = (None if text is None else str(text)), detail
        if isinstance(detail, BaseException):
            failure_class = failure_class or classify(detail).failure_class
            detail = self._redactor.error_text(detail)
        why = AgentFailureClass(failure_class or AgentFailureClass.UNKNOWN)
        self._end(AgentStatus.FAILED, detail, why)

    def cancel(self, detail: str | None = None) -> None:
        """End as cancelled now."""
        self._require_running()
        self._end(AgentStatus.CANCELLED, detail, None)

    def _require_running(self) -> None:
        if self._state != "running":
            raise SessionEndedError(self._state)
        if self.worker.is_terminal:
            raise SessionEndedError(self.worker.status.value)

    # --- events --------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[AgentEvent]:
        """A copy of this session's last ``EVENT_CAPACITY`` events, oldest first."""
        with self._event_lock:
            return list(self._events)

    def emit(
        self,
        name: Name,
        status: Status,
        failure_class: AgentFailureClass | None = None,
        detail: str | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Tell an event of this run: it gets the next sequence number and goes to the event sink.

        Everything a session does it tells by itself; this is for what only the program knows.  *detail* and
        *data* go through the redactor first.
        """
        if detail is not None:
            detail = self._redactor.text(detail)
        if data is not None:
            data = self._redactor.mapping(data)
        with self._event_lock:  # so that sequence numbers and the order in the ring agree
            self._event_count += 1
            event = AgentEvent(
                name,
                status,
                None,
                self.role,
                self.phase,
                self.project_id,
                failure_class,
                detail,
                data,
                None,
                self._event_count,
                self.run_id,
                self.parent_id,
            )
            self._events.append(event)
        self._give(event)

    def _tell_turn(
        self,
        name: Name,
        status: Status,
        failure_class: AgentFailureClass | None = None,
        detail: str | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Tell a sink that follows turns where a part of the run begins or ends.

        Such an event takes no number, as other sinks are not told.
        """
        self._give(
            AgentEvent(
                name,
                status,
                None,
                self.role,
                self.phase,
                self.project_id,
                failure_class,
                None if detail is None else self._redactor.text(detail),
                None if data is None else self._redactor.mapping(data),
                None,
                self._event_count,
                self.run_id,
                self.parent_id,
            )
        )

    def _give(self, event: AgentEvent) -> None:
        try:
            self._config.event_sink.emit(event)
        except Exception as error:
            logger("orchestrator").warning("event_sink.emit raised %s", self._redactor.error_text(error))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(role={self.role!r}, phase={self.phase!r}, {self._state})"
