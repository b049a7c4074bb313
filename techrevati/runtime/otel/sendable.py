"""What an exporter can carry: OTLP knows UTF-8 and integers of 64 bits, and loses what is neither.

A span's name that it cannot encode would cost it every span that it sends with this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Attributes: TypeAlias = dict[str, str | int | float | bool]

_LARGEST = 2**63 - 1


def encodable(text: str) -> str:
    """*text* with ``?`` for half a surrogate pair, as an answer that was cut inside an emoji has it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def sendable(attributes: Mapping[str, str | int | float | bool]) -> Attributes:
    """*attributes* with texts that can be encoded, and integers that are too large as floats."""
    found: Attributes = {}
    for key, value in attributes.items():
        if isinstance(value, str):
            value = encodable(value)
        elif isinstance(value, int) and abs(value) > _LARGEST:
            value = _nearest(value)
        found[encodable(key)] = value
    return found


def span_name(operation: str, subject: str | None) -> str:
    """The name of a span: what is done, and to what."""
    return encodable(f"{operation} {subject}") if subject else operation


def _nearest(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
