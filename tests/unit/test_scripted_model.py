"""A model that follows a script."""

from __future__ import annotations

import asyncio
import threading

import pytest

from techrevati.runtime import Orchestrator, UsageSnapshot
from techrevati.runtime.testing import (
    ScriptedModel,
    ScriptedReply,
    ScriptExhaustedError,
    ToolRequest,
    run,
)


def test_entries_come_in_order_whatever_they_are() -> None:
    """Texts, tool requests, replies, exceptions and functions of the call."""
    model = ScriptedModel(
        [
            "first",
            ToolRequest("search", {"query": "sky"}),
            ScriptedReply("third", usage=UsageSnapshot(7, 3)),
            ConnectionError("down"),
            lambda call: f"call {call.number} asked {call.arguments[0]}",
            lambda call: TimeoutError("slow"),
        ]
    )
    assert model("q").text == "first"
    assert model("q").tools[0].arguments == {"query": "sky"}
    assert model("q").usage == UsageSnapshot(7, 3)
    with pytest.raises(ConnectionError, match="down"):
        model("q")
    assert model("q").text == "call 5 asked q"
    with pytest.raises(TimeoutError, match="slow"):
        model("q", temperature=0)
    assert model.left == 0
    assert [call.number for call in model.calls] == [1, 2, 3, 4, 5, 6]
    assert model.calls[-1].options == {"temperature": 0}


def test_one_call_too_many_is_an_error_that_counts() -> None:
    """It fails the test that made it, and names how many entries there were."""
    model = ScriptedModel(["only"])
    model()
    with pytest.raises(ScriptExhaustedError, match="1 entries") as caught:
        model()
    assert caught.value.entries == 1
    assert isinstance(caught.value, AssertionError)
    forever = ScriptedModel(["again"], repeat_last=True)
    assert {forever().text for _ in range(5)} == {"again"}


def test_a_session_books_what_it_used() -> None:
    """A token a word, of what was asked and what was said, unless the script says otherwise."""
    model = ScriptedModel(["it is blue", ScriptedReply("yes", usage=UsageSnapshot(100, 1))])
    with Orchestrator("writer", "draft").session() as session:
        reply, usage = session.run_turn(lambda: model("why is the sky blue"))
        assert reply.text == "it is blue"
        assert usage == UsageSnapshot(input_tokens=5, output_tokens=3)
        assert session.run_turn(lambda: model("sure?"))[1] == UsageSnapshot(100, 1)


def test_tasks_and_threads_share_one_script() -> None:
    """Every entry is taken once, by somebody."""
    model = ScriptedModel([str(number) for number in range(40)])
    taken: list[str] = []

    async def ask() -> None:
        taken.append((await model.acall()).text)

    async def everybody() -> None:
        await asyncio.gather(*(ask() for _ in range(20)))

    run(everybody())
    threads = [threading.Thread(target=lambda: taken.append(model().text)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(taken, key=int) == [str(number) for number in range(40)]


@pytest.mark.parametrize("script", ["a text", [3], [None]])
def test_what_is_no_script_is_refused(script: object) -> None:
    """At construction, with the value."""
    with pytest.raises((TypeError, ValueError), match="script must"):
        ScriptedModel(script)  # type: ignore[arg-type]


def test_an_endless_script_needs_an_entry() -> None:
    """Nothing cannot be repeated."""
    with pytest.raises(ValueError, match="script must"):
        ScriptedModel([], repeat_last=True)
