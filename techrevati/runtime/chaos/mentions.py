"""What a sentence mentions: places, proper names, ticker symbols, a query; found by how they are written."""

from __future__ import annotations

import re

from techrevati.runtime.chaos import quantities
from techrevati.runtime.chaos.words import STOP_WORDS, keywords, stem

CAPITALISED = r"[A-ZÀ-ÞŠŽ][\w'\u2019.-]*\w|[A-Z]"
NAME = rf"(?:{CAPITALISED})(?:(?:[ ](?:de|la|le|of|upon|del|do|da|am|the|und)){{0,2}}[ ](?:{CAPITALISED}))*"
SERIES = rf"{NAME}(?:, {NAME})*(?:,? (?:and|or|&) {NAME})?"
_PLACED = re.compile(rf"\b(?:in|at|for|near|of|around|to|from)\s+(?:the city of\s+)?({SERIES})")
_LOWER_PLACED = re.compile(r"(?i)\b(?:in|at|for|near|around|of)\s+((?:[^\W\d_][\w'\u2019-]*[ ]?){1,3})")
AND = re.compile(r",? (?:and|or|&) |, ")
_NO_NAMES = """
    today tomorrow yesterday tonight now monday tuesday wednesday thursday friday saturday sunday january
    february march april june july august september october november december convert calculate compute
    translate find search look check get send book schedule create add set read open weather celsius
    fahrenheit sql select hello hi thanks using next week please remind run query"""
NOT_NAMES = STOP_WORDS | frozenset(_NO_NAMES.split())
_SERIAL = re.compile(r" (?:and|or|&) ")
_TICKER = re.compile(r"(?<![\w.$])\$?([A-Z]{1,5})(?![\w.])")
_SELECT = re.compile(
    r"(?is)\b(?:select|with)\b.{1,4000}?\bfrom\b[^;?\n]{0,2000}|\bshow tables\b|\bdescribe \w+"
)


def places(text: str) -> list[str]:
    """The places that *text* names after a preposition, else its proper names."""
    for hit in _PLACED.finditer(text):
        found = [one.strip() for one in AND.split(hit[1])] if _SERIAL.search(hit[1]) else [hit[1]]
        found = [one for one in found if one.split()[0].lower() not in NOT_NAMES]
        if found:
            return found
    names = proper_names(text)
    if names:
        return names
    for hit in _LOWER_PLACED.finditer(text):
        kept = []
        for word in hit[1].split():
            if word.lower() in NOT_NAMES or word.lower() in ("celsius", "fahrenheit"):
                break
            kept.append(word)
        if kept:
            return [" ".join(kept)]
    return []


def proper_names(text: str) -> list[str]:
    """Runs of capitalised words, the first word of a sentence left out unless more follow."""
    found: list[str] = []
    for hit in re.finditer(NAME, text):
        start = hit.start()
        name = hit[0].rstrip(".'\u2019")
        first = not text[:start].rstrip() or text[:start].rstrip()[-1] in ".!?:\n"
        words = name.split()
        while words and (words[0].lower() in NOT_NAMES or words[0].lower().split("'")[0] in NOT_NAMES):
            words = words[1:]
            first = False
        if words and not (first and len(words) == 1) and words[0].lower() not in ("i", "i'm"):
            found.append(" ".join(words))
    return list(dict.fromkeys(found))


def tickers(text: str) -> list[str]:
    return [
        one
        for one in dict.fromkeys(_TICKER.findall(text))
        if one not in ("I", "A", "SQL", "USD", "EUR", "AM", "PM")
    ]


def sql(text: str) -> str | None:
    """A query that *text* holds."""
    for one in quantities.quoted(text):
        if _SELECT.match(one):
            return one
    hit = _SELECT.search(text)
    return hit[0].strip().rstrip(".") if hit else None


def counted(question: str, about: str) -> str | None:
    """The simple query that a question about a table means; tables are those that *about* names."""
    known = re.findall(r"(?i)\bcreate table (?:if not exists )?[\"`]?(\w+)", about)
    for listed in re.findall(r"(?i)\btables?\b\s*(?:are|is|named|called)?[:\s]\s*([\w, ()]+)", about):
        known += re.findall(r"\w+", re.sub(r"\([^)]*\)", " ", listed))
    wanted = [stem(word) for word in keywords(question)]
    table = next((one for one in known if stem(one) in wanted), None)
    many = re.search(r"(?i)\bhow many ([a-z_]+)|\b(?:number|count) of ([a-z_]+)", question)
    if table is None and many:
        table = many[1] or many[2]
    if table is None:
        return None
    return f"SELECT COUNT(*) FROM {table}" if many else f"SELECT * FROM {table} LIMIT 10"
