"""Who may write a run: one owner, whose lease is renewed while the run is open, and checked at each write."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from techrevati.runtime.journal.vocabulary import RunBusyError
from techrevati.runtime.stores.errors import StoreError
from techrevati.runtime.stores.protocol import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from techrevati.runtime.stores.protocol import Store


class Lease:
    """The right to write one run, kept alive by a thread of its own until it is given back.

    Attributes:
        lost: What told that somebody else took the run over; None while it is ours.
        is_released: Whether giving it back is on record.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        run_id: str,
        owner: dict[str, object],
        lease_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._key, self._run_id = store, key, run_id
        self._owner, self._lease_s, self._clock = owner, lease_s, clock
        self._written: tuple[bytes, float] | None = None  # the record as it was last seen to be ours, its end
        self._ended = Event()
        self.lost: RunBusyError | None = None
        self.is_released: bool = False
        self._keeper = Thread(target=self._keep, name="techrevati-journal-lease", daemon=True)
        self._keeper.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is written under it."""
        return self._ended.is_set()

    def write(self, appends: tuple[tuple[str, str, bytes], ...], *, durable: bool) -> None:
        """Append, if the run is still ours."""
        self._update(appends, durable=durable, early_s=self._lease_s / 2)

    def _update(
        self, appends: tuple[tuple[str, str, bytes], ...] = (), *, durable: bool, early_s: float
    ) -> None:
        def decide(records: Mapping[str, bytes | None]) -> Change[None]:
            raw, known = records[self._key], self._written
            if raw is None or known is None or raw != known[0]:  # else it need not be read again
                there = _loads(raw)
                if (there.get("owner") or {}).get("token") != self._owner["token"]:
                    raise RunBusyError(self._run_id, "somebody else took it over")
                assert raw is not None
                self._written = known = raw, there["until"]
            now_s = self._clock()
            if known[1] - now_s > early_s:  # one page less to write
                return Change(None, None, appends)
            record = {"owner": self._owner, "until": now_s + self._lease_s, "state": "running"}
            return Change(None, {self._key: _dumps(record)}, appends)

        try:
            self._store.update([self._key], decide, durable=durable)
        except RunBusyError as error:
            self.lost = error
            raise

    def _keep(self) -> None:
        while not self._ended.wait(self._lease_s / 3):
            try:
                self._update(durable=False, early_s=self._lease_s)
            except RunBusyError:
                return
            except StoreError:
                continue  # the next write or renewal tells

    def end(self, state: str) -> None:
        """Give it back; *state* is what the run is then."""
        self._ended.set()
        self._keeper.join()

        def decide(records: Mapping[str, bytes | None]) -> Change[None]:
            there = _loads(records[self._key])
            if (there.get("owner") or {}).get("token") != self._owner["token"]:
                return Change(None)
            record = {"owner": None, "until": 0, "state": state}
            return Change(None, {self._key: _dumps(record)})

        self._store.update([self._key], decide)
        self.is_released = True


class NoLease:
    """For a run that nobody else is kept from, and that nobody writes."""

    is_over: bool = False
    is_released: bool = False
    lost: RunBusyError | None = None

    def write(self, appends: tuple[tuple[str, str, bytes], ...], *, durable: bool) -> None:
        """Refuse it."""
        raise AssertionError("nothing may be written")

    def end(self, state: str) -> None:
        """Do nothing."""


def _loads(raw: bytes | None) -> Any:
    import json

    return {} if raw is None else json.loads(raw)


def _dumps(record: Mapping[str, object]) -> bytes:
    import json

    return json.dumps(record).encode()
