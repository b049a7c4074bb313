"""Decide what may be seen: one redactor before every sink, journal, trace, log, error text and repr.

The class lives in ``_core``, because the sinks use it too.
"""

from __future__ import annotations

from techrevati.runtime._core.redactor import Redactor as Redactor

__all__ = ["Redactor"]
