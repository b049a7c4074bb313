"""Choose the sentences that answer a question, and write them down with their files in brackets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.passages import CITATION, Passage, distinct, finished
from techrevati.runtime.chaos.words import keywords, rarity, stem, stems, weight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTHING_FOUND = "I found nothing about this in the material"
MAX_SENTENCES = 4
MAX_CONDENSED = 6
_ENOUGH = 0.5  # share of the question's weight that an answer must cover
_BEST_ENOUGH = 0.38  # share that its best sentence must cover alone, heading and file name included
_BESIDE = 0.6  # of the best sentence's score, for another sentence to stand beside it
_CONTEXT_SHARE = 0.5  # what a word in the heading or file name counts beside one in the sentence
_FORM_BONUS = 1.2
_SAME = 0.7  # shared part of the words at which two sentences say the same
_GOES_ON = re.compile(r"^(?:It|They|This|These|That|Those|Then|After that|Otherwise|If so)\b")
_FORMS = (
    (re.compile(r"(?i)\bhow (?:many|much|long|often|old|big|fast|far)\b|\bwhen\b"), re.compile(r"\d")),
    (re.compile(r"(?i)\bwho\b"), re.compile(r"(?<!^)\b[A-Z][a-z]+ [A-Z][a-z]+|\bteam\b")),
    (re.compile(r"(?i)\bwhy\b"), re.compile(r"(?i)\b(?:because|so that|since|therefore|reason|due to)\b")),
)


def answer(question: str, found: Sequence[Passage]) -> str:
    """The few sentences of *found* that fit *question* best, each with its file; or that there is nothing."""
    kept = distinct(one for one in found if not _is_refusal(one))
    scores, weights = _scored(question, kept)
    if not kept or not weights or max(scores) <= 0:
        return nothing(question)
    chosen = _chosen(kept, scores, MAX_SENTENCES, _BESIDE)
    if not _answers([kept[index] for index in chosen], weights):
        return nothing(question)
    with_more = _with_neighbours(chosen, kept)
    best_first = list(dict.fromkeys(kept[index].source for index in chosen))
    ordered = sorted(with_more, key=lambda index: (best_first.index(kept[index].source), index))
    return _prose([kept[index] for index in ordered])


def condensed(question: str, found: Sequence[Passage], *, marked: bool) -> str:
    """What *found* says to *question*, in its own order and with its citations.

    Material that was *marked* as such is trusted to be about the question, even where it uses other words.
    """
    kept = distinct(one for one in found if not _is_refusal(one))
    if not kept:
        return nothing(question)
    scores, weights = _scored(question, kept)
    if not weights or max(scores) <= 0:
        return _prose(kept[:MAX_CONDENSED]) if marked and kept else nothing(question)
    chosen = _chosen(kept, scores, MAX_CONDENSED, 0.25)
    if not marked and not _answers([kept[index] for index in chosen], weights):
        return nothing(question)
    return _prose([kept[index] for index in sorted(_with_neighbours(chosen, kept))])


def nothing(question: str) -> str:
    """The plain statement that nothing was found; always starts with ``NOTHING_FOUND``."""
    sought = ", ".join(keywords(question)[:8])
    return f"{NOTHING_FOUND} (looked for: {sought})." if sought else f"{NOTHING_FOUND}."


def _answers(chosen: Sequence[Passage], weights: Mapping[str, float]) -> bool:
    """Whether *chosen* speak of enough of what was asked: one of them of much, all together of most."""
    total = sum(weights.values())
    covered = [_all_stems(one) for one in chosen]
    best = max(weight(one, weights) for one in covered)
    return (
        best >= _BEST_ENOUGH * total and weight(frozenset[str]().union(*covered), weights) >= _ENOUGH * total
    )


def _is_refusal(one: Passage) -> bool:
    return one.text.startswith(NOTHING_FOUND)


def _all_stems(one: Passage) -> frozenset[str]:
    return one.own | one.context | stems(one.source)


def _scored(question: str, found: Sequence[Passage]) -> tuple[list[float], Mapping[str, float]]:
    weights = rarity([_all_stems(one) for one in found], dict.fromkeys(map(stem, keywords(question))))
    wanted_forms = [shape for asks, shape in _FORMS if asks.search(question)]
    return [_score(one, weights, wanted_forms) for one in found], weights


def _score(one: Passage, weights: Mapping[str, float], forms: Sequence[re.Pattern[str]]) -> float:
    own = weight(one.own, weights)
    around = weight((one.context | stems(one.source)) - one.own, weights)
    length = len(one.text.split())
    size = 0.7 if length < 4 else 0.85 if length > 50 else 1.0
    form = _FORM_BONUS if any(shape.search(one.text) for shape in forms) else 1.0
    return (own + _CONTEXT_SHARE * around) * size * form if own else 0.2 * around * size


def _chosen(found: Sequence[Passage], scores: Sequence[float], limit: int, beside: float) -> list[int]:
    best = max(scores)
    chosen: list[int] = []
    for index in sorted(range(len(found)), key=lambda index: -scores[index]):
        if len(chosen) == limit or scores[index] < beside * best or scores[index] <= 0:
            break
        if all(_likeness(found[index].own, found[other].own) < _SAME for other in chosen):
            chosen.append(index)
    return chosen


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, min(len(one), len(other)))


def _with_neighbours(chosen: Sequence[int], found: Sequence[Passage]) -> set[int]:
    """*chosen*, the sentence before each that begins with "It" or "They", and one after that goes on so."""
    more: set[int] = set()
    for index in chosen:
        if index and _goes_on(found, index):
            more.add(index - 1)
    for index in chosen[:2]:
        if index + 1 < len(found) and _goes_on(found, index + 1):
            more.add(index + 1)
    return set(chosen) | more


def _goes_on(found: Sequence[Passage], index: int) -> bool:
    one, before = found[index], found[index - 1]
    same = before.source == one.source and before.context == one.context
    return same and bool(_GOES_ON.match(one.text))


def _without_own_citation(one: Passage) -> str:
    return CITATION.sub(lambda hit: "" if hit[1] == one.source else hit[0], one.text)


def _prose(found: Sequence[Passage]) -> str:
    """Sentences in one paragraph; a file that several in a row are from is named once, after the last."""
    parts: list[str] = []
    for index, one in enumerate(found):
        text = finished(_without_own_citation(one))
        same = index + 1 < len(found) and found[index + 1].source == one.source
        parts.append(text if same or not one.source else f"{text} [{one.source}]")
    return " ".join(parts)
