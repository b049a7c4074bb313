"""What a question says in so many words: numbers, arithmetic, quoted texts, dates, times, files, addresses.

Pure functions over the text; each returns what it found in the order of the text.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import NamedTuple

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
)  # fmt: skip
_MONTH = rf"(?:{'|'.join(f'{name}|{name[:3]}' for name in _MONTHS)})\.?"
_DATE = re.compile(
    rf"(?i)\b(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}|"
    rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?: \d{{4}})?\b|"
    rf"today|tonight|tomorrow|yesterday|(?:next|this) week|(?:(?:next|this|last) )?(?:{'|'.join(_DAYS)}))\b"
)
_TIME = re.compile(
    r"(?i)\b(?:\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]\.?m\b\.?)?|\d{1,2}\s?[ap]m\b|noon\b|midnight\b)"
)
_TODAY = re.compile(r"(?i)\b(?:today|current date|date)\b[^\n\d]{0,30}(\d{4}-\d{2}-\d{2})")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https?://[^\s<>\"')\]]+[^\s<>\"')\].,;:?!]")
_FILE = re.compile(
    r"(?<![\w@/.-])(?:[.~]{0,2}/)?(?:[\w.~-]+/)*[\w~-][\w.~-]*\.[A-Za-z][A-Za-z0-9]{0,7}\b(?![(@])|"
    r"(?<![\w:/.])(?:[.~]{0,2}/)?(?:[\w~.-]+/)+[\w~-]+\b"
)
_IDENTIFIER = re.compile(r"#\w[\w-]*|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*\b")
_QUOTED = re.compile(
    r"\"([^\"\n]{1,2000})\"|“([^”\n]{1,2000})”|`([^`\n]{1,2000})`|(?<!\w)'([^'\n]{1,500})'(?!\w)|«([^»\n]{1,2000})»"
)
_NUMBER = re.compile(
    r"(?<![\w.,])(?:(?<![\d)%] )[-\u2212])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
    r"(?=$|[^\w.,]|[.,](?!\d)|[a-zA-Z°%€£]{1,4}\b)"
)
_WORDS_TO_TWELVE = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBER_WORDS = {word: value for value, word in enumerate(_WORDS_TO_TWELVE.split()) if word != "one"} | {
    "twenty": 20,
    "thirty": 30,
    "fifty": 50,
    "hundred": 100,
    "thousand": 1000,
}
_WORD = re.compile(r"[A-Za-z_]+")

_SPOKEN = (
    (r"(\d)\s*[xX]\s*(?=[\d(])", r"\1 * "),
    (r"\s+(?:times|multiplied by)\s+(?=[\d(])", " * "),
    (r"\s+(?:divided by|over)\s+(?=[\d(])", " / "),
    (r"\s+plus\s+(?=[\d(])", " + "),
    (r"\s+minus\s+(?=[\d(])", " - "),
    (r"\s+(?:to the power of|raised to)\s+(?=[\d(])", " ** "),
    (r"(\d)\s+squared\b", r"\1 ** 2"),
    (r"(\d)\s+cubed\b", r"\1 ** 3"),
    (r"(?i)\bsquare root of\s+(\d[\d.,]*\d|\d)", r"sqrt(\1)"),
    (r"(\d)\s*(?:%|percent)\s+of\s+(?=[\d(])", r"\1 / 100 * "),
    (r"(?i)\b(?:sum of|add)\s+(\d[\d.]*)\s+(?:and|to)\s+(?=\d)", r"\1 + "),
    (r"(?i)\b(?:product of|multiply)\s+(\d[\d.]*)\s+(?:and|by|with)\s+(?=\d)", r"\1 * "),
    (r"(?i)\bdivide\s+(\d[\d.]*)\s+by\s+(?=\d)", r"\1 / "),
    (r"(?i)\bdifference (?:between|of)\s+(\d[\d.]*)\s+and\s+(?=\d)", r"\1 - "),
)
_FUNCTION = r"(?:sqrt|sin|cos|tan|log10|log2|log|ln|exp|abs|floor|ceil|round|min|max|pow)"
_ARITHMETIC = re.compile(rf"(?:(?:\b{_FUNCTION}\s*(?=\()|\bpi\b|[\d.,()+*/^%-])[ \t]*)+")
_OPERATES = re.compile(rf"[\d)%]\s*(?:\*\*|//|[-+*/^%])\s*[-(\da-z]|{_FUNCTION}\s*\(")


class Number(NamedTuple):
    """A number in a text, with the words of its neighbourhood in lower case."""

    value: int | float
    before: tuple[str, ...]
    after: tuple[str, ...]


def arithmetic(text: str) -> str | None:
    """The longest arithmetic expression in *text*, whole and as written; spoken operators become signs."""
    said = text.replace("\u00d7", "*").replace("\u00f7", "/").replace("\u2212", "-").replace("\u00b7", "*")
    said = _DATE.sub(" ; ", said)
    for spoken, sign in _SPOKEN:
        said = re.sub(spoken, sign, said)
    said = re.sub(r"(?<=\d),(?=\d{3}\b)", "", said)
    best = ""
    for hit in _ARITHMETIC.finditer(said):
        found = _balanced(hit[0].strip().rstrip(".,+*/^-").lstrip(".,*/^%").strip())
        if _OPERATES.search(found) and len(found) > len(best):
            best = found
    return best or None


def _balanced(text: str) -> str:
    while text.count("(") < text.count(")") and text.endswith(")"):
        text = text[:-1].rstrip()
    while text.count("(") > text.count(")") and text.startswith("("):
        text = text[1:].lstrip()
    return text


def numbers(text: str) -> list[Number]:
    """The numbers of *text* that are no part of a date, a time or an identifier."""
    masked = text
    for pattern in (_URL, _EMAIL, _DATE, _TIME):
        masked = pattern.sub(lambda hit: " " * len(hit[0]), masked)
    found: list[tuple[int, int, int | float]] = []
    for hit in _NUMBER.finditer(masked):
        digits = hit[0].replace(",", "").replace("\u2212", "-")
        if len(digits) <= 300:
            found.append((hit.start(), hit.end(), float(digits) if "." in digits else int(digits)))
    for word in _WORD.finditer(masked):
        if word[0].lower() in _NUMBER_WORDS:
            found.append((word.start(), word.end(), _NUMBER_WORDS[word[0].lower()]))
    return [
        Number(
            value,
            tuple(word.lower() for word in _WORD.findall(masked[max(0, start - 60) : start])[-3:]),
            tuple(word.lower() for word in _WORD.findall(masked[end : end + 60])[:2]),
        )
        for start, end, value in sorted(found)
    ]


def quoted(text: str) -> list[str]:
    """What stands in quotation marks or backticks."""
    return [next(part for part in hit if part) for hit in _QUOTED.findall(text)]


def files(text: str) -> list[str]:
    """Names that look like files or paths; addresses of pages and mail are none."""
    bare = _EMAIL.sub(" ", _URL.sub(" ", text))
    return list(dict.fromkeys(hit.rstrip(".") for hit in _FILE.findall(bare) if _is_file(hit)))


def _is_file(name: str) -> bool:
    return name.lower() not in (
        "e.g",
        "i.e",
        "a.m",
        "p.m",
        "and/or",
        "n/a",
        "w/o",
        "he/she",
        "24/7",
    ) and bool(re.search(r"[A-Za-z]", name))


def urls(text: str) -> list[str]:
    """Addresses of pages."""
    return _URL.findall(text)


def emails(text: str) -> list[str]:
    """Addresses of mail."""
    return _EMAIL.findall(text)


def identifiers(text: str) -> list[str]:
    """Words with letters and digits, such as ``A-1042``, and ``#17`` without its sign."""
    bare = _TIME.sub(" ", _DATE.sub(" ", _URL.sub(" ", text)))
    return [hit.lstrip("#") for hit in _IDENTIFIER.findall(bare) if not re.fullmatch(r"\d+[a-z]{1,2}", hit)]


