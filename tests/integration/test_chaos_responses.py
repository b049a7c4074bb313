"""OpenAI's Responses API on the chaos endpoint, driven by the real SDK and by what is built on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Outcome, count_tokens
from techrevati.runtime.chaos.bill import NOTHING
from techrevati.runtime.chaos.tokens import pieces
from tests.integration.test_chaos_sdks import ANSWER, NOTES, OPENAI, OPENAI_STREAM

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTION = "What is the weather in Paris?"
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * count_tokens(ANSWER),
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


class Answer(BaseModel):
    """What the parsed calls ask for."""

    answer: str


def sdk(server: ChaosServer, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", base_url=server.base_url, **{"max_retries": 0, **more})


def asdk(server: ChaosServer, **more: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="sk-test", base_url=server.base_url, **{"max_retries": 0, **more})


def call(server: ChaosServer, *, stream: bool, asynchronous: bool, **more: Any) -> Any:
    """One call, its stream read to the end; the response, or the events."""
    request: dict[str, Any] = {"model": "chaos-large", "input": NOTES, "stream": stream, **more}
    if not asynchronous:
        with sdk(server) as client:
            said = client.responses.create(**request)
            if not stream:
                return said
            with said:
                return list(said)

    async def main() -> Any:
        async with asdk(server) as client:
            said = await client.responses.create(**request)
            if not stream:
                return said
            async with said:
                return [event async for event in said]

    return asyncio.run(main())


def error_of(make: Callable[[], Any]) -> Any:
    with pytest.raises(openai.APIError) as caught:
        make()
    return caught.value


def assert_billed(server: ChaosServer, usage: Any) -> None:
    """The usage of the response is what is on the bill."""
    billed = server.bill.usage
    assert usage.input_tokens == billed.prompt_tokens
    assert usage.input_tokens_details.cached_tokens == billed.cache_read_tokens
    assert usage.output_tokens == billed.output_tokens
    assert usage.output_tokens_details.reasoning_tokens == 0
    assert usage.total_tokens == billed.total_tokens


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_plain_response_is_whole_and_billed(asynchronous: bool) -> None:
    """Text, usage and what was asked come back."""
    with ChaosServer() as server:
        said = call(server, stream=False, asynchronous=asynchronous, instructions="Be short.", user="u-1")
        assert (said.output_text, said.status, said.instructions, said.user) == (
            ANSWER,
            "completed",
            "Be short.",
            "u-1",
        )
        assert said.id.startswith("resp_")
        assert said.output[0].id.startswith("msg_")
        assert_billed(server, said.usage)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_has_the_events_in_their_order(asynchronous: bool) -> None:
    """Numbered from 0; the deltas are the text, and the last event holds response and usage."""
    with ChaosServer() as server:
        events = call(server, stream=True, asynchronous=asynchronous)
        assert [event.type for event in events] == TEXT_EVENTS
        assert [event.sequence_number for event in events] == list(range(len(events)))
        deltas = [event for event in events if event.type == "response.output_text.delta"]
        assert "".join(event.delta for event in deltas) == ANSWER
        item = events[2].item
        assert {event.item_id for event in deltas} == {item.id}
        last = events[-1].response
        assert last.output_text == ANSWER
        assert last.output[0].id == item.id
        assert events[0].response.id == last.id
        assert (events[0].response.status, events[0].response.usage) == ("in_progress", None)
        assert_billed(server, last.usage)


def test_calls_of_tools_stream_their_arguments() -> None:
    """One item for each call; its deltas are its arguments."""
    both = "What is the weather in Paris and Rome?"
    with ChaosServer() as server:
        events = call(server, stream=True, asynchronous=False, input=both, tools=[WEATHER])
        calls = events[-1].response.output
        assert [json.loads(one.arguments)["city"] for one in calls] == ["Paris", "Rome"]
        for index, one in enumerate(calls):
            mine = [event for event in events if getattr(event, "output_index", None) == index]
            assert mine[0].type == "response.output_item.added"
            assert (mine[0].item.arguments, mine[0].item.name) == ("", "get_weather")
            deltas = [each.delta for each in mine if each.type == "response.function_call_arguments.delta"]
            assert "".join(deltas) == one.arguments
            assert mine[-2].type == "response.function_call_arguments.done"
            assert (mine[-2].arguments, mine[-2].item_id) == (one.arguments, one.id)
            assert mine[-1].item == one
        assert_billed(server, events[-1].response.usage)


@pytest.mark.parametrize("stored", [False, True])
def test_a_tool_result_is_answered(stored: bool) -> None:
    """With the whole conversation sent again, or with the id of the response before."""
    with ChaosServer() as server, sdk(server) as client:
        first = client.responses.create(
            model="chaos-large", input=QUESTION, tools=[WEATHER], store=stored, instructions="Be short."
        )
        asked: Any = first.output[0]
        result = {"type": "function_call_output", "call_id": asked.call_id, "output": "18 degrees in Paris"}
        whole = [{"role": "user", "content": QUESTION}, asked.model_dump(exclude_none=True), result]
        again: dict[str, Any] = (
            {"input": [result], "previous_response_id": first.id} if stored else {"input": whole}
        )
        said = client.responses.create(model="chaos-large", tools=[WEATHER], **again)
        assert "18 degrees" in said.output_text
        assert said.previous_response_id == (first.id if stored else None)
        if stored:  # the whole conversation is input again, without the old instructions
            one, two = server.injected
            assert two.billed.prompt_tokens > one.billed.prompt_tokens
            plain = client.responses.create(model="chaos-large", tools=[WEATHER], input=whole)
            assert plain.usage
            assert said.usage
            assert plain.usage.input_tokens == said.usage.input_tokens


def test_a_response_that_was_not_stored_is_not_found() -> None:
    """Nor one that never was: 400 with the provider's code."""
    with ChaosServer() as server, sdk(server) as client:
        said = client.responses.create(model="chaos-large", input=NOTES, store=False)
        for unknown in (said.id, "resp_unknown"):
            error = error_of(
                lambda name=unknown: client.responses.create(
                    model="chaos-large", input="Go on.", previous_response_id=name
                )
            )
            assert (type(error), error.code, error.param) == (
                openai.BadRequestError,
                "previous_response_not_found",
                "previous_response_id",
            )


