"""The tree of spans and the metrics of whole runs, through a real OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind, StatusCode

from techrevati.runtime import (
    AgentEvent,
    AgentEventName,
    AgentEventStatus,
    AgentFailureClass,
    BreakerRegistry,
    Budget,
    BudgetExceededError,
    CircuitBreaker,
    CircuitOpenError,
    FanOutEventSink,
    Journal,
    MemoryStore,
    Orchestrator,
    Recovery,
    Retry,
    RingBufferEventSink,
    SpendLedger,
    ToolCall,
    UsageSnapshot,
    otel,
)
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import guard
from techrevati.runtime.otel import OpenTelemetryRunSink

MODEL = "gpt-5-mini"
USED = UsageSnapshot(input_tokens=10, output_tokens=5, cache_read_tokens=4)


class Telescope:
    """A sink, and what can be seen through it."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.sink = OpenTelemetryRunSink(self.tracer, self.meters.get_meter("test"), **options)

    def spans(self) -> list[ReadableSpan]:
        """What has ended, in the order of its beginning."""
        assert self.sink.flush(30)
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def tree(self) -> dict[str, list[str]]:
        """The names of the children by the path of their parent."""
        spans = {span.context.span_id: span for span in self.spans()}

        def path(span: ReadableSpan) -> str:
            parent = None if span.parent is None else spans.get(span.parent.span_id)
            return span.name if parent is None else f"{path(parent)} > {span.name}"

        return sorted(path(span) for span in spans.values())  # type: ignore[return-value]

    def points(self) -> dict[str, list[Any]]:
        """Every metric's points."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telescope() -> Iterator[Telescope]:
    scope = Telescope()
    yield scope
    scope.provider.shutdown()
    scope.meters.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_is_one_tree_under_the_span_that_was_current(telescope: Telescope) -> None:
    """The caller's span holds the run, the run its turn and tool, and they hold the caller's inner spans."""

    def ask() -> str:
        with telescope.tracer.start_as_current_span("inside the attempt"):
            return "hi"

    def search() -> str:
        with telescope.tracer.start_as_current_span("inside the tool"):
            return "found"

    with (
        telescope.tracer.start_as_current_span("request") as outer,
        Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session,
    ):
        session.run_turn(ask, MODEL, USED)
        session.run_tool("search", search)
        with telescope.tracer.start_as_current_span("between"):
            pass
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert telescope.tree() == [
        "request",
        "request > invoke_agent writer",
        "request > invoke_agent writer > between",
        "request > invoke_agent writer > execute_tool search",
        "request > invoke_agent writer > execute_tool search > inside the tool",
        f"request > invoke_agent writer > turn {MODEL}",
        f"request > invoke_agent writer > turn {MODEL} > chat {MODEL}",
        f"request > invoke_agent writer > turn {MODEL} > chat {MODEL} > inside the attempt",
    ]
    assert {span.context.trace_id for span in telescope.spans()} == {outer.get_span_context().trace_id}


def test_names_and_attributes_are_the_conventions(telescope: Telescope) -> None:
    """Attribute names are those of the conventions' own package; input counts cached tokens."""
    with Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session:
        session.run_turn(lambda: "hi", MODEL, USED)
        session.run_tool("search", lambda: 1)
    agent, _, chat, tool = telescope.spans()
    assert agent.name == "invoke_agent writer"
    assert attributes(agent)[gen_ai.GEN_AI_OPERATION_NAME] == "invoke_agent"
    assert attributes(agent)[gen_ai.GEN_AI_AGENT_NAME] == "writer"
    assert attributes(agent)[gen_ai.GEN_AI_AGENT_ID] == session.run_id
    assert attributes(agent)[gen_ai.GEN_AI_CONVERSATION_ID] == session.run_id
    assert chat.name == f"chat {MODEL}"
    assert chat.kind is SpanKind.CLIENT
    assert attributes(chat)[gen_ai.GEN_AI_OPERATION_NAME] == "chat"
    assert attributes(chat)[gen_ai.GEN_AI_PROVIDER_NAME] == "techrevati"
    assert attributes(chat)[gen_ai.GEN_AI_REQUEST_MODEL] == MODEL
    assert attributes(chat)[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] == 14
    assert attributes(chat)[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] == 5
    assert attributes(chat)[gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] == 4
    assert attributes(chat)["techrevati.cost.usd"] > 0
    assert tool.name == "execute_tool search"
    assert attributes(tool)[gen_ai.GEN_AI_OPERATION_NAME] == "execute_tool"
    assert attributes(tool)[gen_ai.GEN_AI_TOOL_NAME] == "search"
    known = {value for value in vars(gen_ai).values() if isinstance(value, str)}
    used = {name for span in telescope.spans() for name in attributes(span) if name.startswith("gen_ai.")}
    assert used <= known


