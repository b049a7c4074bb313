"""A ``chaos_server`` fixture for tests of your own agents.

``chaos_server`` is a running ``ChaosServer`` that injects nothing, or what ``@pytest.mark.chaos("outage",
speed=60)`` says.  Called, it starts one more with other arguments.  All stop with the test, and nothing of
the server is imported until a test asks for it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techrevati.runtime.chaos.fixture import ChaosFixture


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "chaos(scenario, **options): what the chaos_server fixture starts")


@pytest.fixture
def chaos_server(request: pytest.FixtureRequest) -> Iterator[ChaosFixture]:
    """A running loopback LLM endpoint; call it with arguments of ``ChaosServer`` for another one."""
    from techrevati.runtime.chaos.fixture import ChaosFixture

    marker = request.node.get_closest_marker("chaos")
    with ExitStack() as running:
        first = ChaosFixture(*marker.args, **marker.kwargs) if marker else ChaosFixture()
        first.keep_in(running)
        yield first
