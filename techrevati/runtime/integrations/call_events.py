"""Tell what became of model calls, to a sink that never disturbs them.

Contents are told to a sink that asks for them with a true ``takes_content``, and to no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.failures import classify

if TYPE_CHECKING:
    from techrevati.runtime.integrations.contents import Answered
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.sinks import EventSink


class CallEvents:
    """The events of one guard.  Thread-safe as its sink.

    Args:
        project: Stands in every event.
        sink: None tells nobody.
        redactor: Looks at every event; None takes one with the built-in patterns, at the first event.

    Attributes:
        heard: Whether anybody is told.
        takes_content: Whether the sink asks for what is asked and answered.
    """

    __slots__ = ("_project", "_redactor", "_sink", "heard", "takes_content")

    def __init__(self, project: str | None, sink: EventSink | None, redactor: Redactor | None) -> None:
        self._project = project
        self._sink = sink
        self._redactor = redactor
        self.heard: bool = sink is not None
        self.takes_content: bool = bool(getattr(sink, "takes_content", False))

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
        answered: Answered | None = None,
        **facts: object,
    ) -> None:
        """Emit what became of a physical request; what was *answered* only where contents are told."""
        if self._sink is None:
            return
        data: dict[str, object] = {
            "provider": request.provider,
            "model": request.model,
            "shape": request.shape,
            "settings": request.settings() or None,
            **facts,
        }
        if request.server is not None:
            data["server_address"], data["server_port"] = request.server
        if self.takes_content:
            data["content"] = self._content(request, answered)
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

    @staticmethod
    def _content(request: ModelRequest, answered: Answered | None) -> dict[str, object] | None:
        from techrevati.runtime.integrations.contents import asked

        try:
            told = asked(request.content)
            if answered is not None and (messages := answered.messages()):
                told["output"] = messages
        except Exception as error:  # of a shape that nobody foresaw: the call is worth more
            logger("integrations").warning("contents could not be told: %s", type(error).__name__)
            return None
        return told or None

    def _emit(self, event: AgentEvent) -> None:
        if self._sink is None:
            return
        if self._redactor is None:
            self._redactor = Redactor()
        try:
            self._sink.emit(self._redactor.event(event))
        except Exception as error:
            logger("integrations").warning("event_sink.emit raised %s", type(error).__name__)
