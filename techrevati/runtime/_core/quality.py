"""The quality levels that gates ask for and policies look at."""

from __future__ import annotations

from enum import IntEnum


class QualityLevel(IntEnum):
    """How much checking a piece of work has passed; levels compare as numbers."""

    MINIMAL = 1
    STANDARD = 2
    STRICT = 3
    RELEASE = 4

    @property
    def label(self) -> str:
        """The level in title case, for people: ``"Standard"``."""
        return self.name.title()
