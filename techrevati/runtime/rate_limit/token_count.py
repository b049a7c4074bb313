"""How many tokens a call takes: a guess before it, what its response says after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class TokenCount:
    """Counts by what the program gave, else by the usage in responses; what fails is logged with the limit's
    name.

    Args:
        estimate: How many before a call, or a function of its arguments that says; failing, it counts as 0.
        used: Says of a result how many it used; failing, nobody knows.
    """

    __slots__ = ("_estimate", "_used")

    def __init__(self, estimate: int | Callable[..., int], used: Callable[[Any], int | None] | None) -> None:
        if callable(estimate):
            arguments.plain("estimate_tokens", estimate)
        else:
            counted("estimate_tokens", estimate)
        if used is not None:
            arguments.plain("tokens_used", used)
        self._estimate = estimate
        self._used = used

    def before(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> int:
        """Of a call with these arguments."""
        if not callable(self._estimate):
            return self._estimate
        try:
            return counted("estimate_tokens", self._estimate(*args, **kwargs))
        except Exception as trouble:
            logger("rate_limit").warning("estimate_tokens of %r failed: %s", name, error_text(trouble))
            return 0

    def after(self, name: str, result: object) -> int | None:
        """Of a call that returned *result*: input, cached input and output; None where nothing says."""
        if self._used is not None:
            try:
                used = self._used(result)
                return None if used is None else counted("tokens_used", used)
            except Exception as trouble:
                logger("rate_limit").warning("tokens_used of %r failed: %s", name, error_text(trouble))
                return None
        from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

        try:
            usage = UsageSnapshot.from_response(result)
        except (UsageNotFoundError, ValueError, TypeError):
            return None
        return usage.input_tokens + usage.output_tokens + usage.cache_write_tokens + usage.cache_read_tokens


def counted(name: str, tokens: int) -> int:
    """A number of tokens that can be divided by a rate."""
    tokens = arguments.count(name, tokens)
    arguments.number(name, tokens)
    return tokens
