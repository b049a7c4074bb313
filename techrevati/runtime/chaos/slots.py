"""Fill a tool's arguments from what a question says, each by its type and its role.

A parameter's role is in the words of its name: a number belongs to the parameter whose name stands beside it,
a place to ``city``, an expression to ``expression``.  What an earlier result said under the same name is used
too.  Nothing is used twice in one call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import quantities
from techrevati.runtime.chaos.shape import items, mapping, string
from techrevati.runtime.chaos.words import STOP_WORDS, keywords, stem, words_in

if TYPE_CHECKING:
    from datetime import date

    from techrevati.runtime.chaos.conversation import Tool

MAX_VARIANTS = 5
_MAX_DEPTH = 6
_PART = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EXPRESSION = _set("expression expr formula equation calculation computation arithmetic math")
_SQL = _set("sql statement")
_FILES = _set("path file filename filepath document doc")
_FOLDERS = _set("dir directory folder root base prefix")
_PLACES = _set("city location place country town region area where address state venue")
_FROM = _set("from origin source departure src start")
_TO = _set("to destination target arrival dest dst end into")
_UNITS = _set("unit units")
_CURRENCIES = _set("currency currencies")
_LANGUAGES = _set("language lang locale")
_TICKERS = _set("ticker symbol stock")
_DATES = _set("date day when")
_TIMES = _set("time hour")
_MAILS = _set("email mail recipient recipients")
_URLS = _set("url uri link href website")
_IDS = _set("id ids identifier number no code key reference ref")
_QUERIES = _set("query q question search phrase input prompt keywords keyword topic term terms")
_TEXTS = _set("text message body content note description comment sentence")
_TITLES = _set("title subject summary name event task label headline")
_PEOPLE = _set(
    "person user name author attendee attendees customer contact recipient employee owner assignee"
)
_COUNTS = _set("limit count n k max top num size results items rows maximum amount")
_COORDINATES = _set("latitude longitude lat lon lng coordinates")
_LIMITS = _set("price cost budget amount max min maximum minimum total")
_UNDER = _set("under below than to max maximum most")
_OVER = _set("over above than least min minimum from")
_DURATIONS = _set("duration length minutes hours days seconds")
_SPANS = _set("minutes hours days seconds")
_COUNTED = _set(
    "results result items item rows top first hits entries records matches documents files best latest"
)
_SPOKEN_UNITS = {
    "km": "kilometers kilometres kilometer kilometre", "mi": "miles mile", "m": "meters metres meter metre",
    "ft": "feet foot", "in": "inches inch", "cm": "centimeters centimetres",
    "kg": "kilograms kilogram kilos kilo",
    "g": "grams gram", "lb": "pounds pound lbs", "oz": "ounces ounce", "l": "liters litres liter litre",
    "c": "celsius centigrade °c", "f": "fahrenheit °f", "k": "kelvin", "usd": "dollars dollar $ usd",
    "eur": "euros euro € eur", "gbp": "pounds sterling £ gbp",
    "jpy": "yen ¥ jpy", "chf": "francs franc chf",
    "metric": "celsius metric", "imperial": "fahrenheit imperial", "en": "english", "de": "german",
    "fr": "french",
    "es": "spanish", "it": "italian", "h": "hours hour", "min": "minutes minute", "s": "seconds second",
}  # fmt: skip
_CAPS = r"[A-ZÀ-ÞŠŽ][\w'\u2019.-]*\w|[A-Z]"
_NAME = rf"(?:{_CAPS})(?:(?:[ ](?:de|la|le|of|upon|del|do|da|am|the|und)){{0,2}}[ ](?:{_CAPS}))*"
_SERIES = rf"{_NAME}(?:, {_NAME})*(?:,? (?:and|or|&) {_NAME})?"
_PLACED = re.compile(rf"\b(?:in|at|for|near|of|around|to|from)\s+(?:the city of\s+)?({_SERIES})")
_LOWER_PLACED = re.compile(r"(?i)\b(?:in|at|for|near|around|of)\s+((?:[^\W\d_][\w'\u2019-]*[ ]?){1,3})")
_AND = re.compile(r",? (?:and|or|&) |, ")
_NOT_NAMES = STOP_WORDS | _set(
    """today tomorrow yesterday tonight now monday tuesday wednesday thursday friday saturday sunday january
    february march april june july august september october november december convert calculate compute
    translate find search look check get send book schedule create add set read open weather celsius
    fahrenheit     sql select hello hi thanks using next week please remind run query"""
)
_SPOKEN = re.compile(r"[^\W_]+|[$€£¥°]+")
_TICKER = re.compile(r"(?<![\w.$])\$?([A-Z]{1,5})(?![\w.])")
_SELECT = re.compile(
    r"(?is)\b(?:select|with)\b.{1,4000}?\bfrom\b[^;?\n]{0,2000}|\bshow tables\b|\bdescribe \w+"
)
_TITLED = re.compile(
    r"(?i)\b(?:called|titled|named|about|for|to)\s+((?:an? |the )?[^\n,.;?]{2,80}?)"
    r"(?= (?:on|at|by|from|tomorrow|today|next|in)\b|[,.;?]|$)"
)
_NOT = re.compile(r"(?i)\b(?:not?|without|don't|never|exclud\w+|skip)\b[\w ]{0,15}$")


@dataclass(frozen=True, slots=True)
class Ask:
    """What arguments are filled from.

    *text* is the part of the request that is asked now, *whole* everything that the user said; *names* and
    *facts* are what results showed.
    """

    text: str
    whole: str = ""
    names: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    today: date | None = None

    @property
    def words(self) -> list[str]:
        """The keywords of the part."""
        return keywords(self.text) or keywords(self.whole)


@dataclass(frozen=True, slots=True)
class Filled:
    """Arguments, and the required ones that nothing said: they have a stand-in."""

    arguments: dict[str, object]
    missing: tuple[str, ...]


def parts_of(name: str) -> frozenset[str]:
    """The lower-case words of a parameter's name."""
    return frozenset(part.lower() for part in words_in(_PART.sub("_", name)))


