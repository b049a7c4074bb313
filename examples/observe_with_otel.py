"""See a run in OpenTelemetry: one trace, from the request of a user down to each attempt.

``pip install "techrevati-runtime[otel]" opentelemetry-sdk openai``.
The endpoint is on this machine and fails once.  Put an OTLP exporter where the in-memory one is.
"""

from __future__ import annotations

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from techrevati.runtime import Orchestrator, Retry
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import guard
from techrevati.runtime.otel import OpenTelemetryRunSink

MODEL = "gpt-5-mini"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Why is the sky blue?"}]


def main() -> None:
    """Ask once, through a guarded client in a session, and print the tree."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("app")
    sink = OpenTelemetryRunSink(tracer)
    agent = Orchestrator(role="writer", phase="draft", event_sink=sink)
    with (
        ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint,
        OpenAI(base_url=endpoint.base_url, api_key="any") as plain,
        tracer.start_as_current_span("GET /answer"),
        agent.session() as session,
    ):
        client = guard(plain, retry=Retry(3, base_delay_seconds=0.01), event_sink=sink)
        session.run_tool("search", lambda: ["a page about light"])
        session.run_turn(
            lambda: client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=100),
            MODEL,
        )
    sink.flush()
    provider.force_flush()
    show(list(exporter.get_finished_spans()))
    provider.shutdown()


def show(spans: list[ReadableSpan], under: int | None = None, depth: int = 0) -> None:
    """Print a tree."""
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if (span.parent.span_id if span.parent else None) == under:
            error = (span.attributes or {}).get("error.type", "")
            print("  " * depth + span.name, error)
            show(spans, span.context.span_id, depth + 1)


if __name__ == "__main__":
    main()
