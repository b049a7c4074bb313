"""The ledger: exact sums, one record a key, and what happens when the disk or the process gives up."""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime.budgets import Budget
from techrevati.runtime.ledger import IdempotencyConflictError, SpendLedger, spool as spool_module
from techrevati.runtime.ledger.record import Draft, draft
from techrevati.runtime.ledger.spool import Spool
from techrevati.runtime.ledger.waiting import PENDING_CAPACITY, Waiting
from techrevati.runtime.pricing import ModelPricing, cost_usd, register_pricing
from techrevati.runtime.stores import Change, NewerSchemaError, StoreCorruptError, StoreUnavailableError
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot

SPAWN = multiprocessing.get_context("spawn")
USAGE = UsageSnapshot(input_tokens=1_000, output_tokens=500)
COUNTS = [name for name, kind in UsageSnapshot.__annotations__.items() if kind == "int"]
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def prices() -> None:
    register_pricing("ledger-small", ModelPricing(0.25, 2.0))
    register_pricing("ledger-odd", ModelPricing(0.0000001234567, 2.0))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture(params=["full", "batched", ":memory:"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[SpendLedger]:
    memory = request.param == ":memory:"
    path = ":memory:" if memory else tmp_path / "spend.db"
    made = SpendLedger(path, durability="full" if memory else request.param, clock=clock)
    yield made
    made.close()


def test_a_record_says_everything_about_its_price(ledger: SpendLedger) -> None:
    """Parameters come back as attributes, with the price that was asked."""
    key = ledger.record(
        project="acme",
        model="ledger-small",
        usage=USAGE,
        user="ann",
        session="s1",
        run="r1",
        tags={"team": "a"},
        provider=None,
    )
    (record,) = ledger.records()
    assert record.key == key
    assert (record.project, record.model, record.usage) == ("acme", "ledger-small", USAGE)
    assert (record.user, record.session, record.run, record.tags) == ("ann", "s1", "r1", {"team": "a"})
    assert record.cost == Decimal("0.00125") == cost_usd("ledger-small", USAGE)
    assert (record.cost_source, record.price_book, record.tier) == ("registered", "registered", "standard")
    assert record.unit_prices["input"] == "0.25"
    assert record.at == datetime(2026, 11, 25, 12, tzinfo=UTC)
    with pytest.raises(AttributeError):
        record.cost = Decimal(0)  # type: ignore[misc]


def test_the_same_key_is_one_record(ledger: SpendLedger) -> None:
    """With other content it is refused, and the first stands."""
    for _ in range(3):
        assert ledger.record(project="a", model="ledger-small", usage=USAGE, key="k") == "k"
    ledger.flush()
    assert ledger.record(project="a", model="ledger-small", usage=USAGE, key="k") == "k"
    for other in (
        {"project": "b"},
        {"user": "u"},
        {"usage": UsageSnapshot(1)},
        {"cost": 1},
        {"tags": {"a": "b"}},
    ):
        content: dict[str, object] = {"project": "a", "model": "ledger-small", "usage": USAGE, **other}
        with pytest.raises(IdempotencyConflictError, match="'k'"):
            ledger.record(key="k", **content)  # type: ignore[arg-type]
    assert ledger.total() == Decimal("0.00125")
    assert len(list(ledger.records())) == 1


def test_costs_come_from_the_caller_the_provider_or_the_book(ledger: SpendLedger) -> None:
    """In this order; a model that nothing prices has no cost, which is not zero."""
    reported = UsageSnapshot(1, reported_cost_usd=Decimal("0.0001"))
    ledger.record(project="a", model="ledger-small", usage=reported, cost=0.1)
    ledger.record(project="a", model="ledger-small", usage=reported)
    ledger.record(project="a", model="no such model anywhere", usage=USAGE)
    assert [(r.cost_source, r.cost) for r in ledger.records()] == [
        ("given", Decimal("0.1")),
        ("reported", Decimal("0.0001")),
        ("unpriced", None),
    ]
    assert ledger.total() == Decimal("0.1001")


calls = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["ledger-small", "ledger-odd"]),
        st.sampled_from([None, "ann", "bob"]),
        st.sampled_from(["measured", "estimated", "unknown"]),
        st.integers(0, 10**13),
        st.none() | st.decimals(0, 10**8, places=15) | st.integers(0, 10**8),
        st.integers(0, 3 * 86_400),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(calls=calls, batch=st.integers(1, 5))
def test_sums_are_exact(calls: list[tuple[object, ...]], batch: int) -> None:
    """Totals by any name, by days and by records, equal a Decimal oracle to the last digit."""
    clock = FakeClock(NOON)
    ledger = SpendLedger(":memory:", clock=clock)
    costs: list[Decimal] = []
    for project, model, user, certainty, tokens, cost, later in calls:
        usage = UsageSnapshot(tokens)  # type: ignore[arg-type]
        clock.now = NOON + later  # type: ignore[operator]
        ledger.record(
            project=project,
            model=model,
            usage=usage,
            user=user,
            certainty=certainty,
            cost=cost,  # type: ignore[arg-type]
        )
        costs.append(cost_usd(str(model), usage) if cost is None else Decimal(str(cost)))
    names = ("project", "model", "user", "certainty")
    for n, name in enumerate(names):
        oracle: dict[str, list[Decimal | int]] = defaultdict(lambda: [0, 0, Decimal(0)])
        for call, cost in zip(calls, costs, strict=True):
            group = oracle[str(call[n] or "")]
            group[0] += 1
            group[1] += call[4]  # type: ignore[operator]
            group[2] += cost
        expected = [(name, *sums) for name, sums in sorted(oracle.items())]
        assert [tuple(group) for group in ledger.by(name)] == expected
        since = datetime(2020, 1, 1, 0, 0, 1, tzinfo=UTC)  # no whole day: answered from the records
        assert [tuple(group) for group in ledger.by(name, since=since)] == expected
    assert ledger.total() == sum(costs, Decimal(0))
    assert sum((r.cost or Decimal(0) for r in ledger.records()), Decimal(0)) == ledger.total()
    ledger.close()


def test_reports_filter_and_group(ledger: SpendLedger, clock: FakeClock) -> None:
    """By several names, from a day on, of one project."""
    for day, project in enumerate(["a", "b", "a"]):
        clock.now = NOON + day * 86_400
        ledger.record(project=project, model="ledger-small", usage=USAGE, session=f"s{day}")
    groups = [tuple(group) for group in ledger.by("project", "day")]
    assert groups[0] == (("a", "2026-11-25"), 1, 1500, Decimal("0.00125"))
    assert [group[0] for group in groups] == [("a", "2026-11-25"), ("a", "2026-11-27"), ("b", "2026-11-26")]
    assert ledger.total(project="a", since=date(2026, 11, 26)) == Decimal("0.00125")
    assert ledger.total(until=date(2026, 11, 27)) == Decimal("0.0025")
    assert [group.group for group in ledger.by("session", project="a")] == ["s0", "s2"]
    assert [record.session for record in ledger.records(project="a")] == ["s0", "s2"]
    assert "<td" in ledger._repr_html_()
    for wrong in ({"names": ("colour",)}, {"names": ()}):
        with pytest.raises(ValueError, match="project, model"):
            ledger.by(*wrong["names"])
    with pytest.raises(ValueError, match="aware"):
        ledger.total(since=datetime(2026, 1, 1))


def test_moments_are_bounds_to_the_second(ledger: SpendLedger, clock: FakeClock) -> None:
    """From *since* on, before *until*, in the middle of a day, too, and by names that days have sums of."""
    for hour, project in enumerate(("a", "b", "b")):
        clock.now = NOON + hour * 3600
        ledger.record(project=project, model="ledger-small", usage=USAGE, key=str(hour))
    one = datetime.fromtimestamp(NOON + 3600, UTC)
    assert [(group.group, group.calls) for group in ledger.by("project", since=one)] == [("b", 2)]
    assert [(group.group, group.calls) for group in ledger.by("project", until=one)] == [("a", 1)]
    assert ledger.total(since=one, until=datetime.fromtimestamp(NOON + 7200, UTC)) == Decimal("0.00125")
    assert [record.key for record in ledger.records(since=one)] == ["1", "2"]
    assert ledger.prune(before=one) == 1
    assert [record.key for record in ledger.records()] == ["1", "2"]


def test_every_token_is_counted_once(ledger: SpendLedger) -> None:
    """Of every part that is not inside another one; searches and requests are no tokens."""
    names = [name for name in COUNTS if name.endswith("_tokens")]
    parts = {name: 10**n for n, name in enumerate(reversed(names))}
    ledger.record(project="a", model="m", usage=UsageSnapshot(**parts, web_searches=7, requests=7), cost=0)
    (group,) = ledger.by("project")
    inside = ["reasoning_tokens", "output_image_tokens", "cache_read_audio_tokens"]
    inside.append("citation_tokens")  # what was cited is in the input already
    assert group.tokens == sum(parts.values()) - sum(parts[name] for name in inside)


def test_a_failure_is_kept_with_the_call(ledger: SpendLedger, tmp_path: Path) -> None:
    """In the record, its dict, the exports and the groups; another one under the same key is a conflict."""
    ledger.record(project="a", model="m", usage=USAGE, cost=1, key="k", failure="timeout")
    ledger.record(project="a", model="m", usage=USAGE, cost=1, key="k", failure="timeout")
    ledger.record(project="a", model="m", usage=USAGE, cost=2, key="fine")
    assert [record.failure for record in ledger.records()] == ["timeout", None]
    assert [tuple(group)[:2] for group in ledger.by("failure")] == [("", 1), ("timeout", 1)]
    with pytest.raises(IdempotencyConflictError, match="failure"):
        ledger.record(project="a", model="m", usage=USAGE, cost=1, key="k", failure="network")
    ledger.export(tmp_path / "s.csv")
    with open(tmp_path / "s.csv", newline="") as file:
        assert [row["failure"] for row in csv.DictReader(file)] == ["timeout", ""]
    with pytest.raises(TypeError, match="failure"):
        ledger.record(project="a", model="m", usage=USAGE, failure=1)  # type: ignore[arg-type]


def test_a_count_that_no_column_holds_does_not_stop_the_others(tmp_path: Path) -> None:
    """A provider that says nonsense: the money and the usage are exact, and the batch is written."""
    with SpendLedger(tmp_path / "spend.db", durability="batched") as ledger:
        ledger.record(project="p", model="gpt-4o-mini", usage=UsageSnapshot(10**30, 0))
        ledger.record(project="p", model="gpt-4o-mini", usage=UsageSnapshot(10, 0))
        ledger.flush()
        first, second = ledger.records()
        assert first.usage.input_tokens == 10**30
        assert ledger.total() == Decimal("150000000000000000000000.0000015")
        assert second.usage.input_tokens == 10
        assert ledger.by("project")[0].tokens == 10**15 + 10


def test_calls_that_nothing_prices(ledger: SpendLedger, clock: FakeClock) -> None:
    ledger.record(project="p", model="nobody-knows", usage=UsageSnapshot(1, 1))
    before = datetime.fromtimestamp(clock() + 1, UTC)
    clock.advance(5)
    ledger.record(project="p", model="gpt-4o-mini", usage=UsageSnapshot(1, 1))
    ledger.record(project="p", model="nor this", usage=UsageSnapshot(1, 1))
    ledger.record(project="p", model="nor this", usage=UsageSnapshot(1, 1))
    assert ledger.unpriced() == {"nor this": 2, "nobody-knows": 1}
    assert ledger.unpriced(since=before) == {"nor this": 2}
    assert ledger.unpriced(until=before) == {"nobody-knows": 1}
    assert ledger.unpriced(project="p", until=before) == {"nobody-knows": 1}
    assert ledger.unpriced(project="q") == {}


def test_export_and_retention(ledger: SpendLedger, clock: FakeClock, tmp_path: Path) -> None:
    """Files hold every record; forgetting old records leaves the sums."""
    ledger.record(project="=cmd()", model="ledger-small", usage=USAGE, key="old")
    clock.advance(40 * 86_400)
    ledger.record(project="b", model="ledger-small", usage=USAGE, key="new")
    assert ledger.export(tmp_path / "s.jsonl") == 2
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == ["old", "new"]
    assert lines[0]["cost_usd"] == "0.00125"
    assert ledger.export(tmp_path / "s.csv") == 2
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["project"] == "'=cmd()"
    with pytest.raises(ValueError, match="'xml'"):
        ledger.export(tmp_path / "s.xml")
    assert ledger.prune(before=date(2026, 12, 1)) == 1
    assert [record.key for record in ledger.records()] == ["new"]
    assert ledger.total() == Decimal("0.0025")


def test_bad_arguments_record_nothing(ledger: SpendLedger) -> None:
    """Each is named."""
    good: dict[str, object] = {"project": "a", "model": "m", "usage": USAGE}
    for name, value in {
        "project": "",
        "usage": {"input_tokens": 1},
        "certainty": "sure",
        "cost": -1,
        "tags": {"a": 1},
        "user": " ",
        "key": "",
    }.items():
        with pytest.raises((ValueError, TypeError), match=name):
            ledger.record(**{**good, name: value})  # type: ignore[arg-type]
    assert not list(ledger.records())
    with pytest.raises(ValueError, match="postgresql"):
        SpendLedger("postgresql://user:secret@host/db")


# --- trouble ---


def test_what_the_disk_refuses_is_kept_and_tried_again(tmp_path: Path) -> None:
    """A locked file: a clear error, the record pending, written once the lock is gone."""
    ledger = SpendLedger(tmp_path / "s.db", timeout_s=0.02)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        ledger.record(project="a", model="ledger-small", usage=USAGE)
    assert ledger.pending == 1
    with pytest.raises(StoreUnavailableError):
        ledger.flush()
    other.execute("ROLLBACK")
    other.close()
    ledger.record(project="a", model="ledger-small", usage=USAGE)
    assert ledger.pending == 0
    assert ledger.total() == Decimal("0.0025")
    assert PENDING_CAPACITY > 0
    ledger.close()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Pages run out, records wait, room comes back."""
    ledger = SpendLedger(tmp_path / "s.db")
    ledger._file.read(lambda c: c.execute("PRAGMA max_page_count=30").fetchone())
    written = 0
    with pytest.raises(StoreUnavailableError, match="full"):
        while written < 1000:
            ledger.record(project="a", model="ledger-small", usage=USAGE, tags={"x": "y" * 2000})
            written += 1
    assert ledger.pending == 1
    ledger._file.read(lambda c: c.execute("PRAGMA max_page_count=100000").fetchone())
    ledger.flush()
    assert ledger.pending == 0
    assert len(list(ledger.records())) == written + 1
    ledger.close()


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    """Damaged ones and those of a newer version."""
    (tmp_path / "bad.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreCorruptError):
        SpendLedger(tmp_path / "bad.db")
    SpendLedger(tmp_path / "s.db").close()
    connection = sqlite3.connect(tmp_path / "s.db")
    with connection:
        connection.execute("UPDATE techrevati_schema SET version = 99 WHERE part = 'ledger'")
    connection.close()
    with pytest.raises(NewerSchemaError, match="ledger"):
        SpendLedger(tmp_path / "s.db")


def test_a_reader_needs_no_right_to_write(tmp_path: Path) -> None:
    """Reports of a file that cannot be written; records are refused."""
    with SpendLedger(tmp_path / "s.db") as ledger:
        ledger.record(project="a", model="ledger-small", usage=USAGE)
    reader = SpendLedger(tmp_path / "s.db", read_only=True)
    assert reader.total() == Decimal("0.00125")
    with pytest.raises(StoreUnavailableError, match="read only"):
        reader.record(project="a", model="ledger-small", usage=USAGE)
    reader.close()
    with pytest.raises(StoreUnavailableError, match="no such file"):
        SpendLedger(tmp_path / "none.db", read_only=True)


def spend_and_say(path: str, durability: str, pipe: object) -> None:
    register_pricing("ledger-small", ModelPricing(0.25, 2.0))
    ledger = SpendLedger(path, durability=durability)
    for _ in range(100_000):
        pipe.send(ledger.record(project="a", model="ledger-small", usage=USAGE))  # type: ignore[attr-defined]


@pytest.mark.parametrize("durability", ["full", "batched"])
def test_sigkill_loses_nothing_acknowledged(tmp_path: Path, durability: str) -> None:
    """Every key that a killed process said is in the file, once, and the sums agree."""
    path = str(tmp_path / "s.db")
    said: list[str] = []
    for quota in (1, 30, 700):
        ours, theirs = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=spend_and_say, args=(path, durability, theirs))
        process.start()
        theirs.close()
        said += [ours.recv() for _ in range(quota)]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        try:
            while True:
                said.append(ours.recv())
        except EOFError:
            process.join()
    ledger = SpendLedger(path)
    keys = [record.key for record in ledger.records()]
    assert len(keys) == len(set(keys))
    assert set(said) <= set(keys)
    assert len(keys) - len(said) <= 3  # at most what was recorded and not yet said
    assert ledger.total() == Decimal("0.00125") * len(keys)
    assert not list(tmp_path.glob("*.spool-*"))
    ledger.close()


def test_no_thread_to_be_had_is_no_reason_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that nobody would commit later is committed at once."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ledger = SpendLedger(tmp_path / "s.db", durability="batched")
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuse)
        ledger.record(project="acme", model="ledger-small", usage=USAGE)
    with sqlite3.connect(tmp_path / "s.db") as other:
        assert other.execute("select count(*) from spend").fetchone() == (1,)
    other.close()
    ledger.close()


def test_a_fork_does_not_write_twice(tmp_path: Path) -> None:
    """What waits in the parent's batch is the parent's; the child has a batch of its own."""
    ledger = SpendLedger(tmp_path / "s.db", durability="batched")
    ledger.record(project="parent", model="ledger-small", usage=USAGE)
    pid = os.fork()
    if not pid:
        try:
            ledger.record(project="child", model="ledger-small", usage=USAGE)
            ledger.close()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert [tuple(group)[:2] for group in ledger.by("project")] == [("child", 1), ("parent", 1)]
    ledger.close()


def test_a_refused_batch_is_pending_and_what_follows_it_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without spools that are adopted: all records count as pending, and behind the batch the oldest go."""
    monkeypatch.setattr("techrevati.runtime.ledger.ledger._ARE_ADOPTED", False)
    monkeypatch.setattr("techrevati.runtime.ledger.ledger.BATCH", 2)
    monkeypatch.setattr("techrevati.runtime.ledger.ledger.PENDING_CAPACITY", 3)
    ledger = SpendLedger(tmp_path / "s.db", durability="batched", timeout_s=0.01)
    ledger._flusher_runs = True  # nobody commits meanwhile

    def record(key: str) -> None:
        ledger.record(project="a", model="ledger-small", usage=USAGE, key=key)

    record("1")
    assert ledger.pending == 0  # acknowledged, and on its way
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    seen = []
    with pytest.raises(StoreUnavailableError, match="locked"):
        record("2")
    for key in "34567":
        with contextlib.suppress(StoreUnavailableError):
            record(key)
        seen.append((ledger.pending, ledger.dropped))
    assert seen == [(3, 0), (4, 0), (5, 0), (5, 1), (5, 2)]
    other.execute("ROLLBACK")
    other.close()
    ledger.flush()
    assert (ledger.pending, ledger.dropped) == (0, 2)
    assert [one.key for one in ledger.records()] == ["1", "2", "5", "6", "7"]
    ledger.close()


def test_what_waits_is_bounded_and_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is given up, and counted; what is refused again waits in its order."""
    monkeypatch.setattr("techrevati.runtime.ledger.waiting.PENDING_CAPACITY", 3)
    waiting, ledger = Waiting(), SpendLedger(":memory:")
    given = ledger._given("p", "m", USAGE)
    for number in range(5):
        waiting.keep(draft(given, str(number), NOON))
    assert (len(waiting), waiting.dropped) == (3, 2)
    tried: list[list[str]] = []

    def write(drafts: Sequence[Draft]) -> None:
        tried.append([one.key for one in drafts])
        if len(tried) < 3:
            raise StoreUnavailableError("s.db", "locked", "locked")

    assert [waiting.retry(write) for _ in range(3)] == [False, False, True]
    assert tried == [["2", "3", "4"]] * 3
    assert (len(waiting), waiting.dropped) == (0, 2)
    ledger.close()


def test_a_record_that_was_half_written_when_its_process_died_is_passed_over(tmp_path: Path) -> None:
    """Cut off, or of the right length with other bytes in it: what was acknowledged before it is adopted."""
    path = tmp_path / "spend.db"
    with SpendLedger(path) as ledger:
        given = ledger._given("p", "m", USAGE, 0.5)
    for number, spoil in enumerate((lambda frame: frame[:-1], lambda frame: frame[:-1] + b"\xff")):
        spool = Spool(str(path))
        for key in ("whole", "half"):
            spool.append(draft(given, f"{key} {number}", NOON))
        name = spool._name
        spool.leave()
        Path(name).write_bytes(spoil(Path(name).read_bytes()))
    with SpendLedger(path) as ledger:
        assert {record.key for record in ledger.records()} == {"whole 0", "whole 1"}
    assert list(tmp_path.glob("*.spool-*")) == []


def test_behind_half_a_record_on_a_full_disk_the_next_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a disk took only in part is cut off again, so that what it takes later can be adopted."""
    path = tmp_path / "spend.db"
    with SpendLedger(path) as ledger:
        given = ledger._given("p", "m", USAGE, 0.5)
    spool = Spool(str(path))
    spool.append(draft(given, "before", NOON))
    with monkeypatch.context() as full:
        full.setattr("techrevati.runtime.ledger.spool._write", lambda file, it: os.write(file, it[:20]))
        with pytest.raises(OSError, match="could not be written"):
            spool.append(draft(given, "refused", NOON))
    spool.append(draft(given, "after", NOON))
    spool.leave()
    with SpendLedger(path) as ledger:
        assert [record.key for record in ledger.records()] == ["before", "after"]


def test_who_records_does_not_wait_for_a_batch_that_is_written(tmp_path: Path) -> None:
    """While another process holds the file, a thread that writes its batch waits; the others record on."""
    path = tmp_path / "spend.db"
    ledger = SpendLedger(path, durability="batched", timeout_s=60)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.record(project="p", model="ledger-small", usage=USAGE, key="first")
    writer = threading.Thread(target=ledger.flush)
    writer.start()
    while not ledger._file._lock.locked():  # it waits for the file
        pass
    ledger.record(project="p", model="ledger-small", usage=USAGE)
    assert writer.is_alive()
    other.execute("COMMIT")
    writer.join()
    other.close()
    # A key in the batch that was written is known all the time.
    ledger.record(project="p", model="ledger-small", usage=USAGE, key="first")
    assert sum(group.calls for group in ledger.by("project")) == 2
    ledger.close()


def record_and_die(path: str) -> None:
    """A batch that is refused, another behind it, and a kill."""
    register_pricing("ledger-small", ModelPricing(0.25, 2.0))
    ledger = SpendLedger(path, durability="batched", timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for key in "abc":
        ledger.record(project="p", model="ledger-small", usage=USAGE, key=key)
        with pytest.raises(StoreUnavailableError):
            ledger.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def test_batches_behind_one_that_was_refused_survive_too(tmp_path: Path) -> None:
    """Neither lost with the process nor written twice."""
    path = str(tmp_path / "spend.db")
    process = SPAWN.Process(target=record_and_die, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with SpendLedger(path) as ledger:
        assert sorted(record.key for record in ledger.records()) == ["a", "b", "c"]
    assert list(tmp_path.glob("*.spool-*")) == []


def test_what_waits_is_written_once_by_whoever_comes_first() -> None:
    """A second writer that comes in the middle neither repeats a settlement nor drops the one behind it."""
    waiting, written = Waiting(), list[str]()

    def first() -> None:
        assert len(waiting) == 2
        assert waiting.retry(lambda drafts: None) is False
        if not written:
            written.append("refused")
            raise StoreUnavailableError("s.db", "locked", "locked")
        written.append("first")

    waiting.keep_settlement(first)
    waiting.keep_settlement(lambda: written.append("second"))
    assert waiting.retry(lambda drafts: None) is False
    assert (len(waiting), written) == (2, ["refused"])
    assert waiting.retry(lambda drafts: None) is True
    assert (len(waiting), written) == (0, ["refused", "first", "second"])


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a spool that was left is not found")
def test_a_refused_batch_is_pending_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much for memory waits in its spool; all is counted, and written once."""
    monkeypatch.setattr("techrevati.runtime.ledger.ledger.PENDING_CAPACITY", 4)
    path = tmp_path / "spend.db"
    ledger = SpendLedger(path, durability="batched", timeout_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(11):
        key = f"key {number}" if number % 2 else None
        ledger.record(project="p", model="ledger-small", usage=USAGE, key=key)
        with pytest.raises(StoreUnavailableError):
            ledger.flush()
        assert ledger.pending == number + 1
    assert len(list(tmp_path.glob("*.spool-*"))) == 4  # the batch that is tried, two left, the newest
    other.execute("ROLLBACK")
    other.close()
    ledger.flush()
    ledger.record(project="p", model="ledger-small", usage=USAGE)
    assert (ledger.pending, ledger.dropped) == (0, 0)  # what only waits for its batch was not refused
    ledger.close()
    assert list(tmp_path.glob("*.spool-*")) == []
    with SpendLedger(path) as after:
        assert sum(group.calls for group in after.by("project")) == 12


@pytest.mark.parametrize("durability", ["full", "batched"])
@pytest.mark.parametrize("how", ["moved", "moved alone", "deleted", "replaced"])
def test_a_file_that_goes_away_takes_no_further_record_with_it(
    tmp_path: Path, durability: str, how: str
) -> None:
    """What is recorded after that is in the file that is there then; what a moved file had, it keeps."""
    path = tmp_path / "spend.db"
    ledger = SpendLedger(path, durability=durability)
    budget = Budget("acme", 1, ledger=ledger)
    ledger.record(project="before", model="gpt-4o-mini", usage=USAGE, key="first")
    ledger.record(
        project="before", model="gpt-4o", usage=USAGE, key="before"
    )  # at the second price in that file
    running = budget.reserve(model="gpt-4o-mini", input_tokens=100, max_output_tokens=100, key="running")
    ledger.flush()
    if how == "replaced":
        with SpendLedger(tmp_path / "other.db") as other:
            other.record(project="other", model="gpt-4o-mini", usage=USAGE)
        os.replace(tmp_path / "other.db", path)
    for name in [path.name] if how == "moved alone" else [path.name, f"{path.name}-wal", f"{path.name}-shm"]:
        if how == "deleted":
            (tmp_path / name).unlink()
        elif how != "replaced":
            (tmp_path / name).rename(tmp_path / name.replace("spend", "old"))
        elif name != path.name:
            (tmp_path / name).unlink()
    ledger.record(project="after", model="gpt-4o", usage=USAGE, key="after")
    running.settle(USAGE)
    ledger.flush()
    with SpendLedger(path) as there:  # as another process sees it
        projects = {record.key: record.project for record in there.records()}
        assert projects["after"] == "after"
        assert projects["running"] == "default"
        assert [group.group for group in there.by("project")] == sorted(projects.values())
        assert ("other" in projects.values()) is (how == "replaced")
    ledger.close()
    if how.startswith("moved"):
        with SpendLedger(tmp_path / "old.db") as old:
            assert [record.key for record in old.records()] == ["first", "before"]
            assert [lease.key for lease in old.leases()] == ["running"]


def test_a_spool_that_is_taken_for_an_orphan_when_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock somebody may look for orphans: what is acknowledged is in a file."""
    pytest.importorskip("fcntl")
    lock = spool_module._lock
    taken: list[int] = []

    def locked_late(descriptor: int) -> bool | None:
        if not taken:  # as adopt_orphans does it
            (name,) = tmp_path.glob("*.spool-*")
            taken.append(os.open(name, os.O_RDWR))
            assert lock(taken[0])
            name.unlink()
        return lock(descriptor)

    with SpendLedger(tmp_path / "spend.db", durability="batched") as ledger:
        monkeypatch.setattr(spool_module, "_lock", locked_late)
        monkeypatch.setattr(ledger, "_start_flusher", lambda: None)
        ledger.record(project="a", model="ledger-small", usage=USAGE, key="k")
        assert b"ledger-small" in b"".join(one.read_bytes() for one in tmp_path.glob("*.spool-*"))
    os.close(taken[0])
    assert not list(tmp_path.glob("*.spool-*"))


def test_a_spool_that_somebody_removed_does_not_keep_the_ledger_open(tmp_path: Path) -> None:
    """As with ``rm spend.db*``; what was committed is in the file."""
    ledger = SpendLedger(tmp_path / "spend.db", durability="batched")
    ledger.record(project="a", model="ledger-small", usage=USAGE)
    ledger.flush()
    for one in tmp_path.glob("*.spool-*"):
        one.unlink()
    ledger.close()
    with SpendLedger(tmp_path / "spend.db") as there:
        assert there.total() == Decimal("0.00125")


def test_a_key_that_cannot_be_looked_up_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batched record of a damaged file is in its spool, and written once the file is well again."""
    path = tmp_path / "spend.db"
    ledger = SpendLedger(path, durability="batched")
    monkeypatch.setattr(ledger, "_start_flusher", lambda: None)
    ledger.record(project="a", model="ledger-small", usage=USAGE, key="first")
    ledger.flush()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good = path.read_bytes()
    with open(path, "r+b") as file:
        file.write(b"garbage!" * (len(good) // 8))
    ledger.record(project="a", model="ledger-small", usage=USAGE, key="second")
    with pytest.raises(StoreCorruptError):
        ledger.flush()
    assert ledger.pending == 1
    with open(path, "r+b") as file:
        file.write(good)
    ledger.flush()
    assert [record.key for record in ledger.records()] == ["first", "second"]
    ledger.close()


def test_a_settlement_that_the_books_refuse_costs_nobody_else_a_record(tmp_path: Path) -> None:
    """It waited, and meanwhile somebody took its key: that is lost and counted, not raised elsewhere."""
    path = tmp_path / "spend.db"
    with SpendLedger(path, timeout_s=0.001) as ledger:
        budget = Budget("acme", 1, ledger=ledger)
        taken, other = (
            budget.reserve(model="ledger-small", input_tokens=1_000, max_output_tokens=500, key=key)
            for key in ("taken", "other")
        )
        ledger.record(project="elsewhere", model="ledger-small", usage=UsageSnapshot(1), key="taken")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            taken.settle(USAGE)
            other.settle(USAGE)
            writer.execute("ROLLBACK")
        assert ledger.pending == 2
        ledger.record(project="innocent", model="ledger-small", usage=USAGE, key="innocent")
        assert {record.key for record in ledger.records()} == {"taken", "other", "innocent"}
        assert (ledger.pending, ledger.dropped) == (0, 1)
        assert [lease.key for lease in ledger.leases()] == ["taken"]


UNCLOSED = """
import sqlite3, sys
from contextlib import suppress
from techrevati.runtime.budgets import Budget
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.ledger import ledger as module
from techrevati.runtime.stores import StoreUnavailableError
from techrevati.runtime.usage import UsageSnapshot

module.BATCH_AGE_S = 3600
ledger = SpendLedger("spend.db", durability=sys.argv[1], timeout_s=0.001)
usage = UsageSnapshot(1_000)
reserved = Budget("acme", 1, ledger=ledger).reserve(model="gpt-4o", input_tokens=1_000, max_output_tokens=0)
writer = sqlite3.connect("spend.db", isolation_level=None)
writer.execute("BEGIN IMMEDIATE")
for number in range(5):
    with suppress(StoreUnavailableError):
        ledger.record(project="p", model="gpt-4o", usage=usage)
reserved.settle(usage)
writer.execute("ROLLBACK")
"""


@pytest.mark.parametrize("durability", ["full", "batched"])
def test_a_program_that_ends_without_closing_writes_what_waits(tmp_path: Path, durability: str) -> None:
    """So that whoever looks next finds it, without writing."""
    command = [sys.executable, "-c", UNCLOSED, durability]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    with SpendLedger(tmp_path / "spend.db", read_only=True) as ledger:
        assert [(group.group, group.calls) for group in ledger.by("project")] == [("default", 1), ("p", 5)]
        assert not ledger.leases()
    assert not list(tmp_path.glob("*.spool-*"))


def test_what_cannot_be_flushed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no locked file."""
    with SpendLedger(tmp_path / "spend.db") as ledger:

        def refuse(*_: object, **__: object) -> object:
            raise StoreUnavailableError("spend.db", "full (database or disk is full)", "full")

        with monkeypatch.context() as full:
            full.setattr(ledger._file, "write", refuse)
            with pytest.raises(StoreUnavailableError):
                ledger.record(project="a", model="ledger-small", usage=USAGE)
            for end in (ledger.flush, ledger.close):
                with pytest.raises(StoreUnavailableError, match=r"1 records wait.*disk is full") as caught:
                    end()
                assert caught.value.cause == "full"
        ledger.flush()
        assert ledger.total() == Decimal("0.00125")


def test_a_key_in_a_batch_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reservation cannot have it; what loses its key to another process is counted."""
    path = tmp_path / "spend.db"
    with SpendLedger(path, durability="batched") as ledger, SpendLedger(path) as other:
        monkeypatch.setattr(ledger, "_start_flusher", lambda: None)
        ledger.record(project="a", model="ledger-small", usage=USAGE, key="k")
        assert ledger.has("k")
        with pytest.raises(ValueError, match="'k'"):
            Budget("acme", 1, ledger=ledger).reserve(model="ledger-small", max_output_tokens=1, key="k")
        other.record(project="b", model="ledger-small", usage=USAGE, key="k")
        ledger.flush()
        assert [record.project for record in ledger.records()] == ["b"]
        assert ledger.dropped == 1


def test_a_correction_replaces_estimates_alone() -> None:
    """What was measured stands, whoever thinks he knows better; sums follow what stands."""
    with SpendLedger(":memory:") as ledger:
        for key, certainty in (("guess", "estimated"), ("truth", "measured")):
            ledger.record(
                project="acme", model="gpt-4o-mini", usage=UsageSnapshot(10), key=key, certainty=certainty
            )
        bookings = [
            {"project": "acme", "model": "gpt-4o-mini", "usage": UsageSnapshot(30), "certainty": "measured"}
            | {"key": key}
            for key in ("guess", "truth", "neither")
        ]
        ledger.transact([], lambda _: Change(None), bookings, corrects=True)
        found = {record.key: record.usage.input_tokens for record in ledger.records()}
        assert found == {"guess": 30, "truth": 10}
        assert [(group.calls, group.tokens) for group in ledger.by("project")] == [(2, 40)]
