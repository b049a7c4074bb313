"""langchain chat models and tools, guarded.

A chat model that talks through an SDK client gets a guarded client, so that what counts is what was sent.
For any other model there is a callback handler that really vetoes: langchain swallows what callbacks raise,
unless they say otherwise, as this one does.  Importing this needs langchain-core.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock, RLock
from types import new_class
from typing import TYPE_CHECKING

from techrevati.runtime.integrations.answers import usage_of
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.guarded_streams import Heard
from techrevati.runtime.integrations.model_request import ModelRequest
from techrevati.runtime.integrations.sdk_clients import guard_with, is_client
from techrevati.runtime.integrations.tool_guard import ToldRefusal
from techrevati.runtime.retry_policy import Retry

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import BaseTool
except ImportError as _missing:  # pragma: no cover
    raise ImportError("techrevati.runtime.integrations.langchain needs langchain-core") from _missing

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, Unpack
    from uuid import UUID

    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.integrations.tool_guard import ToolGuard

    M = TypeVar("M", bound=BaseChatModel)
    T = TypeVar("T", bound=BaseTool)

__all__ = ["GuardHandler", "guard_model", "guard_tool"]

_ROOTS = (("root_client", "client"), ("root_async_client", "async_client"))  # langchain-openai
_CACHED = ("_client", "_async_client")  # langchain-anthropic
_MAXIMA = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_OPEN = 10_000  # calls under way that one handler keeps
_ONCE = Retry(1)


def guard_model(model: M, **options: Unpack[GuardOptions]) -> M:
    """A copy of a chat model, of the same class, whose calls are guarded, counted and charged to a project.

    ``invoke``, ``stream``, ``batch``, ``bind_tools``, ``with_structured_output``, sync and async, all go the
    same way.  The SDK's own retries are taken over: ``retry=``, else as many as its ``max_retries`` says.  A
    model without an SDK client of openai or anthropic gets a :class:`GuardHandler`; its retries stay its own.

    Args:
        model: The chat model; it stays as it is.
        options: Those of ``CallGuard``: project, breaker, budget, retry, ledger, deadline, …

    Raises:
        ValueError, TypeError: An option is out of range, or *retry* is given for a model whose retries cannot
            be taken over.

    Calls raise ``CircuitOpenError``, ``BudgetExceededError`` and ``DeadlineExceededError`` beside the
    exceptions of langchain and the SDK.
    """
    if not isinstance(model, BaseChatModel):
        raise TypeError(f"model must be a chat model of langchain, got {model!r}")
    guard = CallGuard(**options)
    made = model.model_copy()
    _forget_handlers(made)  # the new guard, instead of the old one
    inside = vars(made)
    found = False
    for root, name in _ROOTS:
        client: Any = inside.get(root)
        if is_client(client):
            found = True
            inside[root] = guarded = guard_with(client, guard)
            inside[name] = guarded.chat.completions
    for name in _CACHED:
        if not found or name in inside:
            client = getattr(model, name, None)
            if is_client(client):
                inside[name] = guard_with(client, guard)
                inside["configurable_fields"] = _not_configurable
                found = True
    if found:
        return made
    if guard.retry is not None:
        raise ValueError(
            f"retry cannot be taken over for {type(model).__name__}, which has no SDK client that is known: "
            "leave it out, and set the model's own"
        )
    given = made.callbacks
    handler = GuardHandler(guard=guard)
    if given is None or isinstance(given, list):
        made.callbacks = [handler, *(given or ())]
    else:
        given.add_handler(handler)
    return made


def _forget_handlers(model: BaseChatModel) -> None:
    """Take the handlers of an older guard away; what callbacks the model was given stays as it is."""
    given = model.callbacks
    if isinstance(given, list):
        model.callbacks = [one for one in given if not isinstance(one, GuardHandler)]
    elif given is not None:
        model.callbacks = given = given.copy()
        for one in given.handlers.copy():
            if isinstance(one, GuardHandler):
                given.remove_handler(one)


def _not_configurable(**fields: object) -> None:
    raise TypeError(
        "configurable_fields makes new models, with clients of their own that this guard does not reach: "
        f"guard the models that you make of it (asked for: {', '.join(sorted(fields))})"
    )


class GuardHandler(BaseCallbackHandler):
    """A callback that guards each call of any chat model or LLM, and really vetoes.

    ``model.invoke(…, config={"callbacks": [GuardHandler(budget=…)]})``.  A call counts as one physical
    request, however often the model's SDK tries: set its ``max_retries=0``.  Do not give it to a model that
    is guarded already.  In async code a ledger on disk is written on the event loop's thread.  Thread-safe.

    Args:
        guard: A guard that others share, instead of *options*.
        options: Those of ``CallGuard``; a retry is not used.
    """

    raise_error = True  # else langchain logs a refusal and sends the request
    run_inline = True

    def __init__(self, *, guard: CallGuard | None = None, **options: Unpack[GuardOptions]) -> None:
        super().__init__()
        self._guard = CallGuard(**options) if guard is None else guard
        self._open: OrderedDict[int, tuple[PhysicalRequest, Heard]] = OrderedDict()
        self._lock = RLock()  # what was thrown away is settled whenever the collector runs
        with _lock:
            _handlers.add(self)

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[Any]], *, run_id: UUID, **more: Any
    ) -> None:
        """Begin, or refuse."""
        self._begin(messages, run_id, more)

    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **more: Any
    ) -> None:
        """Begin, or refuse."""
        self._begin(prompts, run_id, more)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **more: Any) -> None:
        """Hear what comes, for streams that are cut off."""
        found = self._open.get(run_id.int)
        if found is not None:
            found[1].hear(token if isinstance(token, str) else str(token))

    def on_llm_end(self, response: Any, *, run_id: UUID, **more: Any) -> None:
        """The answer is there."""
        found = self._taken(run_id.int)
        if found is None:
            return
        made, heard = found
        messages = [getattr(one, "message", one) for answers in response.generations for one in answers]
        if any(map(_cached, messages)):
            made.unsent()
            return
        used = next((said for one in messages if (said := usage_of(one)) is not None), None)
        used = used or usage_of(response.llm_output or {})
        made.finish(used or heard.estimate(made.request), measured=used is not None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """It failed, or its reader went away."""
        found = self._taken(run_id.int)
        if found is None:
            return
        made, heard = found
        if isinstance(error, GeneratorExit):
            made.abandon(heard.estimate(made.request))
        else:
            made.fail(error, heard.estimate(made.request) if heard.begun else None)

    def _taken(self, run: int) -> tuple[PhysicalRequest, Heard] | None:
        with self._lock:
            return self._open.pop(run, None)

    def _thrown_away(self, run: int) -> None:
        """langchain tells nobody of a call that was cancelled."""
        found = self._taken(run)
        if found is not None:
            found[0].abandon(found[1].estimate(found[0].request))

    def _begin(self, content: object, run_id: UUID, more: Mapping[str, Any]) -> None:
        said = more.get("invocation_params") or {}
        about = more.get("metadata") or {}
        most = next((value for name in _MAXIMA if type(value := said.get(name)) is int), None)
        asked = ModelRequest(
            str(about.get("ls_provider") or said.get("_type") or "langchain"),
            about.get("ls_model_name") or said.get("model") or said.get("model_name"),
            "langchain callback",
            content=[content, said.get("tools")],
            max_output_tokens=about.get("ls_max_tokens") if most is None else most,
            answers=answers if type(answers := said.get("n")) is int and answers > 0 else 1,
        )
        try:
            made = self._guard.call(asked, lambda begun: begun, retry=_ONCE)
        except Exception:
            _vetoed(run_id.int)
            raise
        forgotten = None
        weakref.finalize(run_id, self._thrown_away, run_id.int)
        with self._lock:
            self._open[run_id.int] = (made, Heard())
            if len(self._open) > _OPEN:
                _, forgotten = self._open.popitem(last=False)
        if forgotten is not None:
            forgotten[0].abandon()


_handlers: weakref.WeakSet[GuardHandler] = weakref.WeakSet()
_lock = Lock()


def _vetoed(run: int) -> None:
    """Nothing is sent: what handlers that were asked before let pass has not happened."""
    with _lock:
        others = list(_handlers)
    for other in others:
        found = other._taken(run)
        if found is not None:
            found[0].unsent()


def _cached(message: object) -> bool:
    """Whether an answer came from a cache of langchain's, and nothing was sent."""
    used = getattr(message, "usage_metadata", None)
    return isinstance(used, Mapping) and used.get("total_cost") == 0


