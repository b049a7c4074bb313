"""Who holds a lease: a name of this process that no other process has or will have."""

from __future__ import annotations

import os

_process: tuple[int, str] = (0, "")


def holder() -> str:
    """The name of this process; a forked child has one of its own."""
    global _process
    pid = os.getpid()
    if _process[0] != pid:
        _process = (pid, f"{pid}-{os.urandom(6).hex()}")
    return _process[1]
