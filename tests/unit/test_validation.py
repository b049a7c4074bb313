"""Answers that do not fit are asked for again: bounded, told why, each paid for once, nothing lost."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime import (
    BudgetExceededError,
    Feedback,
    Invalid,
    Journal,
    JsonOutput,
    MaxIterationsExceededError,
    Orchestrator,
    OutputInvalidError,
    UsageSnapshot,
    classify,
)
from techrevati.runtime.orchestrator.validation import Asking
from techrevati.runtime.stores import MemoryStore
from techrevati.runtime.testing import run

USED = UsageSnapshot(10, 1)
Ask = Callable[..., tuple[Any, UsageSnapshot]]


def turn_in(orchestrator: Orchestrator, colour: str) -> Ask:
    """One session with one turn, in either colour."""

    def ask(fn: Callable[..., object], **options: Any) -> tuple[Any, UsageSnapshot]:
        with orchestrator.session() as session:
            return session.run_turn(fn, "m", USED, **options)

    async def aask(fn: Callable[..., object], **options: Any) -> tuple[Any, UsageSnapshot]:
        async def afn(**given: Any) -> object:
            return fn(**given)

        async with orchestrator.asession() as session:
            return await session.arun_turn(afn, "m", USED, **options)

    return ask if colour == "sync" else lambda fn, **options: run(aask(fn, **options))


class Model:
    """Says these, one after the other, and keeps what it was told."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.told: list[Feedback | None] = []

    def __call__(self, *, feedback: Feedback | None) -> str:
        self.told.append(feedback)
        return self.answers[len(self.told) - 1]


def digits(answer: str) -> int:
    return int(answer)


