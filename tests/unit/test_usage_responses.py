"""Usage of every API in the list, in every form it comes in, and streamed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.usage import UsageAccumulator, UsageNotFoundError, UsageSnapshot
from tests.unit.usage_payloads import ANTHROPIC, OPENAI, PAYLOADS, RESPONSES, Payload


def as_object(value: Any) -> Any:
    """A dict as SDKs show it: attributes all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(inner) for key, inner in value.items()})
    return [as_object(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_every_api_is_read_in_disjoint_parts(payload: Payload) -> None:
    """As a dict, as objects, as JSON text and bytes."""
    response, parts = payload
    wanted = UsageSnapshot(**parts)
    for form in (response, as_object(response), json.dumps(response), json.dumps(response).encode()):
        assert UsageSnapshot.from_response(form) == wanted


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_what_was_read_survives_its_own_forms(payload: Payload) -> None:
    """``to_dict`` and JSON keep every part, the cost to the last digit."""
    usage = UsageSnapshot(**payload[1])
    assert UsageSnapshot.from_dict(usage.to_dict()) == usage
    assert UsageSnapshot.from_json(usage.to_json()) == usage
    assert UsageSnapshot.from_response(usage.to_dict()) == usage
    assert UsageSnapshot.from_response(usage) == usage


def test_real_openai_types() -> None:
    """What the SDK itself makes of the payloads."""
    chat = pytest.importorskip("openai.types.chat")
    responses = pytest.importorskip("openai.types.responses")
    for kind, name, payload in (
        (chat.ChatCompletion, "openai chat", OPENAI),
        (responses.Response, "openai responses", RESPONSES),
    ):
        parsed = kind.model_validate(payload)
        wanted = UsageSnapshot(**PAYLOADS[name][1])
        assert UsageSnapshot.from_response(parsed) == wanted
        assert UsageSnapshot.from_response(parsed.model_dump()) == wanted
        assert UsageSnapshot.from_response(parsed.usage.model_dump()).input_tokens == wanted.input_tokens


def test_real_anthropic_types() -> None:
    """Optional fields that the SDK fills with None mean nothing."""
    types = pytest.importorskip("anthropic.types")
    parsed = types.Message.model_validate(ANTHROPIC)
    wanted = UsageSnapshot(**PAYLOADS["anthropic"][1])
    assert UsageSnapshot.from_response(parsed) == wanted
    assert UsageSnapshot.from_response(parsed.model_dump()) == wanted
    plain = types.Usage(input_tokens=3, output_tokens=4)
    assert UsageSnapshot.from_response(plain) == UsageSnapshot(3, 4)


def test_real_batch_and_langchain_results() -> None:
    """What holds several answers, or one in a line of its own."""
    batches = pytest.importorskip("anthropic.types.messages")
    outputs = pytest.importorskip("langchain_core.outputs")
    messages = pytest.importorskip("langchain_core.messages")
    callbacks = pytest.importorskip("langchain_core.callbacks")
    line = batches.MessageBatchIndividualResponse.model_validate(
        {"custom_id": "a", "result": {"type": "succeeded", "message": ANTHROPIC}}
    )
    wanted = UsageSnapshot(**{**PAYLOADS["anthropic"][1], "tier": "batch"})
    assert UsageSnapshot.from_response(line) == wanted

    said = {"input_tokens": 8, "output_tokens": 10, "total_tokens": 18}
    answer = messages.AIMessage("x", usage_metadata=said, response_metadata={"model_name": "gpt-4o"})
    result = outputs.LLMResult(generations=[[outputs.ChatGeneration(message=answer)]] * 2)
    assert UsageSnapshot.from_response(result) == UsageSnapshot(16, 20, model="gpt-4o")
    handler = callbacks.UsageMetadataCallbackHandler()
    handler.on_llm_end(result)
    handler.on_llm_end(result)
    found = UsageSnapshot.from_response(handler.usage_metadata)
    assert found == UsageSnapshot.from_response(handler) == UsageSnapshot(16, 20, model="gpt-4o")


@pytest.mark.parametrize("tier", ["default", "flex", "priority"])
def test_real_langchain_messages_of_openai(tier: str) -> None:
    """What its adapter makes of an answer served in a tier: cached tokens stay cached, searches count."""
    adapter = pytest.importorskip("langchain_openai")
    base = pytest.importorskip("langchain_openai.chat_models.base")
    responses = pytest.importorskip("openai.types.responses")
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5.1",
        "service_tier": tier,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}},
        ],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 600},
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
    }
    model = adapter.ChatOpenAI(model="gpt-5.1", api_key="none")
    usage = model._create_chat_result(answer).generations[0].message.usage_metadata
    served = None if tier == "default" else tier
    assert UsageSnapshot.from_response(usage) == UsageSnapshot(400, 100, 0, 600, 0, 40, tier=served)
    search = {"type": "web_search_call", "id": "1", "status": "completed", "action": {"type": "search"}}
    parsed = responses.Response.model_construct(
        **{
            **answer,
            "object": "response",
            "created_at": 1.0,
            "output": [search],
            "error": None,
            "metadata": {},
        },
    )
    parsed.usage = responses.ResponseUsage.model_validate(
        {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 0},
            "output_tokens": 100,
            "output_tokens_details": {"reasoning_tokens": 40},
            "total_tokens": 1100,
        }
    )
    parsed.output = [responses.ResponseFunctionWebSearch.model_construct(**search)]
    message = base._construct_lc_result_from_responses_api(parsed).generations[0].message
    wanted = UsageSnapshot(400, 100, 0, 600, 0, 40, web_searches=1, tier=tier, model="gpt-5.1")
    assert UsageSnapshot.from_response(message) == wanted


