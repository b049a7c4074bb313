"""Which status or code of an API a text reports.

``4290`` is no 429, and who expected 500 rows and got 503 has no overloaded server.  Texts come in lower case.
"""

from __future__ import annotations

from techrevati.runtime.failures.known import REASONS
from techrevati.runtime.failures.mentions import NOT_OF_FAILURES, denied, is_subject, names_a_document
from techrevati.runtime.failures.names import in_a_name, in_some_name, names_a_setting
from techrevati.runtime.failures.reporting import OF_A_SERVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

    from techrevati.runtime.failures.words import Text

_NOT_OF_STATUSES = (" mean", " stands for", *(f" {words}" for words in NOT_OF_FAILURES))
_NOT_OF_STATUSES_BEGIN = frozenset(words[:3] for words in _NOT_OF_STATUSES)
# What a status is an entry of: status code 503 missing in mapping.
_OF_TABLES = (" missing", " unknown", " mapping")
# What is got is a number among others where one of these stands, and no word of a service.
_COMPARED = frozenset(
    ("above", "asked", "average", "below", "between", "bounds", "calculation", "characters", "checksum",
     "columns", "contain", "count", "differ", "differs", "dimension", "even", "exit", "expected",
     "expecting", "expects", "features", "greater", "id", "index", "inputs", "interval", "length", "less",
     "limit", "maximum", "mean", "median", "minimum", "mismatch", "most", "multiple", "must", "number",
     "odd", "range", "rows", "score", "shape", "should", "size", "sum", "total", "value", "values", "want",
     "wanted", "wrong")
)  # fmt: skip
_OF_CALLS = frozenset(
    ("after", "attempts", "call", "calls", "minutes", "retries", "seconds", "tries", "within")
)
_MAX_LEAD = 100  # characters that say what the number behind them is
_compiled: dict[str, re.Pattern[str]] = {}


def _pattern(name: str) -> re.Pattern[str]:
    found = _compiled.get(name)
    if found is None:
        import re

        reasons = "|".join(
            rf"{status}(?=[\s:,-]+(?:{words}))".replace(" ", r"\s") for status, words in REASONS.items()
        )
        sources = {
            "reason": rf"[\s:,-]+(?:{'|'.join(REASONS.values())})(?:\s+error\b)?".replace(" ", r"\s"),
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


def status_in(said: Text) -> int | None:
    """The HTTP status that a text reports, if it is unmistakable."""
    text = said.text
    if "4" not in text and "5" not in text:
        return None
    digits = _pattern("three digits").search(text)
    if digits is None:
        return None
    for found in _pattern("status").finditer(text, max(0, digits.start() - _MAX_LEAD)):
        start, end = found.span()
        if start and _is_no_report(text, start):
            continue
        if found.lastgroup == "named" and _is_an_entry(text, start, end):
            continue
        if found.lastgroup == "reason" and (reason := _pattern("reason").match(text, end)):
            end = reason.end()
        if text[end : end + 3] in _NOT_OF_STATUSES_BEGIN and text.startswith(_NOT_OF_STATUSES, end):
            continue
        if names_a_document(text, end):
            continue
        if in_some_name(text, start, found.end()):
            continue  # what something is called, or is about: article 'http 503 explained'
        if found.lastgroup != "verb" or not _compared(text, said.words):
            return int(found[found.lastgroup or 0])
    return None


def _is_an_entry(text: str, start: int, end: int) -> bool:
    """Is the status only what something else is about, or an entry of a table: two rules for status 429?"""
    about = text.endswith((" for ", " of ", " about "), 0, start)
    return (about and not text.endswith(" because of ", 0, start)) or text.startswith(_OF_TABLES, end)


def _is_no_report(text: str, start: int) -> bool:
    """Do the words before the status at *start* say that it is another number, or was not there?"""
    before = text[max(0, start - 10) : start].rstrip()
    return (
        before.endswith(("exit", "exited", "line", "errno")) or denied(text, start) or is_subject(text, start)
    )


def _compared(text: str, words: set[str]) -> bool:
    """Is a number that somebody got one that *text* compares with others, and no status?"""
    if " must be " in text and "requests" not in words:
        return True
    if "expect" in text and _pattern("counted").search(text):
        return True
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
