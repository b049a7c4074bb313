"""Listening to answers: whatever the chunks, the reader sees the same bytes and the usage is the same."""

from __future__ import annotations

import gc
import json
import tracemalloc
from base64 import b64encode
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import example, given, strategies as st

from techrevati.runtime.chaos import count_tokens
from techrevati.runtime.integrations.answer_tap import MAX_BODY, AnswerTap
from techrevati.runtime.integrations.contents import Answered
from techrevati.runtime.integrations.model_request import api_of, is_free, read_request

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def chat_events(texts: list[str], *, end: str = "\n\n") -> list[bytes]:
    """The events of an OpenAI chat stream with usage asked for."""
    chunks: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {"content": text}}], "usage": None} for text in texts
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
    chunks.append({"choices": [], "usage": USAGE})
    return [f"data: {json.dumps(chunk)}{end}".encode() for chunk in chunks] + [f"data: [DONE]{end}".encode()]


@given(
    texts=st.lists(st.text(max_size=12), max_size=6),
    end=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]),
    cuts=st.lists(st.integers(0, 2_000), max_size=12),
    hide=st.booleans(),
)
def test_cuts_change_nothing(texts: list[str], end: str, cuts: list[int], hide: bool) -> None:
    """Only the chunk that was not asked for is missing, wherever the body is cut."""
    events = chat_events(texts, end=end)
    body = b"".join(events)
    places = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    tap = AnswerTap(events=True, hide_usage=hide)
    seen = b"".join(tap.feed(body[a:b]) for a, b in pairwise(places)) + tap.finish()
    assert seen == (b"".join(events[:-2] + events[-1:]) if hide else body)
    assert tap.complete
    assert tap.ended
    assert (tap.usage().input_tokens, tap.usage().output_tokens) == (9, 4)
    assert tap.error is None


ANY_EVENTS = (
    'data: {"choices":[{"delta":{"content":"Hello, world"}}],"usage":null}',
    'data: {"choices":[{"delta":{"content":"a"}}]}',
    'data: {"choices": [{"delta": {"content": "spaces"}}], "usage": null}',
    'event: ping\ndata: {"type":"ping"}',
    'event: message_stop\ndata: {"type":"message_stop"}',
    'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}',
    'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Busy"}}',
    'data: {"type":"response.output_text.delta","delta":"\\"error\\" and \\"usage\\""}',
    "data: [DONE]",
    ": a comment",
)


def heard(tap: AnswerTap, chunks: list[bytes]) -> tuple[object, ...]:
    """All that a tap tells of a body in these chunks."""
    seen = b"".join(tap.feed(chunk) for chunk in chunks) + tap.finish()
    error = None if tap.error is None else str(tap.error)
    return seen, tap.complete, tap.ended, tap.usage(), tap.generated_tokens(), error


@given(
    events=st.lists(st.sampled_from(ANY_EVENTS), max_size=8),
    ends=st.lists(st.sampled_from(["\n\n", "\n\n", "\r\n\r\n"]), min_size=8, max_size=8),
    cuts=st.sets(st.integers(0, 900), max_size=6),
    hide=st.booleans(),
    listens=st.booleans(),
)
@example(events=[ANY_EVENTS[0]] * 2, ends=["\n\n"] * 8, cuts=set(), hide=False, listens=False)
def test_an_answer_says_the_same_in_any_chunks(
    events: list[str], ends: list[str], cuts: set[int], hide: bool, listens: bool
) -> None:
    """Whole events at once, which are hardly looked at, or cut anywhere, as one byte after the other."""
    body = [f"{event}{end}".encode() for event, end in zip(events, ends, strict=False)]
    whole = b"".join(body)
    bytewise = [whole[at : at + 1] for at in range(len(whole))]
    expected = heard(AnswerTap(events=True, hide_usage=hide), bytewise)
    places = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    for chunks in (body, [whole], [whole[a:b] for a, b in pairwise(places)]):
        answered = Answered() if listens else None
        assert heard(AnswerTap(events=True, hide_usage=hide, answered=answered), chunks) == expected


