"""Arguments and outputs that must fit a JSON Schema, or a documented part of it.

The schema is read when it is written down: a keyword that is not supported is an error then, not a check
that silently does nothing later.

Source: JSON Schema draft 2020-12, validation and applicator vocabularies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments as check
from techrevati.runtime.guardrails.vocabulary import GuardrailOutcome
from techrevati.runtime.guardrails.walking import facts_of, shown_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_ALLOWED = GuardrailOutcome(True)
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
# Say nothing about what is valid.  ``format`` is an annotation in the draft, too.
_ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "$schema",
    "$id", "$comment", "$defs", "definitions",
})  # fmt: skip
_SCHEMA_KEYWORDS = frozenset(["additionalProperties", "items", "not", "propertyNames"])
_LIST_KEYWORDS = frozenset(["allOf", "anyOf", "oneOf", "prefixItems"])
_COUNTS = frozenset(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"])
_NUMBERS = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"])
_OTHERS = frozenset(["type", "enum", "const", "properties", "required", "pattern", "uniqueItems", "$ref"])
SUPPORTED_KEYWORDS = _ANNOTATIONS | _SCHEMA_KEYWORDS | _LIST_KEYWORDS | _COUNTS | _NUMBERS | _OTHERS


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """Where and how a value does not fit.

    Attributes:
        path: As ``$.items[0].name``.
        keyword: The keyword of the schema that was broken.
        message: What is wrong, without the value.
    """

    path: str
    keyword: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class JsonSchema:
    """A schema of the supported part of JSON Schema.  Immutable if its mapping is left alone; thread-safe.

    Supported: ``type enum const``; ``properties required additionalProperties propertyNames minProperties
    maxProperties``; ``items prefixItems minItems maxItems uniqueItems``; ``minLength maxLength pattern``;
    ``minimum maximum exclusiveMinimum exclusiveMaximum multipleOf``; ``allOf anyOf oneOf not``; ``$ref`` to
    ``#/…`` of the same schema.  Annotations (``title``, ``format``, …) are allowed and check nothing.
    ``pattern`` is run as it is: one with nested repetitions, as ``(a+)+$``, takes for ever on a hostile text.

    Args:
        schema: The schema, as from ``json.loads``.

    Raises:
        ValueError: It has an unsupported keyword or a wrong one; the text says where.

    >>> schema = JsonSchema({"type": "object", "properties": {"city": {"type": "string"}}})
    >>> str(schema.problem({"city": 5}))
    '$.city must be string, is integer'
    """

    __slots__ = ("_root",)

    def __init__(self, schema: Mapping[str, object] | bool) -> None:
        self._root: Any = schema
        self._read(schema, "#")

    def problem(self, value: object) -> SchemaProblem | None:
        """The first way in which *value* does not fit; None when it does."""
        return next(self._problems(self._root, value, "$"), None)

    # --- reading the schema --------------------------------------------------------------------------------

    def _read(self, schema: Any, at: str) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping):
            raise ValueError(f"schema must be an object or a boolean at {at}, got {type(schema).__name__}")
        for keyword, value in schema.items():
            if keyword not in SUPPORTED_KEYWORDS:
                raise ValueError(f"schema has the unsupported keyword {keyword!r} at {at}")
            problem = self._keyword_problem(keyword, value)
            if problem is not None:
                raise ValueError(f"schema keyword {keyword!r} at {at} {problem}")
            for name, inner in _inner(keyword, value):
                self._read(inner, f"{at}/{keyword}{name}")

    def _keyword_problem(self, keyword: str, value: Any) -> str | None:
        if keyword in _COUNTS and (type(value) is not int or value < 0):
            return f"must be an integer >= 0, got {value!r}"
        if keyword in _NUMBERS and (type(value) not in (int, float) or value != value):
            return f"must be a number, got {value!r}"
        if keyword == "multipleOf" and value <= 0:
            return f"must be > 0, got {value!r}"
        if keyword in _LIST_KEYWORDS and (not isinstance(value, (list, tuple)) or not value):
            return "must be a list that is not empty"
        return _OTHER_PROBLEMS[keyword](self, value) if keyword in _OTHER_PROBLEMS else None

    def _type_problem(self, value: Any) -> str | None:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not names or any(name not in _TYPES for name in names):
            return f"must be one or several of {', '.join(_TYPES)}"
        return None

    def _pattern_problem(self, value: Any) -> str | None:
        import re

        try:
            re.compile(value)
        except (re.error, TypeError) as error:
            return f"must be a regular expression: {error}"
        return None

    def _ref_problem(self, value: Any) -> str | None:
        try:
            self._target(value)
        except (LookupError, TypeError, ValueError, AttributeError):
            return f"must lead to a part of the same schema, as '#/$defs/name' does, got {value!r}"
        return None

    def _target(self, ref: str) -> Any:
        if ref != "#" and not ref.startswith("#/"):
            raise ValueError(ref)
        found = self._root
        for part in ref.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            found = found[int(part)] if isinstance(found, (list, tuple)) else found[part]
        if not isinstance(found, (Mapping, bool)):
            raise ValueError(ref)
        return found

    # --- judging a value -----------------------------------------------------------------------------------

    def _problems(self, schema: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        if isinstance(schema, bool):
            if not schema:
                yield SchemaProblem(path, "false", "is not allowed")
            return
        for keyword, wanted in schema.items():
            judge = _JUDGES.get(keyword)
            if judge is not None:
                yield from judge(self, schema, wanted, value, path)

    def _fits(self, schema: Any, value: Any) -> bool:
        return next(self._problems(schema, value, "$"), None) is None

    def _type(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        names = [wanted] if isinstance(wanted, str) else wanted
        kinds = kinds_of(value)
        if not kinds & set(names):
            is_now = next((name for name in _TYPES if name in kinds), type(value).__name__)
            yield SchemaProblem(path, "type", f"must be {' or '.join(names)}, is {is_now}")

    def _enum(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        if not any(same(value, one) for one in wanted):
            yield SchemaProblem(path, "enum", f"must be one of {len(wanted)} allowed values")

    def _const(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        if not same(value, wanted):
            yield SchemaProblem(path, "const", "must be the one allowed value")

    def _object(
        self, schema: Any, wanted: Any, value: Any, path: str, keyword: str
    ) -> Iterator[SchemaProblem]:
        if not isinstance(value, Mapping):
            return
        if keyword == "required":
            for name in wanted:
                if name not in value:
                    yield SchemaProblem(path, keyword, f"must have {name!r}")
        elif keyword == "properties":
            for name, inner in wanted.items():
                if name in value:
                    yield from self._problems(inner, value[name], f"{path}.{shown_key(name)}")
        elif keyword == "propertyNames":
            for place, name in enumerate(value):
                if not self._fits(wanted, name):
                    yield SchemaProblem(f"{path}.(key {place})", keyword, "is no allowed name")
        else:
            known = schema.get("properties", {})
            for place, (name, item) in enumerate(value.items()):
                if name not in known:
                    if wanted is False:
                        yield SchemaProblem(f"{path}.(key {place})", keyword, "is not allowed there")
                    else:
                        yield from self._problems(wanted, item, f"{path}.{shown_key(name)}")

    def _array(
        self, schema: Any, wanted: Any, value: Any, path: str, keyword: str
    ) -> Iterator[SchemaProblem]:
        if not isinstance(value, (list, tuple)):
            return
        if keyword == "prefixItems":
            for place, (inner, item) in enumerate(zip(wanted, value, strict=False)):
                yield from self._problems(inner, item, f"{path}[{place}]")
        elif keyword == "items":
            first = len(schema.get("prefixItems", ()))
            for place, item in enumerate(value[first:], first):
                yield from self._problems(wanted, item, f"{path}[{place}]")
        elif wanted:
            for place, item in enumerate(value):
                if any(same(item, other) for other in value[:place]):
                    yield SchemaProblem(f"{path}[{place}]", keyword, "repeats an earlier item")

    def _count(
        self, schema: Any, wanted: Any, value: Any, path: str, keyword: str
    ) -> Iterator[SchemaProblem]:
        kind: Any = {"Le": str, "It": (list, tuple), "Pr": Mapping}[keyword[3:5]]
        if isinstance(value, kind):
            most = keyword.startswith("max")
            if len(value) > wanted if most else len(value) < wanted:
                what = {"Le": "characters", "It": "items", "Pr": "properties"}[keyword[3:5]]
                yield SchemaProblem(
                    path, keyword, f"must have {'at most' if most else 'at least'} {wanted} {what}"
                )

    def _number(
        self, schema: Any, wanted: Any, value: Any, path: str, keyword: str
    ) -> Iterator[SchemaProblem]:
        if "number" in kinds_of(value) and not _COMPARISONS[keyword](value, wanted):
            yield SchemaProblem(path, keyword, f"must have {keyword} {wanted}")

    def _pattern(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        import re

        if isinstance(value, str) and re.search(wanted, value) is None:
            yield SchemaProblem(path, "pattern", "does not match the pattern")

    def _ref(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        yield from self._problems(self._target(wanted), value, path)

    def _all(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        for inner in wanted:
            yield from self._problems(inner, value, path)

    def _some(self, schema: Any, wanted: Any, value: Any, path: str, keyword: str) -> Iterator[SchemaProblem]:
        fitting = sum(self._fits(inner, value) for inner in wanted)
        if not fitting or (keyword == "oneOf" and fitting > 1):
            how = "none" if not fitting else f"{fitting}"
            yield SchemaProblem(path, keyword, f"fits {how} of {len(wanted)} alternatives")

    def _not(self, schema: Any, wanted: Any, value: Any, path: str) -> Iterator[SchemaProblem]:
        if self._fits(wanted, value):
            yield SchemaProblem(path, "not", "fits what it must not")


def _for(
    judge: Callable[..., Iterator[SchemaProblem]], keyword: str
) -> Callable[..., Iterator[SchemaProblem]]:
    return lambda self, schema, wanted, value, path: judge(self, schema, wanted, value, path, keyword)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "multipleOf": lambda value, step: _is_multiple(value, step),
}
_JUDGES: dict[str, Callable[..., Iterator[SchemaProblem]]] = {
    "$ref": JsonSchema._ref,
    "type": JsonSchema._type,
    "enum": JsonSchema._enum,
    "const": JsonSchema._const,
    "pattern": JsonSchema._pattern,
    "allOf": JsonSchema._all,
    "not": JsonSchema._not,
    **{word: _for(JsonSchema._object, word) for word in ("required", "properties", "propertyNames")},
    "additionalProperties": _for(JsonSchema._object, "additionalProperties"),
    **{word: _for(JsonSchema._array, word) for word in ("prefixItems", "items", "uniqueItems")},
    **{word: _for(JsonSchema._count, word) for word in sorted(_COUNTS)},
    **{word: _for(JsonSchema._number, word) for word in sorted(_NUMBERS)},
    **{word: _for(JsonSchema._some, word) for word in ("anyOf", "oneOf")},
}
_OTHER_PROBLEMS: dict[str, Callable[[JsonSchema, Any], str | None]] = {
    "type": JsonSchema._type_problem,
    "pattern": JsonSchema._pattern_problem,
    "$ref": JsonSchema._ref_problem,
    "enum": lambda _, value: None if isinstance(value, (list, tuple)) and value else "must be a list",
    "properties": lambda _, value: None if isinstance(value, Mapping) else "must be an object",
    "$defs": lambda _, value: None if isinstance(value, Mapping) else "must be an object",
    "definitions": lambda _, value: None if isinstance(value, Mapping) else "must be an object",
    "required": lambda _, value: (
        None
        if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
        else "must be a list of names"
    ),
    "uniqueItems": lambda _, value: None if isinstance(value, bool) else "must be true or false",
}


def _inner(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The schemas inside a keyword's value."""
    if keyword in _SCHEMA_KEYWORDS:
        yield "", value
    elif keyword in _LIST_KEYWORDS:
        yield from ((f"/{place}", inner) for place, inner in enumerate(value))
    elif keyword in ("properties", "$defs", "definitions"):
        yield from ((f"/{name}", inner) for name, inner in value.items())


