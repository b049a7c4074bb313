"""Decide what may go into a tool and what may come out of it.

A guardrail looks before and after a tool runs.  They are asked in order; the first violation raises and
those behind it are not consulted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Iterable

GuardrailStage: TypeAlias = Literal["pre", "post"]


@dataclass(frozen=True, slots=True)
class GuardrailOutcome:
    """What a guardrail said.

    Attributes:
        allowed: True when nothing is wrong.
        reason: What is wrong, for people.
    """

    allowed: bool
    reason: str | None = None


@runtime_checkable
class Guardrail(Protocol):
    """Looks at tool calls."""

    @property
    def name(self) -> str:
        """The guardrail's name, for errors and events."""
        ...

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        """Whether *role* may call *tool* now."""
        ...

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Whether *value*, which *tool* returned, may be used."""
        ...


class AllowAllGuardrail:
    """Allows everything; the neutral element."""

    __slots__ = ("name",)

    def __init__(self, name: str = "allow_all") -> None:
        self.name: str = arguments.text("name", name)

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        """Allow."""
        return _ALLOWED

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Allow."""
        return _ALLOWED


_ALLOWED = GuardrailOutcome(True)


class GuardrailViolatedError(TechrevatiError):
    """A guardrail refused.

    Attributes:
        outcome: What it said.
        guardrail: Its name.
        role, tool: Whose call of what.
        stage: ``"pre"``: the tool did not run.  ``"post"``: it ran, and its result was withheld.
    """

    def __init__(
        self, outcome: GuardrailOutcome, *, guardrail: str, role: str, tool: str, stage: GuardrailStage
    ) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.guardrail = guardrail
        self.role = role
        self.tool = tool
        self.stage: GuardrailStage = stage

    def __str__(self) -> str:
        reason = self.outcome.reason or "no reason given"
        return f"guardrail {self.guardrail!r} ({self.stage}) refused tool {self.tool!r}: {reason}"


def run_pre_checks(guardrails: Iterable[Guardrail], *, role: str, tool: str) -> None:
    """Ask every guardrail before *tool* runs.

    Raises:
        GuardrailViolatedError: The first refusal.
    """
    for guardrail in guardrails:
        _demand(guardrail.check_pre(role=role, tool=tool), guardrail, role, tool, "pre")


def run_post_checks(guardrails: Iterable[Guardrail], value: object, *, role: str, tool: str) -> None:
    """Ask every guardrail about the *value* that *tool* returned.

    Raises:
        GuardrailViolatedError: The first refusal.
    """
    for guardrail in guardrails:
        _demand(guardrail.check_post(value, role=role, tool=tool), guardrail, role, tool, "post")


def _demand(
    outcome: GuardrailOutcome, guardrail: Guardrail, role: str, tool: str, stage: GuardrailStage
) -> None:
    if not outcome.allowed:
        raise GuardrailViolatedError(outcome, guardrail=guardrail.name, role=role, tool=tool, stage=stage)
