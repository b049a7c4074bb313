"""The words of guardrails: what one is, what it says, and the error of a refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.scrub import scrubbed

if TYPE_CHECKING:
    from typing import Self

GuardrailStage: TypeAlias = Literal["pre", "post"]


class _Same(Enum):
    SAME = "unchanged"


UNCHANGED = _Same.SAME


@dataclass(frozen=True, slots=True)
class GuardrailOutcome:
    """What a guardrail said.

    Attributes:
        allowed: True when nothing is wrong.
        reason: What is wrong, for people; it should not repeat a secret.
        rule: Which rule was broken.
        path: Where, inside the arguments or the value, as ``$.headers[0].Authorization``.
        rewritten: What takes the place of the arguments or the value; see :meth:`rewrite`.
    """

    allowed: bool
    reason: str | None = None
    rule: str | None = None
    path: str | None = None
    rewritten: object = field(default=UNCHANGED, repr=False)

    @classmethod
    def rewrite(cls, rewritten: object, reason: str | None = None, *, rule: str | None = None) -> Self:
        """Allow, with *rewritten* in the place of what was looked at: a mapping for arguments."""
        return cls(True, reason, rule, None, rewritten)

    @property
    def rewrites(self) -> bool:
        """True when something else takes the place of what was looked at."""
        return self.rewritten is not UNCHANGED


@runtime_checkable
class Guardrail(Protocol):
    """Looks at tool calls, and at prompts and answers of turns if it has the methods for it.

    A ``check_pre`` with a parameter ``arguments`` is given the arguments of the call (None when the caller
    gave none) and may rewrite them.  Two more methods are asked where they exist:
    ``check_prompt(prompt, *, role, model)`` and ``check_answer(answer, *, role, model)``.  Each may be
    ``async def``; such a guardrail needs an async session.
    """

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
        role: Whose call it was.
        tool: ``""`` when it is about the prompt (``"pre"``) or the answer (``"post"``) of a turn.
        stage: ``"pre"``: nothing ran.  ``"post"``: it ran, and its result was withheld.
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

    @property
    def rule(self) -> str | None:
        """Which rule was broken, if the guardrail said."""
        return self.outcome.rule

    @property
    def path(self) -> str | None:
        """Where it was broken, if the guardrail said."""
        return self.outcome.path

    def __str__(self) -> str:
        reason = scrubbed(self.outcome.reason or "no reason given")
        what = f"tool {self.tool!r}" if self.tool else ("the prompt" if self.stage == "pre" else "the answer")
        return f"guardrail {self.guardrail!r} ({self.stage}) refused {what}: {reason}"
