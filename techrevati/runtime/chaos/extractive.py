"""A model without a model: it answers with the sentences of the material that fit the question best.

With tools it works as an agent does: list, search the question's keywords, read the best files, answer
with the file's name in brackets.  Without tools it condenses what the messages hold.  It is a pure function
of the conversation; it never repeats orders, and it says plainly when it found nothing.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.answers import NOTHING_FOUND, answer, condensed
from techrevati.runtime.chaos.conversation import Reply, ToolCall
from techrevati.runtime.chaos.errands import Errands, next_errands
from techrevati.runtime.chaos.evidence import gathered
from techrevati.runtime.chaos.fitting import MAX_REQUEST, fit
from techrevati.runtime.chaos.passages import CITATION, Passage, passages_in
from techrevati.runtime.chaos.prompts import asked, material, request_in
from techrevati.runtime.chaos.quantities import files, today_in
from techrevati.runtime.chaos.slots import Ask, filled
from techrevati.runtime.chaos.structured import structured
from techrevati.runtime.chaos.tokens import pieces
from techrevati.runtime.chaos.tool_results import facts, lookups, told
from techrevati.runtime.chaos.toolkit import ToolUse, tool_use

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.chaos.conversation import Conversation, Tool
    from techrevati.runtime.chaos.errands import Errand
    from techrevati.runtime.chaos.evidence import Document, Evidence

MAX_CONSIDERED = 200_000  # characters of material that are looked at; the newest count


_LONG_RUN = re.compile(r"([\s`*_\"~#=-])\1{40,}")


def extractive_reply(talk: Conversation) -> Reply:
    """The model's answer to *talk*: tool calls while there is something to look up, then text."""
    talk = _without_long_runs(talk)
    question, since = asked(talk)
    evidence = gathered(talk, since)
    wanted = _wanted(talk, question, since, evidence)
    if wanted:
        return Reply(calls=_calls(talk, wanted if talk.parallel else wanted[:1]), finish="tool_calls")
    text = _text(talk, question, since, evidence)
    return cut(Reply(text=structured(talk.json_schema, text) if talk.json_answer else text), talk)


def _text(talk: Conversation, question: str, since: int, evidence: Evidence) -> str:
    """What lookups returned, and what the material says to the question."""
    said = told(talk, since)
    looked_up = {call.id for call, _ in lookups(talk, since)}
    documents = [each for each in _considered(evidence.documents) if not said or each.call not in looked_up]
    found = [one for each in documents for one in passages_in(each.text, each.source)]
    brought = material(talk)
    here = [one for text, _ in brought for one in _cited(text[-MAX_CONSIDERED:])]
    if found:
        text = answer(question, [*found, *here])
        if text.startswith(NOTHING_FOUND) and (trusted := _trusted(talk, question, documents)):
            text = condensed(question, trusted, marked=True)
    else:
        text = condensed(question, here, marked=any(marked for _, marked in brought))
    if said:
        return " ".join(said if text.startswith(NOTHING_FOUND) or not found else [*said, text])
    return text


def _trusted(talk: Conversation, question: str, documents: Sequence[Document]) -> list[Passage]:
    """Passages that answer although they use other words: of files that the question names, and of searches
    and pages where nothing can be listed, since a search engine has judged them already."""
    named = files(question)
    listed = any(tool_use(tool) is ToolUse.LIST for tool in talk.tools)
    return [
        one
        for each in documents
        if (each.source and each.source in named) or not listed
        for one in passages_in(each.text, each.source)
    ]


def _without_long_runs(talk: Conversation) -> Conversation:
    """Long runs of white space or of one mark say nothing, and reading them takes their length squared."""
    messages = tuple(
        replace(message, text=_LONG_RUN.sub(r"\1" * 3, message.text)) for message in talk.messages
    )
    return replace(talk, messages=messages)


def cut(reply: Reply, talk: Conversation) -> Reply:
    """*reply* with its text cut at the stop sequences and the maximum of *talk*; tool calls are never cut."""
    max_tokens = talk.max_tokens
    if reply.calls:
        return reply
    hits = sorted((reply.text.find(one), one) for one in talk.stop if one in reply.text)
    if hits:
        reply = replace(reply, text=reply.text[: hits[0][0]], finish="stop", stopped_by=hits[0][1])
    if max_tokens is None:
        return reply
    parts = pieces(reply.text)
    if len(parts) <= max_tokens:
        return reply
    return replace(reply, text="".join(parts[:max_tokens]), finish="length", stopped_by="")


def _wanted(talk: Conversation, question: str, since: int, evidence: Evidence) -> list[Errand]:
    if not talk.tools or talk.choice == "none":
        return []
    user = [message.text for message in talk.messages if message.role == "user"]
    whole = "\n".join(user[::-1])[:MAX_REQUEST]
    latest = talk.messages[since].text if since < len(talk.messages) else ""
    request = request_in(latest)[:MAX_REQUEST] if talk.messages and latest else question
    spoken = "\n".join(
        message.text[:MAX_REQUEST] for message in talk.messages if message.role in ("system", "user")
    )
    ask = Ask(request, whole, evidence.names, facts(talk), today_in(spoken[:MAX_REQUEST]))
    searches = frozenset(tool.name for tool in talk.tools if tool_use(tool) is ToolUse.SEARCH)
    errands = Errands(request, question, since, ask, searches)
    forced = talk.choice.partition("tool:")[2]
    if not forced:
        wanted = next_errands(talk, errands, evidence)
        if wanted or talk.choice != "required":
            return wanted
    tool = next((one for one in talk.tools if one.name == forced), _best(talk.tools, request))
    return [(tool.name, one.arguments) for one in filled(tool, ask)]


def _best(tools: Sequence[Tool], request: str) -> Tool:
    return max(tools, key=lambda tool: fit(tool, request)[0])


def _calls(talk: Conversation, wanted: Sequence[Errand]) -> tuple[ToolCall, ...]:
    last = talk.messages[-1].text[-200:] if talk.messages else ""
    made: list[ToolCall] = []
    for index, (name, given) in enumerate(wanted):
        digest = hashlib.sha256(
            f"{len(talk.messages)}:{last}:{index}:{name}:{given}".encode(errors="backslashreplace")
        ).hexdigest()
        made.append(ToolCall(f"call_{digest[:24]}", name, given))
    return tuple(made)


def _considered(documents: Sequence[Document]) -> list[Document]:
    """The newest documents within the limit, in order; found lines of a file that was read are left out."""
    read = {each.source for each in documents if each.use is ToolUse.READ and each.source}
    kept: list[Document] = []
    room = MAX_CONSIDERED
    for each in reversed(documents):
        if room > 0 and not (each.use is ToolUse.SEARCH and each.source in read):
            kept.append(replace(each, text=each.text[:room]))
            room -= len(each.text)
    return kept[::-1]


def _cited(text: str) -> list[Passage]:
    """The passages of *text*, each with the citation that stands at its end as its source.

    In running text a citation also covers the sentences before it.
    """
    running = not re.search(r"(?m)^\s*(?:[-*•]|\d+[.)])\s", text)
    found: list[Passage] = []
    later = ""
    for one in reversed(passages_in(text)):
        marks = CITATION.findall(one.text)
        later = marks[-1] if marks else later if running else ""
        several = len(set(marks)) > 1
        found.append(replace(one, source="" if several else later))
    return found[::-1]
