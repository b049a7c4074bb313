"""Words, sentences and their rarity: all that the extractive model knows of language.

Pure functions; the same text always gives the same words in the same order.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from techrevati.runtime._core.scrub import REDACTED, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STOP_WORDS_TEXT = """
    a about above after again all also am an and answer any anything are as at be because been
    before being below between both but by can could describe did do does doing down during each
    every everything explain few file files find folder following for from further give had has have
    having he her here hers him his how i if in into is it its itself just know list may me might
    more most much must my no nor not of off on once one only or other our out over own please
    question same say says she should show so some such summarise summarize tell than that the their
    them then there these they thing things this those through to too under until up use used uses
    using very was we were what when where which while who whom whose why will with would you your
    document documents note notes text according mean means many long often exactly happen happens
    hello hi hey thanks thank bye goodbye
"""
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ies", "ied", "ed", "es", "ly", "s", "e", "y")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|St|No|Fig|approx|incl|[A-Z])\.$")
_SENTENCE_END = re.compile(
    r"(?<=[.!?…])[\"'”\u2019)]*(?:\s*\[[^\]\n]{1,120}\])*\s+(?=[\"'“\u2018(]*[^\W_a-z]|[-*`])"
)


def words_in(text: str) -> list[str]:
    """The words of *text* as written, without punctuation; ``snake_case`` and ``kebab-case`` come apart."""
    return _WORD.findall(text)


def stem(word: str) -> str:
    """*word* in lower case without its usual English ending, so that ``retries`` meets ``retrying``."""
    low = word.lower().replace("\u2019", "'")
    low = low.removesuffix("'s")
    for ending in _ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= 3 and not low.endswith("ss"):
            low = low[: -len(ending)]
            break
    if len(low) >= 4 and low[-1] == low[-2] and low[-1] not in "aeiouls":
        low = low[:-1]  # stopped -> stopp -> stop
    return low[:-1] if len(low) >= 4 and low[-1] in "eiy" else low


def keywords(text: str) -> list[str]:
    """The words of *text* that say what it is about, as written, each stem once, in their order.

    A credential is not among them: these words are what a model searches for and says it looked for, and in
    pieces nobody would know it again.
    """
    seen: dict[str, str] = {}
    for word in words_in(without_credentials(text).replace(REDACTED, " ")):
        if word.lower() not in STOP_WORDS and (len(word) > 1 or word.isdigit()):
            seen.setdefault(stem(word), word)
    return list(seen.values())


def stems(text: str) -> frozenset[str]:
    """The stems of all words of *text*, stop words left out."""
    return frozenset(stem(word) for word in words_in(text) if word.lower() not in STOP_WORDS)


def rarity(stem_sets: Sequence[frozenset[str]], wanted: Iterable[str]) -> dict[str, float]:
    """How much each stem of *wanted* tells apart: high when few of *stem_sets* have it, highest for none."""
    total = len(stem_sets)
    found = {each: sum(each in one for one in stem_sets) for each in wanted}
    return {each: math.log(1.0 + (total + 1) / (count + 1)) for each, count in found.items()}


def weight(one: frozenset[str], weights: Mapping[str, float]) -> float:
    """The summed rarity of the stems that *one* has."""
    return sum(value for each, value in weights.items() if each in one)


def sentences(paragraph: str) -> list[str]:
    """*paragraph* cut after ``.``, ``!`` or ``?``; a citation stays with the sentence before it."""
    flat = " ".join(paragraph.split())
    found: list[str] = []
    start = 0
    for gap in _SENTENCE_END.finditer(flat):
        piece = flat[start : gap.end()].strip()
        if _ABBREVIATION.search(flat[start : gap.start() + 1].rstrip()):
            continue
        found.append(piece)
        start = gap.end()
    rest = flat[start:].strip()
    return [*found, rest] if rest else found
