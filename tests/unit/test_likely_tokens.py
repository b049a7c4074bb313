"""About how many tokens: texts by a rule, requests by their texts; never more than the upper bound."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime._core.likely_tokens import likely_tokens
from techrevati.runtime.budgets import estimate_input_tokens
from techrevati.runtime.budgets.estimate import estimate_of_texts
from techrevati.runtime.chaos import count_tokens
from techrevati.runtime.integrations.likely_input import likely_input_tokens
from techrevati.runtime.integrations.model_request import read_request

WORDS = "The breaker opens after five failures, then it waits."


# --- texts ----------------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    """As with every tokenizer that is in use."""
    assert bool(text) <= likely_tokens(text) <= len(text.encode("utf-8", "surrogatepass"))


@given(st.text(st.characters(max_codepoint=0xFFFF), max_size=64))
def test_ordinary_text_counts_as_the_chaos_endpoint_counts(text: str) -> None:
    """So that a call that ends early costs on the books what it costs there."""
    assert likely_tokens(text) == count_tokens(text)


@given(st.lists(st.text("abc 12.", max_size=9), max_size=6))
def test_parts_never_count_less_than_their_whole(parts: list[str]) -> None:
    """A stream's pieces are counted one by one."""
    assert sum(map(likely_tokens, parts)) >= likely_tokens("".join(parts))


def test_data_is_more_than_words() -> None:
    """Base64 has a token for every character and a half or so, a long identifier of words has not."""
    data = base64.b64encode(random.Random(1).randbytes(3_000)).decode()
    assert 0.6 * len(data) < likely_tokens(data) < 0.8 * len(data)
    name = "a_name_of_many_words_" * 9
    assert likely_tokens(name) == count_tokens(name)


def test_an_emoji_is_two() -> None:
    """Of the tokenizers that are known it is one to three."""
    assert likely_tokens("\N{PARTY POPPER}" * 10) == 20


@pytest.mark.parametrize("text", ["\n " * 200_000 + "x", "a" * 1_000_000, "a1" * 400_000, " " * 1_000_000])
def test_long_texts_take_their_length_and_not_its_square(text: str) -> None:
    """A hundred times of what they take would be allowed; their square would be hours."""
    began = time.process_time()
    likely_tokens(text)
    assert time.process_time() - began < 10


# --- requests -------------------------------------------------------------------------------------------


def body(content: object, **more: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def likely(request: object, **more: Any) -> int:
    return likely_input_tokens(request, is_body=True, **more)


CALL = {"id": "c", "type": "function", "function": {"name": "read", "arguments": '{"path": "a.md"}'}}
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
FUNCTION = {"name": "read", "description": "Read a file.", "parameters": SCHEMA}
TOOL = count_tokens("read") + count_tokens("Read a file.") + count_tokens(json.dumps(SCHEMA))
CALLED = count_tokens("read") + count_tokens('{"path":"a.md"}')
N = count_tokens(WORDS)
READ = {"type": "function_call", "call_id": "c", "name": "read", "arguments": '{"path":"a.md"}'}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAB" * 200}


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        (body(WORDS), 3 + 4 + N),
        (body([{"type": "text", "text": WORDS}, {"type": "text", "text": WORDS}]), 3 + 4 + 2 * N),
        (body([{"type": "input_text", "text": WORDS}]), 3 + 4 + N),
        (body(WORDS, system=WORDS), 3 + 4 + N + 4 + N),
        (body(WORDS, system=[{"type": "text", "text": WORDS}]), 3 + 4 + N + 4 + N),
        (body(WORDS, system=""), 3 + 4 + N),
        ({"input": WORDS, "instructions": WORDS}, 3 + 4 + N + 4 + N),
        ({"prompt": WORDS}, 3 + 4 + N),
        ({"prompt": [1, 2, 3]}, 3 + 3),
        (body(WORDS, tools=[{"type": "function", "function": FUNCTION}]), 3 + 4 + N + TOOL),
        (body(WORDS, tools=[{"type": "function", **FUNCTION}]), 3 + 4 + N + TOOL),
        (body(WORDS, tools=[{"name": "read", "description": "Read a file.", "input_schema": SCHEMA}]),
         3 + 4 + N + TOOL),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}, 3 + 4 + CALLED),
        ({"input": [{"type": "function_call", "name": "read", "arguments": '{"path":"a.md"}'}] * 2},
         3 + 4 + 2 * CALLED),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": WORDS}]}, 3 + 4 + N),
        (body([{"type": "tool_use", "id": "t", "name": "read", "input": {"path": "a.md"}}]), 3 + 4 + CALLED),
        (body([{"type": "tool_result", "tool_use_id": "t", "content": WORDS}] * 2), 3 + 2 * (4 + N)),
        (body([{"type": "tool_result", "content": [{"type": "text", "text": WORDS}]},
               {"type": "text", "text": WORDS}]), 3 + 4 + N + 4 + N),
        (body([{"type": "thinking", "thinking": WORDS, "signature": "c2ln"}]), 3 + 4 + N),
        (body(WORDS, stream_options={"include_usage": True}, metadata={"a": WORDS}), 3 + 4 + N),
        (body(WORDS, response_format={"type": "json_object"}), 3 + 4 + N),
        (body(WORDS, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}),
         3 + 4 + N + count_tokens(json.dumps(SCHEMA))),
        (body(WORDS, text={"format": {"type": "json_schema", "schema": SCHEMA}}),
         3 + 4 + N + count_tokens(json.dumps(SCHEMA))),
        (body([{"type": "text", "text": f"{WORDS} "}, {"type": "text", "text": "\n "},
               {"type": "text", "text": WORDS}]), 3 + 4 + 2 * N),
        ({"input": [{"role": "assistant", "content": WORDS}, THOUGHT, READ, THOUGHT, READ]},
         3 + 4 + N + 2 * CALLED),
    ],
)  # fmt: skip
def test_a_request_is_its_texts_and_its_messages(request_body: dict[str, object], expected: int) -> None:
    """Four tokens for a message, three for the answer that it opens, and what is written."""
    assert likely(request_body) == expected


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA" * 9}},
        {"type": "document", "source": {"type": "text", "data": WORDS}},
        {"type": "input_audio", "input_audio": {"data": "AAAA" * 99, "format": "wav"}},
        {"type": "what comes next", "payload": WORDS},
    ],
)
def test_what_is_no_text_keeps_its_bound(part: dict[str, object]) -> None:
    """Nobody knows it better."""
    assert likely(body([part])) == 3 + 4 + estimate_input_tokens(part) - estimate_input_tokens("")


