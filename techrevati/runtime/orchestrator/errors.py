"""What a session refuses, and why."""

from __future__ import annotations

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.permissions import PermissionDeniedError as PermissionDeniedError


class MaxIterationsExceededError(TechrevatiError, RuntimeError):
    """A session asked for one turn more than it may have; the turn did not run.

    Attributes:
        max_iterations: How many it may have.
    """

    def __init__(self, max_iterations: int) -> None:
        super().__init__(max_iterations)
        self.max_iterations = max_iterations

    def __str__(self) -> str:
        return f"the session has used its {self.max_iterations} turns (max_iterations)"


class InputStateError(TechrevatiError, RuntimeError):
    """Input was asked for twice at a time, or given when nobody waits for it.

    Attributes:
        problem: Which of the two.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class SessionEndedError(TechrevatiError, RuntimeError):
    """A session was used before it was entered or after it had ended.

    Attributes:
        state: ``"not entered"``, ``"entered before"``, or the state in which it ended.
    """

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state

    def __str__(self) -> str:
        if self.state == "not entered":
            return "the session is not entered: use `with orchestrator.session() as session:`"
        if self.state == "entered before":
            return "a session can be entered once; open another one"
        return f"the session has ended ({self.state}); open another one"