@given(verdicts=st.lists(st.booleans(), min_size=9, max_size=9), max_asks=st.integers(1, 8))
def test_asks_end_at_the_first_valid_answer_or_the_bound(verdicts: list[bool], max_asks: int) -> None:
    """The model of it: the first valid answer within the bound wins, else the last one is in the error."""
    asking = Asking(max_asks, "k", lambda text: text)
    first = verdicts.index(True) + 1 if True in verdicts else len(verdicts) + 1
    wanted = min(first, max_asks)
    keys, ended = [], None
    for n, ok in enumerate(verdicts, 1):
        keys.append(asking.key)
        assert asking.feedback == (None if n == 1 else Feedback(f"bad {n - 1}", n - 1, n - 1))
        try:
            if asking.judge(n, UsageSnapshot(n, 0), None if ok else Invalid(f"bad {n}")):
                ended = asking.value
                break
        except OutputInvalidError as error:
            ended = error
            break
    if first <= max_asks:
        assert ended == first
    else:
        assert isinstance(ended, OutputInvalidError)
        assert (ended.answer, ended.asks, ended.problem) == (max_asks, max_asks, f"bad {max_asks}")
    assert asking.asks == wanted
    assert len(set(keys)) == wanted
    assert keys[0] == "k"
    assert asking.usage == UsageSnapshot(wanted * (wanted + 1) // 2, 0)


@pytest.mark.parametrize("colour", ["sync", "async"])
class TestTurns:
    def test_the_error_is_fed_back_and_the_value_handed_back(self, colour: str) -> None:
        model = Model("many", "7")
        orchestrator = Orchestrator("r", "p")
        value, usage = turn_in(orchestrator, colour)(model, validate=digits)
        assert (value, usage) == (7, USED + USED)
        assert model.told[0] is None
        again = model.told[1]
        assert again is not None
        assert again.answer == "many"
        assert again.asks == 1
        assert "many" in again.problem

    def test_none_keeps_the_answer(self, colour: str) -> None:
        value, usage = turn_in(Orchestrator("r", "p"), colour)(Model("x"), validate=lambda answer: None)
        assert (value, usage) == ("x", USED)

    def test_the_last_answer_is_in_the_error(self, colour: str) -> None:
        model = Model("a", "b", "c")
        with pytest.raises(OutputInvalidError) as caught:
            turn_in(Orchestrator("r", "p"), colour)(
                model, validate=lambda answer: Invalid(f"no {answer}"), max_asks=2
            )
        error = caught.value
        assert (error.answer, error.asks, error.problem, error.usage) == ("b", 2, "no b", USED + USED)
        assert len(model.told) == 2
        assert classify(error).kind.value == "output_validation"

    def test_trouble_of_the_validator_is_not_the_models(self, colour: str) -> None:
        def broken(answer: object) -> object:
            raise OSError("disk")

        model = Model("a", "b")
        with pytest.raises(OSError, match="disk"):
            turn_in(Orchestrator("r", "p"), colour)(model, validate=broken)
        assert len(model.told) == 1

    def test_our_own_errors_are_not_the_models(self, colour: str) -> None:
        def refused(answer: object) -> object:
            raise OutputInvalidError(1, "inner")

        model = Model("a", "b")
        with pytest.raises(OutputInvalidError, match="inner"):
            turn_in(Orchestrator("r", "p"), colour)(model, validate=refused)
        assert len(model.told) == 1

    def test_each_ask_is_a_turn(self, colour: str) -> None:
        model = Model("a", "b", "3")
        with pytest.raises(MaxIterationsExceededError):
            turn_in(Orchestrator("r", "p", max_iterations=2), colour)(model, validate=digits)
        assert len(model.told) == 2

    def test_the_prompt_is_given_each_time(self, colour: str) -> None:
        seen: list[object] = []

        def ask(*, prompt: str, feedback: Feedback | None) -> str:
            seen.append(prompt)
            return "a" if feedback is None else "1"

        assert turn_in(Orchestrator("r", "p"), colour)(ask, prompt="q", validate=digits)[0] == 1
        assert seen == ["q", "q"]

    def test_asks_are_on_record_and_not_paid_again(self, colour: str) -> None:
        """A life that dies between two asks: the next one calls for the second only."""
        journal = Journal(MemoryStore())
        died = Model("a")

        def dying(*, feedback: Feedback | None) -> object:
            if feedback is not None:
                raise KeyboardInterrupt
            return died(feedback=feedback)

        with pytest.raises(KeyboardInterrupt):
            turn_in(Orchestrator("r", "p", journal=journal, run_id="one"), colour)(
                dying, key="k", idempotent=True, validate=digits
            )
        orchestrator = Orchestrator("r", "p", journal=journal, run_id="one")
        told: list[Feedback | None] = []

        def second(*, feedback: Feedback | None) -> object:
            told.append(feedback)
            return "4"

        value, usage = turn_in(orchestrator, colour)(second, key="k", idempotent=True, validate=digits)
        assert (value, usage) == (4, USED + USED)
        assert len(told) == 1
        assert told[0] is not None
        assert told[0].answer == "a"

    def test_bad_arguments(self, colour: str) -> None:
        ask = turn_in(Orchestrator("r", "p"), colour)
        with pytest.raises(ValueError, match="max_asks"):
            ask(Model("a"), validate=digits, max_asks=0)
        with pytest.raises(TypeError, match="validate"):
            ask(Model("a"), validate="int")


def test_an_enforced_budget_holds_between_asks() -> None:
    """The ask that goes over carries its paid answer."""
    from techrevati.runtime import ModelPricing, register_pricing

    register_pricing("validated-model", ModelPricing(1_000_000, 0))
    model = Model("a", "b", "3")
    with (
        pytest.raises(BudgetExceededError) as caught,
        Orchestrator("r", "p", budget_usd=15, enforce_budget=True).session() as session,
    ):
        session.run_turn(model, "validated-model", USED, validate=digits)
    assert caught.value.result == "b"
    assert len(model.told) == 2


def test_an_event_tells_each_further_ask_without_the_secret() -> None:
    secret = "sk-proj-" + "Ab1" * 16
    model = Model(secret, "5")
    with Orchestrator("r", "p").session() as session:
        session.run_turn(model, validate=digits)
        told = [event for event in session.events if event.data and event.data.get("step") == "ask_again"]
        assert len(told) == 1
        assert told[0].data is not None
        assert told[0].data["asks"] == 1
        assert secret not in repr(session.events)
    assert model.told[1] is not None
    assert secret not in model.told[1].problem


def test_a_validator_may_be_async() -> None:
    async def check(answer: str) -> int:
        return int(answer)

    async def main() -> tuple[int, UsageSnapshot]:
        async def ask(*, feedback: Feedback | None) -> str:
            return "x" if feedback is None else "6"

        async with Orchestrator("r", "p").asession() as session:
            return await session.arun_turn(ask, validate=check)

    assert run(main())[0] == 6


def test_an_async_validator_is_refused_in_a_sync_turn() -> None:
    async def check(answer: object) -> object:
        return answer

    with pytest.raises(TypeError, match="arun_turn"), Orchestrator("r", "p").session() as session:
        session.run_turn(Model("a"), validate=check)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"n": 1}', {"n": 1}),
        (b'{"n": 1}', {"n": 1}),
        ({"n": 1}, {"n": 1}),
        ("nothing", "not JSON"),
        ('{"n": "1"}', "$.n"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_json_output(answer: object, wanted: object) -> None:
    said = JsonOutput({"type": "object", "properties": {"n": {"type": "integer"}}})(answer)
    if isinstance(wanted, str):
        assert isinstance(said, Invalid)
        assert wanted in said.problem
    else:
        assert said == wanted


def test_a_long_problem_is_cut() -> None:
    asking = Asking(2, None, lambda text: text)
    assert not asking.judge("a", USED, Invalid("x" * 9_000))
    assert asking.feedback is not None
    assert len(asking.feedback.problem) == 2_000


def test_the_error_hides_its_answer_and_pickles_without_what_cannot() -> None:
    error = OutputInvalidError(1, "bad", answer=lambda: "secret", usage=USED)
    assert "lambda" not in str(error) + repr(error)
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (copied.answer, copied.problem, copied.usage) == (None, "bad", USED)
