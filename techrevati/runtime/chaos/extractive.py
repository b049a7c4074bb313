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

from techrevati.runtime.chaos.answers import answer, condensed
from techrevati.runtime.chaos.conversation import Reply, ToolCall
from techrevati.runtime.chaos.errands import next_errands
from techrevati.runtime.chaos.evidence import gathered
from techrevati.runtime.chaos.passages import CITATION, Passage, passages_in
from techrevati.runtime.chaos.prompts import asked, material
from techrevati.runtime.chaos.tokens import pieces
from techrevati.runtime.chaos.toolkit import ToolUse, arguments
from techrevati.runtime.chaos.words import keywords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.chaos.conversation import Conversation
    from techrevati.runtime.chaos.errands import Errand
    from techrevati.runtime.chaos.evidence import Document, Evidence

MAX_CONSIDERED = 200_000  # characters of material that are looked at; the newest count


_LONG_RUN = re.compile(r"([\s`*_\"~#=-])\1{40,}")


def extractive_reply(talk: Conversation) -> Reply:
    """The model's answer to *talk*: tool calls while there is something to look up, then text."""
    talk = _without_long_runs(talk)
    question, since = asked(talk)
    evidence = gathered(talk, since)
    wanted = _wanted(talk, question, evidence)
    if wanted:
        return Reply(calls=_calls(talk, wanted if talk.parallel else wanted[:1]), finish="tool_calls")
    found = [one for each in _considered(evidence.documents) for one in passages_in(each.text, each.source)]
    brought = material(talk)
    here = [one for text, _ in brought for one in _cited(text[-MAX_CONSIDERED:])]
    if found:
        text = answer(question, [*found, *here])
    else:
        text = condensed(question, here, marked=any(marked for _, marked in brought))
    return cut(Reply(text=text), talk.max_tokens)


def _without_long_runs(talk: Conversation) -> Conversation:
    """Long runs of white space or of one mark say nothing, and reading them takes their length squared."""
    messages = tuple(
        replace(message, text=_LONG_RUN.sub(r"\1" * 3, message.text)) for message in talk.messages
    )
    return replace(talk, messages=messages)


def cut(reply: Reply, max_tokens: int | None) -> Reply:
    """*reply* with its text cut after *max_tokens*; tool calls are never cut."""
    if max_tokens is None or reply.calls:
        return reply
    parts = pieces(reply.text)
    if len(parts) <= max_tokens:
        return reply
    return replace(reply, text="".join(parts[:max_tokens]), finish="length")


def _wanted(talk: Conversation, question: str, evidence: Evidence) -> list[Errand]:
    if not talk.tools or talk.choice == "none":
        return []
    asked_words = keywords(question)
    forced = talk.choice.partition("tool:")[2]
    if not forced:
        wanted = next_errands(talk, asked_words, evidence)
        if wanted or talk.choice != "required":
            return wanted
    tool = next((one for one in talk.tools if one.name == forced), talk.tools[0])
    return [(tool.name, arguments(tool, asked_words, evidence.names))]


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
