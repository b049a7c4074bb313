"""Events in the program's own log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from techrevati.runtime import (
    AgentEvent,
    AgentEventName,
    AgentEventStatus,
    AgentFailureClass,
    EventSink,
    LoggingSink,
    Orchestrator,
)

SECRET = "sk-proj-" + "a1B2c3D4" * 6


class Records(logging.Handler):
    """Keeps records; raises when told to."""

    def __init__(self) -> None:
        super().__init__(1)
        self.seen: list[logging.LogRecord] = []
        self.error: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.error is not None:
            raise self.error
        self.seen.append(record)


@pytest.fixture
def records() -> Iterator[Records]:
    handler, logger = Records(), logging.getLogger("techrevati.events")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(1)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("status", AgentEventStatus)
@pytest.mark.parametrize("name", AgentEventName)
def test_every_event_is_one_record(records: Records, name: AgentEventName, status: AgentEventStatus) -> None:
    """No field of an event collides with one of a record; trouble is never below WARNING."""
    sink = LoggingSink()
    assert isinstance(sink, EventSink)
    sink.emit(
        AgentEvent(
            name, status, None, "writer", "draft", "p1", None, "why", {"k": 1}, "i1", 7, "run-1", "run-0"
        )
    )
    assert sink.dropped == 0
    (record,) = records.seen
    assert record.getMessage() == f"{name.value} writer/draft: why"
    facts = vars(record)
    assert (facts["event"], facts["status"], facts["run_id"]) == (name.value, status.value, "run-1")
    assert (facts["event_id"], facts["sequence"], facts["parent_id"]) == ("i1", 7, "run-0")
    assert facts["data"] == {"k": 1}
    if status.value in ("failed", "red", "blocked"):
        assert record.levelno >= logging.WARNING


def test_levels_of_a_run(records: Records) -> None:
    """Beginning and end are INFO, a tool DEBUG, a failed run ERROR."""
    with (
        pytest.raises(ValueError, match="no"),
        Orchestrator(role="writer", phase="draft", event_sink=LoggingSink()).session() as session,
    ):
        session.run_tool("search", lambda: 1)
        raise ValueError("no")
    told = [(vars(record)["event"], record.levelname) for record in records.seen]
    assert told == [
        ("agent.started", "INFO"),
        ("agent.tool_called", "DEBUG"),
        ("agent.tool_completed", "DEBUG"),
        ("agent.failed", "ERROR"),
    ]


def test_levels_can_be_chosen(records: Records) -> None:
    """A chosen level wins over the status, by member or by name."""
    sink = LoggingSink(levels={"agent.failed": logging.DEBUG, AgentEventName.AGENT_STARTED: logging.ERROR})
    sink.emit(AgentEvent.failed("w", "d", AgentFailureClass.UNKNOWN))
    sink.emit(AgentEvent.started("w", "d"))
    assert [record.levelname for record in records.seen] == ["DEBUG", "ERROR"]


def test_secrets_do_not_reach_the_log(records: Records) -> None:
    """Neither the message nor the fields show one."""
    event = AgentEvent.failed("w", "d", AgentFailureClass.UNKNOWN, f"key {SECRET}")
    LoggingSink().emit(event.with_data({"authorization": f"Bearer {SECRET}", "note": SECRET}))
    (record,) = records.seen
    assert SECRET not in repr(vars(record)) + record.getMessage()


def test_a_handler_that_raises_is_counted(records: Records) -> None:
    """The run goes on."""
    sink = LoggingSink()
    records.error = OSError("disk full")
    with Orchestrator(role="writer", phase="draft", event_sink=sink).session():
        pass
    assert sink.dropped == 2
    records.error = None
    sink.emit(AgentEvent.started("w", "d"))
    assert len(records.seen) == 1


def test_percent_signs_and_a_level_that_is_off(records: Records) -> None:
    """Texts are no format strings; what the logger does not want is not made."""
    logger = logging.getLogger("techrevati.events")
    LoggingSink(logger).emit(AgentEvent.completed("w", "d", "100 %s done"))
    logger.setLevel(logging.WARNING)
    LoggingSink(logger).emit(AgentEvent.completed("w", "d"))
    assert [record.getMessage() for record in records.seen] == ["agent.completed w/d: 100 %s done"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"logger": 3}, TypeError, "logger must be"),
        ({"logger": ""}, ValueError, "logger"),
        ({"levels": {"agent.slept": 10}}, ValueError, "levels"),
        ({"levels": {"agent.failed": "high"}}, TypeError, "levels"),
    ],
)
def test_bad_arguments(options: dict[str, object], error: type[Exception], text: str) -> None:
    """The error names the argument."""
    with pytest.raises(error, match=text):
        LoggingSink(**options)  # type: ignore[arg-type]


def test_an_adapter_adds_its_fields_and_loses_none_of_ours(records: Records) -> None:
    """``LoggerAdapter`` would put its own ``extra`` for that of the call; adapters may stand in adapters."""

    class Prefix(logging.LoggerAdapter):  # type: ignore[type-arg]
        def process(self, msg, kwargs):  # type: ignore[no-untyped-def]
            return f"[50% {msg}]", kwargs

    plain = logging.LoggerAdapter(
        logging.getLogger("techrevati.events"), {"tenant": "acme", "role": "its own"}
    )
    for adapter in (plain, Prefix(plain, {})):
        LoggingSink(adapter).emit(AgentEvent.started("writer", "draft"))  # type: ignore[arg-type]
    for record in records.seen:
        assert vars(record)["tenant"] == "acme"
        assert vars(record)["role"] == "writer"
        assert vars(record)["event"] == "agent.started"
    assert records.seen[1].getMessage() == "[50% agent.started writer/draft]"


def test_a_message_is_one_line_that_every_file_takes(records: Records) -> None:
    """Whatever an error says: no line that looks like a record, no terminal codes, no half of an emoji."""
    event = AgentEvent(
        AgentEventName.AGENT_FAILED,
        AgentEventStatus.FAILED,
        role="wr\ud83diter",
        detail="bad\r\nERROR:root:forged \x1b[2J \u2028 ä 👍",
    )
    LoggingSink().emit(event)
    (record,) = records.seen
    assert record.getMessage() == (r"agent.failed wr\ud83diter: bad\r\nERROR:root:forged \x1b[2J \u2028 ä 👍")
    record.getMessage().encode()
