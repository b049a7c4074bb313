"""What to look up next.

Files that the question names are read at once, and every part of the request goes to the tool that fits it;
for the rest: list, then search the question's keywords, then read the best files.  Nothing is asked twice
with the same arguments, and a tool that acts is never started unless it is ordered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import quantities
from techrevati.runtime.chaos.fitting import clauses, fit, fitting, unanswered
from techrevati.runtime.chaos.shape import items
from techrevati.runtime.chaos.slots import Ask, filled
from techrevati.runtime.chaos.tool_results import failed, lookups
from techrevati.runtime.chaos.toolkit import (
    ToolUse,
    narrower_searches,
    path_parameter,
    read_arguments,
    search_arguments,
    tool_use,
)
from techrevati.runtime.chaos.words import keywords, rarity, stem, stems, weight

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


@dataclass(frozen=True, slots=True)
class Errands:
    """What the user wants: *request* is the last message that asks something, *since* its number."""

    request: str
    question: str
    since: int
    ask: Ask
    searches: frozenset[str] = frozenset()  # names of the tools that search

    @property
    def words(self) -> list[str]:
        """The question's keywords."""
        return keywords(self.question)


def next_errands(talk: Conversation, wanted: Errands, evidence: Evidence) -> list[Errand]:
    """The next tool calls; empty when the time has come to answer."""
    kit = {use: [tool for tool in talk.tools if tool_use(tool) is use] for use in ToolUse}
    searches = sorted(kit[ToolUse.SEARCH], key=lambda tool: -fit(tool, wanted.question)[0])
    if fresh := _not_made(_named_files(kit[ToolUse.READ], wanted, evidence), evidence):
        return fresh
    if fresh := _not_made(_fitted(talk, wanted), evidence):
        return fresh
    left = unanswered(wanted.request, talk.tools)
    if _served(talk, wanted, evidence):
        named = {stem(word) for word in keywords(" ".join(quantities.files(wanted.request)))}
        if not [word for word in left if stem(word) not in named] or _read_what_was_named(wanted, evidence):
            return []
    else:
        left = wanted.words
    steps = (
        _listing(kit[ToolUse.LIST], wanted, evidence),
        *(_searching(tool, left or wanted.words, wanted, evidence) for tool in searches),
        _reading(kit[ToolUse.READ], wanted, evidence),
        _asking(kit[ToolUse.LOOKUP], len(talk.tools), wanted, evidence),
    )
    for step in steps:
        if fresh := _not_made(step, evidence):
            return fresh
    return []


def _named_files(tools: Sequence[Tool], wanted: Errands, evidence: Evidence) -> list[Errand]:
    """Reads of the files that the request names, before anything is searched."""
    for tool in tools:
        target = path_parameter(tool)
        named = _named(tool, wanted)
        if target and named:
            rest = filled(tool, wanted.ask)[0].arguments
            return [(tool.name, given) for given in read_arguments(tool, named[:MAX_READS], rest)]
    return []


def _named(tool: Tool, wanted: Errands) -> list[str]:
    target = path_parameter(tool) or ""
    if "url" in target.lower() or "uri" in target.lower():
        return quantities.urls(wanted.request)
    return quantities.files(wanted.request)


def _read_what_was_named(wanted: Errands, evidence: Evidence) -> bool:
    named = {*quantities.files(wanted.request), *quantities.urls(wanted.request)}
    return any(
        call.id not in evidence.empty and named & {str(value) for value in call.arguments.values()}
        for call in evidence.calls
    )


def _served(talk: Conversation, wanted: Errands, evidence: Evidence) -> bool:
    """Whether a tool that fits, or a file that was named, has answered."""
    answered = any(not failed(result) for _, result in lookups(talk, wanted.since))
    return answered or _read_what_was_named(wanted, evidence)


