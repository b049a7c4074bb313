"""Usage: whole counts, read from every provider's shape, never guessed."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

COUNTS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
tokens = st.integers(0, 10**12)
snapshots = st.builds(UsageSnapshot, tokens, tokens, tokens, tokens)


# --- counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-1, ValueError),
        (1.5, TypeError),
        (float("nan"), (TypeError, ValueError)),
        (float("inf"), (TypeError, ValueError)),
        ("7", TypeError),
        (None, TypeError),
        (True, TypeError),
        ([1], TypeError),
    ],
)
def test_counts_are_whole_and_not_negative(
    name: str, value: Any, kind: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """Anything else is refused at once, with the argument's name and value."""
    with pytest.raises(kind, match=name) as caught:
        UsageSnapshot(**{name: value})
    assert repr(value) in str(caught.value)
    with pytest.raises(kind, match=name):
        UsageSnapshot.from_dict({name: value})


@pytest.mark.parametrize("name", COUNTS)
def test_integral_floats_are_converted(name: str) -> None:
    """As JSON of some providers has them."""
    value = getattr(UsageSnapshot(**{name: 7.0}), name)  # type: ignore[arg-type]
    assert value == 7
    assert type(value) is int


@given(snapshots, snapshots, snapshots)
def test_adding_is_field_by_field(a: UsageSnapshot, b: UsageSnapshot, c: UsageSnapshot) -> None:
    """Exact, in any order, with nothing as the neutral element."""
    total = a + b
    for name in COUNTS:
        assert getattr(total, name) == getattr(a, name) + getattr(b, name)
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + UsageSnapshot() == a


@given(snapshots)
def test_snapshots_survive_every_form(usage: UsageSnapshot) -> None:
    """Dict, JSON, pickle; equal ones hash alike."""
    forms = (
        UsageSnapshot.from_dict(usage.to_dict()),
        UsageSnapshot.from_json(usage.to_json()),
        UsageSnapshot.from_json(usage.to_json().encode()),
        pickle.loads(pickle.dumps(usage)),  # noqa: S301
        UsageSnapshot.from_response(usage),
        UsageSnapshot.from_response(usage.to_dict()),
    )
    assert all(form == usage and hash(form) == hash(usage) for form in forms)


