"""Load a public name's module when the name is first asked for.

``techrevati.runtime`` has some hundred names and a user of one primitive needs a handful.  The package's
``__getattr__`` comes from here; a name that was found is kept in the package, so it is looked up once.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def lazy_names(
    package: str, home: Mapping[str, str], modules: Sequence[str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of *package*.

    *home* says which module of the package defines a name; *modules* are reachable as attributes too,
    as they are after ``import package.module``.
    """
    namespace = sys.modules[package].__dict__

    def get(name: str) -> object:
        if name in home:
            found = getattr(import_module(f"{package}.{home[name]}"), name)
        elif name in modules:
            found = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = found
        return found

    def names() -> list[str]:
        return sorted({*namespace, *home, *modules})

    return get, names
