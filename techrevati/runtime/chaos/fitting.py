"""Which tool fits which part of a request.

A request is cut into clauses ("what is the weather in Oslo, and what is 17 * 23?"); each clause takes the
tools whose names, descriptions and topics it speaks of.  A tool that acts is taken only where the clause
orders it by its own verb, and one that destroys, pays or runs programs never.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import quantities
from techrevati.runtime.chaos.shape import items, mapping, string
from techrevati.runtime.chaos.toolkit import ToolUse, name_parts, tool_use
from techrevati.runtime.chaos.words import keywords, stem, stems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.chaos.conversation import Tool

MAX_REQUEST = 4_000  # characters of a request that are looked at
MAX_CLAUSES = 12
_ENOUGH = 3
_NAMED = 3
_TOPICAL = 3
_CLAUSE = re.compile(
    r"(?i)(?<=[?!;])\s+|(?<=[^\W\d_]{2}[.])\s+|(?<=\d[.])\s+(?=[A-Z])|\n+|,?\s+(?:and|then|also|plus)\s+"
    r"(?=(?:then\s+|also\s+)?"
    r"(?:what|what's|how|who|when|where|which|is|are|will|does|do|can|could|convert|calculate|compute|tell|give|"
    r"find|search|look|read|show|list|get|check|translate|send|email|book|schedule|create|add|set|remind|save)\b)"
)


def _stems(text: str) -> frozenset[str]:
    return frozenset(map(stem, text.split()))


_IDLE_IN_NAMES = _stems(
    "get fetch lookup current tool function call run make find look check show search list new"
)
_IDLE = _IDLE_IN_NAMES | _stems(
    """return returns given user value values name data information info result results please using via api
    input output string number good best one two look"""
)
_TOPICS = tuple(
    map(
        _stems,
        (
            """weather temperature forecast rain raining rainy snow sunny warm hot cold wind windy umbrella
            humid humidity""",
            "calculate calculator calculation compute math maths arithmetic evaluate",
            "add addition sum plus total",
            "subtract subtraction minus difference",
            "multiply multiplied multiplication product times",
            "divide divided division quotient",
            "time clock timezone hour o'clock",
            "calendar calendars meeting meetings event events schedule appointment agenda availability busy",
            """convert conversion converter unit units kilometers miles meters feet celsius fahrenheit
            kilograms pounds""",
            "currency currencies exchange dollars euros usd eur gbp yen jpy chf",
            "stock stocks share shares ticker quote",
            "email emails mail inbox",
            "translate translation translator",
            "sql database db table tables rows select",
            "flight flights fly airline airport",
            "hotel hotels room stay",
            "order orders package delivery shipping shipped tracking",
            "restaurant restaurants eat dinner",
            "distance route directions far drive",
            "customer customers client account",
            "news headline headlines",
        ),
    )
)
_SUMS = _stems("calculate calculator calculation compute math maths arithmetic evaluate expression")
_HARMLESS = frozenset(
    (
        "book",
        "send",
        "post",
        "edit",
        "update",
        "create",
        "add",
        "set",
        "save",
        "append",
        "write",
        "copy",
        "schedule",
    )
)
_HARMFUL = frozenset(
    """delete remove drop pay buy transfer refund approve deploy install kill stop shutdown cancel exec
    execute eval shell bash run shutdown reboot reset wipe destroy purge erase revoke grant truncate
    terminate disable enable charge withdraw restart handoff""".split()  # noqa: SIM905
)
_MAKES = frozenset(("create", "add", "book", "schedule", "set"))
_POLITE = re.compile(
    r"(?i)^\W*(?:(?:please|kindly|now|then|also|and|ok|hey|hi|hello|(?:could|can|would) you|i want you to|"
    r"i'd like you to|i need you to)\b[\s,:]*)*"
)


def clauses(request: str) -> list[str]:
    """The parts of *request* that ask for one thing each."""
    parts = (part.strip() for part in _CLAUSE.split(request[:MAX_REQUEST]))
    return [part for part in parts if part and re.search(r"\w", part)][:MAX_CLAUSES]


def fit(tool: Tool, clause: str, without: frozenset[str] = frozenset()) -> tuple[int, frozenset[str]]:
    """How well *tool* fits *clause*, and the words that say so; words in *without* are spent already."""
    asked = stems(clause) | frozenset(map(stem, re.findall(r"[$€£]", clause)))
    asked = asked - without - _IDLE_IN_NAMES
    name = stems(" ".join(name_parts(tool.name))) - _IDLE_IN_NAMES
    about = (stems(f"{tool.description} {_words_of(tool)}".replace("_", " ")) - _IDLE) | name
    named, described = asked & name, (asked & about) - name - _IDLE
    spoken = frozenset[str]()
    score = _NAMED * len(named) + len(described)
    for topic in _TOPICS:
        if (hit := asked & topic) and topic & about:
            score += _TOPICAL if topic & name or len(topic & about) > 1 or not name else 2
            spoken |= hit
    if about & _SUMS and quantities.arithmetic(clause) and "arithmetic" not in without:
        score += _TOPICAL
        spoken |= {"arithmetic"}
    return score, frozenset(named | described | spoken)


def _words_of(tool: Tool) -> str:
    known = mapping(tool.parameters.get("properties"))
    words: list[str] = []
    for name, schema in known.items():
        words += [*name_parts(name), string(mapping(schema).get("description"))]
        words += [one for one in items(mapping(schema).get("enum")) if isinstance(one, str)]
    return " ".join(words)


def fitting(tools: Sequence[Tool], clause: str) -> list[Tool]:
    """The tools that *clause* wants, the best first; each must be wanted by words that no better one took."""
    free = [one for one in tools if tool_use(one) is ToolUse.LOOKUP or ordered(one, clause)]
    chosen: list[Tool] = []
    spent = frozenset[str]()
    while free:
        scored = [(fit(one, clause, spent), one) for one in free]
        (score, words), best = max(scored, key=lambda each: each[0][0])
        if score < _ENOUGH and not (not chosen and ordered(best, clause)):
            break
        chosen.append(best)
        spent |= words
        free.remove(best)
    return chosen


def ordered(tool: Tool, clause: str) -> bool:
    """Whether *clause* orders exactly what *tool* does, and it does no harm that cannot be undone."""
    verbs = [part for part in name_parts(tool.name) if part in _HARMLESS]
    if tool_use(tool) is not ToolUse.ACT or not verbs or _harmful(tool):
        return False
    first = re.match(r"[^\W_]+", _POLITE.sub("", clause))
    if first is None:
        return False
    verb = first[0].lower()
    if not (
        verb in verbs
        or {verb, *verbs} <= _MAKES
        or (verb in ("email", "remind") and verb in name_parts(tool.name))
    ):
        return False
    nouns = stems(" ".join(name_parts(tool.name))) - _stems(" ".join(_HARMLESS))
    kin = nouns.union(*(topic for topic in _TOPICS if topic & nouns))
    return not nouns or bool(kin & stems(clause))


def _harmful(tool: Tool) -> bool:
    return bool(_HARMFUL & set(name_parts(tool.name)))


def unanswered(request: str, tools: Sequence[Tool]) -> list[str]:
    """The keywords of those clauses that no tool fits; a clause of one or two words asks for nothing."""
    left = [one for one in clauses(request) if not fitting(tools, one)]
    return [word for one in left if len(keywords(one)) > 1 for word in keywords(one)]
