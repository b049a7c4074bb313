"""Keep the leases of this process alive while their calls run: one daemon thread, only while there are any.

It knows reservations weakly: one that nobody holds any more is not renewed, and becomes a doubt.
"""

from __future__ import annotations

import os
import time
from threading import Lock, Thread
from typing import TYPE_CHECKING
from weakref import WeakSet

from techrevati.runtime._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime._core.tally import Lease
    from techrevati.runtime.budgets.reservation import Reservation


class Renewal:
    """Renews the open reservations of one budget every third of a lease.  Thread-safe."""

    def __init__(
        self,
        lease_s: float,
        renew: Callable[[Lease], None],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pause_s = lease_s / 3
        self._renew = renew
        self._sleep = sleep
        self._lock = Lock()
        self._open: WeakSet[Reservation] = WeakSet()
        self._runs_in = 0

    def watch(self, reservation: Reservation) -> None:
        """Renew *reservation* until it is ended or nobody holds it."""
        pid = os.getpid()
        if self._runs_in not in (0, pid):  # a forked child: the reservations are the parent's
            self._lock, self._open, self._runs_in = Lock(), WeakSet(), 0
        with self._lock:
            self._open.add(reservation)
            if self._runs_in:
                return
            self._runs_in = pid
        try:
            Thread(target=self._run, name="techrevati-leases", daemon=True).start()
        except (
            RuntimeError
        ) as error:  # no thread to be had: the lease holds for its time; the next one tries again
            with self._lock:
                self._runs_in = 0
            logger("budgets").warning("no thread to renew leases with: %s", error)

    def _run(self) -> None:
        while True:
            self._sleep(self._pause_s)
            with self._lock:
                held = [one for one in self._open if one.state == "open"]
                self._open = WeakSet(held)
                if not held:
                    self._runs_in = 0
                    return
            for one in held:
                try:
                    self._renew(one._lease)
                except Exception as error:
                    logger("budgets").warning("a lease could not be renewed: %s", error)
            one = None  # type: ignore[assignment]  # hold nothing while asleep
            held.clear()