def test_reading_ignores_what_it_does_not_know() -> None:
    """Absent counts are 0, unknown keys nothing."""
    assert UsageSnapshot.from_dict({"output_tokens": 3, "colour": 7}) == UsageSnapshot(0, 3)
    assert UsageSnapshot.from_json("{}") == UsageSnapshot()


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{"])
def test_text_that_is_no_object_is_a_value_error(text: str) -> None:
    """Not JSON, or JSON that is no object."""
    with pytest.raises(ValueError):
        UsageSnapshot.from_json(text)


# --- responses ---------------------------------------------------------------------------------------------


def as_object(value: Any) -> Any:
    """A dict as SDKs show it: attributes all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(inner) for key, inner in value.items()})
    return value


RESPONSES = {
    "openai chat": (
        {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}},
        UsageSnapshot(100, 20),
    ),
    "openai chat, cached": (
        {
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 12},
            }
        },
        UsageSnapshot(20, 20, 0, 80, reasoning_tokens=12),
    ),
    "openai embeddings": ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, UsageSnapshot(8, 0)),
    "openai responses": (
        {
            "usage": {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 12},
                "total_tokens": 120,
            }
        },
        UsageSnapshot(40, 20, 0, 60, reasoning_tokens=12),
    ),
    "anthropic": (
        {
            "usage": {
                "input_tokens": 10,
                "output_tokens": 20,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 40,
            }
        },
        UsageSnapshot(10, 20, 30, 40),
    ),
    "anthropic, nothing cached": (
        {
            "usage": {
                "input_tokens": 10,
                "output_tokens": 20,
                "cache_creation_input_tokens": None,
                "cache_read_input_tokens": None,
            }
        },
        UsageSnapshot(10, 20),
    ),
    "gemini": (
        {
            "usage_metadata": {
                "prompt_token_count": 100,
                "candidates_token_count": 20,
                "thoughts_token_count": 5,
                "cached_content_token_count": 60,
                "total_token_count": 125,
            }
        },
        UsageSnapshot(40, 25, 0, 60, reasoning_tokens=5),
    ),
    "gemini rest": (
        {"usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}},
        UsageSnapshot(100, 20),
    ),
    "bedrock": (
        {
            "usage": {
                "inputTokens": 10,
                "outputTokens": 20,
                "totalTokens": 30,
                "cacheReadInputTokens": 40,
                "cacheWriteInputTokens": 50,
            }
        },
        UsageSnapshot(10, 20, 50, 40),
    ),
    "zeros": ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, UsageSnapshot()),
    "floats": ({"usage": {"prompt_tokens": 5.0, "completion_tokens": 2.0}}, UsageSnapshot(5, 2)),
}


@pytest.mark.parametrize(("response", "usage"), RESPONSES.values(), ids=RESPONSES)
def test_responses_are_read_by_their_shape(response: dict[str, Any], usage: UsageSnapshot) -> None:
    """As dict, as object, as JSON text or bytes, and the bare usage object of each."""
    (bare,) = response.values()
    for form in (response, as_object(response), json.dumps(response), json.dumps(response).encode()):
        assert UsageSnapshot.from_response(form) == usage
    assert UsageSnapshot.from_response(bare) == usage
    assert UsageSnapshot.from_response(as_object(bare)) == usage


class Raising:
    @property
    def usage(self) -> object:
        raise RuntimeError("stream not read")


@pytest.mark.parametrize(
    "response",
    [
        None,
        "plain text",
        "",
        b"\xff\xfe",
        "[]",
        "7",
        7,
        object(),
        {},
        [],
        ("answer", {"prompt_tokens": 1}),
        {"usage": None},
        {"usage": {}},
        {"usage": 7},
        {"usage": {"total_tokens": 100}},
        {"usage": {"input_tokens": 5}},
        {"usage": {"prompt_tokens": -5, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": True, "completion_tokens": True}},
        {"usage": {"prompt_tokens": "5", "completion_tokens": "1"}},
        {"usage": {"prompt_tokens": 5.5, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": float("nan"), "completion_tokens": 1}},
        MagicMock(),
        Raising(),
    ],
)
def test_nothing_recognisable_is_never_zero(response: object) -> None:
    """An error of ours that is also a ValueError says what was looked at."""
    with pytest.raises(UsageNotFoundError) as caught:
        UsageSnapshot.from_response(response)
    assert isinstance(caught.value, ValueError)
    assert caught.value.seen
    assert caught.value.seen in str(caught.value)


def test_of_a_mock_only_what_was_set_counts() -> None:
    """It would answer any question with another mock, without end."""
    mocked = MagicMock()
    mocked.choices[0].message.content = "Hi"
    with pytest.raises(UsageNotFoundError, match=r"MagicMock with choices$"):
        UsageSnapshot.from_response(mocked)
    mocked.model = "gpt-5-mini"
    mocked.usage.prompt_tokens = 11
    mocked.usage.completion_tokens = 7
    mocked.usage.prompt_tokens_details.cached_tokens = 4
    read = UsageSnapshot.from_response(mocked)
    assert (read.model, read.input_tokens, read.cache_read_tokens, read.output_tokens) == (
        "gpt-5-mini",
        7,
        4,
        7,
    )
    assert UsageSnapshot.from_response(Mock(usage=Mock(input_tokens=3, output_tokens=2))).output_tokens == 2


def test_an_object_that_answers_everything_is_not_asked_for_ever() -> None:
    """A recorder that makes up what it is asked for."""

    class Anything:
        asked = 0

        def __getattr__(self, name: str) -> Anything:
            if name.startswith("__"):
                raise AttributeError(name)
            Anything.asked += 1
            return Anything()

    with pytest.raises(UsageNotFoundError):
        UsageSnapshot.from_response(Anything())
    assert Anything.asked < 10


def test_the_error_does_not_quote_the_answer() -> None:
    """An unreadable response may hold anything; only its type and the names in it are shown."""
    for response in ('{"answer": "the secret plan"', {"answer": "the secret plan"}, "the secret plan"):
        with pytest.raises(UsageNotFoundError) as caught:
            UsageSnapshot.from_response(response)
        assert "secret plan" not in str(caught.value)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_no_count_is_ever_negative(prompt: int, completion: int, cached: int) -> None:
    """Also when a provider says more was cached than sent; otherwise nothing is counted twice or lost."""
    usage = UsageSnapshot.from_response(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
    )
    assert min(usage.to_dict().values()) >= 0
    assert usage.output_tokens == completion
    assert usage.cache_read_tokens == cached
    if cached <= prompt:
        assert usage.input_tokens + usage.cache_read_tokens == prompt


def test_subclasses_read_themselves() -> None:
    """The readers give what they were called on."""

    class Mine(UsageSnapshot):
        pass

    assert type(Mine.from_dict({})) is Mine
    assert type(Mine.from_response({"prompt_tokens": 1, "completion_tokens": 1})) is Mine
