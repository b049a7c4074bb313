"""What the words of a parameter's name say about its role: a place, a date, a count, a text to write.

The words are listed here alone; a name is split where it has a separator or a capital letter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.words import stem, words_in

if TYPE_CHECKING:
    from techrevati.runtime.chaos.quantities import Number

_PART = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXPRESSION = words("expression expr formula equation calculation computation arithmetic math")
SQL = words("sql statement")
FILES = words("path file filename filepath document doc")
FOLDERS = words("dir directory folder root base prefix")
PLACES = words("city location place country town region area where address state venue")
FROM = words("from origin source departure src start")
TO = words("to destination target arrival dest dst end into")
UNITS = words("unit units")
CURRENCIES = words("currency currencies")
LANGUAGES = words("language lang locale")
TICKERS = words("ticker symbol stock")
DATES = words("date day when")
TIMES = words("time hour")
MAILS = words("email mail recipient recipients")
URLS = words("url uri link href website")
IDS = words("id ids identifier number no code key reference ref")
QUERIES = words("query q question search phrase input prompt keywords keyword topic term terms")
TEXTS = words("text message body content note description comment sentence")
TITLES = words("title subject summary name event task label headline")
PEOPLE = words(
    "person user name author attendee attendees customer contact recipient employee owner assignee"
)
COUNTS = words("limit count n k max top num size results items rows maximum amount")
COORDINATES = words("latitude longitude lat lon lng coordinates")
LIMITS = words("price cost budget amount max min maximum minimum total")
UNDER = words("under below than to max maximum most")
OVER = words("over above than least min minimum from")
DURATIONS = words("duration length minutes hours days seconds")
SPANS = words("minutes hours days seconds")
COUNTED = words(
    "results result items item rows top first hits entries records matches documents files best latest"
)


def parts_of(name: str) -> frozenset[str]:
    """The lower-case words of a parameter's name."""
    return frozenset(part.lower() for part in words_in(_PART.sub("_", name)))


def beside(name: str, number: Number) -> bool:
    """Whether *number* stands beside the name of a parameter, or beside what such a parameter counts."""
    parts = parts_of(name)
    stems = {stem(part) for part in parts if len(part) > 1} - {stem("number"), stem("value")}
    if stems & {stem(word) for word in (*number.before[-2:], *number.after[:1])}:
        return True
    if parts & COUNTS and ({*number.after} | {*number.before[-1:]}) & COUNTED:
        return True
    if parts & LIMITS and parts & {"max", "maximum", "below", "under"} and {*number.before[-2:]} & UNDER:
        return True
    if parts & LIMITS and parts & {"min", "minimum", "above", "over"} and {*number.before[-2:]} & OVER:
        return True
    length = parts & DURATIONS and {*number.after[:1]} & words(
        "minutes minute min hours hour days day seconds"
    )
    return bool(
        length and (not parts & SPANS or {stem(one) for one in parts & SPANS} & {stem(number.after[0])})
    )


def plural(names: frozenset[str]) -> frozenset[str]:
    return frozenset(f"{one}s" for one in names)