def test_metrics_have_the_conventions_names_and_buckets(telescope: Telescope) -> None:
    """Tokens and seconds are histograms with the published boundaries; the cost adds up."""
    with Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session:
        session.run_turn(lambda: "hi", MODEL, USED)
    points = telescope.points()
    tokens = {
        p.attributes[gen_ai.GEN_AI_TOKEN_TYPE]: p for p in points[gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE]
    }
    assert (tokens["input"].sum, tokens["output"].sum) == (14, 5)
    assert list(tokens["input"].explicit_bounds) == [4**power for power in range(14)]
    (took,) = points[gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION]
    assert took.count == 1
    assert list(took.explicit_bounds) == [0.01 * 2**power for power in range(14)]
    (cost,) = points["techrevati.cost.usd"]
    assert cost.value == pytest.approx(session.tracker.total_cost())
    assert "techrevati.retries" not in points


def test_every_attempt_of_a_recovered_turn_is_a_span(telescope: Telescope) -> None:
    """The failed attempt says why, the good one what it used; the retry is counted."""
    answers: list[Exception | str] = [TimeoutError("slow"), "hi"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    recovery = Recovery(sleep=lambda _: None)
    with Orchestrator(
        role="writer", phase="draft", event_sink=telescope.sink, recovery=recovery
    ).session() as session:
        session.run_turn(ask, MODEL, USED)
    _, turn, first, second = telescope.spans()
    assert first.parent is not None
    assert second.parent is not None
    assert turn.context.span_id == first.parent.span_id == second.parent.span_id
    assert attributes(first)["error.type"] == "timeout"
    assert first.status.status_code is StatusCode.ERROR
    assert gen_ai.GEN_AI_USAGE_INPUT_TOKENS not in attributes(first)
    assert attributes(second)[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] == 14
    assert turn.status.status_code is StatusCode.UNSET
    assert [event.name for event in turn.events] == ["agent.recovery.attempted", "agent.recovery.succeeded"]
    points = telescope.points()
    assert [point.value for point in points["techrevati.retries"]] == [1]
    assert {point.attributes.get("error.type") for point in points["gen_ai.client.operation.duration"]} == {
        None,
        "timeout",
    }


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_a_run_that_fails_or_is_cancelled_ends_every_span(telescope: Telescope, error: BaseException) -> None:
    """Nothing stays open or current, whatever ends the block."""

    def fail() -> None:
        raise error

    with (
        pytest.raises(type(error)),
        Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session,
    ):
        session.run_turn(fail, MODEL)
    assert [span.name.split()[0] for span in telescope.spans()] == ["invoke_agent", "turn", "chat"]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert len(telescope.sink._open) == 0
    chat = telescope.spans()[-1]
    assert attributes(chat)["error.type"] in ("unknown", "invalid_request", "cancelled")


def test_parallel_tools_in_threads_and_tasks_have_their_run_as_parent(telescope: Telescope) -> None:
    """Tools of the same name at the same time do not mix up, and hold their own inner spans."""
    barrier = threading.Barrier(4)

    def tool(number: int) -> Callable[[], int]:
        def run() -> int:
            with telescope.tracer.start_as_current_span(f"inside {number}"):
                barrier.wait(30)
            return number

        return run

    with Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session:
        session.run_tools([ToolCall("same", tool(number)) for number in range(4)], max_concurrency=4)
    spans = {span.context.span_id: span for span in telescope.spans()}
    tools = [span for span in spans.values() if span.name == "execute_tool same"]
    inner = [span for span in spans.values() if span.name.startswith("inside")]
    (agent,) = (span for span in spans.values() if span.name == "invoke_agent writer")
    assert len(tools) == len(inner) == 4
    assert {span.parent.span_id for span in tools if span.parent} == {agent.context.span_id}
    assert {span.parent.span_id for span in inner if span.parent} == {span.context.span_id for span in tools}


def test_a_plain_thread_finds_the_run(telescope: Telescope) -> None:
    """A thread without the context of its starter still puts its turn under the run."""
    with (
        Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session,
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(session.run_turn, lambda: "hi", MODEL, USED).result()
        assert pool.submit(trace.get_current_span).result() is trace.INVALID_SPAN
    assert telescope.tree() == [
        "invoke_agent writer",
        f"invoke_agent writer > turn {MODEL}",
        f"invoke_agent writer > turn {MODEL} > chat {MODEL}",
    ]


def test_concurrent_async_turns_and_timeouts(telescope: Telescope) -> None:
    """Turns of one session in flight together each hold their own attempt, in tasks with a timeout too."""

    async def main() -> None:
        orchestrator = Orchestrator(role="writer", phase="draft", event_sink=telescope.sink)
        async with orchestrator.asession() as session:
            entered: list[int] = []
            go = asyncio.Event()

            async def ask() -> str:
                entered.append(1)
                if len(entered) == 3:
                    go.set()
                await go.wait()
                with telescope.tracer.start_as_current_span("inside"):
                    return "hi"

            await asyncio.gather(*(session.arun_turn(ask, f"m{n}", USED, timeout=60) for n in range(3)))

    asyncio.run(main())
    chains = [f"invoke_agent writer > turn m{n} > chat m{n}" for n in range(3)]
    expected = ["invoke_agent writer"]
    for n, chain in enumerate(chains):
        expected += [f"invoke_agent writer > turn m{n}", chain, f"{chain} > inside"]
    assert telescope.tree() == sorted(expected)


def test_a_nested_session_stands_in_its_parent(telescope: Telescope) -> None:
    """A sub-agent's run is a child of the span in which it began."""
    orchestrator = Orchestrator(role="lead", phase="draft", event_sink=telescope.sink)
    helper = Orchestrator(role="helper", phase="draft", event_sink=telescope.sink)

    def delegate() -> None:
        with helper.session() as inner:
            inner.run_turn(lambda: "hi", MODEL, USED)

    with orchestrator.session() as session:
        session.run_tool("delegate", delegate)
    assert telescope.tree()[-1] == (
        f"invoke_agent lead > execute_tool delegate > invoke_agent helper > turn {MODEL} > chat {MODEL}"
    )


# --- guarded clients ----------------------------------------------------------------------------------------


def test_a_guarded_call_outside_any_session_has_spans_and_metrics(telescope: Telescope) -> None:
    """Each physical request is a span under the caller's, with provider, usage, cost and error."""
    messages: Any = [{"role": "user", "content": "hi"}]
    with (
        ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint,
        OpenAI(base_url=endpoint.base_url, api_key="any") as plain,
        telescope.tracer.start_as_current_span("request"),
    ):
        client = guard(plain, retry=Retry(3, sleep=lambda _: None), event_sink=telescope.sink)
        client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=20)
    assert telescope.tree() == ["request", f"request > chat {MODEL}", f"request > chat {MODEL}"]
    failed, good = (span for span in telescope.spans() if span.name.startswith("chat"))
    assert failed.kind is good.kind is SpanKind.CLIENT
    assert attributes(failed)["error.type"] in ("overloaded", "server_error")
    assert attributes(good)[gen_ai.GEN_AI_PROVIDER_NAME] == "openai"
    assert attributes(good)[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] > 0
    assert attributes(good)["techrevati.attempt"] == 2
    assert (good.end_time or 0) > (good.start_time or 0)
    points = telescope.points()
    (cost,) = points["techrevati.cost.usd"]
    assert cost.value == pytest.approx(float(endpoint.bill.cost_usd))
    assert sum(point.count for point in points["gen_ai.client.operation.duration"]) == 2
    assert [point.value for point in points["techrevati.retries"]] == [1]


def test_a_guarded_client_inside_a_turn_is_counted_once(telescope: Telescope) -> None:
    """The request carries what was used, under the attempt; no token is counted twice, in both colours."""
    messages: Any = [{"role": "user", "content": "hi"}]
    orchestrator = Orchestrator(role="writer", phase="draft", event_sink=telescope.sink)

    async def main(base_url: str) -> None:
        async with (
            AsyncOpenAI(base_url=base_url, api_key="any") as plain,
            orchestrator.asession() as session,
        ):
            client = guard(plain, event_sink=telescope.sink, budget=Budget("b", limit_usd=1))
            await session.arun_turn(
                lambda: client.chat.completions.create(
                    model=MODEL, messages=messages, max_completion_tokens=20
                ),
                MODEL,
            )

    with ChaosServer([]) as endpoint:
        with OpenAI(base_url=endpoint.base_url, api_key="any") as plain, orchestrator.session() as session:
            client = guard(plain, event_sink=telescope.sink)
            session.run_turn(
                lambda: client.chat.completions.create(
                    model=MODEL, messages=messages, max_completion_tokens=20
                ),
                MODEL,
            )
        asyncio.run(main(endpoint.base_url))
        endpoint.wait_idle()
        bill = endpoint.bill.cost_usd
    one = ["turn", "attempt", "chat"]
    paths = [[part.split()[0] for part in path.split(" > ")] for path in telescope.tree()]
    assert sorted(paths) == sorted(2 * [["invoke_agent", *one[:depth]] for depth in range(4)])
    points = telescope.points()
    (cost,) = points["techrevati.cost.usd"]
    assert cost.value == pytest.approx(float(bill))
    assert sum(point.count for point in points["gen_ai.client.operation.duration"]) == 2
    with_usage = [s for s in telescope.spans() if gen_ai.GEN_AI_USAGE_INPUT_TOKENS in attributes(s)]
    assert len(with_usage) == 2


def test_a_stream_of_a_session_is_one_chat_span(telescope: Telescope) -> None:
    """It lasts until its reader has all, and is not the current span meanwhile."""
    with Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session:
        home = trace.get_current_span()
        stream = session.run_stream(lambda: iter(["a", "b"]), MODEL, input_tokens=7)
        assert trace.get_current_span() is home
        assert telescope.spans() == []
        assert list(stream) == ["a", "b"]
        (chat,) = telescope.spans()
    assert chat.name == f"chat {MODEL}"
    assert attributes(chat)[gen_ai.GEN_AI_REQUEST_STREAM] is True
    assert attributes(chat)[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] == 7
    assert chat.parent is not None
    assert chat.parent.span_id == home.get_span_context().span_id


def test_a_stream_that_never_opens_has_an_error(telescope: Telescope) -> None:
    """Its span ends with the error."""

    def fail() -> Iterator[str]:
        raise ConnectionError("no")

    with Orchestrator(role="writer", phase="draft", event_sink=telescope.sink).session() as session:
        with pytest.raises(ConnectionError):
            session.run_stream(fail, MODEL, input_tokens=7)
        (chat,) = telescope.spans()
    assert attributes(chat)["error.type"] == "network"


# --- bounds -------------------------------------------------------------------------------------------------


class Stuck(SpanExporter):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self.exported: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        assert self.go.wait(60)
        self.exported += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_a_stuck_exporter_blocks_no_turn() -> None:
    """With a simple processor and an exporter that hangs, turns go on; what does not fit is counted."""
    stuck = Stuck()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(stuck))
    sink = OpenTelemetryRunSink(provider.get_tracer("test"), queue_size=5)
    try:
        with Orchestrator(
            role="writer", phase="draft", event_sink=sink, max_iterations=100
        ).session() as session:
            session.run_turn(lambda: "hi", MODEL, USED)
            assert stuck.entered.wait(30)  # from now on, the exporter hangs
            for _ in range(20):
                session.run_turn(lambda: "hi", MODEL, USED)
        assert stuck.exported == []
        assert not sink.flush(0.0)
        # Of 21 turns with an attempt each, and the run, one span is in the exporter and five wait.
        assert sink.dropped == 43 - 1 - 5
    finally:
        stuck.go.set()
    assert sink.flush(30)
    assert len(stuck.exported) == 43 - sink.dropped
    provider.shutdown()


