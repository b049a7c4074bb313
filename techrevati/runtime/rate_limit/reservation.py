"""What one call took of a limit, and what becomes of it: settled by what the call used, or given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.unbegun import CoroutineGiven
from techrevati.runtime.rate_limit.token_count import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from techrevati.runtime.rate_limit.limit import RateLimit


class Reservation:
    """What one call took; settle it with what it used, or give it back if nothing was sent.

    The first of :meth:`settle` and :meth:`give_back` counts, later ones change nothing.
    """

    __slots__ = ("_limit", "tokens", "wait_seconds")

    def __init__(self, limit: RateLimit | None, tokens: int, wait_seconds: float) -> None:
        self._limit: RateLimit | None = limit  # None: it was switched off and took nothing, or this has ended
        self.tokens: int = tokens
        self.wait_seconds: float = wait_seconds

    def settle(self, tokens: int | None = None) -> None:
        """The call used *tokens*; None means as many as reserved."""
        used = self.tokens if tokens is None else counted("tokens", tokens)
        self._end(used - self.tokens, 0)

    def give_back(self) -> None:
        """Nothing was sent."""
        self._end(-self.tokens, -1)

    def _end(self, tokens: int, requests: int) -> None:
        limit, self._limit = self._limit, None
        if limit is not None and (tokens or requests):
            limit._correct(requests, tokens)


class CallReservation(Reservation):
    """A reservation around one call: given back if nothing was sent, settled with what it used."""

    __slots__ = ("_began", "_held_s", "_of")

    def __init__(
        self, limit: RateLimit, tokens: int, taken: bool, wait_seconds: float, held_s: float
    ) -> None:
        super().__init__(limit if taken else None, tokens, wait_seconds)
        self._of = limit
        self._held_s = held_s
        self._began = False

    def wait(self, sleep: Callable[[float], object]) -> None:
        """Until its turn has come, so that the call begins."""
        while self.wait_seconds > 0:
            sleep(self.wait_seconds)
            self._waited()
        self._began = True

    async def await_turn(self, asleep: Callable[[float], Awaitable[object]]) -> None:
        """:meth:`wait` for tasks."""
        while self.wait_seconds > 0:
            await asleep(self.wait_seconds)
            self._waited()
        self._began = True

    def _waited(self) -> None:
        """The wait is over; if the queue stood still meanwhile, so much of it is left."""
        self.wait_seconds: float = 0.0
        held_s = self._of._held_s
        if held_s > self._held_s:
            longer_s, self._held_s = held_s - self._held_s, held_s
            self.wait_seconds = self._of._wait_longer(longer_s)

    def returned(self, result: object) -> None:
        self.settle(self._of._used(result))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._began or isinstance(error, CoroutineGiven):
            self.give_back()
        elif error is not None:
            self.settle()  # nobody knows what it used: the estimate stays
            self._of._refused_by_provider(error)
