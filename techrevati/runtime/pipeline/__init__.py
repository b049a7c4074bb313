"""The primitives around one call, in the right order, as one object.

A ``Pipeline`` is built once, outermost part first, and then goes around any number of calls of any colour.
``order`` refuses at construction what could never be right; ``explain()`` says in words what it does.
"""

from __future__ import annotations

from techrevati.runtime.pipeline.order import RIGHT_ORDER, PipelineOrderError
from techrevati.runtime.pipeline.pipeline import Pipeline

__all__ = ["RIGHT_ORDER", "Pipeline", "PipelineOrderError"]
