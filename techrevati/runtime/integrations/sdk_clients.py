"""``guard(client)``: an SDK client whose model calls are guarded, and which is otherwise the same.

openai, anthropic and the clients generated like them send everything through one public method,
``client.request(cast_to, options, stream=…, stream_cls=…)``.  A guarded client is a copy, made by the SDK's
own ``copy``, of exactly the same class, with that method and ``copy`` replaced on the instance.  Each pass
through the SDK's method is then one physical request: its own retries are turned off for it, by request, and
ours go around it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from copy import copy
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.integrations.answers import (
    Listener,
    estimate_of,
    http_response_of,
    surely_says_usage,
    usage_of,
    was_not_sent,
)
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.client_copies import connected_copy, copy_of
from techrevati.runtime.integrations.client_facts import ClientFacts
from techrevati.runtime.integrations.client_middleware import Innermost, middleware_of
from techrevati.runtime.integrations.model_request import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    api_of,
    is_free,
    read_request,
)
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from techrevati.runtime._core.redactor import Redactor
    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, BreakerRegistry, CircuitBreaker
    from techrevati.runtime.deadlines import Deadline
    from techrevati.runtime.integrations.contents import Answered
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.sinks import EventSink

    C = TypeVar("C")

GUARD = "_techrevati_guard"  # on a guarded client
_OURS = frozenset({GUARD, "_techrevati_run", "request", "copy", "with_options"})  # on a guarded client
_RAW = "x-stainless-raw-response"
_HELPERS = ("x-stainless-helper-method", "x-stainless-stream-helper", "x-stainless-helper")
_RETRY_COUNT = "x-stainless-retry-count"
_KEY = "stainless-python-retry-"
_NO_HEADERS: Mapping[str, Any] = {}
_CREATE = {api: f"{api}.create" for api in (CHAT, RESPONSES, EMBEDDINGS, COMPLETIONS, MESSAGES)}
_SAID = UsageSnapshot()  # stands for a usage that is there and was not read
_BASE_S, _CAP_S = 0.5, 8.0  # what both SDKs wait themselves


def guard(
    client: C,
    *,
    project: str | None = None,
    breaker: CircuitBreaker | AsyncCircuitBreaker | BreakerRegistry | None = None,
    budget: Budget | None = None,
    retry: Retry | None = None,
    ledger: SpendLedger | None = None,
    deadline: Deadline | float | None = None,
    user: str | None = None,
    session: str | None = None,
    run: str | None = None,
    tags: Mapping[str, str] | None = None,
    credential_id: str | None = None,
    event_sink: EventSink | None = None,
    redactor: Redactor | None = None,
    ask_usage: bool = True,
    observe_only: bool = False,
) -> C:
    """A client like *client* whose model calls are guarded, counted and charged to a project.

    It is a copy of the same class that shares the connections of *client*, which stays as it is.  What it
    returns and raises is the SDK's own, but for refusals, which are ours and come before anything is sent.
    Chat completions, responses, embeddings, legacy completions and Anthropic messages are guarded in every
    form (plain, parsed, raw, streamed, ``.stream()``, ``with_options``); everything else passes through as
    before, and the first call of each kind says so.  Thread-safe and task-safe as the client itself.

    Args:
        client: ``OpenAI``, ``AsyncOpenAI``, ``AzureOpenAI``, ``Anthropic``, ``AsyncAnthropic``, or any client
            with their ``request`` and ``copy``.  A guarded one gets the new guard instead of the old.
        project, user, session, run, tags: For whom; stands in the ledger's records.
        breaker: None takes a breaker for each provider, model and credential, shared by the whole process.
        budget: Every physical request is reserved before it is sent; see ``Budget``.
        retry: None tries as often as the client's ``max_retries`` says.
        ledger: Every physical request is recorded there.
        deadline: A ``Deadline`` for everything, or the seconds each call may take with its retries.  A
            synchronous call notices it between its steps: every wait for the network is shortened to it.
        credential_id: A name for the API key, for the breaker; None takes one made from the key, from which
            nobody gets it back.
        event_sink: Told of every physical request; never of contents.
        redactor: Looks at every event before it is told.
        ask_usage: Ask OpenAI chat streams for their usage where the program does not.
        observe_only: Refuse nothing; tell what would have been refused.

    Raises:
        TypeError: *client* has another surface, or an argument is of the wrong kind.
        ValueError: An argument is out of range.

    Calls of the guarded client also raise ``CircuitOpenError``, ``BudgetExceededError``,
    ``DeadlineExceededError``, ``UnknownModelError``, ``UnknownPriceError`` and, where a budget cannot bound a
    request, ``ValueError`` with advice.
    """
    guarding = CallGuard(
        project=project,
        breaker=breaker,
        budget=budget,
        retry=retry,
        ledger=ledger,
        deadline=deadline,
        user=user,
        session=session,
        run=run,
        tags=tags,
        credential_id=credential_id,
        event_sink=event_sink,
        redactor=redactor,
        observe_only=observe_only,
    )
    return guard_with(client, guarding, ask_usage=arguments.flag("ask_usage", ask_usage))


def guard_with(client: C, guarding: CallGuard, *, ask_usage: bool = True) -> C:
    """:func:`guard` with a guard that others share: the adapters', for the client inside of a model."""
    _check_surface(client)
    made = copy_of(client, _OURS)
    Seam(made, made.request, guarding, ask_usage, own_retries=True).attach()  # type: ignore[attr-defined]
    return made