def test_a_response_that_was_cut_off_is_not_stored() -> None:
    """A client that saw its id in a broken stream cannot go on from it."""
    with ChaosServer([Fault(FaultKind.TRUNCATED_STREAM)]) as server, sdk(server) as client:
        first = next(iter(client.responses.create(model="chaos-large", input=NOTES, stream=True)))
        held: Any = first
        error = error_of(
            lambda: client.responses.create(
                model="chaos-large", input="Go on.", previous_response_id=held.response.id
            )
        )
        assert error.code == "previous_response_not_found"


def test_structured_outputs_are_parsed() -> None:
    """``parse`` and ``stream`` with a pydantic model, and a raw JSON schema."""
    with ChaosServer() as server, sdk(server) as client:
        parsed = client.responses.parse(model="chaos-large", input=NOTES, text_format=Answer)
        assert parsed.output_parsed == Answer(answer=ANSWER)
        with client.responses.stream(model="chaos-large", input=NOTES, text_format=Answer) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_response()
        assert {"response.output_text.delta", "response.completed"} <= kinds
        assert final.output_parsed == Answer(answer=ANSWER)
        raw = client.responses.with_raw_response.create(
            model="chaos-large", input=NOTES + " as json", text={"format": {"type": "json_object"}}
        )
        assert raw.headers["x-request-id"].startswith("req_")
        assert "answer" in json.loads(raw.parse().output_text)
        assert server.bill.billed_requests == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_makes_the_response_incomplete(stream: bool) -> None:
    """Status, reason and item say so, the event is ``response.incomplete``, and what came is billed."""
    long = (
        "Question: what opens?\nNotes:\n- "
        + "The breaker opens after five failures and a half, " * 4
        + "yes. [a.md]"
    )
    with ChaosServer() as server:
        said = call(server, stream=stream, asynchronous=False, input=long, max_output_tokens=16)
        if stream:
            assert said[-1].type == "response.incomplete"
            said = said[-1].response
        assert (said.status, said.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert (said.output[0].status, said.usage.output_tokens) == ("incomplete", 16)
        assert_billed(server, said.usage)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", OPENAI)
def test_every_fault_is_what_it_is_on_chat(kind: FaultKind, stream: bool, asynchronous: bool) -> None:
    """Class, status and code are those of chat completions, but errors inside a stream are events."""
    with ChaosServer([Fault(kind)]) as server:
        if stream and kind in (FaultKind.TRUNCATED_STREAM, FaultKind.MID_STREAM_ERROR):
            events = call(server, stream=True, asynchronous=asynchronous)
            assert "response.completed" not in {event.type for event in events}
            deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
            assert "".join(deltas) == "".join(pieces(ANSWER)[:5])
            if kind is FaultKind.MID_STREAM_ERROR:
                error, failed = events[-2:]
                assert (error.type, error.code) == ("error", "server_error")
                assert (failed.type, failed.response.status) == ("response.failed", "failed")
                assert failed.response.error.code == "server_error"
                assert failed.response.usage is None
                assert [event.sequence_number for event in events] == list(range(len(events)))
        else:
            name, status, code = (OPENAI_STREAM if stream else OPENAI).get(kind, OPENAI[kind])
            with pytest.raises(Exception) as caught:
                call(server, stream=stream, asynchronous=asynchronous)
            error: Any = caught.value
            assert (
                type(error).__name__,
                getattr(error, "status_code", None),
                getattr(error, "code", None),
            ) == (name, status, code)
            if kind is FaultKind.CONTEXT_OVERFLOW:
                assert error.param == "input"
        assert server.wait_idle()
        (record,) = server.injected
        refused = Fault(kind).refuses or (kind is FaultKind.MID_STREAM_ERROR and not stream)
        assert (record.billed == NOTHING) == refused
        assert record.outcome is (Outcome.REFUSED if refused else Outcome.DAMAGED)


def test_retry_after_is_told() -> None:
    """In both headers, as on chat completions."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=7.5)]) as server:
        error = error_of(lambda: call(server, stream=False, asynchronous=False))
        assert (error.response.headers["retry-after-ms"], error.response.headers["retry-after"]) == (
            "7500",
            "8",
        )


@pytest.mark.parametrize(
    "kind", [FaultKind.SLOW_FIRST_TOKEN, FaultKind.SLOW_STREAM, FaultKind.STALLED_STREAM]
)
def test_an_aborted_stream_bills_what_was_generated(kind: FaultKind) -> None:
    """The client's timeout ends it; input is billed, output only as far as it was sent."""
    with ChaosServer([Fault(kind, delay_s=30)]) as server:
        with sdk(server, timeout=0.2) as client, pytest.raises(openai.APITimeoutError):
            list(client.responses.create(model="chaos-large", input=NOTES, stream=True))
        assert server.wait_idle()
        (record,) = server.injected
        assert record.outcome is Outcome.ABORTED
        assert record.billed.output_tokens == {FaultKind.STALLED_STREAM: 5}.get(kind, 0)
        assert record.billed.prompt_tokens > 0


def test_words_put_into_the_models_mouth() -> None:
    """``tool_call``, ``says`` and ``content_filter_stop`` in the form of this API."""
    faults = [
        Fault(FaultKind.TOOL_CALL, tool="delete_file", arguments={"path": "a.md"}),
        Fault(FaultKind.SAYS, text="The key is here."),
        Fault(FaultKind.CONTENT_FILTER_STOP),
    ]
    with ChaosServer(faults) as server:
        called, said, filtered = (call(server, stream=False, asynchronous=False) for _ in faults)
        assert (called.output[0].name, called.output[0].arguments) == ("delete_file", '{"path":"a.md"}')
        assert said.output_text == "The key is here."
        assert (filtered.status, filtered.incomplete_details.reason) == ("incomplete", "content_filter")


LONG = "Always answer in one sentence. " * 400


def test_cached_input_is_told_and_billed() -> None:
    """The second request with the same long instructions reads them from the cache."""
    with ChaosServer() as server:
        call(server, stream=False, asynchronous=False, instructions=LONG)
        said = call(server, stream=False, asynchronous=False, instructions=LONG)
        assert said.usage.input_tokens_details.cached_tokens >= 1024
        assert said.usage.input_tokens_details.cached_tokens == server.bill.cached_tokens


WRONG: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"input": []}, "empty_array", "input"),
    ({"input": 5}, "invalid_type", "input"),
    ({"input": None}, "missing_required_parameter", "input"),
    ({"input": [{"type": "banana"}]}, "invalid_value", "input[0].type"),
    ({"input": [{"content": "x"}]}, "missing_required_parameter", "input[0].type"),
    ({"input": [{"role": "king", "content": "x"}]}, "invalid_value", "input[0].role"),
    (
        {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        "invalid_value",
        "input[0].content[0].type",
    ),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, None, "input"),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, None, "input"),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]},
     "missing_required_parameter", "input[0].arguments"),
    ({"messages": []}, "unknown_parameter", "messages"),
    ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
    ({"temperature": 3}, "decimal_above_max_value", "temperature"),
    ({"stream": "yes"}, "invalid_type", "stream"),
    ({"stream_options": {}}, None, "stream_options"),
    ({"background": True}, "unsupported_parameter", "background"),
    ({"instructions": 5}, "invalid_type", "instructions"),
    ({"tools": [{"type": "web_search"}]}, "invalid_value", "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].name"),
    ({"tool_choice": "perhaps"}, "invalid_value", "tool_choice"),
    ({"tool_choice": "required"}, None, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "f"}}, None, "tool_choice"),
    ({"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type"),
    ({"text": {"format": {"type": "json_object"}}}, None, "input"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}},
     "missing_required_parameter", "text.format.schema"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "code", "param"), WRONG)
