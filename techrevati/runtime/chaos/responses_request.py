"""Requests to OpenAI's Responses API: instructions, input items, tools, and what is wrong with them.

Wordings, ``param`` and ``code`` follow the provider's.  What this endpoint does not speak, and would
change the answer, is refused as the provider refuses it for a model without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.chaos.conversation import Conversation, Message, Tool, ToolCall
from techrevati.runtime.chaos.openai_checks import empty, integer, missing, number, unsupported, wrong_type
from techrevati.runtime.chaos.shape import items, mapping, parsed, string
from techrevati.runtime.chaos.wire import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MIN_OUTPUT_TOKENS = 16  # the provider takes no smaller limit
_FLAGS = ("stream", "store", "parallel_tool_calls", "background")
_UNSPOKEN = ("background", "conversation", "prompt", "context_management", "top_logprobs", "max_tool_calls")
_KNOWN = {
    *_FLAGS, *_UNSPOKEN, "model", "input", "instructions", "max_output_tokens", "metadata", "tools",
    "include", "tool_choice", "text", "temperature", "top_p", "previous_response_id", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier",
    "stream_options", "reasoning", "truncation", "user",
}  # fmt: skip
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_PARTS = ("input_text", "input_image", "input_file", "output_text", "refusal")
_ITEMS = ("message", "function_call", "function_call_output", "reasoning")
_FORMATS = ("text", "json_object", "json_schema")
_CHOICES = ("none", "auto", "required")


def checked(body: Mapping[str, object]) -> None:
    """Raise ``InvalidRequestError`` where the provider would answer 400; the input is checked apart."""
    for name in body:
        if name not in _KNOWN:
            raise InvalidRequestError(
                f"Unknown parameter: '{name[:100]}'.", param=name[:100], code="unknown_parameter"
            )
    if not string(body.get("model")):
        raise missing("model")
    number("temperature", body.get("temperature"), 0, 2)
    number("top_p", body.get("top_p"), 0, 1)
    integer("max_output_tokens", body.get("max_output_tokens"), MIN_OUTPUT_TOKENS)
    for name in _FLAGS:
        if not isinstance(body.get(name), (bool, type(None))):
            raise wrong_type(name, "a boolean", body[name])
    for name in ("instructions", "previous_response_id"):
        if not isinstance(body.get(name), (str, type(None))):
            raise wrong_type(name, "a string", body[name])
    for name in _UNSPOKEN:
        if body.get(name):
            raise unsupported(name)
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise InvalidRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    _check_format(body)
    _check_choice(body, [tool.name for tool in tools(body)])


def conversation(body: Mapping[str, object], earlier: Sequence[Message] = ()) -> Conversation:
    """The request in *body*, which goes on with *earlier* messages; the instructions come first."""
    checked(body)
    new = _input(body.get("input"))
    messages = (*earlier, *new)
    _check_turns(messages)
    if text := string(body.get("instructions")):
        messages = (Message("system", text), *messages)
    form = mapping(mapping(body.get("text")).get("format"))
    limit = body.get("max_output_tokens")
    return Conversation(
        model=string(body.get("model")),
        messages=messages,
        tools=tuple(tools(body)),
        choice=_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls") is not False,
        stream=body.get("stream") is True,
        max_tokens=limit if isinstance(limit, int) else None,
        json_answer=form.get("type") in ("json_object", "json_schema"),
        json_schema=mapping(form.get("schema")) or None,
    )


def tools(body: Mapping[str, object]) -> Iterator[Tool]:
    """The functions on offer; other kinds of tools are not spoken here."""
    given = body.get("tools")
    if not isinstance(given, (list, type(None))):
        raise wrong_type("tools", "an array of objects", given)
    for index, one in enumerate(items(given)):
        raw = mapping(one)
        kind, name = string(raw.get("type")), string(raw.get("name"))
        if not kind:
            raise missing(f"tools[{index}].type")
        if kind != "function":
            raise _invalid_value(f"tools[{index}].type", kind, ("function",))
        if not name:
            raise missing(f"tools[{index}].name")
        yield Tool(name, string(raw.get("description")), mapping(raw.get("parameters")))


def _input(given: object) -> list[Message]:
    if given is None:
        raise missing("input")
    if isinstance(given, str):
        return [Message("user", given)]
    if not isinstance(given, list):
        raise wrong_type("input", "one of a string or array of input items", given)
    if not given:
        raise empty("input")
    found: list[Message] = []
    for index, one in enumerate(items(given)):
        message = _item(mapping(one), f"input[{index}]")
        if message is None:
            continue
        if message.calls and found and found[-1].role == "assistant":
            # One turn of the model is several items here: its text, then each of its calls.
            last = found.pop()
            message = Message("assistant", last.text, last.calls + message.calls)
        found.append(message)
    return found


def _item(raw: Mapping[str, object], path: str) -> Message | None:
    kind = string(raw.get("type")) or ("message" if "role" in raw else "")
    match kind:
        case "message":
            role = string(raw.get("role"))
            if role not in _ROLES:
                raise _invalid_value(f"{path}.role", role, tuple(_ROLES))
            return Message(_ROLES[role], _text(raw.get("content"), f"{path}.content"))
        case "function_call":
            for name in ("call_id", "name", "arguments"):
                if not isinstance(raw.get(name), str):
                    raise missing(f"{path}.{name}")
            arguments = mapping(parsed(string(raw["arguments"])))
            call = ToolCall(string(raw["call_id"]), string(raw["name"]), arguments)
            return Message("assistant", calls=(call,))
        case "function_call_output":
            for name in ("call_id", "output"):
                if raw.get(name) is None:
                    raise missing(f"{path}.{name}")
            text = _text(raw["output"], f"{path}.output")
            return Message("tool", text, answers=string(raw["call_id"]))
        case "reasoning":
            return None
        case "":
            raise missing(f"{path}.type")
        case "item_reference":
            held = string(raw.get("id"))[:100]
            raise InvalidRequestError(f"Item with id '{held}' not found.", param="input", status=404)
        case _:
            raise _invalid_value(f"{path}.type", kind, _ITEMS)


def _text(content: object, path: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(path, "one of a string or array of objects", content)
    for index, one in enumerate(items(content)):
        kind = string(mapping(one).get("type"))
        if kind not in _PARTS:
            raise _invalid_value(f"{path}[{index}].type", kind, _PARTS)
    texts = [mapping(one).get("text") for one in items(content)]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _check_turns(messages: Sequence[Message]) -> None:
    """Every result answers a call before it, and every call has a result somewhere after it."""
    open_ids: dict[str, None] = {}
    for message in messages:
        open_ids.update(dict.fromkeys(call.id for call in message.calls))
        if message.role == "tool":
            if message.answers not in open_ids:
                raise InvalidRequestError(
                    f"No tool call found for function call output with call_id {message.answers[:100]}.",
                    param="input",
                )
            del open_ids[message.answers]
    if open_ids:
        first = next(iter(open_ids))[:100]
        raise InvalidRequestError(f"No tool output found for function call {first}.", param="input")


def _check_format(body: Mapping[str, object]) -> None:
    text = body.get("text")
    if not isinstance(text, (dict, type(None))):
        raise wrong_type("text", "an object", text)
    form = mapping(text).get("format")
    if form is None:
        return
    if not isinstance(form, dict):
        raise wrong_type("text.format", "an object", form)
    held = mapping(form)
    kind = string(held.get("type"))
    if kind not in _FORMATS:
        raise _invalid_value("text.format.type", kind, _FORMATS)
    if kind == "json_object" and "json" not in f"{body.get('input')}{body.get('instructions')}".lower():
        raise InvalidRequestError(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
            param="input",
        )
    if kind == "json_schema":
        for name in ("name", "schema"):
            if not held.get(name):
                raise missing(f"text.format.{name}")


def _check_choice(body: Mapping[str, object], names: Sequence[str]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise _invalid_value("tool_choice", choice, _CHOICES)
        if choice == "required" and not names:
            raise InvalidRequestError(
                "Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice"
            )
        return
    held = mapping(choice)
    if held.get("type") != "function":
        raise unsupported("tool_choice")
    if string(held.get("name")) not in names:
        raise InvalidRequestError(
            "Tool choice 'function' not found in 'tools' parameter.", param="tool_choice"
        )


def _choice(choice: object) -> str:
    if isinstance(choice, str):
        return choice
    name = string(mapping(choice).get("name"))
    return f"tool:{name}" if name else "auto"


def _invalid_value(path: str, value: str, allowed: Sequence[str]) -> InvalidRequestError:
    *most, last = (f"'{one}'" for one in allowed)
    words = f"{', '.join(most)}, and {last}" if most else last
    return InvalidRequestError(
        f"Invalid value: '{value[:100]}'. Supported values are: {words}.", param=path, code="invalid_value"
    )
