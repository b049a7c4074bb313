"""One call of a breaker as a context manager, and which ``with breaker:`` blocks a context is inside of."""

from __future__ import annotations

from techrevati.runtime._core.locks import fork_safe_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future
    from contextvars import ContextVar
    from typing import Self

    from techrevati.runtime.circuit_breaker.books import Ticket
    from techrevati.runtime.circuit_breaker.breaker import CircuitBreaker


class CircuitGuard:
    """One call of a breaker as a context manager, with or without ``async``; enter it once."""

    __slots__ = ("_breaker", "_failed", "_ticket")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._ticket: Ticket | None = None
        self._failed = False

    def __enter__(self) -> Self:
        if self._ticket is not None:
            raise RuntimeError(
                f"a guard of circuit {self._breaker.name!r} is for one call; it was entered before"
            )
        self._ticket = self._breaker._begin()
        return self

    @property
    def blocks(self) -> bool:
        """Whether entering and leaving may wait for a disk; ``async with`` does so in a thread."""
        shared = self._breaker._shared
        return shared is not None and shared.blocks

    async def __aenter__(self) -> Self:
        """:meth:`__enter__` for tasks: a store is waited for in a thread."""
        shared = self._breaker._shared
        if shared is None or self._ticket is not None:
            return self.__enter__()
        self._ticket = await shared.off_loop(self._breaker._begin, self._breaker._give_back)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        shared = self._breaker._shared
        if shared is None:
            self.__exit__(kind, error, trace)
        else:
            await shared.off_loop(lambda: self.__exit__(kind, error, trace))

    def leave_soon(self, error: BaseException | None) -> Future[None] | None:
        """Leave from an event loop's thread without waiting; gives what still waits for a store."""
        shared = self._breaker._shared
        if shared is not None:
            return shared.soon(lambda: self.__exit__(type(error), error, None))
        self.__exit__(type(error), error, None)
        return None

    def returned(self, value: object) -> None:
        """Let the breaker judge what the call returned, if it judges results."""
        assert self._ticket is not None
        self._failed = self._breaker._bad_result(self._ticket, value)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._ticket is not None
        if error is None and self._failed:
            self._breaker._settle(self._ticket, False)
        else:
            self._breaker._end(self._ticket, error)


_inside: ContextVar[tuple[tuple[CircuitBreaker, Ticket], ...]] | None = None


def circuits_entered() -> ContextVar[tuple[tuple[CircuitBreaker, Ticket], ...]]:
    """The ``with breaker:`` blocks of this context; one variable for all, as contexts never forget one."""
    global _inside
    if _inside is None:
        from contextvars import ContextVar

        with _inside_lock:
            if _inside is None:
                _inside = ContextVar("techrevati_circuits", default=())
    return _inside


_inside_lock = fork_safe_lock()