def resolved(schema: object, root: Mapping[str, object]) -> dict[str, object]:
    """A schema without references and without its "or null"."""
    one = mapping(schema)
    for _ in range(_MAX_DEPTH):
        if reference := string(one.get("$ref")):
            target: object = root
            for step in reference.removeprefix("#/").split("/"):
                target = mapping(target).get(step)
            one = {**mapping(target), **{key: value for key, value in one.items() if key != "$ref"}}
            continue
        choices = items(one.get("anyOf")) or items(one.get("oneOf")) or items(one.get("allOf"))
        if not choices:
            break
        chosen = next((mapping(each) for each in choices if mapping(each).get("type") != "null"), {})
        one = {
            **chosen,
            **{key: value for key, value in one.items() if key not in ("anyOf", "oneOf", "allOf")},
        }
    if isinstance(kind := one.get("type"), list):
        one["type"] = next((each for each in items(kind) if each != "null"), "string")
    return one


def filled(tool: Tool, ask: Ask) -> list[Filled]:
    """The calls of *tool* that *ask* wants: one, or one for each place or symbol that it names."""
    first = _Filling(tool, ask).all({})
    for name, values in _series(tool, ask):
        if len(values) > 1:
            return [_Filling(tool, ask).all({name: value}) for value in values[:MAX_VARIANTS]]
    return [first]


def _series(tool: Tool, ask: Ask) -> Iterator[tuple[str, list[str]]]:
    """Required texts for which the question names several values at once."""
    for name, schema in _parameters(tool):
        if schema.get("type", "string") != "string" or schema.get("enum") or name not in _required(tool):
            continue
        parts = parts_of(name)
        if parts & _PLACES and not parts & (_FROM | _TO):
            yield name, places(ask.text)
        elif parts & _TICKERS:
            yield name, _tickers(ask.text)


def _required(tool: Tool) -> list[str]:
    return [name for name in items(tool.parameters.get("required")) if isinstance(name, str)]


def _parameters(tool: Tool) -> list[tuple[str, dict[str, object]]]:
    known = mapping(tool.parameters.get("properties"))
    names = [*_required(tool), *(name for name in known if name not in _required(tool))]
    return [(name, resolved(known.get(name), tool.parameters)) for name in names]


