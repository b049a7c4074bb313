"""Know a tool by its name and its JSON schema, and fill in its arguments.

A tool lists, searches, reads, looks something else up, or acts.  The model never starts a tool that acts
(writes, sends, runs) of its own will.  Required arguments are filled from the question's keywords or from
names that earlier results showed, so tools of other people's agents work too.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.shape import items, mapping, string
from techrevati.runtime.chaos.words import words_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from techrevati.runtime.chaos.conversation import Tool


class ToolUse(str, Enum):
    """What a tool is good for."""

    LIST = "list"
    SEARCH = "search"
    READ = "read"
    LOOKUP = "lookup"
    ACT = "act"


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ACTS = _set(
    """
    write create delete remove update edit send post put patch run execute exec shell bash eval move
    rename copy upload pay buy book order cancel deploy install publish approve refund transfer drop
    insert append save set kill stop restart handoff
    """
)
_SEARCHES = _set("search find grep query match retrieve lookup rag")
_LISTS = _set("list ls dir tree index glob enumerate browse files documents")
_READS = _set("read open cat get fetch load view show head content contents")
_QUERY_NAMES = _set("query q question search text phrase input prompt keywords keyword topic")
_SINGLE_NAMES = _set("keyword word term needle token")
_PATTERN_NAMES = _set("pattern regex regexp expression")
_FOLDER_NAMES = _set("dir directory folder root base prefix")
_NAME_NAMES = _set("path file filename name document doc id uri url key page title source")


def name_parts(name: str) -> list[str]:
    """The lower-case words of a tool's or parameter's name, out of snake, kebab or camel case."""
    return [part.lower() for part in words_in(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name))]


def tool_use(tool: Tool) -> ToolUse:
    """What *tool* is good for, by the words of its name; a required path alone makes it a reader."""
    parts = name_parts(tool.name)
    if _ACTS & set(parts):
        return ToolUse.ACT
    if _SEARCHES & set(parts):
        return ToolUse.SEARCH
    if set(parts[:1]) & _LISTS or "list" in parts:
        return ToolUse.LIST
    if _READS & set(parts):
        wants_name = any(_NAME_NAMES & set(name_parts(one)) for one in required(tool))
        if wants_name:
            return ToolUse.READ
        return ToolUse.LIST if _LISTS & set(parts) else ToolUse.LOOKUP
    return ToolUse.LIST if _LISTS & set(parts) else ToolUse.LOOKUP


def required(tool: Tool) -> list[str]:
    """The names of the parameters that a call must give, in the schema's order."""
    return [name for name in items(tool.parameters.get("required")) if isinstance(name, str)]


def path_parameter(tool: Tool) -> str | None:
    """The parameter that says what to read: a required one named like a path, else the first required one."""
    known = mapping(tool.parameters.get("properties"))
    wanted = required(tool) or list(known)
    named = [one for one in wanted if _NAME_NAMES & set(name_parts(one))]
    return next(iter(named or wanted), None)


def read_arguments(
    tool: Tool, names: Sequence[str], question_words: Sequence[str]
) -> list[dict[str, object]]:
    """Arguments of the calls that read *names*: one call for each, or one for all where a list is taken."""
    target = path_parameter(tool)
    if target is None:
        return [{}]
    rest = arguments(tool, question_words, names, skip=target)
    if mapping(mapping(tool.parameters.get("properties")).get(target)).get("type") == "array":
        return [{target: list(names), **rest}]
    return [{target: name, **rest} for name in names]


def search_arguments(tool: Tool, question_words: Sequence[str]) -> list[dict[str, object]]:
    """Arguments of the first searches: one with all keywords, or one a keyword where only one word fits."""
    target = _search_parameter(tool)
    if target is None:
        return [arguments(tool, question_words, [])]
    rest = arguments(tool, question_words, [], skip=target)
    parts = set(name_parts(target))
    if mapping(mapping(tool.parameters.get("properties")).get(target)).get("type") == "array":
        return [{target: list(question_words), **rest}]
    if parts & _PATTERN_NAMES:
        return [{target: "|".join(map(re.escape, question_words)), **rest}]
    if parts & _SINGLE_NAMES:
        return [{target: word, **rest} for word in question_words[:3]]
    return [{target: " ".join(question_words), **rest}]


def narrower_searches(tool: Tool, question_words: Sequence[str]) -> list[dict[str, object]]:
    """Searches for one keyword each, for when all together found nothing; longest words first."""
    target = _search_parameter(tool)
    if target is None or len(question_words) < 2:
        return []
    rest = arguments(tool, question_words, [], skip=target)
    longest = sorted(question_words, key=lambda word: -len(word))[:4]
    if mapping(mapping(tool.parameters.get("properties")).get(target)).get("type") == "array":
        return [{target: [word], **rest} for word in longest]
    return [{target: word, **rest} for word in longest]


def _search_parameter(tool: Tool) -> str | None:
    known = mapping(tool.parameters.get("properties"))
    wanted = required(tool) or list(known)
    for names in (_QUERY_NAMES | _SINGLE_NAMES | _PATTERN_NAMES, frozenset[str]()):
        for one in wanted:
            if not names or names & set(name_parts(one)):
                return one
    return None


def arguments(
    tool: Tool, question_words: Sequence[str], names: Sequence[str], *, skip: str = ""
) -> dict[str, object]:
    """A value for every required parameter but *skip*."""
    known = mapping(tool.parameters.get("properties"))
    return {
        one: _value(one, mapping(known.get(one)), question_words, names)
        for one in required(tool)
        if one != skip
    }


def _value(
    name: str, schema: Mapping[str, object], question_words: Sequence[str], names: Sequence[str]
) -> object:
    choices = items(schema.get("enum"))
    lowered = {word.lower() for word in question_words}
    if choices:
        return next((one for one in choices if str(one).lower() in lowered), choices[0])
    if "default" in schema:
        return schema["default"]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in items(schema.get("type")) if one != "null"), "string")
    number = next((word for word in question_words if word.isdigit()), None)
    match kind:
        case "integer" | "number":
            return int(number) if number else schema.get("minimum", 10)
        case "boolean":
            return False
        case "array":
            inner = mapping(schema.get("items"))
            if string(inner.get("type")) in {"integer", "number"}:
                return [int(word) for word in question_words if word.isdigit()]
            return list(names[:3] if _NAME_NAMES & set(name_parts(name)) and names else question_words)
        case "object":
            inner = mapping(schema.get("properties"))
            wanted = [one for one in items(schema.get("required")) if isinstance(one, str)]
            return {one: _value(one, mapping(inner.get(one)), question_words, names) for one in wanted}
        case _:
            return _word(set(name_parts(name)), question_words, names)


def _word(parts: set[str], question_words: Sequence[str], names: Sequence[str]) -> str:
    if parts & _FOLDER_NAMES or (parts & {"path"} and not names):
        return "."
    if parts & _NAME_NAMES and names:
        return names[0]
    if parts & _QUERY_NAMES or not question_words:
        return " ".join(question_words)
    proper = [word for word in question_words if word[:1].isupper()]
    return " ".join(proper) if proper else " ".join(question_words)