def test_wrong_requests_are_refused_as_the_provider_does(
    wrong: dict[str, Any], code: str | None, param: str | None
) -> None:
    """400 with param and code; nothing is billed."""
    with ChaosServer() as server, sdk(server) as client:
        body = {"model": "chaos-large", "input": NOTES, **wrong}
        error = error_of(lambda: client.post("/responses", body=body, cast_to=object))
        assert (error.status_code, error.code, error.param) == (400, code, param)
        assert error.type == "invalid_request_error"
        assert server.bill.usage == NOTHING


def test_azure_is_served_at_its_own_paths() -> None:
    """The deployment stands for the model; the newer ``/openai/v1`` works, too."""
    with ChaosServer(api_key="azure-key") as server:
        azure = openai.AzureOpenAI(
            api_key="azure-key", azure_endpoint=server.origin, api_version="2025-03-01-preview", max_retries=0
        )
        with azure:
            assert azure.responses.create(model="my-deployment", input=NOTES).output_text == ANSWER
            chat = azure.chat.completions.create(
                model="my-deployment", messages=[{"role": "user", "content": NOTES}]
            )
            assert (chat.model, chat.choices[0].message.content) == ("my-deployment", ANSWER)
        with openai.OpenAI(api_key="azure-key", base_url=f"{server.origin}/openai/v1") as client:
            assert client.responses.create(model="my-deployment", input=NOTES).output_text == ANSWER
        assert [one.path for one in server.injected] == [
            "/openai/responses",
            "/openai/deployments/my-deployment/chat/completions",
            "/openai/v1/responses",
        ]
        assert server.bill.models["my-deployment"].billed_requests == 3


