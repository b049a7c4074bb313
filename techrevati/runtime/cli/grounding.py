"""Was the question answered from the folder?  A passage counts when it cites a file that was read and says
mostly what that file says.

An answer is grounded when it cites only files that the researcher was given, and at least half of its cited
passages (one at the least) share most of their telling words with the file they cite.  This cannot know
whether an answer is right; it knows whether it came from the files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.cli.topics import telling_words

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED_PART = 0.5
FEWEST_WORDS = 3
_CITED = re.compile(r"([^\[\]]+)((?:\[[^\[\]\n]{1,200}\][\s.,;]*)+)")
_NAME = re.compile(r"\[([^\[\]\n]+)\]")


@dataclass(frozen=True, slots=True)
class Grounding:
    """How an answer rests on files.

    Attributes:
        passages: Passages with a citation.
        supported: Those whose words are in the file they cite.
        files: Files cited, in order.
        unknown: Names cited that are no file the researcher was given.
    """

    passages: int
    supported: int
    files: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def answered(self) -> bool:
        """True when the answer came from the files."""
        return self.supported > 0 and 2 * self.supported >= self.passages and not self.unknown

    def __str__(self) -> str:
        if not self.passages:
            return "the answer cites no file"
        if self.unknown:
            return f"the answer cites {', '.join(self.unknown)}, which nobody read"
        many = "passage" if self.passages == 1 else "passages"
        return f"{self.supported} of {self.passages} cited {many} found in {', '.join(self.files)}"


def grounding(answer: str, texts: Mapping[str, str]) -> Grounding:
    """How *answer* rests on *texts*, the files that were read by their names."""
    passages = supported = 0
    files: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for passage, marks in _CITED.findall(answer):
        names = [name for mark in _NAME.findall(marks) for name in _names(mark.strip(), texts)]
        known = [name for name in names if name in texts]
        # "[sic]" is no citation, "[plans.md]" is one.
        foreign = [name for name in names if name not in texts and ("." in name or "/" in name)]
        files |= dict.fromkeys(known)
        unknown |= dict.fromkeys(foreign)
        passages += bool(known or foreign)
        supported += any(_shares(passage, texts[name]) for name in known)
    return Grounding(passages, supported, tuple(files), tuple(unknown))


def _names(mark: str, texts: Mapping[str, str]) -> list[str]:
    """The names in one pair of brackets."""
    return [mark] if mark in texts else [name.strip() for name in re.split(r"[,;]", mark)]


def _shares(passage: str, text: str) -> bool:
    said = telling_words(passage)
    shared = said & telling_words(text)
    return len(shared) >= min(FEWEST_WORDS, max(1, len(said))) and len(shared) >= SHARED_PART * len(said)
