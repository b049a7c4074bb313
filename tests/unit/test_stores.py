"""What every store promises, asked of each of them; and what only files can get wrong."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from techrevati.runtime.stores import (
    Change,
    Entry,
    MemoryStore,
    NewerSchemaError,
    SqliteStore,
    Store,
    StoreCorruptError,
    StoreError,
    StoreUnavailableError,
    sqlite as sqlite_store,
    sqlite_file,
)
from techrevati.runtime.stores.errors import StoreLockedError
from techrevati.runtime.stores.protocol import ABSENT
from techrevati.runtime.stores.turns import Turns
from techrevati.runtime.testing import FakeClock
from tests.stores import STORES, Kind

FORK = multiprocessing.get_context("fork")
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


@pytest.fixture(params=STORES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def store(kind: Kind, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    made = kind.make(tmp_path, clock)
    yield made
    made.close()


# --- records -------------------------------------------------------------------------------------------


def test_a_record_is_written_once_by_whoever_is_first(store: Store) -> None:
    """Version 0 means absent; a stale version changes nothing."""
    assert store.load("a") is None
    first = store.compare_and_swap("a", 0, b"1")
    assert first
    assert store.compare_and_swap("a", 0, b"2") is None
    second = store.compare_and_swap("a", first, b"2")
    assert second
    assert second != first
    assert store.compare_and_swap("a", first, b"3") is None
    assert store.load("a") == (b"2", second)


def test_a_version_never_comes_back(store: Store) -> None:
    """Who remembers a record from before its deletion cannot overwrite the new one."""
    seen = set()
    for _ in range(5):
        version = store.compare_and_swap("a", 0, b"x")
        assert version is not None
        for _ in range(3):
            assert version not in seen
            seen.add(version)
            newer = store.compare_and_swap("a", version, b"y")
            assert newer is not None
            version = newer
        seen.add(version)
        assert store.compare_and_swap("a", version, None) == 0
        assert store.load("a") is None


def test_values_are_any_bytes(store: Store) -> None:
    """Empty, zero bytes and a megabyte come back as they were."""
    for number, value in enumerate([b"", b"\0", "ä🙂".encode(), os.urandom(1 << 20)]):
        store.compare_and_swap(f"k{number}", 0, value)
        loaded = store.load(f"k{number}")
        assert loaded is not None
        assert loaded.value == value


def test_an_expired_record_is_absent(store: Store, clock: FakeClock) -> None:
    """From the very second on, for every method."""
    store.compare_and_swap("a", 0, b"1", expires_at=1_010.0)
    clock.advance(9.999)
    assert store.load("a") is not None
    assert store.keys("") == ["a"]
    clock.advance(0.001)
    assert store.load("a") is None
    assert store.keys("") == []
    assert store.update(["a"], lambda records: Change(records["a"])) is None
    version = store.compare_and_swap("a", 0, b"2")
    assert store.load("a") == (b"2", version)
    clock.advance(1e6)
    assert store.load("a") == (b"2", version)


def test_expired_records_are_forgotten(store: Store, clock: FakeClock) -> None:
    """Making new ones makes room, and a renewed record stays."""
    for number in range(100):
        store.compare_and_swap(f"old{number}", 0, b"x", expires_at=1_001.0)
    renewed = store.load("old7")
    assert renewed is not None
    store.compare_and_swap("old7", renewed.version, b"y", expires_at=9_999.0)
    clock.advance(10)
    for number in range(100):
        store.compare_and_swap(f"new{number}", 0, b"x")
    if isinstance(store, MemoryStore):
        assert len(store._records) == 101
    elif isinstance(store, SqliteStore):
        count = store._file.read(lambda c: c.execute("SELECT count(*) FROM store_record").fetchone())
        assert count == (101,)
    assert store.keys("old") == ["old7"]


def test_update_is_all_or_nothing(store: Store) -> None:
    """Several records and a log entry change together, or none of them when deciding fails."""

    def move(records: Mapping[str, bytes | None]) -> Change[str]:
        assert records == {"a": b"10", "b": None}
        return Change("moved", {"a": None, "b": b"10"}, [("moves", "1", b"a>b")])

    store.compare_and_swap("a", 0, b"10")
    assert store.update(["a", "b"], move) == "moved"
    assert store.load("a") is None
    assert (store.load("b") or (b"",))[0] == b"10"
    assert store.read("moves") == [Entry(1, "1", b"a>b")]

    def fail(records: Mapping[str, bytes | None]) -> Change[None]:
        raise ZeroDivisionError("no decision")

    with pytest.raises(ZeroDivisionError, match="no decision") as caught:
        store.update(["b"], fail)
    assert caught.value.__cause__ is None
    with pytest.raises(ValueError, match="'c'"):
        store.update(["b"], lambda records: Change(None, {"c": b"1"}))
    assert (store.load("b") or (b"",))[0] == b"10"


def test_update_keeps_the_expiry(store: Store, clock: FakeClock) -> None:
    """A counter with a time to live does not become eternal by counting."""
    store.compare_and_swap("a", 0, b"1", expires_at=1_010.0)
    store.update(["a"], lambda records: Change(None, {"a": b"2"}))
    clock.advance(11)
    assert store.load("a") is None


def test_keys_come_in_order_and_in_pages(store: Store) -> None:
    """Prefixes are plain text: ``%`` and ``_`` mean themselves."""
    names = ["lease:1", "lease:2", "lease:%", "lease:_x", "lease", "leasf", "k", "lease:ä", "lease:🙂"]
    for name in names:
        store.compare_and_swap(name, 0, b"")
    expected = sorted(name for name in names if name.startswith("lease:"))
    assert store.keys("lease:") == expected
    assert store.keys("lease:_") == ["lease:_x"]
    assert store.keys("") == sorted(names)
    paged: list[str] = []
    while page := store.keys("lease:", after=paged[-1] if paged else "", limit=2):
        paged += page
    assert paged == expected


# --- logs ------------------------------------------------------------------------------------------------


def test_a_key_is_appended_once(store: Store) -> None:
    """The second append writes nothing and says what stands there."""
    assert store.append_once("log", "a", b"1") == (1, True, b"1")
    assert store.append_once("log", "b", b"2") == (2, True, b"2")
    assert store.append_once("log", "a", b"other") == (1, False, b"1")
    assert store.append_once("another", "a", b"3") == (1, True, b"3")
    assert store.read("log") == [Entry(1, "a", b"1"), Entry(2, "b", b"2")]
    assert store.read("nothing") == []


def test_a_log_is_read_in_ranges(store: Store) -> None:
    """Sequence numbers have no gaps, and go on after a trim."""
    for number in range(1, 11):
        store.append_once("log", f"k{number}", b"")
    assert [entry.sequence for entry in store.read("log", after=3, limit=4)] == [4, 5, 6, 7]
    assert store.trim("log", 4) == 4
    assert store.trim("log", 4) == 0
    assert store.trim("nothing", 4) == 0
    assert [entry.sequence for entry in store.read("log", limit=2)] == [5, 6]
    assert store.trim("log", 100) == 6
    assert store.append_once("log", "k1", b"again") == (11, True, b"again")
    assert store.read("log") == [Entry(11, "k1", b"again")]


# --- at once -----------------------------------------------------------------------------------------------


def increment(records: Mapping[str, bytes | None]) -> Change[int]:
    n = int(records["n"] or b"0") + 1
    return Change(n, {"n": b"%d" % n}, [("counted", str(n), b"")])


def swap_in(store: Store) -> None:
    while True:
        loaded = store.load("cas")
        value, version = loaded if loaded is not None else (b"0", 0)
        if store.compare_and_swap("cas", version, b"%d" % (int(value) + 1)) is not None:
            return


def test_threads_lose_nothing(store: Store) -> None:
    """Eight threads count together, by update and by compare-and-swap."""
    start = threading.Barrier(8)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            for _ in range(25):
                store.update(["n"], increment)
                swap_in(store)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [(store.load(key) or (b"",))[0] for key in ("n", "cas")] == [b"200", b"200"]
    assert [entry.sequence for entry in store.read("counted")] == list(range(1, 201))


def count_in_process(path: str, durability: str, times: int, go: object, pipe: object) -> None:
    store = SqliteStore(path, durability=durability)
    pipe.send("ready")  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    for _ in range(times):
        pipe.send(store.update(["n"], increment))  # type: ignore[attr-defined]
    os._exit(0)


@pytest.mark.parametrize("durability", ["full", "batched"])
def test_killed_processes_lose_nothing_they_said(tmp_path: Path, durability: str) -> None:
    """Six processes count, three are killed on the way: every number said is there, none twice."""
    path = str(tmp_path / "store.db")
    go = SPAWN.Event()
    said: list[int] = []
    workers = []
    for number in range(6):
        ours, theirs = SPAWN.Pipe(duplex=False)
        times = 60 if number % 2 else 100_000
        process = SPAWN.Process(target=count_in_process, args=(path, durability, times, go, theirs))
        process.start()
        theirs.close()
        workers.append((process, ours, number % 2 == 0))
    for _, pipe, _ in workers:
        assert pipe.recv() == "ready"
    go.set()
    for process, pipe, victim in workers:
        for _ in range(20):
            said.append(pipe.recv())
        if victim:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        try:
            while True:
                said.append(pipe.recv())
        except EOFError:
            process.join()
    assert len(said) == len(set(said))
    store = SqliteStore(path)
    total = int((store.load("n") or (b"0",))[0])
    logged = set()
    while entries := store.read("counted", after=len(logged)):
        logged |= {int(entry.key) for entry in entries}
    assert logged == set(range(1, total + 1))
    assert set(said) <= logged
    store.close()


def test_a_fork_opens_its_own(kind: Kind, tmp_path: Path, clock: FakeClock) -> None:
    """A handle made before a fork serves parent and child, while a thread keeps it busy."""
    store = kind.make(tmp_path, clock)
    stop = threading.Event()
    counted = [0]

    def busy() -> None:
        while not stop.is_set():
            store.update(["n"], increment)
            counted[0] += 1

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        children = []
        for _ in range(4):
            pid = os.fork()
            if not pid:
                try:
                    for _ in range(10):
                        store.update(["n"], increment)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    finally:
        stop.set()
        thread.join()
    n = int((store.load("n") or (b"0",))[0])
    assert n == counted[0] + (40 if kind.shared_by_processes else 0)
    store.close()


# --- files -------------------------------------------------------------------------------------------------


def test_a_closed_file_opens_again(tmp_path: Path) -> None:
    """Closing twice is fine; what was written is there."""
    with SqliteStore(tmp_path / "s.db") as store:
        store.append_once("log", "a", b"1")
    store.close()
    assert store.append_once("log", "a", b"2") == (1, False, b"1")
    store.flush()
    store.close()
    assert store.read("log") == [Entry(1, "a", b"1")]
    store.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """And not changed."""
    SqliteStore(tmp_path / "s.db").close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE techrevati_schema SET version = 99 WHERE part = 'store'")
    connection.close()
    with pytest.raises(NewerSchemaError, match="version 99") as caught:
        SqliteStore(tmp_path / "s.db")
    assert (caught.value.found, caught.value.known) == (99, len(sqlite_store.SCHEMA))


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file stays as it is."""
    file = tmp_path / "notes.txt"
    file.write_text("My notes, not a database. " * 100)
    with pytest.raises(StoreCorruptError, match=r"notes\.txt"):
        SqliteStore(file)
    assert file.read_text() == "My notes, not a database. " * 100


