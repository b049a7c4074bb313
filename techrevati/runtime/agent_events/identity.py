"""What makes an event unique across processes: its number, and the process that counted.

Each event takes the next number; number and process make its id.  A forked child goes on counting under an id
of its own, and events it inherited keep theirs: hence the first number of each id.
"""

from __future__ import annotations

import os
from itertools import count

numbers = count(1)
_process_ids = [(1, os.urandom(8).hex())]


def id_of(number: int) -> str:
    """The id of the event that took *number*."""
    process = next((id for first, id in reversed(_process_ids) if first <= number), _process_ids[0][1])
    return f"{process}-{number:x}"


def _after_fork_in_child() -> None:
    _process_ids.append((next(numbers), os.urandom(8).hex()))
    del _process_ids[:-64]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
