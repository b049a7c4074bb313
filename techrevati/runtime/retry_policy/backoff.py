"""How long to wait before trying again, whom to ask instead, and how much less to send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

from techrevati.runtime._core import arguments

Jitter: TypeAlias = Literal["none", "full", "equal", "decorrelated"]
_LARGEST = 1e300  # seconds, where the exponential leaves the floats and there is no cap


def backoff_delay(
    attempt: int,
    base: float = 2.0,
    jitter: Jitter | bool = "decorrelated",
    cap: float = 60.0,
    prev_delay: float = 0.0,
    *,
    rng: Callable[[], float] | None = None,
) -> float:
    """Seconds to wait before trying again.

    Args:
        attempt: Number of the attempt, >= 0; ignored by ``"decorrelated"``.
        base: Base of the exponential, and the shortest decorrelated wait, in seconds; > 0.
        jitter: ``"none"``: ``min(cap, base ** attempt)``; ``"full"``: anywhere from 0 to that;
            ``"equal"``: half of it plus anywhere up to the other half; ``"decorrelated"``: anywhere from
            *base* to three times *prev_delay*, at most *cap*.  True is ``"full"``, False ``"none"``.
        cap: The longest wait in seconds, >= 0.
        prev_delay: The wait before this one in seconds; 0 for the first.
        rng: Gives a number in [0, 1); ``random.random`` when None.

    Raises:
        ValueError: An unknown jitter mode, or a number out of range.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    arguments.count("attempt", attempt)
    if not (base := arguments.number("base", base)):
        raise ValueError("base must be a number > 0, got 0")
    cap = arguments.number("cap", cap, infinite=True)
    prev_delay = arguments.number("prev_delay", prev_delay)
    mode = {True: "full", False: "none"}[jitter] if isinstance(jitter, bool) else jitter
    if mode not in ("none", "full", "equal", "decorrelated"):
        raise ValueError(f"unknown jitter mode: {jitter!r}; use none, full, equal or decorrelated")
    if rng is None:
        import random

        rng = random.random
    if mode == "decorrelated":
        longest = max(base, 3 * (prev_delay or base))
        return min(cap, base + (longest - base) * rng())
    try:
        delay = min(cap, base**attempt)
    except OverflowError:
        delay = min(cap, _LARGEST)
    if mode == "full":
        return delay * rng()
    if mode == "equal":
        return delay / 2 + delay / 2 * rng()
    return delay


def next_provider(providers: Iterable[str], current: str | None) -> str | None:
    """The first of *providers* that is not *current*; None when there is no other."""
    return next((provider for provider in providers if provider != current), None)


def smaller_context_budget(n: int, reduction: float = 0.75) -> int:
    """*n* tokens times *reduction* (between 0 and 1), rounded down, but at least 1 of what was
    not 0: the context to retry with after an overflow."""
    arguments.count("n", n)
    if not 0 < arguments.number("reduction", reduction) <= 1:
        raise ValueError(f"reduction must be a number > 0 and <= 1, got {reduction!r}")
    return max(min(1, n), int(n * reduction))
