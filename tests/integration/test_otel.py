"""Events and usage through a real OpenTelemetry SDK with in-memory exporters."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from techrevati.runtime import AgentEvent, AgentEventName, AgentEventStatus, AgentFailureClass, UsageSnapshot
from techrevati.runtime.otel import OpenTelemetrySink, OpenTelemetryUsageSink
from techrevati.runtime.sinks import EventSink, UsageSink


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


def _spans(exporter: InMemorySpanExporter, *events: AgentEvent) -> list[ReadableSpan]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sink = OpenTelemetrySink(provider.get_tracer("test"), agent_id="agent-7")
    assert isinstance(sink, EventSink)
    for event in events:
        sink.emit(event)
    return list(exporter.get_finished_spans())


@pytest.mark.parametrize("name", AgentEventName)
def test_every_event_is_a_span(exporter: InMemorySpanExporter, name: AgentEventName) -> None:
    """Each name of the vocabulary is exported at once, with a conventional operation."""
    (span,) = _spans(exporter, AgentEvent(name, AgentEventStatus.RUNNING, role="writer", phase="draft"))
    assert span.attributes is not None
    assert span.attributes["gen_ai.operation.name"] in {
        "invoke_agent",
        "execute_tool",
        "create_agent",
        "invoke_workflow",
    }
    assert span.attributes["gen_ai.provider.name"] == "techrevati"
    assert span.attributes["gen_ai.agent.name"] == "writer"
    assert span.attributes["gen_ai.agent.id"] == "agent-7"
    assert span.attributes["agent.event"] == name.value
    assert span.status.status_code is StatusCode.UNSET


def test_a_failure_has_an_error_type(exporter: InMemorySpanExporter) -> None:
    """error.type is the failure class, and the span's status says ERROR."""
    event = AgentEvent.failed("writer", "draft", AgentFailureClass.RATE_LIMIT, "429")
    (span,) = _spans(exporter, event)
    assert span.attributes is not None
    assert span.attributes["error.type"] == "rate_limit"
    assert span.status.status_code is StatusCode.ERROR


def test_a_tool_span_carries_the_tool_and_the_time_of_the_event(exporter: InMemorySpanExporter) -> None:
    """The span is named after the tool and stands at the event's own time."""
    event = AgentEvent(
        AgentEventName.AGENT_TOOL_CALLED,
        AgentEventStatus.RUNNING,
        "2026-11-21T12:00:00+00:00",
        "writer",
        data={"tool": "search"},
    )
    (span,) = _spans(exporter, event)
    assert span.name == "execute_tool search"
    assert span.attributes is not None
    assert span.attributes["gen_ai.tool.name"] == "search"
    assert span.start_time == span.end_time == 1_795_262_400 * 10**9


def test_usage_becomes_tokens_and_cost() -> None:
    """Input counts cached tokens too; the cost counter adds up."""
    reader = InMemoryMetricReader()
    sink = OpenTelemetryUsageSink(MeterProvider(metric_readers=[reader]).get_meter("test"))
    assert isinstance(sink, UsageSink)
    for _ in range(2):
        sink.record("demo-small", UsageSnapshot(10, 5, 1, 4), 0.25)
    data = reader.get_metrics_data()
    assert data is not None
    points = {
        (metric.name, (point.attributes or {}).get("gen_ai.token.type")): getattr(point, "sum", None)
        or getattr(point, "value", None)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    assert points == {
        ("gen_ai.client.token.usage", "input"): 30,
        ("gen_ai.client.token.usage", "output"): 10,
        ("techrevati.cost.usd", None): 0.5,
    }


def test_without_opentelemetry_the_module_imports_and_a_sink_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ImportError names the extra, and its cause is the import that failed."""
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "techrevati.runtime.otel")
    import techrevati.runtime.otel as otel

    assert not otel._OTEL_AVAILABLE
    assert otel._OTEL_IMPORT_ERROR is not None
    for sink in (otel.OpenTelemetrySink, otel.OpenTelemetryUsageSink):
        with pytest.raises(ImportError, match=r"techrevati-runtime\[otel\]") as caught:
            sink()
        assert caught.value.__cause__ is otel._OTEL_IMPORT_ERROR
