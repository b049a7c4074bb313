"""In which order the layers stand around the model call of a turn: decided here, for both colours.

From the outside in: journal, recovery, breaker, timeout.  The journal is outside, as what is on record says
nothing about the breaker's dependency now; each attempt of a recovery meets the breaker.  A budget stands
around the breaker, inside the recovery: what it refuses says nothing about the dependency either.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker
    from techrevati.runtime.orchestrator.journalled import TurnOnRecord, Verify
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    Model: TypeAlias = str | Callable[[], str]
    Call: TypeAlias = Callable[[], Any]  # gives the answer, or what is awaited for it
    Breaker: TypeAlias = CircuitBreaker | AsyncCircuitBreaker


class TurnTerms(NamedTuple):
    """What a turn is asked with: the arguments of ``run_turn`` under their names there."""

    model: Model
    usage: UsageSnapshot | None = None
    estimate_usage: Callable[[Any], UsageSnapshot] | None = None
    timeout: float | None = None
    prompt: object = None
    input_tokens: int | None = None
    max_output_tokens: int | None = None
    key: str | None = None
    idempotent: bool = False
    verify: Verify | None = None


class Colour(Protocol):
    """The layers of one colour: each makes the call that it is given, or does not."""

    def _timed(self, terms: TurnTerms, call: Call) -> Any:
        """Within the timeout."""

    def _spent(self, terms: TurnTerms, call: Call, breaker: Any) -> Any:
        """On the books: one attempt, with its timeout and its breaker, if it has one."""

    def _recovered(self, recovery: Recovery, terms: TurnTerms, call: Call) -> Any:
        """Again, as the recipes say."""

    def _recorded(self, turn: TurnOnRecord, terms: TurnTerms, call: Call) -> Any:
        """Once in all lives of the run."""


def layered(
    colour: Colour,
    call: Call,
    terms: TurnTerms,
    breaker: Breaker | None,
    recovery: Recovery | None,
    turn: TurnOnRecord | None,
    spends: bool,
) -> Call:
    """*call* with its layers: the timeout of *terms*, a budget if it *spends*, and what else there is."""
    if spends:
        call = partial(colour._spent, terms, call, breaker)
        breaker = None
    elif terms.timeout is not None:
        call = partial(colour._timed, terms, call)
    if breaker is not None:
        call = partial(breaker.call, call)
    if recovery is not None:
        call = partial(colour._recovered, recovery, terms, call)
    if turn is not None:
        call = partial(colour._recorded, turn, terms, call)
    return call
