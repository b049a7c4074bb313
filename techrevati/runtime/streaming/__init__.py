"""Notice that a stream has fallen silent, and know what it used when it ends early.

Each wait for a chunk is stamped; one timer looks at the stamp when a limit could have passed, so a chunk
costs no timeout object.  Only waiting counts: the time a consumer takes between two chunks is its own.

``patience`` decides over stamps, without a clock.  An async wait is cancelled at its limit.  A blocking read
cannot be, so one thread, shared by all watched streams and gone with the last of them, shuts the socket below
the stream down, which ends the read.
"""

from __future__ import annotations

from techrevati.runtime.streaming.async_watched import AsyncWatchedStream
from techrevati.runtime.streaming.stream_usage import StreamUsage
from techrevati.runtime.streaming.vocabulary import (
    StreamOutcome,
    StreamStalledError,
    UsageReader,
)
from techrevati.runtime.streaming.watched import WatchedStream
from techrevati.runtime.streaming.watching import watch

__all__ = [
    "AsyncWatchedStream",
    "StreamOutcome",
    "StreamStalledError",
    "StreamUsage",
    "UsageReader",
    "WatchedStream",
    "watch",
]
