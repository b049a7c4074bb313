"""What a call gave that has not even begun: an async function's coroutine, a generator function's stream.

A guard around such a call would guard nothing, and say nothing; it is refused instead.  A function that
returns a stream which somebody else made is an ordinary one.
"""

from __future__ import annotations

from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

UNBEGUN = (CoroutineType, GeneratorType, AsyncGeneratorType)


class CoroutineGiven(BaseException):
    """Carries the coroutine that a plain function gave out of the sync call around it: nothing ran yet."""

    def __init__(self, made: CoroutineType[Any, Any, Any]) -> None:
        self.made = made


def refuse_unbegun(fn: Callable[..., object], result: object, advice: str) -> None:
    """Refuse *result*, one of ``UNBEGUN``, where it is the call of *fn* itself.

    Raises:
        TypeError: *fn* is an async function, and *advice* says what takes those; or a generator function.
    """
    if isinstance(result, CoroutineType):
        result.close()
        raise TypeError(f"an async function {advice}; nothing has run")
    while isinstance(fn, partial):
        fn = fn.func
    code = getattr(fn, "__code__", None) or getattr(type(fn).__call__, "__code__", None)  # a callable object
    if isinstance(result, GeneratorType) and result.gi_code is code:
        result.close()
    elif not (isinstance(result, AsyncGeneratorType) and result.ag_code is code):
        return
    raise TypeError(
        "a stream is guarded by decorating its generator function, not by call(); nothing has run"
    )
