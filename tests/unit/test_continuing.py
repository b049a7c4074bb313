"""An answer that was cut off goes on: bounded, counted, summed, and from the record after a crash."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime import Journal, MaxIterationsExceededError, Orchestrator, SqliteStore, UsageSnapshot

ONE = UsageSnapshot(10, 5)


class Model:
    """Answers in turn, and keeps what it was told of the parts before."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.told: list[str] = []

    def __call__(self, so_far: str) -> Any:
        self.told.append(so_far)
        return self._answers[len(self.told) - 1]

    async def ask(self, so_far: str) -> Any:
        await asyncio.sleep(0)
        return self(so_far)


def used(answer: object) -> UsageSnapshot:
    return ONE


@pytest.fixture(params=["sync", "async"])
def turn(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The turn of a new session, in either colour."""

    def sync(model: Model, clerk: Orchestrator, **options: Any) -> Any:
        with clerk.session() as session:
            return session.run_continued_turn(model, estimate_usage=used, **options)

    def asynchronous(model: Model, clerk: Orchestrator, **options: Any) -> Any:
        async def main() -> Any:
            async with clerk.asession() as session:
                return await session.arun_continued_turn(model.ask, estimate_usage=used, **options)

        return asyncio.run(main())

    return sync if request.param == "sync" else asynchronous


def clerk(**options: Any) -> Orchestrator:
    return Orchestrator("clerk", "test", **options)


def chat(text: str, reason: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}


def anthropic(text: str, reason: str) -> dict[str, Any]:
    reason = {"length": "max_tokens", "stop": "end_turn"}[reason]
    return {"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": reason}


def responses(text: str, reason: str) -> dict[str, Any]:
    cut = {"reason": "max_output_tokens"} if reason == "length" else None
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
    return {"object": "response", "output": output, "incomplete_details": cut}


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(inner) for name, inner in value.items()})
    return [as_object(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("shape", [chat, anthropic, responses])
@pytest.mark.parametrize("form", [copy.deepcopy, as_object])
def test_it_goes_on_until_it_is_whole(
    turn: Callable[..., Any], shape: Callable[..., dict[str, Any]], form: Callable[[Any], Any]
) -> None:
    parts = [form(shape("The sky ", "length")), form(shape("is ", "length")), form(shape("blue.", "stop"))]
    model = Model(*parts)
    answer, usage = turn(model, clerk(), max_continuations=5)
    assert answer == form(shape("The sky is blue.", "stop"))
    assert parts[2] == form(shape("blue.", "stop"))  # the part itself is left alone
    assert usage == ONE + ONE + ONE
    assert model.told == ["", "The sky ", "The sky is "]


@given(st.integers(0, 5), st.integers(0, 5))
def test_parts_are_bounded_counted_and_joined(cuts: int, most: int) -> None:
    model = Model(*[chat(str(number), "length") for number in range(cuts)], chat("end", "stop"))
    with clerk().session() as session:
        answer, usage = session.run_continued_turn(model, max_continuations=most, estimate_usage=used)
        asks = min(cuts, most) + 1
        assert len(model.told) == session.tracker.turns == asks
    assert usage == UsageSnapshot(10 * asks, 5 * asks)
    whole = "".join(map(str, range(cuts))) + "end"
    text = answer["choices"][0]["message"]["content"]
    assert text == whole if cuts <= most else whole.startswith(text)
    assert answer["choices"][0]["finish_reason"] == ("stop" if cuts <= most else "length")


def test_every_part_counts_against_the_cap(turn: Callable[..., Any]) -> None:
    with pytest.raises(MaxIterationsExceededError):
        turn(Model(chat("a", "length"), chat("b", "stop")), clerk(max_iterations=1))


@pytest.mark.parametrize("answer", ["plain text", 5, None, {"stop_reason": 7}])
def test_what_says_nothing_of_a_cut_is_whole(turn: Callable[..., Any], answer: object) -> None:
    model = Model(answer)
    assert turn(model, clerk())[0] is answer
    assert model.told == [""]


def test_a_wrong_bound_is_refused_before_anything_is_asked(turn: Callable[..., Any]) -> None:
    model = Model("never")
    with pytest.raises(ValueError, match="max_continuations"):
        turn(model, clerk(), max_continuations=-1)
    assert model.told == []


@pytest.mark.parametrize("key", [None, "draft"])
def test_parts_from_before_a_crash_are_not_asked_again(tmp_path: Path, key: str | None) -> None:
    class Died(BaseException):
        pass

    def die(so_far: str) -> dict[str, Any]:
        if so_far:
            raise Died
        return chat("first, ", "length")

    def life() -> Orchestrator:
        return clerk(journal=Journal(SqliteStore(tmp_path / "runs.db")), run_id="one")

    options: dict[str, Any] = {"estimate_usage": used, "key": key, "idempotent": True}
    with pytest.raises(Died), life().session() as session:
        session.run_continued_turn(die, **options)
    model = Model(chat("second", "stop"))
    with life().session() as session:
        answer, usage = session.run_continued_turn(model, **options)
    assert answer == chat("first, second", "stop")
    assert usage == ONE + ONE
    assert model.told == ["first, "]
