"""Ask a judge of the caller's about a failure or a result, without hiding how the call itself ended."""

from __future__ import annotations

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def asked(area: str, name: str, judge: Callable[[Any], bool | None], what: object) -> bool | None:
    """What *judge* says, None being no opinion; one that raises is logged, and says no."""
    try:
        answer = judge(what)
        return None if answer is None else bool(answer)
    except Exception as trouble:
        logger(area).warning("%s raised %s", name, error_text(trouble))
        return False
