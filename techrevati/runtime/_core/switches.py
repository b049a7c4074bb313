"""The two switches of every policy: set at any time, read on every call, and never anything but a bool.

They are plain attributes, so that reading costs nothing; what is set is checked.  ``"no"`` is true, and a
policy that was meant to be switched off would go on.
"""

from __future__ import annotations

from techrevati.runtime._core import arguments

TYPE_CHECKING = False

SWITCHES = frozenset({"enabled", "observe_only"})


class Switched:
    """A class whose ``enabled`` and ``observe_only`` accept only True and False."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker would take it for leave to set anything

        def __setattr__(self, name: str, value: object) -> None:
            if name in SWITCHES:
                arguments.flag(name, value)
            object.__setattr__(self, name, value)
