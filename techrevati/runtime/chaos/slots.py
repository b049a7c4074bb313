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

from techrevati.runtime.chaos import mentions, quantities, roles
from techrevati.runtime.chaos.shape import items, mapping, string
from techrevati.runtime.chaos.words import STOP_WORDS, keywords, stem, words_in

if TYPE_CHECKING:
    from datetime import date

    from techrevati.runtime.chaos.conversation import Tool

MAX_VARIANTS = 5
_MAX_DEPTH = 6


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
_SPOKEN = re.compile(r"[^\W_]+|[$€£¥°]+")
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
        parts = roles.parts_of(name)
        if parts & roles.PLACES and not parts & (roles.FROM | roles.TO):
            yield name, mentions.places(ask.text)
        elif parts & roles.TICKERS:
            yield name, mentions.tickers(ask.text)


def _required(tool: Tool) -> list[str]:
    return [name for name in items(tool.parameters.get("required")) if isinstance(name, str)]


def _parameters(tool: Tool) -> list[tuple[str, dict[str, object]]]:
    known = mapping(tool.parameters.get("properties"))
    names = [*_required(tool), *(name for name in known if name not in _required(tool))]
    return [(name, resolved(known.get(name), tool.parameters)) for name in names]


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
            _parameters(self._tool),
            key=lambda one: bool(roles.parts_of(one[0]) & (roles.TEXTS | roles.QUERIES | roles.TITLES)),
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
        chosen = free[-1] if roles.parts_of(name) & roles.TO and len(found) > 1 else free[0]
        self._used.add(str(chosen))
        return chosen

    def _reserve(self) -> None:
        """Give every number that stands beside the name of a parameter to that parameter."""
        for name, schema in _parameters(self._tool):
            if schema.get("type") in ("integer", "number") and not schema.get("enum"):
                near = next((one for one in self._fitting(schema) if roles.beside(name, one)), None)
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
            if not needed or not free or roles.parts_of(name) & roles.COORDINATES:
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
                for part in roles.parts_of(name)
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
            company = re.search(rf"\bwith\s+({mentions.SERIES})", self._ask.text)
            wanted = (
                company
                and roles.parts_of(name) & (roles.PEOPLE | roles.plural(roles.PEOPLE))
                and inner.get("type") == "string"
            )
            return mentions.AND.split(company[1]) if company and wanted else None
        match inner.get("type"):
            case "integer" | "number":
                taken: list[object] = list(islice(iter(lambda: self._number(name, inner, True), None), 50))
                return taken or None
            case "object":
                one = self._object(inner, depth + 1)
                return [one] if one else None
            case _:
                parts = roles.parts_of(name)
                if parts & roles.MAILS and (mails := quantities.emails(self._ask.text)):
                    return mails
                named = self._free(quantities.quoted(self._ask.text))
                if parts & (roles.FILES | roles.plural(roles.FILES)):
                    named = named or self._free(quantities.files(self._ask.text))
                if parts & (
                    roles.PEOPLE
                    | roles.PLACES
                    | roles.TICKERS
                    | roles.plural(roles.PEOPLE | roles.PLACES | roles.TICKERS)
                ):
                    named = named or [
                        each
                        for one in mentions.proper_names(self._ask.text)
                        for each in mentions.AND.split(one)
                    ]
                if not named and parts & {one + "s" for one in roles.QUERIES} | roles.QUERIES:
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
        parts = roles.parts_of(name)
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
        if beside and beside[1].lower() not in mentions.NOT_NAMES and (needed or not beside[1].islower()):
            return beside[1]
        return self._rest(parts, about) if needed else None

    def _by_role(
        self, parts: frozenset[str], schema: Mapping[str, object], about: str
    ) -> Iterator[str | None]:
        """What the question says for a parameter with these words in its name, the likeliest first."""
        yield from self._written(parts, schema, about)
        yield from self._named(parts, about)
        yield from self._worded(parts)

    def _written(
        self, parts: frozenset[str], schema: Mapping[str, object], about: str
    ) -> Iterator[str | None]:
        """What is known by how it is written: a query, a sum, an address, a file, a date."""
        text, whole = self._ask.text, self._ask.whole
        if parts & roles.SQL or (parts & roles.QUERIES and re.search(r"\bsql\b", about)):
            yield mentions.sql(text) or mentions.sql(whole) or mentions.counted(text, f"{whole} {about}")
        if parts & roles.EXPRESSION or (
            parts & roles.QUERIES and re.search(r"calcul|arithmetic|\bmath|wolfram", about)
        ):
            yield quantities.arithmetic(text) or quantities.arithmetic(whole)
        if parts & roles.MAILS or (parts & {"to"} and "mail" in about):
            yield from self._free(quantities.emails(f"{text} {whole}"))
        if parts & roles.URLS:
            yield from self._free(quantities.urls(f"{text} {whole}"))
        if parts & roles.FILES:
            yield from self._free(quantities.files(text)) or self._free(quantities.files(whole))
        if parts & roles.DATES or schema.get("format") in ("date", "date-time"):
            for day in self._free(quantities.dates(text)) or self._free(quantities.dates(whole)):
                iso = schema.get("format") == "date" or re.search(r"iso|yyyy", about) or self._ask.today
                yield quantities.iso_day(day, self._ask.today) if iso else day
        if parts & roles.TIMES and "zone" not in about.split(" ", 1)[0]:
            yield from self._free(quantities.times(text))

    def _named(self, parts: frozenset[str], about: str) -> Iterator[str | None]:
        """What has a name: a unit, a language, a place."""
        text, whole = self._ask.text, self._ask.whole
        if parts & (roles.UNITS | roles.CURRENCIES | roles.FROM | roles.TO):
            yield self._unit(parts, about)
        if parts & roles.LANGUAGES:
            hit = re.search(rf"(?:\b(?:in)?to|\bin)\s+({mentions.CAPITALISED})", text)
            yield hit[1] if hit else None
        if parts & roles.TICKERS:
            yield from self._free(mentions.tickers(text))
        if parts & (roles.FROM | roles.TO) and not parts & (roles.UNITS | roles.CURRENCIES):
            preposition = "from" if parts & roles.FROM else "to"
            hit = re.search(rf"\b{preposition}\s+({mentions.NAME})", text)
            yield hit[1] if hit else None
        if parts & roles.PLACES or parts & {"timezone", "tz"}:
            yield from self._free(mentions.places(text)) or self._free(mentions.places(whole))

    def _worded(self, parts: frozenset[str]) -> Iterator[str | None]:
        """What only the words around it tell: an identifier, a person, a title, a text."""
        text = self._ask.text
        if parts & roles.IDS and "id" in parts | (
            {"id"} if parts & roles.words("number reference ref code") else frozenset[str]()
        ):
            yield from self._free(quantities.identifiers(text))
            yield next((str(one.value) for one in self._numbers), None)
        if parts & (roles.TITLES | roles.TEXTS | roles.PEOPLE | roles.QUERIES):
            yield from self._free(quantities.quoted(text))
        if parts & roles.PEOPLE and not parts & roles.IDS:
            hit = re.search(rf"\b(?:with|to|for|by|of|about|is|does|named)\s+({mentions.NAME})", text)
            yield hit[1] if hit and hit[1].lower() not in mentions.NOT_NAMES else None
        if parts & roles.TITLES:
            hit = _TITLED.search(text)
            yield hit[1] if hit and not parts & roles.PEOPLE else None
        if parts & roles.TEXTS:
            hit = re.search(r"(?s):\s*(\S.+)$|\b(?:saying|that says|that)\s+(\S.+)$", text)
            yield (hit[1] or hit[2]).strip() if hit else None

    def _unit(self, parts: frozenset[str], about: str) -> str | None:
        if not parts & (roles.UNITS | roles.CURRENCIES) and not re.search(r"unit|currenc|convert", about):
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
        return source if parts & roles.FROM else target if parts & roles.TO else target or source

    def _rest(self, parts: frozenset[str], about: str) -> str | None:
        """For a text whose role says nothing: what is quoted, a name, or the words of the question."""
        for one in self._free(quantities.quoted(self._ask.text)):
            return one
        if parts & roles.QUERIES:
            return " ".join(self._ask.words) or None
        if parts & roles.TEXTS:
            return self._ask.text
        if parts & (
            roles.DATES
            | roles.TIMES
            | roles.MAILS
            | roles.URLS
            | roles.UNITS
            | roles.CURRENCIES
            | roles.EXPRESSION
            | roles.SQL
            | roles.IDS
            | roles.FILES
            | roles.FOLDERS
        ):
            return None
        return next(iter(self._free(mentions.proper_names(self._ask.text))), None)

    def _free(self, found: Sequence[str]) -> list[str]:
        return [one for one in found if one not in self._used]

    def _stand_in(self, name: str, schema: Mapping[str, object]) -> object:
        """A value of the right type where the question says none."""
        if "default" in schema:
            return schema["default"]
        if choices := items(schema.get("enum")):
            return choices[0]
        parts = roles.parts_of(name)
        match schema.get("type", "object" if "properties" in schema else "string"):
            case "integer" | "number":
                return _within(10 if parts & roles.COUNTS else 1, schema)
            case "boolean":
                return False
            case "array":
                inner = resolved(schema.get("items"), self._tool.parameters)
                lowest = schema.get("minItems")
                if inner.get("type") == "string" and not inner.get("enum"):
                    names = list(self._ask.names[:3]) if parts & (roles.FILES | roles.IDS) else []
                    return names or self._ask.words
                return [self._stand_in(name, inner)] * (lowest if isinstance(lowest, int) else 0)
            case "object":
                return self._object(schema, 1)
            case _:
                if parts & roles.FOLDERS or (parts & {"path"} and not self._ask.names):
                    return "."
                if parts & (roles.FILES | roles.IDS | roles.URLS) and self._ask.names:
                    return self._ask.names[0]
                return " ".join(self._ask.words) or self._ask.text


def _within(value: float, schema: Mapping[str, object]) -> int | float:
    """*value* inside the schema's bounds."""
    for key, pick in (("minimum", max), ("maximum", min)):
        bound = schema.get(key)
        if isinstance(bound, (int, float)) and not isinstance(bound, bool):
            value = pick(value, bound)
    return value
