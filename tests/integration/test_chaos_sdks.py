"""The real openai and anthropic SDKs, sync and async, plain and streaming, against every fault."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import openai
import pytest

from techrevati.runtime.chaos import NOTHING_FOUND, ChaosServer, Fault, FaultKind, Outcome, count_tokens
from techrevati.runtime.chaos.exception_table import observed, sdk_table

NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"
USER: list[Any] = [{"role": "user", "content": NOTES}]
TIMEOUT_S = 0.1
OPENAI_MAJOR = int(openai.__version__.split(".")[0])
ANTHROPIC_MAJOR = int(anthropic.__version__.split(".")[0])
SLOW = (FaultKind.SLOW_FIRST_TOKEN, FaultKind.SLOW_STREAM, FaultKind.STALLED_STREAM)

# fault: (class, status, code), what the openai SDK raises; a second row is for streams where it differs.
OPENAI: dict[FaultKind, tuple[str, int | None, str | None]] = {
    FaultKind.RATE_LIMIT: ("RateLimitError", 429, "rate_limit_exceeded"),
    FaultKind.QUOTA_EXHAUSTED: ("RateLimitError", 429, "insufficient_quota"),
    FaultKind.SPEND_LIMIT: ("RateLimitError", 429, "insufficient_quota"),
    FaultKind.INVALID_KEY: ("AuthenticationError", 401, "invalid_api_key"),
    FaultKind.FORBIDDEN: ("PermissionDeniedError", 403, "model_not_found"),
    FaultKind.MODEL_NOT_FOUND: ("NotFoundError", 404, "model_not_found"),
    FaultKind.CONTEXT_OVERFLOW: ("BadRequestError", 400, "context_length_exceeded"),
    FaultKind.CONTENT_FILTER: ("BadRequestError", 400, "content_filter"),
    FaultKind.SERVER_ERROR: ("InternalServerError", 500, None),
    FaultKind.BAD_GATEWAY_HTML: ("InternalServerError", 502, None),
    FaultKind.UNAVAILABLE: ("InternalServerError", 503, "service_unavailable"),
    FaultKind.OVERLOADED: ("InternalServerError", 503, None),
    FaultKind.RESET: ("APIConnectionError", None, None),
    FaultKind.RESET_MID_BODY: ("APIConnectionError", None, None),
    FaultKind.TRUNCATED_BODY: ("APIConnectionError", None, None),
    FaultKind.TRUNCATED_STREAM: ("JSONDecodeError", None, None),
    FaultKind.WRONG_JSON: ("JSONDecodeError", None, None),
    FaultKind.MID_STREAM_ERROR: ("InternalServerError", 500, None),
}
OPENAI_STREAM: dict[FaultKind, tuple[str, int | None, str | None]] = {
    FaultKind.RESET_MID_BODY: ("APIConnectionError" if OPENAI_MAJOR >= 3 else "ReadError", None, None),
    FaultKind.TRUNCATED_BODY: (
        "APIConnectionError" if OPENAI_MAJOR >= 3 else "RemoteProtocolError",
        None,
        None,
    ),
    FaultKind.MID_STREAM_ERROR: ("APIError", None, None),
}
# fault: (class, status, error.type)
ANTHROPIC: dict[FaultKind, tuple[str, int | None, str | None]] = {
    FaultKind.RATE_LIMIT: ("RateLimitError", 429, "rate_limit_error"),
    FaultKind.QUOTA_EXHAUSTED: ("BadRequestError", 400, "invalid_request_error"),
    FaultKind.SPEND_LIMIT: (
        "EnforcedSpendLimitReachedError" if ANTHROPIC_MAJOR >= 2 else "RateLimitError",
        429,
        "rate_limit_error",
    ),
    FaultKind.INVALID_KEY: ("AuthenticationError", 401, "authentication_error"),
    FaultKind.FORBIDDEN: ("PermissionDeniedError", 403, "permission_error"),
    FaultKind.MODEL_NOT_FOUND: ("NotFoundError", 404, "not_found_error"),
    FaultKind.CONTEXT_OVERFLOW: ("BadRequestError", 400, "invalid_request_error"),
    FaultKind.CONTENT_FILTER: ("BadRequestError", 400, "invalid_request_error"),
    FaultKind.SERVER_ERROR: ("InternalServerError", 500, "api_error"),
    FaultKind.BAD_GATEWAY_HTML: ("InternalServerError", 502, None),
    FaultKind.UNAVAILABLE: (
        "ServiceUnavailableError" if ANTHROPIC_MAJOR >= 2 else "InternalServerError",
        503,
        "api_error",
    ),
    FaultKind.OVERLOADED: ("OverloadedError", 529, "overloaded_error"),
    FaultKind.RESET: ("APIConnectionError", None, None),
    FaultKind.RESET_MID_BODY: ("APIConnectionError", None, None),
    FaultKind.TRUNCATED_BODY: ("APIConnectionError", None, None),
    FaultKind.TRUNCATED_STREAM: ("JSONDecodeError", None, None),
    FaultKind.WRONG_JSON: ("JSONDecodeError", None, None),
    FaultKind.MID_STREAM_ERROR: ("InternalServerError", 500, "api_error"),
}
ANTHROPIC_STREAM: dict[FaultKind, tuple[str, int | None, str | None]] = {
    FaultKind.RESET_MID_BODY: ("ReadError", None, None),
    FaultKind.TRUNCATED_BODY: ("RemoteProtocolError", None, None),
    FaultKind.MID_STREAM_ERROR: ("APIStatusError", 200, "overloaded_error"),
}
CASES = [(kind, stream, way) for kind in OPENAI for stream in (False, True) for way in (False, True)]


@pytest.mark.parametrize(("kind", "stream", "asynchronous"), CASES)
def test_openai_raises_what_it_raises_in_the_field(kind: FaultKind, stream: bool, asynchronous: bool) -> None:
    """Class, status and code; a stream that ends early in silence raises nothing."""
    seen = observed("openai", kind, stream=stream, asynchronous=asynchronous)
    if kind is FaultKind.TRUNCATED_STREAM and stream:
        assert (seen.error, seen.text) == (None, "**no exception, cut off in silence**")
        return
    expected = (OPENAI_STREAM if stream else OPENAI).get(kind, OPENAI[kind])
    error: Any = seen.error
    assert (
        type(error).__name__,
        getattr(error, "status_code", None),
        getattr(error, "code", None),
    ) == expected
    if getattr(error, "status_code", None):
        assert error.request_id.startswith("req_")


@pytest.mark.parametrize(("kind", "stream", "asynchronous"), CASES)
def test_anthropic_raises_what_it_raises_in_the_field(
    kind: FaultKind, stream: bool, asynchronous: bool
) -> None:
    """Class, status and type; a stream that ends early in silence raises nothing."""
    seen = observed("anthropic", kind, stream=stream, asynchronous=asynchronous)
    if kind is FaultKind.TRUNCATED_STREAM and stream:
        assert (seen.error, seen.text) == (None, "**no exception, cut off in silence**")
        return
    expected = (ANTHROPIC_STREAM if stream else ANTHROPIC).get(kind, ANTHROPIC[kind])
    error: Any = seen.error
    assert (type(error).__name__, getattr(error, "status_code", None), error_type(error)) == expected
    if getattr(error, "status_code", None):
        assert error.request_id.startswith("req_")


def error_type(error: Any) -> str | None:
    body = getattr(error, "body", None)
    return body["error"]["type"] if isinstance(body, dict) else None


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_silence_ends_in_a_timeout(sdk: str, kind: FaultKind, stream: bool, asynchronous: bool) -> None:
    """Whether nothing came at all or nothing more, the client's own timeout ends it."""
    seen = observed(sdk, kind, stream=stream, asynchronous=asynchronous, timeout_s=TIMEOUT_S)
    assert "Timeout" in type(seen.error).__name__


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "openai_reason", "anthropic_reason"),
    [
        (FaultKind.CONTENT_FILTER_STOP, "content_filter", "refusal"),
        (FaultKind.TOOL_CALL, "tool_calls", "tool_use"),
        (FaultKind.SAYS, "stop", "end_turn"),
    ],
)
def test_a_misbehaving_model_raises_nothing(
    sdk: str, stream: bool, kind: FaultKind, openai_reason: str, anthropic_reason: str
) -> None:
    """Only the reason for the end tells."""
    seen = observed(sdk, kind, stream=stream)
    assert seen.words == f"no exception, `{openai_reason if sdk == 'openai' else anthropic_reason}`"


