"""Listen to the body of an answer on its way to the SDK, without changing what the program sees.

An answer may be one JSON text, server-sent events, or the same events in the frames of Amazon Bedrock.  Of
events only those are parsed that can tell a usage, an end or an error; the others are kept as they came,
within a bound, and only looked at when the stream is cut off and what it generated must be estimated.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.likely_tokens import likely_tokens
from techrevati.runtime.usage import UsageAccumulator, UsageNotFoundError, UsageSnapshot

if TYPE_CHECKING:
    from typing import Any

    from techrevati.runtime.integrations.contents import Answered

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_NO_USAGE = re.compile(rb'"usage"\s*:\s*null')
MAX_BODY = 16 * 1024 * 1024  # bytes of a JSON answer, or of one event, that are looked at
_UNREAD = 256 * 1024  # bytes of events kept unread
_NEW = (".delta", ".output_item.added")  # events of OpenAI responses that say what none said before
_MAX_DEPTH = 12  # of events
_FRAME = 12  # bytes of a frame before its headers
# Where events carry what was generated.
_TEXTS = frozenset({"content", "text", "partial_json", "arguments", "refusal", "thinking", "delta", "input"})
_TEXTS |= {"reasoning", "reasoning_content", "input_json"}
# Names for the same thoughts, of which OpenRouter, LiteLLM and vLLM send two at a time.
_THOUGHTS = ("reasoning", "reasoning_content", "reasoning_details", "thinking_blocks")
_NOT_TEXT = frozenset({"id", "object", "model", "type", "role", "name", "signature", "obfuscation"})


class StreamError(TechrevatiError):
    """What an error event inside a stream said; only for judging it, never raised."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        error = body.get("error")
        inner: Mapping[str, Any] = error if isinstance(error, Mapping) else body
        super().__init__(str(inner.get("message") or error or "error event in a stream"))
        self.body: dict[str, object] = dict(body)
        self.code: object = inner.get("code")
        self.type: object = inner.get("type")


class AnswerTap:
    """What one answer says while it passes.  For one reader at a time.

    Args:
        events: Whether it is server-sent events.
        frames: Whether its events come in binary frames (``application/vnd.amazon.eventstream``).
        hide_usage: Whether the last event of an OpenAI chat stream, which holds only the usage, is kept from
            the reader, who did not ask for it.
        answered: Hears what is said, too; None, as almost always, reads no event for that.
    """

    __slots__ = (
        "_answered",
        "_buffer",
        "_frames",
        "_generated",
        "_hide_usage",
        "_listens",
        "_lost",
        "_unread",
        "_unread_bytes",
        "_usage",
        "_whole",
        "ended",
        "error",
        "events",
        "silent",
    )  # fmt: skip

    def __init__(
        self, *, events: bool, hide_usage: bool, answered: Answered | None = None, frames: bool = False
    ) -> None:
        self._answered = answered
        self.events: bool = events or frames
        self._frames = frames
        self._listens = events and not frames and answered is None
        self._hide_usage = hide_usage
        self._buffer = b""
        self._usage = UsageAccumulator()
        self._whole: UsageSnapshot | None = None
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._generated = 0  # tokens
        self._lost = False
        self.error: StreamError | None = None
        self.ended: bool = False
        self.silent: bytes = b""  # a whole answer that names no usage

    @property
    def complete(self) -> bool:
        """Whether the answer has said what it used in the end."""
        return self._whole is not None or self._usage.complete

    def feed(self, chunk: bytes) -> bytes:
        """Hear *chunk*; what of the answer may be passed on now."""
        if self._lost:
            return chunk
        if (  # whole events, none of which tells a usage, an end or an error: almost every chunk of a stream
            self._listens
            and not self._buffer
            and chunk.endswith(b"\n\n")
            and b'"error"' not in chunk
            and chunk.count(b'"usage"') == chunk.count(b'"usage":null')
            and b"[DONE]" not in chunk
            and b'"message_stop"' not in chunk
        ):
            self._unread.append(chunk)
            self._unread_bytes += len(chunk)
            if self._unread_bytes > _UNREAD:
                self._read_unread()
            return chunk
        if not self.events:
            self._buffer += chunk
            if len(self._buffer) > MAX_BODY:
                self._buffer, self._lost = b"", True
            return chunk
        if self._frames:
            self._feed_frames(chunk)
            return chunk
        data = self._buffer + chunk if self._buffer else chunk
        passed: list[bytes] = []
        begin = 0
        for found in _END.finditer(data):
            block = data[begin : found.end()]
            begin = found.end()
            if self._keep(block):
                passed.append(block)
        self._buffer = data[begin:]
        if len(self._buffer) > MAX_BODY:  # no event is that long: stop looking
            passed.append(self._buffer)
            self._buffer, self._lost = b"", True
        return b"".join(passed) if self._hide_usage else chunk

    def finish(self) -> bytes:
        """The body is over; what was still held back."""
        rest, self._buffer = self._buffer, b""
        if not self.events:
            if rest and not self._lost:
                try:
                    self._whole = UsageSnapshot.from_response(rest)
                except UsageNotFoundError:
                    self.silent = rest
                if self._answered is not None:
                    self._answered.whole(rest)
            return b""
        if self._frames:  # they were passed on as they came
            return b""
        keep = not rest or self._keep(rest)
        return rest if keep and self._hide_usage else b""

    def usage(self) -> UsageSnapshot:
        """What the answer said it used, so far."""
        return self._whole if self._whole is not None else self._usage.snapshot()

    def generated_tokens(self) -> int:
        """About how many tokens of output have passed, for answers that were cut off."""
        self._read_unread()
        return self._generated

    def _feed_frames(self, chunk: bytes) -> None:
        """Hear the events in frames: two lengths, a checksum, headers, a payload, a checksum."""
        self._buffer += chunk
        while len(self._buffer) >= _FRAME:
            whole, headers = (int.from_bytes(self._buffer[at : at + 4], "big") for at in (0, 4))
            if not _FRAME + headers + 4 <= whole <= MAX_BODY:  # no frame: stop looking
                self._buffer, self._lost = b"", True
                return
            if len(self._buffer) < whole:
                return
            payload = self._buffer[_FRAME + headers : whole - 4]
            self._buffer = self._buffer[whole:]
            self._keep(b"data: " + _unwrapped(payload))

    # --- one event ------------------------------------------------------------------------------------------

    def _keep(self, block: bytes) -> bool:
        """Hear one event; whether the reader gets to see it."""
        if self._answered is not None and (said := _parsed(block)) is not None:
            self._answered.event(said)
        if b'"usage"' in block and _NO_USAGE.search(block) is None:
            event = _parsed(block)
            if event is not None:
                self._usage.add(event)
                if self._hide_usage and event.get("choices") == [] and event.get("usage") is not None:
                    return False
                if (failed := _failure(event)) is not None:
                    self.error = StreamError(failed)
            self._count(event)
        elif b'"error"' in block:
            event = _parsed(block)
            failed = None if event is None else _failure(event)
            if failed is not None:
                self.error = StreamError(failed)
            elif event is not None:
                self._usage.add(event)
                self._count(event)
        else:
            if b"[DONE]" in block or b'"message_stop"' in block:
                self.ended = True
            self._unread.append(block)
            self._unread_bytes += len(block)
            if self._unread_bytes > _UNREAD:
                self._read_unread()
        return True

    def _read_unread(self) -> None:
        for events in self._unread:
            for block in _END.split(events):
                self._count(_parsed(block))
        self._unread.clear()
        self._unread_bytes = 0

    def _count(self, event: Mapping[str, Any] | None) -> None:
        if event is not None:
            self._generated += event_tokens(event)


