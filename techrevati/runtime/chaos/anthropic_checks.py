"""What Anthropic answers with 400: missing fields, values out of range, blocks and tools that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.chaos.shape import items, mapping, string
from techrevati.runtime.chaos.wire import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHARES = ("temperature", "top_p")
_KNOWN = {
    *_SHARES, "max_tokens", "messages", "model", "cache_control", "container", "diagnostics", "inference_geo",
    "metadata", "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking",
    "tool_choice", "tools", "top_k", "user_profile_id", "workspace_id",
}  # fmt: skip
_CHOICES = ("auto", "any", "tool", "none")


def check_messages(body: Mapping[str, object]) -> None:
    """Raise ``InvalidRequestError``; ``model`` and turns are checked apart."""
    for name in body:
        if name not in _KNOWN:
            raise InvalidRequestError(f"{name[:100]}: Extra inputs are not permitted")
    limit = body.get("max_tokens")
    if limit is None:
        raise InvalidRequestError("max_tokens: Field required")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise InvalidRequestError("max_tokens: Input should be a valid integer")
    if limit < 1:
        raise InvalidRequestError("max_tokens: Input should be greater than or equal to 1")
    for name in _SHARES:
        _share(name, body.get(name))
    top_k = body.get("top_k")
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 0):
        raise InvalidRequestError("top_k: Input should be greater than or equal to 0")
    if not isinstance(body.get("stream"), (bool, type(None))):
        raise InvalidRequestError("stream: Input should be a valid boolean")
    _check_stops(body.get("stop_sequences"))
    if mapping(body.get("thinking")).get("type") == "enabled":
        raise InvalidRequestError("thinking: extended thinking is not supported by this model")
    if body.get("container") is not None:
        raise InvalidRequestError("container: not supported by this model")
    _check_content(body)
    _check_tools(body)
    form = mapping(mapping(body.get("output_config")).get("format"))
    if form and (form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict)):
        raise InvalidRequestError("output_config.format: Input should be a 'json_schema' with a schema")


def _share(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidRequestError(f"{name}: Input should be a valid number")
    if not 0 <= value <= 1:
        side = "greater than or equal to 0" if value < 0 else "less than or equal to 1"
        raise InvalidRequestError(f"{name}: Input should be {side}")


def _check_stops(stops: object) -> None:
    if stops is None:
        return
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in items(stops)):
        raise InvalidRequestError("stop_sequences: Input should be a valid list of strings")
    if any(not string(one).strip() for one in items(stops)):
        raise InvalidRequestError("stop_sequences: each stop sequence must contain non-whitespace")


def _check_content(body: Mapping[str, object]) -> None:
    raw = items(body.get("messages"))
    for index, one in enumerate(raw):
        message = mapping(one)
        if string(message.get("role")) == "system":
            raise InvalidRequestError(
                'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
                "parameter, not "
                '"system" as an input message role.'
            )
        if "content" not in message or message["content"] is None:
            raise InvalidRequestError(f"messages.{index}.content: Field required")
        content = message["content"]
        last_answer = index == len(raw) - 1 and message.get("role") == "assistant"
        if content in ("", []) and not last_answer:
            raise InvalidRequestError(
                f"messages.{index}: all messages must have non-empty content except for the optional final "
                "assistant message"
            )
        blocks = [mapping(block) for block in items(content)]
        if any(block.get("type") == "text" and not string(block.get("text")) for block in blocks):
            raise InvalidRequestError("messages: text content blocks must be non-empty")


def _check_tools(body: Mapping[str, object]) -> None:
    names: list[str] = []
    for index, one in enumerate(items(body.get("tools"))):
        tool = mapping(one)
        if (kind := tool.get("type")) not in (None, "custom"):
            raise InvalidRequestError(
                f"tools.{index}: '{string(body.get('model'))[:100]}' does not support tool types: "
                f"{str(kind)[:100]}."
            )
        if not string(tool.get("name")):
            raise InvalidRequestError(f"tools.{index}.custom.name: Field required")
        if not isinstance(tool.get("input_schema"), dict):
            raise InvalidRequestError(f"tools.{index}.custom.input_schema: Field required")
        names.append(string(tool.get("name")))
    if len(set(names)) < len(names):
        raise InvalidRequestError("tools: Tool names must be unique.")
    choice = mapping(body.get("tool_choice"))
    if not choice:
        return
    kind = string(choice.get("type"))
    if kind not in _CHOICES:
        raise InvalidRequestError(
            f"tool_choice: Input tag '{kind[:100]}' found using 'type' does not match any of the "
            f"expected tags: "
            "'any', 'auto', 'none', 'tool'"
        )
    if not names:
        raise InvalidRequestError("tool_choice: may only be specified while providing tools")
    if kind == "tool" and choice.get("name") not in names:
        raise InvalidRequestError(f"Tool '{string(choice.get('name'))[:100]}' not found in provided tools")
