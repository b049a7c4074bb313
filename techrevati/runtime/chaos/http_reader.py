"""HTTP/1.1 requests out of a stream of bytes, however it is cut into pieces.

No socket and no clock.  What a request may take is bounded: 64 KiB for its head and for what frames a
chunked body, *max_body_bytes* for the body.  What two readers could understand differently (two lengths, a
length beside chunks, folded lines, a space before a colon) is refused, as RFC 9112 asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from techrevati.runtime._core.errors import TechrevatiError

MAX_HEAD_BYTES = 65_536
_MAX_LINE_BYTES = 4_096  # of a chunk's size and extensions
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = b"0123456789abcdefABCDEF"
_ONCE = ("content-length", "transfer-encoding", "host")


class MalformedRequestError(TechrevatiError, ValueError):
    """These bytes are no request that can be answered in order; the connection must end.

    Attributes:
        status: The HTTP status that says why.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason, status)
        self.reason = reason
        self.status = status

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; *too_large* means that its body was not read and the connection cannot go on."""

    method: str
    target: str
    modern: bool  # HTTP/1.1, not 1.0
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    too_large: bool = False

    @property
    def keep_open(self) -> bool:
        """Whether the client wants to go on with this connection."""
        wishes = [one.strip() for one in self.headers.get("connection", "").lower().split(",")]
        return "close" not in wishes and (self.modern or "keep-alive" in wishes)


class RequestReader:
    """Give it bytes with :meth:`feed`, take requests with :meth:`taken`."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._scanned = 0  # no end of a head begins before
        self._head: HttpRequest | None = None
        self._chunks: _Chunks | None = None
        self._missing = 0
        self._over = False

    def feed(self, data: bytes) -> None:
        """Take more bytes; after the last request they are thrown away."""
        if not self._over:
            self._buffer += data

    @property
    def held_bytes(self) -> int:
        """Bytes that came and are not part of a request yet."""
        return len(self._buffer)

    @property
    def begun(self) -> bool:
        """True when a part of a request is there."""
        return bool(self._buffer or self._head)

    @property
    def waits_for_body(self) -> bool:
        """True when a head is there whose client waits for a word before it sends the body."""
        head = self._head
        return head is not None and head.modern and head.headers.get("expect", "").lower() == "100-continue"

    def taken(self) -> HttpRequest | None:
        """The next request once all of it is there.

        Raises:
            MalformedRequestError: What came is no request.
        """
        if self._over:
            return None
        if self._head is None and not self._head_read():
            return None
        head = self._head
        assert head is not None
        if self._chunks is not None:
            done = self._chunks.read(self._buffer)
            body = bytes(self._chunks.body) if done else b""
            large = self._chunks.too_large
        else:
            large = self._missing > self._max_body_bytes
            done = not large and len(self._buffer) >= self._missing
            body = bytes(self._buffer[: self._missing]) if done else b""
            if done:
                del self._buffer[: self._missing]
        if large:
            self._over = True
            self._buffer.clear()
        elif not done:
            return None
        self._head = self._chunks = None
        return HttpRequest(head.method, head.target, head.modern, head.headers, body, large)

    def _head_read(self) -> bool:
        while self._buffer.startswith(b"\r\n"):  # some clients put an empty line between requests
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", self._scanned)
        if end < 0 or end > MAX_HEAD_BYTES:
            if end > 0 or len(self._buffer) > MAX_HEAD_BYTES:
                raise MalformedRequestError("the head of the request is too large")
            self._scanned = max(0, len(self._buffer) - 3)
            return False
        self._scanned = 0
        head = _head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length")
        if coding is not None:
            if length is not None or not head.modern:
                raise MalformedRequestError("transfer-encoding stands beside a length or in HTTP/1.0")
            if coding.lower() != "chunked":
                raise MalformedRequestError("this transfer-encoding is not known", 501)
            self._chunks = _Chunks(self._max_body_bytes)
        elif length is not None and not (length.isascii() and length.isdecimal() and len(length) <= 18):
            raise MalformedRequestError("content-length is no number")
        self._missing = int(length or 0)
        self._head = head
        return True


class _Chunks:
    """A chunked body, read as far as it has come."""

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self.too_large = False
        self._limit = limit
        self._left: int | None = None  # of the chunk under way; None before its size is known
        self._trailing = False
        self._framing_bytes = 0

    def read(self, buffer: bytearray) -> bool:
        """Take from *buffer* what belongs to the body; True when all of it is there."""
        while not self.too_large:
            if self._left is None:
                line = self._line(buffer)
                if line is None:
                    return False
                if self._trailing:
                    if not line:
                        return True
                    continue
                self._left = self._size(line)
                if self._left == 0:
                    self._trailing, self._left = True, None
                self.too_large = len(self.body) + (self._left or 0) > self._limit
                continue
            part = buffer[: self._left]
            self.body += part
            del buffer[: len(part)]
            self._left -= len(part)
            if self._left or len(buffer) < 2:
                return False
            if buffer[:2] != b"\r\n":
                raise MalformedRequestError("a chunk is longer than it says")
            del buffer[:2]
            self._left = None
        return False

    def _line(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\r\n", 0, _MAX_LINE_BYTES + 2)
        if end < 0:
            if len(buffer) > _MAX_LINE_BYTES:
                raise MalformedRequestError("a chunk's size has no end")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        # Sizes and trailers without end would be a body without end.
        self._framing_bytes += len(line) + 2 if self._trailing else len(line.lstrip(_HEX))
        if self._framing_bytes > MAX_HEAD_BYTES:
            raise MalformedRequestError("chunk extensions and trailers are too large")
        return line

    @staticmethod
    def _size(line: bytes) -> int:
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 16 or not all(one in _HEX for one in digits):
            raise MalformedRequestError("a chunk's size is no number")
        return int(digits, 16)


def _head(raw: bytes) -> HttpRequest:
    start, *lines = raw.split(b"\r\n")
    parts = start.split(b" ")
    if len(parts) != 3 or not parts[0] or not parts[1] or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise MalformedRequestError("the first line is none of HTTP/1.1")
    if not all(one in _TOKEN for one in parts[0]) or not parts[1].isascii():
        raise MalformedRequestError("the first line has characters that do not belong there")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not all(one in _TOKEN for one in name) or b"\0" in value:
            raise MalformedRequestError("a header is no header")
        key, text = name.decode().lower(), value.decode("latin-1").strip(" \t")
        if key in _ONCE and headers.get(key, text) != text:
            raise MalformedRequestError(f"{key} is there twice")
        headers[key] = text
    return HttpRequest(parts[0].decode(), parts[1].decode(), parts[2] == b"HTTP/1.1", headers)
