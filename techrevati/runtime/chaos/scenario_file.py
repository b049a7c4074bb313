"""Read scenarios from TOML, and say clearly what is wrong with them.

A file has ``name``, ``description``, ``seed`` and any number of ``[[rule]]`` tables; the first rule that
fits a request decides.  Times are texts with a unit (``"20s"``, ``"1500ms"``, ``"2m"``, ``"1h"``) and count
from the start of the server.  A rule names its ``fault`` and, all of them optional, when it happens::

    model = "gpt-*"            a pattern; requests are counted by model, api and stream
    api = "openai"             or "anthropic"
    stream = true              streamed answers only; false: plain ones only
    calls = "2-5"              numbers of requests: 3, "3", "2-5", "4-", or a list of them
    every = 3                  each third request
    probability = "30%"        or 0.3; drawn from the seed, so it repeats
    from = "1m"                since then ...
    until = "7m"               ... and before then
    times = 10                 at most so often
    input_tokens_over = 2000   larger prompts only
    requests_over = 10         a real limit: so many pass ...
    per = "20s"                ... in so long, the others meet the fault

and what it does, as far as the fault takes it: ``retry_after`` (a time), ``retry_after_as`` (default,
seconds, ms, both, date, none), ``delay`` (a time), ``after_tokens``, ``message``, ``tool``, ``arguments``,
``text``.  ``FAULTS`` says what each fault means and takes.
"""

from __future__ import annotations

import pathlib
import re
import tomllib
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos.faults import FAULTS, Fault, FaultKind
from techrevati.runtime.chaos.scenario import Rule, Scenario
from techrevati.runtime.chaos.shape import items, mapping
from techrevati.runtime.chaos.toml_lines import Path, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_FILE_BYTES = 1_048_576
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)")
_CALLS = re.compile(r"([0-9]{1,18})(?:\s*(-)\s*([0-9]{1,18})?)?")
_TOP_KEYS = ("name", "description", "seed", "rule")


class ScenarioError(TechrevatiError, ValueError):
    """A scenario cannot be used.

    Attributes:
        source: The file or text.
        line: Where, from 1; None when no single line is to blame.
        key: The key that is wrong, if one is.
        problem: What is wrong and what is allowed.
    """

    def __init__(self, source: str, problem: str, *, line: int | None = None, key: str | None = None) -> None:
        super().__init__(source, problem)
        self.source = source
        self.problem = problem
        self.line = line
        self.key = key

    def __str__(self) -> str:
        place = "" if self.line is None else f", line {self.line}"
        return f"{self.source}{place}: {self.problem}"


