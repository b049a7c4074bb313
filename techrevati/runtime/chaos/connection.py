"""One client's connection: read requests, carry out plans, notice when the client goes away.

Runs in the server's one event loop.  Waiting costs no thread, so hundreds of stalled streams are cheap.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import struct
import sys
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.bill import Outcome
from techrevati.runtime.chaos.credentials import Credentials, key_in
from techrevati.runtime.chaos.endpoint import Endpoint, Request
from techrevati.runtime.chaos.http_reader import (
    MAX_HEAD_BYTES,
    HttpRequest,
    MalformedRequestError,
    RequestReader,
)
from techrevati.runtime.chaos.plan import Framing, HangUp, Plan, Send, Wait

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_TAG_LENGTH = 512
IDLE_S = 75.0
LAST_S = 5.0  # for a client to read its refusal while it still sends
PROBED_S = (0.002, 0.1, 1.0)  # when the answer to a probe is looked for
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSED = 7  # a TCP state of Linux


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
        credentials: Credentials,
        closed: Callable[[Connection], None],
    ) -> None:
        self._endpoint = endpoint
        self._number = number
        self._pause = pause
        self._max_held_bytes = MAX_HEAD_BYTES + max_body_bytes
        self._reader = RequestReader(max_body_bytes)
        self._api_key = api_key
        self._credentials = credentials
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.gone: asyncio.Event = asyncio.Event()
        self._unwanted = False
        self._idle: asyncio.TimerHandle | None = None
        self._continued = False
        self._ending = False
        self._half_closed = False

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
        self._reader.feed(data)
        if self._reader.held_bytes > self._max_held_bytes and self._transport:
            self._transport.pause_reading()
        self._next()

    def eof_received(self) -> bool:
        """The client sends no more. It may still read (a half-closed connection), or be gone."""
        self._half_closed = True
        if self._task is None:
            return False
        self._probe()
        return True

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
        after_s = LAST_S if self._ending else IDLE_S
        self._idle = asyncio.get_running_loop().call_later(after_s, self._waited)

    def _waited(self) -> None:
        if self._reader.begun and not self._ending:
            self._reject(MalformedRequestError("the request took too long to come", 408))
        else:
            self.close()

    def _next(self) -> None:
        if self._task is not None or self._transport is None or self._transport.is_closing():
            return
        try:
            came = self._reader.taken()
        except MalformedRequestError as error:
            self._reject(error)
            return
        if came is None:
            if self._half_closed:
                self._transport.close()
            elif self._reader.waits_for_body and not self._continued:
                self._continued = True
                self._transport.write(CONTINUE)
            return
        self._continued = False
        if self._idle:
            self._idle.cancel()
        # In the books before anything else can happen: a client may go away before the task has begun.
        sequence, plan = self._endpoint.answered(self._request(came))
        self._ending = came.too_large
        self._task = asyncio.get_running_loop().create_task(self._carry_out(sequence, plan))
        self._task.add_done_callback(lambda task: self._finished(task, sequence, plan))

    def _request(self, came: HttpRequest) -> Request:
        headers = came.headers
        key = key_in(headers)
        tag = headers.get("idempotency-key") or headers.get("x-client-request-id", "")
        return Request(
            method=came.method,
            path=_path(came.target),
            query=came.target.partition("?")[2].partition("#")[0],
            body=came.body,
            connection=self._number,
            tag=tag[:MAX_TAG_LENGTH],
            retry=_count(headers.get("x-stainless-retry-count", "")),
            key_ok=self._api_key is None
            or hmac.compare_digest(key.encode("utf-8", "replace"), self._api_key.encode("utf-8", "replace")),
            credential=self._credentials.number(key),
            framing=Framing(came.modern, came.keep_open),
            too_large=came.too_large,
        )

    def _reject(self, error: MalformedRequestError) -> None:
        """Say what is wrong and hang up, once the client has stopped sending or has had time to read."""
        if self._transport is None:
            return
        self._ending = True
        self._transport.write(self._endpoint.rejection(error))
        self._part()

    def _part(self) -> None:
        """The last answer is out; what still comes is thrown away, as hanging up now could destroy it."""
        if self._transport is None:
            return
        self._watch()
        if self._half_closed or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.resume_reading()
            self._transport.write_eof()

    def _probe(self) -> None:
        """Find out whether a client that sends no more is gone: its system then answers a byte with a reset.

        The byte is out of band, so that a client that only closed its half reads its answer as it is.
        """
        if self._transport is None or self._transport.get_write_buffer_size():
            return  # what is being sent will tell
        try:
            with self._transport.get_extra_info("socket").dup() as raw:
                raw.send(b"\0", socket.MSG_OOB)
        except BlockingIOError:
            return
        except (ConnectionError, OSError):
            self._transport.abort()
            return
        for after_s in PROBED_S:
            asyncio.get_running_loop().call_later(after_s, self._probed)

    def _probed(self) -> None:
        if self._transport is None:
            return
        raw = self._transport.get_extra_info("socket")
        gone = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        if not gone and sys.platform == "linux":
            gone = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED
        if gone:
            self._transport.abort()

    def _finished(self, task: asyncio.Task[None], sequence: int, plan: Plan) -> None:
        """The response is over, or the client is; or the given sleep raised, which ends the connection."""
        failed = not task.cancelled() and task.exception() is not None
        self._endpoint.books.settled(sequence, Outcome.ABORTED, self._endpoint.now_s())
        self._task = None
        if self._transport is None:
            return
        if self._ending:
            self._part()
        elif plan.keep_open and not failed:
            self._watch()
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


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


def _path(target: str) -> str:
    """The path of a request target without host, query and fragment; keys may hide in a query."""
    if "://" in target:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    return target.partition("?")[0].partition("#")[0].rstrip("/") or "/"
