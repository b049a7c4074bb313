"""The quick reader of common answers says what the readers of shapes say, or leaves it to them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from anthropic.types import CacheCreation, Message, ParsedMessage, ServerToolUsage, Usage
from anthropic.types.beta import BetaMessage, BetaUsage
from hypothesis import given, strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ParsedChatCompletion
from openai.types.completion_usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails

from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot
from techrevati.runtime.usage.common import common
from techrevati.runtime.usage.responses import read
from tests.integration.guard_shapes import anthropic_client, endpoint, openai_client, request

ODD = st.sampled_from([None, -1, True, 2.0, 2.5, "3", 10**15])
# Mostly plain: an answer with one odd thing in it says more than one with many.
COUNT = st.integers(0, 99).flatmap(lambda n: ODD if n == 0 else st.integers(0, 60))
MAYBE = st.integers(0, 9).flatmap(lambda n: COUNT if n == 0 else st.sampled_from([0, None]))
TIERS = st.sampled_from(
    [None, None, "default", "auto", "flex", "priority", "standard", "scale", "batch", "", 3, "on_demand"]
)
MODELS = st.sampled_from([*["gpt-5-mini"] * 9, *["claude-sonnet-5"] * 9, "gemini-3-pro", "", " ", None, 7])
EXTRA = st.integers(0, 15).flatmap(lambda n: MORE if n == 0 else st.just({}))
MORE = st.dictionaries(
    st.sampled_from(["cost", "num_search_queries", "prompt_cache_hit_tokens", "reasoning_tokens", "output",
                     "usage_metadata", "provider", "x_groq", "cached_tokens", "image_tokens"]),
    st.integers(0, 9),
    max_size=2,
)  # fmt: skip


class OwnChat(ChatCompletion):
    """A program's own, that keeps among its values what it worked out."""

    @cached_property
    def output(self) -> list[dict[str, str]]:
        return [{"type": "web_search_call"}]


class OwnUsage(CompletionUsage):
    """The same of a usage."""

    @cached_property
    def cost(self) -> float:
        return 0.25


class OwnMessage(Message):
    """A message that names the tier itself."""

    service_tier: Any = None


class NoTruth:
    """As arrays of numpy are."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


@dataclass
class Record:
    """No model at all."""

    model: object
    service_tier: object
    usage: object


def with_worked_out(model: Any) -> Any:
    """The same, with what it works out on demand in it."""
    for name in ("output", "cost"):
        getattr(model, name, None)
    return model


def without(name: str) -> Callable[[Any], Any]:
    """Models of which a program removed a value."""

    def changed(model: Any) -> Any:
        model.__dict__.pop(name, None)
        return model

    return changed


def holding(name: str, value: object) -> Callable[[Any], Any]:
    """Models to whose values a program added another, beside the fields."""

    def changed(model: Any) -> Any:
        model.__dict__[name] = value
        return model

    return changed


CHANGES = st.sampled_from(
    [
        *[lambda model: model] * 30,
        with_worked_out,
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
        lambda model: model.model_copy(update={"cost": 1}),
        without("service_tier"),
        without("prompt_tokens_details"),
        holding("cost", 0.5),
        holding("service_tier", "batch"),
        holding("output", [{"type": "web_search_call"}]),
        holding("prompt_tokens", 4),
    ]
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
    fits = type(prompt) is int and type(completion) is int and draw(st.integers(0, 9)) > 0
    usage = draw(st.sampled_from([CompletionUsage, CompletionUsage, OwnUsage])).construct(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion if fits else draw(COUNT),
        prompt_tokens_details=draw(GIVEN),
        completion_tokens_details=draw(MADE),
        **draw(EXTRA),
    )
    made = {"model": draw(MODELS), "service_tier": draw(TIERS), "usage": usage, **draw(EXTRA)}
    made["usage"] = draw(CHANGES)(usage)
    kind: Any = draw(
        st.sampled_from([ChatCompletion, ParsedChatCompletion, OwnChat, SimpleNamespace, Record])
    )
    if kind is Record or kind is SimpleNamespace:
        return kind(model=made["model"], service_tier=made["service_tier"], usage=usage)
    return draw(CHANGES)(kind.construct(id="c", choices=[], **made))


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """Messages of both kinds."""
    written = filled(CacheCreation, tuple(CacheCreation.model_fields), MAYBE)
    searched = st.sampled_from([*[None] * 9, ServerToolUsage.construct(web_search_requests=2)])
    answer, kind = draw(
        st.sampled_from(
            [(Message, Usage), (BetaMessage, BetaUsage), (ParsedMessage, Usage), (OwnMessage, Usage)]
        )
    )
    usage = kind.construct(
        input_tokens=draw(COUNT),
        output_tokens=draw(COUNT),
        cache_creation=draw(written),
        cache_creation_input_tokens=draw(MAYBE),
        cache_read_input_tokens=draw(MAYBE),
        server_tool_use=draw(searched),
        service_tier=draw(TIERS),
        speed=draw(st.sampled_from([*[None] * 9, "standard", "fast"])),
        inference_geo=draw(st.sampled_from([*[None] * 9, "us", "global"])),
        **draw(EXTRA),
    )
    usage = draw(CHANGES)(usage)
    more = {"service_tier": draw(TIERS)} if answer is OwnMessage else {}
    made = answer.construct(id="m", content=[], model=draw(MODELS), usage=usage, **more, **draw(EXTRA))
    return draw(CHANGES)(made)


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


class OwnSnapshot(UsageSnapshot):
    """A program's own."""