def test_open_spans_are_bounded_and_the_oldest_is_ended() -> None:
    """Runs that nobody ends cost no more than the cap; the evicted say so."""
    scope = Telescope(max_open_spans=3)
    for number in range(10):
        scope.sink.emit(
            AgentEvent(AgentEventName.AGENT_STARTED, AgentEventStatus.RUNNING, role="r", run_id=str(number))
        )
    assert len(scope.sink._open) == 3
    assert scope.sink.evicted == 7
    evicted = [span for span in scope.spans() if attributes(span).get("techrevati.evicted")]
    assert len(evicted) == 7
    assert scope.sink.close(30)
    assert len(scope.spans()) == 10


def test_an_evicted_run_gives_the_current_span_back() -> None:
    """A run whose span had to go leaves its caller's span current, all the same."""
    scope = Telescope(max_open_spans=1)
    with scope.tracer.start_as_current_span("request") as outer:
        with Orchestrator(role="writer", phase="draft", event_sink=scope.sink).session() as session:
            session.run_turn(lambda: "hi", MODEL, USED)
        assert trace.get_current_span() is outer


def test_models_that_metrics_tell_apart_are_bounded() -> None:
    """The rest is one series."""
    scope = Telescope(max_series=2)
    with Orchestrator(
        role="writer", phase="draft", event_sink=scope.sink, max_iterations=100
    ).session() as session:
        for number in range(10):
            session.run_turn(lambda: "hi", f"m{number}", USED)
    points = scope.points()["gen_ai.client.operation.duration"]
    assert {p.attributes["gen_ai.request.model"]: p.count for p in points} == {"m0": 1, "m1": 1, "_other": 8}


