"""Cut documents into sentences that can stand alone, each knowing its file and its heading.

Understands plain prose, Markdown headings, lists and tables, ``key = value`` lines and grep-like output;
code blocks are left out, since a quoted line of code answers nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.words import sentences, stems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_SENTENCE_LENGTH = 400
_CITATION_LENGTH = 125  # may stand behind a sentence that was cut already
_WRAPPED_LENGTH = 50  # a line at least this long, without a full stop, goes on in the next one
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^\s*(?:={3,}|-{3,})\s*$")
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_RULE = re.compile(r"^[\s\-=*_|:+#~`]*$")
_LINK = re.compile(r"!?\[([^\]\n]{0,300})\]\((?:[^)\s]{0,500})(?:\s+\"[^\"]{0,300}\")?\)")
# Underscores are left alone where they are a part of a name, as in ``__init__.py`` and ``[__init__.py]``.
_EMPHASIS = re.compile(
    r"(\*\*|(?<![\w\[/])__(?=\S)|(?<![\w*])\*(?=\S))(.{1,300}?)(?:\*\*|(?<=\S)__(?![\w.\]/])|(?<=\S)\*(?![\w*]))"
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CITATION = re.compile(r"(?:^|\s+)\[([^\]\n]{1,120})\](?=[\s.,;]|$)")


@dataclass(frozen=True, slots=True)
class Passage:
    """One sentence: what it says, the file it is from ("" when unknown), the stems of its own words and
    those of the heading above it."""

    text: str
    source: str
    own: frozenset[str]
    context: frozenset[str]


def passages_in(text: str, source: str = "") -> list[Passage]:
    """The sentences of *text* in their order; citations in brackets stay where they are."""
    found: list[Passage] = []
    above: frozenset[str] = frozenset()
    for unit, heading in _units(_COMMENT.sub(" ", text)):
        if heading:
            above = stems(unit)
            continue
        for one in sentences(_plain(unit)):
            own = stems(CITATION.sub("", one))
            if own and re.search(r"[^\W\d_]", one):
                found.append(Passage(_shortened(one), source, own, above))
    return found


def _units(text: str) -> Iterator[tuple[str, bool]]:
    """Paragraphs, list entries and table rows, and headings with True."""
    lines = text.splitlines()
    pending: list[str] = []
    fenced = False
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if _FENCE.match(line):
            fenced = not fenced
        heading = _HEADING.match(line)
        title = heading[1] if heading else line.strip() if _is_title(line, following) else ""
        breaks = fenced or bool(_FENCE.match(line)) or bool(_RULE.match(line)) or bool(title)
        if (breaks or _starts_unit(line, pending)) and pending:
            yield " ".join(pending), False
            pending = []
        if title and not fenced:
            yield title, True
        elif not breaks:
            pending.append(_row(line))
    if pending:
        yield " ".join(pending), False


def _is_title(line: str, following: str) -> bool:
    return (
        bool(line.strip()) and not _RULE.match(line) and bool(_UNDERLINE.match(following)) and len(line) < 100
    )


def _starts_unit(line: str, pending: list[str]) -> bool:
    if _BULLET.match(line) or line.lstrip().startswith("|"):
        return True
    return bool(pending) and len(pending[-1]) < _WRAPPED_LENGTH and not line[:1].isspace()


def _row(line: str) -> str:
    """*line* without its bullet; a table row becomes ``first: second; third``."""
    if line.lstrip().startswith("|"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        cells = [cell for cell in cells if cell]
        return cells[0] + (": " + "; ".join(cells[1:]) if cells[1:] else "") if cells else ""
    return _BULLET.sub("", line).strip().removeprefix("> ")


def _plain(text: str) -> str:
    """*text* without links and emphasis; code in backticks stays as it is."""
    parts = _LINK.sub(r"\1", text).split("`")
    return "`".join(part if index % 2 else _EMPHASIS.sub(r"\2", part) for index, part in enumerate(parts))


def _shortened(text: str) -> str:
    if len(text) <= MAX_SENTENCE_LENGTH + _CITATION_LENGTH:
        return text
    return text[:MAX_SENTENCE_LENGTH].rsplit(" ", 1)[0] + " …"


def finished(text: str) -> str:
    """*text* as a sentence that ends: a full stop where there is none, before a citation at its end."""
    bare = text.rstrip()
    cited = re.search(r"(?:\s*\[[^\]\n]{1,120}\])+[.]?$", bare)
    tail = cited[0].strip().rstrip(".") if cited else ""
    bare = bare[: cited.start()].rstrip() if cited else bare
    stop = "" if re.search(r"[.!?…][\"'”\u2019)*`]*$", bare) else "."
    return f"{bare.rstrip(';,:')}{stop}{' ' + tail if tail else ''}"


def distinct(found: Iterable[Passage]) -> list[Passage]:
    """The passages without those that say the same words as an earlier one of the same source."""
    seen: set[tuple[str, frozenset[str]]] = set()
    kept: list[Passage] = []
    for one in found:
        if (key := (one.source, one.own)) not in seen:
            seen.add(key)
            kept.append(one)
    return kept