def test_the_table_is_made_by_one_call() -> None:
    """A row for each fault, two columns for each SDK."""
    table = sdk_table(["openai", "anthropic"], [FaultKind.RATE_LIMIT]).splitlines()
    assert (
        table[0]
        == "| fault | what happens | openai plain | openai stream | anthropic plain | anthropic stream |"
    )
    assert table[2].startswith(
        "| `rate_limit` | 429 with Retry-After | `RateLimitError` 429 rate_limit_exceeded |"
    )
    assert len(table) == 3


def openai_client(server: ChaosServer, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-x", base_url=server.base_url, max_retries=retries, timeout=60)


def anthropic_client(server: ChaosServer, retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key="sk-x", base_url=server.anthropic_base_url, max_retries=retries, timeout=60
    )


@pytest.mark.parametrize("stream", [False, True])
def test_the_books_of_an_openai_client_are_the_servers(stream: bool) -> None:
    """Usage as the SDK reads it, to the last token."""
    with ChaosServer() as server, openai_client(server) as client:
        if stream:
            options: Any = {"include_usage": True}
            sent = client.chat.completions.create(
                model="m", messages=USER, stream=True, stream_options=options
            )
            chunks = list(sent)
            usage = chunks[-1].usage
            text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
        else:
            answer = client.chat.completions.create(model="m", messages=USER)
            usage, text = answer.usage, answer.choices[0].message.content or ""
        assert text == ANSWER
        assert usage is not None
        billed = server.bill
        assert (usage.prompt_tokens, usage.completion_tokens) == (billed.input_tokens, billed.output_tokens)


@pytest.mark.parametrize("stream", [False, True])
def test_the_books_of_an_anthropic_client_are_the_servers(stream: bool) -> None:
    """Plain, and through the SDK's own accumulation of a stream."""
    with ChaosServer() as server, anthropic_client(server) as client:
        if stream:
            with client.messages.stream(model="m", messages=USER, max_tokens=500) as events:
                answer = events.get_final_message()
        else:
            answer = client.messages.create(model="m", messages=USER, max_tokens=500)
        assert [block.text for block in answer.content if block.type == "text"] == [ANSWER]
        billed = server.bill
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
            billed.input_tokens,
            billed.output_tokens,
        )


