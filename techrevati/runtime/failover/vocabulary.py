"""What a failover tells: who was passed over, who is asked instead, and that nobody could be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from techrevati.runtime.failures import Failure


class PassedTarget(NamedTuple):
    """A target that gave no answer to this call, and why.

    Attributes:
        name: The target.
        reason: ``"failed"`` when it was asked; ``"open"`` (its breaker refused), ``"resting"`` (asked to be
            left alone, or out of quota) or ``"deadline"`` (no time left) when it was not.
        failure: What it failed with; None when it was not asked.
        retry_after: Seconds until it may be asked again; None when nobody said.
    """

    name: str
    reason: str
    failure: Failure | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        why = self.reason if self.failure is None else f"{self.reason}: {self.failure.kind.value}"
        return f"{self.name} ({why})"


class TargetSwitch(NamedTuple):
    """A call goes on to another target than the one it would have liked best.

    Attributes:
        target: Who is asked now; None when nobody was left (only told when observing).
        passed: Who was passed over or failed before, in that order.
        made: False when this was only observed: the preferred target is asked whatever is known about it, and
            nobody after it.
    """

    target: str | None
    passed: tuple[PassedTarget, ...]
    made: bool = True


class NoTargetError(TechrevatiError, RuntimeError):
    """Nobody could be asked: every target was passed over, and nothing was sent.

    Attributes:
        skipped: Each target and why it was not asked.
        retry_after: Seconds until the first of them may be asked again; None when nobody can say.
    """

    def __init__(self, skipped: Iterable[PassedTarget], retry_after: float | None = None) -> None:
        skipped = tuple(skipped)
        super().__init__(skipped, retry_after)
        self.skipped: tuple[PassedTarget, ...] = skipped
        self.retry_after: float | None = retry_after

    def __str__(self) -> str:
        wait = "" if self.retry_after is None else f"; retry in {self.retry_after:.3g} s"
        return f"no target may be asked: {', '.join(map(str, self.skipped))}{wait}"
