"""From what an SDK returned to what it used: read it, or listen to what is not read yet.

The SDKs return a model, a raw response, or something that reads on.  The last two hold the HTTP response;
where its body is still to come, the two methods that all reading goes through, and closing, are wrapped on
that one response.
"""

from __future__ import annotations

import weakref
from _thread import get_ident
from typing import TYPE_CHECKING

from techrevati.runtime.integrations.answer_tap import AnswerTap, generated_tokens
from techrevati.runtime.pricing import output_limit
from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.physical_request import PhysicalRequest


# Where the SDKs, and the HTTP library for them, make a request ready before it is sent.
_BEFORE_SENDING = frozenset(
    {"_prepare_options", "_build_request", "_prepare_request", "sync_auth_flow", "async_auth_flow"}
)


def was_not_sent(error: BaseException) -> bool:
    """Whether an SDK raised *error* while it made the request ready: a body that is no JSON, a key or a token
    that nobody gave.
    """
    for one in (error, error.__cause__):
        step = None if one is None else one.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_name in _BEFORE_SENDING:
                return True
            step = step.tb_next
    return False


def http_response_of(result: Any, *, raw: bool, stream: bool) -> Any:
    """The HTTP response inside what an SDK returned; None when it is an ordinary model."""
    if raw:
        return getattr(result, "http_response", None)
    if _is_response(result):  # asked for with cast_to=
        return result
    return getattr(result, "response", None) if stream else None


def _is_response(found: object) -> bool:
    return type(getattr(found, "is_closed", None)) is bool and hasattr(found, "aiter_bytes")


def _response_inside(answer: object) -> Any:
    for name in ("http_response", "response"):
        http = getattr(answer, name, None)
        if _is_response(http):
            return http
    return None


def unread_inside(answer: object) -> Any:
    """The HTTP response inside a stream or a raw response of an SDK, if its body is still to come."""
    http = _response_inside(answer)
    return None if http is None or http.is_closed else http


def body_inside(answer: object) -> bytes | None:
    """The body of the HTTP response inside a raw response of an SDK, if it was read."""
    http = _response_inside(answer)
    try:
        return http.content if http is not None and http.is_closed else None
    except Exception:  # closed before it was read
        return None


def usage_of(answer: object) -> UsageSnapshot | None:
    """What an answer says it used; None when it says nothing."""
    try:
        return UsageSnapshot.from_response(answer)
    except UsageNotFoundError:
        return None


def surely_says_usage(answer: object) -> bool:
    """Whether an answer, as a model of its SDK, says what it used, seen without reading it; False where only
    reading shows it."""
    # Where models keep their values: to ask one for an attribute that it has not costs more than all this.
    said = getattr(getattr(answer, "usage", None), "__dict__", None)
    if type(said) is not dict:
        return False
    given = said.get("prompt_tokens")
    if given is None:
        given = said.get("input_tokens")
        if type(said.get("output_tokens")) is not int:
            return False
    return type(given) is int and given >= 0


def estimate_of(answer: object, request: ModelRequest) -> UsageSnapshot:
    """What an answer without a usage has used: about what was sent, and about what it says.

    A response that is only begun, in the background, may still use all that it is allowed.
    """
    from techrevati.runtime.integrations.contents import plain

    said = plain(answer) or {}
    generated = generated_tokens(said)
    if said.get("status") in _UNDER_WAY:
        generated = max(generated, _most(request))
    return UsageSnapshot(request.likely_input_tokens, generated)


def _most(request: ModelRequest) -> int:
    """The most that all its answers together can hold; 0 when nobody knows."""
    most = request.max_output_tokens
    if most is None and request.model is not None:
        most = output_limit(request.model, provider=request.price_provider)
    return (most or 0) * request.answers


