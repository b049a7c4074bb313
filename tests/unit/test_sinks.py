"""Sinks: rings that count exactly, files that survive a bad disk, fan-outs that shield each other."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.agent_events import AgentEvent
from techrevati.runtime.sinks import (
    FanOutEventSink,
    FanOutUsageSink,
    JsonlEventSink,
    JsonlUsageSink,
    NoopEventSink,
    NoopUsageSink,
    RingBufferEventSink,
    RingBufferUsageSink,
)
from techrevati.runtime.usage import UsageSnapshot


def event(n: int = 0) -> AgentEvent:
    return AgentEvent.phase_started(str(n))


class Broken:
    """Raises whatever it is told."""

    def emit(self, event: AgentEvent) -> None:
        raise RuntimeError("no sink")

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        raise RuntimeError("no sink")


def in_threads(count: int, work: object) -> None:
    """Run *work* in *count* threads that start together; errors fail the test."""
    start = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# --- rings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", [RingBufferEventSink, RingBufferUsageSink])
@pytest.mark.parametrize(
    ("capacity", "kind"),
    [(0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError), (None, TypeError)],
)
def test_a_ring_needs_room(ring: type, capacity: object, kind: type[Exception]) -> None:
    """A capacity below one is refused at once, with the argument's name and value."""
    with pytest.raises(kind, match="capacity") as caught:
        ring(capacity=capacity)
    assert repr(capacity) in str(caught.value)


@given(st.integers(1, 8), st.lists(st.sampled_from(["emit", "clear", "look"]), max_size=60))
def test_rings_keep_the_newest_and_count_the_dropped(capacity: int, acts: list[str]) -> None:
    """After any acts, what is kept plus what was dropped plus what was cleared is what came in."""
    events, usages = RingBufferEventSink(capacity), RingBufferUsageSink(capacity)
    kept: list[int] = []
    dropped = 0
    for number, act in enumerate(acts):
        if act == "emit":
            events.emit(event(number))
            usages.record(f"m{number}", UsageSnapshot(number), 0.5)
            kept.append(number)
            dropped += len(kept) > capacity
            kept = kept[-capacity:]
        elif act == "clear":
            events.clear()
            usages.clear()
            kept = []
        else:  # looking, however often, changes nothing
            assert events.dropped == usages.dropped == dropped
        assert [one.phase for one in events.events] == [str(number) for number in kept]
        assert usages.records == [(f"m{number}", UsageSnapshot(number), 0.5) for number in kept]
    assert events.dropped == usages.dropped == dropped
    assert events.capacity == capacity


def test_rings_count_exactly_under_eight_threads() -> None:
    """8 x 500 events into 64 places: 64 kept, 3,936 dropped, nothing twice; readers disturb nobody."""
    ring = RingBufferEventSink(64)

    def work(number: int) -> None:
        for n in range(500):
            ring.emit(event(number * 500 + n))
            if n % 50 == 0:
                assert len(ring.events) <= 64
                assert 0 <= ring.dropped <= 4_000

    in_threads(8, work)
    phases = [one.phase for one in ring.events]
    assert len(phases) == len(set(phases)) == 64
    assert ring.dropped == 4_000 - 64


def test_usage_rings_count_exactly_under_eight_threads() -> None:
    """The same for usage, and each thread's records stay in its order."""
    ring = RingBufferUsageSink(1_000)

    def work(number: int) -> None:
        for n in range(200):
            ring.record(f"m{number}", UsageSnapshot(n), 0.0)

    in_threads(8, work)
    assert len(ring.records) == 1_000
    assert ring.dropped == 600
    for number in range(8):
        mine = [usage.input_tokens for model, usage, _ in ring.records if model == f"m{number}"]
        assert mine == sorted(mine)


def test_clearing_while_others_put_in_loses_no_count() -> None:
    """Kept, dropped and cleared never make more than came in, and readers never fail."""
    ring = RingBufferEventSink(16)

    def work(number: int) -> None:
        for n in range(300):
            if number == 0:
                ring.clear()
                assert ring.dropped >= 0
            else:
                ring.emit(event(n))

    in_threads(8, work)
    assert len(ring.events) <= 16
    assert 0 <= ring.dropped <= 7 * 300
    ring.clear()
    settled = ring.dropped
    for n in range(20):
        ring.emit(event(n))
    assert ring.dropped == settled + 4


def test_what_a_ring_hands_out_is_a_copy() -> None:
    """Changing the list changes nothing."""
    ring = RingBufferEventSink(3)
    ring.emit(event())
    ring.events.clear()
    assert len(ring.events) == 1


# --- files -------------------------------------------------------------------------------------------------


