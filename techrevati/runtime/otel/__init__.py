"""Show events and usage to OpenTelemetry, in its GenAI conventions.

Every event becomes a span of its own at the time of the event, and usage becomes the conventional token
histogram plus a cost counter.  The module imports without OpenTelemetry; building a sink does not.

Source: OpenTelemetry semantic conventions for generative AI (agent spans, client metrics).
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.agent_events import AgentEvent, AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.otel.hand_over import HandOver
from techrevati.runtime.otel.sendable import (
    encodable as _encodable,
    sendable as _sendable,
    span_name as _span_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

    from techrevati.runtime.usage import UsageSnapshot

_OTEL_AVAILABLE = True
_OTEL_IMPORT_ERROR: ImportError | None = None
try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401  # both are needed later
except ImportError as _error:
    _OTEL_AVAILABLE = False
    _OTEL_IMPORT_ERROR = _error

_OPERATIONS = {
    Name.AGENT_READY: "create_agent",
    Name.AGENT_TOOL_CALLED: "execute_tool",
    Name.AGENT_TOOL_COMPLETED: "execute_tool",
    Name.HOOK_PRE_TOOL: "execute_tool",
    Name.HOOK_POST_TOOL: "execute_tool",
    Name.PHASE_STARTED: "invoke_workflow",
    Name.PHASE_COMPLETED: "invoke_workflow",
    Name.PHASE_GATE_EVALUATED: "invoke_workflow",
    Name.PHASE_GATE_PASSED: "invoke_workflow",
    Name.PHASE_GATE_FAILED: "invoke_workflow",
}
_SCOPE = "techrevati.runtime"
_PATIENCE_S = 1.0
_QUEUE_SIZE = 2048


class OpenTelemetrySink:
    """An event sink that makes one span of every event.  Thread-safe.

    A span has reached the span processors when ``emit`` returns, unless one of them hangs: then ``emit``
    waits for a second, and not again while it hangs; what a queue cannot keep meanwhile is counted in
    ``dropped``.  For one trace of a whole run see ``OpenTelemetryRunSink``.

    Args:
        tracer: Where spans go; the global tracer provider's when None.
        provider_name: Value of ``gen_ai.provider.name``; not empty.
        agent_id: Value of ``gen_ai.agent.id``; the event's run when None.
        redactor: Goes over every event first; the default one when None.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        tracer: Tracer | None = None,
        provider_name: str = "techrevati",
        agent_id: str | None = None,
        *,
        redactor: Redactor | None = None,
    ) -> None:
        _require_opentelemetry()
        from opentelemetry import trace

        self._failure = trace.StatusCode.ERROR
        self._tracer = trace.get_tracer(_SCOPE) if tracer is None else tracer
        self._provider_name = arguments.text("provider_name", provider_name)
        self._agent_id = agent_id
        self._redactor = Redactor() if redactor is None else redactor
        self._ending = HandOver(_QUEUE_SIZE)
        self._hanging: Event | None = None

    def emit(self, event: AgentEvent) -> None:
        """Make one span of *event*, named ``<operation> <tool, role or phase>``."""
        event = self._redactor.event(event)
        operation = _OPERATIONS.get(event.event, "invoke_agent")
        tool = (event.data or {}).get("tool") if operation == "execute_tool" else None
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": self._provider_name,
            **event.to_otel_attributes(),
        }
        optional = {
            "gen_ai.agent.name": event.role,
            "gen_ai.agent.id": self._agent_id or event.run_id,
            "gen_ai.tool.name": tool if isinstance(tool, str) else None,
            "agent.run_id": event.run_id,
            "agent.parent_run_id": event.parent_id,
        }
        attributes.update((key, value) for key, value in optional.items() if value is not None)
        failed = event.status in (Status.FAILED, Status.RED)
        if failed:
            known = event.failure_class
            attributes["error.type"] = event.event.value if known is None else known.value
        subject = tool if isinstance(tool, str) and tool else event.role or event.phase
        moment_ns = _nanoseconds(event.emitted_at)
        span = self._tracer.start_span(
            _span_name(operation, subject), attributes=_sendable(attributes), start_time=moment_ns
        )
        if failed:
            span.set_status(self._failure, event.detail and _encodable(event.detail))
        self._end(partial(span.end, moment_ns))

    @property
    def dropped(self) -> int:
        """Spans that were lost because the exporter hung."""
        return self._ending.dropped

    def _end(self, work: Callable[[], object]) -> None:
        """Let our thread do what may hang, and see it done, as long as nothing hangs."""
        hanging = self._hanging
        done = Event()

        def ended() -> None:
            try:
                work()
            finally:
                done.set()

        if not self._ending.give(ended) or (hanging is not None and not hanging.is_set()):
            return
        self._hanging = None if done.wait(_PATIENCE_S) else done


class OpenTelemetryUsageSink:
    """A usage sink that feeds the token histogram and the cost counter.  Thread-safe.

    ``gen_ai.client.token.usage`` gets one point for input and one for output (``gen_ai.token.type``); input
    includes cached tokens, as the convention has it.  ``techrevati.cost.usd`` adds up US dollars.

    Args:
        meter: Where metrics go; the global meter provider's when None.
        provider_name: Value of ``gen_ai.provider.name``; not empty.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    def __init__(self, meter: Meter | None = None, provider_name: str = "techrevati") -> None:
        _require_opentelemetry()
        from opentelemetry import metrics

        meter = metrics.get_meter(_SCOPE) if meter is None else meter
        self._provider_name = arguments.text("provider_name", provider_name)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", unit="{token}", description="Tokens used by one model call"
        )
        self._cost = meter.create_counter(
            "techrevati.cost.usd", unit="USD", description="US dollars spent on model calls"
        )

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Count one call."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._provider_name,
            "gen_ai.request.model": _encodable(model),
        }
        given = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        self._tokens.record(given, {**attributes, "gen_ai.token.type": "input"})
        self._tokens.record(usage.output_tokens, {**attributes, "gen_ai.token.type": "output"})
        self._cost.add(cost_usd, attributes)


def _nanoseconds(emitted_at: str) -> int | None:
    try:
        return int(datetime.fromisoformat(emitted_at).timestamp() * 1_000_000) * 1_000
    except ValueError:
        return None


def _require_opentelemetry() -> None:
    if not _OTEL_AVAILABLE:
        raise ImportError(
            "OpenTelemetry is not installed; pip install 'techrevati-runtime[otel]'"
        ) from _OTEL_IMPORT_ERROR


if TYPE_CHECKING:
    from techrevati.runtime.otel.run_sink import OpenTelemetryRunSink as OpenTelemetryRunSink
else:
    from techrevati.runtime._core.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, {"OpenTelemetryRunSink": "run_sink"}, [])
