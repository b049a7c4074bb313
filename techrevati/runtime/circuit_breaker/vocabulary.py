"""The words of a breaker: its states, and what it says when it refuses."""

from __future__ import annotations

from enum import Enum

from techrevati.runtime._core.errors import TechrevatiError


class CircuitState(str, Enum):
    """What a breaker does with the next call: let it through, refuse it, or try it as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(TechrevatiError):
    """The call was refused before anything was sent.

    Attributes:
        name: The breaker that refused.
        retry_after: Seconds until a call could be admitted: the rest of the open time or, while all probe
            permits are taken, of the first probe's lease.  None when nobody can say: forced open.
    """

    # Read from ``args``, which ``BaseException.__new__`` fills: a refusal then costs no ``__init__``.
    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name, retry_after)

    @property
    def name(self) -> str:
        """The breaker that refused."""
        name: str = self.args[0]
        return name

    @property
    def retry_after(self) -> float | None:
        """Seconds until a call could be admitted; None when nobody can say."""
        wait: float | None = self.args[1]
        return wait

    def __str__(self) -> str:
        wait = "" if self.retry_after is None else f"; retry in {self.retry_after:.3g} s"
        return f"circuit {self.name!r} is open{wait}"
