"""A tool's two events through the OpenTelemetry run sink, over the same span made by hand."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, WrongAnswerError, compare_all
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus

AIM = Aim(5)


def comparisons() -> Iterator[Comparison]:
    """Ours over OpenTelemetry's own calls; nothing where its SDK is not installed."""
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ImportError:
        return
    from techrevati.runtime.otel import OpenTelemetryRunSink

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("benchmark")
    sink = OpenTelemetryRunSink(tracer, MeterProvider().get_meter("benchmark"), queue_size=1_000_000)
    running, completed = AgentEventStatus.RUNNING, AgentEventStatus.COMPLETED
    facts = {"tool": "search"}
    began = AgentEvent(AgentEventName.AGENT_TOOL_CALLED, running, role="r", data=facts, run_id="1")
    ended = AgentEvent(AgentEventName.AGENT_TOOL_COMPLETED, completed, role="r", data=facts, run_id="1")
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.provider.name": "techrevati",
        "gen_ai.tool.name": "search",
        "gen_ai.conversation.id": "1",
        "gen_ai.agent.name": "r",
    }

    def exported() -> str:
        sink.flush(60)
        provider.force_flush()
        names = {span.name for span in exporter.get_finished_spans()}
        exporter.clear()
        if "execute_tool search" not in names or sink.dropped:
            raise WrongAnswerError(f"{sorted(names)} came out, {sink.dropped} were dropped")
        return ""

    yield Comparison(
        "span of a tool call, begun, current and ended",
        Subject(
            "OpenTelemetry's own calls",
            "with tracer.start_as_current_span('execute_tool search', attributes=attributes):\n"
            "    result = None",
            {"tracer": tracer, "attributes": attributes},
        ),
        [
            Subject(
                "ours, from two events",
                "emit(began)\nresult = emit(ended)",
                {"emit": sink.emit, "began": began, "ended": ended},
                check=exported,
            )
        ],
        AIM,
    )


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun; the floor is the peer."""
    return compare_all(comparisons(), effort)
