"""``@guarded``: a function that makes a model call itself becomes one guarded call.

What is asked for is read from the arguments by their usual names, what was used from what comes back.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from functools import update_wrapper
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.likely_tokens import likely_tokens
from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, GENERATOR, colour, innermost
from techrevati.runtime.integrations.answer_tap import event_tokens
from techrevati.runtime.integrations.answers import (
    Listener,
    body_inside,
    estimate_of,
    unread_inside,
    usage_of as read_usage,
)
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.guarded_streams import NOTHING, Heard, astream, stream
from techrevati.runtime.integrations.model_request import CHAT, RESPONSES, ModelRequest
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, TypeVar, Unpack

    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.integrations.physical_request import PhysicalRequest

    F = TypeVar("F", bound=Callable[..., object])

_MAXIMA = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_MAX_DEPTH = 24
_EVENTS = ("content_block_", "response.")
# The arguments of a request to a model: texts and settings, and what is none unless it is a mapping.
_REQUEST = frozenset(
    {
        *("model", "messages", "input", "instructions", "system", "tools", "tool_choice", "stop"),
        *("stop_sequences", "reasoning_effort", "service_tier"),
    }
)
_OBJECTS = frozenset(
    {
        *("response_format", "text", "output_config", "output_format", "stream_options", "metadata"),
        *("reasoning", "thinking"),
    }
)
_ITEMS = ("function_call", "function_call_output", "reasoning")  # of a response's input, without a role


class GuardedFunction:
    """How one decorated function is guarded; shared by the decorators of this package."""

    def __init__(
        self,
        fn: Callable[..., object],
        guard: CallGuard,
        *,
        provider: str,
        model: str | None,
        max_output_tokens: int | None,
        usage_of: Callable[[Any], object] | None,
        request: Callable[..., ModelRequest] | None,
        not_input: frozenset[str] = frozenset(),
        control_flow: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._colour = colour(fn)
        self._guard = guard
        self._provider = provider
        self._model = model
        self._most = max_output_tokens
        self._usage_of = usage_of
        self._request = request
        self._not_input = not_input
        self._control_flow = control_flow  # exceptions that are no failures
        self._name = getattr(innermost(fn), "__qualname__", type(fn).__qualname__)
        self._signature = inspect.signature(fn)

    def request(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> ModelRequest:
        """What the call with these arguments asks for.

        Raises:
            TypeError: They do not fit the function, or ``request=`` gave something else.
        """
        if self._request is not None:
            made = self._request(*args, **kwargs)
            if not isinstance(made, ModelRequest):
                raise TypeError(f"request must return a ModelRequest, got {made!r}")
            return made
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        said: dict[str, object] = {}
        for name, value in bound.arguments.items():
            kind = self._signature.parameters[name].kind
            said.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        for name in self._not_input:
            said.pop(name, None)
        model = said.get("model")
        most = next((value for name in _MAXIMA if type(value := said.get(name)) is int), self._most)
        content = _shown(said, 0)
        return ModelRequest(
            self._provider,
            model if isinstance(model, str) and model else self._model,
            self._name,
            content=content,
            max_output_tokens=most,
            api=_api_of(content) if isinstance(content, dict) else None,
        )

    def usage(self, answer: object) -> UsageSnapshot | None:
        """What the answer says it used."""
        found = answer if self._usage_of is None else self._usage_of(answer)
        used = None if found is None else read_usage(found)
        if used is None and self._usage_of is None and (body := body_inside(answer)) is not None:
            used = read_usage(body)
        return None if used == NOTHING else used  # frameworks' way not to know

    def heard(self) -> Heard:
        """A listener for one stream."""
        return Heard(tokens=_tokens, usage=None if self._usage_of is None else self._read)

    def _listens(self, answer: object, made: PhysicalRequest, *, asynchronous: bool) -> bool:
        """Whether *answer* is a stream of an SDK, or a response that is not read yet: its end is heard."""
        http = None if self._usage_of is not None else unread_inside(answer)
        if http is None:
            return False
        listener = Listener(made, http, hide_usage=False)
        (listener.aattach if asynchronous else listener.attach)(http)
        return True

    def _read(self, item: object) -> UsageSnapshot | None:
        return self.usage(item) if item is not None else None

    def wrapped(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """*fn*, guarded; of its own colour."""
        guard, usage = self._guard, self.usage
        kind = self._colour
        if kind not in (COROUTINE, GENERATOR, ASYNC_GENERATOR) and colour(innermost(fn)) == COROUTINE:
            kind = COROUTINE  # the SDKs' own decorators
        if kind == COROUTINE:

            async def acall(*args: object, **kwargs: object) -> object:
                async def send(made: PhysicalRequest) -> object:
                    try:
                        answer = await made.in_time(fn(*args, **kwargs))
                    except self._control_flow:
                        await made.aabandon()
                        raise
                    if (used := usage(answer)) is not None:
                        await made.afinish(used)
                    elif not self._listens(answer, made, asynchronous=True):
                        await made.afinish(_estimate(answer, made.request), measured=False)
                    return answer

                return await guard.acall(self.request(args, kwargs), send)

            return acall
        if kind == GENERATOR:

            def items(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
                return (
                    yield from stream(
                        guard, self.request(args, kwargs), lambda: fn(*args, **kwargs), self.heard
                    )
                )

            return items
        if kind == ASYNC_GENERATOR:

            async def aitems(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
                made = astream(guard, self.request(args, kwargs), lambda: fn(*args, **kwargs), self.heard)
                try:
                    item = await anext(made)
                    while True:
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            item = await made.athrow(error)
                        else:
                            item = await made.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    await made.aclose()

            return aitems

        def call(*args: object, **kwargs: object) -> object:
            def send(made: PhysicalRequest) -> object:
                try:
                    answer = fn(*args, **kwargs)
                except self._control_flow:
                    made.abandon()
                    raise
                if isinstance(answer, Awaitable):
                    close = getattr(answer, "close", None)
                    if close is not None:
                        close()
                    raise TypeError(f"a plain function around an async one cannot be seen through: {fn!r}")
                if (used := usage(answer)) is not None:
                    made.finish(used)
                elif not self._listens(answer, made, asynchronous=False):
                    made.finish(_estimate(answer, made.request), measured=False)
                return answer

            return guard.call(self.request(args, kwargs), send)

        return call


def guarded(
    *,
    provider: str = "function",
    model: str | None = None,
    max_output_tokens: int | None = None,
    usage_of: Callable[[Any], object] | None = None,
    request: Callable[..., ModelRequest] | None = None,
    **options: Unpack[GuardOptions],
) -> Callable[[F], F]:
    """A decorator for a function that makes one model call itself: ``def``, ``async def`` or a generator.

    Each try of the function is one physical request: breaker, deadline, budget and books are around it, and
    its signature stays.  Its client should not retry by itself, nor be guarded on its own: what both see is
    counted twice.  A generator begins at its first item, is tried again only before it, and is on the books
    as estimated when it is left early.  Thread-safe and task-safe as the function itself.

    Args:
        provider: Whose model, for the breaker and the reports.
        model, max_output_tokens: Where the arguments do not say: read are ``model`` and
            ``max_completion_tokens``, ``max_output_tokens`` or ``max_tokens``; texts, lists and mappings
            among the arguments are taken as the input.
        usage_of: From what the function returned (or one item of a stream, None for most) to its usage, in
            any form that ``UsageSnapshot.from_response`` reads; None reads the returned object itself.
        request: From the arguments to a ``ModelRequest``, where all this is not enough.
        options: Those of ``CallGuard``: project, breaker, budget, retry, ledger, deadline, …

    Raises:
        ValueError, TypeError: An argument is out of range, or what is decorated is not a function.

    The function raises what it raises, and ``CircuitOpenError``, ``BudgetExceededError``,
    ``DeadlineExceededError`` before it is called.
    """
    arguments.text("provider", provider)
    if model is not None:
        arguments.text("model", model)
    if max_output_tokens is not None:
        arguments.count("max_output_tokens", max_output_tokens)
    guard = CallGuard(**options)

    def decorate(fn: F) -> F:
        made = GuardedFunction(
            fn,
            guard,
            provider=provider,
            model=model,
            max_output_tokens=max_output_tokens,
            usage_of=usage_of,
            request=request,
        )
        return update_wrapper(made.wrapped(fn), fn)  # type: ignore[return-value]

    return decorate


def _shown(value: object, depth: int) -> object:
    """The part of an argument that is text; clients, callbacks and the like are left out."""
    if value is None or isinstance(value, (str, bytes, bytearray, bool, int, float)) or depth > _MAX_DEPTH:
        return value if depth <= _MAX_DEPTH else None
    if isinstance(value, Mapping):
        return {str(name): _shown(item, depth + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_shown(item, depth + 1) for item in value]
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None and not isinstance(value, type):
        return {name: _shown(getattr(value, name, None), depth + 1) for name in fields}
    dump = getattr(value, "model_dump", None)
    return _shown(dump(), depth + 1) if callable(dump) and not isinstance(value, type) else None


def _api_of(said: Mapping[str, object]) -> str | None:
    """Of which API the arguments are a request, with no text beside it; None where they are of none."""
    for name, value in said.items():
        if value is None or isinstance(value, (bool, int, float)) or name in _REQUEST:
            continue
        if name not in _OBJECTS or not isinstance(value, Mapping):
            return None
    for name, api in (("messages", CHAT), ("input", RESPONSES)):
        talk = said.get(name)
        if isinstance(talk, list) and all(map(_is_message, talk)):
            return api
    return None


def _is_message(one: object) -> bool:
    return isinstance(one, Mapping) and ("role" in one or one.get("type") in _ITEMS)


def _estimate(answer: object, request: ModelRequest) -> UsageSnapshot:
    """What a call has used whose answer does not say so: by its text, else the most that it may generate."""
    if isinstance(answer, str):
        return UsageSnapshot(request.likely_input_tokens, likely_tokens(answer))
    used = estimate_of(answer, request)
    if used.output_tokens or request.max_output_tokens is None:
        return used
    return UsageSnapshot(used.input_tokens, request.max_output_tokens)


def _tokens(item: object) -> int:
    """About how many tokens of output one item of a stream holds; calls of tools in the SDKs' events, too."""
    if isinstance(item, str):
        return likely_tokens(item)
    kind = item.get("type") if isinstance(item, Mapping) else getattr(item, "type", None)
    if isinstance(kind, str) and kind.endswith(".done"):  # what its deltas said
        return 0
    if text := _text(item):
        return likely_tokens(text)
    is_chunk = "choices" in item if isinstance(item, Mapping) else hasattr(item, "choices")
    if is_chunk or (isinstance(kind, str) and kind.startswith(_EVENTS)):
        from techrevati.runtime.integrations.contents import plain

        return event_tokens(plain(item) or {})
    return 0


def _text(item: object) -> str:
    """The generated text in one item of a stream, as the SDKs' events hold it."""
    if isinstance(item, str):
        return item
    for path in (("delta",), ("delta", "text"), ("choices", 0, "delta", "content"), ("content",), ("text",)):
        found = item
        for name in path:
            if isinstance(name, int):
                found = found[name] if isinstance(found, (list, tuple)) and len(found) > name else None
            elif isinstance(found, Mapping):
                found = found.get(name)
            else:
                found = getattr(found, name, None)
        if isinstance(found, str) and found:
            return found
    return ""
