"""Ask a second time when the first answer is late, and take whichever comes first.

``race``: pure functions over a frozen ``Race`` say when the next request of a call begins.  ``latencies``: a
bounded ring says what late is, and a token bucket keeps the extra load to a small share.  ``Hedge`` makes the
requests, in threads or tasks, and tells what the losers bring in the end: they may have been billed.

Source: Dean and Barroso, "The Tail at Scale" (CACM 56-2, 2013): a second request once the first has been out
for longer than the 95th percentile; the cap on extra load as in Finagle's backup requests (``maxExtraLoad``);
one more at once after a failure as in gRPC's hedging (proposal A6).
"""

from __future__ import annotations

from techrevati.runtime.hedging.hedge import CANCELLATION_GRACE_SECONDS, DEFAULT_PERCENTILE, Hedge
from techrevati.runtime.hedging.latencies import ExtraLoad, Latencies
from techrevati.runtime.hedging.race import (
    Race,
    begun,
    declined,
    failed,
    helps_again,
    is_due,
    is_lost,
    joined,
)
from techrevati.runtime.hedging.vocabulary import HedgedRequest, HedgeSnapshot, Loser

__all__ = [
    "CANCELLATION_GRACE_SECONDS",
    "DEFAULT_PERCENTILE",
    "ExtraLoad",
    "Hedge",
    "HedgeSnapshot",
    "HedgedRequest",
    "Latencies",
    "Loser",
    "Race",
    "begun",
    "declined",
    "failed",
    "helps_again",
    "is_due",
    "is_lost",
    "joined",
]