def test_a_sink_for_contents_hears_every_event() -> None:
    """Those, too, that say nothing about usage or an end."""
    answered = Answered()
    tap = AnswerTap(events=True, hide_usage=False, answered=answered)
    for text in ("Hello, ", "world"):
        tap.feed(f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'.encode())
    assert "Hello, world" in str(answered.messages())


def test_events_kept_unread_are_bounded() -> None:
    """They are counted and let go before they fill the memory."""
    tap = AnswerTap(events=True, hide_usage=False)
    event = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % (b"x" * 4_000)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(1_000):
            tap.feed(event[:])
            tap.feed(bytes(bytearray(event)))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert tap.generated_tokens() == 2_000 * count_tokens("x" * 4_000)


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans(), st.booleans())
def test_any_bytes_pass(chunks: list[bytes], events: bool, hide: bool) -> None:
    """Rubbish is the reader's affair: it passes whole, and nothing raises."""
    tap = AnswerTap(events=events, hide_usage=hide)
    seen = b"".join([tap.feed(chunk) for chunk in chunks]) + tap.finish()
    assert seen == b"".join(chunks)
    assert not tap.complete


def test_an_unfinished_event_is_passed_on_at_the_end() -> None:
    """A server that ends without the last empty line."""
    tap = AnswerTap(events=True, hide_usage=True)
    assert tap.feed(b'data: {"choices": [{"delta": {"content": "Hi"}}]}') == b""
    assert tap.finish() == b'data: {"choices": [{"delta": {"content": "Hi"}}]}'
    assert tap.generated_tokens() == 1


