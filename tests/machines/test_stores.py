"""Any store, under any order of writes, deletions, expiries, appends and trims, equals a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from techrevati.runtime.stores import Change
from techrevati.runtime.testing import FakeClock
from tests.stores import STORES, Kind

KEYS = st.sampled_from(["a", "b", "a/b", "ä"])
VALUES = st.binary(max_size=4)


def machine(kind: Kind) -> type[RuleBasedStateMachine]:
    """The machine of one store."""

    class StoreMachine(RuleBasedStateMachine):
        """The model: records with an expiry, and lists of entries."""

        def __init__(self) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp())
            self.clock = FakeClock(100.0)
            self.store = kind.make(self.folder, self.clock)
            self.records: dict[str, tuple[bytes, float | None]] = {}
            self.seen: dict[str, set[int]] = {}
            self.log: list[tuple[int, str, bytes]] = []
            self.last = 0

        def teardown(self) -> None:
            self.store.close()
            shutil.rmtree(self.folder)

        @rule(seconds=st.floats(0, 5))
        def time_passes(self, seconds: float) -> None:
            self.clock.advance(seconds)
            now = self.clock()
            self.records = {k: r for k, r in self.records.items() if r[1] is None or r[1] > now}

        @rule(key=KEYS, value=st.none() | VALUES, ttl=st.none() | st.floats(0.5, 5), stale=st.booleans())
        def swap(self, key: str, value: bytes | None, ttl: float | None, stale: bool) -> None:
            loaded = self.store.load(key)
            version = 0 if loaded is None else loaded.version
            expires = None if ttl is None else self.clock() + ttl
            seen = self.seen.setdefault(key, set())
            for old in (seen if stale else set()) - {version}:
                assert self.store.compare_and_swap(key, old, b"stale") is None
            written = self.store.compare_and_swap(key, version, value, expires_at=expires)
            if value is None:
                assert written == 0
                self.records.pop(key, None)
            else:
                assert written
                assert written not in seen
                seen.add(written)
                self.records[key] = (value, expires)

        @rule(keys=st.lists(KEYS, unique=True, max_size=3), value=st.none() | VALUES, fails=st.booleans())
        def update(self, keys: list[str], value: bytes | None, fails: bool) -> None:
            def decide(records: Mapping[str, bytes | None]) -> Change[int]:
                assert records == {key: self.records.get(key, (None,))[0] for key in keys}
                if fails:
                    raise LookupError
                return Change(7, dict.fromkeys(keys, value))

            try:
                assert self.store.update(keys, decide) == 7
            except LookupError:
                return
            for key in keys:
                expiry = self.records.get(key, (b"", None))[1]
                if value is None:
                    self.records.pop(key, None)
                else:
                    self.records[key] = (value, expiry)

        @rule(key=KEYS, value=VALUES)
        def append(self, key: str, value: bytes) -> None:
            there = [entry for entry in self.log if entry[1] == key]
            if not there:
                self.last += 1
                self.log.append((self.last, key, value))
            sequence, _, stands = there[0] if there else self.log[-1]
            assert self.store.append_once("log", key, value) == (sequence, not there, stands)

        @rule(up_to=st.integers(0, 12))
        def trim(self, up_to: int) -> None:
            kept = [entry for entry in self.log if entry[0] > up_to]
            assert self.store.trim("log", up_to) == len(self.log) - len(kept)
            self.log = kept

        @rule()
        def reopen(self) -> None:
            if kind.shared_by_processes:
                self.store.close()
                self.store = kind.make(self.folder, self.clock)

        @invariant()
        def it_equals_the_model(self) -> None:
            assert self.store.keys("") == sorted(self.records)
            for key in ("a", "b", "a/b", "ä"):
                loaded = self.store.load(key)
                assert (loaded and loaded.value) == self.records.get(key, (None,))[0]
            assert self.store.read("log") == self.log

    return StoreMachine


@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.name)
def test_any_store_is_a_dictionary_with_a_memory(kind: Kind) -> None:
    """In any order, reopened files included."""
    few = settings(max_examples=100 if kind.name == "memory" else 15, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(machine(kind), settings=few)
