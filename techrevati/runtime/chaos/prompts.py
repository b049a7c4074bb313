"""Tell apart what a prompt asks, what it orders, and the material it brings.

Works on labels (``Question:``, ``Notes:``), tags (``<notes>…</notes>``) and quoted blocks; where there are
none, sentences that order something are left out.  Orders never reach an answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.words import keywords, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techrevati.runtime.chaos.conversation import Conversation, Message

_ASKS = r"(?:user'?s? )?(?:original )?(?:question|query|task|request|topic|asked|goal)"
_ORDERS = (
    r"(?:system|instructions?|rules?|format|output|requirements?|role|style|constraints?|guidelines?|tone)"
)
_QUESTION = re.compile(rf"(?im)^[\W_]*{_ASKS}(?: is)?\b[^:\n]{{0,20}}[:=][ \t*_]*(?P<text>\S.*)?$")
_INLINE_QUESTION = re.compile(r"(?i)\b(?:question|query)\s*:\s*(?P<text>\S[^\n]*)")
_TAG = re.compile(r"<(?P<tag>[A-Za-z][\w-]{1,40})(?:\s[^<>\n]{0,200})?>")
_LABEL = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|\*\*|__)?(?P<name>[^\W\d_][^:\n]{0,60}?)(?:\*\*|__)?[ \t]*:"
    r"(?:\*\*|__)?[ \t]*(?P<rest>.*)$"
)
_MATERIAL = re.compile(
    r"(?i)\b(?:notes?|draft|material|context|findings?|found|sources?|evidence|research|passages?|excerpts?|data|"
    r"input|report|article|summary|text|documents?|transcript|facts|answer)\b"
)
_BARE_LABEL = re.compile(
    r"(?i)^[ \t]*(?:#{1,6}[ \t]*)?(?:[\w ]{0,20}\b)?(?:notes|draft|material|context|findings)[ \t]*$"
)
_FENCE = re.compile(r"(?s)(?:```|\"\"\"|~~~)[^\n]*\n(?P<text>.*?)(?:```|\"\"\"|~~~)")
_ORDER = re.compile(
    r"(?i)^\W*(?:please\b|you(?:r|'re| are| will| must| should| have)?\b|now\b|write|answer|use|keep|do not|"
    r"don't|never|always|return|reply|respond|produce|rewrite|edit|improve|polish|make|ensure|"
    r"be (?:brief|concise|short)|avoid|only|cite|include|focus|given|based on|here (?:is|are)|the following|"
    r"below|summari[sz]e|condense|shorten|list the|give|say|turn|work|look|find|search|read|explain|describe|"
    r"tell|check|think|act as|no (?:preamble|markdown|bullet)|as an? )"
)
_CONTINUE = re.compile(
    r"(?i)^\W*(?:go on|continue|proceed|try again|retry|ok(?:ay)?|yes|thanks?|next)\b.{0,40}$"
)


def asked(talk: Conversation) -> tuple[str, int]:
    """The question of the last user message that has one, and that message's number."""
    for index in range(len(talk.messages) - 1, -1, -1):
        message = talk.messages[index]
        if message.role == "user" and message.text.strip() and not _CONTINUE.match(message.text.strip()):
            text = question_in(message.text)
            if keywords(text):
                return text, index
    for message in talk.messages:
        if message.role == "system" and (hit := _labelled_question(message.text)):
            return hit, 0
    return "", 0


def question_in(text: str) -> str:
    """The question that *text* asks: labelled, else its last sentence with a question mark, else its first
    paragraph."""
    labelled = _labelled_question(text)
    if labelled:
        return labelled
    outside = _FENCE.sub("\n", _tagged(text)[1])
    head = "\n".join(line for line, kind in _sorted_lines(outside) if kind == "other") or outside
    marked = [one for one in sentences(head) if one.rstrip("\"'”\u2019)*_ ").endswith("?")]
    if marked:
        return marked[-1]
    paragraphs = [part for part in re.split(r"\n\s*\n", head.strip()) if part.strip()]
    return " ".join((paragraphs or [head])[0].split())[:500]


def request_in(text: str) -> str:
    """All that *text* asks for: the labelled question, else everything that is no material."""
    labelled = _labelled_question(text)
    if labelled:
        return labelled
    outside = _FENCE.sub("\n", _tagged(text)[1])
    head = "\n".join(line for line, kind in _sorted_lines(outside) if kind == "other")
    return (head if head.strip() else outside).strip()


