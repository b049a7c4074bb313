"""What a text says, when nothing but a text is left.

Words count as words: ``4290`` is no 429, ``503 not found`` is no 503, and a timeout that *must be positive*
is an argument.  Texts come in lower case.
"""

from __future__ import annotations

from techrevati.runtime.failures.known import REASONS
from techrevati.runtime.failures.reporting import OF_A_SERVICE
from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.settings import in_a_name, in_word, names_a_setting, quoted, word_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
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
_compiled: dict[str, re.Pattern[str]] = {}

# What is got is a number among others where one of these stands, and no word of a service.
_COMPARED = frozenset(
    ("above", "asked", "average", "below", "between", "bounds", "calculation", "characters", "checksum",
     "columns", "contain", "count", "differ", "differs", "dimension", "even", "exit", "expected",
     "expecting", "expects", "features", "greater", "id", "index", "inputs", "interval", "length", "less",
     "limit", "maximum", "mean", "median", "minimum", "mismatch", "most", "multiple", "must", "number",
     "odd", "range", "rows", "score", "shape", "should", "size", "sum", "total", "value", "values", "want",
     "wanted", "wrong")
)  # fmt: skip
_OF_TABLES = ("missing", "unknown", "page", "template", "has no ", "handler", "rule", "mapping")
_OF_CALLS = frozenset(
    ("after", "attempts", "call", "calls", "minutes", "retries", "seconds", "tries", "within")
)


def _pattern(name: str) -> re.Pattern[str]:
    found = _compiled.get(name)
    if found is None:
        import re

        reasons = "|".join(
            rf"{status}(?=[\s:,-]+(?:{words}))".replace(" ", r"\s") for status, words in REASONS.items()
        )
        sources = {
            # "expected 503 rows, got 500" counts rows; "expected 200 but got 503" speaks of statuses.
            "counted": r"""
                expect(?:ed|s|ing)\s\d+\s(?!(?:but|and|ok|or|from|response|responses|status|success)\b)[a-z]
            """,
            "success": r"(?:expect\w*|want\w*)\s(?:(?:an?|the|http|status|code)\s)*2\d\d(?!\d)",
            "three digits": r"(?<![\d.])[45]\d\d(?!\d)",
            "code": r"(?<![\w.-])(?:[a-z]+(?:_[a-z]+)+|[a-z]{4,}exception)(?![\w-])",
            "status": rf"""
                (?:(?<![\w.])(?P<reason>{reasons}))
              | (?:^[\s('"\[<]{{0,3}}(?P<first>[45]\d\d)
                   (?=\s*(?:$|[:;,()\[\]{{]|-\s|(?:client\s|server\s)?error\b)
                     |\s(?:please|try|retry|from|response|received|returned|status)\b))
              | (?:\b(?:http(?:/[\d.]+)?|(?:http|status|error|response)[\s_-]?(?:status[\s_-]?)?code
                     |http[\s_-]status|status|status\scode\sdoes\snot\sindicate\ssuccess
                     |(?:http|server|client|api)[\s_-]error|error)
                  \b['"]?\s?[:=]?\s?[('"\[]?(?P<named>[45]\d\d)
                   (?![\w%?]|\.\d|\s+[a-z]+s\b|\s+(?:must|should|has\sto)\b))
              | (?:(?:['"]code['"]\s?:|\bcode[:=])\s?['"]?(?P<code>[45]\d\d)(?![\w%]|\.\d))
              | (?:\b(?:returned|responded\s+with|replied\s+with|received|got|gave|failed\s+with|answered)
                   (?:\s+(?:an?|http|status|code|error))*\s+(?P<verb>[45]\d\d)
                   (?=\s*(?:$|[.,;:)!]|error|from|response|status|again\b
                     |after\s\w+\s(?:tr|attempt|retr|request|call))))
            """,
        }
        found = _compiled[name] = re.compile(sources[name], re.VERBOSE)
    return found


