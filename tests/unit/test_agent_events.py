"""Events: immutable, with ids that no other process has, and a wire form that loses nothing."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus, AgentFailureClass

texts = st.none() | st.text(max_size=40)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
moments = st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC).isoformat()
)
runs = st.none() | st.fixed_dictionaries(
    {"run_id": st.text(min_size=1, max_size=20), "sequence": st.integers(1, 10**9), "parent_id": texts}
)


@st.composite
def events(draw: st.DrawFn) -> AgentEvent:
    run = draw(runs) or {}
    return AgentEvent(
        draw(st.sampled_from(AgentEventName)),
        draw(st.sampled_from(AgentEventStatus)),
        draw(moments | st.none()),
        role=draw(texts),
        phase=draw(texts),
        project_id=draw(texts),
        failure_class=draw(st.none() | st.sampled_from(AgentFailureClass)),
        detail=draw(texts),
        data=draw(st.none() | st.dictionaries(st.text(max_size=8), json_values, max_size=4)),
        **run,
    )


# --- the wire form -----------------------------------------------------------------------------------------


@given(events())
def test_events_survive_the_wire(event: AgentEvent) -> None:
    """Whatever an event says, its dict and its JSON say it too, and writing it again gives the same."""
    again = AgentEvent.from_dict(event.to_dict())
    assert again == event
    assert hash(again) == hash(event)
    line = event.to_json()
    assert "\n" not in line
    read = AgentEvent.from_json(line)
    assert read == event
    assert read.to_dict() == event.to_dict() == json.loads(line)
    assert AgentEvent.from_json(line.encode()) == event


@given(events())
def test_events_of_a_run_keep_their_identity_on_the_wire(event: AgentEvent) -> None:
    """Id, sequence, run and parent come back; the wire form of an event without a run has none of them."""
    wire = event.to_dict()
    if event.run_id is None:
        assert not wire.keys() & {"id", "sequence", "run_id", "parent_id"}
        return
    again = AgentEvent.from_dict(wire)
    assert (again.id, again.sequence) == (event.id, event.sequence)
    assert (again.run_id, again.parent_id) == (event.run_id, event.parent_id)


@given(events())
def test_the_wire_form_is_minimal(event: AgentEvent) -> None:
    """Four keys always, then only what is not None, and only plain values."""
    wire = event.to_dict()
    assert list(wire)[:4] == ["event", "type", "status", "emitted_at"]
    assert None not in wire.values()
    assert wire["type"] == str(wire["event"]).split(".")[-1]
    assert json.loads(json.dumps(wire)) == wire


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failure_class", "no such class"),
        ("data", [1]),
        ("data", "text"),
        ("role", 7),
        ("phase", []),
        ("project_id", 1.5),
        ("detail", {"a": 1}),
        ("emitted_at", 1_700_000_000),
        ("sequence", "1"),
        ("sequence", True),
        ("run_id", 5),
        ("id", 5),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    """Reading it raises ValueError with the field's name."""
    wire = {**AgentEvent.started("r", "p").to_dict(), field: value}
    with pytest.raises(ValueError, match=rf"\b{field}\b"):
        AgentEvent.from_dict(wire)


@pytest.mark.parametrize("line", ["", "[]", "null", "7", '"agent.started"', "{", "{'event': 1}"])
def test_what_is_no_object_is_a_value_error(line: str) -> None:
    """Not JSON, or JSON that is no object."""
    with pytest.raises(ValueError):
        AgentEvent.from_json(line)


def test_unknown_keys_are_ignored() -> None:
    """A newer writer may say more."""
    event = AgentEvent.started("r", "p")
    assert AgentEvent.from_dict({**event.to_dict(), "colour": "green"}) == event


def test_values_that_json_does_not_know_are_written_as_text() -> None:
    """Their repr, without credentials and of bounded length."""

    class Client:
        def __repr__(self) -> str:
            return "Client(api_key='sk-proj-abcdefghijklmnop1234567890', notes='" + "x" * 100_000 + "')"

    event = AgentEvent.phase_started("p").with_data({"client": Client(), "when": timedelta(seconds=1)})
    line = event.to_json()
    assert "abcdefghijklmnop" not in line
    assert len(line) < 5_000
    assert json.loads(line)["data"]["when"] == repr(timedelta(seconds=1))


