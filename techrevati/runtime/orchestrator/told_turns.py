"""Tell where a turn and its attempts begin and end, to a sink that asks for it.

A sink asks with a true ``follows_turns`` (the OpenTelemetry run sink does); without one none of this is made.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.turns import named
from techrevati.runtime.pricing import cost_picodollars_or_none, usd
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self, TypeVar

    from techrevati.runtime.orchestrator.turn_layers import Model
    from techrevati.runtime.orchestrator.turns import SessionTurns

    T = TypeVar("T")

_turns = count(1)


class ToldTurn:
    """The events around one turn: a context manager.  A stream calls ``begin`` and ``end`` itself."""

    def __init__(self, session: SessionTurns, model: Model, *, stream: bool = False) -> None:
        self._session = session
        self._model = model
        self._stream = stream
        self._turn = next(_turns)  # unique in the process: turns of one run may be in flight together
        self._attempts = count(1)
        self._made = 0
        self._used: UsageSnapshot | None = None

    def begin(self) -> None:
        """The turn begins."""
        facts: dict[str, object] = {"turn": self._turn, "model": named(self._model)}
        if self._stream:
            facts["stream"] = True
        self._session._tell_turn(Name.TURN_STARTED, Status.RUNNING, data=facts)

    def returned(self, used: UsageSnapshot) -> None:
        """It returned, and used that."""
        self._used = used

    def end(self, error: BaseException | None, used: UsageSnapshot | None, **facts: object) -> None:
        """The turn is over."""
        model = named(self._model)
        told: dict[str, object] = {"turn": self._turn, "model": model, "attempts": self._made, **facts}
        if not self._stream and error is None and not self._made:
            told["replayed"] = True  # from the journal: nothing was called
        if used is None and getattr(error, "has_result", False):
            used = getattr(error, "usage", None)
        if isinstance(used, UsageSnapshot):
            told["usage"] = used.to_dict()
            cost = cost_picodollars_or_none(model, used)
            if cost is not None:
                told["cost_usd"] = usd(cost)
        self._tell(Name.TURN_ENDED, error, told)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error, self._used)

    # --- attempts ------------------------------------------------------------------------------------------

    def attempts(self, fn: Callable[..., T]) -> Callable[..., T]:
        """*fn*, each of whose calls is told as an attempt."""

        def attempt(*args: Any, **kwargs: Any) -> T:
            facts = self._began()
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                self._tell(Name.ATTEMPT_ENDED, error, facts)
                raise
            self._tell(Name.ATTEMPT_ENDED, None, facts)
            return result

        return attempt

    def aattempts(self, fn: Callable[..., Awaitable[T] | T]) -> Callable[..., Awaitable[T]]:
        """:meth:`attempts` for tasks."""

        async def attempt(*args: Any, **kwargs: Any) -> T:
            from techrevati.runtime.orchestrator.async_session import _awaited

            facts = self._began()
            try:
                result: T = await _awaited(fn(*args, **kwargs))
            except BaseException as error:
                self._tell(Name.ATTEMPT_ENDED, error, facts)
                raise
            self._tell(Name.ATTEMPT_ENDED, None, facts)
            return result

        return attempt

    def _began(self) -> dict[str, object]:
        self._made = number = next(self._attempts)
        facts: dict[str, object] = {"turn": self._turn, "attempt": number, "model": named(self._model)}
        self._session._tell_turn(Name.ATTEMPT_STARTED, Status.RUNNING, data=facts)
        return facts

    def _tell(self, name: Name, error: BaseException | None, facts: dict[str, object]) -> None:
        session = self._session
        if error is None:
            session._tell_turn(name, Status.COMPLETED, data=facts)
        elif isinstance(error, Exception):
            failure = classify(error)
            session._tell_turn(
                name,
                Status.FAILED,
                failure.failure_class,
                session._redactor.error_text(error),
                {**facts, "kind": failure.kind.value},
            )
        else:
            detail = session._redactor.error_text(error)
            session._tell_turn(name, Status.FAILED, None, detail, {**facts, "kind": "cancelled"})
