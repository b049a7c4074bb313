"""How a run waits for a person: one question at a time, one answer, given from any thread.

Decided here alone is who may answer, and when: only while somebody waits, and only once; the end of the
session is an answer, too.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.agent_lifecycle import AgentStatus
from techrevati.runtime.orchestrator.errors import InputStateError, SessionEndedError
from techrevati.runtime.orchestrator.life import SessionLife

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.orchestrator.configuration import Orchestrator


class SessionPauses(SessionLife):
    """The asynchronous session's pause for input."""

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        super().__init__(config, handoff)
        self._pause: Future[str] | None = None
        self._answered = False
        self._pause_lock = Lock()

    async def pause_for_input(self, prompt: str) -> str:
        """Wait until somebody calls :meth:`provide_input`; the worker is WAITING_FOR_INPUT meanwhile.

        With a journal an answer that was given is remembered by later lives of the run.

        Raises:
            InputStateError: The session already waits (a RuntimeError).
            SessionEndedError: The session was ended meanwhile.
        """

        self._require_running()
        if self._run is None:
            return await self._apause(prompt)
        return await self._run.astep(
            None,
            lambda: self._apause(prompt),
            idempotent=True,
            kind="input",
            arguments={"prompt": prompt},
        )

    async def _apause(self, prompt: str) -> str:
        import asyncio

        if self._pause is not None:
            raise InputStateError("the session already waits for input")
        answer: Future[str] = asyncio.get_running_loop().create_future()
        self._pause, self._answered = answer, False
        try:
            shown = self._redactor.text(prompt)
            self.worker.transition(AgentStatus.WAITING_FOR_INPUT, shown)
            self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, shown)
            value = await answer
        finally:
            self._pause = None
            if self.worker.status is AgentStatus.WAITING_FOR_INPUT:
                self.worker.transition(AgentStatus.RUNNING)
        self.emit(Name.AGENT_READY, Status.READY)
        return value

    def provide_input(self, value: str) -> None:
        """Answer the pending :meth:`pause_for_input`; may be called from any thread.

        Raises:
            InputStateError: Nobody waits for input, or it was given already (a RuntimeError).
        """
        with self._pause_lock:
            answer = self._pause
            if answer is None or self._answered or answer.done():
                raise InputStateError("nobody waits for input")
            self._answered = True
        _settle(answer, lambda: answer.set_result(value))

    def _on_end(self) -> None:
        answer, state = self._pause, self._state
        if answer is not None:
            _settle(answer, lambda: answer.set_exception(SessionEndedError(state)))


def _settle(answer: Future[str], how: Callable[[], None]) -> None:
    """Settle a future from whatever thread this is."""
    import asyncio

    def arrive() -> None:
        if not answer.done():
            how()

    loop = answer.get_loop()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        arrive()
    else:
        loop.call_soon_threadsafe(arrive)
