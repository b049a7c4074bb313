"""What the disk refused: paid calls and ended reservations, kept in memory until they can be written.

One thread tries at a time; it takes out what it tries and puts back what is refused again, so that no lock is
held while anything is written or told.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime.stores.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from techrevati.runtime.ledger.record import Draft

PENDING_CAPACITY = 10_000


class Waiting:
    """Records and settlements that wait for the disk, at most ``PENDING_CAPACITY`` of each; then the oldest
    is given up and counted in ``dropped``.  Thread-safe.

    Attributes:
        dropped: Records and settlements that were lost because too many waited, and settlements that the
            books refused.  A settlement that is lost leaves its reservation to become a doubt.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: deque[Draft] = deque()
        self._settlements: deque[Callable[[], object]] = deque()
        self._tried = 0  # taken out, and neither written nor refused yet
        self._busy = False
        self.dropped: int = 0
        self.refusal: StoreError | None = None

    def __len__(self) -> int:
        return len(self._records) + len(self._settlements) + self._tried

    def keep(self, made: Draft) -> None:
        """Let a record wait."""
        with self._lock:
            self._kept_locked(self._records)
            self._records.append(made)

    def keep_settlement(self, settle: Callable[[], object]) -> None:
        """Let a settlement wait; *settle* raises StoreError while it cannot be written."""
        with self._lock:
            self._kept_locked(self._settlements)
            self._settlements.append(settle)

    def lost_one(self) -> None:
        """Count a record that was given up elsewhere, as too many waited."""
        with self._lock:
            self.dropped += 1

    def _kept_locked(self, kept: deque[Draft] | deque[Callable[[], object]]) -> None:
        if len(kept) >= PENDING_CAPACITY:
            kept.popleft()
            self.dropped += 1

    def retry(self, write: Callable[[Sequence[Draft]], None]) -> bool:
        """Try to write what waits, oldest first; whether nothing waits any more.

        Somebody else who tries at the same moment is left alone; so is a settlement that, on its way,
        comes here again.
        """
        with self._lock:
            if self._busy:
                return not len(self)
            self._busy = True
        try:
            return self._records_written(write) and self._settlements_written()
        finally:
            self._busy = False

    def _records_written(self, write: Callable[[Sequence[Draft]], None]) -> bool:
        with self._lock:
            tried = list(self._records)
            self._records.clear()
            self._tried += len(tried)
        try:
            if tried:
                write(tried)
        except BaseException as error:
            with self._lock:
                self._records.extendleft(reversed(tried))
                self._tried -= len(tried)
            if isinstance(error, StoreError):
                self.refusal = error
                return False
            raise
        with self._lock:
            self._tried -= len(tried)
        return True

    def _settlements_written(self) -> bool:
        while True:
            with self._lock:
                if not self._settlements:
                    return True
                settle = self._settlements.popleft()
                self._tried += 1
            refused = True
            try:
                settle()
                refused = False
            except StoreError as error:
                self.refusal = error
                return False
            except Exception as error:
                # It will never be written: not to stand in the way of the others, nor to be an error of the
                # call that happens to try it.
                refused = False
                self.lost_one()
                logger("ledger").warning("a settlement that waited is lost: %s", error)
            finally:
                with self._lock:
                    self._tried -= 1
                    if refused:
                        self._settlements.appendleft(settle)

    def forget(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._lock = Lock()
        self._records.clear()
        self._settlements.clear()
        self._tried, self._busy = 0, False
