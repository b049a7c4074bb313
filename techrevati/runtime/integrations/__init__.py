"""The clients and frameworks that agents are built with, guarded in one line.

Nothing of theirs is imported here: what is given is taken by its surface.
"""

from __future__ import annotations

from techrevati.runtime._core.lazy import lazy_names

__all__ = [
    "CallCoverage",
    "CallGuard",
    "Coverage",
    "GuardOptions",
    "ModelRequest",
    "PhysicalRequest",
    "ToldRefusal",
    "ToolGuard",
    "UnguardedCallsError",
    "assert_guarded",
    "coverage",
    "guard",
    "guarded",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.integrations.call_guard import CallGuard
    from techrevati.runtime.integrations.covered import (
        CallCoverage,
        Coverage,
        UnguardedCallsError,
        assert_guarded,
        coverage,
    )
    from techrevati.runtime.integrations.guarded_functions import guarded
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.integrations.sdk_clients import guard
    from techrevati.runtime.integrations.tool_guard import ToldRefusal, ToolGuard
else:
    _HOME = {
        "call_guard": "CallGuard",
        "covered": "CallCoverage Coverage UnguardedCallsError assert_guarded coverage",
        "guarded_functions": "guarded",
        "model_request": "ModelRequest",
        "options": "GuardOptions",
        "physical_request": "PhysicalRequest",
        "sdk_clients": "guard",
        "tool_guard": "ToldRefusal ToolGuard",
    }
    __getattr__, __dir__ = lazy_names(
        __name__, {name: module for module, names in _HOME.items() for name in names.split()}, []
    )