FILES = {"breaker.md": "The breaker opens after five failures.", "soup.md": "The soup costs 4 euros."}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
QUESTION = "Question: What does the soup cost?"


def tool_result(name: str, given: Any) -> str:
    return "\n".join(FILES) if name == "list_files" else FILES[given["path"]]


@pytest.mark.parametrize("stream", [False, True])
def test_an_openai_agent_works_against_it(stream: bool) -> None:
    """Tool calls through the SDK's types, plain and accumulated from a stream, until the answer comes."""
    tools: Any = [
        {"type": "function", "function": {"name": "list_files", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "read_file", "parameters": SCHEMA}},
    ]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    with ChaosServer() as server, openai_client(server) as client:
        for _ in range(6):
            if stream:
                with client.chat.completions.stream(model="m", messages=messages, tools=tools) as events:
                    message: Any = events.get_final_completion().choices[0].message
            else:
                message = (
                    client.chat.completions.create(model="m", messages=messages, tools=tools)
                    .choices[0]
                    .message
                )
            if not message.tool_calls:
                break
            messages.append(
                {"role": "assistant", "tool_calls": [one.model_dump() for one in message.tool_calls]}
            )
            for one in message.tool_calls:
                result = tool_result(one.function.name, json.loads(one.function.arguments))
                messages.append({"role": "tool", "tool_call_id": one.id, "content": result})
        assert message.content == "The soup costs 4 euros. [soup.md]"
        assert server.verdict(declared_requests=3).ok


@pytest.mark.parametrize("stream", [False, True])
def test_an_anthropic_agent_works_against_it(stream: bool) -> None:
    """The same with content blocks."""
    tools: Any = [
        {"name": "list_files", "input_schema": {"type": "object"}},
        {"name": "read_file", "input_schema": SCHEMA},
    ]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    with ChaosServer() as server, anthropic_client(server) as client:
        for _ in range(6):
            if stream:
                with client.messages.stream(
                    model="m", messages=messages, tools=tools, max_tokens=500
                ) as events:
                    answer: Any = events.get_final_message()
            else:
                answer = client.messages.create(model="m", messages=messages, tools=tools, max_tokens=500)
            calls = [block for block in answer.content if block.type == "tool_use"]
            if not calls:
                break
            held = [{"type": "tool_use", "id": one.id, "name": one.name, "input": one.input} for one in calls]
            messages.append({"role": "assistant", "content": held})
            results = [
                {"type": "tool_result", "tool_use_id": one.id, "content": tool_result(one.name, one.input)}
                for one in calls
            ]
            messages.append({"role": "user", "content": results})
        assert answer.content[0].text == "The soup costs 4 euros. [soup.md]"