def has_surface(kind: type) -> bool:
    """Whether clients of this class send everything through one public method, and can be copied."""
    return all(callable(getattr(kind, name, None)) for name in ("request", "copy", "post"))


def is_client(found: object) -> bool:
    """Whether it is a client of that surface."""
    return has_surface(type(found)) and not isinstance(found, type) and hasattr(found, "max_retries")


def _check_surface(client: object) -> None:
    if not is_client(client):
        raise TypeError(
            "client must be an OpenAI or Anthropic client (sync or async, Azure too), or one with their "
            f"request(), copy() and max_retries; got {_kind_of(client)}"
        )


def _kind_of(found: object) -> str:
    """What was given instead, without its contents: they may hold a key."""
    if isinstance(found, type):
        return f"the class {found.__name__} itself"
    return f"an instance of {type(found).__module__}.{type(found).__qualname__}"


class Seam:
    """What stands in place of a client's ``request`` and ``copy``.

    Args:
        plain: The client's ``request`` as the SDK has it, bound to the client.
        own_retries: Whether the retry of *guarding* counts, and not the client's ``max_retries``.
    """

    def __init__(
        self, client: Any, plain: Any, guarding: CallGuard, ask_usage: bool = True, *, own_retries: bool
    ) -> None:
        self.client: Any = client
        self.guarding: CallGuard = guarding
        self.ask_usage: bool = ask_usage
        self.own_retries: bool = own_retries
        self.facts: ClientFacts = ClientFacts(client)
        self.plain: Any = plain
        self.middleware: tuple[Any, ...] = middleware_of(client)  # it cannot be changed
        self._retries: dict[int, Retry] = {}

    def attach(self) -> None:
        """Stand there, on this one client."""
        client = self.client
        mine: Any = self.arequest if hasattr(client, "__aenter__") else self.request
        client.request = _like(self.plain, mine)
        client.copy = client.with_options = _like(client.copy, self.copy)
        setattr(client, GUARD, self)

    def copy(self, **changes: Any) -> Any:
        """The SDK's ``copy`` (and ``with_options``), guarded as this client is."""
        made = type(self.client).copy(self.client, **changes)
        said = changes.get("max_retries")
        own_retries = self.own_retries and type(said) is not int
        Seam(made, made.request, self.guarding, self.ask_usage, own_retries=own_retries).attach()
        return made

    def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        """Make a call of a synchronous client."""
        call = self._call(cast_to, options, stream, stream_cls)
        if call is None:
            return self.plain(cast_to, options, stream=stream, stream_cls=stream_cls)
        retry = self._retry(options)
        call.once = retry is not None and retry._rules.max_attempts == 1
        return self.guarding.call(call.request, call.send, retry=retry)

    async def arequest(
        self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
    ) -> Any:
        """Make a call of an asynchronous client."""
        call = self._call(cast_to, options, stream, stream_cls)
        if call is None:
            return await self.plain(cast_to, options, stream=stream, stream_cls=stream_cls)
        retry = self._retry(options)
        call.once = retry is not None and retry._rules.max_attempts == 1
        return await self.guarding.acall(call.request, call.asend, retry=retry)

    def _call(self, cast_to: Any, options: Any, stream: bool, stream_cls: Any) -> _Call | None:
        """The call, if it is one that is guarded."""
        method, path = options.method, options.url
        api = api_of(method, path)
        self.facts.look(self.client)
        body = options.json_data
        if api is None or not isinstance(body, Mapping):
            shape = f"{method.upper()} {_general(path)}"
            self.guarding.passed_through(self.facts.provider, shape, free=is_free(method, path))
            return None
        return _Call(self, api, body, cast_to, options, stream, stream_cls)

    def _retry(self, options: Any) -> Retry | None:
        """The retry that was given, or one like it for another number of attempts."""
        given = None if self.guarding.observe_only else self.guarding.retry
        said = options.max_retries
        if given is not None and self.own_retries and type(said) is not int:
            return given
        retries = said if type(said) is int else self.client.max_retries
        made = self._retries.get(retries)
        if made is None:
            if given is None:
                made = Retry(retries + 1, base_delay_seconds=_BASE_S, max_delay_seconds=_CAP_S)
            else:
                made = given.with_attempts(retries + 1)
            if len(self._retries) < 16:
                self._retries[retries] = made
        return made


