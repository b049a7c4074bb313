"""Several tools at once, each as if it were alone.

Every call goes through permission, guardrails and the rest like one of ``run_tool``; what one raises is its
own result and does not touch the others.  Results come in the order of the calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from techrevati.runtime._core import arguments as check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from techrevati.runtime.approvals import Approvals
    from techrevati.runtime.journal import RunJournal
    from techrevati.runtime.orchestrator.journalled import Verify

T = TypeVar("T")


class ToolCall(Generic[T]):
    """One tool to run.  Immutable by convention.

    Args:
        tool_name: Its name.
        fn: Runs it: without arguments, or with *arguments* by keyword.
        arguments: What the guardrails see and may rewrite.
        approval, key, idempotent, verify: As for ``run_tool``.  Calls of one tool with the same arguments are
            told apart in the journal by their order, unless each has a *key*.
    """

    __slots__ = ("approval", "arguments", "fn", "idempotent", "key", "tool_name", "verify")

    def __init__(
        self,
        tool_name: str,
        fn: Callable[..., T],
        arguments: Mapping[str, object] | None = None,
        *,
        approval: Approvals | None = None,
        key: str | None = None,
        idempotent: bool = False,
        verify: Verify | None = None,
    ) -> None:
        self.tool_name: str = check.text("tool_name", tool_name)
        check.function("fn", fn)
        self.fn: Callable[..., T] = fn
        self.arguments: Mapping[str, object] | None = arguments
        self.approval: Approvals | None = approval
        self.key: str | None = None if key is None else check.name("key", key)
        self.idempotent: bool = idempotent
        self.verify: Verify | None = verify

    def __repr__(self) -> str:
        return f"ToolCall({self.tool_name!r})"


class ToolResult(Generic[T]):
    """What came of one of several tools: a value, or the error it raised.

    Attributes:
        tool_name: Which tool.
        error: What it raised, or what refused it; None when it returned.
    """

    __slots__ = ("_value", "error", "tool_name")

    def __init__(self, tool_name: str, value: T | None = None, error: BaseException | None = None) -> None:
        self.tool_name: str = tool_name
        self._value = value
        self.error: BaseException | None = error

    @property
    def ok(self) -> bool:
        """True when it returned."""
        return self.error is None

    @property
    def value(self) -> T:
        """What it returned.

        Raises:
            Exception: What it raised, when it did.
        """
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"ToolResult({self.tool_name!r}, {'ok' if self.ok else type(self.error).__name__})"


def checked(calls: Iterable[ToolCall[T]], max_concurrency: int) -> list[ToolCall[T]]:
    """The calls, if they are calls."""
    check.count("max_concurrency", max_concurrency, minimum=1)
    found = list(calls)
    for call in found:
        if not isinstance(call, ToolCall):
            raise TypeError(f"calls must be ToolCalls, got {type(call).__name__}")
    return found


def told_apart(run: RunJournal | None, calls: list[ToolCall[T]]) -> list[ToolCall[T]]:
    """The calls, each with its key in the journal: by their order, whichever comes first."""
    if run is None:
        return calls
    return [call if call.key is not None else _keyed(run, call) for call in calls]


def _keyed(run: RunJournal, call: ToolCall[T]) -> ToolCall[T]:
    try:
        key = run._places.reserved("tool", call.tool_name, call.arguments or {})
    except (TypeError, ValueError):  # its arguments are not such: that is the call's own failure
        return call
    return ToolCall(
        call.tool_name,
        call.fn,
        call.arguments,
        approval=call.approval,
        key=key,
        idempotent=call.idempotent,
        verify=call.verify,
    )


def in_threads(
    calls: list[ToolCall[T]],
    run: Callable[[ToolCall[T]], T],
    max_concurrency: int,
    journal: RunJournal | None = None,
) -> list[ToolResult[T]]:
    """Run each call in a copy of the caller's context; at most so many threads, all ended on return.

    An interruption (Ctrl-C) starts no further call, waits for those that run, and goes on.
    """
    from contextvars import copy_context

    def one(call: ToolCall[T]) -> ToolResult[T]:
        try:
            return ToolResult(call.tool_name, run(call))
        except Exception as error:
            return ToolResult(call.tool_name, error=error)

    if len(calls) <= 1 or max_concurrency == 1:
        return [copy_context().run(one, call) for call in calls]
    calls = told_apart(journal, calls)
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(max_concurrency, len(calls)), "techrevati-tool")
    try:
        futures = [pool.submit(copy_context().run, one, call) for call in calls]
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


async def in_tasks(
    calls: list[ToolCall[T]],
    run: Callable[[ToolCall[T]], Awaitable[T]],
    max_concurrency: int,
    journal: RunJournal | None = None,
) -> list[ToolResult[T]]:
    """Run each call in a task of its own, so many at once; cancelling this cancels them and waits."""
    import asyncio

    calls = told_apart(journal, calls)

    turn = asyncio.Semaphore(max_concurrency)

    async def one(call: ToolCall[T]) -> ToolResult[T]:
        async with turn:
            try:
                return ToolResult(call.tool_name, await run(call))
            except Exception as error:
                return ToolResult(call.tool_name, error=error)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                return ToolResult(call.tool_name, error=error)  # the tool's own, nobody cancelled us

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(call)) for call in calls]
    return [task.result() for task in tasks]
