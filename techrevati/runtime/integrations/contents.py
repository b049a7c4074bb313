"""What was asked and what was answered, in the words of the OpenTelemetry conventions.

Nothing here runs unless an event sink asks for contents with a true ``takes_content``.  Requests and answers
of the APIs that providers copy from each other are read as they stand on the wire; of what is no text
(images, audio, files) only its kind is told.

Source: OpenTelemetry semantic conventions for generative AI, JSON schemas of input and output messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    Part: TypeAlias = dict[str, object]
    Message: TypeAlias = dict[str, object]

MAX_ANSWER = 1_000_000  # characters of a streamed answer that are kept
_TEXT = ("text", "input_text", "output_text", "summary_text", "reasoning_text")
_ENDS = {
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "incomplete": "length",
    "refusal": "content_filter",
    "failed": "error",
}


def asked(body: object) -> dict[str, object]:
    """The messages (``input``) and the instructions apart from them (``system``) of a request."""
    if not isinstance(body, Mapping):
        return {}
    told: dict[str, object] = {}
    instructions = body.get("system") if "system" in body else body.get("instructions")
    if system := _parts(instructions):
        told["system"] = system
    given = next((body[name] for name in ("messages", "input", "prompt") if body.get(name) is not None), None)
    if isinstance(given, (str, Mapping)):
        given = [given]
    if isinstance(given, (list, tuple)):
        told["input"] = [_message(one) for one in given]
    return told


class Answered:
    """What one answer says, whole or in events.  For one reader at a time."""

    __slots__ = ("_left", "_messages", "_open")

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._open: dict[object, dict[str, object]] = {}  # of a stream: a choice, or a block of content
        self._left = MAX_ANSWER

    def whole(self, answer: object) -> None:
        """Hear an answer that is there at once: a model of the SDK, a mapping, or its JSON."""
        body = plain(answer)
        if body is None:
            return
        self._open.clear()
        choices, output = body.get("choices"), body.get("output")
        if isinstance(choices, list):
            self._messages = [_choice(plain(one) or {}) for one in choices]
        elif isinstance(output, list):
            parts = [part for one in output for part in _said(plain(one) or {})]
            end = plain(body.get("incomplete_details"))
            self._messages = [_output(parts, (end or {}).get("reason") or body.get("status"))]
        elif body.get("content") is not None:
            self._messages = [_output(_parts(body["content"]), body.get("stop_reason"))]

    def event(self, event: Mapping[str, object]) -> None:
        """Hear one event of a stream."""
        kind = event.get("type")
        choices = event.get("choices")
        if isinstance(choices, list):
            for choice in filter(None, map(plain, choices)):
                self._delta_of_choice(choice)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self.whole(event.get("response"))
        elif kind == "response.output_text.delta":
            self._add(0, "text", event.get("delta"))
        elif kind == "content_block_start":
            self._open[event.get("index")] = {"block": dict(plain(event.get("content_block")) or {})}
        elif kind == "content_block_delta":
            delta = plain(event.get("delta")) or {}
            for name in ("text", "thinking", "partial_json"):
                self._add(event.get("index"), name, delta.get(name))
        elif kind == "message_delta":
            delta = plain(event.get("delta")) or {}
            if delta.get("stop_reason"):
                self._open.setdefault("end", {})["finish"] = delta["stop_reason"]

    def messages(self) -> list[Message]:
        """One for each choice; of a stream that was cut off, what had come."""
        if not self._open:
            return self._messages
        if any("block" in one for one in self._open.values()):
            end = self._open.get("end", {}).get("finish")
            blocks = [one for one in self._open.values() if "block" in one]
            return [_output([_part(_filled(one)) for one in blocks], end)]
        return [_choice(_joined(one)) for one in self._open.values() if one.keys() != {"finish"}]

    def _delta_of_choice(self, choice: Mapping[str, object]) -> None:
        index = choice.get("index", 0)
        delta = plain(choice.get("delta")) or {}
        self._add(index, "text", delta.get("content") or choice.get("text"))
        self._add(index, "refusal", delta.get("refusal"))
        calls = delta.get("tool_calls")
        for call in filter(None, map(plain, calls if isinstance(calls, list) else [])):
            self._add_call(index, call)
        if choice.get("finish_reason"):
            self._open.setdefault(index, {})["finish"] = choice["finish_reason"]

    def _add_call(self, index: object, piece: Mapping[str, object]) -> None:
        calls = self._open.setdefault(index, {}).setdefault("calls", {})
        assert isinstance(calls, dict)
        call = calls.setdefault(piece.get("index", 0), {})
        function = plain(piece.get("function")) or {}
        for name, value in (("id", piece.get("id")), ("name", function.get("name"))):
            if value:
                call[name] = value
        self._append(call, "arguments", function.get("arguments"))

    def _add(self, index: object, name: str, text: object) -> None:
        if isinstance(text, str) and text:
            self._append(self._open.setdefault(index, {}), name, text)

    def _append(self, where: dict[str, object], name: str, text: object) -> None:
        if not isinstance(text, str) or self._left <= 0:
            return
        pieces = where.setdefault(name, [])
        assert isinstance(pieces, list)
        pieces.append(text[: self._left])
        self._left -= len(text)


# --- messages ----------------------------------------------------------------------------------------------


def _message(one: object) -> Message:
    if isinstance(one, str):
        return {"role": "user", "parts": _parts(one)}
    item = plain(one) or {}
    role = item.get("role")
    if not isinstance(role, str):
        kind = str(item.get("type", ""))
        return {"role": "tool" if kind.endswith("_output") else "assistant", "parts": _said(item)}
    if role == "tool":
        response = _flat(item.get("content"))
        answer = {"type": "tool_call_response", "id": item.get("tool_call_id"), "response": response}
        return {"role": role, "parts": [answer]}
    return {"role": role, "parts": [*_parts(item.get("content")), *_calls(item.get("tool_calls"))]}


def _choice(choice: Mapping[str, object]) -> Message:
    message = plain(choice.get("message")) or {}
    content = message.get("content") if message else choice.get("text")
    parts = [*_parts(content), *_parts(message.get("refusal")), *_calls(message.get("tool_calls"))]
    return _output(parts, choice.get("finish_reason"))


def _output(parts: list[Part], end: object) -> Message:
    reason = _ENDS.get(end, end) if isinstance(end, str) else "error"  # it was cut off
    return {"role": "assistant", "parts": parts, "finish_reason": reason}


def _said(item: Mapping[str, object]) -> list[Part]:
    """One item of the responses API: a message, a call, its result, a thought."""
    if item.get("type") in (None, "message"):
        return _parts(item.get("content"))
    if item.get("type") == "reasoning":
        return [{**part, "type": "reasoning"} for part in _parts(item.get("summary"))]
    return [_part(item)]


def _calls(calls: object) -> list[Part]:
    found: list[Part] = []
    for call in filter(None, map(plain, calls if isinstance(calls, (list, tuple)) else [])):
        function = plain(call.get("function")) or {}
        name, arguments = function.get("name"), _loaded(function.get("arguments"))
        found.append({"type": "tool_call", "id": call.get("id"), "name": name, "arguments": arguments})
    return found


def _parts(content: object) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    return [_part(one) for one in content] if isinstance(content, (list, tuple)) else []


def _part(one: object) -> Part:
    if isinstance(one, str):
        return {"type": "text", "content": one}
    item = plain(one) or {}
    kind = item.get("type")
    if kind in _TEXT:
        return {"type": "text", "content": item.get("text", "")}
    if kind == "refusal":
        return {"type": "text", "content": item.get("refusal", "")}
    if kind == "thinking":
        return {"type": "reasoning", "content": item.get("thinking", "")}
    if kind in ("tool_use", "function_call"):
        called, given = item.get("call_id", item.get("id")), item.get("input", item.get("arguments"))
        return {"type": "tool_call", "id": called, "name": item.get("name"), "arguments": _loaded(given)}
    if kind in ("tool_result", "function_call_output"):
        called = item.get("tool_use_id", item.get("call_id"))
        response = _flat(item.get("content", item.get("output")))
        return {"type": "tool_call_response", "id": called, "response": response}
    return {"type": kind if isinstance(kind, str) else "unknown"}


def _flat(content: object) -> object:
    """The texts of a tool's result in one; what is no text is told as parts."""
    parts = _parts(content)
    if parts and all(part["type"] == "text" for part in parts):
        return "\n".join(str(part["content"]) for part in parts)
    return parts or ""


