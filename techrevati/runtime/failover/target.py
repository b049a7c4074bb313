"""One provider that may be asked, and what knows whether it is down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, Protocol, TypeVar

from techrevati.runtime._core import arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, TypeAlias

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class CallsThrough(Protocol):
    """A breaker that runs calls: it raises without calling when it refuses."""

    def call(self, fn: Callable[[], Any], /) -> Any:
        """Run *fn* or refuse."""
        ...


class TellsOpen(Protocol):
    """Something that knows whether a target is down."""

    def is_open(self) -> Any:
        """True while it is not to be asked."""
        ...


class TellsState(Protocol):
    """Something that knows the state of a target."""

    def state(self) -> Any:
        """``"open"``, or an enum member of that value, while it is not to be asked."""
        ...


if TYPE_CHECKING:
    Breaker: TypeAlias = CallsThrough | TellsOpen | TellsState


class Target(Generic[P, T_co]):
    """One provider, or one model or key of it.  Immutable.

    Args:
        name: For people and events; not empty.
        call: Asks it; sync or async, with the same arguments as all others; for ``stream`` and ``astream`` a
            function that gives a stream.
        weight: > 0, its share of first questions among those with a weight; they are asked before those
            without, which are asked strictly in the order given.
        breaker: With a ``call``, each call runs through it, and its refusal passes the target over (for
            tasks: an async one, or one with ``as_async()``).  Otherwise ``is_open()`` or ``state()`` is asked
            first.  Give it here or use it inside *call*, not both: each call would count twice.
            Of a stream it learns whether the first item came; a breaker inside *call* sees it to its end.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_async_call", "_call", "_is_open", "breaker", "call", "name", "weight")

    def __init__(
        self,
        name: str,
        call: Callable[P, T_co],
        *,
        weight: float | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "name", arguments.text("name", name))
        put(self, "call", _answering("call", call))
        put(self, "weight", None if weight is None else arguments.positive("weight", weight))
        put(self, "breaker", breaker)
        put(self, "_call", getattr(_face(breaker, "as_sync"), "call", None))
        put(self, "_async_call", getattr(_face(breaker, "as_async"), "call", None))
        put(self, "_is_open", None if breaker is None else _question(breaker))

    name: str
    call: Callable[P, T_co]
    weight: float | None
    breaker: Breaker | None
    _call: Callable[[Callable[[], Any]], Any] | None
    _async_call: Callable[[Callable[[], Any]], Any] | None
    _is_open: Callable[[], bool] | None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a target cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a target cannot be changed: {name}")

    def __repr__(self) -> str:
        return f"Target({self.name!r}{'' if self.weight is None else f', weight={self.weight:g}'})"


def _answering(name: str, call: Callable[P, T_co]) -> Callable[P, T_co]:
    arguments.function(name, call)
    return call


def _face(breaker: object, name: str) -> object:
    """The breaker for threads or for tasks, where it has two faces."""
    turn = getattr(breaker, name, None)
    return turn() if callable(turn) else breaker


def _question(breaker: object) -> Callable[[], bool] | None:
    """How to ask a breaker that runs no calls itself."""
    if callable(getattr(breaker, "call", None)):
        return None
    is_open = getattr(breaker, "is_open", None)
    if callable(is_open):
        return lambda: bool(is_open())
    state = getattr(breaker, "state", None)
    if not callable(state):
        raise TypeError(f"breaker must have call(), is_open() or state(), got {breaker!r}")

    def says_open() -> bool:
        said = state()
        return bool(getattr(said, "value", said) == "open")

    return says_open
