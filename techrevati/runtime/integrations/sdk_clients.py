"""``guard(client)``: an SDK client whose model calls are guarded, and which is otherwise the same.

openai, anthropic and the clients generated like them send everything through one public method,
``client.request(cast_to, options, stream=…, stream_cls=…)``.  A guarded client is a copy, made by the SDK's
own ``copy``, of exactly the same class, with that method and ``copy`` replaced on the instance.  Each pass
through the SDK's method is then one physical request: its own retries are turned off for it, by request, and
ours go around it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import wraps
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.client_copies import copy_of
from techrevati.runtime.integrations.client_facts import ClientFacts
from techrevati.runtime.integrations.client_middleware import middleware_of
from techrevati.runtime.integrations.model_request import api_of, is_free
from techrevati.runtime.integrations.sdk_call import GUARD, SdkCall
from techrevati.runtime.retry_policy import Retry

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from techrevati.runtime._core.redactor import Redactor
    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, BreakerRegistry, CircuitBreaker
    from techrevati.runtime.deadlines import Deadline
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.sinks import EventSink

    C = TypeVar("C")

_OURS = frozenset({GUARD, "_techrevati_run", "request", "copy", "with_options"})  # on a guarded client
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
        # A client with credentials gets a new token by itself when the old one is refused.
        self.renews: bool = getattr(client, "credentials", None) is not None
        self._retries: dict[int, Retry] = {}

    def attach(self) -> None:
        """Stand there, on this one client."""
        client = self.client
        if hasattr(client, "__aenter__"):
            client.request = _like_async(self.plain, self.arequest)
        else:
            client.request = _like(self.plain, self.request)
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
        return self.guarding.call(call.request, call.send if self.renews else call.sent, retry=retry)

    def arequest(
        self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
    ) -> Awaitable[Any]:
        """Make a call of an asynchronous client; await it.

        No coroutine: each would be passed through again whenever the call goes on.
        """
        call = self._call(cast_to, options, stream, stream_cls)
        if call is None:
            waiting: Awaitable[Any] = self.plain(cast_to, options, stream=stream, stream_cls=stream_cls)
            return waiting
        retry = self._retry(options)
        call.once = retry is not None and retry._rules.max_attempts == 1
        return self.guarding.acall(call.request, call.asend if self.renews else call.asent, retry=retry)

    def _call(self, cast_to: Any, options: Any, stream: bool, stream_cls: Any) -> SdkCall | None:
        """The call, if it is one that is guarded."""
        method, path = options.method, options.url
        api = api_of(method, path)
        self.facts.look(self.client)
        body = options.json_data
        if api is None or not isinstance(body, Mapping):
            shape = f"{method.upper()} {_general(path)}"
            self.guarding.passed_through(self.facts.provider, shape, free=is_free(method, path))
            return None
        return SdkCall(self, api, body, cast_to, options, stream, stream_cls)

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

    @wraps(theirs)
    def called(*args: Any, **options: Any) -> Any:
        return ours(*args, **options)

    return called


def _like_async(theirs: Any, ours: Any) -> Any:
    """:func:`_like` of what is awaited: a coroutine function, as *theirs* is."""

    @wraps(theirs)
    async def acalled(*args: Any, **options: Any) -> Any:
        return await ours(*args, **options)

    return acalled


def _general(path: str) -> str:
    """A path without the ids in it."""
    parts = path.partition("?")[0].split("/")
    return "/".join("…" if any(letter.isdigit() for letter in part[2:]) else part for part in parts)
