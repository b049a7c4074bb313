"""Tell what became of model calls, to a sink that never disturbs them and never learns a content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.failures import classify

if TYPE_CHECKING:
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.sinks import EventSink


class CallEvents:
    """The events of one guard.  Thread-safe as its sink.

    Args:
        project: Stands in every event.
        sink: None tells nobody.
        redactor: Looks at every event; None takes one with the built-in patterns, at the first event.
    """

    __slots__ = ("_project", "_redactor", "_sink")

    def __init__(self, project: str | None, sink: EventSink | None, redactor: Redactor | None) -> None:
        self._project = project
        self._sink = sink
        self._redactor = redactor

    @property
    def heard(self) -> bool:
        """Whether anybody is told."""
        return self._sink is not None

    def unguarded(self, provider: str, shape: str) -> None:
        """A call passed through for the first time."""
        self._emit(
            AgentEvent(
                AgentEventName.MODEL_UNGUARDED,
                AgentEventStatus.RED,
                project_id=self._project,
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
        """Emit what became of a physical request."""
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
                project_id=self._project,
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
