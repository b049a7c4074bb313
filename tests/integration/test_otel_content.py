"""What guarded requests show in OpenTelemetry beside their usage: who was asked and, on request, what."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from threading import Thread
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai

from techrevati.runtime import (
    AgentEvent,
    AgentEventName,
    AgentEventStatus,
    FanOutEventSink,
    Orchestrator,
    Redactor,
    Retry,
    RingBufferEventSink,
)
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import guard
from tests.integration.test_otel_runs import MODEL, USED, Telescope, attributes

CLAUDE = "claude-haiku-4-5"
QUESTION = "What opens it? Five failures open it."
ANSWER = "Five failures open it."
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
WEATHER: Any = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
}


@pytest.fixture
def endpoint() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def told(scope: Telescope, name: str) -> list[Any]:
    """The messages in an attribute of the only request."""
    (chat,) = (span for span in scope.spans() if span.name.startswith(("chat", "embeddings")))
    found: list[Any] = json.loads(attributes(chat)[name])
    return found


def text(content: str) -> dict[str, str]:
    return {"type": "text", "content": content}


ASKED = [{"role": "system", "parts": [text("Be brief.")]}, {"role": "user", "parts": [text(QUESTION)]}]
SAID = [{"role": "assistant", "parts": [text(ANSWER)], "finish_reason": "stop"}]


def test_a_request_says_who_was_asked_and_how(endpoint: ChaosServer) -> None:
    """Address, port and settings, in spans and, without the settings, in metrics; no content by default."""
    scope = Telescope()
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        client = guard(plain, event_sink=scope.sink)
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_completion_tokens=30, temperature=0.5, seed=7
        )
    (chat,) = scope.spans()
    shown = attributes(chat)
    assert (shown["server.address"], shown["server.port"]) == ("127.0.0.1", plain.base_url.port)
    assert shown[gen_ai.GEN_AI_REQUEST_MAX_TOKENS] == 30
    assert shown[gen_ai.GEN_AI_REQUEST_TEMPERATURE] == 0.5
    assert shown[gen_ai.GEN_AI_REQUEST_SEED] == 7
    assert not {name for name in shown if "messages" in name or "instructions" in name}
    assert QUESTION not in chat.to_json()
    assert ANSWER not in chat.to_json()
    for metric in ("gen_ai.client.operation.duration", "gen_ai.client.token.usage"):
        for point in scope.points()[metric]:
            assert point.attributes["server.address"] == "127.0.0.1"
            assert point.attributes["server.port"] == plain.base_url.port


def test_a_host_without_a_port_is_asked_at_that_of_its_scheme() -> None:
    """Nothing is sent: the transport refuses."""
    scope = Telescope()
    exceptions: Any = openai._exceptions
    http = getattr(exceptions, "httpx2", None) or exceptions.httpx  # as in the majors before
    refusing = http.MockTransport(lambda _: http.Response(401, json={"error": {"code": "invalid_api_key"}}))
    with openai.AzureOpenAI(
        azure_endpoint="https://x.openai.azure.com",
        api_key="any",
        api_version="1",
        http_client=http.Client(transport=refusing),
    ) as plain:
        client = guard(plain, event_sink=scope.sink)
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=30)
    (chat,) = scope.spans()
    assert attributes(chat)["server.address"] == "x.openai.azure.com"
    assert attributes(chat)["server.port"] == 443
    assert attributes(chat)[gen_ai.GEN_AI_PROVIDER_NAME] == "azure.ai.openai"


def test_embeddings_are_called_embeddings(endpoint: ChaosServer) -> None:
    """The operation is the conventions', in the span's name, its attributes and the metrics."""
    scope = Telescope()
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        guard(plain, event_sink=scope.sink).embeddings.create(model="text-embedding-3-small", input="a sea")
    (span,) = scope.spans()
    assert span.name == "embeddings text-embedding-3-small"
    assert attributes(span)[gen_ai.GEN_AI_OPERATION_NAME] == "embeddings"
    (point,) = scope.points()["gen_ai.client.operation.duration"]
    assert point.attributes[gen_ai.GEN_AI_OPERATION_NAME] == "embeddings"


def test_a_request_of_a_run_names_its_conversation(endpoint: ChaosServer) -> None:
    """As the attempt above it does."""
    scope = Telescope()
    orchestrator = Orchestrator(role="writer", phase="draft", event_sink=scope.sink, run_id="run-17")
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain, orchestrator.session() as session:
        client = guard(plain, event_sink=scope.sink)
        ask = client.chat.completions.create
        session.run_turn(lambda: ask(model=MODEL, messages=MESSAGES, max_completion_tokens=30), MODEL)
    assert {attributes(span)[gen_ai.GEN_AI_CONVERSATION_ID] for span in scope.spans()} == {"run-17"}


# --- contents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["plain", "streamed", "raw", "async", "async streamed"])
def test_chat_messages_are_shown_on_request(endpoint: ChaosServer, how: str) -> None:
    """Whole or streamed, in both colours."""
    scope = Telescope(content=True)
    asked: Any = {"model": MODEL, "messages": MESSAGES, "max_completion_tokens": 60}

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key="any") as plain:
            client = guard(plain, event_sink=scope.sink)
            if how == "async":
                await client.chat.completions.create(**asked)
            else:
                async for _ in await client.chat.completions.create(**asked, stream=True):
                    pass

    if how.startswith("async"):
        asyncio.run(main())
    else:
        with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
            client = guard(plain, event_sink=scope.sink)
            if how == "plain":
                client.chat.completions.create(**asked)
            elif how == "raw":
                client.chat.completions.with_raw_response.create(**asked)
            else:
                list(client.chat.completions.create(**asked, stream=True))
    assert told(scope, gen_ai.GEN_AI_INPUT_MESSAGES) == ASKED
    assert told(scope, gen_ai.GEN_AI_OUTPUT_MESSAGES) == SAID


@pytest.mark.parametrize("stream", [False, True])
def test_messages_of_anthropic_are_shown_on_request(endpoint: ChaosServer, stream: bool) -> None:
    """The instructions apart from the messages stand apart."""
    scope = Telescope(content=True)
    asked: Any = {"model": CLAUDE, "max_tokens": 60, "system": "Be brief.", "messages": MESSAGES[1:]}
    with anthropic.Anthropic(base_url=endpoint.anthropic_base_url, api_key="any") as plain:
        client = guard(plain, event_sink=scope.sink)
        if stream:
            with client.messages.stream(**asked) as events:
                assert events.get_final_text() == ANSWER
        else:
            client.messages.create(**asked)
    assert told(scope, gen_ai.GEN_AI_SYSTEM_INSTRUCTIONS) == [text("Be brief.")]
    assert told(scope, gen_ai.GEN_AI_INPUT_MESSAGES) == ASKED[1:]
    assert told(scope, gen_ai.GEN_AI_OUTPUT_MESSAGES) == SAID


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_shown_on_request(endpoint: ChaosServer, stream: bool) -> None:
    """The input is a text here, the answer a list of items."""
    scope = Telescope(content=True)
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        client = guard(plain, event_sink=scope.sink)
        asked: Any = {"model": MODEL, "input": QUESTION, "instructions": "Be brief.", "max_output_tokens": 60}
        found = client.responses.create(**asked, stream=stream)
        if stream:
            list(found)
    assert told(scope, gen_ai.GEN_AI_SYSTEM_INSTRUCTIONS) == [text("Be brief.")]
    assert told(scope, gen_ai.GEN_AI_INPUT_MESSAGES) == ASKED[1:]
    assert told(scope, gen_ai.GEN_AI_OUTPUT_MESSAGES) == SAID


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_calls_of_tools_are_parts_of_messages(endpoint: ChaosServer, sdk: str, stream: bool) -> None:
    """A call with its arguments in the answer, and call and result in the next request."""
    scope = Telescope(content=True)
    question = {"role": "user", "content": "What is the weather in Paris?"}
    if sdk == "openai":
        function = {"name": "get_weather", "description": "Current weather", "parameters": WEATHER}
        with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
            client: Any = guard(plain, event_sink=scope.sink)
            tools = [{"type": "function", "function": function}]
            asked: Any = {"model": MODEL, "messages": [question], "tools": tools, "stream": stream}
            found = client.chat.completions.create(**asked, max_completion_tokens=60)
            if stream:
                list(found)
    else:
        with anthropic.Anthropic(base_url=endpoint.anthropic_base_url, api_key="any") as plain_claude:
            client = guard(plain_claude, event_sink=scope.sink)
            tools = [{"name": "get_weather", "description": "Current weather", "input_schema": WEATHER}]
            asked = {"model": CLAUDE, "messages": [question], "tools": tools, "stream": stream}
            found = client.messages.create(**asked, max_tokens=60)
            if stream:
                list(found)
    (said,) = told(scope, gen_ai.GEN_AI_OUTPUT_MESSAGES)
    (call,) = (part for part in said["parts"] if part["type"] == "tool_call")
    assert (call["name"], call["arguments"]) == ("get_weather", {"location": "Paris"})
    assert call["id"]
    assert said["finish_reason"] == "tool_call"


def test_secrets_are_taken_out_of_contents(endpoint: ChaosServer) -> None:
    """By shape, by the name of a field, and by what the program calls a secret."""
    secret, known = "sk-proj-abcdefghijklmnopqrstuvwxyz123456", "tuesday at nine"
    scope = Telescope(content=True, redactor=Redactor(secrets=[known]))
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"password": "x1y2z3"}'}}
    messages: Any = [
        {"role": "user", "content": f"{secret} and {known}"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": f"Authorization: Bearer {secret}"},
    ]
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        client = guard(plain, event_sink=scope.sink)
        client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=60)
    (chat,) = scope.spans()
    shown = chat.to_json()
    assert all(hidden not in shown for hidden in (secret, known, "x1y2z3"))
    one, two, three = told(scope, gen_ai.GEN_AI_INPUT_MESSAGES)
    assert "[redacted]" in one["parts"][0]["content"]
    assert two["parts"][0]["arguments"] == {"password": "[redacted]"}
    assert three["parts"][0]["type"] == "tool_call_response"


def test_contents_are_bounded_and_the_newest_is_kept(endpoint: ChaosServer) -> None:
    """The attribute stays JSON, and says that something is missing."""
    scope = Telescope(content=True, max_content_length=1_000)
    messages: Any = [{"role": "user", "content": f"{number} {'long ' * 60}"} for number in range(10)]
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        client = guard(plain, event_sink=scope.sink)
        client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=60)
    (chat,) = scope.spans()
    assert len(attributes(chat)[gen_ai.GEN_AI_INPUT_MESSAGES]) <= 1_000
    assert attributes(chat)["techrevati.content.cut"] is True
    kept = told(scope, gen_ai.GEN_AI_INPUT_MESSAGES)
    assert [one["parts"][0]["content"][0] for one in kept] == ["8", "9"]


def test_a_fan_out_tells_contents_to_the_sink_that_asks_only(endpoint: ChaosServer) -> None:
    """A file or a ring beside it gets the same event without them."""
    scope, ring = Telescope(content=True), RingBufferEventSink()
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
        client = guard(plain, event_sink=FanOutEventSink(ring, scope.sink))
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=60)
    assert told(scope, gen_ai.GEN_AI_OUTPUT_MESSAGES) == SAID
    (event,) = ring.events
    assert event.data is not None
    assert "content" not in event.data
    assert event.data["model"] == MODEL
    assert not FanOutEventSink(ring).takes_content


def test_an_answer_that_was_cut_off_shows_what_had_come() -> None:
    """With ``error`` as its end."""
    scope = Telescope(content=True)
    with (
        ChaosServer([Fault(FaultKind.TRUNCATED_STREAM)]) as server,
        openai.OpenAI(base_url=server.base_url, api_key="any") as plain,
    ):
        client = guard(plain, event_sink=scope.sink, retry=Retry(1))
        stream = client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_completion_tokens=60, stream=True
        )
        assert list(stream)  # the SDK says nothing of the end that did not come
    (said,) = told(scope, gen_ai.GEN_AI_OUTPUT_MESSAGES)
    assert said["finish_reason"] == "error"
    assert ANSWER.startswith(said["parts"][0]["content"])


# --- what a broken line would not have shown ----------------------------------------------------------------


def test_a_plain_thread_that_is_in_another_trace_puts_its_turn_under_the_run() -> None:
    """A span of somebody else's that is current there is not the turn's parent."""
    scope = Telescope()
    with Orchestrator(role="writer", phase="draft", event_sink=scope.sink).session() as session:

        def elsewhere() -> None:
            with scope.tracer.start_as_current_span("a job of its own"):
                session.run_turn(lambda: "hi", MODEL, USED)

        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert f"invoke_agent writer > turn {MODEL}" in scope.tree()
    assert "a job of its own" in scope.tree()


def test_a_guarded_stream_inside_a_session_is_counted_once(endpoint: ChaosServer) -> None:
    """The session's span of the stream leaves tokens and time to the request."""
    scope = Telescope()
    with (
        openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain,
        Orchestrator(role="writer", phase="draft", event_sink=scope.sink).session() as session,
    ):
        client = guard(plain, event_sink=scope.sink)
        list(
            session.run_stream(
                lambda: client.chat.completions.create(
                    model=MODEL, messages=MESSAGES, max_completion_tokens=60, stream=True
                ),
                MODEL,
                input_tokens=30,
            )
        )
    names = sorted(span.name for span in scope.spans())
    assert names == [f"attempt {MODEL}", f"chat {MODEL}", "invoke_agent writer"]
    assert sum(point.count for point in scope.points()["gen_ai.client.operation.duration"]) == 1
    assert sum(point.count for point in scope.points()["gen_ai.client.token.usage"]) == 2


