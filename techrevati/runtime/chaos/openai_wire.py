"""OpenAI chat completions as they go over the wire: requests, replies, streams, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.chaos.conversation import Conversation, Message, Tool, ToolCall
from techrevati.runtime.chaos.openai_checks import check_chat, check_content, missing, stops
from techrevati.runtime.chaos.openai_errors import OpenAIErrors, server_error_text
from techrevati.runtime.chaos.shape import items, mapping, parsed, string
from techrevati.runtime.chaos.tokens import count_tokens, pieces
from techrevati.runtime.chaos.wire import Event, Generation, InvalidRequestError, checked_turns, compact

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


class OpenAIWire(OpenAIErrors):
    """Chat completions."""

    id_prefix = "chatcmpl-"

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

    def error_event(self, message: str | None, request_id: str, made: Generation, sent: int) -> bytes:
        """An error object as stream data."""
        text = message or server_error_text(request_id)
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
