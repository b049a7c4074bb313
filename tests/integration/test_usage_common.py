"""The quick reader of common answers says what the readers of shapes say, or leaves it to them."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import CacheCreation, Message, ServerToolUsage, Usage
from anthropic.types.beta import BetaMessage, BetaUsage
from hypothesis import given, strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.completion_usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails

from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot
from techrevati.runtime.usage.common import common
from techrevati.runtime.usage.responses import read

ODD = st.sampled_from([None, -1, True, 2.0, 2.5, "3", 10**15])
COUNT = st.integers(0, 60) | ODD
MAYBE = st.just(0) | st.none() | COUNT
TIERS = st.none() | st.sampled_from(
    ["default", "auto", "flex", "priority", "standard", "scale", "batch", "", 3, "on_demand"]
)
MODELS = st.sampled_from(["gpt-5-mini", "claude-sonnet-5", "gemini-3-pro", "", " ", None, 7])
EXTRA = st.just({}) | st.dictionaries(
    st.sampled_from(["cost", "num_search_queries", "prompt_cache_hit_tokens", "reasoning_tokens", "output",
                     "usage_metadata", "provider", "x_groq", "cached_tokens", "image_tokens"]),
    st.integers(0, 9),
    max_size=2,
)  # fmt: skip


def filled(kind: Any, names: tuple[str, ...], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An instance of a model of an SDK, made without a check, as the SDKs make them; or none."""
    made = st.tuples(st.fixed_dictionaries({}, optional=dict.fromkeys(names, values)), EXTRA)
    return st.none() | made.map(lambda said: kind.construct(**{**said[0], **said[1]}))


GIVEN = filled(PromptTokensDetails, tuple(PromptTokensDetails.model_fields), MAYBE)
MADE = filled(CompletionTokensDetails, tuple(CompletionTokensDetails.model_fields), MAYBE)


@st.composite
def chats(draw: st.DrawFn) -> Any:
    """Chat completions, of which many are plain."""
    prompt, completion = draw(COUNT), draw(COUNT)
    fits = type(prompt) is int and type(completion) is int and draw(st.booleans())
    usage = CompletionUsage.construct(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion if fits else draw(COUNT),
        prompt_tokens_details=draw(GIVEN),
        completion_tokens_details=draw(MADE),
        **draw(EXTRA),
    )
    made = {"model": draw(MODELS), "service_tier": draw(TIERS), "usage": usage, **draw(EXTRA)}
    return ChatCompletion.construct(id="c", choices=[], **made)


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """Messages of both kinds."""
    written = filled(CacheCreation, tuple(CacheCreation.model_fields), MAYBE)
    searched = st.none() | st.just(ServerToolUsage.construct(web_search_requests=2))
    answer, kind = draw(st.sampled_from([(Message, Usage), (BetaMessage, BetaUsage)]))
    usage = kind.construct(
        input_tokens=draw(COUNT),
        output_tokens=draw(COUNT),
        cache_creation=draw(written),
        cache_creation_input_tokens=draw(MAYBE),
        cache_read_input_tokens=draw(MAYBE),
        server_tool_use=draw(searched),
        service_tier=draw(TIERS),
        speed=draw(st.none() | st.sampled_from(["standard", "fast"])),
        inference_geo=draw(st.none() | st.sampled_from(["us", "global"])),
        **draw(EXTRA),
    )
    return answer.construct(id="m", content=[], model=draw(MODELS), usage=usage, **draw(EXTRA))


def slowly(answer: object) -> UsageSnapshot | None:
    """What the readers of shapes say."""
    try:
        fields: dict[str, Any] = read(answer)
    except UsageNotFoundError:
        return None
    return UsageSnapshot(**fields)


@given(chats() | messages())
def test_the_quick_reader_agrees_with_the_readers_of_shapes(answer: Any) -> None:
    """On whatever it reads; what it does not read is theirs."""
    found = common(answer)
    assert found is None or found == slowly(answer)


def chat(given: dict[str, int] | None = None, made: dict[str, int] | None = None, **more: Any) -> Any:
    """A plain chat completion."""
    usage = CompletionUsage(
        prompt_tokens=50,
        completion_tokens=20,
        total_tokens=70,
        prompt_tokens_details=None if given is None else PromptTokensDetails(**given),
        completion_tokens_details=None if made is None else CompletionTokensDetails(**made),
    )
    return ChatCompletion.construct(id="c", choices=[], model="gpt-5-mini", usage=usage, **more)


def message(**more: Any) -> Any:
    """A plain message."""
    usage = Usage(input_tokens=50, output_tokens=20, **more)
    return Message.construct(id="m", content=[], model="claude-sonnet-5", usage=usage)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (chat(), (50, 20, 0, 0, None)),
        (chat({"cached_tokens": 0, "audio_tokens": 0}, {"reasoning_tokens": 0}), (50, 20, 0, 0, None)),
        (chat({"cached_tokens": 30}, {"reasoning_tokens": 8}), (20, 20, 30, 8, None)),
        (chat(service_tier="default"), (50, 20, 0, 0, "default")),
        (message(service_tier="standard"), (50, 20, 0, 0, "standard")),
        (message(cache_read_input_tokens=9, cache_creation_input_tokens=0), (50, 20, 9, 0, None)),
        (
            message(cache_creation=CacheCreation(ephemeral_1h_input_tokens=0, ephemeral_5m_input_tokens=0)),
            (50, 20, 0, 0, None),
        ),
    ],
)
def test_common_answers_are_read_quickly(answer: Any, expected: tuple[object, ...]) -> None:
    """What almost every call gets is among them."""
    found = common(answer)
    assert found is not None
    assert (
        found.input_tokens,
        found.output_tokens,
        found.cache_read_tokens,
        found.reasoning_tokens,
        found.tier,
    ) == expected
    assert found == slowly(answer) == UsageSnapshot.from_response(answer)


@pytest.mark.parametrize(
    "answer",
    [
        chat({"cached_tokens": 3, "audio_tokens": 3}),
        chat(made={"audio_tokens": 3}),
        chat(usage_metadata={"a": 1}),
        message(cache_creation_input_tokens=4),
        message(service_tier="batch"),
        message(server_tool_use=ServerToolUsage(web_search_requests=1, web_fetch_requests=0)),
        CreateEmbeddingResponse.construct(model="e", data=[], usage=None),
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}, "model": "m"},
        None,
        "text",
    ],
)
def test_what_has_more_to_say_is_left_to_the_readers_of_shapes(answer: object) -> None:
    """Audio, what was written to a cache, tiers that have prices, searches, and whatever is no model."""
    assert common(answer) is None