def test_events_are_appended_as_lines(tmp_path: Path) -> None:
    """One JSON object a line, readable before closing, appended to what is there."""
    path = tmp_path / "events.jsonl"
    first = event(1).with_data({"text": "a\nb\u2028c ä"})
    with JsonlEventSink(path) as sink:
        sink.emit(first)
        assert AgentEvent.from_json(path.read_text(encoding="utf-8")) == first
    with JsonlEventSink(str(path)) as sink:
        sink.emit(event(2))
        assert sink.dropped == 0
    lines = path.read_bytes().decode().split("\n")
    assert [AgentEvent.from_json(line).phase for line in lines if line] == ["1", "2"]
    assert lines[-1] == ""


def test_usage_is_appended_as_lines(tmp_path: Path) -> None:
    """Model, usage, cost and when."""
    path = tmp_path / "usage.jsonl"
    with JsonlUsageSink(path) as sink:
        sink.record("m", UsageSnapshot(1, 2, 3, 4), 0.25)
    line = json.loads(path.read_text(encoding="utf-8"))
    assert UsageSnapshot.from_dict(line["usage"]) == UsageSnapshot(1, 2, 3, 4)
    assert (line["model"], line["cost_usd"]) == ("m", 0.25)
    assert "recorded_at" in line


def test_a_wrong_path_fails_where_it_is_written(tmp_path: Path) -> None:
    """Not at the first event."""
    with pytest.raises(OSError):
        JsonlEventSink(tmp_path / "no" / "such" / "folder")


def test_a_closed_file_drops_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing raises; every record is counted, the first is logged."""
    sink = JsonlEventSink(tmp_path / "events.jsonl")
    sink.close()
    sink.close()
    with caplog.at_level(logging.WARNING, logger="techrevati.runtime.sinks"):
        for _ in range(3):
            sink.emit(event())
    assert sink.dropped == 3
    assert len(caplog.records) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_drops_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    """A device without space: nothing raises, not even closing."""
    full = Path("/dev/full")
    with caplog.at_level(logging.WARNING, logger="techrevati.runtime.sinks"):
        sink = JsonlEventSink(full)
        try:
            for _ in range(3):
                sink.emit(event())
        finally:
            sink.close()
    assert sink.dropped == 3
    assert len(caplog.records) == 1


def test_what_cannot_be_written_is_counted_and_the_next_line_is_whole(tmp_path: Path) -> None:
    """An event that contains itself is written as deep as the redactor looks."""
    path = tmp_path / "events.jsonl"
    loop: dict[str, object] = {}
    loop["self"] = loop
    with JsonlEventSink(path) as sink:
        sink.emit(event(1))
        sink.emit(event(2).with_data(loop))
        sink.emit(event(3).with_detail("\ud800"))  # half a character: no UTF-8 for it
        sink.emit(event(4))
        dropped = sink.dropped
    phases = [json.loads(line)["phase"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert phases[0] == "1"
    assert phases[-1] == "4"
    assert len(phases) + dropped == 4
    assert phases[1] == "2"


def test_lines_of_eight_threads_stay_whole(tmp_path: Path) -> None:
    """1,600 long lines, none torn, none lost."""
    path = tmp_path / "events.jsonl"
    with JsonlEventSink(path) as sink:
        in_threads(
            8, lambda number: [sink.emit(event(number * 200 + n).with_detail("x" * 500)) for n in range(200)]
        )
        assert sink.dropped == 0
    phases = {json.loads(line)["phase"] for line in path.read_text(encoding="utf-8").splitlines()}
    assert phases == {str(n) for n in range(1_600)}


# --- fan-out -----------------------------------------------------------------------------------------------


def test_a_raising_sink_does_not_keep_events_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Every failure is counted, the first is logged."""
    before, after = RingBufferEventSink(), RingBufferEventSink()
    fan = FanOutEventSink(before, Broken(), after)
    with caplog.at_level(logging.WARNING, logger="techrevati.runtime.sinks"):
        for n in range(3):
            fan.emit(event(n))
    assert len(before.events) == len(after.events) == 3
    assert fan.dropped == 3
    assert len(caplog.records) == 1


def test_usage_fans_out_too() -> None:
    """The same for usage; dropped adds up what the sinks dropped themselves."""
    small = RingBufferUsageSink(1)
    fan = FanOutUsageSink(small, Broken(), NoopUsageSink())
    for _ in range(3):
        fan.record("m", UsageSnapshot(), 0.0)
    assert len(small.records) == 1
    assert fan.dropped == 3 + 2


def test_a_fan_out_of_fan_outs() -> None:
    """They nest, in order, and an empty one does nothing."""
    seen: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def emit(self, event: AgentEvent) -> None:
            seen.append(self.name)

    FanOutEventSink(Named("a"), FanOutEventSink(Named("b"), FanOutEventSink()), Named("c")).emit(event())
    assert seen == ["a", "b", "c"]


def test_noop_sinks_promise_nothing() -> None:
    """They drop nothing that they had promised to keep."""
    events, usages = NoopEventSink(), NoopUsageSink()
    events.emit(event())
    usages.record("m", UsageSnapshot(), 0.0)
    assert (events.dropped, usages.dropped) == (0, 0)