def test_real_gemini_says_its_tier_in_a_header() -> None:
    """Its SDK drops the tier from the body and keeps the response's headers."""
    types = pytest.importorskip("google.genai.types")
    usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=5, candidates_token_count=1)
    response = types.GenerateContentResponse(
        usage_metadata=usage,
        sdk_http_response=types.HttpResponse(headers={"x-gemini-service-tier": "flex"}),
        model_version="gemini-3-flash-preview",
    )
    wanted = UsageSnapshot(5, 1, tier="flex", model="gemini-3-flash-preview")
    assert UsageSnapshot.from_response(response) == wanted


def test_real_pydantic_ai_types() -> None:
    """Its parts are inclusive; its cost is its own estimate; a response without usage is not zero."""
    usages = pytest.importorskip("pydantic_ai.usage")
    adapter = pytest.importorskip("pydantic").TypeAdapter(usages.RequestUsage)
    usage = adapter.validate_python(
        {
            "input_tokens": 1000,
            "cache_write_tokens": 300,
            "cache_write_1h_tokens": 200,
            "cache_read_tokens": 500,
            "output_tokens": 90,
            "output_reasoning_tokens": 40,
            "cost": "0.0123",
        }
    )
    wanted = UsageSnapshot(200, 90, 100, 500, 200, 40)
    assert UsageSnapshot.from_response(usage) == dataclasses.replace(wanted, requests=1)
    assert UsageSnapshot.from_response(adapter.dump_python(usage)) == wanted
    assert UsageSnapshot.from_response(adapter.dump_json(usage)) == wanted
    with pytest.raises(UsageNotFoundError):
        UsageSnapshot.from_response(usages.RequestUsage(unmeasured_requests=1))


