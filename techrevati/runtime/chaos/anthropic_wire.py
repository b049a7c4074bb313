"""Anthropic messages as they go over the wire: requests, replies, streams, errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.anthropic_checks import check_messages
from techrevati.runtime.chaos.conversation import Conversation, Message, Tool, ToolCall
from techrevati.runtime.chaos.faults import Fault, FaultKind
from techrevati.runtime.chaos.shape import items, mapping, string
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
    from collections.abc import Iterator, Mapping, Sequence

_UNANSWERED = "messages: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}."
_ORPHAN = (
    "messages: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must "
    "have a corresponding `tool_use` block in the previous message."
)
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_CHOICES = {"any": "required", "none": "none", "auto": "auto"}
_INVALID = "invalid_request_error"
# kind: (status, type, message)
_ERRORS: dict[FaultKind, tuple[int, str, str]] = {
    FaultKind.RATE_LIMIT: (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 60 requests per minute. For details, "
        "refer to: https://docs.claude.com/en/api/rate-limits.",
    ),
    FaultKind.QUOTA_EXHAUSTED: (
        400,
        _INVALID,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade "
        "or purchase credits.",
    ),
    FaultKind.SPEND_LIMIT: (
        429,
        "rate_limit_error",
        "Your organization has crossed the monthly API usage threshold of its API tier.",
    ),
    FaultKind.INVALID_KEY: (401, "authentication_error", "invalid x-api-key"),
    FaultKind.FORBIDDEN: (403, "permission_error", "Your API key does not have permission to use {model}."),
    FaultKind.MODEL_NOT_FOUND: (404, "not_found_error", "model: {model}"),
    FaultKind.CONTEXT_OVERFLOW: (400, _INVALID, "prompt is too long: {tokens} tokens > {limit} maximum"),
    FaultKind.CONTENT_FILTER: (400, _INVALID, "Output blocked by content filtering policy"),
    FaultKind.SERVER_ERROR: (500, "api_error", "Internal server error"),
    FaultKind.UNAVAILABLE: (503, "api_error", "Service temporarily unavailable"),
    FaultKind.OVERLOADED: (529, "overloaded_error", "Overloaded"),
}


class AnthropicWire:
    """Messages."""

    api = "anthropic"
    id_prefix = "msg_"

    def conversation(self, body: Mapping[str, object]) -> Conversation:
        """The request in *body*; raises ``InvalidRequestError`` where the provider would answer 400."""
        model = string(body.get("model"))
        if not model:
            raise InvalidRequestError("model: Field required")
        check_messages(body)
        talk = self.prompt(body)
        limit = body.get("max_tokens")
        form = mapping(mapping(body.get("output_config")).get("format"))
        return Conversation(
            model=model,
            messages=talk.messages,
            tools=talk.tools,
            choice=_choice(body),
            parallel=mapping(body.get("tool_choice")).get("disable_parallel_tool_use") is not True,
            stream=body.get("stream") is True,
            max_tokens=limit if isinstance(limit, int) else None,
            stop=tuple(map(string, items(body.get("stop_sequences")))),
            json_answer=bool(form),
            json_schema=mapping(form.get("schema")) or None,
            tools_mark=talk.tools_mark,
        )

    def prompt(self, body: Mapping[str, object]) -> Conversation:
        """The part of a request that costs input tokens."""
        raw = items(body.get("messages"))
        if not raw:
            raise InvalidRequestError("messages: at least one message is required")
        system = _blocks(body.get("system"))
        messages = [_system(system)] if system else []
        for index, one in enumerate(raw):
            messages += _messages(mapping(one), index)
        if body.get("cache_control"):
            messages[-1] = replace(messages[-1], cache_mark=_mark([body], "cache_control"))
        talk = Conversation(
            string(body.get("model")),
            tuple(messages),
            tuple(_tools(body)),
            tools_mark=_mark([mapping(one) for one in items(body.get("tools"))], "tools"),
        )
        _check_marks([talk.tools_mark, *(one.cache_mark for one in messages)])
        return checked_turns(talk, _UNANSWERED, _ORPHAN)

    def plain(self, made: Generation) -> bytes:
        """The ``message`` object."""
        content: list[dict[str, object]] = []
        if made.reply.text or not made.reply.calls:
            content.append({"type": "text", "text": made.reply.text})
        for call in made.reply.calls:
            content.append({"type": "tool_use", "id": _id(call), "name": call.name, "input": call.arguments})
        return compact(
            {
                **_head(made),
                "content": content,
                **_stopped(made),
                "usage": {**_usage(made, made.usage.output_tokens), "service_tier": "standard"},
            }
        )

    def events(self, made: Generation) -> list[Event]:
        """``message_start``, ``ping``, content blocks, ``message_delta`` with the usage, ``message_stop``."""
        return list(_events(made))

    def success_headers(self, request_id: str) -> dict[str, str]:
        """The request id, as the provider sends it."""
        return {"request-id": request_id, "anthropic-organization-id": "00000000-0000-0000-0000-000000000000"}

    def refusal(self, fault: Fault, facts: RefusalFacts) -> Refusal:
        """The error response for a fault that refuses."""
        from techrevati.runtime._core.clock import iso_utc

        headers = {"request-id": facts.request_id, "x-should-retry": "true" if fault.retryable else "false"}
        headers |= wait_headers(fault.retry_after_as, "seconds", facts.wait_s, facts.now_s)
        if fault.kind is FaultKind.BAD_GATEWAY_HTML:
            return Refusal(502, {**headers, "content-type": "text/html"}, BAD_GATEWAY)
        status, kind, words = _ERRORS[fault.kind]
        if fault.kind is FaultKind.RATE_LIMIT:
            reset = iso_utc(facts.now_s + (facts.wait_s or 0.0))[:19] + "Z"
            headers |= {
                "anthropic-ratelimit-requests-limit": "60",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": reset,
            }
        text = fault.message or words.format(
            model=facts.model,
            tokens=max(facts.input_tokens, 200_001),
            limit=200_000 if facts.input_tokens <= 200_000 else facts.input_tokens - 1,
        )
        error: dict[str, object] = {"type": kind, "message": text}
        if fault.kind is FaultKind.SPEND_LIMIT:
            error["details"] = {"error_code": "enforced_spend_limit_reached"}
        body = {"type": "error", "error": error, "request_id": facts.request_id}
        return Refusal(status, {**headers, "content-type": "application/json"}, compact(body))

    def invalid(self, error: InvalidRequestError, request_id: str) -> Refusal:
        """The error response for a request that is wrong by itself."""
        kinds = {401: "authentication_error", 404: "not_found_error", 413: "request_too_large"}
        held = {"type": kinds.get(error.status, _INVALID), "message": error.message}
        headers = {"request-id": request_id, "x-should-retry": "false", "content-type": "application/json"}
        return Refusal(
            error.status, headers, compact({"type": "error", "error": held, "request_id": request_id})
        )

    def error_event(self, message: str | None, request_id: str, made: Generation, sent: int) -> bytes:
        """An ``error`` event; the status of the response was 200 already."""
        error = {"type": "overloaded_error", "message": message or "Overloaded"}
        return _event({"type": "error", "error": error, "request_id": request_id})


def _system(blocks: list[dict[str, object]]) -> Message:
    text = "\n".join(string(one.get("text")) for one in blocks)
    return Message("system", text, cache_mark=_mark(blocks, "system"))


def _mark(blocks: Sequence[Mapping[str, object]], where: str) -> str:
    """The time to live of the last cache mark in *blocks*; "" when there is none."""
    found = ""
    for index, one in enumerate(blocks):
        if not one.get("cache_control"):
            continue
        found = string(mapping(one.get("cache_control")).get("ttl", "5m"))
        if found not in ("5m", "1h"):
            raise InvalidRequestError(
                f"{where}.{index}.cache_control.ephemeral.ttl: Input should be '5m' or '1h'"
            )
    return found


def _check_marks(marks: Sequence[str]) -> None:
    """Marks of an hour come before those of five minutes, in the order tools, system, messages."""
    given = [one for one in marks if one]
    if "5m" in given and "1h" in given[given.index("5m") :]:
        raise InvalidRequestError(
            "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control "
            "block. Note that blocks are processed in the following order: `tools`, `system`, `messages`."
        )


def _messages(raw: Mapping[str, object], index: int) -> Iterator[Message]:
    """One message as tool results first, then what remains of it."""
    role = string(raw.get("role"))
    if role not in ("user", "assistant"):
        raise InvalidRequestError(f"messages.{index}.role: Input should be 'user' or 'assistant'")
    blocks = _blocks(raw.get("content"))
    mark = _mark(blocks, f"messages.{index}.content")
    results = [one for one in blocks if one.get("type") == "tool_result"]
    for one in results:
        text = "\n".join(string(inner.get("text")) for inner in _blocks(one.get("content")))
        failed = one.get("is_error") is True
        yield Message("tool", text, answers=string(one.get("tool_use_id")), failed=failed, cache_mark=mark)
    text = "\n".join(string(one.get("text")) for one in blocks if one.get("type") == "text")
    calls = tuple(
        ToolCall(string(one.get("id")), string(one.get("name")), mapping(one.get("input")))
        for one in blocks
        if one.get("type") == "tool_use"
    )
    if text or calls or not results:
        yield Message(role, text, calls, cache_mark=mark)


def _blocks(content: object) -> list[dict[str, object]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [mapping(one) for one in items(content)]


def _tools(body: Mapping[str, object]) -> Iterator[Tool]:
    for one in items(body.get("tools")):
        raw = mapping(one)
        if name := string(raw.get("name")):
            yield Tool(name, string(raw.get("description")), mapping(raw.get("input_schema")))


def _choice(body: Mapping[str, object]) -> str:
    choice = mapping(body.get("tool_choice"))
    name = string(choice.get("name"))
    return (
        f"tool:{name}" if choice.get("type") == "tool" else _CHOICES.get(string(choice.get("type")), "auto")
    )


def _id(call: ToolCall) -> str:
    return "toolu_" + call.id.removeprefix("call_")


def _stopped(made: Generation) -> dict[str, object]:
    if made.reply.stopped_by:
        return {"stop_reason": "stop_sequence", "stop_sequence": made.reply.stopped_by}
    return {"stop_reason": _STOPS[made.reply.finish], "stop_sequence": None}


def _head(made: Generation) -> dict[str, object]:
    return {"id": made.id, "type": "message", "role": "assistant", "model": made.model}


def _usage(made: Generation, output_tokens: int) -> dict[str, object]:
    usage = made.usage
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": output_tokens,
    }


def _events(made: Generation) -> Iterator[Event]:
    usage = {**_usage(made, 0), "service_tier": "standard"}
    start = {**_head(made), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield Event(_event({"type": "message_start", "message": start}), 0)
    yield Event(_event({"type": "ping"}), 0)
    tokens = index = 0
    if made.reply.text or not made.reply.calls:
        block: dict[str, object] = {"type": "text", "text": ""}
        yield Event(_event({"type": "content_block_start", "index": 0, "content_block": block}), tokens)
        for piece in pieces(made.reply.text):
            tokens += 1
            yield Event(_delta(0, {"type": "text_delta", "text": piece}), tokens)
        yield Event(_event({"type": "content_block_stop", "index": 0}), tokens)
        index = 1
    for number, call in enumerate(made.reply.calls, index):
        tokens += count_tokens(call.name)
        block = {"type": "tool_use", "id": _id(call), "name": call.name, "input": {}}
        yield Event(_event({"type": "content_block_start", "index": number, "content_block": block}), tokens)
        for piece in pieces(call.arguments_json):
            tokens += 1
            yield Event(_delta(number, {"type": "input_json_delta", "partial_json": piece}), tokens)
        yield Event(_event({"type": "content_block_stop", "index": number}), tokens)
    delta = _stopped(made)
    final = _usage(made, made.usage.output_tokens)
    del final["cache_creation"]  # the split by time to live stands in message_start only
    yield Event(_event({"type": "message_delta", "delta": delta, "usage": final}), tokens)
    yield Event(_event({"type": "message_stop"}), tokens)


def _delta(index: int, delta: dict[str, object]) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta})


def _event(value: Mapping[str, object]) -> bytes:
    return b"event: " + string(value["type"]).encode() + b"\ndata: " + compact(value) + b"\n\n"
