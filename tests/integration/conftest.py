"""What the tests of guards and adapters share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from techrevati.runtime.integrations import coverage
from techrevati.runtime.ledger import SpendLedger


@pytest.fixture
def ledger() -> Iterator[SpendLedger]:
    """Books in memory, and a coverage of no calls."""
    coverage(reset=True)
    with SpendLedger(":memory:") as made:
        yield made
