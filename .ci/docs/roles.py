"""Docstrings name other objects with roles (``:class:`Name```); in the site they are plain code."""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Takes the roles off."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called once for each object, after it was read."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