@given(chats() | messages())
def test_a_snapshot_of_a_class_of_ones_own_says_the_same(answer: Any) -> None:
    """And is of that class."""
    try:
        found = UsageSnapshot.from_response(answer)
    except UsageNotFoundError:
        with pytest.raises(UsageNotFoundError):
            OwnSnapshot.from_response(answer)
        return
    own = OwnSnapshot.from_response(answer)
    assert (type(found), type(own)) == (UsageSnapshot, OwnSnapshot)
    assert own.to_dict() == found.to_dict() == UsageSnapshot(**read(answer)).to_dict()


def chat(
    given: dict[str, int] | None = None, made: dict[str, int] | None = None, total: int = 70, **more: Any
) -> Any:
    """A plain chat completion."""
    usage = CompletionUsage(
        prompt_tokens=50,
        completion_tokens=20,
        total_tokens=total,
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


def own_chat(usage: CompletionUsage) -> Any:
    """Chat completions with a usage of a program's own class."""
    return ChatCompletion.construct(id="c", choices=[], model="gpt-5-mini", usage=usage)


PLAIN: dict[str, Any] = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (with_worked_out(OwnChat.construct(**dict(chat()))), {"web_searches": 1}),
        (own_chat(with_worked_out(OwnUsage.construct(**PLAIN))), {"reported_cost_usd": "0.25"}),
        (OwnMessage.construct(**dict(message()), service_tier="batch"), {"tier": "batch"}),
        (own_chat(CompletionUsage.construct(**PLAIN, prompt_tokens_details=Record(1, 2, NoTruth()))), {}),
        (
            own_chat(
                CompletionUsage.construct(
                    **PLAIN, prompt_tokens_details=PromptTokensDetails.construct(text_tokens=NoTruth())
                )
            ),
            {},
        ),
    ],
)
def test_what_a_class_of_ones_own_has_more_is_read_too(answer: Any, expected: dict[str, object]) -> None:
    """By the readers of shapes."""
    found = UsageSnapshot.from_response(answer).to_dict()
    assert found.items() >= {"input_tokens": 50, "output_tokens": 20, **expected}.items()
    assert common(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        MagicMock(spec=ChatCompletion),
        MagicMock(model="m", usage=CompletionUsage.construct(**PLAIN)),
        ChatCompletion.__new__(ChatCompletion),
        chat({"cached_tokens": 3, "audio_tokens": 3}),
        chat({"cached_tokens": 3, "what_comes_next": 3}),
        chat(made={"reasoning_tokens": 21}),
        chat(made={"reasoning_tokens": 8}, total=78),
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


def test_what_clients_answer_is_read_quickly() -> None:
    """Answers as the SDKs' clients give them have an attribute or two of the SDKs' own."""
    with endpoint() as server, openai_client(server) as openai, anthropic_client(server) as anthropic:
        answers: list[Any] = [
            openai.chat.completions.create(**request()),
            openai.chat.completions.parse(**request()),
            anthropic.messages.create(**request()),
            anthropic.beta.messages.create(**request()),
        ]
    for answer in answers:
        assert common(answer) == slowly(answer) is not None