def test_watched_breakers_and_budgets_are_gauges(telescope: Telescope) -> None:
    """One series for each state, of which one is 1; what is left of each limited unit."""
    breaker = CircuitBreaker("model", failure_threshold=1)
    budget = Budget("acme", limit_usd=2)
    telescope.sink.watch_breaker(breaker)
    telescope.sink.watch_breaker(breaker)
    telescope.sink.watch_budget(budget)

    def states() -> dict[str, int]:
        points = telescope.points()["techrevati.circuit.state"]
        assert {point.attributes["techrevati.circuit.name"] for point in points} == {"model"}
        return {point.attributes["techrevati.circuit.state"]: point.value for point in points}

    assert states() == {"closed": 1, "half_open": 0, "open": 0}
    breaker.record_failure()
    assert states() == {"closed": 0, "half_open": 0, "open": 1}
    (left,) = telescope.points()["techrevati.budget.remaining"]
    assert left.value == 2.0
    assert left.attributes == {"techrevati.budget.name": "acme", "techrevati.budget.unit": "usd"}


# --- what is not told ---------------------------------------------------------------------------------------

SECRET = "sk-proj-" + "a1B2c3D4" * 6


@pytest.mark.parametrize("error_texts", [False, True])
def test_no_secret_and_no_content_reaches_a_span_or_metric(error_texts: bool) -> None:
    """Prompts and answers are never told; error texts only when asked, and then without credentials."""
    scope = Telescope(error_texts=error_texts)

    def fail(prompt: object) -> str:
        raise ValueError(f"api_key={SECRET} was refused for {prompt}")

    with Orchestrator(role="writer", phase="draft", event_sink=scope.sink).session() as session:
        with pytest.raises(ValueError, match="refused"):
            session.run_turn(fail, MODEL, prompt="my private question")
        session.run_turn(lambda prompt: "my private answer", MODEL, USED, prompt="my private question")
        with pytest.raises(ValueError, match="refused"):
            session.run_tool("t", fail, {"prompt": f"Bearer {SECRET}"})
        session.emit(AgentEventName.AGENT_BLOCKED, AgentEventStatus.BLOCKED, data={"note": SECRET})
    seen = "".join(span.to_json() for span in scope.spans()) + repr(scope.points())
    assert SECRET not in seen
    assert "private answer" not in seen
    assert ("was refused for" in seen) is error_texts
    assert ("private question" in seen) is error_texts


