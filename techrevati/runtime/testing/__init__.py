"""For tests of agents: a clock that moves when told, a loop that never waits, models that follow a script.

``run`` drives a coroutine on a loop whose clock jumps to the next timer, so an hour of backoff takes no time
and two runs are the same.  When every task waits for something that nothing can bring, it raises instead of
hanging.
"""

from __future__ import annotations

from techrevati.runtime.testing.clock import FakeClock
from techrevati.runtime.testing.scripted_model import (
    ModelCall,
    ScriptedModel,
    ScriptedReply,
    ScriptExhaustedError,
    ToolRequest,
)
from techrevati.runtime.testing.virtual_loop import EverythingWaitsError, VirtualEventLoop, run

__all__ = [
    "EverythingWaitsError",
    "FakeClock",
    "ModelCall",
    "ScriptExhaustedError",
    "ScriptedModel",
    "ScriptedReply",
    "ToolRequest",
    "VirtualEventLoop",
    "run",
]
