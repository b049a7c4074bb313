"""About how many input tokens a request has, for the books, when it ended before anybody said.

Whether a request may be sent is decided with an upper bound (``estimate_input_tokens``), several times the
truth.  On the books that would stand for good; there the texts are counted instead, with what the APIs of
OpenAI and Anthropic add to each message.  Of what is no text, such as images and files, the bound stays.
Whatever is no request of those APIs is counted whole, names and all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from techrevati.runtime._core.likely_tokens import PER_MESSAGE, PER_REPLY, likely_tokens
from techrevati.runtime.budgets import estimate_input_tokens
from techrevati.runtime.budgets.estimate import PER_REQUEST, is_image

if TYPE_CHECKING:
    from typing import TypeGuard

_TALKS = ("messages", "input", "prompt")
_ORDERS = ("system", "instructions")
_SCHEMAS = ("response_format", "text", "output_config", "output_format")
_MAX_DEPTH = 64


def likely_input_tokens(request: object, *, is_body: bool, embeddings: bool = False) -> int:
    """About how many input tokens *request* has.

    Args:
        request: What was sent.
        is_body: Whether it is the body of a request for a chat, a response, messages or a completion.
        embeddings: Whether it is one for embeddings.
    """
    if not is_body or not isinstance(request, Mapping):
        return PER_REPLY + _whole(request, 0)
    if embeddings:
        return _embedded(request.get("input"))
    count = PER_REPLY
    for name in _TALKS:
        count += _talk(request.get(name))
    for name in _ORDERS:
        if text := _said(request.get(name)):
            count += PER_MESSAGE + text
    for tool in _items(request.get("tools")):
        count += _tool(tool)
    for name in _SCHEMAS:
        count += _schema(request.get(name))
    return count


def _whole(value: object, depth: int) -> int:
    """Every text and every name in *value*."""
    if isinstance(value, str):
        return likely_tokens(value)
    if value is None or isinstance(value, (bool, int, float)):
        return 1
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping) and not is_image(value):
            inside = ((likely_tokens(str(name)), item) for name, item in value.items())
            return PER_MESSAGE + sum(name + _whole(item, depth + 1) for name, item in inside)
        if isinstance(value, (list, tuple)):
            return sum(_whole(item, depth + 1) for item in value)
        dump = getattr(value, "model_dump", None)
        if callable(dump):
            return _whole(dump(), depth + 1)
    return _bound(value)


def _bound(value: object) -> int:
    return estimate_input_tokens(value) - PER_REQUEST


def _embedded(given: object) -> int:
    """Texts are counted, tokens are counted already."""
    if isinstance(given, str):
        return likely_tokens(given)
    return sum(1 if isinstance(one, int) else _embedded(one) for one in _items(given))


def _talk(given: object) -> int:
    """The messages of a request; of one text, one message."""
    if isinstance(given, str):
        return PER_MESSAGE + likely_tokens(given)
    count = 0
    was_assistant = False
    for one in _items(given):
        if not isinstance(one, Mapping):
            count += 1 if isinstance(one, int) else PER_MESSAGE + _said(one)
            continue
        kind = one.get("type")
        if kind == "reasoning":  # earlier turns are not thought again
            continue
        if kind == "function_call":  # one turn of a model: its text, then each of its calls
            count += _call(one) + (0 if was_assistant else PER_MESSAGE)
        elif kind == "function_call_output":
            count += PER_MESSAGE + _said(one.get("output"))
        elif "role" in one:
            count += _message(one)
        else:
            count += _part(one)
        was_assistant = kind == "function_call" or one.get("role") == "assistant"
    return count


def _message(message: Mapping[str, object]) -> int:
    content = message.get("content")
    parts = _items(content)
    # Anthropic's results of tools are messages of their own, and may be all that a message holds.
    only_results = bool(parts) and all(_is(part, "tool_result") for part in parts)
    count = (0 if only_results else PER_MESSAGE) + _said(content)
    for call in _items(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, Mapping) else None
        count += _call(function) if isinstance(function, Mapping) else _part(call)
    return count


def _said(content: object) -> int:
    """The tokens of a text, or of the parts of a message; their texts are one, a line each."""
    if isinstance(content, str):
        return likely_tokens(content)
    count = 0
    texts: list[str] = []
    for part in _items(content):
        text = _text(part)
        if text is None:
            count += _part(part)
        elif text:
            texts.append(text)
    return count + likely_tokens("\n".join(texts))


def _text(part: object) -> str | None:
    """The text of a part; None where it is something else."""
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and "source" not in part:
        for name in ("text", "thinking", "refusal"):
            if isinstance(text := part.get(name), str):
                return text
    return None


def _part(part: object) -> int:
    if _is(part, "tool_result"):
        return PER_MESSAGE + _said(part.get("content"))
    if _is(part, "tool_use"):
        return _call(part)
    text = _text(part)
    return _bound(part) if text is None else likely_tokens(text)


def _call(call: Mapping[str, object]) -> int:
    """A call of a tool, as a model wrote it."""
    given = call.get("input") or call.get("arguments") or {}
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
    return likely_tokens(str(call.get("name") or "")) + likely_tokens(text)


def _tool(tool: object) -> int:
    if isinstance(tool, Mapping):
        function = tool.get("function", tool)
        if isinstance(function, Mapping) and function.get("name"):
            wanted = function.get("parameters") or function.get("input_schema") or {}
            text = str(function.get("description") or "")
            return likely_tokens(str(function["name"])) + likely_tokens(text) + _json(wanted)
    return _part(tool)


def _schema(asked: object) -> int:
    """What an answer must look like is told to the model where it is a schema."""
    for name in ("format", "json_schema", "schema"):
        if isinstance(asked, Mapping) and name in asked:
            asked = asked[name]
            if name == "schema":
                return _json(asked)
    return 0


def _json(value: object) -> int:
    return likely_tokens(json.dumps(value, default=str))


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, (list, tuple)) else ()


def _is(part: object, kind: str) -> TypeGuard[Mapping[str, object]]:
    return isinstance(part, Mapping) and part.get("type") == kind