# --- immutable ---------------------------------------------------------------------------------------------


def test_the_data_given_is_copied() -> None:
    """Changing the caller's dict afterwards does not change the event."""
    data: dict[str, object] = {"n": 1}
    made = AgentEvent(AgentEventName.AGENT_READY, AgentEventStatus.READY, data=data)
    changed = made.with_data(data)
    data["n"] = 2
    assert made.data == changed.data == {"n": 1}


def test_reading_the_wire_form_does_not_open_the_event() -> None:
    """A sink may change the dict it was given by ``to_dict``; the event stays."""
    event = AgentEvent.phase_started("p").with_data({"n": 1})
    wire = event.to_dict()
    data = wire["data"]
    assert isinstance(data, dict)
    data["n"] = 2
    wire["phase"] = "q"
    assert (event.data, event.phase) == ({"n": 1}, "p")


def test_new_attributes_are_refused() -> None:
    """A misspelt attribute is an error, not a note nobody reads."""
    with pytest.raises(AttributeError):
        AgentEvent.started("r", "p").dettail = "x"  # type: ignore[attr-defined]


@given(events(), texts)
def test_a_changed_copy_leaves_the_original(event: AgentEvent, detail: str | None) -> None:
    """The copy differs in the detail alone; its time and place are the same."""
    before = event.to_dict()
    changed = event.with_detail(detail)
    assert event.to_dict() == before
    assert changed.detail == detail
    assert changed.with_detail(event.detail) == event
    assert (changed.emitted_at, changed.run_id) == (event.emitted_at, event.run_id)


def test_subclasses_stay_subclasses() -> None:
    """Constructors, copies and readers give what they were called on."""

    class Mine(AgentEvent):
        pass

    event = Mine.started("r", "p")
    assert type(event) is Mine
    assert type(event.with_detail("d")) is Mine
    assert type(Mine.from_json(event.to_json())) is Mine


@given(events())
def test_events_copy_and_pickle(event: AgentEvent) -> None:
    """Copies equal the original, identity included."""
    for again in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):  # noqa: S301
        assert again == event
        assert (again.id, again.sequence, again.emitted_at) == (event.id, event.sequence, event.emitted_at)


# --- time, ids and order -----------------------------------------------------------------------------------


def test_the_time_is_that_of_the_event_and_not_of_the_reader() -> None:
    """Reading ``emitted_at`` twice, however late, gives one time."""
    event = AgentEvent.started("r", "p")
    later = AgentEvent.started("r", "p")
    assert event.emitted_at == event.emitted_at
    assert datetime.fromisoformat(event.emitted_at) <= datetime.fromisoformat(later.emitted_at)
    assert datetime.fromisoformat(event.emitted_at).utcoffset() == timedelta(0)


def test_events_are_numbered_in_order() -> None:
    """Outside a run, later events have higher sequence numbers."""
    numbers = [AgentEvent.started("r", "p").sequence for _ in range(50)]
    assert numbers == sorted(set(numbers))


def test_equality_is_what_events_say() -> None:
    """Two events that say the same are equal though their ids differ; another class never is."""
    first, second = (AgentEvent(AgentEventName.AGENT_READY, AgentEventStatus.READY, "t") for _ in range(2))
    assert first == second
    assert first.id != second.id
    assert first != "agent.ready"
    assert first != first.with_detail("d")


