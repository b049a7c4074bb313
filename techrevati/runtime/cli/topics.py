"""Say in a few words what texts are about, and which words of a question tell something.

Used to put a question to a folder that nobody asked anything about, and to keep the right paragraphs when a
context has to shrink.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_WORD = re.compile(r"[^\W\d_]{3,}|\d{2,}")
_EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        about above after again all also always and any are around because been before being between
        both but can cannot could did does doing done down each either else even ever every few file
        files folder folders for from get gets give given goes had has have her here him his how into
        its itself just keep kept last like made make makes many may might more most much must need
        needs never new none nor not now off often old once one only other others our out over own per
        please put says see shall she should show since some still such take tell than that the their
        them then there these they thing things this those three through too two under until use used
        uses using very want was way well were what when where whether which while who whole whom whose
        why will with within without would yes yet you your
        """,
    )
)

_VAGUE_WORDS = frozenset(
    re.findall(
        r"\w+", "answer document documents happen happens list long mean means note notes often question"
    )
)
_NOT_PROSE = re.compile(r"<!--.*?-->|^\s*(```|~~~).*?(?:^\s*\1|\Z)", re.DOTALL | re.MULTILINE)


def telling_words(text: str) -> set[str]:
    """The words of *text*, in lower case, that say what it is about; numbers included."""
    return {word.lower() for word in _WORD.findall(text)} - _EMPTY_WORDS


def telling_stems(text: str) -> set[str]:
    """What forms of the telling words have in common: "locker" and "Lockers" are one."""
    return {_topic(word) for word in telling_words(text)}


def _topic(word: str) -> str:
    """What forms of a word have in common: "locker" and "Lockers" are one topic."""
    return word.lower().rstrip("s")[:7]


def pointed_question(question: str, texts: Iterable[str]) -> str:
    """*question*, and what it may be about where it does not say so itself."""
    if telling_words(question):
        return question
    topics = _topics_of_one_sentence(list(texts))
    return f"{question.rstrip(' ?')}: {', '.join(topics)}?" if topics else question


def _topics_of_one_sentence(texts: Sequence[str], count: int = 3) -> list[str]:
    """Words of the one sentence that says most of what *texts* share, so that one place answers for all."""
    texts_with = Counter(topic for text in texts for topic in telling_stems(text))
    best: list[str] = []
    best_score = (0, 0, 0, 0)
    for text in texts:
        for sentence in _SENTENCE_END.split(_NOT_PROSE.sub("\n", text.replace("\r", "\n"))):
            found: dict[str, str] = {}
            for word in _WORD.findall(sentence):
                if word.lower() not in _EMPTY_WORDS | _VAGUE_WORDS:
                    found.setdefault(_topic(word), word)
            # Long words say more than short ones, words more than numbers, common ones more than rare ones.
            ranked = sorted(
                found, key=lambda one: (len(found[one]) < 4 or one.isdigit(), -texts_with[one], -len(one))
            )[:count]
            long = sum(len(found[one]) > 3 and not one.isdigit() for one in ranked)
            is_prose = sentence.rstrip().endswith((".", "!", "?")) and not sentence.startswith("#")
            score = (int(is_prose and long > 0), long, sum(texts_with[one] for one in ranked), len(ranked))
            if score > best_score:
                best_score, best = score, [found[one] for one in found if one in ranked]
    return best
