"""SDK clients that retry by themselves, and so multiply the attempts of a ``Retry`` around them.

Each family of clients keeps the number elsewhere and is told to stop in its own words; ``_FAMILIES`` has a
reader for each, by the package that a client's class is from.  Nothing of theirs is imported.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

_warned_clients: set[str] = set()
_DEPTH = 100  # partials, decorators and frames that are looked through


class _OwnRetries(NamedTuple):
    """A client's own retries: how many, None where only a time limits them, and how to switch them off."""

    retries: int | None
    fix: str


def warn_of_own_retries(fn: Callable[..., object], error: Exception | None, max_attempts: int) -> None:
    """Say once, per class of client, that an SDK client multiplies our attempts with its own."""
    if max_attempts <= 1:
        return
    try:
        found = _found(fn, error)
    except Exception:  # somebody else's object, and only a warning: the call's own outcome comes first
        return
    if found is None:
        return
    name, (own, fix) = found
    if name in _warned_clients or len(_warned_clients) >= 100:
        return
    _warned_clients.add(name)
    often, together = "", "the requests of each multiply"
    if own is not None:
        often, together = f" up to {own} times", f"one call is up to {max_attempts * (own + 1)} requests"
    logger("retry_policy").warning(
        "%s retries%s by itself: with max_attempts=%d %s; let Retry do it and %s",
        name,
        often,
        max_attempts,
        together,
        fix,
    )


def _found(fn: Callable[..., object], error: Exception | None) -> tuple[str, _OwnRetries] | None:
    """The client that retries by itself behind *fn*, a method of it, or that *error* came through."""
    owner, given = _owner(fn)
    for client in () if owner is None else _clients(owner):
        own = _own_retries(client, given)
        if own is not None:
            return _name(client), own
    if isinstance(own := given.get("num_retries"), int) and own > 0 and _package_of(fn) == "litellm":
        return "litellm", _OwnRetries(own, "leave out num_retries")
    below: BaseException | None = error
    for _ in range(8):  # an error in the words of a framework was caused by the client's own
        if below is None:
            return None
        if (found := _found_in(below.__traceback__)) is not None:
            return found
        below = below.__cause__ or below.__context__
    return None


def _found_in(trace: TracebackType | None) -> tuple[str, _OwnRetries] | None:
    """The client that retries by itself among the frames of *trace*, outermost first."""
    front: tuple[str, str] | None = None  # whom to tell: who made the client, and so has its settings
    for _ in range(_DEPTH):
        if trace is None:
            return None
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_globals.get("__name__", "").partition(".")[0] == "litellm":
            front = front or ("litellm", "give max_retries=0 to its function")
        if frame.f_code.co_varnames[:1] != ("self",) or frame.f_globals.get("__package__") == __package__:
            continue
        given = frame.f_locals
        own = _own_retries(given.get("self"), given)
        if own is not None:
            return (_name(given["self"]), own) if front is None else (front[0], own._replace(fix=front[1]))
    return None


def _owner(fn: object) -> tuple[object, dict[str, Any]]:
    """Whose method *fn* is, through partials and decorators, and the arguments that those give."""
    given: dict[str, Any] = {}
    for _ in range(_DEPTH):
        owner = getattr(fn, "__self__", None)
        if owner is not None or fn is None:
            return owner, given
        if isinstance(fn, partial):
            given = {**fn.keywords, **given}
            fn = fn.func
        else:
            fn = getattr(fn, "__wrapped__", None)
    return None, given


def _package_of(fn: object) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__module__", "")).partition(".")[0]


def _clients(owner: object) -> Iterator[object]:
    """*owner*, and what it sends by."""
    yield owner
    for name in ("_client", "_client_wrapper", "bound"):  # of resources; of cohere; of langchain's runnables
        if (client := getattr(owner, name, None)) is not None:
            yield getattr(client, "httpx_client", client) if name == "_client_wrapper" else client


def _name(client: object) -> str:
    return f"{type(client).__module__.partition('.')[0]}.{type(client).__name__}"


# --- where each family keeps it -----------------------------------------------------------------------------


def _own_retries(client: Any, given: dict[str, Any]) -> _OwnRetries | None:
    """What *client* does by itself, called with the arguments *given*; None when it does nothing."""
    try:
        package = type(client).__module__.partition(".")[0]
        read = _FAMILIES.get(package) or (_langchain if package.startswith("langchain") else _stainless)
        own = read(client, given)
    except Exception:  # it has no such setting
        return None
    return own if own is not None and (own.retries is None or own.retries > 0) else None


def _stainless(client: Any, given: dict[str, Any]) -> _OwnRetries | None:
    """openai, anthropic, groq and all others that the same generator wrote."""
    if "_techrevati_guard" in client.__dict__:  # a guard has turned them off, call by call
        return None
    own = client.max_retries
    if type(own) is not int or not callable(getattr(type(client), "with_options", None)):
        return None
    return _OwnRetries(own, "call client.with_options(max_retries=0)")


def _langchain(model: Any, given: dict[str, Any]) -> _OwnRetries | None:
    attempts = getattr(model, "max_attempt_number", None)  # what model.with_retry() gives
    if type(attempts) is int:
        return _OwnRetries(attempts - 1, "leave out .with_retry()")
    if not hasattr(model, "_llm_type"):
        return None
    own = getattr(model, "max_retries", None)
    for name in ("root_client", "root_async_client"):  # made by the model; the number is the SDK's where None
        client = getattr(model, name, None)
        if client is not None:
            if "_techrevati_guard" in client.__dict__:
                return None
            own = client.max_retries if own is None else own
    return _OwnRetries(own, "give max_retries=0 to the model") if type(own) is int else None


def _botocore(client: Any, given: dict[str, Any]) -> _OwnRetries | None:
    retries = client.meta.config.retries or {}
    attempts = retries.get("total_max_attempts")
    if attempts is None:
        attempts = 5 if retries.get("mode", "legacy") == "legacy" else 3
    return _OwnRetries(attempts - 1, 'make the client with Config(retries={"total_max_attempts": 1})')


def _google(client: Any, given: dict[str, Any]) -> _OwnRetries | None:
    options = getattr(client, "_api_client", client)._http_options.retry_options
    if options is None:
        return None
    attempts = 5 if not options.attempts else options.attempts
    return _OwnRetries(attempts - 1, "make the client without HttpOptions(retry_options=...)")


def _cohere(client: Any, given: dict[str, Any]) -> _OwnRetries | None:
    said = given.get("request_options") or {}
    return _OwnRetries(
        said.get("max_retries", client.base_max_retries), 'call it with request_options={"max_retries": 0}'
    )


def _mistral(client: Any, given: dict[str, Any]) -> _OwnRetries | None:
    if "retry_config" in given:  # inside of a call, where it is settled
        config = given["retry_config"] and given["retry_config"][0]
    elif "self" in given:
        return None
    else:
        said = given.get("retries", client)
        config = said if said is None or hasattr(said, "strategy") else client.sdk_configuration.retry_config
    if getattr(config, "strategy", None) != "backoff":
        return None
    return _OwnRetries(None, "make the client without retry_config")


_FAMILIES: dict[str, Callable[[Any, dict[str, Any]], _OwnRetries | None]] = {
    "botocore": _botocore,
    "cohere": _cohere,
    "google": _google,
    "mistralai": _mistral,
}