# --- pieces of streams -------------------------------------------------------------------------------------


def _filled(one: Mapping[str, object]) -> dict[str, object]:
    """A block of an Anthropic message with its deltas."""
    block = one["block"]
    assert isinstance(block, dict)
    for name, pieces in (("text", one.get("text")), ("thinking", one.get("thinking"))):
        if pieces:
            block = {**block, name: str(block.get(name) or "") + _join(pieces)}
    if one.get("partial_json"):
        block = {**block, "input": _loaded(_join(one["partial_json"]))}
    return block


def _joined(one: Mapping[str, object]) -> dict[str, object]:
    """A choice of a chat stream as it would have come whole."""
    calls = one.get("calls")
    functions = [
        {"id": call.get("id"), "function": {**call, "arguments": _join(call.get("arguments"))}}
        for call in (calls.values() if isinstance(calls, dict) else ())
    ]
    said = {"content": _join(one.get("text")), "refusal": _join(one.get("refusal")), "tool_calls": functions}
    return {"message": said, "finish_reason": one.get("finish")}


def _join(pieces: object) -> str:
    return "".join(pieces) if isinstance(pieces, list) else ""


def _loaded(arguments: object) -> object:
    """Arguments of a tool as JSON says them; a text that is no JSON stays one."""
    if not isinstance(arguments, str):
        return arguments
    try:
        loaded: object = json.loads(arguments)
    except ValueError:
        return arguments
    return loaded


def plain(value: object) -> Mapping[str, object] | None:
    """A mapping of *value*: itself, a model of an SDK, or the JSON of one."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (bytes, str)):
        try:
            value = json.loads(value)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return None
    try:
        dumped: object = dump()
    except Exception:
        return None
    return dumped if isinstance(dumped, dict) else None