def test_the_sink_redacts_what_nobody_redacted_before_it() -> None:
    """An event of another program, given straight to the sink."""
    scope = Telescope(error_texts=True)
    event = AgentEvent.started(f"writer {SECRET}", "draft")
    scope.sink.emit(event)
    scope.sink.emit(AgentEvent.failed("writer", "draft", AgentFailureClass.LLM_ERROR, f"api_key={SECRET}"))
    seen = "".join(span.to_json() for span in scope.spans()) + repr(scope.points())
    assert seen
    assert SECRET not in seen


def test_only_a_sink_that_follows_turns_is_told_of_them(telescope: Telescope) -> None:
    """Beside it in a fan-out, and in the session's own ring, events are what they always were."""
    ring = RingBufferEventSink()
    fan = FanOutEventSink(ring, telescope.sink)
    assert fan.follows_turns
    assert not FanOutEventSink(ring).follows_turns
    with Orchestrator(role="writer", phase="draft", event_sink=fan).session() as session:
        session.run_turn(lambda: "hi", MODEL, USED)
    names = [event.event.value for event in ring.events]
    assert names == [event.event.value for event in session.events] == ["agent.started", "agent.completed"]
    assert [event.sequence for event in ring.events] == [1, 2]
    assert len(telescope.spans()) == 3