def test_what_came_is_estimated_from_the_text() -> None:
    """Token by token; closing events that repeat their text count once."""
    tap = AnswerTap(events=True, hide_usage=False)
    for text in ("a", "b", "x" * 40):
        tap.feed(f"data: {json.dumps({'type': 'response.output_text.delta', 'delta': text})}\n\n".encode())
    tap.feed(b'data: {"type": "response.output_text.done", "text": "abxxxxxxxxxx"}\n\n')
    assert tap.generated_tokens() == 2 + count_tokens("x" * 40)
    few = AnswerTap(events=True, hide_usage=False)
    for _ in range(5):
        few.feed(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n')
    assert few.generated_tokens() == 5


def test_thoughts_that_are_sent_under_two_names_count_once() -> None:
    """As OpenRouter, LiteLLM and vLLM send them."""
    text = "so many words"
    for delta in (
        {"content": "", "reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text}]},
        {"reasoning_content": text, "thinking_blocks": [{"type": "thinking", "thinking": text}]},
        {"reasoning": text, "reasoning_content": text},
        {"reasoning": None, "reasoning_content": text},
        {"reasoning": "", "thinking_blocks": [{"type": "thinking", "thinking": text}]},
    ):
        tap = AnswerTap(events=True, hide_usage=False)
        tap.feed(f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode())
        assert tap.generated_tokens() == count_tokens(text), delta


def test_anthropic_says_its_input_first() -> None:
    """So that what was cut off is known in part."""
    tap = AnswerTap(events=True, hide_usage=False)
    start = {
        "type": "message_start",
        "message": {"model": "m", "usage": {"input_tokens": 7, "output_tokens": 1}},
    }
    tap.feed(f"event: message_start\ndata: {json.dumps(start)}\n\n".encode())
    assert not tap.complete
    assert tap.usage().input_tokens == 7


@pytest.mark.parametrize(
    "event",
    [
        'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}',
        'data: {"error": {"type": "server_error", "message": "The server had an error"}}',
        'event: error\ndata: {"type":"error","code":"server_error","message":"Sorry","param":null}',
        'data: {"type":"response.failed","response":{"error":{"code":"server_error","message":"Sorry"},'
        '"usage":null}}',
        'data: {"type":"response.failed","response":{"error":{"code":"server_error","message":"Sorry"},'
        '"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}}',
    ],
)
def test_error_events_are_judged(event: str) -> None:
    """As failures of the provider."""
    from techrevati.runtime.failures import classify, provider_failures

    tap = AnswerTap(events=True, hide_usage=True)
    assert tap.feed(event.encode() + b"\n\n")
    assert tap.error is not None
    assert provider_failures(tap.error)
    assert classify(tap.error).kind.value in ("overloaded", "server_error")


def test_a_json_answer() -> None:
    """Whole, in pieces, or none at all."""
    tap = AnswerTap(events=False, hide_usage=True)
    body = json.dumps({"model": "m", "usage": USAGE}).encode()
    assert tap.feed(body[:20]) + tap.feed(body[20:]) + tap.finish() == body
    assert tap.complete
    assert tap.usage().output_tokens == 4


@pytest.mark.parametrize("events", [False, True])
def test_it_is_bounded(events: bool) -> None:
    """What grows beyond all answers passes unheard."""
    tap = AnswerTap(events=events, hide_usage=True)
    size = MAX_BODY // 4 + 1
    passed = sum(len(tap.feed(b"x" * size)) for _ in range(5)) + len(tap.finish())
    assert passed == 5 * size
    assert not tap.complete


# --- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "api", "free"),
    [
        ("post", "/chat/completions", "chat.completions", False),
        ("POST", "/openai/v1/chat/completions", "chat.completions", False),
        ("post", "/v1/messages?beta=true", "messages", False),
        ("post", "/responses", "responses", False),
        ("post", "/embeddings", "embeddings", False),
        ("post", "/completions", "completions", False),
        ("post", "/threads/thread_1/messages", None, False),
        ("post", "/images/generations", None, False),
        ("post", "/v1/messages/batches", None, False),
        ("post", "/v1/messages/count_tokens", None, True),
        ("post", "/moderations", None, True),
        ("get", "/responses/resp_1", None, True),
        ("delete", "/chat/completions", None, True),
    ],
)
def test_paths(method: str, path: str, api: str | None, free: bool) -> None:
    """Which request is for which API."""
    assert api_of(method, path) == api
    assert api is not None or is_free(method, path) is free


@pytest.mark.parametrize(
    ("api", "body", "most", "answers", "unbounded"),
    [
        ("chat.completions", {"max_tokens": 9}, 9, 1, None),
        ("chat.completions", {"max_completion_tokens": 5, "max_tokens": 9, "n": 3}, 5, 3, None),
        ("completions", {"max_tokens": 9, "n": 2, "best_of": 4}, 9, 4, None),
        ("responses", {"max_output_tokens": 7, "conversation": "c"}, 7, 1, "conversation"),
        ("messages", {"max_tokens": 8}, 8, 1, None),
        ("embeddings", {}, 0, 1, None),
        ("chat.completions", {"max_tokens": True, "n": "2"}, None, 1, None),
    ],
)
def test_bounds(
    api: str, body: dict[str, object], most: int | None, answers: int, unbounded: str | None
) -> None:
    """What a request lets the model generate."""
    found = read_request(
        api, {"model": "m", **body}, provider="p", shape="s", price_provider=None, credential_id=""
    )
    assert (found.model, found.max_output_tokens, found.answers, found.unbounded) == (
        "m",
        most,
        answers,
        unbounded,
    )


def framed(payload: object, kind: str = "event") -> bytes:
    """One frame of Amazon's event streams."""
    data = json.dumps(payload).encode()
    said = {":message-type": kind, ":event-type": "chunk", ":content-type": "application/json"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(text).to_bytes(2, "big") + text.encode()
        for name, text in said.items()
    )
    begin = (16 + len(headers) + len(data)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    begin += crc32(begin).to_bytes(4, "big")
    frame = begin + headers + data
    return frame + crc32(frame).to_bytes(4, "big")


def in_frames(*events: dict[str, object]) -> bytes:
    """Events as Bedrock sends them."""
    return b"".join(framed({"bytes": b64encode(json.dumps(event).encode()).decode()}) for event in events)


MESSAGE = in_frames(
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello to you"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
)


@given(st.lists(st.integers(0, len(MESSAGE)), max_size=12))
def test_frames_are_events_wherever_they_are_cut(cuts: list[int]) -> None:
    """Bedrock's answers say what they used like the others."""
    tap = AnswerTap(events=False, frames=True, hide_usage=True)
    places = sorted({0, *cuts, len(MESSAGE)})
    seen = b"".join(tap.feed(MESSAGE[a:b]) for a, b in pairwise(places)) + tap.finish()
    assert seen == MESSAGE
    assert tap.complete
    assert tap.ended
    assert (tap.usage().input_tokens, tap.usage().output_tokens) == (9, 4)


def test_frames_that_break_off_are_estimated() -> None:
    """By what came; an exception in a frame is why it failed."""
    tap = AnswerTap(events=False, frames=True, hide_usage=False)
    tap.feed(MESSAGE[: len(MESSAGE) // 2 + 60])
    assert tap.usage().input_tokens == 9
    assert tap.generated_tokens() == 3
    failed = AnswerTap(events=False, frames=True, hide_usage=False)
    failed.feed(framed({"message": "Too many requests"}, "exception"))
    assert str(failed.error) == "Too many requests"


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_frames_pass(chunks: list[bytes]) -> None:
    """What is no frame is not looked at."""
    tap = AnswerTap(events=False, frames=True, hide_usage=True)
    assert b"".join([tap.feed(chunk) for chunk in chunks]) + tap.finish() == b"".join(chunks)
    assert not tap.complete
