"""What a stream used: what its chunks told, and an estimate of what they did not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.streaming.tokens import text_bytes
from techrevati.runtime.usage import UsageAccumulator

if TYPE_CHECKING:
    from techrevati.runtime.streaming.vocabulary import UsageReader
    from techrevati.runtime.usage import UsageSnapshot

_BYTES_PER_TOKEN = 4  # of English; a token holds fewer bytes of most other languages


class StreamUsage:
    """Reads usage from the chunks of one stream, and estimates it when the stream ends before it was told.

    The estimate: a token for every four bytes of text, but at least one for every chunk with text, or what
    was told if that is more; and *input_tokens*, or what was told.  One per stream; for one thread or task at
    a time.

    Args:
        input_tokens: What the request holds, if known: counts when the stream ends before it is told.
        reader: Reads what is told; a ``UsageAccumulator`` when None.
    """

    __slots__ = ("_bytes", "_chunks", "_input_tokens", "_reader")

    def __init__(self, *, input_tokens: int = 0, reader: UsageReader | None = None) -> None:
        self._input_tokens = arguments.count("input_tokens", input_tokens)
        self._reader: UsageReader = UsageAccumulator() if reader is None else reader
        self._bytes = 0
        self._chunks = 0

    def add(self, event: object, /) -> None:
        """Take one chunk."""
        size = text_bytes(event)
        if size:
            self._bytes += size
            self._chunks += 1
        self._reader.add(event)

    @property
    def complete(self) -> bool:
        """True when the chunks told everything."""
        return self._reader.complete

    def snapshot(self) -> UsageSnapshot:
        """What was told."""
        return self._reader.snapshot()

    def estimate(self) -> UsageSnapshot:
        """What was told, and what was seen where that is more."""
        told = self.snapshot()
        said = max(told.output_tokens, self._chunks, -(-self._bytes // _BYTES_PER_TOKEN))
        given = (
            told.input_tokens + told.cache_read_tokens + told.cache_write_tokens + told.cache_write_1h_tokens
        )
        asked = told.input_tokens if given else self._input_tokens
        if said == told.output_tokens and asked == told.input_tokens:
            return told
        return replace(told, input_tokens=asked, output_tokens=said, reported_cost_usd=None)
