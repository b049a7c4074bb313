"""Put an answer into the JSON that a client asked for.

Texts get the answer, choices and numbers what it says of them, and everything else the smallest value that
the schema allows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import quantities
from techrevati.runtime.chaos.shape import items, mapping
from techrevati.runtime.chaos.slots import resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH = 8
_MAX_MINIMUM = 100  # elements that a schema may force


def structured(schema: Mapping[str, object] | None, text: str) -> str:
    """*text* as JSON that fits *schema*; None is any object."""
    value: object = {"answer": text} if schema is None else _value(schema, schema, text, 0)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _value(raw: object, root: Mapping[str, object], text: str, depth: int) -> object:
    schema = resolved(raw, root)
    if "const" in schema:
        return schema["const"]
    if choices := items(schema.get("enum")):
        return next((one for one in choices if str(one).lower() in text.lower()), choices[0])
    match schema.get("type", "object" if "properties" in schema else "string"):
        case "object":
            known = mapping(schema.get("properties"))
            wanted = items(schema.get("required")) if depth >= MAX_DEPTH else list(known)
            return {str(name): _value(known.get(str(name)), root, text, depth + 1) for name in wanted}
        case "array":
            least = schema.get("minItems")
            least = least if isinstance(least, int) else 0
            count = min(max(least, 0 if depth >= MAX_DEPTH else 1), _MAX_MINIMUM)
            return [_value(schema.get("items"), root, text, depth + 1) for _ in range(count)]
        case "integer":
            return int(_number(schema, text, whole=True))
        case "number":
            return _number(schema, text, whole=False)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text


def _number(schema: Mapping[str, object], text: str, *, whole: bool) -> int | float:
    said = [
        one.value for one in quantities.numbers(text[:4_000]) if not whole or float(one.value).is_integer()
    ]
    low, high = schema.get("minimum"), schema.get("maximum")
    value: int | float = said[0] if said else 0
    if isinstance(low, (int, float)):
        value = max(value, low)
    if isinstance(high, (int, float)):
        value = min(value, high)
    return value