def guard_tool(tool: T, guard: ToolGuard) -> T:
    """A copy of *tool* whose calls pass *guard*, from ``invoke``, ``run`` or a ``ToolNode``, sync and async.

    A refusal is raised, or told to the model; see ``ToolGuard``.  It sees what the model says, without the
    arguments that langchain adds (``InjectedState`` and the like).
    """
    if not isinstance(tool, BaseTool):
        raise TypeError(f"tool must be a BaseTool of langchain, got {tool!r}")
    kind: Any = type(tool)
    injected = _injected(tool)

    def run(self: Any, tool_input: Any, *args: Any, **more: Any) -> Any:
        def plain(arguments: Any) -> Any:
            return kind.run(self, _restored(tool_input, arguments, injected), *args, **more)

        call_id = more.get("tool_call_id")
        return Answers(self.name, call_id).call(guard, _named(tool_input, injected), plain)

    async def arun(self: Any, tool_input: Any, *args: Any, **more: Any) -> Any:
        async def plain(arguments: Any) -> Any:
            return await kind.arun(self, _restored(tool_input, arguments, injected), *args, **more)

        call_id = more.get("tool_call_id")
        return await Answers(self.name, call_id).acall(guard, _named(tool_input, injected), plain)

    def body(namespace: dict[str, Any]) -> None:
        namespace.update(__module__=kind.__module__, __doc__=kind.__doc__, run=run, arun=arun)

    made = tool.model_copy()
    made.__class__ = new_class(kind.__name__, (kind,), {}, body)
    return made