def _unwrapped(payload: bytes) -> bytes:
    """The event in a frame; what a frame without one says went wrong."""
    try:
        held = json.loads(payload)
        if isinstance(held, dict) and isinstance(held.get("bytes"), str):
            return b64decode(held["bytes"])
    except ValueError:
        return b""
    return json.dumps({"error": held}).encode()


def _failure(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What says that the answer failed: an ``error`` held or told as an event, or a failed response."""
    if event.get("type") == "response.failed":
        response = event.get("response")
        return response if isinstance(response, Mapping) and response.get("error") else event
    if event.get("error") is not None and "choices" not in event:
        return event
    return event if event.get("type") == "error" else None


def _repeats(event: Mapping[str, Any]) -> bool:
    """Whether it says again what its deltas said: the closing events of OpenAI responses do."""
    kind = event.get("type")
    return isinstance(kind, str) and kind.startswith("response.") and not kind.endswith(_NEW)


def _parsed(block: bytes) -> Mapping[str, Any] | None:
    """The JSON object in the data lines of one event."""
    data = b"\n".join(line[5:].strip() for line in block.splitlines() if line.startswith(b"data:"))
    if not data.startswith(b"{"):
        return None
    try:
        event = json.loads(data)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def event_tokens(event: Mapping[str, Any]) -> int:
    """About how many tokens of output one event of a stream adds."""
    return 0 if _repeats(event) else _text_tokens(event, 0)


def generated_tokens(answer: Mapping[str, Any]) -> int:
    """About how many tokens of output a whole answer holds."""
    return sum(_text_tokens(answer.get(name), 0, name) for name in ("choices", "output", "content"))


def _text_tokens(value: object, depth: int, name: str = "") -> int:
    """About how many tokens of generated text are in an event."""
    if depth > _MAX_DEPTH:
        return 0
    if isinstance(value, str):
        return likely_tokens(value) if name in _TEXTS else 0
    if isinstance(value, Mapping):
        if name == "input" and value:  # a tool's arguments, whatever they are called
            return likely_tokens(json.dumps(value, ensure_ascii=False, default=str))
        # A call of a tool has a name that the model wrote, too.
        called = value.get("name") if "arguments" in value or "input" in value else None
        count = likely_tokens(called) if isinstance(called, str) else 0
        thought = next((key for key in _THOUGHTS if value.get(key)), None)
        for key, item in value.items():
            if key not in _NOT_TEXT and (key == thought or key not in _THOUGHTS):
                count += _text_tokens(item, depth + 1, key)
        return count
    if isinstance(value, list):
        return sum(_text_tokens(item, depth + 1, name) for item in value)
    return 0