# --- odd ends -----------------------------------------------------------------------------------------------


def test_an_overrun_budget_ends_the_run_or_lets_it_go_on(telescope: Telescope) -> None:
    """The paid answer's use is on its span; a run that only observes completes; both runs end."""
    options: dict[str, Any] = {"role": "w", "phase": "d", "event_sink": telescope.sink, "budget_usd": 0.0}
    with Orchestrator(**options).session() as session:
        session.run_turn(lambda: "hi", MODEL, USED)
        session.run_turn(lambda: "hi", MODEL, USED)
    strict = Orchestrator(**options, enforce_budget=True)
    with pytest.raises(BudgetExceededError), strict.session() as session:
        session.run_turn(lambda: "hi", MODEL, USED)
    runs = [span for span in telescope.spans() if span.name == "invoke_agent w"]
    assert len(runs) == 2
    assert [attributes(span).get("error.type") for span in runs] == 2 * ["unknown"]
    chats = [span for span in telescope.spans() if span.name.startswith("chat")]
    assert [attributes(span)[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] for span in chats] == [14, 14, 14]
    assert runs[0].end_time is not None
    assert all((span.end_time or 0) <= runs[0].end_time for span in chats[:2])
    assert len(telescope.sink._open) == 0


def test_a_turn_from_the_journal_is_not_counted_again(telescope: Telescope) -> None:
    """A second life of the run shows the turn, without an attempt, and measures nothing."""
    journal = Journal(MemoryStore())
    for _ in range(2):
        orchestrator = Orchestrator(
            role="w", phase="d", event_sink=telescope.sink, journal=journal, run_id="run-1"
        )
        with orchestrator.session() as session:
            session.run_turn(lambda: "hi", MODEL, USED)
            list(session.run_stream(lambda: iter(["a"]), MODEL, input_tokens=7))
    turns = [span for span in telescope.spans() if span.name.startswith("turn")]
    assert [attributes(span).get("techrevati.replayed") for span in turns] == [None, True]
    points = telescope.points()
    assert sum(point.count for point in points["gen_ai.client.operation.duration"]) == 2


def test_a_request_that_was_refused_is_seen_and_not_measured(telescope: Telescope) -> None:
    """It was never sent: a span with an error, no duration, no tokens."""
    breaker = CircuitBreaker("model", failure_threshold=1)
    breaker.record_failure()
    messages: Any = [{"role": "user", "content": "hi"}]
    with ChaosServer([]) as endpoint, OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        client = guard(plain, breaker=breaker, event_sink=telescope.sink)
        with pytest.raises(CircuitOpenError):
            client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=20)
    (chat,) = telescope.spans()
    assert chat.status.status_code is StatusCode.ERROR
    assert "gen_ai.client.operation.duration" not in telescope.points()


def test_a_ledger_on_disk_does_not_lose_the_parent(telescope: Telescope, tmp_path: Path) -> None:
    """What ends in another thread, so that the loop goes on, stands under the caller's span all the same."""
    messages: Any = [{"role": "user", "content": "hi"}]

    async def main(base_url: str) -> None:
        with SpendLedger(tmp_path / "spend.db") as ledger:
            async with AsyncOpenAI(base_url=base_url, api_key="any") as plain:
                client = guard(plain, project="p", ledger=ledger, event_sink=telescope.sink)
                with telescope.tracer.start_as_current_span("request"):
                    await client.chat.completions.create(
                        model=MODEL, messages=messages, max_completion_tokens=20
                    )

    with ChaosServer([]) as endpoint:
        asyncio.run(main(endpoint.base_url))
    assert telescope.tree() == ["request", f"request > chat {MODEL}"]