def test_a_locked_file_is_said_to_be_locked(tmp_path: Path) -> None:
    """After the patience given, without a change; afterwards all is well."""
    store = SqliteStore(tmp_path / "s.db", timeout_s=0.05)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked") as caught:
        store.compare_and_swap("a", 0, b"1")
    assert caught.value.cause == "locked"
    assert isinstance(caught.value, OSError)
    other.execute("ROLLBACK")
    other.close()
    assert store.compare_and_swap("a", 0, b"1")
    store.close()


def test_no_place_to_write(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with pytest.raises(StoreUnavailableError, match="missing") as caught:
        SqliteStore(tmp_path / "missing" / "s.db")
    assert caught.value.cause == "cannot open"


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    """Nothing of the write stays, and the store works again when there is room."""
    store = SqliteStore(tmp_path / "s.db")
    limit: Callable[[int], object] = lambda pages: store._file.read(  # noqa: E731
        lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone()
    )
    limit(20)
    with pytest.raises(StoreUnavailableError, match="full") as caught:
        store.update(["a", "b"], lambda _: Change(None, {"a": b"1", "b": bytes(1 << 20)}))
    assert caught.value.cause == "full"
    assert store.load("a") is None
    limit(1 << 20)
    store.update(["a", "b"], lambda _: Change(None, {"a": b"1", "b": bytes(1 << 20)}))
    assert store.load("a") is not None
    store.close()


def test_arguments_are_checked(tmp_path: Path) -> None:
    """A word that is no durability is named."""
    with pytest.raises(ValueError, match="'fast'"):
        SqliteStore(tmp_path / "s.db", durability="fast")
    assert issubclass(StoreUnavailableError, StoreError)


def counted_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the log at each sync."""
    sizes: list[int] = []

    def sync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(sqlite_file, "_sync_data", sync)
    return sizes


posix = pytest.mark.skipif(os.name != "posix", reason="SQLite syncs by itself there")


@posix
def test_only_durable_writes_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is synced before a durable write returns, after another one not; nor after one that wrote
    nothing."""
    syncs = counted_syncs(monkeypatch)
    with SqliteStore(tmp_path / "full.db") as store:
        seen = []
        for durable in (True, False, False, True):
            store.update(["k"], lambda _: Change(None, {"k": b"v"}), durable=durable)
            seen.append(len(syncs))
        assert seen == [1, 1, 1, 2]
        assert store.update(["k"], lambda records: Change(records["k"])) == b"v"
        assert len(syncs) == 2
        store.flush()
        store.append_once("log", "key", b"")
        assert len(syncs) == 4
    with SqliteStore(tmp_path / "batched.db", durability="batched") as store:
        store.update(["k"], lambda _: Change(None, {"k": b"v"}))
        assert len(syncs) == 4
        store.flush()
        assert len(syncs) == 5


@posix
def test_the_log_holds_the_write_when_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection sees at the sync what is synced: the transaction is over by then, and its lock is
    given up."""
    path = tmp_path / "s.db"
    seen: list[object] = []

    def sync(descriptor: int) -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
            seen.extend(other.execute("SELECT value FROM store_record").fetchall())
            other.execute("BEGIN IMMEDIATE").execute("ROLLBACK")

    with SqliteStore(path) as store:
        monkeypatch.setattr(sqlite_file, "_sync_data", sync)
        store.update(["k"], lambda _: Change(None, {"k": b"v"}))
        assert seen == [(b"v",)]


@posix
def test_one_sync_serves_every_thread_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread syncs, others commit; the next sync is theirs together."""
    syncing, go_on, calls = threading.Event(), threading.Event(), list[int]()

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        syncing.set()
        assert go_on.wait(10)

    with SqliteStore(tmp_path / "s.db") as store:
        monkeypatch.setattr(sqlite_file, "_sync_data", sync)
        names = [f"k{n}" for n in range(6)]
        threads = [
            threading.Thread(target=store.compare_and_swap, args=(name, ABSENT, b"v")) for name in names
        ]
        threads[0].start()
        assert syncing.wait(10)
        for thread in threads[1:]:
            thread.start()
        while not all(store.load(name) for name in names):
            pass
        go_on.set()
        for thread in threads:
            thread.join(10)
        assert len(calls) == 2


@posix
def test_a_disk_that_cannot_sync_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no acknowledgement; the next write tries again."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with SqliteStore(tmp_path / "s.db") as store:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_file, "_sync_data", fail)
            with pytest.raises(StoreUnavailableError, match="synced") as caught:
                store.compare_and_swap("k", ABSENT, b"v")
            assert caught.value.cause == "input/output"
        syncs = counted_syncs(monkeypatch)
        store.compare_and_swap("other", ABSENT, b"v")
        assert len(syncs) == 1


# --- turns -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix" or sys.platform == "emscripten", reason="no locks of files there")
class TestTurns:
    """Writers of one file queue, and are not kept waiting for ever."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        """Something to lock."""
        (tmp_path / "log").touch()
        return str(tmp_path / "log")

    def test_one_at_a_time(self, path: str) -> None:
        """A second one waits until the first gives."""
        first, second = Turns(path), Turns(path)
        assert first.take(1)
        entered = threading.Event()

        def enter() -> None:
            assert second.take(10)
            entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.02)
        first.give()
        thread.join(10)
        assert entered.is_set()
        second.give()
        assert first.take(0)
        first.close()
        second.close()

    def test_a_turn_that_does_not_come_is_given_up(self, path: str) -> None:
        """Later turns of the same writer are not confused with the one it left, and nobody is blocked by
        it."""
        first, second = Turns(path), Turns(path)
        assert first.take(1)
        for _ in range(3):
            assert not second.take(0.01)
        first.give()
        assert second.take(10)  # behind those that were left
        assert not first.take(0.01)
        second.give()
        assert first.take(10)
        first.close()
        assert second.take(10)
        second.close()

    def test_without_a_file_nobody_queues(self, tmp_path: Path) -> None:
        """It orders; it does not decide."""
        turns = Turns(str(tmp_path / "none"))
        assert turns.take(0)
        turns.give()
        turns.close()

    def test_a_writer_that_holds_its_turn_too_long_locks_the_file(self, tmp_path: Path) -> None:
        """As a transaction that does not end would: told as locked, in the time that was given."""
        path = tmp_path / "s.db"
        with SqliteStore(path, timeout_s=0.02) as store, SqliteStore(path) as other:
            other.compare_and_swap("k", ABSENT, b"v")
            held = Turns(f"{path}-wal")
            assert held.take(1)
            with pytest.raises(StoreLockedError):
                store.compare_and_swap("k2", ABSENT, b"v")
            held.close()
            assert store.compare_and_swap("k2", ABSENT, b"v")

    def test_a_dead_writer_holds_no_turn(self, tmp_path: Path) -> None:
        """SIGKILL gives it back."""
        path = tmp_path / "s.db"
        code = (
            "import os, signal, sys\n"
            "from techrevati.runtime.stores import SqliteStore\n"
            "from techrevati.runtime.stores.protocol import Change\n"
            "store = SqliteStore(sys.argv[1])\n"
            "store.update(['k'], lambda _: Change(None, {'k': b'v'}))\n"
            "store.update(['k'], lambda _: os.kill(os.getpid(), signal.SIGKILL))\n"
        )
        with SqliteStore(path, timeout_s=5) as store:
            killed = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60)
            assert killed.returncode == -9
            found = store.load("k")
            assert found is not None
            assert store.compare_and_swap("k", found.version, b"w")


def test_logs_of_a_file_of_version_1_go_on(tmp_path: Path) -> None:
    """Nothing gets a place that was given before, not even in a log that was trimmed as a whole; a program
    of that version that still has the file open fails instead of counting by itself."""
    path = tmp_path / "old.db"
    older = sqlite3.connect(path, isolation_level=None)
    for statement in (
        *sqlite_store.SCHEMA[0],
        "CREATE TABLE techrevati_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL)",
        "INSERT INTO techrevati_schema VALUES ('store', 1)",
        "INSERT INTO store_log VALUES ('kept', 2), ('trimmed', 7)",
        "INSERT INTO store_entry VALUES ('kept', 1, 'a', x'01'), ('kept', 2, 'b', x'02')",
    ):
        older.execute(statement)
    with SqliteStore(path) as store:
        assert [entry.key for entry in store.read("kept")] == ["a", "b"]
        assert store.append_once("kept", "a", b"other") == (1, False, b"\x01")
        assert store.append_once("kept", "c", b"3").sequence == 3
        assert store.append_once("trimmed", "h", b"8").sequence == 8
        assert store.trim("kept", 2) == 2
        assert store.append_once("kept", "d", b"4").sequence == 4
    with pytest.raises(sqlite3.OperationalError, match="store_log"):
        older.execute("UPDATE store_log SET last = last + 1")
    older.close()


def test_threads_do_not_wait_longer_one_after_the_other_than_each_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread before it may be waiting for another process: that time counts, too."""
    store = SqliteStore(tmp_path / "s.db", timeout_s=7)
    store.compare_and_swap("k", 0, b"1")
    waited: list[float] = []

    class Taken:
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            waited.append(timeout if blocking else 0)
            return False

        def __enter__(self) -> None:
            raise AssertionError("it waits without an end")

        def __exit__(self, *_: object) -> None: ...

    with monkeypatch.context() as busy:
        busy.setattr(store._file, "_lock", Taken())
        with pytest.raises(StoreLockedError, match="threads"):
            store.compare_and_swap("k", 1, b"2")
    assert waited == [0, 7]
    found = store.load("k")
    assert found is not None
    assert found.value == b"1"
    store.close()
