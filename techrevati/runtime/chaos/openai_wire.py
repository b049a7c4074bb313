"""OpenAI chat completions as they go over the wire: requests, replies, streams, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.chaos.conversation import Conversation, Message, Tool, ToolCall
from techrevati.runtime.chaos.faults import Fault, FaultKind
from techrevati.runtime.chaos.openai_checks import check_chat, check_content, missing, stops
from techrevati.runtime.chaos.shape import items, mapping, parsed, string
from techrevati.runtime.chaos.tokens import count_tokens, pieces
from techrevati.runtime.chaos.wire import (
    BAD_GATEWAY,
    Event,
    Generation,
    InvalidRequestError,
    Refusal,
    RefusalFacts,
    checked_turns,
    compact,
    wait_headers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROLES = {"developer": "system", "function": "tool"}
_UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. The following tool_call_ids did not have response messages: {ids}"
)
_ORPHAN = (
    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
    "'tool_calls'."
)
_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on "
    "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_INVALID = "invalid_request_error"
# kind: (status, type, code, param, message)
_ERRORS: dict[FaultKind, tuple[int, str, str | None, str | None, str]] = {
    FaultKind.RATE_LIMIT: (
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "Rate limit reached for {model} in organization org-chaos on requests per min (RPM): Limit 60, "
        "Used 60, Requested 1. Please try again in {wait}.",
    ),
    FaultKind.QUOTA_EXHAUSTED: (429, "insufficient_quota", "insufficient_quota", None, _QUOTA),
    FaultKind.SPEND_LIMIT: (429, "insufficient_quota", "insufficient_quota", None, _QUOTA),
    FaultKind.INVALID_KEY: (
        401,
        _INVALID,
        "invalid_api_key",
        None,
        "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    FaultKind.FORBIDDEN: (
        403,
        _INVALID,
        "model_not_found",
        None,
        "Project `proj_chaos` does not have access to model `{model}`",
    ),
    FaultKind.MODEL_NOT_FOUND: (
        404,
        _INVALID,
        "model_not_found",
        None,
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    FaultKind.CONTEXT_OVERFLOW: (
        400,
        _INVALID,
        "context_length_exceeded",
        "messages",
        "This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} "
        "tokens. Please reduce the length of the messages.",
    ),
    FaultKind.CONTENT_FILTER: (
        400,
        _INVALID,
        "content_filter",
        "prompt",
        "The response was filtered due to the prompt triggering the content management policy. Please modify "
        "your prompt and retry.",
    ),
    FaultKind.SERVER_ERROR: (
        500,
        "server_error",
        None,
        None,
        "The server had an error while processing your request. Sorry about that! (Please include the "
        "request ID {request_id} in your message.)",
    ),
    FaultKind.UNAVAILABLE: (
        503,
        "server_error",
        "service_unavailable",
        None,
        "The service is temporarily unavailable. Please try again later.",
    ),
    FaultKind.OVERLOADED: (
        503,
        "server_error",
        None,
        None,
        "The engine is currently overloaded, please try again later",
    ),
}


class OpenAIWire:
    """Chat completions."""

    api = "openai"

    def conversation(self, body: Mapping[str, object]) -> Conversation:
        """The request in *body*; raises ``InvalidRequestError`` where the provider would answer 400."""
        model = string(body.get("model"))
        if not model:
            raise InvalidRequestError("you must provide a model parameter")
        if body.get("messages") is None:
            raise missing("messages")
        raw = items(body.get("messages"))
        if not raw:
            raise InvalidRequestError(
                "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
                "array instead.",
                param="messages",
                code="empty_array",
            )
        check_chat(body)
        if body.get("n") not in (None, 1):
            raise InvalidRequestError("Only n = 1 is supported here.", param="n", code="unsupported_value")
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        form = mapping(body.get("response_format"))
        options = mapping(body.get("stream_options"))
        talk = Conversation(
            model=model,
            messages=tuple(_message(mapping(one), index) for index, one in enumerate(raw)),
            tools=tuple(_tools(body)),
            choice=_choice(body),
            parallel=body.get("parallel_tool_calls") is not False,
            stream=body.get("stream") is True,
            stream_usage=options.get("include_usage") is True,
            max_tokens=limit if isinstance(limit, int) else None,
            stop=stops(body),
            json_answer=form.get("type") in ("json_object", "json_schema"),
            json_schema=mapping(mapping(form.get("json_schema")).get("schema")) or None,
        )
        return checked_turns(talk, _UNANSWERED, _ORPHAN)

    def plain(self, made: Generation) -> bytes:
        """The ``chat.completion`` object."""
        message: dict[str, object] = {
            "role": "assistant",
            "content": made.reply.text or None,
            "refusal": None,
        }
        if made.reply.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments_json},
                }
                for call in made.reply.calls
            ]
        else:
            message["content"] = made.reply.text
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": made.reply.finish}
        head = _head(made, "chat.completion")
        return compact({**head, "choices": [choice], "usage": _usage(made)})

    def events(self, made: Generation) -> list[Event]:
        """``chat.completion.chunk`` events; the usage comes last, and only to those who asked for it."""
        return list(_events(made))

    def success_headers(self, request_id: str) -> dict[str, str]:
        """The request id and the version, as the provider sends them."""
        return {"x-request-id": request_id, "openai-version": "2020-10-01", "openai-processing-ms": "1"}

    def refusal(self, fault: Fault, facts: RefusalFacts) -> Refusal:
        """The error response for a fault that refuses."""
        headers = {"x-request-id": facts.request_id}
        headers |= wait_headers(fault.retry_after_as, "both", facts.wait_s, facts.now_s)
        if fault.kind is FaultKind.BAD_GATEWAY_HTML:
            return Refusal(502, {**headers, "content-type": "text/html"}, BAD_GATEWAY)
        status, kind, code, param, words = _ERRORS[fault.kind]
        if fault.kind is FaultKind.RATE_LIMIT:
            wait = _span(facts.wait_s)
            headers |= {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
            headers |= {"x-ratelimit-reset-requests": wait}
        text = fault.message or words.format(
            model=facts.model,
            wait=_span(facts.wait_s),
            tokens=max(facts.input_tokens, 8_193),
            limit=8_192 if facts.input_tokens <= 8_192 else facts.input_tokens - 1,
            request_id=facts.request_id,
        )
        error: dict[str, object] = {"message": text, "type": kind, "param": param, "code": code}
        if fault.kind is FaultKind.CONTENT_FILTER:
            filtered = {"filtered": True, "severity": "high"}
            error["innererror"] = {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"violence": filtered},
            }
        return Refusal(status, {**headers, "content-type": "application/json"}, compact({"error": error}))

    def invalid(self, error: InvalidRequestError, request_id: str) -> Refusal:
        """The error response for a request that is wrong by itself."""
        body = {"message": error.message, "type": _INVALID, "param": error.param, "code": error.code}
        headers = {"x-request-id": request_id, "content-type": "application/json"}
        return Refusal(error.status, headers, compact({"error": body}))

    def error_event(self, message: str | None, request_id: str) -> bytes:
        """An error object as stream data."""
        text = message or (
            "The server had an error while processing your request. Sorry about that! "
            f"(Please include the request ID {request_id} in your message.)"
        )
        return _data({"error": {"message": text, "type": "server_error", "param": None, "code": None}})


def _message(raw: Mapping[str, object], index: int) -> Message:
    role = string(raw.get("role"))
    if not role:
        raise missing(f"messages[{index}].role")
    role = _ROLES.get(role, role)
    if role not in ("system", "user", "assistant", "tool"):
        raise InvalidRequestError(
            f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', "
            "'tool', and 'developer'.",
            param=f"messages[{index}].role",
            code="invalid_value",
        )
    check_content(role, raw, index)
    calls = tuple(_call(mapping(one)) for one in items(raw.get("tool_calls")))
    if role == "tool" and raw.get("role") == "tool" and not string(raw.get("tool_call_id")):
        raise missing(f"messages[{index}].tool_call_id")
    return Message(role, _text(raw.get("content")), calls, string(raw.get("tool_call_id")))


def _call(raw: Mapping[str, object]) -> ToolCall:
    function = mapping(raw.get("function"))
    given = mapping(parsed(string(function.get("arguments"))))
    return ToolCall(string(raw.get("id")), string(function.get("name")), given)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        string(mapping(part).get("text")) for part in items(content) if mapping(part).get("text")
    )


def _tools(body: Mapping[str, object]) -> Iterator[Tool]:
    for one in items(body.get("tools")):
        function = mapping(mapping(one).get("function"))
        if name := string(function.get("name")):
            yield Tool(name, string(function.get("description")), mapping(function.get("parameters")))


def _choice(body: Mapping[str, object]) -> str:
    choice = body.get("tool_choice")
    if isinstance(choice, str):
        return choice
    name = string(mapping(mapping(choice).get("function")).get("name"))
    return f"tool:{name}" if name else "auto"


def _head(made: Generation, kind: str) -> dict[str, object]:
    return {
        "id": made.id,
        "object": kind,
        "created": made.created,
        "model": made.model,
        "service_tier": "default",
        "system_fingerprint": "fp_chaos",
    }


def _usage(made: Generation) -> dict[str, object]:
    usage = made.usage
    prompt = usage.prompt_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _events(made: Generation) -> Iterator[Event]:
    head = _head(made, "chat.completion.chunk")
    if made.stream_usage:
        head["usage"] = None
    tokens = 0

    def chunk(delta: dict[str, object], finish: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return Event(_data({**head, "choices": [choice]}), tokens)

    yield chunk({"role": "assistant", "content": None if made.reply.calls else "", "refusal": None})
    for piece in pieces(made.reply.text):
        tokens += 1
        yield chunk({"content": piece})
    for index, call in enumerate(made.reply.calls):
        tokens += count_tokens(call.name)
        function = {"name": call.name, "arguments": ""}
        yield chunk(
            {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        )
        for piece in pieces(call.arguments_json):
            tokens += 1
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, made.reply.finish)
    if made.stream_usage:
        yield Event(_data({**head, "choices": [], "usage": _usage(made)}), tokens)
    yield Event(b"data: [DONE]\n\n", tokens)


def _data(value: object) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def _span(wait_s: float | None) -> str:
    """A wait as the provider writes it: ``120ms``, ``7.5s``, ``1m12s``."""
    if wait_s is None:
        return "1s"
    if wait_s < 1:
        return f"{max(1, round(wait_s * 1000))}ms"
    if wait_s < 60:
        return f"{wait_s:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(wait_s // 60)}m{round(wait_s % 60)}s"
