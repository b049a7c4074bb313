"""OpenAI's Responses API as it goes over the wire: requests, responses, their typed events, errors.

Responses are stored unless the request says ``"store": false``, so that a later one can go on from them; the
store is bounded, and an id that it no longer has is refused as the provider refuses an unknown one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import responses_request
from techrevati.runtime.chaos.conversation import Message
from techrevati.runtime.chaos.faults import FaultKind
from techrevati.runtime.chaos.openai_errors import ERRORS, ErrorRow, OpenAIErrors, server_error_text
from techrevati.runtime.chaos.shape import mapping, string
from techrevati.runtime.chaos.tokens import count_tokens, pieces
from techrevati.runtime.chaos.wire import Event, Generation, InvalidRequestError, compact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from techrevati.runtime.chaos.conversation import Conversation, ToolCall

MAX_STORED = 1_024  # responses that a later request can go on from; the oldest goes first
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ERRORS: dict[FaultKind, ErrorRow] = {
    **ERRORS,
    FaultKind.CONTEXT_OVERFLOW: (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "input",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
}


class ResponsesWire(OpenAIErrors):
    """``/v1/responses``; one for each server, as it remembers responses. Not locked, for one thread."""

    id_prefix = "resp_"
    errors = _ERRORS

    def __init__(self) -> None:
        self._stored: OrderedDict[str, tuple[Message, ...]] = OrderedDict()

    def conversation(self, body: Mapping[str, object]) -> Conversation:
        """The request in *body* after what ``previous_response_id`` names; raises ``InvalidRequestError``."""
        before = body.get("previous_response_id")
        if not isinstance(before, str):
            return responses_request.conversation(body)
        if before not in self._stored:
            raise InvalidRequestError(
                f"Previous response with id '{before[:100]}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return responses_request.conversation(body, self._stored[before])

    def store(self, made: Generation, talk: Conversation) -> None:
        """Remember *made*, unless the request says not to. Instructions are not carried over."""
        if made.request.get("store") is False:
            return
        asked = talk.messages[1:] if string(made.request.get("instructions")) else talk.messages
        self._stored[made.id] = (*asked, Message("assistant", made.reply.text, made.reply.calls))
        while len(self._stored) > MAX_STORED:
            self._stored.popitem(last=False)

    def plain(self, made: Generation) -> bytes:
        """The ``response`` object."""
        return compact(_ended(made))

    def events(self, made: Generation) -> list[Event]:
        """The typed events, numbered from 0; the last one holds the whole response and its usage."""
        return [
            Event(_event({**held, "sequence_number": index}), tokens)
            for index, (held, tokens) in enumerate(_events(made))
        ]

    def error_event(self, message: str | None, request_id: str, made: Generation, sent: int) -> bytes:
        """An ``error`` event, then ``response.failed``; a failed response says no usage."""
        text = message or server_error_text(request_id)
        error = {"type": "error", "code": "server_error", "message": text, "param": None}
        failed = _response(made, "failed", error={"code": "server_error", "message": text})
        ending = {"type": "response.failed", "response": failed, "sequence_number": sent + 1}
        return _event({**error, "sequence_number": sent}) + _event(ending)


def _ended(made: Generation) -> dict[str, object]:
    """The response as it is once all is generated."""
    reason = _REASONS.get(made.reply.finish)
    status = "incomplete" if reason else "completed"
    output: list[object] = []
    if made.reply.text or not made.reply.calls:
        output.append(_message(made, status, made.reply.text))
    output += [_call(made, index, call, "completed") for index, call in enumerate(made.reply.calls)]
    return _response(made, status, output=output, reason=reason)


def _response(
    made: Generation,
    status: str,
    *,
    output: list[object] | None = None,
    reason: str | None = None,
    error: dict[str, str] | None = None,
) -> dict[str, object]:
    asked = made.request
    text = {"format": {"type": "text"}, "verbosity": "medium"} | mapping(asked.get("text"))
    ended = status in ("completed", "incomplete")
    return {
        "id": made.id,
        "object": "response",
        "created_at": made.created,
        "completed_at": made.created if status == "completed" else None,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": made.model,
        "output": output or [],
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": asked.get("previous_response_id"),
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None} | mapping(asked.get("reasoning")),
        "safety_identifier": asked.get("safety_identifier"),
        "service_tier": "default" if ended else "auto",
        "store": asked.get("store") is not False,
        "temperature": _given(asked, "temperature", 1.0),
        "text": text,
        "tool_choice": _given(asked, "tool_choice", "auto"),
        "tools": _given(asked, "tools", []),
        "top_logprobs": 0,
        "top_p": _given(asked, "top_p", 1.0),
        "truncation": _given(asked, "truncation", "disabled"),
        "usage": _usage(made) if ended else None,
        "user": asked.get("user"),
        "metadata": _given(asked, "metadata", {}),
    }


def _given(asked: Mapping[str, object], name: str, otherwise: object) -> object:
    value = asked.get(name)
    return otherwise if value is None else value


def _usage(made: Generation) -> dict[str, object]:
    usage = made.usage
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def _item_id(made: Generation, prefix: str, index: int = 0) -> str:
    return prefix + hashlib.sha256(f"{made.id}:{index}".encode()).hexdigest()[:32]


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _message(made: Generation, status: str, text: str | None) -> dict[str, object]:
    return {
        "id": _item_id(made, "msg_"),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [_part(text)],
    }


def _call(made: Generation, index: int, call: ToolCall, status: str) -> dict[str, object]:
    return {
        "id": _item_id(made, "fc_", index),
        "type": "function_call",
        "status": status,
        "arguments": "" if status == "in_progress" else call.arguments_json,
        "call_id": call.id,
        "name": call.name,
    }


def _events(made: Generation) -> Iterator[tuple[dict[str, object], int]]:
    """Each event without its number, and the tokens that are generated once it is sent."""
    begun = _response(made, "in_progress")
    yield {"type": "response.created", "response": begun}, 0
    yield {"type": "response.in_progress", "response": begun}, 0
    tokens = output = 0
    ended = _ended(made)
    if made.reply.text or not made.reply.calls:
        yield from _message_events(made, string(ended["status"]))
        tokens, output = count_tokens(made.reply.text), 1
    for index, call in enumerate(made.reply.calls):
        yield from _call_events(made, index, call, output + index, tokens)
        tokens += count_tokens(call.name) + count_tokens(call.arguments_json)
    yield {"type": f"response.{ended['status']}", "response": ended}, tokens


def _message_events(made: Generation, status: str) -> Iterator[tuple[dict[str, object], int]]:
    place: dict[str, object] = {"item_id": _item_id(made, "msg_"), "output_index": 0, "content_index": 0}
    item = _message(made, "in_progress", None)
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}, 0
    yield {"type": "response.content_part.added", **place, "part": _part("")}, 0
    tokens = 0
    for piece in pieces(made.reply.text):
        tokens += 1
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}, tokens
    text = made.reply.text
    yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}, tokens
    yield {"type": "response.content_part.done", **place, "part": _part(text)}, tokens
    item = _message(made, status, text)
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}, tokens


def _call_events(
    made: Generation, index: int, call: ToolCall, output: int, tokens: int
) -> Iterator[tuple[dict[str, object], int]]:
    place: dict[str, object] = {"item_id": _item_id(made, "fc_", index), "output_index": output}
    tokens += count_tokens(call.name)
    item = _call(made, index, call, "in_progress")
    yield {"type": "response.output_item.added", "output_index": output, "item": item}, tokens
    for piece in pieces(call.arguments_json):
        tokens += 1
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}, tokens
    done = {**place, "name": call.name, "arguments": call.arguments_json}
    yield {"type": "response.function_call_arguments.done", **done}, tokens
    item = _call(made, index, call, "completed")
    yield {"type": "response.output_item.done", "output_index": output, "item": item}, tokens


def _event(value: Mapping[str, object]) -> bytes:
    return b"event: " + string(value["type"]).encode() + b"\ndata: " + compact(value) + b"\n\n"
