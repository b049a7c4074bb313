"""Nothing larger than this goes in or comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments as check
from techrevati.runtime.guardrails.vocabulary import GuardrailOutcome
from techrevati.runtime.guardrails.walking import texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALLOWED = GuardrailOutcome(True)


class SizeGuardrail:
    """Refuses what holds too much text.  Immutable; thread-safe.

    Counted are the characters of all texts, keys included; nothing is cut.

    Args:
        arguments, result, prompt, answer: Characters allowed there, >= 0; None for no limit.
        name: The guardrail's name.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_limits", "name")

    def __init__(
        self,
        *,
        arguments: int | None = None,
        result: int | None = None,
        prompt: int | None = None,
        answer: int | None = None,
        name: str = "size",
    ) -> None:
        self.name: str = check.text("name", name)
        given = {"arguments": arguments, "result": result, "prompt": prompt, "answer": answer}
        self._limits = {
            stage: check.count(stage, limit) for stage, limit in given.items() if limit is not None
        }
        if not self._limits:
            raise ValueError("arguments, result, prompt or answer must be given: a limit in characters")

    def check_pre(
        self, *, role: str, tool: str, arguments: Mapping[str, object] | None = None
    ) -> GuardrailOutcome:
        """Measure the arguments."""
        return _ALLOWED if arguments is None else self._measure("arguments", arguments)

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Measure the result."""
        return self._measure("result", value)

    def check_prompt(self, prompt: object, *, role: str, model: str) -> GuardrailOutcome:
        """Measure the prompt."""
        return self._measure("prompt", prompt)

    def check_answer(self, answer: object, *, role: str, model: str) -> GuardrailOutcome:
        """Measure the answer."""
        return self._measure("answer", answer)

    def _measure(self, stage: str, value: object) -> GuardrailOutcome:
        limit = self._limits.get(stage)
        if limit is None:
            return _ALLOWED
        length = 0
        for path, text in texts(value):
            length += len(text)
            if length > limit:
                reason = f"the {stage} has more than {limit} characters, reached at {path}"
                return GuardrailOutcome(False, reason, rule=f"{stage} size", path=path)
        return _ALLOWED