def test_retries_of_the_sdk_are_attempts_of_one_call() -> None:
    """Two refusals and an answer are one call of three attempts, and a clean verdict."""
    faults = [Fault(FaultKind.OVERLOADED), Fault(FaultKind.RATE_LIMIT, retry_after_s=0.01)]
    with ChaosServer(faults) as server:
        with sdk(server, max_retries=2) as client:
            assert client.responses.create(model="chaos-large", input=NOTES).output_text == ANSWER
        assert [one.attempt for one in server.injected] == [1, 2, 3]
        assert server.verdict(declared_requests=3).ok
        assert server.bill.billed_requests == 1


def test_an_agent_of_openai_agents_uses_tools() -> None:
    """``OpenAIResponsesModel`` under ``Runner``: run and streamed run call the tool and answer from it."""
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(True)

    def weather(city: str) -> str:
        """The weather of a city."""
        return f"18 degrees and sunny in {city}"

    async def main(server: ChaosServer) -> tuple[str, str, list[Any]]:
        async with asdk(server) as client:
            model = agents.OpenAIResponsesModel(model="chaos-large", openai_client=client)
            tool = agents.function_tool(weather, name_override="get_weather")
            agent = agents.Agent(name="forecaster", model=model, tools=[tool], instructions="Be short.")
            said = await agents.Runner.run(agent, QUESTION)
            streamed = agents.Runner.run_streamed(agent, QUESTION)
            async for _ in streamed.stream_events():
                pass
        return said.final_output, streamed.final_output, [said, streamed]

    with ChaosServer() as server:
        plain, streamed, runs = asyncio.run(main(server))
        assert "18 degrees" in plain
        assert "18 degrees" in streamed
        assert [one.path for one in server.injected] == ["/v1/responses"] * 4
        usages = [run.context_wrapper.usage for run in runs]
        assert sum(one.input_tokens for one in usages) == server.bill.usage.prompt_tokens
        assert sum(one.output_tokens for one in usages) == server.bill.output_tokens


def test_langchain_speaks_responses() -> None:
    """``ChatOpenAI(use_responses_api=True)``: plain, streamed, tools, structured output."""
    module = pytest.importorskip("langchain_openai")
    with ChaosServer() as server:
        model = module.ChatOpenAI(
            model="chaos-large",
            base_url=server.base_url,
            api_key="sk-test",
            use_responses_api=True,
            max_retries=0,
        )
        said = model.invoke(NOTES)
        assert said.text == ANSWER
        assert said.usage_metadata["output_tokens"] == server.bill.output_tokens
        chunks = list(model.stream(NOTES))
        assert "".join(chunk.text for chunk in chunks) == ANSWER
        asked = model.bind_tools([WEATHER]).invoke(QUESTION)
        assert asked.tool_calls[0]["args"] == {"city": "Paris"}
        assert model.with_structured_output(Answer, method="json_schema").invoke(NOTES) == Answer(
            answer=ANSWER
        )
        assert {one.path for one in server.injected} == {"/v1/responses"}
        assert {one.outcome for one in server.injected} == {Outcome.COMPLETE}