def _labelled_question(text: str) -> str:
    for tag, inside in _tagged(text)[0]:
        if re.fullmatch(rf"(?i){_ASKS}", tag.replace("_", " ")):
            return " ".join(inside.split())
    hit = _QUESTION.search(text)
    if hit is None:
        hit = _INLINE_QUESTION.search(text)
    if hit is None:
        return ""
    found = hit["text"] or next((line for line in text[hit.end() :].splitlines() if line.strip()), "")
    return found.strip().strip('*_"“”')


def material(talk: Conversation) -> list[tuple[str, bool]]:
    """The texts that *talk* brings along, in order; True for those that were marked as material.

    With tools on offer only marked material counts: everything else is about how to use them.
    """
    found: list[tuple[str, bool]] = []
    for message in talk.messages:
        found += _marked(message)
    if found or talk.tools:
        return found
    question = asked(talk)[0]
    for message in talk.messages:
        if message.role == "user":
            found += [(text, False) for text in _unmarked(message.text, question)]
    return found


def _marked(message: Message) -> Iterator[tuple[str, bool]]:
    if message.role == "assistant" and message.text.strip() and not message.calls:
        yield message.text, True
    if message.role != "user":
        return
    tagged, rest = _tagged(message.text)
    for tag, text in tagged:
        if not re.fullmatch(rf"(?i){_ASKS}|{_ORDERS}", tag.replace("_", " ")):
            yield text, True
    for hit in _FENCE.finditer(rest):
        yield hit["text"], True
    rest = _FENCE.sub("\n", rest)
    lines = [line for line, kind in _sorted_lines(rest) if kind == "material"]
    text = _without_last_order("\n".join(lines))
    if text.strip():
        yield text, True


def _tagged(text: str) -> tuple[list[tuple[str, str]], str]:
    """What stands between a tag and its end, each with the tag's name; and the text without it."""
    found: list[tuple[str, str]] = []
    outside: list[str] = []
    unclosed: set[str] = set()
    position = 0
    for hit in _TAG.finditer(text):
        tag = hit["tag"]
        if hit.start() < position or tag in unclosed:
            continue
        end = text.find(f"</{tag}>", hit.end())
        if end < 0:
            unclosed.add(tag)
            continue
        found.append((tag, text[hit.end() : end]))
        outside += [text[position : hit.start()], "\n"]
        position = end + len(tag) + 3
    return found, "".join([*outside, text[position:]])


def _sorted_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line with ``material`` or ``other``, by the label it stands under; labels are dropped."""
    kind = "other"
    for line in text.splitlines():
        label = _LABEL.match(line)
        if _BARE_LABEL.match(line):
            kind = "material"
        elif label and _QUESTION.match(line):
            kind = "other"
            yield label["rest"], "other"
            if not label["rest"].strip():
                kind = "question"
        elif label and re.match(rf"(?i){_ORDERS}\b", label["name"]):
            kind = "other"
        elif label and _MATERIAL.search(label["name"]) and _is_label(label):
            kind = "material"
            yield label["rest"], kind
        else:
            yield line, "other" if kind == "question" else kind
            if kind == "question" and line.strip():
                kind = "other"


def _is_label(label: re.Match[str]) -> bool:
    """A label stands alone on its line, or is short and starts with a capital."""
    name = label["name"]
    return not label["rest"].strip() or (name[0].isupper() and len(name.split()) <= 4)


def _without_last_order(text: str) -> str:
    """*text* without closing paragraphs that order something ("Write a short answer.")."""
    parts = re.split(r"(\n\s*\n)", text.rstrip())
    while len(parts) > 1 and _ORDER.match(parts[-1]) and "[" not in parts[-1]:
        parts = parts[:-2]
    return "".join(parts)


def _unmarked(text: str, question: str) -> Iterator[str]:
    """Paragraphs of *text* without the question and without orders."""
    for part in re.split(r"\n\s*\n", text):
        if re.search(r"(?m)^\s*(?:[-*•]|\d+[.)])\s", part):
            kept = [
                line for line in part.splitlines() if line.strip(" -*") != question and not _ORDER.match(line)
            ]
            yield "\n".join(kept)
        else:
            flat = " ".join(part.split())
            kept = [one for one in sentences(flat) if one != question and not _orders(one)]
            if kept and question not in " ".join(kept):
                yield " ".join(kept)


def _orders(sentence: str) -> bool:
    return bool(_ORDER.match(sentence)) or bool(_LABEL.match(sentence) and _QUESTION.match(sentence))
