"""Loggers named ``techrevati.runtime.<area>``, each with a NullHandler, created when first needed.

Importing ``logging`` costs more than a whole primitive does, and most programs never hear a warning of
ours.  Programs that already use ``logging`` find the logger there as soon as the module is imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger


def logger(area: str) -> Logger:
    """The logger of one area; its NullHandler is added once."""
    import logging

    found = logging.getLogger(f"techrevati.runtime.{area}")
    if not any(isinstance(handler, logging.NullHandler) for handler in found.handlers):
        found.addHandler(logging.NullHandler())
    return found


def announce(area: str) -> None:
    """Create the area's logger now if the program has loaded ``logging`` anyway."""
    if "logging" in sys.modules:
        logger(area)
