"""Guard a stream of whatever items: begun at its first item, ended at its last, or when its reader goes away.

Nothing is sent before a reader asks for the first item, and only until then a failure is tried again: what a
reader has seen is never said twice.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime._core.likely_tokens import likely_tokens
from techrevati.runtime.integrations.answers import usage_of
from techrevati.runtime.usage import UsageAccumulator, UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
    from typing import Any, TypeVar

    from techrevati.runtime.integrations.call_guard import CallGuard
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.physical_request import PhysicalRequest

    T = TypeVar("T")

_END: Any = object()
NOTHING = UsageSnapshot()


class Heard:
    """What one stream has said so far.

    Args:
        tokens: About how many tokens of output one item holds, for streams that are cut off; None counts the
            items that are strings.
        usage: What one item says about the usage of the whole; None takes the events of SDKs.
    """

    __slots__ = ("_generated", "_said", "_tokens", "_told", "_usage")

    def __init__(
        self,
        *,
        tokens: Callable[[Any], int] | None = None,
        usage: Callable[[Any], UsageSnapshot | None] | None = None,
    ) -> None:
        self._tokens = tokens
        self._usage = usage
        self._told = UsageAccumulator()
        self._said: UsageSnapshot | None = None
        self._generated = 0  # tokens

    def hear(self, item: object) -> None:
        """Take note of *item*."""
        if self._usage is not None:
            said = self._usage(item)
            if said is not None:
                self._said = said
        else:
            self._told.add(item)
        if self._tokens is not None:
            self._generated += self._tokens(item)
        elif isinstance(item, str):
            self._generated += likely_tokens(item)

    @property
    def begun(self) -> bool:
        """Whether any text of it has come."""
        return self._generated > 0

    @property
    def complete(self) -> bool:
        """Whether it has said what it used in the end."""
        return self._said is not None or (self._usage is None and self._told.complete)

    def usage(self) -> UsageSnapshot | None:
        """What it said it used; None when it has not said."""
        if self._said is not None:
            return self._said
        return self._told.snapshot() if self.complete else None

    def estimate(self, request: ModelRequest) -> UsageSnapshot:
        """What it has used until now, if nothing more comes: about what was sent and what was generated."""
        known = self._said if self._said is not None else self._told.snapshot()
        generated = max(known.output_tokens, self._generated)
        if known == NOTHING:
            return UsageSnapshot(request.likely_input_tokens, generated)
        return replace(known, output_tokens=generated)


def stream(
    guard: CallGuard,
    request: ModelRequest,
    start: Callable[[], Iterator[T]],
    heard: Callable[[], Heard] = Heard,
) -> Generator[T, Any, Any]:
    """The items of ``start()``, guarded; what a generator returns in the end is returned."""

    def send(made: PhysicalRequest) -> tuple[PhysicalRequest, Heard, Iterator[T], T, Any]:
        items = iter(start())
        try:
            return made, heard(), items, next(items), None
        except StopIteration as end:
            return made, heard(), items, _END, end.value

    made, hearing, items, item, result = guard.call(request, send)
    here = _Here()
    # One that is open when the program ends: later nothing can be written any more.
    at_exit = weakref.finalize(here, _left, made, hearing, request)
    try:
        while item is not _END:
            hearing.hear(item)
            sent = thrown = None
            try:
                sent = yield item
            except GeneratorExit:
                _left(made, hearing, request)
                raise
            except BaseException as error:
                thrown = error
            made.check_time()
            try:
                if thrown is not None:
                    item = _throw(items, "throw")(thrown)
                else:
                    item = next(items) if sent is None else items.send(sent)  # type: ignore[attr-defined]
            except StopIteration as end:
                item, result = _END, end.value
    except BaseException as error:
        made.fail(error, hearing.estimate(request), measured=hearing.complete)
        raise
    finally:
        at_exit.detach()
        close = getattr(items, "close", None)
        if close is not None:
            close()
    used = hearing.usage() or usage_of(result)
    made.finish(used or hearing.estimate(request), measured=used is not None)
    return result


class _Here:
    """Lives as long as the frame of one stream."""

    __slots__ = ("__weakref__",)


def _left(made: PhysicalRequest, hearing: Heard, request: ModelRequest) -> None:
    """The reader went away: after the end of the answer, or before."""
    if hearing.complete:
        made.finish(hearing.usage())
    else:
        made.abandon(hearing.estimate(request))


async def astream(
    guard: CallGuard,
    request: ModelRequest,
    start: Callable[[], AsyncIterator[T]],
    heard: Callable[[], Heard] = Heard,
) -> AsyncGenerator[T, Any]:
    """:func:`stream` for tasks."""

    async def send(made: PhysicalRequest) -> tuple[PhysicalRequest, Heard, AsyncIterator[T], T]:
        items = aiter(start())
        try:
            return made, heard(), items, await made.in_time(anext(items))
        except StopAsyncIteration:
            return made, heard(), items, _END
        except BaseException:
            await _aclosed(items)
            raise

    made, hearing, items, item = await guard.acall(request, send)
    try:
        while item is not _END:
            hearing.hear(item)
            sent = thrown = None
            try:
                sent = yield item
            except GeneratorExit:
                if hearing.complete:  # the reader went away: after the end of the answer, or before
                    await made.afinish(hearing.usage())
                else:
                    await made.aabandon(hearing.estimate(request))
                raise
            except BaseException as error:
                thrown = error
            if thrown is not None:
                step = _throw(items, "athrow")(thrown)
            else:
                step = anext(items) if sent is None else items.asend(sent)  # type: ignore[attr-defined]
            try:
                item = await made.in_time(step)
            except StopAsyncIteration:
                item = _END
    except BaseException as error:
        await made.afail(error, hearing.estimate(request), measured=hearing.complete)
        raise
    finally:
        await _aclosed(items)
    used = hearing.usage()
    await made.afinish(used or hearing.estimate(request), measured=used is not None)


def _throw(items: object, name: str) -> Callable[[BaseException], Any]:
    """How what a reader throws in reaches *items*; an iterator that is no generator lets it out again."""

    def out(error: BaseException) -> Any:
        raise error

    return getattr(items, name, out)


async def _aclosed(items: object) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
