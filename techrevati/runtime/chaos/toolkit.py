"""Know a tool by its name and its JSON schema, and fill in its arguments.

A tool lists, searches, reads, looks something else up, or acts.  The model never starts a tool that acts
(writes, sends, runs) of its own will.  What a tool that looks something up is given is decided in ``slots``.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.shape import items, mapping
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
    insert append save set kill stop restart handoff schedule shutdown reboot reset wipe destroy purge erase
    revoke grant truncate terminate disable enable charge withdraw
    """
)
_SEARCHES = _set("search find grep query match retrieve lookup rag")
_LISTS = _set("list ls dir tree index glob enumerate browse files documents")
_READS = _set("read open cat fetch load view")
_GETS = _set("get show head content contents")
_QUERY_NAMES = _set("query q question search text phrase input prompt keywords keyword topic")
_SINGLE_NAMES = _set("keyword word term needle token")
_PATTERN_NAMES = _set("pattern regex regexp expression")
_NAME_NAMES = _set("path file filename name document doc id ids uri url key page title source")
_ASKS = _set("get list show search find fetch read check describe view lookup query count")
_PAPERS = _set(
    """file files filename filenames dir dirs directory directories folder folders document documents doc docs
    page pages note notes path paths source sources resource resources entry entries article articles uri url
    knowledge content contents tree"""
)
_QUERIES_RUN = _set("sql query queries select calculation calculator expression")


def name_parts(name: str) -> list[str]:
    """The lower-case words of a tool's or parameter's name, out of snake, kebab or camel case."""
    return [part.lower() for part in words_in(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name))]


def tool_use(tool: Tool) -> ToolUse:
    """What *tool* is good for, by the words of its name and of its parameters.

    Only files, pages, notes and their like are listed and read; a list of events is looked up.
    """
    parts = set(name_parts(tool.name))
    # What a tool that gets or lists is about may be an order or a post: only its verb acts.
    acts = frozenset[str]() if set(name_parts(tool.name)[:1]) & _ASKS else parts & _ACTS
    if acts and not (acts <= {"run", "execute"} and parts & _QUERIES_RUN):
        return ToolUse.ACT
    taken = {part for one in _known(tool) for part in name_parts(one)}
    papers = bool(parts & _PAPERS or taken & _PAPERS)
    if acts:
        return ToolUse.LOOKUP
    if parts & _SEARCHES:
        asks = taken & (_QUERY_NAMES | _SINGLE_NAMES | _PATTERN_NAMES)
        return ToolUse.SEARCH if asks or len(required(tool)) <= 1 else ToolUse.LOOKUP
    if "list" in parts or set(name_parts(tool.name)[:1]) & _LISTS:
        return ToolUse.LIST if papers or len(parts) == 1 else ToolUse.LOOKUP
    wants_name = any(_NAME_NAMES & set(name_parts(one)) for one in required(tool))
    if wants_name and (parts & _READS or (parts & _GETS and papers)):
        return ToolUse.READ
    return ToolUse.LIST if parts & _LISTS and not wants_name else ToolUse.LOOKUP


def _known(tool: Tool) -> list[str]:
    return list(mapping(tool.parameters.get("properties")))


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
    tool: Tool, names: Sequence[str], arguments: Mapping[str, object]
) -> list[dict[str, object]]:
    """Arguments of the calls that read *names*: one call for each, or one for all where a list is taken.

    *arguments* are for the other parameters.
    """
    target = path_parameter(tool)
    if target is None:
        return [{}]
    rest = _without(target, arguments)
    if mapping(mapping(tool.parameters.get("properties")).get(target)).get("type") == "array":
        return [{target: list(names), **rest}]
    return [{target: name, **rest} for name in names]


def search_arguments(
    tool: Tool, question_words: Sequence[str], arguments: Mapping[str, object]
) -> list[dict[str, object]]:
    """Arguments of the first searches: one with all keywords, or one a keyword where only one word fits."""
    target = _search_parameter(tool)
    if target is None:
        return [dict(arguments)]
    rest = _without(target, arguments)
    parts = set(name_parts(target))
    if mapping(mapping(tool.parameters.get("properties")).get(target)).get("type") == "array":
        return [{target: list(question_words), **rest}]
    if parts & _PATTERN_NAMES:
        return [{target: "|".join(map(re.escape, question_words)), **rest}]
    if parts & _SINGLE_NAMES:
        return [{target: word, **rest} for word in question_words[:3]]
    return [{target: " ".join(question_words), **rest}]


def narrower_searches(
    tool: Tool, question_words: Sequence[str], arguments: Mapping[str, object]
) -> list[dict[str, object]]:
    """Searches for one keyword each, for when all together found nothing; longest words first."""
    target = _search_parameter(tool)
    if target is None or len(question_words) < 2:
        return []
    rest = _without(target, arguments)
    longest = sorted(question_words, key=lambda word: -len(word))[:4]
    if mapping(mapping(tool.parameters.get("properties")).get(target)).get("type") == "array":
        return [{target: [word], **rest} for word in longest]
    return [{target: word, **rest} for word in longest]


def _without(target: str, arguments: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in arguments.items() if name != target}


def _search_parameter(tool: Tool) -> str | None:
    known = mapping(tool.parameters.get("properties"))
    wanted = required(tool) or list(known)
    for names in (_QUERY_NAMES | _SINGLE_NAMES | _PATTERN_NAMES, frozenset[str]()):
        for one in wanted:
            if not names or names & set(name_parts(one)):
                return one
    return None