def test_a_stream_of_another_model_is_not_covered_by_a_request(endpoint: ChaosServer) -> None:
    """Only what the request was made for leaves the counting to it."""
    scope = Telescope()
    with (
        openai.OpenAI(base_url=endpoint.base_url, api_key="any") as plain,
        Orchestrator(role="writer", phase="draft", event_sink=scope.sink).session() as session,
    ):
        client = guard(plain, event_sink=scope.sink)
        stream = session.run_stream(lambda: iter(["a", "b"]), "another", input_tokens=7)
        next(stream)
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=60)
        assert list(stream) == ["b"]
    assert "chat another" in {span.name for span in scope.spans()}
    assert sum(point.count for point in scope.points()["gen_ai.client.operation.duration"]) == 2


def test_a_span_that_was_evicted_is_not_touched_again(caplog: pytest.LogCaptureFixture) -> None:
    """Not when its part ends, and not with the attempt that it held: the SDK would complain of either."""
    scope = Telescope(max_open_spans=2)
    caplog.set_level(logging.WARNING, "opentelemetry")

    def event(name: AgentEventName, status: AgentEventStatus, run: str, **data: object) -> None:
        scope.sink.emit(AgentEvent(name, status, role="w", data={"model": MODEL, **data}, run_id=run))

    def play() -> None:
        running, done, failed = (getattr(AgentEventStatus, n) for n in ("RUNNING", "COMPLETED", "FAILED"))
        event(AgentEventName.TURN_STARTED, running, "1", turn=1)
        event(AgentEventName.ATTEMPT_STARTED, running, "1", turn=1, attempt=1)
        event(AgentEventName.ATTEMPT_ENDED, done, "1", turn=1, attempt=1)
        for number in range(2):  # others come, and the turn goes with what it holds
            event(AgentEventName.AGENT_STARTED, running, f"other {number}")
        assert scope.sink.flush(30)
        event(AgentEventName.TURN_ENDED, failed, "1", turn=1)
        event(AgentEventName.AGENT_FAILED, failed, "other 0")
        assert scope.sink.close(30)

    copy_context().run(play)
    names = sorted(span.name for span in scope.spans())
    assert names == [f"chat {MODEL}", "invoke_agent w", "invoke_agent w", f"turn {MODEL}"]
    assert caplog.records == []
