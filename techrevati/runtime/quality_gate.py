"""Decide whether observed quality is enough."""

from __future__ import annotations

from dataclasses import dataclass

from techrevati.runtime._core import arguments
from techrevati.runtime._core.quality import QualityLevel as QualityLevel

__all__ = ["QualityGate", "QualityGateOutcome", "QualityLevel"]


@dataclass(frozen=True, slots=True)
class QualityGateOutcome:
    """What a gate said.

    Attributes:
        satisfied: True when the observed level reaches the required one.
        required_level: What the gate asked for.
        observed_level: What it was shown; None when nothing was observed.
    """

    satisfied: bool
    required_level: QualityLevel
    observed_level: QualityLevel | None

    def is_satisfied(self) -> bool:
        """The same as ``satisfied``."""
        return self.satisfied

    def to_dict(self) -> dict[str, object]:
        """The outcome as plain values, levels by name."""
        observed = self.observed_level
        return {
            "satisfied": self.satisfied,
            "required_level": self.required_level.name,
            "observed_level": None if observed is None else observed.name,
        }


class QualityGate:
    """Asks for one quality level.

    Args:
        required_level: The lowest level that passes.

    Raises:
        ValueError: It is no quality level.
    """

    __slots__ = ("required_level",)

    def __init__(self, required_level: QualityLevel) -> None:
        self.required_level: QualityLevel = arguments.member("required_level", required_level, QualityLevel)

    def evaluate(self, observed: QualityLevel | None) -> QualityGateOutcome:
        """Compare *observed* with what is required; nothing observed never satisfies."""
        satisfied = observed is not None and self.is_satisfied_by(observed)
        return QualityGateOutcome(satisfied, self.required_level, observed)

    def is_satisfied_by(self, level: QualityLevel) -> bool:
        """True when *level* is at least the required one."""
        return level >= self.required_level

    def __repr__(self) -> str:
        return f"QualityGate({self.required_level.name})"