def _like(theirs: Any, ours: Any) -> Any:
    """*ours* with the signature and the documentation of *theirs*."""
    if inspect.iscoroutinefunction(ours):

        @wraps(theirs)
        async def acalled(*args: Any, **options: Any) -> Any:
            return await ours(*args, **options)

        return acalled

    @wraps(theirs)
    def called(*args: Any, **options: Any) -> Any:
        return ours(*args, **options)

    return called


class _Call:
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
        low = (
            {name.lower(): value for name, value in headers.items()}
            if headers and isinstance(headers, Mapping)
            else _NO_HEADERS
        )
        self._raw = bool(low.get(_RAW))
        extra = options.extra_json
        whole = {**body, **extra} if extra and isinstance(extra, Mapping) else body
        self._hide_usage = stream and api == CHAT and seam.ask_usage and _silent(whole)
        if self._hide_usage:
            asked = whole.get("stream_options")
            asked = (
                {**asked, "include_usage": True} if isinstance(asked, Mapping) else {"include_usage": True}
            )
            options.json_data = {**body, "stream_options": asked}
            if isinstance(extra, Mapping) and "stream_options" in extra:
                options.extra_json = {**extra, "stream_options": asked}
        options.max_retries = 0  # ours go around
        if options.idempotency_key is None:
            options.idempotency_key = _new_key()  # one for all attempts
        self._timeout = options.timeout
        self._unparsed = self._raw or stream or getattr(cast_to, "__name__", "") == "Response"
        parse = getattr(options, "post_parser", None)
        parsed = callable(parse)
        if parsed and not self._raw:
            options.post_parser = self._heard(parse)
        shape = _shape(api, low, stream, parsed) if low or parsed or stream else _CREATE[api]
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
        """One physical request of a synchronous client; a second one where only its token was too old."""
        try:
            return self._sent(made)
        except Exception as error:
            if not self._has_new_token(error, made):
                raise
            made.fail(error)
        again = self._seam.guarding.begin(self.request, made.number + 1)
        try:
            return self._sent(again)
        except BaseException as error:
            again.fail(error)
            raise

    async def asend(self, made: PhysicalRequest) -> Any:
        """:meth:`send` for tasks."""
        try:
            return await self._asent(made)
        except Exception as error:
            if not self._has_new_token(error, made):
                raise
            await made.afail(error)
        again = await self._seam.guarding.abegin(self.request, made.number + 1)
        try:
            return await self._asent(again)
        except BaseException as error:
            await again.afail(error)
            raise

    def _has_new_token(self, error: Exception, made: PhysicalRequest) -> bool:
        """Whether the SDK threw away a token that was refused, as it does when it tries again by itself."""
        if getattr(error, "status_code", None) != 401 or made.number > 1 or self.once:
            return False
        if getattr(self._client, "credentials", None) is None:
            return False
        throws_away = getattr(self._client, "_should_retry", None)
        response = getattr(error, "response", None)
        return callable(throws_away) and response is not None and bool(throws_away(response))

    def _sent(self, made: PhysicalRequest) -> Any:
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

    async def _asent(self, made: PhysicalRequest) -> Any:
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
            if usage is not None:
                await made.afinish(usage)
            else:
                await made.afinish(self._estimate(result, http), measured=False)
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
        self._hear(answer)
        return self._used(answer)

    def _used(self, answer: object) -> UsageSnapshot | None:
        """What *answer* says it used; of one that nobody asks about, only whether it does."""
        return _SAID if self._unread and surely_says_usage(answer) else usage_of(answer)

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
    return f"{_prefix}{next(_numbers):012x}"


_prefix = _new_prefix()
_numbers = count(1)
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


def _general(path: str) -> str:
    """A path without the ids in it."""
    parts = path.partition("?")[0].split("/")
    return "/".join("…" if any(letter.isdigit() for letter in part[2:]) else part for part in parts)


def _shortened(timeout: Any, left_s: float) -> Any:
    """*timeout*, seconds or an HTTP library's, of which no part is longer than *left_s*."""
    if timeout is None or isinstance(timeout, (int, float)):
        return left_s if timeout is None else min(timeout, left_s)
    parts = {}
    for name in ("connect", "read", "write", "pool"):
        given = getattr(timeout, name, None)
        parts[name] = left_s if given is None else min(given, left_s)
    return type(timeout)(**parts)