def test_real_interaction_types() -> None:
    """Gemini's interactions API, as google-genai parses it."""
    module = pytest.importorskip("google.genai._gaos.types.interactions.usage")
    usage = module.Usage.model_validate(
        {
            "total_input_tokens": 100,
            "input_tokens_by_modality": [
                {"modality": "text", "tokens": 70},
                {"modality": "image", "tokens": 30},
            ],
            "total_cached_tokens": 40,
            "total_output_tokens": 5,
            "total_thought_tokens": 13,
            "total_tool_use_tokens": 2,
            "grounding_tool_count": [
                {"type": "google_search", "count": 1},
                {"type": "google_maps", "count": 4},
            ],
        }
    )
    wanted = UsageSnapshot(32, 18, 0, 40, 0, 13, 0, 0, 30, web_searches=1)
    assert UsageSnapshot.from_response(usage) == wanted
    assert UsageSnapshot.from_response(usage.model_dump()) == wanted


def test_a_method_that_gives_usage_is_asked() -> None:
    """As pydantic-ai's results have it."""

    class Result:
        def usage(self) -> object:
            return SimpleNamespace(input_tokens=5, output_tokens=2, cache_read_tokens=3, details={})

    assert UsageSnapshot.from_response(Result()) == UsageSnapshot(2, 2, 0, 3)


# --- streams -----------------------------------------------------------------------------------------------


def chat_chunk(
    usage: object = None, finish: str | None = None, empty: bool = False, **more: Any
) -> dict[str, Any]:
    choices = [] if empty else [{"index": 0, "delta": {"content": "x"}, "finish_reason": finish}]
    return {"object": "chat.completion.chunk", "model": "m", "choices": choices, "usage": usage, **more}


def use(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


START = {
    "type": "message_start",
    "message": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 25,
            "output_tokens": 1,
            "cache_creation_input_tokens": 70,
            "cache_read_input_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 40},
            "service_tier": "standard",
        },
    },
}
DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {
        "input_tokens": 27,
        "output_tokens": 90,
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": None,
        "server_tool_use": {"web_search_requests": 1},
    },
}

STREAMS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "openai chat": (
        [chat_chunk(), chat_chunk(finish="stop"), chat_chunk(use(9, 3), empty=True)],
        {"input_tokens": 9, "output_tokens": 3, "model": "m"},
    ),
    "cumulative chat": (
        [chat_chunk(use(9, 1)), chat_chunk(use(9, 2)), chat_chunk(use(9, 3), finish="stop")],
        {"input_tokens": 9, "output_tokens": 3, "model": "m"},
    ),
    "groq": (
        [chat_chunk(), chat_chunk(finish="stop", x_groq={"id": "r", "usage": use(4, 2)})],
        {"input_tokens": 4, "output_tokens": 2, "model": "m"},
    ),
    "moonshot": (
        [
            chat_chunk(),
            {
                "model": "m",
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": use(4, 2)}],
            },
        ],
        {"input_tokens": 4, "output_tokens": 2, "model": "m"},
    ),
    "openai responses": (
        [
            {"type": "response.created", "response": {**RESPONSES, "usage": None, "metadata": {}}},
            {"type": "response.output_text.delta", "delta": "Hi"},
            {"type": "response.incomplete", "response": RESPONSES},
        ],
        PAYLOADS["openai responses"][1],
    ),
    "openai-agents": (
        [{"type": "raw_response_event", "data": {"type": "response.completed", "response": RESPONSES}}],
        PAYLOADS["openai responses"][1],
    ),
    "anthropic": (
        [
            START,
            {"type": "ping"},
            {"type": "content_block_delta", "delta": {"text": "x"}},
            DELTA,
            {"type": "message_stop"},
        ],
        {
            "input_tokens": 27,
            "output_tokens": 90,
            "cache_write_tokens": 30,
            "cache_write_1h_tokens": 40,
            "cache_read_tokens": 5,
            "web_searches": 1,
            "tier": "standard",
            "model": "claude-opus-5",
        },
    ),
    "bedrock invoke": (
        [
            {"chunk": {"bytes": json.dumps(event).encode()}}
            for event in (START, DELTA, {"type": "message_stop"})
        ],
        {
            "input_tokens": 27,
            "output_tokens": 90,
            "cache_write_tokens": 30,
            "cache_write_1h_tokens": 40,
            "cache_read_tokens": 5,
            "web_searches": 1,
            "tier": "standard",
            "model": "claude-opus-5",
        },
    ),
    "gemini": (
        [
            {
                "candidates": [{"content": {"parts": [{"text": "x"}]}}],
                "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
            },
            {
                "candidates": [{"content": {"parts": [{"text": "y"}]}, "finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 8,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 2,
                    "totalTokenCount": 15,
                },
            },
        ],
        {"input_tokens": 8, "output_tokens": 7, "reasoning_tokens": 2},
    ),
    "bedrock converse": (
        [
            {"contentBlockDelta": {"delta": {"text": "x"}}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {}}},
        ],
        {"input_tokens": 3, "output_tokens": 2},
    ),
    "cohere v2": (
        [
            {"type": "content-delta", "delta": {"message": {"content": {"text": "x"}}}},
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {"billed_units": {"input_tokens": 3.0, "output_tokens": 2.0}},
                },
            },
        ],
        {"input_tokens": 3, "output_tokens": 2},
    ),
    "ollama": (
        [
            {"message": {"content": "x"}, "done": False},
            {"done": True, "prompt_eval_count": 3, "eval_count": 2},
        ],
        {"input_tokens": 3, "output_tokens": 2},
    ),
    "langchain": (
        [
            {
                "type": "AIMessageChunk",
                "usage_metadata": {
                    "input_tokens": 30,
                    "output_tokens": 1,
                    "input_token_details": {"cache_read": 5},
                },
                "response_metadata": {"model_name": "claude-opus-5"},
            },
            {"type": "AIMessageChunk", "usage_metadata": None, "response_metadata": {}},
            {
                "type": "AIMessageChunk",
                "usage_metadata": {"input_tokens": 0, "output_tokens": 40},
                "response_metadata": {"stop_reason": "end_turn"},
            },
        ],
        {"input_tokens": 25, "output_tokens": 41, "cache_read_tokens": 5, "model": "claude-opus-5"},
    ),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("form", ["dict", "object", "json", "sse"])
