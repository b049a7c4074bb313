"""What guardrails and loop detection say about the prompt and the answer of a turn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.guardrails import GuardrailViolatedError
from techrevati.runtime.orchestrator.life import SessionLife

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.orchestrator.configuration import Orchestrator

    T = TypeVar("T")


class SessionTurnGuards(SessionLife):
    """A prompt is looked at before a turn is counted; an answer after it was booked, as it was paid for."""

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        super().__init__(config, handoff)
        self._looks_at_turns = self._guardrails.looks_at_turns or self._loops is not None

    def _prompted(self, fn: Callable[..., T], model: str, prompt: object) -> Callable[[], T]:
        """*fn* with the prompt as the guardrails left it."""
        self._require_running()
        try:
            prompt = self._guardrails.prompt(prompt, role=self.role, model=model)
        except GuardrailViolatedError as refusal:
            self._refused(refusal)
            raise
        return partial(fn, prompt=prompt)

    async def _aprompted(self, fn: Callable[..., T], model: str, prompt: object) -> Callable[[], T]:
        self._require_running()
        try:
            prompt = await self._guardrails.aprompt(prompt, role=self.role, model=model)
        except GuardrailViolatedError as refusal:
            self._refused(refusal)
            raise
        return partial(fn, prompt=prompt)

    def _check_answer(self, model: str, prompt: object, answer: object) -> Any:
        """*answer* as the guardrails left it."""
        try:
            kept = self._guardrails.answer(answer, role=self.role, model=model)
        except GuardrailViolatedError as refusal:
            self._refused(refusal)
            raise
        if self._loops is not None:
            self._loops.after_turn(model, prompt, answer)
        return kept

    async def _acheck_answer(self, model: str, prompt: object, answer: object) -> Any:
        try:
            kept = await self._guardrails.aanswer(answer, role=self.role, model=model)
        except GuardrailViolatedError as refusal:
            self._refused(refusal)
            raise
        if self._loops is not None:
            self._loops.after_turn(model, prompt, answer)
        return kept

    def _refused(self, refusal: GuardrailViolatedError) -> None:
        data: dict[str, object] = {"stage": refusal.stage, "by": refusal.guardrail}
        data.update((key, said) for key in ("rule", "path") if (said := getattr(refusal.outcome, key, None)))
        self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, str(refusal), data)