def load(source: str | pathlib.Path) -> Scenario:
    """The bundled scenario of that name, or the file at that path."""
    path = pathlib.Path(source)
    if isinstance(source, str) and re.fullmatch(r"[\w-]+", source) and not path.is_file():
        path = pathlib.Path(__file__).parent / "scenarios" / f"{source}.toml"
        if not path.is_file():
            known = ", ".join(Scenario.bundled())
            raise ScenarioError(
                source, f"no such scenario; bundled are {known}, or give the path of a TOML file"
            )
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ScenarioError(str(source), f"cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ScenarioError(str(source), f"is larger than {MAX_FILE_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(str(source), "is not UTF-8", line=line) from error
    return read(text, str(source), name=path.stem)


def read(text: str, source: str, *, name: str = "scenario") -> Scenario:
    """The scenario in *text*; *name* is used when it does not name itself."""
    try:
        held: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\s*\(at line (\d+), column \d+\)|\s*\(at end of document\)", str(error))
        line = int(place[1]) if place and place[1] else len(text.splitlines()) or 1
        words = str(error)[: place.start()] if place else str(error)
        raise ScenarioError(source, f"not valid TOML: {words}", line=line) from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; arrays in arrays in …
        raise ScenarioError(source, f"not valid TOML: {error or 'nested too deeply'}") from error
    page = _Page(source, text)
    for key in held:
        if key not in _TOP_KEYS:
            raise page.error(None, key, f"unknown key {key!r}; allowed are {', '.join(_TOP_KEYS)}")
    rules = held.get("rule", [])
    if not isinstance(rules, list):
        kind = "one table" if isinstance(rules, dict) else repr(rules)
        raise page.error(None, "rule", f"rules are written as [[rule]] tables, got {kind}")
    for index, one in enumerate(items(rules)):
        if not isinstance(one, dict):
            problem = f"rules are written as [[rule]] tables, got {one!r}"
            raise page.error(None, "rule", problem, element=index)
    seed = held.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise page.error(None, "seed", f"seed must be an integer, got {seed!r}")
    return Scenario(
        name=_text(page, None, "name", held.get("name", name)),
        rules=tuple(_rule(page, index, mapping(one)) for index, one in enumerate(items(rules))),
        description=_text(page, None, "description", held.get("description", "-")).removeprefix("-"),
        seed=seed,
    )


class _Page:
    """The text of a scenario, to find the line of a key."""

    def __init__(self, source: str, text: str) -> None:
        self._source = source
        self._text = text
        self._lines: dict[Path, int] | None = None

    def error(self, rule: int | None, key: str, problem: str, *, element: int | None = None) -> ScenarioError:
        """The error for *key* of rule number *rule*, or of the top of the file; *element* is a place in an
        array."""
        prefix = "" if rule is None else f"rule {rule + 1}: "
        return ScenarioError(self._source, prefix + problem, line=self._line(rule, key, element), key=key)

    def _line(self, rule: int | None, key: str, element: int | None) -> int | None:
        if self._lines is None:
            self._lines = lines_of(self._text)
        table: Path = () if rule is None else ("rule", rule)
        places: list[Path] = [(*table, key), table]
        if element is not None:
            places.insert(0, (*table, key, element))
        return next((self._lines[each] for each in places if each in self._lines), None)


def _rule(page: _Page, index: int, raw: Mapping[str, object]) -> Rule:
    for key in raw:
        if key not in _RULE_KEYS and key not in _FAULT_KEYS and key != "fault":
            allowed = ", ".join(["fault", *_RULE_KEYS, *_FAULT_KEYS])
            raise page.error(index, key, f"unknown key {key!r}; allowed are {allowed}")
    given: dict[str, object] = {}
    for key, (name, reader) in _RULE_KEYS.items():
        if key in raw:
            given[name] = reader(page, index, key, raw[key])
    fault = _fault(page, index, raw)
    for key, other in (("requests_over", "per"), ("per", "requests_over")):
        if key in raw and other not in raw:
            raise page.error(
                index,
                key,
                f"{key} needs {other} beside it (so many requests in so long), got {raw[key]!r} alone",
            )
    try:
        return Rule(fault, **given)  # type: ignore[arg-type]  # each reader returns what its field takes
    except (ValueError, TypeError) as error:
        key = _key_of(str(error), _RULE_KEYS)
        raise page.error(index, key, _in_words_of_the_file(str(error), key, raw)) from error


def _in_words_of_the_file(problem: str, key: str, raw: Mapping[str, object]) -> str:
    """*problem* with the file's names for fields, and the value as it is written there."""
    for table in (_RULE_KEYS, _FAULT_KEYS):
        for name, (field, _) in table.items():
            problem = re.sub(rf"\b{field}\b(?: \([\d.e+-]+\))?", name, problem) if field != name else problem
    if key == "until":
        return f"until must be later than from ({raw.get('from', '0s')}), got {raw[key]!r}"
    return (
        re.sub(r", got .*", lambda _: f", got {raw[key]!r}", problem, flags=re.DOTALL)
        if key in raw
        else problem
    )


def _fault(page: _Page, index: int, raw: Mapping[str, object]) -> Fault:
    known = ", ".join(one.value for one in FaultKind)
    if "fault" not in raw:
        raise page.error(index, "fault", f"fault is missing; allowed are {known}")
    try:
        kind = FaultKind(str(raw["fault"]))
    except ValueError:
        raise page.error(index, "fault", f"unknown fault {raw['fault']!r}; allowed are {known}") from None
    given: dict[str, object] = {}
    for key, (name, reader) in _FAULT_KEYS.items():
        if key not in raw:
            continue
        if key not in FAULTS[kind].options:
            takes = ", ".join(sorted(FAULTS[kind].options)) or "no option"
            raise page.error(index, key, f"{kind.value} does not take {key!r}; it takes {takes}")
        given[name] = reader(page, index, key, raw[key])
    try:
        return Fault(kind, **given)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        key = _key_of(str(error), _FAULT_KEYS)
        raise page.error(index, key, _in_words_of_the_file(str(error), key, raw)) from error


def _key_of(problem: str, keys: Mapping[str, tuple[str, object]]) -> str:
    """The file's key whose field *problem* begins with."""
    return next((key for key, (name, _) in keys.items() if problem.split(" ")[0] == name), next(iter(keys)))


# Readers: each takes a value as TOML has it and returns what Rule and Fault take.


def _text(page: _Page, rule: int | None, key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise page.error(rule, key, f"{key} must be a non-empty text in quotes, got {value!r}")
    return value


def _span(page: _Page, rule: int | None, key: str, value: object) -> float:
    hint = f'{key} must be a time with a unit, such as "20s", "1500ms", "2m" or "1h"'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise page.error(rule, key, f'{hint}; got the bare number {value!r}: write "{value}s" for seconds')
    hit = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if hit is None:
        raise page.error(rule, key, f"{hint}, got {value!r}")
    if hit[2] not in _UNITS_S:
        unit = f"unknown unit {hit[2]!r}" if hit[2] else "no unit"
        raise page.error(rule, key, f"{hint}; {value!r} has {unit}")
    return float(hit[1]) * _UNITS_S[hit[2]]


def _share(page: _Page, rule: int | None, key: str, value: object) -> float:
    hit = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    share = float(hit[1]) / 100 if hit else value
    if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 1:
        raise page.error(
            rule, key, f'{key} must be a number from 0 to 1 or a text such as "30%", got {value!r}'
        )
    return float(share)


def _count(page: _Page, rule: int | None, key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise page.error(rule, key, f"{key} must be a whole number without quotes, >= 0, got {value!r}")
    return value


def _flag(page: _Page, rule: int | None, key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise page.error(rule, key, f"{key} must be true or false, got {value!r}")
    return value


def _table(page: _Page, rule: int | None, key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise page.error(rule, key, f'{key} must be a table such as {{ path = "x" }}, got {value!r}')
    return mapping(value)


def _calls(page: _Page, rule: int | None, key: str, value: object) -> tuple[tuple[int, int | None], ...]:
    hint = f'{key} must be a number, a text such as "3", "2-5" or "4-", or a list of them'
    found: list[tuple[int, int | None]] = []
    for place, one in enumerate(items(value) if isinstance(value, list) else [value]):
        hit = _CALLS.fullmatch(str(one).strip()) if isinstance(one, (str, int)) else None
        if hit is None or isinstance(one, bool) or int(hit[1]) < 1:
            raise page.error(rule, key, f"{hint}; numbers start at 1; got {one!r}", element=place)
        first = int(hit[1])
        last = first if not hit[2] else int(hit[3]) if hit[3] else None
        if last is not None and last < first:
            raise page.error(rule, key, f"{hint}; {one!r} ends before it starts", element=place)
        found.append((first, last))
    return tuple(found)


_RULE_KEYS: dict[str, tuple[str, Callable[[_Page, int | None, str, object], object]]] = {
    "model": ("model", _text),
    "api": ("api", _text),
    "stream": ("stream", _flag),
    "calls": ("calls", _calls),
    "every": ("every", _count),
    "probability": ("probability", _share),
    "from": ("from_s", _span),
    "until": ("until_s", _span),
    "times": ("times", _count),
    "input_tokens_over": ("input_tokens_over", _count),
    "requests_over": ("requests_over", _count),
    "per": ("per_s", _span),
}
_FAULT_KEYS: dict[str, tuple[str, Callable[[_Page, int | None, str, object], object]]] = {
    "retry_after": ("retry_after_s", _span),
    "retry_after_as": ("retry_after_as", _text),
    "delay": ("delay_s", _span),
    "after_tokens": ("after_tokens", _count),
    "message": ("message", _text),
    "tool": ("tool", _text),
    "arguments": ("arguments", _table),
    "text": ("text", _text),
}
