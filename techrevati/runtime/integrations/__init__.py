"""The clients and frameworks that agents are built with, guarded in one line.

Nothing of theirs is imported here: what is given is taken by its surface.
"""

from __future__ import annotations

from techrevati.runtime._core.lazy import lazy_names

__all__ = [
    "CallCoverage",
    "CallGuard",
    "Coverage",
    "ModelRequest",
    "PhysicalRequest",
    "UnguardedCallsError",
    "assert_guarded",
    "coverage",
    "guard",
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
    from techrevati.runtime.integrations.model_request import ModelRequest
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.integrations.sdk_clients import guard
else:
    _HOME = {
        "call_guard": "CallGuard",
        "covered": "CallCoverage Coverage UnguardedCallsError assert_guarded coverage",
        "model_request": "ModelRequest",
        "physical_request": "PhysicalRequest",
        "sdk_clients": "guard",
    }
    __getattr__, __dir__ = lazy_names(
        __name__, {name: module for module, names in _HOME.items() for name in names.split()}, []
    )
