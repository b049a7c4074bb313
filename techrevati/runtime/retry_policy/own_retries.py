"""SDK clients that retry by themselves, and so multiply the attempts of a ``Retry`` around them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_warned_clients: set[str] = set()


def warn_of_own_retries(fn: Callable[..., object], error: Exception | None, max_attempts: int) -> None:
    """Say once, per class of client, that an SDK client multiplies our attempts with its own."""
    client = _client_with_retries(fn, error) if max_attempts > 1 else None
    if client is None:
        return
    name = f"{type(client).__module__.partition('.')[0]}.{type(client).__name__}"
    if name in _warned_clients or len(_warned_clients) >= 100:
        return
    _warned_clients.add(name)
    own: int = client.max_retries
    logger("retry_policy").warning(
        "%s retries up to %d times by itself: with max_attempts=%d one call is up to %d requests; "
        "let Retry do it and call client.with_options(max_retries=0)",
        name,
        own,
        max_attempts,
        max_attempts * (own + 1),
    )


def _client_with_retries(fn: Callable[..., object], error: Exception | None) -> Any:
    """The SDK client that retries by itself behind *fn*, a method of it, or that *error* came through."""
    owner = _owner(fn)
    if _retries_itself(client := getattr(owner, "_client", None)):
        return client
    trace = None if error is None else error.__traceback__
    for _ in range(100):
        if trace is None:
            break
        frame = trace.tb_frame
        if frame.f_code.co_varnames[:1] == ("self",) and frame.f_globals.get("__package__") != __package__:
            client = frame.f_locals.get("self")
            if _retries_itself(client):
                return client
        trace = trace.tb_next
    return None


def _owner(fn: object) -> object:
    """Whose method *fn* is, through partials and decorators."""
    for _ in range(100):
        owner = getattr(fn, "__self__", None)
        if owner is not None:
            return owner
        fn = fn.func if isinstance(fn, partial) else getattr(fn, "__wrapped__", None)
    return None


def _retries_itself(client: object) -> bool:
    try:
        if "_techrevati_guard" in client.__dict__:  # a guard has turned them off, call by call
            return False
        own = getattr(client, "max_retries", None)
        return type(own) is int and own > 0 and callable(getattr(type(client), "with_options", None))
    except Exception:
        return False