def times(text: str) -> list[str]:
    """Times of day, as written."""
    return [hit.strip() for hit in _TIME.findall(text)]


def dates(text: str) -> list[str]:
    """Days, as written."""
    return _DATE.findall(text)


def today_in(text: str) -> date | None:
    """The day that *text* says is today; None when it says none."""
    hit = _TODAY.search(text)
    try:
        return date.fromisoformat(hit[1]) if hit else None
    except ValueError:
        return None


def iso_day(day: str, today: date | None) -> str:
    """*day* as YYYY-MM-DD where that can be known, else as written."""
    words = day.lower().removeprefix("this ").replace(".", "")
    named = re.fullmatch(r"([a-z]+) (\d{1,2})(?:st|nd|rd|th)?(?:,? (\d{4}))?", words)
    if named is None:
        swapped = re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)? ([a-z]+)(?: (\d{4}))?", words)
        month, number, year = (swapped[2], swapped[1], swapped[3]) if swapped else ("", "", None)
    else:
        month, number, year = named[1], named[2], named[3]
    index = next((at for at, name in enumerate(_MONTHS, 1) if month[:3] and name.startswith(month)), 0)
    if index and (year or today):
        try:
            return date(int(year) if year else (today or date.min).year, index, int(number)).isoformat()
        except ValueError:
            return day
    if today is None:
        return day
    shift = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1}.get(words)
    weekday = words.removeprefix("next ")
    if weekday in _DAYS:
        shift = (_DAYS.index(weekday) - today.weekday() - 1) % 7 + 1
    return day if shift is None else (today + timedelta(days=shift)).isoformat()