def test_ids_are_unique_under_threads() -> None:
    """Eight threads, 4,000 events, 4,000 ids and numbers."""
    made: list[list[AgentEvent]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def work(mine: list[AgentEvent]) -> None:
        start.wait()
        mine.extend(AgentEvent.started("r", "p") for _ in range(500))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events_made = [event for mine in made for event in mine]
    assert len({event.id for event in events_made}) == 4_000
    assert len({event.sequence for event in events_made}) == 4_000


FORKING = """
import json, os, sys
from techrevati.runtime.agent_events import AgentEvent

def ids(count):
    return [AgentEvent.started("r", "p").id for _ in range(count)]

inherited = [AgentEvent.started("r", "p") for _ in range(5)]
before = [event.id for event in inherited]
report = {"before": before}
for child in ("a", "b"):
    read, write = os.pipe()
    if os.fork() == 0:
        kept = [event.id for event in inherited]
        own = ids(20)
        if os.fork() == 0:
            os.write(write, json.dumps({"kept": [e.id for e in inherited], "own": ids(20)}).encode() + b"\\n")
            os._exit(0)
        os.wait()
        os.write(write, json.dumps({"kept": kept, "own": own + ids(20)}).encode() + b"\\n")
        os._exit(0)
    os.close(write)
    os.wait()
    report[child] = [json.loads(line) for line in open(read)]
report["after"] = ids(20)
print(json.dumps(report))
"""


def test_ids_are_unique_across_forks() -> None:
    """Two children, two grandchildren and their parent never share an id; inherited events keep theirs."""
    assert hasattr(os, "fork")
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    processes = report["a"] + report["b"]
    assert len(processes) == 4
    assert all(process["kept"] == report["before"] for process in processes)
    ids = report["before"] + report["after"] + [one for process in processes for one in process["own"]]
    assert len(ids) == len(set(ids)) == 5 + 20 + 2 * (40 + 20)


def test_ids_of_two_processes_differ() -> None:
    """Two interpreters that make the same events make different ids."""
    program = "from techrevati.runtime import AgentEvent; print(AgentEvent.started('r', 'p').id)"
    ids = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout
        for _ in range(2)
    }
    assert len(ids) == 2
    assert "" not in ids


def test_an_event_keeps_its_id_in_another_process() -> None:
    """Sent to another interpreter as a pickle, it is the same event there, and no event made there."""
    event = AgentEvent.started("r", "p").with_data({"n": 1})
    program = (
        "import pickle, sys; from techrevati.runtime import AgentEvent; "
        "event = pickle.load(sys.stdin.buffer); print(event.id, event.sequence)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(event), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == [event.id, str(event.sequence)]


def test_otel_attributes_are_strings() -> None:
    """Every value is text, absent fields are absent."""
    event = AgentEvent.failed("r", "p", AgentFailureClass.UNKNOWN)
    attributes = event.to_otel_attributes()
    assert all(type(value) is str for value in attributes.values())
    assert "agent.detail" not in attributes
    assert attributes["agent.event.timestamp"] == event.emitted_at


def test_the_repr_says_what_happened() -> None:
    """Name, role and detail, none of the absent fields."""
    text = repr(AgentEvent.failed("writer", "draft", AgentFailureClass.RATE_LIMIT, "slow down"))
    for part in ("agent.failed", "writer", "draft", "rate_limit", "slow down"):
        assert part in text
    assert "project_id" not in text


def test_nobody_changes_an_event_through_its_data() -> None:
    """Neither the caller's nested containers, nor what was read, nor the wire form open it."""
    inner = {"list": [1], "dict": {"a": 1}}
    made = AgentEvent.phase_started("p").with_data({"inner": inner})
    inner["list"].append(2)  # type: ignore[attr-defined]
    assert made.data is not None
    made.data["new"] = 1
    made.data["inner"]["dict"]["a"] = 2  # type: ignore[index]
    made.to_dict()["data"]["inner"]["list"].append(3)  # type: ignore[index]
    assert made.data == {"inner": {"list": [1], "dict": {"a": 1}}}


def test_wire_values_become_members_and_others_are_named() -> None:
    """At construction, not when the event is written."""
    made = AgentEvent("agent.started", "running")  # type: ignore[arg-type]
    assert made.to_dict()["event"] == "agent.started"
    for arguments, name in ((("nonsense", "running"), "event"), (("agent.started", None), "status")):
        with pytest.raises(ValueError, match=f"^{name} must be one of"):
            AgentEvent(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"data must be a mapping, got \[1\]"):
        AgentEvent.phase_started("p").with_data([1])  # type: ignore[arg-type]


def test_numbers_that_json_does_not_have_are_written_as_text() -> None:
    """NaN and infinity leave valid JSON behind."""
    line = AgentEvent.phase_started("p").with_data({"a": float("nan"), "b": float("inf")}).to_json()
    assert json.loads(line, parse_constant=pytest.fail)["data"] == {"a": "NaN", "b": "Infinity"}
