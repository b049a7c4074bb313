"""Checks for constructor arguments: each returns the value it accepts, or says what is wrong with it.

The message always names the argument, what is allowed and the value given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal
    from enum import Enum
    from typing import TypeVar

    E = TypeVar("E", bound=Enum)
    T = TypeVar("T")


def count(name: str, value: float, *, minimum: int = 0) -> int:
    """A whole number of things, at least *minimum*; integral floats are converted, bools refused."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer >= {minimum}, got {_shown(value)}")
    if value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {_shown(value)}")
    return value


def number(name: str, value: float | Decimal, *, minimum: float = 0.0, infinite: bool = False) -> float:
    """A real number that is not NaN, at least *minimum*; infinity only where *infinite* allows it."""
    return _real(name, value, f"a number >= {minimum:g}", minimum, infinite)


def _real(name: str, value: float | Decimal, bound: str, minimum: float, infinite: bool) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be {bound}, got {_shown(value)}")
    try:
        real = float(value)
    except (OverflowError, ValueError):  # an integer beyond every float, a signalling NaN
        raise ValueError(f"{name} must be {bound} that a float can hold, got {_shown(value)}") from None
    if real != real or real < minimum or (real == float("inf") and not infinite):
        raise ValueError(f"{name} must be {bound}, got {_shown(value)}")
    return real


def text(name: str, value: str) -> str:
    """A string with at least one character that is not white space."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a non-empty string, got {_shown(value)}")
    if not value or value.isspace():
        raise ValueError(f"{name} must be a non-empty string, got {_shown(value)}")
    return value


def name(argument: str, value: str) -> str:
    """:func:`text` under which something is kept in a store or file: UTF-8 must have it, so half a surrogate
    pair is refused."""
    text(argument, value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{argument} must be text that UTF-8 can encode, without half a surrogate pair, "
                f"got {_shown(value)}"
            ) from None
    return value


def several(name: str, values: Iterable[T], of: str) -> tuple[T, ...]:
    """What can be iterated; *of* says, for people, what it holds."""
    if not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must hold {of}, got {_shown(values)}")
    return tuple(values)


def member(name: str, value: object, kind: type[E]) -> E:
    """A member of an enum, or the value of one."""
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(str(each.value) for each in kind)
        raise ValueError(f"{name} must be one of {allowed}; got {_shown(value)}") from None


def flag(name: str, value: object) -> bool:
    """True or False and nothing that only counts as one of them."""
    if value is not True and value is not False:
        raise TypeError(f"{name} must be True or False, got {_shown(value)}")
    return value


def function(name: str, value: Callable[..., object]) -> Callable[..., object]:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {_shown(value)}")
    return value


def plain(name: str, value: Callable[..., object]) -> Callable[..., object]:
    """Something that has answered when it returns: an async or generator function would never run, and what
    it gives counts as true."""
    function(name, value)
    from functools import partial

    fn = value.func if isinstance(value, partial) else value
    code = getattr(fn, "__code__", None) or getattr(type(fn).__call__, "__code__", None)
    if getattr(code, "co_flags", 0) & 0x2A0:  # inspect.CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
        raise TypeError(f"{name} must be callable, and neither async nor a generator, got {_shown(value)}")
    return value


def positive(name: str, value: float) -> float:
    """A finite real number above 0."""
    real = _real(name, value, "a number > 0", 0.0, False)
    if not real:
        raise ValueError(f"{name} must be a number > 0, got {_shown(value)}")
    return real


def share(name: str, value: float) -> float:
    """A share of a whole, above 0 and at most 1."""
    real = _real(name, value, "a number > 0 and <= 1", 0.0, False)
    if not 0 < real <= 1:
        raise ValueError(f"{name} must be a number > 0 and <= 1, got {_shown(value)}")
    return real


def _shown(value: object) -> str:
    """*value* for a message: a key given in the wrong place is not repeated."""
    from techrevati.runtime._core.scrub import scrubbed

    return scrubbed(repr(value))
