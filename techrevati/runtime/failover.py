"""Ask the next provider when one cannot answer.

``order`` says who is asked, and in which order; ``Failover`` asks.  Whoever is known to be down (an open breaker)
or out of money is left out without being asked.  What is the caller's own fault is not asked twice.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, ParamSpec, Protocol, TypeVar

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import logger
from techrevati.runtime.failures import Failure, FailureKind, classify, provider_failures

if TYPE_CHECKING:
    from typing import Any

P = ParamSpec("P")
T = TypeVar("T")

QUOTA_REST_SECONDS = 3600.0


class Breaker(Protocol):
    """What a target needs of a circuit breaker."""

    def call(self, fn: Callable[[], Any], /) -> Any:
        """Run *fn* or refuse."""
        ...


@dataclass(frozen=True, slots=True)
class Target(Generic[P, T]):
    """One provider.

    Attributes:
        name: For people and events; not empty.
        call: Asks it.
        weight: Its share of first questions among those with a weight; None: strictly in the order given.
    """

    name: str
    call: Callable[P, T]
    weight: float | None = None

    def __post_init__(self) -> None:
        arguments.text("name", self.name)
        arguments.function("call", self.call)
        if self.weight is not None:
            arguments.number("weight", self.weight)
