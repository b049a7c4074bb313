"""The guard of ``techrevati run``: the classes of an SDK are wrapped once, and every client made of them.

Clients of openai, anthropic and those generated like them send everything through ``request`` of one base
class for each colour.  That method is replaced by one that guards the client it is called for, whatever was
derived from the class, wherever and whenever the client was made.
"""

from __future__ import annotations

import inspect
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime.integrations import covered
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.run_notes import RunNotes
from techrevati.runtime.integrations.run_settings import RunSettings
from techrevati.runtime.integrations.sdk_call import GUARD
from techrevati.runtime.integrations.sdk_clients import Seam, has_surface
from techrevati.runtime.ledger import SpendLedger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

_WRAPPED = "_techrevati_run"  # on the wrapped method, and the seam on a client
UNSEEN = "unseen"


class RunGuard:
    """What is around the calls of every client of one process."""

    def __init__(self, settings: RunSettings) -> None:
        settings.load_prices()
        ledger = SpendLedger(settings.ledger)
        about = {
            "project": settings.project,
            "budget": settings.budget(ledger),
            "ledger": ledger,
            "run": settings.run,
            "observe_only": settings.observe_only,
        }
        self._guarding = CallGuard(**about)  # type: ignore[arg-type]  # pyright: ignore
        # Around the physical requests of clients that the program guards itself, and counts.
        self._inside = CallGuard(**about, counted=False)  # type: ignore[arg-type]  # pyright: ignore
        self.notes: RunNotes = RunNotes(settings.notes)
        self.notes.begin()

    def seam(self, client: Any, plain: Any) -> Seam:
        """The seam of *client*, made at its first call; *plain* is the method that was replaced."""
        mine = client.__dict__
        guarding = self._inside if GUARD in mine else self._guarding
        found: Seam | None = mine.get(_WRAPPED)
        # One that was copied along with the rest is another client's.
        if found is None or found.client is not client or found.guarding is not guarding:
            found = Seam(client, plain.__get__(client), guarding, own_retries=False)
            mine[_WRAPPED] = found
        return found

    def wrap(self, kind: type) -> None:
        """Guard the clients of this class and of those derived from it."""
        plain: Any = vars(kind)["request"]
        if hasattr(plain, _WRAPPED):
            return

        if inspect.iscoroutinefunction(plain):

            @wraps(plain)
            async def arequest(
                client: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
            ) -> Any:
                seam = self.seam(client, plain)
                return await seam.arequest(cast_to, options, stream=stream, stream_cls=stream_cls)

            wrapper: Any = arequest
        else:

            @wraps(plain)
            def request(
                client: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
            ) -> Any:
                return self.seam(client, plain).request(
                    cast_to, options, stream=stream, stream_cls=stream_cls
                )

            wrapper = request
        setattr(wrapper, _WRAPPED, True)
        kind.request = wrapper  # type: ignore[attr-defined]


_here: RunGuard | None = None
_lock = Lock()


def guard_module(module: ModuleType) -> None:
    """Guard the clients of an SDK that was just imported; note one that cannot be guarded."""
    global _here
    with _lock:
        if _here is None:
            _here = RunGuard(RunSettings.here())
    found = False
    for kind in _client_classes(module):
        _here.wrap(kind)
        found = True
    if not found:
        covered.note(module.__name__, f"import {module.__name__}", UNSEEN)


def _client_classes(module: ModuleType) -> Iterator[type]:
    """The classes below the public clients of *module* that define how a request is sent."""
    root = module.__name__.partition(".")[0]
    for public in list(vars(module).values()):
        # Not isinstance: it asks for __class__, and openai's lazy proxies load all they stand for.
        if not issubclass(type(public), type) or not has_surface(public):
            continue
        for kind in public.__mro__:
            if "request" in vars(kind) and kind.__module__.partition(".")[0] == root:
                yield kind
