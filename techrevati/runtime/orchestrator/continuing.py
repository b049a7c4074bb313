"""An answer that the provider cut off goes on: as long as it is cut off, and a bounded number of times.

Each ask is a whole turn of the session, so it is counted, budgeted, journalled and guarded like any other.
"""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from techrevati.runtime._core import arguments as check
from techrevati.runtime.orchestrator.answer_text import joined, text_of, was_cut
from techrevati.runtime.usage import UsageSnapshot

T = TypeVar("T")


class Continuing(Generic[T]):
    """The parts of one answer; not thread-safe, as one task asks.

    Attributes:
        so_far: The text of the parts, for the next ask; "" before the first.
        usage: What they used together.
    """

    def __init__(self, max_continuations: int, key: str | None) -> None:
        self._left = check.count("max_continuations", max_continuations)
        self._key = key
        self._parts: list[T] = []
        self.so_far: str = ""
        self.usage: UsageSnapshot = UsageSnapshot()

    @property
    def key(self) -> str | None:
        """The journal's name of the next ask: the caller's, then ``KEY/part-2`` and so on."""
        if self._key is None or not self._parts:
            return self._key
        return f"{self._key}/part-{len(self._parts) + 1}"

    def is_over(self, part: T, usage: UsageSnapshot) -> bool:
        """Take one part; False when the model should go on."""
        self._parts.append(part)
        self.usage = self.usage + usage
        self.so_far += text_of(part)
        return not was_cut(part) or len(self._parts) > self._left

    @property
    def answer(self) -> T:
        """The parts as one answer."""
        return self._parts[0] if len(self._parts) == 1 else cast("T", joined(self._parts))
