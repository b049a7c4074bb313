"""A model that answers by a script, so that a test of an agent knows every word beforehand.

It is called like any function or awaited through ``acall``; each call takes the next entry of the script,
and every call is kept for the test to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import TypeAlias

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.usage import UsageSnapshot


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool that the model asks for.

    Attributes:
        name: Which tool.
        arguments: What to call it with.
    """

    name: str
    arguments: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One answer of a scripted model; a session reads its ``usage`` by itself.

    Attributes:
        text: What it says.
        tools: What it asks for instead, or besides.
        usage: What it used; a token for every word by default, of the text and the arguments given.
    """

    text: str = ""
    tools: Sequence[ToolRequest] = ()
    usage: UsageSnapshot | None = None


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call that a scripted model was asked for.

    Attributes:
        arguments: Positional arguments.
        options: Keyword arguments.
        number: Which call, from 1.
    """

    arguments: tuple[object, ...]
    options: Mapping[str, object]
    number: int


Entry: TypeAlias = "str | ScriptedReply | ToolRequest | BaseException | Callable[[ModelCall], Entry]"
"""What a call gets: a text, a reply, a tool request, an exception to raise, or a function that says so."""


class ScriptExhaustedError(TechrevatiError, AssertionError):
    """A scripted model was called more often than its script has entries.

    Attributes:
        entries: How many there are.
    """

    def __init__(self, entries: int) -> None:
        super().__init__(entries)
        self.entries = entries

    def __str__(self) -> str:
        return f"the script has {self.entries} entries, and the model was called once more"


class ScriptedModel:
    """Answers with the entries of a script, one a call.  Thread-safe; the same object for threads and tasks.

    Args:
        script: The entries in order.
        repeat_last: Give the last entry again when the script is at its end, instead of raising.

    >>> model = ScriptedModel([ToolRequest("search", {"query": "sky"}), TimeoutError("slow"), "Blue."])
    >>> model("why?").tools[0].name
    'search'
    >>> try:
    ...     model("why?")
    ... except TimeoutError as error:
    ...     print(error)
    slow
    >>> model("why?").text, len(model.calls)
    ('Blue.', 3)
    """

    def __init__(self, script: Iterable[Entry], *, repeat_last: bool = False) -> None:
        self._script = list(script)
        self._repeat_last = repeat_last
        self._lock = Lock()
        self._calls: list[ModelCall] = []
        if isinstance(script, str) or (repeat_last and not self._script):
            raise ValueError(f"script must be a list of entries, got {script!r}")
        for entry in self._script:
            if not isinstance(entry, (str, ScriptedReply, ToolRequest, BaseException)) and not callable(
                entry
            ):
                raise TypeError(f"script must hold texts, replies, exceptions or functions, got {entry!r}")

    @property
    def calls(self) -> list[ModelCall]:
        """A copy of the calls so far, those included that raised."""
        with self._lock:
            return list(self._calls)

    @property
    def left(self) -> int:
        """Entries that no call has taken yet."""
        with self._lock:
            return max(0, len(self._script) - len(self._calls))

    def __call__(self, *arguments: object, **options: object) -> ScriptedReply:
        """The next reply.

        Raises:
            ScriptExhaustedError: The script is at its end.
            BaseException: The entry is one.
        """
        with self._lock:
            call = ModelCall(arguments, MappingProxyType(options), len(self._calls) + 1)
            self._calls.append(call)
        at = call.number - 1
        if at >= len(self._script):
            if not self._repeat_last:
                raise ScriptExhaustedError(len(self._script))
            at = -1
        return _played(self._script[at], call)

    async def acall(self, *arguments: object, **options: object) -> ScriptedReply:
        """:meth:`__call__` for tasks; lets other tasks run first."""
        import asyncio

        await asyncio.sleep(0)
        return self(*arguments, **options)


def _played(entry: Entry, call: ModelCall) -> ScriptedReply:
    while not isinstance(entry, (str, ScriptedReply, ToolRequest, BaseException)):
        entry = entry(call)
    if isinstance(entry, BaseException):
        raise entry
    if isinstance(entry, str):
        entry = ScriptedReply(entry)
    elif isinstance(entry, ToolRequest):
        entry = ScriptedReply(tools=(entry,))
    if entry.usage is not None:
        return entry
    given = sum(len(str(part).split()) for part in (*call.arguments, *call.options.values()))
    made = len(entry.text.split()) + sum(1 + len(tool.arguments) for tool in entry.tools)
    return ScriptedReply(entry.text, entry.tools, UsageSnapshot(input_tokens=given, output_tokens=made))
