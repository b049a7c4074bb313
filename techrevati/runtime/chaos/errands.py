"""What to look up next: list, then search the question's keywords, then read the best files.

Nothing is asked twice with the same arguments, and a tool that acts is never started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.chaos.shape import items
from techrevati.runtime.chaos.toolkit import (
    ToolUse,
    arguments,
    narrower_searches,
    path_parameter,
    read_arguments,
    search_arguments,
    tool_use,
)
from techrevati.runtime.chaos.words import rarity, stem, stems, weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from techrevati.runtime.chaos.conversation import Conversation, Tool
    from techrevati.runtime.chaos.evidence import Evidence

Errand = tuple[str, dict[str, object]]
MAX_READS = 4
MAX_FOLDERS = 6
_HIT_BONUS = 0.05  # for each further line that a search found in a file
_NOT_TEXT = (
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".ico",
    ".pdf",
    ".zip",
    ".gz",
    ".so",
    ".pyc",
    ".exe",
    ".mp3",
    ".mp4",
)


def next_errands(talk: Conversation, question_words: Sequence[str], evidence: Evidence) -> list[Errand]:
    """The next tool calls; empty when the time has come to answer."""
    kit = {use: [tool for tool in talk.tools if tool_use(tool) is use] for use in ToolUse}
    steps = (
        _listing(kit[ToolUse.LIST], question_words, evidence),
        _searching(kit[ToolUse.SEARCH], question_words, evidence),
        _reading(kit[ToolUse.READ], question_words, evidence),
        _asking(kit[ToolUse.LOOKUP], len(talk.tools), question_words, evidence),
    )
    for step in steps:
        fresh = _not_made(step, evidence)
        if fresh:
            return fresh
    return []


def _not_made(step: Iterable[Errand], evidence: Evidence) -> list[Errand]:
    made = [(call.name, call.arguments) for call in evidence.calls]
    fresh: list[Errand] = []
    for errand in step:
        if errand not in made and errand not in fresh:
            fresh.append(errand)
    return fresh


def _listing(tools: Sequence[Tool], question_words: Sequence[str], evidence: Evidence) -> list[Errand]:
    if not tools:
        return []
    tool = tools[0]
    calls = [call for call in evidence.calls if call.name == tool.name]
    if not calls:
        known = evidence.names and not evidence.calls
        return [] if known else [(tool.name, arguments(tool, question_words, []))]
    target = path_parameter(tool)
    if target is None or len(calls) > MAX_FOLDERS:
        return []
    asked = {str(call.arguments.get(target, "")).strip("/") for call in calls}
    fresh: list[Errand] = [
        (tool.name, {target: name}) for name in evidence.folders if name.strip("/") not in asked
    ]
    return fresh[:MAX_FOLDERS]


def _searching(tools: Sequence[Tool], question_words: Sequence[str], evidence: Evidence) -> list[Errand]:
    if not tools or not question_words:
        return []
    tool = tools[0]
    calls = [call for call in evidence.calls if call.name == tool.name]
    first = search_arguments(tool, question_words)
    # One at a time where the client wants no parallel calls: a round is over when all of it was asked.
    open_first = [given for given in first if all(given != call.arguments for call in calls)]
    if len(calls) < len(first) and open_first:
        return [(tool.name, given) for given in open_first]
    if calls and all(call.id in evidence.empty for call in calls):
        return [(tool.name, given) for given in narrower_searches(tool, question_words)]
    return []


def _reading(tools: Sequence[Tool], question_words: Sequence[str], evidence: Evidence) -> list[Errand]:
    if not tools:
        return []
    tool = tools[0]
    target = path_parameter(tool)
    asked: list[str] = []
    good = 0
    for call in evidence.calls:
        if call.name == tool.name:
            value = call.arguments.get(target or "")
            names = [str(one) for one in items(value)] or [str(value)]
            asked += names
            good += len(names) if call.id not in evidence.empty else 0
    if good >= MAX_READS or len(asked) >= 2 * MAX_READS:
        return []
    fresh = [name for name in promising(question_words, evidence) if name not in asked][: MAX_READS - good]
    return [(tool.name, given) for given in read_arguments(tool, fresh, question_words)] if fresh else []


def promising(question_words: Sequence[str], evidence: Evidence) -> list[str]:
    """Known files, best first: those that searches hit or whose names fit; if none does, all as listed."""
    wanted = [stem(word) for word in question_words]
    named = {_bare(name): name for name in reversed(evidence.names) if not name.lower().endswith(_NOT_TEXT)}
    named = {bare: named[bare] for bare in dict.fromkeys(map(_bare, evidence.names)) if bare in named}
    shown: dict[str, list[frozenset[str]]] = {bare: [] for bare in named}
    for document in evidence.documents:
        if document.use is ToolUse.SEARCH and _bare(document.source) in shown:
            shown[_bare(document.source)].append(stems(document.text))
    held = {bare: frozenset[str]().union(stems(bare), *hits) for bare, hits in shown.items()}
    weights = rarity(list(held.values()), wanted)
    scores = {
        bare: weight(held[bare], weights) + _HIT_BONUS * sum(bool(hit & set(wanted)) for hit in shown[bare])
        for bare in held
    }
    fitting = [bare for bare in held if scores[bare] > 0]
    return [named[bare] for bare in sorted(fitting or list(held), key=lambda bare: -scores[bare])]


def _bare(name: str) -> str:
    return name.removeprefix("./")


def _asking(
    tools: Sequence[Tool], offered: int, question_words: Sequence[str], evidence: Evidence
) -> list[Errand]:
    """Every other tool that speaks of what is asked, once; a single tool is always asked."""
    asked = {call.name for call in evidence.calls}
    wanted = {stem(word) for word in question_words}
    return [
        (tool.name, arguments(tool, question_words, evidence.names))
        for tool in tools
        if tool.name not in asked
        and (offered == 1 or wanted & stems(f"{tool.name} {tool.description}".replace("_", " ")))
    ]
