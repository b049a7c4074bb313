"""One tree of spans for each run, and the metrics of its model calls.

``invoke_agent`` holds turns, a turn holds its attempts (``chat``), tools stand where they were called.  The
spans are made from events, so this is a sink like any other; it asks for the beginnings and ends of turns.
Nothing here waits: spans are ended by a thread of ours, as a simple processor exports where they end.

Source: OpenTelemetry semantic conventions for generative AI (agent and client spans, client metrics).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.agent_events import AgentEvent, AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.agent_events.vocabulary import REQUEST_EVENTS
from techrevati.runtime.otel import _require_opentelemetry
from techrevati.runtime.otel.content import content_attributes
from techrevati.runtime.otel.conventions import (
    chat,
    error_type,
    noted,
    ns_of,
    operation_of,
    provider_name as provider_name_of,
    request,
    show_usage,
    text_of,
    usage_of,
)
from techrevati.runtime.otel.hand_over import HandOver
from techrevati.runtime.otel.instruments import Instruments
from techrevati.runtime.otel.open_spans import OpenSpan, OpenSpans, innermost
from techrevati.runtime.otel.sendable import encodable, sendable, span_name
from techrevati.runtime.pricing import cost_picodollars_or_none, usd
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Span, SpanKind, Tracer

    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, BreakerRegistry, CircuitBreaker
    from techrevati.runtime.otel.conventions import Attributes, Facts
    from techrevati.runtime.otel.open_spans import Key

_SCOPE = "techrevati.runtime"
_ENDS = (Name.AGENT_COMPLETED, Name.AGENT_FAILED, Name.AGENT_CANCELLED)


class OpenTelemetryRunSink:
    """An event sink that makes one tree of spans of every run, and measures its model calls.  Thread-safe.

    Give the same object to ``Orchestrator(event_sink=…)`` and ``guard(client, event_sink=…)``: then a request
    that a guarded client makes inside a turn is one span and is counted once.  The span that is current when
    a run begins is its parent; inside runs, attempts and tools *their* span is current.

    What was asked and answered is told only with *content*, and only of requests that guarded clients make;
    error texts, which may quote it, only with *error_texts*.  Both go through *redactor* first.

    Args:
        tracer: Where spans go; the global tracer provider's when None.
        meter: Where metrics go; the global meter provider's when None.
        provider_name: Value of ``gen_ai.provider.name`` where no event says who was asked; not empty.
        agent_id: Value of ``gen_ai.agent.id``; the event's run when None.
        error_texts: Whether spans show the text of errors, beside their ``error.type``.
        content: Whether spans of requests show the messages that were sent and came back, as
            ``gen_ai.input.messages``, ``gen_ai.output.messages`` and ``gen_ai.system_instructions`` (JSON).
        max_content_length: Characters of each of these, >= 1000; the newest messages are kept, and
            ``techrevati.content.cut`` is true where something is missing.
        redactor: Goes over every event first; the default one when None.
        max_open_spans: Spans under way at once, >= 1; the oldest are ended to make room, and counted in
            ``evicted``.
        queue_size: Ended spans that may wait for a slow exporter, >= 1; more are lost, and counted in
            ``dropped``.
        max_series: Models that metrics tell apart, and breakers and budgets that can be watched, >= 1.

    Attributes:
        follows_turns: True: sessions tell this sink where turns and attempts begin and end.
        takes_content: Whether guarded clients tell this sink what was asked and answered.
        evicted: Spans that were ended before what they show was over.

    Raises:
        ImportError: OpenTelemetry is not installed.
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    follows_turns: bool = True

    def __init__(
        self,
        tracer: Tracer | None = None,
        meter: Meter | None = None,
        provider_name: str = "techrevati",
        agent_id: str | None = None,
        *,
        error_texts: bool = False,
        content: bool = False,
        max_content_length: int = 20_000,
        redactor: Redactor | None = None,
        max_open_spans: int = 1000,
        queue_size: int = 2048,
        max_series: int = 100,
    ) -> None:
        _require_opentelemetry()
        from opentelemetry import metrics, trace

        self._trace = trace
        self._tracer = trace.get_tracer(_SCOPE) if tracer is None else tracer
        self._provider_name = provider_name_of(arguments.text("provider_name", provider_name))
        self._agent_id = agent_id
        self._error_texts = error_texts
        self.takes_content: bool = bool(content)
        self._max_content = arguments.count("max_content_length", max_content_length, minimum=1000)
        self._redactor = Redactor() if redactor is None else redactor
        self._open = OpenSpans(max_open_spans)
        self._ending = HandOver(queue_size)
        max_series = arguments.count("max_series", max_series, minimum=1)
        meter = metrics.get_meter(_SCOPE) if meter is None else meter
        self._measures = Instruments(meter, max_series, self._redactor)
        self.evicted: int = 0

    # --- for the program -----------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Spans that were lost because the exporter was too slow for the queue."""
        return self._ending.dropped

    def watch_breaker(self, breaker: CircuitBreaker | BreakerRegistry | AsyncCircuitBreaker) -> None:
        """Show the state of a breaker, or of every breaker of a registry, as ``techrevati.circuit.state``.

        The first ``max_series`` are shown.
        """
        self._measures.watch_breaker(breaker)

    def watch_budget(self, budget: Budget) -> None:
        """Show what is left of a budget as ``techrevati.budget.remaining``; the first ``max_series`` are."""
        self._measures.watch_budget(budget)

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until every span that ended was handed to the span processors; False when that took longer.

        For the end of a program and for tests; it does not flush the processors.
        """
        return self._ending.flush(arguments.number("timeout_seconds", timeout_seconds))

    def close(self, timeout_seconds: float = 5.0) -> bool:
        """End what is still open, then :meth:`flush`.  The sink stays usable."""
        for opened in self._open.take_all():
            self._evict(opened)
        return self.flush(timeout_seconds)

    # --- events --------------------------------------------------------------------------------------------

    def emit(self, event: AgentEvent) -> None:
        """Begin, end or annotate a span; never waits for an exporter."""
        event = self._redactor.event(event)
        name, facts = event.event, event.data or {}
        run = event.run_id
        if name in REQUEST_EVENTS:
            self._request(event, facts)
        elif run is None:
            self._note(event, facts)
        elif name is Name.AGENT_STARTED:
            self._run_began(event, run)
        elif name in _ENDS:
            self._run_told(event, run, facts)
        elif name is Name.RUN_ENDED:
            self._run_ended(event, run)
        elif name is Name.AGENT_TOOL_CALLED:
            self._tool_began(event, run, facts)
        elif name is Name.AGENT_TOOL_COMPLETED:
            self._finish(self._open.take((run, "tool", facts.get("tool"))), event)
        elif name is Name.TURN_STARTED:
            self._turn_began(event, run, facts)
        elif name is Name.TURN_ENDED:
            self._turn_ended(event, run, facts)
        elif name is Name.ATTEMPT_STARTED:
            self._attempt_began(event, run, facts)
        elif name is Name.ATTEMPT_ENDED:
            self._attempt_ended(event, run, facts)
        else:
            self._note(event, facts)

    # --- runs ----------------------------------------------------------------------------------------------

    def _run_began(self, event: AgentEvent, run: str) -> None:
        role = event.role
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": self._provider_name,
            "gen_ai.agent.id": self._agent_id or run,
            "gen_ai.conversation.id": run,
        }
        for key, value in (
            ("gen_ai.agent.name", role),
            ("techrevati.phase", event.phase),
            ("techrevati.project_id", event.project_id),
        ):
            if value is not None:
                attributes[key] = value
        name = span_name("invoke_agent", role)
        self._begin((run, "run", None), event, name, attributes, self._under(event.parent_id, strict=False))

    def _run_told(self, event: AgentEvent, run: str, facts: Facts) -> None:
        """How the run ends; the session may go on after an overrun of a budget that is not enforced."""
        home = self._open.find((run, "run", None))
        if home is None:
            self._note(event, facts)
            return
        if event.event is Name.AGENT_FAILED and "budget_usd" in facts:
            self._failed(home.span, event)
            return
        for opened in self._open.take_run(run):
            self._finish(opened, event if opened is home else None, ns_of(event))

    def _run_ended(self, event: AgentEvent, run: str) -> None:
        for opened in self._open.take_run(run):
            self._finish(opened, None, ns_of(event))
        self._open.unwind(run)

    # --- turns, attempts, tools ----------------------------------------------------------------------------

    def _turn_began(self, event: AgentEvent, run: str, facts: Facts) -> None:
        attributes: Attributes = {"techrevati.turn": True, "gen_ai.conversation.id": run}
        model = text_of(facts, "model")
        key: Key = (run, "stream" if facts.get("stream") else "turn", facts.get("turn"))
        if key[1] == "stream":  # its only attempt, as far as we are told
            attributes = chat(self._provider_name, model)
            attributes["gen_ai.request.stream"] = True
            name, kind = span_name("chat", model), self._trace.SpanKind.CLIENT
            # Not the current span: a stream is consumed wherever its reader is.
            self._begin(key, event, name, attributes, self._under(run), kind, model=model, current=False)
            return
        self._begin(key, event, span_name("turn", model), attributes, self._under(run), model=model)

    def _turn_ended(self, event: AgentEvent, run: str, facts: Facts) -> None:
        number = facts.get("turn")
        turn = self._open.take((run, "turn", number))
        stream = None if turn is not None else self._open.take((run, "stream", number))
        usage, cost = usage_of(facts), facts.get("cost_usd")
        if stream is not None:
            if not facts.get("replayed"):
                self._used(stream, usage, cost, event)
            self._finish(stream, event)
        if turn is None:
            return
        if facts.get("replayed"):
            turn.span.set_attribute("techrevati.replayed", True)
        held = turn.held
        if held is not None:
            self._used(held, usage, cost, None)
            self._finish(held, None, held.end_ns)
        self._finish(turn, event)

    def _attempt_began(self, event: AgentEvent, run: str, facts: Facts) -> None:
        model, attempt = text_of(facts, "model"), facts.get("attempt")
        attributes = chat(self._provider_name, model)
        attributes["gen_ai.conversation.id"] = run
        if isinstance(attempt, int):
            attributes["techrevati.attempt"] = attempt
            if attempt > 1:
                self._measures.retried(self._measures.about(self._provider_name, model))
        key: Key = (run, "attempt", (facts.get("turn"), attempt))
        kind = self._trace.SpanKind.CLIENT
        self._begin(key, event, span_name("chat", model), attributes, self._under(run), kind, model=model)

    def _attempt_ended(self, event: AgentEvent, run: str, facts: Facts) -> None:
        attempt = self._open.take((run, "attempt", (facts.get("turn"), facts.get("attempt"))))
        if attempt is None:
            return
        attempt.leave()
        turn = self._open.find((run, "turn", facts.get("turn")))
        if event.status is Status.FAILED or turn is None:  # failed, or came after its turn had timed out
            self._used(attempt, None, None, event)
            self._finish(attempt, event)
            return
        attempt.end_ns = ns_of(event)
        turn.held = attempt

    def _tool_began(self, event: AgentEvent, run: str, facts: Facts) -> None:
        tool = text_of(facts, "tool")
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.provider.name": self._provider_name,
            "gen_ai.tool.name": tool,
            "gen_ai.tool.type": "function",
            "gen_ai.conversation.id": run,
        }
        if event.role is not None:
            attributes["gen_ai.agent.name"] = event.role
        key: Key = (run, "tool", facts.get("tool"))
        self._begin(key, event, span_name("execute_tool", tool), attributes, self._under(run))

    def _used(
        self, call: OpenSpan, usage: UsageSnapshot | None, cost: object, event: AgentEvent | None
    ) -> None:
        """A model call of a session ended; one made through a guarded client told everything itself."""
        if call.covered:
            call.span.update_name(span_name("attempt", call.model))
            call.span.set_attribute("gen_ai.operation.name", "attempt")
            return
        failed = event is not None and event.status is Status.FAILED
        about = self._measures.about(
            self._provider_name, call.model, error_type(event) if failed and event is not None else None
        )
        end_ns = call.end_ns if event is None else ns_of(event)
        self._measures.seconds((end_ns - call.start_ns) / 1e9, about)
        if usage is not None:
            show_usage(call.span, usage, cost)
            self._measures.used(usage, cost if isinstance(cost, float) else None, about)

    # --- requests of guarded clients -----------------------------------------------------------------------

    def _request(self, event: AgentEvent, facts: Facts) -> None:
        """One physical request: a span of the time that it took, told at its end."""
        model, provider = text_of(facts, "model"), text_of(facts, "provider") or self._provider_name
        self._cover(model)
        end_ns, seconds = ns_of(event), facts.get("seconds")
        took_s = float(seconds) if isinstance(seconds, (int, float)) else 0.0
        operation = operation_of(text_of(facts, "shape"))
        attributes = request(facts, provider, model, operation)
        attempt = facts.get("attempt")
        here = innermost.get()
        if here is not None:
            attributes["gen_ai.conversation.id"] = here.key[0]
        if self.takes_content:
            attributes |= content_attributes(facts.get("content"), self._max_content)
        span = self._tracer.start_span(
            span_name(operation, model),
            kind=self._trace.SpanKind.CLIENT,
            attributes=sendable(attributes),
            start_time=end_ns - int(took_s * 1e9),
        )
        failed = event.event in (Name.MODEL_FAILED, Name.MODEL_REFUSED) and event.status is not Status.GREEN
        if failed:
            self._failed(span, event)
        elif event.event is Name.MODEL_REFUSED:
            span.set_attribute("techrevati.refusal.observed", True)
        usage = usage_of(facts)
        cost = None
        if usage is not None:
            exact = cost_picodollars_or_none(model, usage)
            cost = None if exact is None else usd(exact)
            show_usage(span, usage, cost)
        if event.event is not Name.MODEL_REFUSED:  # that was never sent
            about = self._measures.about(
                provider_name_of(provider), model, error_type(event) if failed else None, operation
            )
            address, port = facts.get("server_address"), facts.get("server_port")
            if isinstance(address, str) and isinstance(port, int):
                about |= self._measures.server(address, port)
            self._measures.seconds(took_s, about)
            if usage is not None:
                self._measures.used(usage, cost, about)
            if isinstance(attempt, int) and attempt > 1:
                self._measures.retried(about)
        self._ending.give(partial(span.end, end_ns))

    def _cover(self, model: str) -> None:
        """What a session knows of this request need not be counted again."""
        here = innermost.get()
        if here is None:
            return
        if here.key[1] == "attempt":
            here.covered = True
        for stream in self._open.of_run(here.key[0], "stream"):
            if stream.model in (model, ""):
                stream.covered = True

    # --- spans ---------------------------------------------------------------------------------------------

    def _under(self, run: str | None, *, strict: bool = True) -> Context | None:
        """The context whose span is the parent: the current one, or, where that is none of the run's (a plain
        thread), the run's own."""
        home = None if run is None else self._open.find((run, "run", None))
        if home is None:
            return None
        here = self._trace.get_current_span().get_span_context()
        foreign = strict and here.trace_id != home.span.get_span_context().trace_id
        if here.is_valid and not foreign:
            return None
        return self._trace.set_span_in_context(home.span)

    def _begin(
        self,
        key: Key,
        event: AgentEvent,
        name: str,
        attributes: Attributes,
        context: Context | None,
        kind: SpanKind | None = None,
        *,
        model: str = "",
        current: bool = True,
    ) -> None:
        start_ns = ns_of(event)
        span = self._tracer.start_span(
            name,
            context,
            self._trace.SpanKind.INTERNAL if kind is None else kind,
            sendable(attributes),
            start_time=start_ns,
        )
        opened = OpenSpan(self._open, key, span, start_ns, model)
        oldest = self._open.add(opened)
        if oldest is not None:
            self._evict(oldest)
        if current:
            opened.enter()

    def _finish(self, opened: OpenSpan | None, event: AgentEvent | None, end_ns: int | None = None) -> None:
        """End a span as *event* says, once."""
        if opened is None:
            return
        opened.leave()
        if opened.over:
            return
        opened.over = True
        if event is not None and event.status is Status.FAILED:
            self._failed(opened.span, event)
        if event is not None and end_ns is None:
            end_ns = ns_of(event)
        self._ending.give(partial(opened.span.end, end_ns))

    def _evict(self, opened: OpenSpan) -> None:
        self.evicted += 1
        opened.span.set_attribute("techrevati.evicted", True)
        for span in (opened.held, opened):
            if span is not None and not span.over:
                span.over = True
                self._ending.give(span.span.end)

    def _failed(self, span: Span, event: AgentEvent) -> None:
        span.set_attribute("error.type", encodable(error_type(event)))
        text = encodable(event.detail) if self._error_texts and event.detail else None
        span.set_status(self._trace.StatusCode.ERROR, text)

    def _note(self, event: AgentEvent, facts: Facts) -> None:
        """An event with no duration: noted on the span it happened in, or a span of its own."""
        attributes = sendable(noted(event, facts, texts=self._error_texts))
        span = self._trace.get_current_span()
        if not span.get_span_context().is_valid and event.run_id is not None:
            home = self._open.find((event.run_id, "run", None))
            span = span if home is None else home.span
        moment_ns = ns_of(event)
        if span.get_span_context().is_valid:
            span.add_event(event.event.value, attributes, moment_ns)
            return
        alone = self._tracer.start_span(event.event.value, attributes=attributes, start_time=moment_ns)
        self._ending.give(partial(alone.end, moment_ns))
