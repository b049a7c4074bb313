"""One call of an SDK client on its way through the SDK: what is changed in it, and what came of it.

The SDK's own retries are turned off for it, by request; each pass through the SDK's method is one physical
request, which ends with its answer or with its error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import copy
from itertools import count
from typing import TYPE_CHECKING

from techrevati.runtime.integrations.answers import (
    Listener,
    estimate_of,
    http_response_of,
    surely_says_usage,
    usage_of,
    was_not_sent,
)
from techrevati.runtime.integrations.client_copies import connected_copy
from techrevati.runtime.integrations.client_middleware import Innermost
from techrevati.runtime.integrations.model_request import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    read_request,
)
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage.common import common

if TYPE_CHECKING:
    from typing import Any

    from techrevati.runtime.integrations.contents import Answered
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.integrations.sdk_clients import Seam

GUARD = "_techrevati_guard"  # on a guarded client
_RAW = "x-stainless-raw-response"
_HELPERS = ("x-stainless-helper-method", "x-stainless-stream-helper", "x-stainless-helper")
_SHAPING = frozenset((_RAW, *_HELPERS))
_RETRY_COUNT = "x-stainless-retry-count"
_KEY = "stainless-python-retry-"
_NO_HEADERS: Mapping[str, Any] = {}
_NOT_GIVEN = frozenset(("NotGiven", "Omit", "NoneType"))  # the SDKs' placeholders, and None
_CREATE = {api: f"{api}.create" for api in (CHAT, RESPONSES, EMBEDDINGS, COMPLETIONS, MESSAGES)}
_SAID = UsageSnapshot()  # stands for a usage that is there and was not read


class SdkCall:
    """One call on its way through the SDK."""

    __slots__ = ("_answer", "_answered", "_cast_to", "_client", "_hide_usage", "_middleware",
                 "_options", "_plain", "_raw", "_seam", "_stream", "_stream_cls", "_timeout", "_unparsed",
                 "_unread", "once", "request")  # fmt: skip

    def __init__(
        self,
        seam: Seam,
        api: str,
        body: Mapping[str, object],
        cast_to: Any,
        options: Any,
        stream: bool,
        stream_cls: Any,
    ) -> None:
        self.once: bool = False  # nothing is tried again
        self._seam = seam
        self._client = seam.client
        self._plain = seam.plain
        self._middleware = seam.middleware
        self._cast_to = cast_to
        self._stream = stream
        self._stream_cls = stream_cls
        self._answer: UsageSnapshot | None = None
        self._answered: Answered | None = None
        self._options = options = copy(options)
        headers = options.headers
        low = _NO_HEADERS
        if type(headers).__name__ not in _NOT_GIVEN and isinstance(headers, Mapping):
            low = {name.lower(): value for name, value in headers.items()}
        self._raw = bool(low.get(_RAW))
        extra = options.extra_json
        whole = body
        if api == MESSAGES:  # there the SDK leaves a placeholder for everything that the program did not say
            whole = {name: value for name, value in body.items() if type(value).__name__ not in _NOT_GIVEN}
        if extra and isinstance(extra, Mapping):
            whole = {**whole, **extra}
        self._hide_usage = stream and api == CHAT and seam.ask_usage and _silent(whole)
        if self._hide_usage:
            asked = whole.get("stream_options")
            asked = (
                {**asked, "include_usage": True} if isinstance(asked, Mapping) else {"include_usage": True}
            )
            options.json_data = {**body, "stream_options": asked}
            if isinstance(extra, Mapping) and "stream_options" in extra:
                options.extra_json = {**extra, "stream_options": asked}
        # By their names and not by assignment, which pydantic makes five steps of.
        told = options.__dict__
        told["max_retries"] = 0  # ours go around
        if options.idempotency_key is None:
            told["idempotency_key"] = _new_key()  # one for all attempts
        self._timeout = options.timeout
        self._unparsed = self._raw or stream or getattr(cast_to, "__name__", "") == "Response"
        parse = getattr(options, "post_parser", None)
        parsed = callable(parse)
        if parsed and not self._raw:
            options.post_parser = self._heard(parse)
        plain = not (parsed or stream) and _SHAPING.isdisjoint(low)
        shape = _CREATE[api] if plain else _shape(api, low, stream, parsed)
        self.request: ModelRequest = self._read(api, whole, shape)

    def _read(self, api: str, body: Mapping[str, object], shape: str | None = None) -> ModelRequest:
        """What *body* asks for."""
        facts = self._seam.facts
        return read_request(
            api,
            body,
            provider=facts.provider,
            shape=self.request.shape if shape is None else shape,
            price_provider=facts.price_provider,
            credential_id=facts.credential_id(self._client),
            server=facts.server,
        )

    def _heard(self, parse: Any) -> Any:
        """The SDK's parser of answers, which may refuse one that is paid for."""

        def hearing(answer: Any) -> Any:
            self._answer = self._used(answer)
            self._hear(answer)
            return parse(answer)

        return hearing

    def _hear(self, answer: object) -> None:
        """Where contents are told, what an answer says that is there at once."""
        if self._answered is not None and answer is not None:
            self._answered.whole(answer)

    def _prepare(self, made: PhysicalRequest) -> None:
        """What of the options another attempt and a deadline change."""
        options = self._options
        if made.number > 1:
            headers = options.headers if isinstance(options.headers, Mapping) else {}
            options.headers = {**headers, _RETRY_COUNT: str(made.number - 1)}
        left_s = made.left_s
        if left_s is not None:
            given = self._timeout
            if given is not None and not isinstance(given, (int, float)) and not hasattr(given, "read"):
                given = self._client.timeout  # the request does not say
            options.timeout = _shortened(given, left_s)

    def send(self, made: PhysicalRequest) -> Any:
        """:meth:`sent` by a client with credentials: a second time where only its token was too old."""
        try:
            return self.sent(made)
        except Exception as error:
            if not self._has_new_token(error, made):
                raise
            made.fail(error)
        again = self._seam.guarding.begin(self.request, made.number + 1)
        try:
            return self.sent(again)
        except BaseException as error:
            again.fail(error)
            raise

    async def asend(self, made: PhysicalRequest) -> Any:
        """:meth:`send` for tasks."""
        try:
            return await self.asent(made)
        except Exception as error:
            if not self._has_new_token(error, made):
                raise
            await made.afail(error)
        again = await self._seam.guarding.abegin(self.request, made.number + 1)
        try:
            return await self.asent(again)
        except BaseException as error:
            await again.afail(error)
            raise

    def _has_new_token(self, error: Exception, made: PhysicalRequest) -> bool:
        """Whether the SDK threw away a token that was refused, as it does when it tries again by itself."""
        if getattr(error, "status_code", None) != 401 or made.number > 1 or self.once:
            return False
        throws_away = getattr(self._client, "_should_retry", None)
        response = getattr(error, "response", None)
        return callable(throws_away) and response is not None and bool(throws_away(response))

    def sent(self, made: PhysicalRequest) -> Any:
        """One physical request of a synchronous client."""
        if made.number > 1 or made.timed:
            self._prepare(made)
        if self._middleware:
            inside = self._inside(made)
            try:
                result = self._behind(inside.handle)
            finally:
                inside.leave()
            self._http(result, made)
            return result
        self._answer, self._answered, self._unread = None, made.answered, made.unread
        try:
            result = self._plain(
                self._cast_to, self._options, stream=self._stream, stream_cls=self._stream_cls
            )
        except Exception as error:
            if self._answer is not None:  # the provider did its part
                made.finish(self._answer)
            elif was_not_sent(error):
                made.unsent()
            raise
        http = self._http(result, made) if self._unparsed else None
        if http is not None and not http.is_closed:
            Listener(made, http, hide_usage=self._hide_usage).attach(http)
        else:
            usage = self._usage(result, http)
            if usage is not None:
                made.finish(usage)
            else:
                made.finish(self._estimate(result, http), measured=False)
        return result

    async def asent(self, made: PhysicalRequest) -> Any:
        """:meth:`sent` for tasks."""
        if made.number > 1 or made.timed:
            self._prepare(made)
        if self._middleware:
            inside = self._inside(made)
            try:
                step = self._behind(inside.ahandle)
                result = await (made.in_time(step) if made.timed else step)
            finally:
                await inside.aleave()
            self._http(result, made)
            return result
        self._answer, self._answered, self._unread = None, made.answered, made.unread
        try:
            step = self._plain(self._cast_to, self._options, stream=self._stream, stream_cls=self._stream_cls)
            result = await (made.in_time(step) if made.timed else step)
        except Exception as error:
            if self._answer is not None:
                await made.afinish(self._answer)
            elif was_not_sent(error):
                await made._aunsent()
            raise
        http = self._http(result, made) if self._unparsed else None
        if http is not None and not http.is_closed:
            Listener(made, http, hide_usage=self._hide_usage).aattach(http)
        else:
            usage = self._usage(result, http)
            if usage is None:
                await made.afinish(self._estimate(result, http), measured=False)
            elif made.blocks:
                await made.afinish(usage)
            else:
                made.finish(usage)
        return result

    def _inside(self, made: PhysicalRequest) -> Innermost:
        self._answer = self._answered = None
        self._unread = True
        return Innermost(self._seam.guarding, made, self._options.json_data, self._read)

    def _behind(self, innermost: Any) -> Any:
        """The SDK's ``request`` with *innermost* behind the middleware of the client."""
        client = connected_copy(self._client, middleware=[*self._middleware, innermost])
        setattr(client, GUARD, self._seam)
        send = self._plain.__func__
        return send(client, self._cast_to, self._options, stream=self._stream, stream_cls=self._stream_cls)

    def _http(self, result: Any, made: PhysicalRequest) -> Any:
        if self._raw and made.number > 1 and hasattr(result, "retries_taken"):
            result.retries_taken = made.number - 1
        return http_response_of(result, raw=self._raw, stream=self._stream)

    def _usage(self, result: Any, http: Any) -> UsageSnapshot | None:
        if self._answer is not None:
            return self._answer
        answer = result if http is None else http.content
        if self._answered is not None:
            self._hear(answer)
        return self._used(answer)

    def _used(self, answer: object) -> UsageSnapshot | None:
        """What *answer* says it used; of one that nobody asks about, only whether it does."""
        if self._unread:
            return _SAID if surely_says_usage(answer) else usage_of(answer)
        used = common(answer)  # what usage_of asks first, without the steps to it
        return usage_of(answer) if used is None else used

    def _estimate(self, result: Any, http: Any) -> UsageSnapshot:
        """What an answer that names no usage has used."""
        return estimate_of(result if http is None else http.content, self.request)


