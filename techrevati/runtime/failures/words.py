"""What a text says, when nothing but a text is left.

Words count as words: ``4290`` is no 429, ``503 not found`` is no 503, and a timeout that *must be positive*
is an argument.  Texts come in lower case.
"""

from __future__ import annotations

from techrevati.runtime.failures.names import in_word, names_a_setting, quoted, word_end
from techrevati.runtime.failures.rule import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # column, place, phrase, rule, words it needs
    _Candidate: TypeAlias = tuple[int, int, str, Rule, frozenset[str]]

SAYS, COMPLAINS, TEXT = 0, 1, 2  # columns of phrases, in the order in which they are heard
SHARPER = 3  # the first of those that sharpen a kind
_LETTERS = bytes(code if chr(code).isalpha() and code < 128 else 32 for code in range(256))
# How people and programs write quotes and spaces, too.
_TYPOGRAPHY = {
    0x2018: "'",
    0x2019: "'",
    0x201A: "'",
    0x201C: '"',
    0x201D: '"',
    0x201E: '"',
    0xA0: " ",
    0x202F: " ",
}
_MAX_BETWEEN = 60  # characters that ``…`` stands for


def has_phrase(text: str, phrase: str, *, unless_setting: bool = False) -> bool:
    """Does *phrase* stand in *text* as words; a star at an end lets the word there go on."""
    if "…" in phrase:
        return _has_parts(text, *phrase.split(" … ", 1))
    bare = phrase.strip("*")
    start = text.find(bare)
    while start >= 0:
        end = start + len(bare)
        # A phrase that begins with a colon follows a word.
        begins = not start or text[start - 1] == " " or not in_word(text[start - 1]) or not in_word(phrase[0])
        if begins and (phrase[-1] == "*" or end == len(text) or not in_word(text[end])):
            if not unless_setting:
                return True
            stop = end
            if phrase[-1] == "*" and end < len(text) and text[end] != " " and not text[end].isdigit():
                stop = word_end(text, end)  # the rest of its word
            if not ((start and quoted(text, start, end)) or names_a_setting(text, start, stop)):
                return True
        start = text.find(bare, start + 1)
    return False


def _has_parts(text: str, head: str, tail: str) -> bool:
    """Do *head* and, a few words later, *tail* stand in *text*?"""
    start = text.find(head)
    while start >= 0:
        end = start + len(head)
        if (
            (not start or not in_word(text[start - 1]))
            and not in_word(text[end : end + 1])
            and has_phrase(text[end + 1 : end + _MAX_BETWEEN + len(tail)], tail)
        ):
            return True
        start = text.find(head, start + 1)
    return False


class Text:
    """A text to search, in lower case, with the set of its words, as far as these are ASCII."""

    __slots__ = ("found", "searched", "text", "words")

    def __init__(self, text: str) -> None:
        if not text.isascii():
            text = text.translate(_TYPOGRAPHY)
        self.text: str = text
        # What is no ASCII parts words: that finds more of them than there are, and misses none.
        self.words: set[str] = set(text.encode("ascii", "replace").translate(_LETTERS).decode().split())
        self.searched: Phrases | None = None  # whose candidates ``found`` are
        self.found: list[_Candidate] = []


class Phrases:
    """Phrases in columns, each in the order of its rows, found by the whole words of each.

    Most texts have none of them.  A text is searched once for all columns, whichever is asked first.
    """

    __slots__ = ("_by_word", "_keys", "_loose", "_loose_ascii", "_size", "_worded")

    def __init__(self) -> None:
        self._worded: list[_Candidate] = []
        self._by_word: dict[str, list[_Candidate]] = {}  # each of those under one of its words
        self._keys: frozenset[str] = frozenset()
        self._loose: dict[str, list[_Candidate]] = {}  # by their letters
        self._loose_ascii: dict[str, list[_Candidate]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, phrase: str, rule: Rule, column: int) -> None:
        """Put *phrase* of *rule* into *column*, behind those that are there."""
        if not phrase.isascii():
            phrase = phrase.translate(_TYPOGRAPHY)
        whole = _whole_words(phrase)
        candidate = (column, self._size, phrase, rule, frozenset(whole))
        if whole:
            self._worded.append(candidate)
        else:
            bare = phrase.strip("*").partition(" … ")[0]
            self._loose.setdefault(bare, []).append(candidate)
            if bare.isascii():
                self._loose_ascii.setdefault(bare, []).append(candidate)
        self._keys = frozenset()
        self._size += 1

    def first(self, text: Text, columns: tuple[int, ...], *, unless_setting: bool = False) -> Rule | None:
        """The rule of the first phrase in *columns*, lower ones before, that stands in *text*."""
        if text.searched is self:
            found = text.found
        else:
            found = text.found = self._candidates(text)
            text.searched = self
        if not found:
            return None
        for column, _, phrase, rule, _ in found:
            if column in columns and has_phrase(text.text, phrase, unless_setting=unless_setting):
                return rule
        return None

    def _candidates(self, text: Text) -> list[_Candidate]:
        """All phrases whose words are those of *text*, in order."""
        if not self._keys:
            self._sort()
        by_word, words, said = self._by_word, text.words, text.text
        # Letters of other scripts are in no text that is ASCII.
        found: list[_Candidate] = []
        loose = self._loose_ascii if said.isascii() else self._loose
        for bare in loose:
            if bare in said:
                found += loose[bare]
        for word in words & self._keys:
            for candidate in by_word[word]:
                if candidate[4] <= words:
                    found.append(candidate)
        if len(found) > 1:
            found.sort()  # by column and place, which no two of them share
        return found

    def _sort(self) -> None:
        """Put each phrase under the word that the fewest share: a text is compared with few of them."""
        shared: dict[str, int] = {}
        for candidate in self._worded:
            for word in candidate[4]:
                shared[word] = shared.get(word, 0) + 1
        by_word: dict[str, list[_Candidate]] = {}
        for candidate in self._worded:
            rarest = min(candidate[4], key=lambda word: (shared[word], -len(word), word))
            by_word.setdefault(rarest, []).append(candidate)
        self._by_word, self._keys = by_word, frozenset(by_word)


def _whole_words(phrase: str) -> list[str]:
    """The words that a text must have when *phrase* stands in it; none where that cannot be said."""
    if not phrase.replace("…", "").isascii():
        return []
    bare = phrase.strip("*")
    whole = bare.replace("…", " ").encode().translate(_LETTERS).decode().split()
    if phrase[0] == "*" and bare[0].isalpha():
        whole = whole[1:]
    if phrase[-1] == "*" and bare[-1].isalpha():
        whole = whole[:-1]
    return whole
