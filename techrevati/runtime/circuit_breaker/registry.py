"""One breaker for each thing that can fail on its own: provider, model and credential."""

from __future__ import annotations

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import logger
from techrevati.runtime.circuit_breaker.breaker import CircuitBreaker
from techrevati.runtime.circuit_breaker.core import DISABLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.stores.protocol import Store

DEFAULT_CAPACITY = 1_000


class BreakerRegistry:
    """Breakers by key, made when first asked for.  Thread-safe and bounded.

    A full registry forgets a breaker that is closed, the one asked for longest ago; only when none is, one
    that was switched off by :meth:`CircuitBreaker.disable`, then one that is half-open or open, and last one
    forced open by hand.  Those are not forgotten silently: a warning names the breaker, and ``forgotten``
    counts it, since the next call of that key starts with a new, closed one.  Whoever still holds a breaker
    that was forgotten goes on using it.

    Args:
        make: Makes the breaker of a key, a name like ``"provider/model/credential-id"``; one that counts
            ``failures.provider_failures`` when None.  Two threads that ask for a new key at once may both
            have it made; one of them is kept.
        capacity: Breakers kept, >= 1.

    >>> from techrevati.runtime.failures import provider_failures
    >>> registry = BreakerRegistry(lambda key: CircuitBreaker(key, 3, counts_as_failure=provider_failures))
    >>> registry.get("openai", "gpt-5-mini", "team-a")
    CircuitBreaker('openai/gpt-5-mini/team-a', closed)
    """

    __slots__ = ("_breakers", "_lock", "_make", "capacity", "forgotten")

    def __init__(
        self,
        make: Callable[[str], CircuitBreaker] | None = None,
        *,
        capacity: int = DEFAULT_CAPACITY,
        store: Store | None = None,
    ) -> None:
        self.capacity: int = arguments.count("capacity", capacity, minimum=1)
        if make is not None:
            arguments.plain("make", make)
            if store is not None:
                raise ValueError(f"store is for breakers made here: give it to those of make={make!r}")
        elif store is not None and not callable(getattr(store, "update", None)):
            raise TypeError(f"store must be a store, see techrevati.runtime.stores; got {store!r}")
        self._make = make or (lambda key: _provider_breaker(key, store))
        # By its parts: models have slashes in their names.  Asked for longest ago comes first.
        self._breakers: dict[tuple[str, str, str], CircuitBreaker] = {}
        self._lock = fork_safe_lock()
        self.forgotten: int = 0
        """Breakers that were not closed, and forgotten to make room."""

    def get(self, provider: str, model: str = "", credential_id: str = "") -> CircuitBreaker:
        """The breaker of one provider, model and credential.

        Args:
            provider, model: Whose what; the model may be empty for calls that name none.
            credential_id: Tells credentials apart; a name of yours, never the key itself.

        Raises:
            ValueError: One of them, most likely *credential_id*, looks like a key: it would stand in every
                refusal.
            TypeError: One of them is not a string, or ``make`` gave no ``CircuitBreaker``.
        """
        key = (provider, model, credential_id)
        with self._lock:
            kept = self._breakers.pop(key, None)
            if kept is not None:  # its parts were looked at when it was made
                self._breakers[key] = kept  # asked for last
                return kept
        arguments.text("provider", provider)
        for name, part in zip(("provider", "model", "credential_id"), key, strict=True):
            _check(name, part)
        # Not under the lock: it is the caller's code.
        made = self._make("/".join(part for part in key if part))
        if not isinstance(made, CircuitBreaker):
            raise TypeError(f"make must give a CircuitBreaker (tasks use its as_async()), got {made!r}")
        return self._kept(key, made)

    def all(self) -> dict[tuple[str, str, str], CircuitBreaker]:
        """A copy of what is kept, by provider, model and credential id, asked for longest ago first."""
        with self._lock:
            return dict(self._breakers)

    def __repr__(self) -> str:
        return f"BreakerRegistry({len(self._breakers)} of at most {self.capacity} breakers)"

    def _kept(self, key: tuple[str, str, str], made: CircuitBreaker) -> CircuitBreaker:
        """The breaker of *key*, now asked for last: *made*, unless another thread made one meanwhile."""
        gone: CircuitBreaker | None = None
        with self._lock:
            breaker = self._breakers.pop(key, None)
            if breaker is None:
                gone = self._make_room_locked()
                breaker = made
            self._breakers[key] = breaker
        if gone is not None:
            logger("circuit_breaker").warning(
                "a registry of %d forgot circuit %r, which is %s; its key begins again with a new one",
                self.capacity,
                gone.name,
                _WORDS[_worth(gone)],
            )
        return breaker

    def _make_room_locked(self) -> CircuitBreaker | None:
        """Forget one if it is full; that one, unless it was merely closed."""
        if len(self._breakers) < self.capacity:
            return None
        key = next((key for key, kept in self._breakers.items() if not _worth(kept)), None)
        if key is not None:
            del self._breakers[key]
            return None
        self.forgotten += 1
        return self._breakers.pop(min(self._breakers, key=lambda key: _worth(self._breakers[key])))


def _check(name: str, part: object) -> None:
    from techrevati.runtime._core.scrub import scrubbed

    if not isinstance(part, str):
        raise TypeError(f"{name} must be a string, got {part!r}")
    if scrubbed(part) != part:
        raise ValueError(f"{name} must be a name, for a credential one of yours; got something like a key")


_WORDS = ("closed", "switched off", "open", "forced open")


def _worth(breaker: CircuitBreaker) -> int:
    """How much it knows, as a place in ``_WORDS``; the least is forgotten first."""
    gate = breaker._gate
    if breaker._shared is not None:
        return 0
    if gate.manual is not None:
        return 1 if gate.manual is DISABLED else 3
    return 0 if gate.probe_at_s is None else 2


def _provider_breaker(key: str, store: Store | None) -> CircuitBreaker:
    from techrevati.runtime.failures import provider_failures

    return CircuitBreaker(key, counts_as_failure=provider_failures, store=store)