def test_every_stream_ends_with_its_usage(stream: tuple[list[Any], dict[str, Any]], form: str) -> None:
    """Partial before the end, complete after it, and never added up where providers repeat themselves."""
    events, parts = stream
    shown = {
        "dict": lambda event: event,
        "object": as_object,
        "json": json.dumps,
        "sse": lambda event: f"event: e\ndata: {json.dumps(event)}\n\n",
    }[form]
    if form in ("json", "sse") and isinstance(events[0].get("chunk"), dict):
        pytest.skip("events of a binary stream")
    usage = UsageAccumulator()
    for event in events[:-1]:
        usage.add(shown(event))
    if "message_stop" not in str(events[-1]):  # which says nothing more
        assert not usage.complete
    usage.snapshot()
    usage.add(shown(events[-1]))
    usage.add("data: [DONE]\n\n")
    assert usage.complete
    assert usage.snapshot() == UsageSnapshot(**parts)


def test_a_stream_cut_off_is_partial() -> None:
    """What Anthropic said at the start is known; that it is not all is known too."""
    usage = UsageAccumulator()
    usage.add(START)
    assert not usage.complete
    assert usage.snapshot().cache_write_1h_tokens == 40
    assert usage.snapshot().output_tokens == 1
    silent = UsageAccumulator()
    for _ in range(3):
        silent.add(chat_chunk())
    silent.add(chat_chunk(finish="stop"))
    assert not silent.complete
    assert silent.snapshot() == UsageSnapshot()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *(
                            "usage",
                            "usage_metadata",
                            "usageMetadata",
                            "type",
                            "message",
                            "delta",
                            "response",
                            "data",
                        ),
                        *(
                            "prompt_tokens",
                            "completion_tokens",
                            "input_tokens",
                            "output_tokens",
                            "choices",
                            "chunk",
                        ),
                        *(
                            "promptTokenCount",
                            "inputTokens",
                            "outputTokens",
                            "cache_creation",
                            "iterations",
                            "cost",
                        ),
                        *(
                            "message_start",
                            "input_tokens_details",
                            "cached_tokens",
                            "metadata",
                            "bytes",
                            "details",
                        ),
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_event_is_refused_and_no_response_crashes(event: Any) -> None:
    """Whatever comes: an accumulator takes it, and a reader reads it or says that it cannot."""
    usage = UsageAccumulator()
    usage.add(event)
    assert dataclasses.is_dataclass(usage.snapshot())
    with contextlib.suppress(UsageNotFoundError):
        UsageSnapshot.from_response(event)


