"""Who has a run open: a token, and enough about the process to see that it died."""

from __future__ import annotations

import os


def owner_here() -> dict[str, object]:
    """A new owner in this process."""
    return {"token": os.urandom(8).hex(), "pid": os.getpid(), "born": _born(os.getpid()), "host": _host()}


def is_dead(owner: dict[str, object]) -> bool:
    """True only when it lived on this machine and its process is surely gone."""
    pid = owner.get("pid")
    if owner.get("host") != _host() or not isinstance(pid, int) or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    born = _born(pid)
    return born is not None and (born == "" or born != owner.get("born"))


def _host() -> str:
    """The machine and the place in it whose process numbers these are."""
    import socket

    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id",):
        try:
            with open(path) as file:
                parts.append(file.read().strip())
        except OSError:
            pass
    try:
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    except OSError:
        pass
    return "/".join(parts)


def _born(pid: int) -> str | None:
    """When a process began, as Linux counts; "" for one that is dead and not buried, None if unknown."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]