def _is_multiple(value: Any, step: Any) -> bool:
    from fractions import Fraction

    if value != value or value in (float("inf"), float("-inf")):
        return False
    # As written: 0.3 is a multiple of 0.1.
    return Fraction(str(value)) % Fraction(str(step)) == 0


def kinds_of(value: object) -> set[str]:
    """The JSON types of a value; none for what JSON does not know."""
    if value is None:
        return {"null"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    if isinstance(value, float):
        return {"integer", "number"} if value.is_integer() else {"number"}
    if isinstance(value, str):
        return {"string"}
    if isinstance(value, (list, tuple)):
        return {"array"}
    return {"object"} if isinstance(value, Mapping) else set()


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class SchemaGuardrail:
    """Arguments and results of tools, and answers, must fit a schema; see :class:`JsonSchema`.

    Texts are read as JSON where their schema allows no string; objects as their ``model_dump`` or fields.
    Immutable; thread-safe.

    Args:
        arguments: Tool -> schema of its arguments.  A tool that is called without ``arguments=`` is refused.
        results: Tool -> schema of its result.
        answer: Schema of the answers of turns, for turns whose result is the text or the value itself.
        unknown_tools: Whether tools that stand in neither mapping may run.
        name: The guardrail's name.

    Raises:
        ValueError, TypeError: A schema is wrong or uses an unsupported keyword; the text says where.
    """

    __slots__ = ("_answer", "_arguments", "_results", "_unknown_tools", "name")

    def __init__(
        self,
        *,
        arguments: Mapping[str, Mapping[str, object]] | None = None,
        results: Mapping[str, Mapping[str, object]] | None = None,
        answer: Mapping[str, object] | None = None,
        unknown_tools: bool = True,
        name: str = "schema",
    ) -> None:
        self.name: str = check.text("name", name)
        self._arguments = {tool: JsonSchema(schema) for tool, schema in (arguments or {}).items()}
        self._results = {tool: JsonSchema(schema) for tool, schema in (results or {}).items()}
        self._answer = None if answer is None else JsonSchema(answer)
        self._unknown_tools = unknown_tools

    def check_pre(
        self, *, role: str, tool: str, arguments: Mapping[str, object] | None = None
    ) -> GuardrailOutcome:
        """Hold the arguments to the schema of *tool*."""
        schema = self._arguments.get(tool)
        if schema is None:
            if self._unknown_tools or tool in self._results:
                return _ALLOWED
            return GuardrailOutcome(False, "there is no schema for this tool", rule="unknown_tool")
        if arguments is None:
            return GuardrailOutcome(False, "its arguments were not given", rule="required", path="$")
        return _judged(schema, arguments)

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Hold the result to the schema of *tool*."""
        schema = self._results.get(tool)
        return _ALLOWED if schema is None else _judged(schema, value)

    def check_answer(self, answer: object, *, role: str, model: str) -> GuardrailOutcome:
        """Hold the answer to its schema."""
        return _ALLOWED if self._answer is None else _judged(self._answer, answer)


def _judged(schema: JsonSchema, value: object) -> GuardrailOutcome:
    if isinstance(value, str) and not schema._fits(schema._root, value):
        import json

        try:
            value = json.loads(value)
        except ValueError as error:
            where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
            return GuardrailOutcome(False, f"it is no JSON{where}", rule="json", path="$")
    elif not kinds_of(value):
        value = facts_of(value)
    problem = schema.problem(value)
    if problem is None:
        return _ALLOWED
    return GuardrailOutcome(False, str(problem), rule=problem.keyword, path=problem.path)
