"""Keep the leases of this process alive while their calls run: one daemon thread for each ledger, and only
while something is leased in it.

Budgets of one ledger share the thread; those of another have their own, so that a file that is locked for
long lets no lease in another one lapse.  Reservations are known weakly: one that nobody holds any more is
not renewed, and becomes a doubt.
"""

from __future__ import annotations

import os
import time
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from techrevati.runtime._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime._core.tally import Lease
    from techrevati.runtime.budgets.reservation import Reservation

# How long the thread stays after the last lease ended: another call mostly follows, and a thread costs more
# to start than to wake.
IDLE_S = 1.0


class Renewal:
    """The open reservations of one budget; they are renewed every third of a lease.  Thread-safe."""

    def __init__(self, lease_s: float, renew: Callable[[Lease], None], keeper: Keeper) -> None:
        self.pause_s: float = lease_s / 3
        self.due_s: float = 0.0
        self._renew = renew
        self._keeper = keeper
        self._open: WeakSet[Reservation] = WeakSet()

    def watch(self, reservation: Reservation) -> None:
        """Renew *reservation* until it is ended or nobody holds it."""
        self._keeper.watch(self, reservation)

    def is_needed(self) -> bool:
        """Whether one of them is open."""
        return any(one.state == "open" for one in self._open)

    def add(self, reservation: Reservation) -> None:
        """Know *reservation*."""
        self._open.add(reservation)

    def opened(self) -> list[Reservation]:
        """Those that are open; the others are forgotten."""
        held = [one for one in self._open if one.state == "open"]
        self._open = WeakSet(held)
        return held

    def forget(self) -> None:
        """They belong to another process."""
        self._open = WeakSet()

    def renew(self, reservation: Reservation) -> None:
        """Renew one; a ledger that cannot be written is a warning, and tried again in a third of a lease."""
        try:
            self._renew(reservation._lease)
        except Exception as error:
            logger("budgets").warning("a lease could not be renewed: %s", error)


class Keeper:
    """The thread for the budgets of one ledger.  Thread-safe; a forked child begins with none."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._lock = Lock()
        self._watched: set[Renewal] = set()
        self._woken = Event()
        self._wakes_s = 0.0
        self._runs_in = 0

    def watch(self, renewal: Renewal, reservation: Reservation) -> None:
        """See that *reservation* is renewed."""
        pid = os.getpid()
        if self._runs_in not in (0, pid):  # a forked child: the reservations are the parent's
            self._forked()
        with self._lock:
            renewal.add(reservation)
            if renewal not in self._watched:
                self._watched.add(renewal)
                renewal.due_s = self._clock() + renewal.pause_s
            if self._runs_in:
                if renewal.due_s < self._wakes_s:
                    self._woken.set()
                return
            self._runs_in = pid
        try:
            Thread(target=self._run, name="techrevati-leases", daemon=True).start()
        except RuntimeError as error:
            # No thread to be had: the lease holds for its time; the next one tries again.
            with self._lock:
                self._runs_in = 0
            logger("budgets").warning("no thread to renew leases with: %s", error)

    def _forked(self) -> None:
        for renewal in self._watched:
            renewal.forget()
        self._lock, self._woken = Lock(), Event()
        self._watched, self._runs_in = set(), 0

    def _run(self) -> None:
        while self._renew_due():
            self._wait(self._woken, max(0.0, self._wakes_s - self._clock()))

    def _renew_due(self) -> bool:
        """Renew what is due; whether anything is leased still."""
        with self._lock:
            self._woken.clear()
            now_s = self._clock()
            self._watched = {renewal for renewal in self._watched if renewal.is_needed()}
            if not self._watched:
                self._runs_in = 0
                return False
            due = [renewal for renewal in self._watched if renewal.due_s <= now_s]
            for renewal in due:
                renewal.due_s = now_s + renewal.pause_s
            self._wakes_s = min(now_s + IDLE_S, *(renewal.due_s for renewal in self._watched))
            held = [(renewal, renewal.opened()) for renewal in due]
        for renewal, reservations in held:
            for one in reservations:
                renewal.renew(one)
        return True  # and nothing is held while it waits


_keepers: WeakKeyDictionary[object, Keeper] = WeakKeyDictionary()
_keepers_lock = Lock()


def keeper_of(ledger: object) -> Keeper:
    """The keeper that all budgets of *ledger* share."""
    try:
        with _keepers_lock:
            return _keepers.setdefault(ledger, Keeper())
    except TypeError:  # it can be no key there
        return Keeper()
