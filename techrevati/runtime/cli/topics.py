"""Say in a few words what texts are about, and which words of a question tell something.

Used to put a question to a folder that nobody asked anything about, and to keep the right paragraphs when a
context has to shrink.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def telling_words(text: str) -> set[str]:
    """The words of *text*, in lower case, that say what it is about; numbers included."""
    return {word.lower() for word in _WORD.findall(text)} - _EMPTY_WORDS


def main_topics(texts: Iterable[str], count: int = 3) -> list[str]:
    """The *count* words that most texts have in common, as they are mostly written."""
    texts_with: Counter[str] = Counter()
    written: dict[str, Counter[str]] = {}
    for text in texts:
        words = [word for word in _WORD.findall(text) if len(word) > 3 and not word.isdigit()]
        words = [word for word in words if word.lower() not in _EMPTY_WORDS]
        for word in words:
            written.setdefault(_topic(word), Counter())[word] += 1
        texts_with.update({_topic(word) for word in words})
    best = sorted(texts_with, key=lambda topic: (-texts_with[topic], -written[topic].total(), topic))
    return [max(written[topic], key=lambda word: (written[topic][word], word)) for topic in best[:count]]


def _topic(word: str) -> str:
    """What forms of a word have in common: "locker" and "Lockers" are one topic."""
    return word.lower().rstrip("s")[:7]


def pointed_question(question: str, texts: Iterable[str]) -> str:
    """*question*, and what it may be about where it does not say so itself."""
    if telling_words(question):
        return question
    topics = main_topics(texts)
    return f"{question.rstrip(' ?')}: {', '.join(topics)}?" if topics else question