class Listener:
    """Ends one physical request when the body of its answer ends, however that comes about."""

    __slots__ = ("__weakref__", "_bytes", "_finalizer", "_left", "_made", "_pulling", "_tap")

    def __init__(self, made: PhysicalRequest, http: Any, *, hide_usage: bool) -> None:
        kind = str(http.headers.get("content-type", ""))
        events = "event-stream" in kind
        self._made = made
        frames = "amazon.eventstream" in kind
        self._bytes = None if events else _body_bytes(http.headers)
        self._tap = AnswerTap(events=events, hide_usage=hide_usage, answered=made.answered, frames=frames)
        self._pulling: object = None  # the thread or the task that waits for a chunk
        self._left = False  # another one closed it meanwhile
        # One that nobody reads or closes is settled when it is thrown away.
        self._finalizer = weakref.finalize(http, self._closed)

    def attach(self, http: Any) -> None:
        """Listen to a response that is read synchronously."""
        iter_bytes, close = http.iter_bytes, http.close

        def tapped(chunk_size: int | None = None) -> Iterator[bytes]:
            return self._passed(iter_bytes(chunk_size))

        def closed() -> None:
            if self._pulling is not None and self._pulling != get_ident():
                self._left = True
            try:
                close()
            finally:
                if self._pulling is None and self._finalizer.alive:  # else it has ended
                    self._closed()

        http.iter_bytes, http.close = tapped, closed

    def aattach(self, http: Any) -> None:
        """Listen to a response that is read asynchronously."""
        aiter_bytes, aclose = http.aiter_bytes, http.aclose

        def tapped(chunk_size: int | None = None) -> AsyncIterator[bytes]:
            return self._apassed(aiter_bytes(chunk_size))

        async def closed() -> None:
            if self._pulling is not None and self._pulling is not _task():
                self._left = True
            try:
                await aclose()
            except BaseException:
                self._closed()
                raise
            if self._pulling is None and self._finalizer.alive:
                await self._aclosed()

        http.aiter_bytes, http.aclose = tapped, closed

    def _passed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        tap, made = self._tap, self._made
        timed = made.timed
        while True:
            self._pulling = get_ident()
            try:
                if timed:
                    made.check_time()
                chunk = next(chunks)
            except StopIteration:
                break
            except BaseException as error:
                self._failed(error)
                raise
            finally:
                self._pulling = None
            passed = tap.feed(chunk)
            if passed:
                yield passed
        rest = tap.finish()
        self._finished()
        if rest:
            yield rest

    async def _apassed(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        tap, made = self._tap, self._made
        timed = made.timed
        while True:
            self._pulling = _task()
            try:
                chunk = await (made.in_time(anext(chunks)) if timed else anext(chunks))
            except StopAsyncIteration:
                break
            except BaseException as error:
                self._finalizer.detach()
                if self._left and isinstance(error, Exception):
                    await self._made.aabandon(self._estimate())
                else:
                    await self._made.afail(tap.error or error, self._estimate())
                raise
            finally:
                self._pulling = None
            passed = tap.feed(chunk)
            if passed:
                yield passed
        rest = tap.finish()
        await self._end(self._made.afinish, self._made.afail)
        if rest:
            yield rest

    # --- ending ---------------------------------------------------------------------------------------------

    def _end(self, finish: Callable[..., Any], fail: Callable[..., Any]) -> Any:
        """The body was read to its end."""
        self._finalizer.detach()
        tap = self._tap
        if tap.error is not None:
            return fail(tap.error, tap.usage() if tap.complete else self._estimate(), measured=tap.complete)
        if tap.complete:
            return finish(tap.usage())
        return finish(self._estimate(), measured=False)

    def _finished(self) -> None:
        self._end(self._made.finish, self._made.fail)

    def _failed(self, error: BaseException) -> None:
        self._finalizer.detach()
        if self._left and isinstance(error, Exception):  # its reader ended it
            self._made.abandon(self._estimate())
        else:
            self._made.fail(self._tap.error or error, self._estimate())

    def _closed(self) -> None:
        """Somebody closed it: at its end, or before."""
        tap = self._tap
        if tap.complete or tap.ended or tap.error is not None:
            self._finished()
        else:
            self._finalizer.detach()
            self._made.abandon(self._estimate())

    async def _aclosed(self) -> None:
        tap = self._tap
        if tap.complete or tap.ended or tap.error is not None:
            await self._end(self._made.afinish, self._made.afail)
        else:
            self._finalizer.detach()
            await self._made.aabandon(self._estimate())

    def _estimate(self) -> UsageSnapshot:
        """What an answer that was cut off has used: the input it named, or all that was sent; what came."""
        if self._tap.silent:
            return estimate_of(self._tap.silent, self._made.request)
        known = self._tap.usage()
        generated = max(known.output_tokens, self._tap.generated_tokens())
        if not self._tap.events:  # it was generated whole before its first byte came
            generated = max(generated, self._unread())
        if known == _NOTHING:
            return UsageSnapshot(self._made.request.likely_input_tokens, generated)
        from dataclasses import replace

        return replace(known, output_tokens=generated)

    def _unread(self) -> int:
        """About how many tokens a whole answer holds that was not read to its end."""
        request = self._made.request
        most = _most(request)
        if self._bytes is None:
            return most
        said = -(-self._bytes // _BYTES_PER_TOKEN)
        return min(said, most) if most or request.max_output_tokens == 0 else said


def _task() -> object:
    """The task that runs here; something else where there is none."""
    import asyncio

    try:
        return asyncio.current_task() or _NO_TASK
    except RuntimeError:  # another library's loop
        return _NO_TASK


def _body_bytes(headers: Any) -> int | None:
    """How long a body is that nobody read; None when its headers do not say."""
    length = headers.get("content-length")
    if headers.get("content-encoding") is not None or length is None or not str(length).isdecimal():
        return None
    return int(length)


_NO_TASK = object()
_NOTHING = UsageSnapshot()
_BYTES_PER_TOKEN = 4
_UNDER_WAY = ("queued", "in_progress")