@pytest.mark.parametrize("given", [WORDS, [WORDS], [[1, 2, 3]], [1, 2, 3]])
def test_embeddings_are_their_input(given: object) -> None:
    """Without envelopes; tokens are counted already."""
    expected = N if given in (WORDS, [WORDS]) else 3
    assert likely({"model": "e", "input": given}, embeddings=True) == expected


def test_what_is_no_request_is_counted_whole() -> None:
    """The arguments of a function, the messages of a framework: every text and every name."""

    class Message:
        def model_dump(self) -> dict[str, object]:
            return {"content": WORDS}

    found = likely_input_tokens(
        {"question": WORDS, "history": [Message()], "temperature": 0.5}, is_body=False
    )
    assert 2 * N < found < 2 * N + 30


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "type", "content", "text", "input", "messages", "tools", "name",
                             "function", "arguments", "tool_calls", "output", "format", "schema", "x"]),
            inner | st.sampled_from(["text", "tool_use", "tool_result", "function_call", "image"]),
            max_size=5,
        )
    ),
    max_leaves=25,
)  # fmt: skip


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "r\N{LATIN SMALL LETTER O WITH DIAERESIS}le"])},
        optional={"content": st.text(max_size=20) | JSON, "type": st.just("message"), "name": st.text()},
    )
    | JSON,
    max_size=4,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["messages", "input", "model", "max_tokens", "tools", "format", "type", "\N{EURO SIGN}"]
        ),
        MESSAGES | JSON,
        max_size=5,
    ),
    st.sampled_from(["messages", "input"]),
)
def test_plain_requests_have_the_same_bound_in_one_pass(request_body: dict[str, Any], texts: str) -> None:
    """What the quick count does not know it leaves to the walk."""
    found = estimate_of_texts(request_body, texts)
    assert found is None or found == estimate_input_tokens(request_body)


def test_requests_of_texts_are_counted_in_one_pass() -> None:
    """As almost all are."""
    request_body = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "h\N{EURO SIGN}llo"}] * 3,
    }
    assert estimate_of_texts(request_body, "messages") == estimate_input_tokens(request_body)
    short = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    assert estimate_of_texts(short, "messages") == estimate_input_tokens(short)
    said = {"model": "m", "input": "h\N{EURO SIGN}llo", "stream": True}
    assert estimate_of_texts(said, "input") == estimate_input_tokens(said)
    assert estimate_of_texts(body([{"type": "text", "text": "a"}]), "messages") is None


@given(JSON, st.sampled_from(["chat.completions", "responses", "messages", "embeddings", "completions"]))
def test_any_request_has_a_likely_count_within_its_bound(content: object, api: str) -> None:
    """Rubbish, too: it is the provider's affair, and must not keep a call from the books."""
    made = content if isinstance(content, dict) else {"messages": content, "input": content}
    request = read_request(api, made, provider="p", shape="s", price_provider=None, credential_id="")
    assert 0 <= request.likely_input_tokens <= request.input_tokens


def test_what_cannot_be_counted_keeps_its_bound() -> None:
    """A request that holds itself is no JSON, and the SDK refuses it; asking for a count does not raise."""
    bad = body(WORDS, tools=[{"name": "read", "input_schema": {(1, 2): 3}}])
    request = read_request("messages", bad, provider="p", shape="s", price_provider=None, credential_id="")
    assert request.likely_input_tokens == request.input_tokens