def _new_prefix() -> str:
    """How idempotency keys of this process begin: like those of the SDKs, a random UUID but for its end."""
    digits = os.urandom(10).hex()
    return f"{_KEY}{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-"


def _in_a_fork() -> None:
    global _prefix
    _prefix = _new_prefix()


def _new_key() -> str:
    """An idempotency key that no other call has; asking the system for each would cost more than the rest."""
    return f"{_prefix}{next(_numbers)}"


_prefix = _new_prefix()
_numbers = count(100_000_000_000)  # of twelve digits, as the end of a UUID
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_fork)


def _silent(body: Mapping[str, object]) -> bool:
    """Whether a chat stream was not asked to tell its usage."""
    asked = body.get("stream_options")
    return not (isinstance(asked, Mapping) and asked.get("include_usage"))


def _shape(api: str, headers: Mapping[str, Any], stream: bool, parsed: bool) -> str:
    """How a call is made, for people."""
    helper = str(next((headers[name] for name in _HELPERS if headers.get(name)), ""))
    if stream:
        how = "stream" if helper else "create(stream=True)"
    else:
        # The parser of embeddings is the SDK's own: it decodes them.
        how = "parse" if (parsed and api != EMBEDDINGS) or helper.endswith("parse") else "create"
    raw = headers.get(_RAW)
    if raw:
        how += ", raw" if raw == "true" or raw == "raw" else ", streaming response"
    return f"{api}.{how}"


def _shortened(timeout: Any, left_s: float) -> Any:
    """*timeout*, seconds or an HTTP library's, of which no part is longer than *left_s*."""
    if timeout is None or isinstance(timeout, (int, float)):
        return left_s if timeout is None else min(timeout, left_s)
    parts = {}
    for name in ("connect", "read", "write", "pool"):
        given = getattr(timeout, name, None)
        parts[name] = left_s if given is None else min(given, left_s)
    return type(timeout)(**parts)