def places(text: str) -> list[str]:
    """The places that *text* names after a preposition, else its proper names."""
    for hit in _PLACED.finditer(text):
        found = [one.strip() for one in _AND.split(hit[1])] if _SERIAL.search(hit[1]) else [hit[1]]
        found = [one for one in found if one.split()[0].lower() not in _NOT_NAMES]
        if found:
            return found
    names = proper_names(text)
    if names:
        return names
    for hit in _LOWER_PLACED.finditer(text):
        kept = []
        for word in hit[1].split():
            if word.lower() in _NOT_NAMES or word.lower() in ("celsius", "fahrenheit"):
                break
            kept.append(word)
        if kept:
            return [" ".join(kept)]
    return []


_SERIAL = re.compile(r" (?:and|or|&) ")


def proper_names(text: str) -> list[str]:
    """Runs of capitalised words, the first word of a sentence left out unless more follow."""
    found: list[str] = []
    for hit in re.finditer(_NAME, text):
        start = hit.start()
        name = hit[0].rstrip(".'\u2019")
        first = not text[:start].rstrip() or text[:start].rstrip()[-1] in ".!?:\n"
        words = name.split()
        while words and (words[0].lower() in _NOT_NAMES or words[0].lower().split("'")[0] in _NOT_NAMES):
            words = words[1:]
            first = False
        if words and not (first and len(words) == 1) and words[0].lower() not in ("i", "i'm"):
            found.append(" ".join(words))
    return list(dict.fromkeys(found))


def _tickers(text: str) -> list[str]:
    return [
        one
        for one in dict.fromkeys(_TICKER.findall(text))
        if one not in ("I", "A", "SQL", "USD", "EUR", "AM", "PM")
    ]


