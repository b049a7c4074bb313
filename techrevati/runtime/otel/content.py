"""Messages as attributes of a span: JSON of a bounded length, whatever was said.

Of a list the newest items are kept that fit; where not even the newest does, the texts in it are cut.  The
JSON is always whole.
"""

from __future__ import annotations

_ATTRIBUTES = (
    ("system", "gen_ai.system_instructions"),
    ("input", "gen_ai.input.messages"),
    ("output", "gen_ai.output.messages"),
)


def content_attributes(content: object, limit: int) -> dict[str, str | int | float | bool]:
    """The attributes for what a request's event tells as ``content``, each of at most *limit* characters."""
    found: dict[str, str | int | float | bool] = {}
    if not isinstance(content, dict):
        return found
    for key, name in _ATTRIBUTES:
        items = content.get(key)
        if isinstance(items, (list, tuple)) and items:
            found[name], cut = bounded(items, limit)
            if cut:
                found["techrevati.content.cut"] = True
    return found


def bounded(items: list[object] | tuple[object, ...], limit: int) -> tuple[str, bool]:
    """*items* as JSON of at most *limit* characters, and whether something of them is missing."""
    kept: list[str] = []
    left = limit - 2
    for item in reversed(items):
        text = _json(item)
        if len(text) + 1 > left:
            if not kept:
                kept.append(_shortened(item, left))
            break
        kept.append(text)
        left -= len(text) + 1
    else:
        return f"[{','.join(reversed(kept))}]", False
    return f"[{','.join(reversed(kept))}]", True


def _shortened(item: object, limit: int) -> str:
    longest = limit
    while longest:
        longest //= 2
        text = _json(_cut(item, longest))
        if len(text) <= limit:
            return text
    return "{}"


def _cut(value: object, longest: int) -> object:
    """*value* with its texts cut to *longest* characters."""
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + "…"
    if isinstance(value, dict):
        return {key: _cut(item, longest) if key not in _STRUCTURE else item for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(item, longest) for item in value]
    return value


_STRUCTURE = ("type", "role", "finish_reason")


def _json(value: object) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()  # no exporter takes half a surrogate pair