def test_every_breaker_of_a_registry_is_shown(telescope: Telescope) -> None:
    """Those it has made until the metrics are read."""
    registry = BreakerRegistry()
    telescope.sink.watch_breaker(registry)
    registry.get("openai", "a")
    registry.get("openai", "b")
    points = telescope.points()["techrevati.circuit.state"]
    assert {point.attributes["techrevati.circuit.name"] for point in points} == {"openai/a", "openai/b"}


def test_a_span_processor_that_raises_is_counted_and_the_next_span_ends() -> None:
    """The thread that ends spans outlives it."""

    class Broken(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name == "execute_tool bad":
                raise RuntimeError("no")
            super().on_end(span)

    scope = Telescope()
    provider = TracerProvider()
    provider.add_span_processor(Broken(scope.exporter))
    sink = OpenTelemetryRunSink(provider.get_tracer("test"))
    with Orchestrator(role="w", phase="d", event_sink=sink).session() as session:
        session.run_tool("bad", lambda: 1)
        session.run_tool("good", lambda: 1)
    assert sink.flush(30)
    assert sink.dropped == 1
    assert [span.name for span in scope.exporter.get_finished_spans()] == [
        "execute_tool good",
        "invoke_agent w",
    ]


def test_two_run_sinks_do_not_mix_up() -> None:
    """Each has its own tree."""
    one, two = Telescope(), Telescope()
    with Orchestrator(
        role="w", phase="d", event_sink=FanOutEventSink(one.sink, two.sink)
    ).session() as session:
        session.run_turn(lambda: "hi", MODEL, USED)
    for scope in (one, two):
        assert len(scope.spans()) == 3
        assert len(scope.sink._open) == 0


def test_a_stuck_exporter_costs_the_sink_of_0_1_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emitting goes on, in order, once the exporter does."""
    monkeypatch.setattr(otel, "_PATIENCE_S", 0.0)
    stuck = Stuck()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(stuck))
    sink = otel.OpenTelemetrySink(provider.get_tracer("test"))
    try:
        for number in range(5):
            sink.emit(AgentEvent.started(f"r{number}", "d"))
        assert stuck.exported == []
    finally:
        stuck.go.set()
    assert sink._ending.flush(30)
    assert stuck.exported == [f"invoke_agent r{number}" for number in range(5)]
    assert sink.dropped == 0


def test_a_run_left_in_another_thread_keeps_that_threads_span(telescope: Telescope) -> None:
    """Ending a run gives the current span back only where the run's own is current."""
    session = Orchestrator(role="w", phase="d", event_sink=telescope.sink).session()

    def leave() -> bool:
        with telescope.tracer.start_as_current_span("elsewhere") as mine:
            session.__exit__(None, None, None)
            return trace.get_current_span() is mine

    def enter_here() -> bool:
        session.__enter__()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(leave).result()

    assert copy_context().run(enter_here)
    assert {span.name for span in telescope.spans()} == {"elsewhere", "invoke_agent w"}


def test_what_a_run_left_open_ends_before_it(telescope: Telescope) -> None:
    """Children are exported first, as if they had ended by themselves."""
    kinds = [
        (AgentEventName.AGENT_STARTED, AgentEventStatus.RUNNING),
        (AgentEventName.AGENT_TOOL_CALLED, AgentEventStatus.RUNNING),
        (AgentEventName.AGENT_COMPLETED, AgentEventStatus.COMPLETED),
    ]

    def tell() -> None:
        for name, status in kinds:
            telescope.sink.emit(AgentEvent(name, status, role="w", data={"tool": "t"}, run_id="1"))

    copy_context().run(tell)
    assert telescope.sink.flush(30)
    names = [span.name for span in telescope.exporter.get_finished_spans()]
    assert names == ["execute_tool t", "invoke_agent w"]