class _Filling:
    """One call of one tool: what is used already stays used."""

    def __init__(self, tool: Tool, ask: Ask) -> None:
        self._tool = tool
        self._ask = ask
        self._numbers = quantities.numbers(ask.text) or quantities.numbers(ask.whole)
        self._used: set[str] = set()
        self._reserved: dict[str, int | float] = {}

    def all(self, given: Mapping[str, object]) -> Filled:
        arguments: dict[str, object] = {}
        missing: list[str] = []
        self._used |= {str(value) for value in given.values()}
        self._reserve()
        for name, schema in self._ordered():
            needed = name in _required(self._tool)
            value = given.get(name)
            if value is None:
                value = self._said(name, schema, needed)
            if value is None and needed:
                if name in self._ask.facts:
                    value = self._ask.facts[name]
                else:
                    missing.append(name) if "default" not in schema else None
                    value = self._stand_in(name, schema)
            if value is not None:
                arguments[name] = value
                if isinstance(value, str):
                    self._used.add(value)
        order = [name for name, _ in _parameters(self._tool)]
        return Filled({name: arguments[name] for name in order if name in arguments}, tuple(missing))

    def _ordered(self) -> list[tuple[str, dict[str, object]]]:
        """Those with a clear role first, so that they do not find their words used."""
        return sorted(
            _parameters(self._tool), key=lambda one: bool(parts_of(one[0]) & (_TEXTS | _QUERIES | _TITLES))
        )

    # One value; None where the question does not say it.

    def _said(self, name: str, schema: Mapping[str, object], needed: bool, depth: int = 0) -> object:
        if "const" in schema:
            return schema["const"]
        if choices := items(schema.get("enum")):
            return self._choice(name, choices)
        match schema.get("type", "object" if "properties" in schema else "string"):
            case "integer" | "number":
                return self._number(name, schema, needed)
            case "boolean":
                return self._flag(name)
            case "array":
                return self._list(name, schema, needed, depth)
            case "object":
                return self._object(schema, depth) if needed else None
            case _:
                return self._text(name, schema, needed)

    def _choice(self, name: str, choices: Sequence[object]) -> object:
        text = f" {' '.join(_SPOKEN.findall(self._ask.text.lower()))} "
        places_of: list[tuple[int, object]] = []
        for one in choices:
            low = str(one).lower()
            spoken = [" ".join(words_in(low)), low, *_SPOKEN_UNITS.get(low, "").split()]
            spoken += [
                short for short, long in _SPOKEN_UNITS.items() if low in long.split() and len(short) > 1
            ]
            at = min((text.find(f" {each} ") for each in spoken if each and f" {each} " in text), default=-1)
            if at < 0 and (wanted := stem(low)) in [stem(word) for word in text.split()]:
                at = [stem(word) for word in text.split()].index(wanted)
            if at >= 0:
                places_of.append((at, one))
        found = [one for _, one in sorted(places_of, key=lambda each: each[0])]
        free = [one for one in found if str(one) not in self._used] or found
        if not free:
            return None
        chosen = free[-1] if parts_of(name) & _TO and len(found) > 1 else free[0]
        self._used.add(str(chosen))
        return chosen

    def _reserve(self) -> None:
        """Give every number that stands beside the name of a parameter to that parameter."""
        for name, schema in _parameters(self._tool):
            if schema.get("type") in ("integer", "number") and not schema.get("enum"):
                near = next((one for one in self._fitting(schema) if _beside(name, one)), None)
                if near is not None:
                    self._numbers.remove(near)
                    self._reserved[name] = near.value

    def _fitting(self, schema: Mapping[str, object]) -> list[quantities.Number]:
        whole = schema.get("type") == "integer"
        return [one for one in self._numbers if not whole or float(one.value).is_integer()]

    def _number(self, name: str, schema: Mapping[str, object], needed: bool) -> object:
        whole = schema.get("type") == "integer"
        written = re.escape(name).replace("_", "[ _-]")
        exact = re.search(rf"(?i)\b{written}\s*(?:=|:|is|of)?\s*(-?\d{{1,18}}(?:\.\d+)?)\b", self._ask.text)
        if exact and (not whole or "." not in exact[1]):
            value: int | float = float(exact[1]) if "." in exact[1] else int(exact[1])
        elif name in self._reserved:
            value = self._reserved[name]
        else:
            known = self._ask.facts.get(name)
            if isinstance(known, (int, float)) and not isinstance(known, bool) and needed:
                return known
            free = self._fitting(schema)
            if not needed or not free or parts_of(name) & _COORDINATES:
                return None
            value = free[0].value
        for one in self._numbers:
            if one.value == value:
                self._numbers.remove(one)
                break
        return _within(int(value) if whole else value, schema)

    def _flag(self, name: str) -> object:
        for hit in re.finditer(r"[^\W_]+", self._ask.text):
            if stem(hit[0]) in {
                stem(part)
                for part in parts_of(name)
                if part not in STOP_WORDS and part not in ("is", "include", "use")
            }:
                return not _NOT.search(self._ask.text[: hit.start()])
        return None

    def _list(self, name: str, schema: Mapping[str, object], needed: bool, depth: int) -> object:
        inner = resolved(schema.get("items"), self._tool.parameters)
        if choices := items(inner.get("enum")):
            found: list[object] = []
            while (one := self._choice(name, [each for each in choices if each not in found])) is not None:
                found.append(one)
            return found or None
        if not needed:
            company = re.search(rf"\bwith\s+({_SERIES})", self._ask.text)
            wanted = (
                company and parts_of(name) & (_PEOPLE | _singular(_PEOPLE)) and inner.get("type") == "string"
            )
            return _AND.split(company[1]) if company and wanted else None
        match inner.get("type"):
            case "integer" | "number":
                taken: list[object] = list(islice(iter(lambda: self._number(name, inner, True), None), 50))
                return taken or None
            case "object":
                one = self._object(inner, depth + 1)
                return [one] if one else None
            case _:
                parts = parts_of(name)
                if parts & _MAILS and (mails := quantities.emails(self._ask.text)):
                    return mails
                named = self._free(quantities.quoted(self._ask.text))
                if parts & (_FILES | _singular(_FILES)):
                    named = named or self._free(quantities.files(self._ask.text))
                if parts & (_PEOPLE | _PLACES | _TICKERS | _singular(_PEOPLE | _PLACES | _TICKERS)):
                    named = named or [
                        each for one in proper_names(self._ask.text) for each in _AND.split(one)
                    ]
                if not named and parts & {one + "s" for one in _QUERIES} | _QUERIES:
                    named = self._ask.words
                return list(named) or None

    def _object(self, schema: Mapping[str, object], depth: int) -> object:
        if depth > _MAX_DEPTH:
            return {}
        known = mapping(schema.get("properties"))
        wanted = [one for one in items(schema.get("required")) if isinstance(one, str)]
        made: dict[str, object] = {}
        for name in known:
            inner = resolved(known[name], self._tool.parameters)
            value = self._said(name, inner, name in wanted, depth + 1)
            if value is None and name in wanted:
                value = self._stand_in(name, inner)
            if value is not None:
                made[name] = value
        return made

    def _text(self, name: str, schema: Mapping[str, object], needed: bool) -> str | None:
        text = self._ask.text
        explicit = re.search(
            rf"(?i)\b{re.escape(name).replace('_', '[ _-]')}\s*[=:]\s*(\"[^\"]+\"|'[^']+'|[^\s,;?]+)", text
        )
        if explicit:
            return explicit[1].strip("\"'")
        parts = parts_of(name)
        about = (
            f"{name} {string(schema.get('description'))} {self._tool.name} {self._tool.description}".lower()
        )
        for found in self._by_role(parts, schema, about):
            if found and found not in self._used:
                return found
        if name in self._ask.facts and needed:
            return str(self._ask.facts[name])
        last = re.escape((words_in(name) or [name])[-1])
        beside = re.search(rf"(?i)\b{last}\s+(?:called |named |is )?([\w.@/#-]*\w)", text)
        if beside and beside[1].lower() not in _NOT_NAMES and (needed or not beside[1].islower()):
            return beside[1]
        return self._rest(parts, about) if needed else None

    def _by_role(
        self, parts: frozenset[str], schema: Mapping[str, object], about: str
    ) -> Iterator[str | None]:
        text, whole = self._ask.text, self._ask.whole
        if parts & _SQL or (parts & _QUERIES and re.search(r"\bsql\b", about)):
            yield sql(text) or sql(whole) or counted(text, f"{whole} {about}")
        if parts & _EXPRESSION or (
            parts & _QUERIES and re.search(r"calcul|arithmetic|\bmath|wolfram", about)
        ):
            yield quantities.arithmetic(text) or quantities.arithmetic(whole)
        if parts & _MAILS or (parts & {"to"} and "mail" in about):
            yield from self._free(quantities.emails(f"{text} {whole}"))
        if parts & _URLS:
            yield from self._free(quantities.urls(f"{text} {whole}"))
        if parts & _FILES:
            yield from self._free(quantities.files(text)) or self._free(quantities.files(whole))
        if parts & _DATES or schema.get("format") in ("date", "date-time"):
            for day in self._free(quantities.dates(text)) or self._free(quantities.dates(whole)):
                iso = schema.get("format") == "date" or re.search(r"iso|yyyy", about) or self._ask.today
                yield quantities.iso_day(day, self._ask.today) if iso else day
        if parts & _TIMES and "zone" not in about.split(" ", 1)[0]:
            yield from self._free(quantities.times(text))
        if parts & (_UNITS | _CURRENCIES | _FROM | _TO):
            yield self._unit(parts, about)
        if parts & _LANGUAGES:
            hit = re.search(rf"(?:\b(?:in)?to|\bin)\s+({_CAPS})", text)
            yield hit[1] if hit else None
        if parts & _TICKERS:
            yield from self._free(_tickers(text))
        if parts & (_FROM | _TO) and not parts & (_UNITS | _CURRENCIES):
            preposition = "from" if parts & _FROM else "to"
            hit = re.search(rf"\b{preposition}\s+({_NAME})", text)
            yield hit[1] if hit else None
        if parts & _PLACES or parts & {"timezone", "tz"}:
            yield from self._free(places(text)) or self._free(places(whole))
        if parts & _IDS and "id" in parts | (
            {"id"} if parts & _set("number reference ref code") else frozenset[str]()
        ):
            yield from self._free(quantities.identifiers(text))
            yield next((str(one.value) for one in self._numbers), None)
        if parts & (_TITLES | _TEXTS | _PEOPLE | _QUERIES):
            yield from self._free(quantities.quoted(text))
        if parts & _PEOPLE and not parts & _IDS:
            hit = re.search(rf"\b(?:with|to|for|by|of|about|is|does|named)\s+({_NAME})", text)
            yield hit[1] if hit and hit[1].lower() not in _NOT_NAMES else None
        if parts & _TITLES:
            hit = _TITLED.search(text)
            yield hit[1] if hit and not parts & _PEOPLE else None
        if parts & _TEXTS:
            hit = re.search(r"(?s):\s*(\S.+)$|\b(?:saying|that says|that)\s+(\S.+)$", text)
            yield (hit[1] or hit[2]).strip() if hit else None

    def _unit(self, parts: frozenset[str], about: str) -> str | None:
        if not parts & (_UNITS | _CURRENCIES) and not re.search(r"unit|currenc|convert", about):
            return None
        text = self._ask.text
        value = re.search(r"[$€£¥]\s?\d|\d\s?(°?[A-Za-z][A-Za-z]*(?: per [a-z]+)?|[$€£¥°])", text)
        source = (
            (value[1] or {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}[value[0][0]]) if value else None
        )
        hit = re.search(
            r"(?i)\b(?:to|into|in|as)\s+(?:an? |the )?(?:US )?(°?[A-Za-z]+(?: per [a-z]+)?)", text
        )
        many = re.search(r"(?i)\bhow (?:many|much)\s+([A-Za-z]+)", text)
        target = (
            many[1]
            if many and (not hit or (source and many[1].lower() != source.lower()))
            else hit[1]
            if hit
            else None
        )
        code = re.search(r"\b([A-Z]{3})\s*(?:to|into|/|in)\s*([A-Z]{3})\b", text)
        if code:
            source, target = code[1], code[2]
        return source if parts & _FROM else target if parts & _TO else target or source

    def _rest(self, parts: frozenset[str], about: str) -> str | None:
        """For a text whose role says nothing: what is quoted, a name, or the words of the question."""
        for one in self._free(quantities.quoted(self._ask.text)):
            return one
        if parts & _QUERIES:
            return " ".join(self._ask.words) or None
        if parts & _TEXTS:
            return self._ask.text
        if parts & (
            _DATES
            | _TIMES
            | _MAILS
            | _URLS
            | _UNITS
            | _CURRENCIES
            | _EXPRESSION
            | _SQL
            | _IDS
            | _FILES
            | _FOLDERS
        ):
            return None
        return next(iter(self._free(proper_names(self._ask.text))), None)

    def _free(self, found: Sequence[str]) -> list[str]:
        return [one for one in found if one not in self._used]

    def _stand_in(self, name: str, schema: Mapping[str, object]) -> object:
        """A value of the right type where the question says none."""
        if "default" in schema:
            return schema["default"]
        if choices := items(schema.get("enum")):
            return choices[0]
        parts = parts_of(name)
        match schema.get("type", "object" if "properties" in schema else "string"):
            case "integer" | "number":
                return _within(10 if parts & _COUNTS else 1, schema)
            case "boolean":
                return False
            case "array":
                inner = resolved(schema.get("items"), self._tool.parameters)
                lowest = schema.get("minItems")
                if inner.get("type") == "string" and not inner.get("enum"):
                    names = list(self._ask.names[:3]) if parts & (_FILES | _IDS) else []
                    return names or self._ask.words
                return [self._stand_in(name, inner)] * (lowest if isinstance(lowest, int) else 0)
            case "object":
                return self._object(schema, 1)
            case _:
                if parts & _FOLDERS or (parts & {"path"} and not self._ask.names):
                    return "."
                if parts & (_FILES | _IDS | _URLS) and self._ask.names:
                    return self._ask.names[0]
                return " ".join(self._ask.words) or self._ask.text


