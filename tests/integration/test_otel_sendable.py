"""What spans and metrics say can be exported, whatever models and programs call things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from techrevati.runtime import (
    AgentEvent,
    AgentEventName,
    AgentEventStatus,
    Budget,
    CircuitBreaker,
    Orchestrator,
    SpendLedger,
    UsageSnapshot,
)
from techrevati.runtime.otel import OpenTelemetryRunSink, OpenTelemetrySink, OpenTelemetryUsageSink
from techrevati.runtime.otel.sendable import sendable

encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
HALF = "\ud83d"  # of an emoji, where an answer was cut off
USED = UsageSnapshot(10, 5)


class Scope:
    """Where spans and metrics go in a test."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._traces = TracerProvider()
        self._traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.tracer = self._traces.get_tracer("test")
        self.meter = MeterProvider(metric_readers=[self._reader]).get_meter("test")

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def exported(spans: list[ReadableSpan]) -> int:
    """How many spans an OTLP exporter would send; it raises where one cannot be encoded."""
    request = encoder.encode_spans(spans)
    sent = [
        span for resource in request.resource_spans for each in resource.scope_spans for span in each.spans
    ]
    assert sum(len(span.attributes) for span in sent) == sum(len(span.attributes or {}) for span in spans)
    assert sum(len(event.attributes) for span in sent for event in span.events) == sum(
        len(event.attributes or {}) for span in spans for event in span.events
    )
    return len(sent)


def test_half_an_emoji_costs_no_span() -> None:
    """In names of roles, models, tools, circuits, in errors and in what events say."""
    scope = Scope()
    sink = OpenTelemetryRunSink(scope.tracer, scope.meter, error_texts=True)
    agent = Orchestrator(f"w{HALF}", f"p{HALF}", project_id=HALF, event_sink=sink)

    def fail() -> None:
        raise ValueError(HALF)

    with agent.session() as session:
        session.run_turn(lambda: "x", f"m{HALF}", USED)
        with pytest.raises(ValueError):
            session.run_tool(f"t{HALF}", fail)
        sink.emit(
            AgentEvent(
                AgentEventName.HOOK_PRE_TOOL,
                AgentEventStatus.RUNNING,
                data={"said": HALF, "large": 2**70, "huge": -(10**400), HALF: 1},
            )
        )
    sink.watch_breaker(CircuitBreaker(f"c{HALF}"))
    assert sink.flush(30)
    assert exported(scope.spans()) == 4
    assert {"invoke_agent w?", "turn m?", "chat m?", "execute_tool t?"} == {s.name for s in scope.spans()}
    for points in scope.points().values():
        for point in points:
            "".join(str(value) for value in point.attributes.values()).encode()


def test_the_sinks_of_0_1_lose_none_either() -> None:
    scope = Scope()
    sink = OpenTelemetrySink(scope.tracer)
    sink.emit(
        AgentEvent(
            AgentEventName.AGENT_TOOL_CALLED, AgentEventStatus.FAILED, detail=HALF, data={"tool": f"t{HALF}"}
        )
    )
    assert exported(scope.spans()) == 1
    OpenTelemetryUsageSink(scope.meter).record(f"m{HALF}", USED, 0.1)
    for points in scope.points().values():
        assert {point.attributes["gen_ai.request.model"] for point in points} == {"m?"}


def test_what_can_be_sent_is_sent_as_it_is() -> None:
    said: dict[str, str | int | float | bool] = {"a": "ä 👍", "b": True, "c": 2**63 - 1, "d": 0.5}
    assert sendable(said) == said


def test_one_provider_has_one_name_in_every_span_and_metric() -> None:
    """The conventions' one, whichever the program uses."""
    scope = Scope()
    sink = OpenTelemetryRunSink(scope.tracer, scope.meter, provider_name="bedrock")
    with Orchestrator("writer", "draft", event_sink=sink).session() as session:
        session.run_turn(lambda: "x", "gpt-5-mini", USED)
        session.run_tool("look", lambda: 1)
    assert sink.flush(30)
    named = [span.attributes["gen_ai.provider.name"] for span in scope.spans() if "turn" not in span.name]  # type: ignore[index]
    named += [
        point.attributes["gen_ai.provider.name"] for every in scope.points().values() for point in every
    ]
    assert set(named) == {"aws.bedrock"}


def test_a_budget_that_cannot_be_read_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its ledger's disk may be gone; the error is in the log of the metrics' reader."""
    scope = Scope()
    sink = OpenTelemetryRunSink(scope.tracer, scope.meter)
    ledger = SpendLedger(tmp_path / "spend.db")
    broken, sound = Budget("broken", limit_usd=1, ledger=ledger), Budget("sound", limit_usd=2)
    sink.watch_budget(broken)
    sink.watch_budget(sound)
    ledger.close()
    (tmp_path / "spend.db").write_bytes(b"no database" * 1000)
    (left,) = scope.points()["techrevati.budget.remaining"]
    assert left.attributes["techrevati.budget.name"] == "sound"
    assert left.value == 2.0
    assert "not a database" in caplog.text


def test_a_breaker_that_is_called_like_a_key_does_not_show_it() -> None:
    """A registry refuses such a name, a breaker alone does not; nor do budgets and models."""
    key = "sk-proj-" + "a1B2c3D4" * 6
    scope = Scope()
    sink = OpenTelemetryRunSink(scope.tracer, scope.meter)
    for each in (key, key + "Z9"):
        sink.watch_breaker(CircuitBreaker(f"openai/{each}"))
    sink.watch_budget(Budget(f"acme {key}", limit_usd=1))
    with Orchestrator("writer", "draft", event_sink=sink).session() as session:
        session.run_turn(lambda: "x", f"gpt-5-mini {key}", USED)
    points = [point for every in scope.points().values() for point in every]
    assert len(scope.points()["techrevati.circuit.state"]) == 3  # one series for each state
    assert key not in repr([dict(point.attributes) for point in points])
