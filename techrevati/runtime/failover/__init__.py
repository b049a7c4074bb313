"""Ask the next provider when one cannot answer.

``core``: pure functions say who is asked, in which order, and whether a failure is one that another provider
may not have.  ``Failover`` asks.  Whoever is known to be down (an open breaker) or out of money is left out
without being asked, and what is the caller's own fault is not asked twice.
"""

from __future__ import annotations

from techrevati.runtime.failover.core import order, rest_s, waits_s
from techrevati.runtime.failover.policy import MAX_REST_SECONDS, QUOTA_REST_SECONDS, Failover
from techrevati.runtime.failover.target import CallsThrough, Target, TellsOpen, TellsState
from techrevati.runtime.failover.vocabulary import NoTargetError, PassedTarget, TargetSwitch
from techrevati.runtime.failures.elsewhere import FAILS_OVER, fails_over

__all__ = [
    "FAILS_OVER",
    "MAX_REST_SECONDS",
    "QUOTA_REST_SECONDS",
    "CallsThrough",
    "Failover",
    "NoTargetError",
    "PassedTarget",
    "Target",
    "TargetSwitch",
    "TellsOpen",
    "TellsState",
    "fails_over",
    "order",
    "rest_s",
    "waits_s",
]