def _beside(name: str, number: quantities.Number) -> bool:
    """Whether *number* stands beside the name of a parameter, or beside what such a parameter counts."""
    parts = parts_of(name)
    stems = {stem(part) for part in parts if len(part) > 1} - {stem("number"), stem("value")}
    if stems & {stem(word) for word in (*number.before[-2:], *number.after[:1])}:
        return True
    if parts & _COUNTS and ({*number.after} | {*number.before[-1:]}) & _COUNTED:
        return True
    if parts & _LIMITS and parts & {"max", "maximum", "below", "under"} and {*number.before[-2:]} & _UNDER:
        return True
    if parts & _LIMITS and parts & {"min", "minimum", "above", "over"} and {*number.before[-2:]} & _OVER:
        return True
    length = parts & _DURATIONS and {*number.after[:1]} & _set(
        "minutes minute min hours hour days day seconds"
    )
    return bool(
        length and (not parts & _SPANS or {stem(one) for one in parts & _SPANS} & {stem(number.after[0])})
    )


def _within(value: float, schema: Mapping[str, object]) -> int | float:
    """*value* inside the schema's bounds."""
    for key, pick in (("minimum", max), ("maximum", min)):
        bound = schema.get(key)
        if isinstance(bound, (int, float)) and not isinstance(bound, bool):
            value = pick(value, bound)
    return value


def _singular(names: frozenset[str]) -> frozenset[str]:
    return frozenset(f"{one}s" for one in names)


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
