"""What OpenAI answers with 400: wrong types, values out of range, parameters that do not go together.

Wordings, ``param`` and ``code`` follow the provider's.  A parameter that this endpoint does not speak, and
that would change the shape of the answer, is refused as the provider refuses it for a model without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.chaos.shape import items, mapping, string
from techrevati.runtime.chaos.wire import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_STOPS = 4
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_COUNTS = {"max_tokens": 1, "max_completion_tokens": 1, "n": 1}
_FLAGS = ("stream", "store", "logprobs", "parallel_tool_calls")
_UNSPOKEN = (
    "audio",
    "prediction",
    "functions",
    "function_call",
    "web_search_options",
    "moderation",
    "top_logprobs",
)
_KNOWN = {
    *_RANGES, *_COUNTS, *_FLAGS, *_UNSPOKEN, "messages", "model", "modalities", "logit_bias", "metadata",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "response_format",
    "safety_identifier", "seed", "service_tier", "stop", "stream_options", "tool_choice", "tools", "user",
    "verbosity",
}  # fmt: skip
_PARTS = ("text", "image_url", "input_audio", "refusal", "file")
_FORMATS = ("text", "json_object", "json_schema")


def check_chat(body: Mapping[str, object]) -> None:
    """Raise ``InvalidRequestError`` where the provider would answer 400; messages are checked apart."""
    for name in body:
        if name not in _KNOWN:
            raise InvalidRequestError(f"Unrecognized request argument supplied: {name[:100]}")
    for name, (low, high) in _RANGES.items():
        number(name, body.get(name), low, high)
    for name, least in _COUNTS.items():
        integer(name, body.get(name), least)
    for name in _FLAGS:
        if not isinstance(body.get(name), (bool, type(None))):
            raise wrong_type(name, "a boolean", body[name])
    for name in _UNSPOKEN:
        if body.get(name) is not None:
            raise unsupported(name)
    if body.get("logprobs") is True:
        raise InvalidRequestError("You are not allowed to request logprobs from this model.")
    if items(body.get("modalities")) not in ([], ["text"]):
        raise unsupported("modalities")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise InvalidRequestError(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
            code="invalid_parameter_combination",
        )
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise InvalidRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    _check_stop(body.get("stop"))
    _check_tools(body)
    _check_format(body)


def stops(body: Mapping[str, object]) -> tuple[str, ...]:
    """The stop sequences of a request that was checked."""
    stop = body.get("stop")
    return (
        (stop,) if isinstance(stop, str) and stop else tuple(one for one in map(string, items(stop)) if one)
    )


def check_content(role: str, raw: Mapping[str, object], index: int) -> None:
    """The content of message number *index*."""
    content = raw.get("content")
    param = f"messages.[{index}].content"
    if content is None:
        if role != "assistant" or not items(raw.get("tool_calls")):
            raise InvalidRequestError(
                "Invalid value for 'content': expected a string, got null.", param=param
            )
        return
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong_type(f"messages[{index}].content", "one of a string or array of objects", content)
    if not content:
        raise empty(f"messages[{index}].content")
    for place, part in enumerate(items(content)):
        kind = string(mapping(part).get("type"))
        if kind not in _PARTS:
            allowed = ", ".join(f"'{one}'" for one in _PARTS)
            raise InvalidRequestError(
                f"Invalid value: '{kind[:100]}'. Supported values are: {allowed}.",
                param=f"messages[{index}].content[{place}].type",
                code="invalid_value",
            )


def _check_stop(stop: object) -> None:
    if stop is None or isinstance(stop, str):
        return
    if not isinstance(stop, list) or not all(isinstance(one, str) for one in items(stop)):
        raise wrong_type("stop", "one of a string or array of strings", stop)
    if len(items(stop)) > MAX_STOPS:
        raise InvalidRequestError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, but got an "
            f"array with length {len(items(stop))} instead.",
            param="stop",
            code="array_above_max_length",
        )


def _check_tools(body: Mapping[str, object]) -> None:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None and body.get(name) != "none":
                text = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
                raise InvalidRequestError(text, param=name)
        return
    if not isinstance(tools, list):
        raise wrong_type("tools", "an array of objects", tools)
    if not tools:
        raise empty("tools")
    names: list[str] = []
    for index, one in enumerate(items(tools)):
        if (kind := string(mapping(one).get("type"))) != "function":
            if not kind:
                raise missing(f"tools[{index}].type")
            raise InvalidRequestError(
                f"Invalid value: '{kind[:100]}'. Supported values are: 'function'.",
                param=f"tools[{index}].type",
                code="invalid_value",
            )
        names.append(string(mapping(mapping(one).get("function")).get("name")))
        if not names[-1]:
            raise missing(f"tools[{index}].function.name")
    choice = body.get("tool_choice")
    if choice is None or (isinstance(choice, str) and choice in ("none", "auto", "required")):
        return
    if isinstance(choice, str):
        text = f"Invalid value: '{choice[:100]}'. Supported values are: 'none', 'auto', and 'required'."
        raise InvalidRequestError(text, param="tool_choice", code="invalid_value")
    named = string(mapping(mapping(choice).get("function")).get("name"))
    if mapping(choice).get("type") == "function" and named not in names:
        raise InvalidRequestError(
            "Tool choice 'function' not found in 'tools' parameter.", param="tool_choice"
        )
    if mapping(choice).get("type") != "function":
        raise unsupported("tool_choice")


def _check_format(body: Mapping[str, object]) -> None:
    form = body.get("response_format")
    if form is None:
        return
    if not isinstance(form, dict):
        raise wrong_type("response_format", "an object", form)
    kind = string(mapping(form).get("type"))
    if kind not in _FORMATS:
        allowed = ", ".join(f"'{one}'" for one in _FORMATS)
        text = f"Invalid value: '{kind[:100]}'. Supported values are: {allowed}."
        raise InvalidRequestError(text, param="response_format.type", code="invalid_value")
    if kind == "json_object" and "json" not in str(body.get("messages")).lower():
        raise InvalidRequestError(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            "'json_object'.",
            param="messages",
        )
    if kind == "json_schema":
        held = mapping(mapping(form).get("json_schema"))
        for name in ("name", "schema"):
            if not held.get(name):
                path = "response_format.json_schema" + (f".{name}" if held else "")
                raise missing(path)


def missing(path: str) -> InvalidRequestError:
    """A parameter that must be there."""
    return InvalidRequestError(
        f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
    )


def empty(path: str) -> InvalidRequestError:
    """An array that must hold something."""
    return InvalidRequestError(
        f"Invalid '{path}': empty array. Expected an array with minimum length 1, but got an empty "
        f"array instead.",
        param=path,
        code="empty_array",
    )


def unsupported(name: str) -> InvalidRequestError:
    """A parameter, or a value of it, that this endpoint does not speak."""
    return InvalidRequestError(
        f"Unsupported parameter: '{name}' is not supported with this model.",
        param=name,
        code="unsupported_parameter",
    )


def wrong_type(path: str, expected: str, value: object) -> InvalidRequestError:
    """A value of another JSON type than the *expected* one."""
    kinds = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", list: "an array"}
    got = kinds.get(type(value), "an object" if isinstance(value, dict) else "null")
    text = f"Invalid type for '{path}': expected {expected}, but got {got} instead."
    return InvalidRequestError(text, param=path, code="invalid_type")


def number(name: str, value: object, low: float, high: float) -> None:
    """Check a number that may be missing."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_type(name, "a decimal", value)
    if not low <= value <= high:
        below = value < low
        side, sign, bound = ("below minimum", ">=", low) if below else ("above maximum", "<=", high)
        raise InvalidRequestError(
            f"Invalid '{name}': decimal {side} value. Expected a value {sign} {bound:g}, but got "
            f"{value!r} instead.",
            param=name,
            code="decimal_below_min_value" if below else "decimal_above_max_value",
        )


def integer(name: str, value: object, least: int) -> None:
    """Check a count that may be missing."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, "an integer", value)
    if value < least:
        raise InvalidRequestError(
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got "
            f"{value} instead.",
            param=name,
            code="integer_below_min_value",
        )