def _fitted(talk: Conversation, wanted: Errands) -> list[Errand]:
    """Calls of the tools that fit the clauses of the request: first those that can be filled.

    A tool whose required arguments nobody said waits for another tool that may find them, as coordinates
    for a place.
    """
    made = {call.name for message in talk.messages[wanted.since :] for call in message.calls}
    ready: list[Errand] = []
    waiting: list[tuple[Tool, list[Errand], tuple[str, ...]]] = []
    for clause in clauses(wanted.request):
        ask = _asked_in(clause, wanted.ask)
        for tool in fitting(talk.tools, clause):
            calls = filled(tool, ask)
            errands: list[Errand] = [(tool.name, one.arguments) for one in calls]
            missing = calls[0].missing
            if missing and tool.name not in made:
                waiting.append((tool, errands, missing))
            elif not missing:
                ready += errands
    for tool, errands, missing in waiting:
        helpers = [
            one
            for one in talk.tools
            if one is not tool
            and tool_use(one) is ToolUse.LOOKUP
            and one.name not in made
            and _helps(one, missing)
        ]
        calls = [call for one in helpers[:1] for call in filled(one, wanted.ask) if not call.missing]
        ready += [(helpers[0].name, one.arguments) for one in calls] or errands
    return ready


def _asked_in(clause: str, ask: Ask) -> Ask:
    return Ask(clause, ask.whole, ask.names, ask.facts, ask.today)


def _helps(tool: Tool, missing: Iterable[str]) -> bool:
    """Whether *tool* speaks of what is *missing*: by its words, or as places and coordinates do."""
    about = stems(f"{tool.name} {tool.description}".replace("_", " "))
    sought = frozenset[str]().union(*(stems(name.replace("_", " ")) for name in missing))
    if sought & stems("latitude longitude lat lon lng"):
        sought |= stems("coordinates geocode geocoding position location")
    return bool(about & (sought - stems("id name value number")))


def _not_made(step: Iterable[Errand], evidence: Evidence) -> list[Errand]:
    made = [(call.name, call.arguments) for call in evidence.calls]
    fresh: list[Errand] = []
    for errand in step:
        if errand not in made and errand not in fresh:
            fresh.append(errand)
    return fresh


def _listing(tools: Sequence[Tool], wanted: Errands, evidence: Evidence) -> list[Errand]:
    if not tools:
        return []
    tool = tools[0]
    calls = [call for call in evidence.calls if call.name == tool.name]
    if not calls:
        known = evidence.names and not evidence.calls
        return [] if known else [(tool.name, filled(tool, wanted.ask)[0].arguments)]
    target = path_parameter(tool)
    if target is None or len(calls) > MAX_FOLDERS:
        return []
    asked = {str(call.arguments.get(target, "")).strip("/") for call in calls}
    fresh: list[Errand] = [
        (tool.name, {target: name}) for name in evidence.folders if name.strip("/") not in asked
    ]
    return fresh[:MAX_FOLDERS]


def _searching(tool: Tool, words: Sequence[str], wanted: Errands, evidence: Evidence) -> list[Errand]:
    if not words:
        return []
    others = [call for call in evidence.calls if call.name != tool.name and call.id not in evidence.empty]
    calls = [call for call in evidence.calls if call.name == tool.name]
    if not calls and any(call.name in wanted.searches for call in others):
        return []  # another search has found something
    rest = filled(tool, wanted.ask)[0].arguments
    first = search_arguments(tool, words, rest)
    # One at a time where the client wants no parallel calls: a round is over when all of it was asked.
    open_first = [given for given in first if all(given != call.arguments for call in calls)]
    if len(calls) < len(first) and open_first:
        return [(tool.name, given) for given in open_first]
    if calls and all(call.id in evidence.empty for call in calls):
        return [(tool.name, given) for given in narrower_searches(tool, words, rest)]
    return []


def _reading(tools: Sequence[Tool], wanted: Errands, evidence: Evidence) -> list[Errand]:
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
    fresh = [name for name in promising(wanted.words, evidence) if name not in asked][: MAX_READS - good]
    rest = filled(tool, wanted.ask)[0].arguments
    return [(tool.name, given) for given in read_arguments(tool, fresh, rest)] if fresh else []


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


def _asking(tools: Sequence[Tool], offered: int, wanted: Errands, evidence: Evidence) -> list[Errand]:
    """Every other tool that speaks of what is asked, once; a single tool is always asked."""
    asked = {call.name for call in evidence.calls}
    return [
        (tool.name, one.arguments)
        for tool in tools
        if tool.name not in asked and (offered == 1 or fit(tool, wanted.question)[0] >= 2)
        for one in filled(tool, wanted.ask)
    ]
