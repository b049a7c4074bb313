"""Say what tools returned: a lookup's result belongs into the answer whatever words it uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.passages import finished
from techrevati.runtime.chaos.shape import items, mapping, parsed
from techrevati.runtime.chaos.toolkit import ToolUse, tool_use

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from techrevati.runtime.chaos.conversation import Conversation, Message, Tool, ToolCall

MAX_TOLD = 20
MAX_LENGTH = 600
_MAX_ROWS = 20
_FAILED = re.compile(
    r"(?i)^\W*(?:\w*(?:error|exception)\b|failed\b|denied\b|refused\b|blocked\b|forbidden\b|"
    r"permission denied|traceback)"
)


def failed(result: Message) -> bool:
    """True for a result that is marked as failed, empty, or an error; "0" and "no rain" are results."""
    text = result.text.strip()
    value = parsed(text) if text[:1] == "{" else None
    if isinstance(value, dict) and any(value.get(key) for key in ("error", "errors", "exception")):
        return True
    return result.failed or not text or text in ("[]", "{}", "null", '""') or bool(_FAILED.match(text))


def lookups(talk: Conversation, since: int) -> Iterator[tuple[ToolCall, Message]]:
    """Calls of tools that look something up or act, made after message *since*, with their results."""
    tools = {tool.name: tool for tool in talk.tools}
    results = {message.answers: message for message in talk.messages[since:] if message.role == "tool"}
    for message in talk.messages[since:]:
        for call in message.calls:
            if (result := results.get(call.id)) and _looks_up(tools.get(call.name), call):
                yield call, result


def _looks_up(tool: Tool | None, call: ToolCall) -> bool:
    from techrevati.runtime.chaos.conversation import Tool

    return tool_use(tool or Tool(call.name)) in (ToolUse.LOOKUP, ToolUse.ACT)


def facts(talk: Conversation) -> dict[str, object]:
    """What JSON results said under which name, for the arguments of later calls."""
    found: dict[str, object] = {}
    for message in talk.messages:
        if message.role == "tool" and not failed(message):
            for key, value in _leaves(
                parsed(message.text) if message.text.strip()[:1] in ("{", "[") else None, 0
            ):
                found.setdefault(key, value)
    return found


def _leaves(value: object, depth: int) -> Iterator[tuple[str, object]]:
    if depth > 8:
        return
    for key, inner in mapping(value).items():
        if isinstance(inner, (str, int, float)):
            yield key, inner
        else:
            yield from _leaves(inner, depth + 1)
    for inner in items(value)[:1]:
        yield from _leaves(inner, depth + 1)


def told(talk: Conversation, since: int) -> list[str]:
    """A sentence for each result since the question, in order; long ones are cut."""
    said: dict[str, None] = {}
    for call, result in lookups(talk, since):
        if not failed(result):
            said.setdefault(finished(_told(call, result.text.strip())))
    return list(said)[:MAX_TOLD]


def _told(call: ToolCall, text: str) -> str:
    value = parsed(text) if text[:1] in '[{"' else None
    if isinstance(value, (dict, list)):
        text = _flat(value)
    elif isinstance(value, str):
        text = value
    if not re.search(r"[^\W\d_]{2}.*\s", text) or "\n" in text.strip():
        given = next(iter(call.arguments.values()), "") if len(call.arguments) == 1 else ""
        words = call.name.replace("_", " ")
        if isinstance(given, str) and re.search(r"\d\s*[-+*/^%]", given) and "\n" not in text:
            text = f"{given} = {text}"
        elif not isinstance(value, dict):
            named = ", ".join(str(one) for one in call.arguments.values())
            text = f"{words} ({named}): {text}" if named else f"{words}: {text}"
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    flat = (
        "; ".join(line.rstrip(";") for line in lines)
        if len(lines) > 1 and max(map(len, lines)) < 120
        else " ".join(lines)
    )
    return flat if len(flat) <= MAX_LENGTH else flat[:MAX_LENGTH].rsplit(" ", 1)[0] + " …"


def _flat(value: object, depth: int = 0) -> str:
    if depth > 8:
        return "…"
    if isinstance(value, dict):
        held: Mapping[str, object] = mapping(value)
        return "; ".join(f"{key.replace('_', ' ')}: {_flat(inner, depth + 1)}" for key, inner in held.items())
    if isinstance(value, list):
        rows: Sequence[object] = items(value)
        separator = " | " if any(isinstance(one, (dict, list)) for one in rows) else ", "
        return separator.join(_flat(one, depth + 1) for one in rows[:_MAX_ROWS])
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
