"""Loop detection of one session: its tools and its turns, each in a line of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime.agent_events import (
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.loop_detection import LoopDetectedError, LoopState
from techrevati.runtime.orchestrator.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime.loop_detection import LoopDetection, LoopFinding
    from techrevati.runtime.orchestrator.life import SessionLife


class LoopWatch:
    """What a session repeats.  Thread-safe; parallel calls are judged against those that have ended."""

    __slots__ = ("_lock", "_rules", "_session", "_tools", "_turns")

    def __init__(self, session: SessionLife, rules: LoopDetection) -> None:
        self._session = session
        self._rules = rules
        self._lock = fork_safe_lock()
        self._tools = LoopState()
        self._turns = LoopState()

    def before_tool(self, tool: str, arguments: Mapping[str, object]) -> tuple[str, int]:
        """Judge a call that is about to run; gives its key for :meth:`after_tool`."""
        call = tool, fingerprint(arguments)
        with self._lock:
            found = self._rules.before(self._tools, call)
        self._tell(found, f"tool {tool!r}")
        return call

    def after_tool(self, call: tuple[str, int], result: object) -> None:
        """Remember what a call returned, or raised."""
        if isinstance(result, BaseException):
            result = f"{type(result).__qualname__}: {result}"
        came = fingerprint(result)
        with self._lock:
            self._tools = self._rules.after(self._tools, call, came)

    def after_turn(self, model: str, prompt: object, result: object) -> None:
        """Judge a turn that was paid for."""
        turn = model, fingerprint(prompt)
        came = fingerprint(result, of_answer=True)
        with self._lock:
            self._turns = self._rules.after(self._turns, turn, came)
            found = self._rules.found(self._turns)
        self._tell(found, f"turn of {model or 'the model'}", result)

    def _tell(self, found: LoopFinding | None, step: str, result: object = None) -> None:
        if found is None:
            return
        error = LoopDetectedError(
            found.kind,
            period=found.period,
            repetitions=found.repetitions,
            limit=found.limit,
            step=step,
            result=result,
        )
        self._session.emit(
            Name.AGENT_LOOP_DETECTED,
            Status.RED if found.stop else Status.RUNNING,
            AgentFailureClass.UNKNOWN if found.stop else None,
            str(error),
            {
                "kind": found.kind,
                "period": found.period,
                "repetitions": found.repetitions,
                "limit": found.limit,
                "step": step,
                "stopped": found.stop,
            },
        )
        if found.stop:
            raise error