def has_phrase(text: str, phrase: str, *, unless_setting: bool = False) -> bool:
    """Does *phrase* stand in *text* as words; a star at an end lets the word there go on."""
    if "…" in phrase:
        return _has_parts(text, *phrase.split(" … ", 1))
    bare = phrase.strip("*")
    start = text.find(bare)
    while start >= 0:
        end = start + len(bare)
        # A phrase that begins with a colon follows a word.
        begins = not start or not in_word(phrase[0]) or not in_word(text[start - 1])
        whole = begins and (phrase[-1] == "*" or end == len(text) or not in_word(text[end]))
        if whole and not (
            unless_setting
            and (
                quoted(text, start, end)
                or names_a_setting(
                    text, start, word_end(text, end) if phrase[-1] == "*" and bare[-1].isalpha() else end
                )
            )
        ):
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

    __slots__ = ("_by_word", "_keys", "_loose", "_loose_ascii", "_size")

    def __init__(self) -> None:
        self._by_word: dict[str, list[_Candidate]] = {}
        self._keys: frozenset[str] = frozenset()
        self._loose: list[tuple[str, _Candidate]] = []  # their letters, and themselves
        self._loose_ascii: list[tuple[str, _Candidate]] = []
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
            self._by_word.setdefault(max(whole, key=len), []).append(candidate)
        else:
            bare = phrase.strip("*").partition(" … ")[0]
            self._loose.append((bare, candidate))
            if bare.isascii():
                self._loose_ascii.append((bare, candidate))
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
        by_word, words, said = self._by_word, text.words, text.text
        # Letters of other scripts are in no text that is ASCII.
        found: list[_Candidate] = []
        for bare, candidate in self._loose_ascii if said.isascii() else self._loose:
            if bare in said:
                found.append(candidate)
        if not self._keys:
            self._keys = frozenset(by_word)
        for word in words & self._keys:
            for candidate in by_word[word]:
                if candidate[4] <= words:
                    found.append(candidate)
        if len(found) > 1:
            found.sort()  # by column and place, which no two of them share
        return found


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


def status_in(text: str) -> int | None:
    """The HTTP status that *text* reports, if it is unmistakable."""
    if ("4" not in text and "5" not in text) or not _pattern("three digits").search(text):
        return None
    for found in _pattern("status").finditer(text):
        before = text[max(0, found.start() - 10) : found.start()].rstrip()
        if before.endswith(("exit", "exited", "line", "errno")) or before.split()[-1:] == ["expected"]:
            continue
        if found.lastgroup == "named" and before.endswith((" for", " of", " about")):
            continue  # what something else is about: two rules for status 429
        if found.lastgroup == "named" and text[found.end() : found.end() + 12].lstrip().startswith(
            _OF_TABLES
        ):
            continue  # an entry of a table: status code 503 missing in mapping
        if any(in_a_name(text, found.start(), found.end(), quote) for quote in ("'", '"', "`")):
            continue  # what something is called, or is about: article 'http 503 explained'
        if found.lastgroup != "verb" or not _compared(text):
            return int(found[found.lastgroup or 0])
    return None


def _compared(text: str) -> bool:
    """Is a number that somebody got one that *text* compares with others, and no status?"""
    if _pattern("counted").search(text):
        return True
    words = Text(text).words
    return (
        not words.isdisjoint(_COMPARED)
        and words.isdisjoint(OF_A_SERVICE)
        and words.isdisjoint(_OF_CALLS)
        and not _pattern("success").search(text)
    )


def codes_in(text: str) -> list[str]:
    """Everything in *text* that looks like a code and is no setting: ``context_length_exceeded``."""
    if "_" not in text and "exception" not in text:
        return []
    return [
        code[0]
        for code in _pattern("code").finditer(text)
        if not names_a_setting(text, code.start(), code.end())
        and not in_a_name(text, code.start(), code.end(), text[code.start() - 1 : code.start()])
    ]
