"""Found by every Python that starts below ``techrevati run``: waits for an SDK to be imported.

Its folder stands first in PYTHONPATH.  It imports nothing of ours until a program imports an SDK, leaves
``sys.path`` as the program expects it, and runs the ``sitecustomize`` that it stands in front of.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "TECHREVATI_RUN"
# Those that are guarded, and those whose calls are at least known to be unseen.
_WATCHED = "_techrevati_watched"
SDKS = frozenset({"openai", "anthropic", "groq", "litellm", "mistralai", "cohere", "ollama", "google.genai"})


class SdkFinder:
    """Finds nothing itself: has the module that another finder found guarded once it is there."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Part of the protocol of ``sys.meta_path``."""
        if fullname not in SDKS:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                loader = spec.loader
                if hasattr(loader, "exec_module"):
                    _watch(loader)
                return spec
        return None


def _watch(loader: Any) -> None:
    if getattr(loader, _WATCHED, False):  # some finders are the loader of all that they find
        return
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        if module.__name__ in SDKS:
            _imported(module)

    loader.exec_module = exec_module
    setattr(loader, _WATCHED, True)


def _imported(module: Any) -> None:
    home = os.path.abspath(__file__)
    for _ in range(5):  # …/techrevati/runtime/integrations/run_hook/sitecustomize.py
        home = os.path.dirname(home)
    try:
        try:
            from techrevati.runtime.integrations.run_guard import guard_module
        except ModuleNotFoundError:  # another environment: this package needs nothing but Python
            sys.path.append(home)
            try:
                import techrevati.runtime  # noqa: F401
            finally:  # what stands beside it there is not the program's
                sys.path.remove(home)
            from techrevati.runtime.integrations.run_guard import guard_module
        guard_module(module)
    except Exception as error:
        raise ImportError(
            f"techrevati run cannot guard {module.__name__} in this Python, so it is not let in: "
            f"{type(error).__name__}: {error}"
        ) from error


def _chained(here: str) -> None:
    """Run the ``sitecustomize`` that would have been found without this one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if not _same(path, here)])
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _same(path: str, here: str) -> bool:
    return os.path.abspath(path or ".") == here


if __name__ == "sitecustomize":
    _here = os.path.dirname(os.path.abspath(__file__))
    try:
        if os.environ.get(VARIABLE):
            sys.meta_path.insert(0, SdkFinder())
            for _name in SDKS.intersection(sys.modules):  # a .pth file of this environment was earlier
                _imported(sys.modules[_name])
        _chained(_here)
    finally:
        sys.path[:] = [path for path in sys.path if not _same(path, _here)]
