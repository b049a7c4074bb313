"""The object behind the ``chaos_server`` fixture: a server that can start further ones."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from techrevati.runtime.chaos.server import ChaosServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from techrevati.runtime.chaos.faults import Fault
    from techrevati.runtime.chaos.scenario import Scenario


class ChaosFixture(ChaosServer):
    """A ``ChaosServer``; calling it starts another one that stops with it."""

    _running: ExitStack

    def keep_in(self, running: ExitStack) -> None:
        """Start, and stop this server and those it starts when *running* ends."""
        self._running = running
        running.enter_context(self)

    def __call__(
        self, scenario: Scenario | str | Path | Sequence[Fault | None] | None = None, **options: Any
    ) -> ChaosServer:
        """Another running server; *options* are those of ``ChaosServer``."""
        return self._running.enter_context(ChaosServer(scenario, **options))
