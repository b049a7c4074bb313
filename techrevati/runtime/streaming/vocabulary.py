"""The words of streaming: how a stream ends, the error of one that fell silent, what reads its usage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from techrevati.runtime.usage import UsageSnapshot

StreamState: TypeAlias = Literal["completed", "failed", "stalled", "closed", "cancelled"]


class StreamStalledError(TechrevatiError, TimeoutError):
    """A stream said nothing for too long; nobody waits for it any more.

    Attributes:
        phase: ``"first_token"`` or ``"idle"``.
        seconds: The limit it missed.
        chunks: How many chunks had come before.
    """

    def __init__(self, phase: Literal["first_token", "idle"], seconds: float, chunks: int = 0) -> None:
        super().__init__(phase, seconds, chunks)
        self.phase: Literal["first_token", "idle"] = phase
        self.seconds = seconds
        self.chunks = chunks

    def __str__(self) -> str:
        what = "no first token" if self.phase == "first_token" else f"nothing after {self.chunks} chunks"
        return f"the stream stalled: {what} within {self.seconds:g} s"


class UsageReader(Protocol):
    """Gathers usage from the chunks of one stream, as ``UsageAccumulator`` does."""

    def add(self, event: object, /) -> object:
        """Take one chunk.  One that raises is asked no more, and what it knows counts as estimated."""
        ...

    def snapshot(self) -> UsageSnapshot:
        """What was used as far as the chunks tell."""
        ...

    @property
    def complete(self) -> bool:
        """True when the chunks told everything."""
        ...


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """How a stream ended.

    Attributes:
        state: ``completed``; ``failed``: it raised; ``stalled``: it was silent for too long, or the deadline
            passed; ``closed``: its consumer left early; ``cancelled``: its consumer was interrupted.
        chunks: How many came.
        usage: What it used; None when it was watched without a usage reader.
        estimated: True when *usage* is not what the provider told at the end.
        first_token_seconds: How long it was waited for the first token; None if none came.
        error: What ended it; None for ``completed`` and ``closed``.
    """

    state: StreamState
    chunks: int
    usage: UsageSnapshot | None = None
    estimated: bool = False
    first_token_seconds: float | None = None
    error: BaseException | None = None