ODD = (2.0, -3, 0.5, True, None, "12", float("nan"))


def spoilt(value: Any, draw: Any) -> Any:
    """A payload with other numbers, some of which are none."""
    if isinstance(value, dict):
        return {key: spoilt(inner, draw) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoilt(each, draw) for each in value]
    if isinstance(value, (int, float)):
        return draw(st.sampled_from((0, 7, 10**6)) | st.sampled_from((value, *ODD)))
    return value


@given(st.sampled_from(list(PAYLOADS.values())), st.data())
def test_what_is_read_always_fits(payload: Payload, data: st.DataObject) -> None:
    """Readers give whole counts, and parts that are within their wholes: the constructor refuses nothing."""
    with contextlib.suppress(UsageNotFoundError):
        found = UsageSnapshot.from_response(spoilt(payload[0], data.draw))
        fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        assert UsageSnapshot(**fields) == found
        for name, value in fields.items():
            wanted = UsageSnapshot.__annotations__[name]
            assert type(value) is int if wanted == "int" else value is None or type(value).__name__ in wanted


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0}, UsageSnapshot(model="c")),
        ({"input_tokens": None, "output_tokens": 7}, UsageSnapshot(10, 7, 0, 50, model="c")),
        ({"output_tokens": 7}, UsageSnapshot(10, 7, 0, 50, model="c")),
    ],
)
def test_the_newest_word_of_an_anthropic_stream_counts(
    delta: dict[str, Any], expected: UsageSnapshot
) -> None:
    """Cumulative: a 0 is a word, silence is none."""
    started = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 50}
    seen = UsageAccumulator()
    seen.add({"type": "message_start", "message": {"model": "c", "usage": started}})
    assert not seen.complete
    seen.add({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": delta})
    assert seen.complete
    assert seen.snapshot() == expected


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085"])
@pytest.mark.parametrize("form", ["text", "bytes", "crlf"])
def test_an_answer_with_other_ends_of_lines_is_one_event(end: str, form: str) -> None:
    """Events end in a line feed or a carriage return; JSON need not escape the others."""
    response = {
        "type": "response.completed",
        "response": {
            "model": "gpt-5",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": f"one{end}two"}]}],
            "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 4},
        },
    }
    newline = "\r\n" if form == "crlf" else "\n"
    event = f"event: response.completed{newline}data: {json.dumps(response, ensure_ascii=False)}{newline * 2}"
    usage = UsageAccumulator()
    usage.add(event.encode() if form == "bytes" else event)
    assert usage.complete
    assert usage.snapshot() == UsageSnapshot(9, 4, model="gpt-5")


def test_text_nested_beyond_all_reason_is_no_usage() -> None:
    """It is passed over in a stream, and refused as a response."""
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    usage = UsageAccumulator()
    for event in (deep, f"data: {deep}", f"{deep}\n", deep.encode()):
        usage.add(event)
    assert not usage.complete
    for text in (deep, deep.encode(), "[" * 100_000):
        with pytest.raises(UsageNotFoundError):
            UsageSnapshot.from_response(text)


def test_an_anthropic_stream_without_its_input_is_not_complete() -> None:
    """Its start was lost: what the prompt used is not known, and that is not zero."""
    usage = UsageAccumulator()
    usage.add({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20}})
    usage.add({"type": "message_stop"})
    assert not usage.complete