class Answers:
    """One tool call: guardrails see the content of its message, and refusals that are told become one."""

    def __init__(self, tool: str, call_id: str | None) -> None:
        self._tool = tool
        self._call_id = call_id
        self._message: Any = None

    def call(self, guard: ToolGuard, arguments: Any, run: Callable[[Any], Any]) -> Any:
        """The guarded call."""
        said = guard.call(
            self._tool, arguments, lambda given: self._content(run(given)), call_id=self._call_id
        )
        return self._answer(said)

    async def acall(self, guard: ToolGuard, arguments: Any, run: Callable[[Any], Any]) -> Any:
        """The guarded call, for tasks."""

        async def content(given: Any) -> Any:
            return self._content(await run(given))

        return self._answer(await guard.acall(self._tool, arguments, content, call_id=self._call_id))

    def _content(self, answer: Any) -> Any:
        if isinstance(answer, ToolMessage):
            self._message = answer
            return answer.content
        return answer

    def _answer(self, said: Any) -> Any:
        if isinstance(said, ToldRefusal):
            if self._call_id is None:
                return said
            return ToolMessage(str(said), tool_call_id=self._call_id, name=self._tool, status="error")
        if self._message is None:
            return said
        if said == self._message.content:
            return self._message
        return self._message.model_copy(update={"content": said})


def _injected(tool: BaseTool) -> frozenset[str]:
    """The names of the arguments that the model does not give."""
    named: Any = getattr(tool, "_injected_args_keys", ())
    asked: Any = tool.tool_call_schema
    if isinstance(asked, dict):
        return frozenset(named)
    whole: Any = tool.get_input_schema()
    fields = [set(getattr(one, "model_fields", None) or one.__fields__) for one in (whole, asked)]
    return frozenset(named) | (fields[0] - fields[1])


def _named(tool_input: Any, injected: frozenset[str]) -> dict[str, Any]:
    if not isinstance(tool_input, Mapping):
        return {"input": tool_input}
    return {name: value for name, value in tool_input.items() if name not in injected}


def _restored(tool_input: Any, arguments: Mapping[str, Any], injected: frozenset[str]) -> Any:
    if not isinstance(tool_input, Mapping):
        return arguments["input"]
    added = {name: value for name, value in tool_input.items() if name in injected}
    return {**arguments, **added}
