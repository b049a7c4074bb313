"""One client's connection: read requests, carry out plans, notice when the client goes away.

Runs in the server's one event loop.  Waiting costs no thread, so hundreds of stalled streams are cheap.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import struct
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.bill import Outcome
from techrevati.runtime.chaos.endpoint import Endpoint, Request
from techrevati.runtime.chaos.plan import Framing, HangUp, Plan, Send, Wait

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_HEAD_BYTES = 65_536
MAX_TAG_LENGTH = 512
IDLE_S = 75.0
LAST_S = 5.0  # for a client to read its refusal while it still sends
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; requests on one connection are answered one after the other."""

    def __init__(
        self,
        endpoint: Endpoint,
        number: int,
        *,
        pause: Callable[[float], Awaitable[None]],
        max_body_bytes: int,
        api_key: str | None,
        closed: Callable[[Connection], None],
    ) -> None:
        self._endpoint = endpoint
        self._number = number
        self._pause = pause
        self._max_body_bytes = max_body_bytes
        self._api_key = api_key
        self._closed = closed
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.gone: asyncio.Event = asyncio.Event()
        self._unwanted = False
        self._idle: asyncio.TimerHandle | None = None
        self._continued = False
        self._ending = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._unwanted:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._buffer += data
        if len(self._buffer) > MAX_HEAD_BYTES + self._max_body_bytes and self._transport:
            self._transport.pause_reading()
        self._next()

    def eof_received(self) -> bool:
        # Clients of HTTP do not close one half only: whoever stops sending is gone.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if self._idle:
            self._idle.cancel()
        if self._task:
            self._task.cancel()
        self._closed(self)
        self.gone.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close(self, *, at_once: bool = False) -> None:
        """Hang up: after what is written already has left, or at once."""
        if self._transport is None:
            self._unwanted = True  # it is just being made; see connection_made
            return
        if at_once or self._task:
            self._transport.abort()
        else:
            self._transport.close()

    # Requests.

    def _watch(self) -> None:
        """Hang up on a client that says nothing for long while it is its turn."""
        if self._idle:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(LAST_S if self._ending else IDLE_S, self.close)

    def _next(self) -> None:
        if self._task is not None or self._transport is None:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._reject()
            return
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        start = lines[0].split(" ")
        headers = _headers(lines[1:])
        length = headers.get("content-length", "0")
        if (
            len(start) != 3
            or not start[2].startswith("HTTP/1.")
            or not length.isdecimal()
            or len(length) > 18
        ):
            self._reject()
            return
        size = int(length)
        too_large = size > self._max_body_bytes or "transfer-encoding" in headers
        if not too_large and len(self._buffer) < end + 4 + size:
            if headers.get("expect", "").lower() == "100-continue" and not self._continued:
                self._continued = True
                self._transport.write(CONTINUE)
            return
        body = b"" if too_large else bytes(self._buffer[end + 4 : end + 4 + size])
        if too_large:
            self._buffer.clear()
        else:
            del self._buffer[: end + 4 + size]
        self._continued = False
        modern = start[2] == "HTTP/1.1"
        wish = headers.get("connection", "").lower()
        request = Request(
            method=start[0],
            path=_path(start[1]),
            body=body,
            connection=self._number,
            tag=headers.get("x-client-request-id", "")[:MAX_TAG_LENGTH],
            key_ok=self._key_ok(headers),
            framing=Framing(modern, "close" not in wish and (modern or "keep-alive" in wish)),
            too_large=too_large,
        )
        if self._idle:
            self._idle.cancel()
        # In the books before anything else can happen: a client may go away before the task has begun.
        sequence, plan = self._endpoint.answered(request)
        self._ending = too_large
        self._task = asyncio.get_running_loop().create_task(self._carry_out(sequence, plan))
        self._task.add_done_callback(lambda task: self._finished(task, sequence, plan))

    def _reject(self) -> None:
        if self._transport:
            self._transport.write(_BAD_REQUEST)
            self._transport.close()

    def _key_ok(self, headers: dict[str, str]) -> bool:
        if self._api_key is None:
            return True
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._api_key.encode())

    def _finished(self, task: asyncio.Task[None], sequence: int, plan: Plan) -> None:
        """The response is over, or the client is; or the given sleep raised, which ends the connection."""
        failed = not task.cancelled() and task.exception() is not None
        self._endpoint.books.settled(sequence, Outcome.ABORTED, self._endpoint.now_s())
        self._task = None
        if self._transport is None:
            return
        self._watch()
        if self._ending and self._transport.can_write_eof():
            # The rest of a refused body is read and thrown away: hanging up now could destroy the answer.
            self._transport.resume_reading()
            self._transport.write_eof()
        elif plan.keep_open and not failed:
            self._transport.resume_reading()
            self._next()
        else:
            self._transport.close()

    async def _carry_out(self, sequence: int, plan: Plan) -> None:
        """Send, wait, hang up. What is written in one go was generated in one go; the books know of it, and
        of the end, before the client can."""
        books = self._endpoint.books
        ready = bytearray()
        tokens: int | None = None
        for number, step in enumerate(plan.steps, 1):
            last = number == len(plan.steps)
            if isinstance(step, Send):
                ready += step.data
                tokens = step.tokens
                if not last:
                    continue
            if tokens is not None:
                books.generated(sequence, tokens)
            if last:
                books.settled(sequence, plan.outcome, self._endpoint.now_s())
            await self._write(ready)
            ready.clear()
            if isinstance(step, Wait):
                await self._pause(step.seconds)
            elif isinstance(step, HangUp):
                self._hang_up(step.reset)

    async def _write(self, data: bytearray) -> None:
        if data and self._transport:
            self._transport.write(bytes(data))
            await self._writable.wait()

    def _hang_up(self, reset: bool) -> None:
        if self._transport is None:
            return
        if reset:
            raw = self._transport.get_extra_info("socket")
            # Closing with a linger time of zero makes the kernel send a reset instead of a farewell.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()


def _headers(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    return found


def _path(target: str) -> str:
    """The path of a request target without host, query and fragment; keys may hide in a query."""
    if "://" in target:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    return target.partition("?")[0].partition("#")[0].rstrip("/") or "/"
