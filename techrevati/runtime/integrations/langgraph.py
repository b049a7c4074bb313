"""langgraph: a node that makes a model call itself, guarded.

Nodes that call a langchain model or tool need nothing but ``guard_model`` and ``guard_tool`` of the langchain
adapter.  Importing this needs langgraph.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import update_wrapper, wraps
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, GENERATOR, colour
from techrevati.runtime.budgets import Budget
from techrevati.runtime.integrations.answers import usage_of as read_usage
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.delegation import adelegate, delegate
from techrevati.runtime.integrations.guarded_functions import GuardedFunction
from techrevati.runtime.integrations.model_request import ModelRequest

try:
    from langgraph.errors import GraphBubbleUp
except ImportError as _missing:  # pragma: no cover
    raise ImportError("techrevati.runtime.integrations.langgraph needs langgraph") from _missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, TypeVar, Unpack

    from techrevati.runtime._core.redactor import Redactor
    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.sinks import EventSink
    from techrevati.runtime.usage import UsageSnapshot

    F = TypeVar("F", bound=Callable[..., object])

__all__ = ["delegated_node", "guarded_node"]

_NOT_INPUT = frozenset({"config", "runtime", "store", "writer", "previous"})


def guarded_node(
    *,
    provider: str = "node",
    model: str | None = None,
    max_output_tokens: int | None = None,
    usage_of: Callable[[Any], object] | None = None,
    request: Callable[..., ModelRequest] | None = None,
    **options: Unpack[GuardOptions],
) -> Callable[[F], F]:
    """A decorator for a node function, sync or async, that makes one model call itself.

    As :func:`techrevati.runtime.integrations.guarded`, but what a graph raises to steer (``interrupt()``,
    commands to a parent) passes as what it is: it is no failure, is not tried again and tells the breaker
    nothing; what the node had used until then is on the books as estimated.  A node that is resumed runs from
    its beginning: what it sends before an ``interrupt()`` is sent, and counted, again.

    Args:
        usage_of: From the node's update to its usage; None reads the messages in it, under any name,
            or the update itself.
        provider, model, max_output_tokens, request: See ``guarded``; the state is taken as the input.
        options: Those of ``CallGuard``: project, breaker, budget, retry, ledger, deadline, …

    Raises:
        ValueError, TypeError: An argument is out of range, or what is decorated is not a function.
    """
    arguments.text("provider", provider)
    guard = CallGuard(**options)

    def decorate(fn: F) -> F:
        made = GuardedFunction(
            fn,
            guard,
            provider=provider,
            model=model,
            max_output_tokens=max_output_tokens,
            usage_of=_of_update if usage_of is None else usage_of,
            request=request,
            not_input=_NOT_INPUT,
            control_flow=(GraphBubbleUp,),
        )
        return update_wrapper(made.wrapped(fn), fn)  # type: ignore[return-value]

    return decorate


def delegated_node(
    budget: Budget,
    *,
    observe_only: bool = False,
    project: str | None = None,
    event_sink: EventSink | None = None,
    redactor: Redactor | None = None,
) -> Callable[[F], F]:
    """A decorator for a node function, of any colour, in which another agent works: a subgraph, a team.

    Each run of the node is one of the ``delegated_tasks`` of *budget*, taken before the node begins; give the
    models inside a child of that budget.  A node that is resumed runs, and is counted, again.

    Args:
        budget: Of who hands the task over.
        observe_only: Refuse nothing; tell what would have been refused.
        project, event_sink, redactor: Refusals that are only observed are told there.

    Raises:
        TypeError: *budget* is none, or what is decorated is not a function.

    The node raises ``BudgetExceededError`` when no delegated task is left.
    """
    if not isinstance(budget, Budget):
        raise TypeError(f"budget must be a Budget, got {budget!r}")
    guard = CallGuard(project=project, event_sink=event_sink, redactor=redactor, observe_only=observe_only)

    def decorate(fn: F) -> F:
        kind = colour(fn)
        request = ModelRequest("langgraph", None, f"task for {getattr(fn, '__name__', 'a node')}")
        run: Any = fn
        if kind == COROUTINE:

            @wraps(fn)
            async def anode(*args: object, **kwargs: object) -> object:
                await adelegate(budget, guard, request)
                return await run(*args, **kwargs)

            return anode  # type: ignore[return-value]
        if kind == ASYNC_GENERATOR:

            @wraps(fn)
            async def aupdates(*args: object, **kwargs: object) -> AsyncGenerator[Any]:
                await adelegate(budget, guard, request)
                async with aclosing(run(*args, **kwargs)) as inner:
                    async for update in inner:
                        yield update

            return aupdates  # type: ignore[return-value]
        if kind == GENERATOR:

            @wraps(fn)
            def updates(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
                delegate(budget, guard, request)
                return (yield from run(*args, **kwargs))

            return updates  # type: ignore[return-value]

        @wraps(fn)
        def node(*args: object, **kwargs: object) -> object:
            delegate(budget, guard, request)
            return run(*args, **kwargs)

        return node  # type: ignore[return-value]

    return decorate


def _of_update(update: Any) -> UsageSnapshot | None:
    """The usage in a state update: that of its last message that says so, under any name, or of itself."""
    update = getattr(update, "update", None) if type(update).__name__ == "Command" else update
    if not isinstance(update, dict):
        return _of_last(update)
    used = _of_last(update.get("messages"))
    if used is None:
        others = [value for name, value in update.items() if name != "messages"]
        messages = [one for value in others for one in _several(value) if hasattr(one, "usage_metadata")]
        used = _of_last(messages)
    return read_usage(update) if used is None else used


def _of_last(messages: Any) -> UsageSnapshot | None:
    for message in reversed(_several(messages)):
        used = _of_update(message) if type(message).__name__ == "Command" else None
        if used is None and message is not None:
            used = read_usage(message)
        if used is not None:
            return used
    return None


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