def test_the_sdks_own_retries_are_counted_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call is three physical requests; the waits are those that were told; quota is retried in vain."""
    slept: list[float] = []
    for sdk in (openai, anthropic):
        monkeypatch.setattr(sdk._base_client.time, "sleep", slept.append)
    limited = Fault(FaultKind.RATE_LIMIT, retry_after_s=3.0)
    with ChaosServer([limited, limited, None]) as server, openai_client(server, retries=2) as client:
        assert client.chat.completions.create(model="m", messages=USER).choices[0].message.content == ANSWER
        assert slept == [3.0, 3.0]
        assert server.bill.requests == 3
        assert server.bill.billed_requests == 1
        assert server.verdict(declared_requests=1).names == ("ignored-retry-after", "undeclared-requests")
    out_of_money = Fault(FaultKind.QUOTA_EXHAUSTED)
    with ChaosServer([out_of_money] * 3) as server, openai_client(server, retries=2) as client:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="m", messages=USER)
        assert "retried-non-retryable" in server.verdict().names
    with ChaosServer([out_of_money] * 3) as server, anthropic_client(server, retries=2) as client:
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(model="m", messages=USER, max_tokens=9)
        assert server.verdict(declared_requests=1).ok


@pytest.mark.parametrize("asynchronous", [False, True])
def test_leaving_a_stream_early_is_billed_for_what_came(asynchronous: bool) -> None:
    """The client reads three tokens, then closes; the server bills the input and these three."""
    fault = Fault(FaultKind.STALLED_STREAM, after_tokens=3, delay_s=3_600.0)

    def read(server: ChaosServer) -> str:
        with openai_client(server) as client:
            text = ""
            with client.chat.completions.create(model="m", messages=USER, stream=True) as events:
                for event in events:
                    text += event.choices[0].delta.content or ""
                    if count_tokens(text) == 3:
                        break
            return text

    async def aread(server: ChaosServer) -> str:
        async with openai.AsyncOpenAI(api_key="sk-x", base_url=server.base_url, timeout=60) as client:
            text = ""
            async with await client.chat.completions.create(model="m", messages=USER, stream=True) as events:
                async for event in events:
                    text += event.choices[0].delta.content or ""
                    if count_tokens(text) == 3:
                        break
            return text

    with ChaosServer([fault]) as server:
        text = asyncio.run(aread(server)) if asynchronous else read(server)
        assert server.wait_idle()
        assert text == "The breaker"
        assert server.injected[0].outcome is Outcome.ABORTED
        assert server.bill.output_tokens == 3
        assert server.bill.input_tokens > 0


def test_an_agent_that_takes_a_silent_cut_for_an_answer_is_found_out() -> None:
    """The SDK raises nothing; the next request gives it away."""
    with (
        ChaosServer([Fault(FaultKind.TRUNCATED_STREAM, after_tokens=9)]) as server,
        openai_client(server) as client,
    ):
        events = client.chat.completions.create(model="m", messages=USER, stream=True)
        text = "".join(one.choices[0].delta.content or "" for one in events if one.choices)
        assert text
        assert text != ANSWER
        follow: list[Any] = [
            {"role": "user", "content": f"Question: what opens?\nDraft: {text}\nImprove it."}
        ]
        client.chat.completions.create(model="m", messages=follow)
        assert server.verdict().names == ("accepted-truncated-stream",)


def test_nothing_found_is_said_in_fixed_words() -> None:
    """A client can tell an answer from none."""
    with ChaosServer() as server, openai_client(server) as client:
        hello: list[Any] = [{"role": "user", "content": "Tell me a joke about kangaroos."}]
        answer = client.chat.completions.create(model="m", messages=hello).choices[0].message.content
        assert (answer or "").startswith(NOTHING_FOUND)
