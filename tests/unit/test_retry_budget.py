"""The budget of retries that the layers of a run share."""

from __future__ import annotations

import asyncio
import threading

import pytest

from techrevati.runtime.retry_policy import Retry, RetryBudget
from techrevati.runtime.testing import run


def test_it_gives_what_it_has() -> None:
    """So many retries, then none; what was refused is counted."""
    budget = RetryBudget(2)
    assert [budget.take() for _ in range(4)] == [True, True, False, False]
    assert (budget.left, budget.taken, budget.denied) == (0, 2, 2)
    assert "denied=2" in repr(budget)


def test_no_retries_are_none() -> None:
    """A budget of 0 never gives one, whatever succeeds."""
    budget = RetryBudget(0, refill_per_success=5)
    budget.succeeded()
    assert not budget.take()


@pytest.mark.parametrize(
    ("share", "successes"), [(0.1, 10), (0.3, 4), (1 / 3, 4), (1e-6, 1_000_000 // 1_000), (0, 50)]
)
def test_successes_earn_exactly_their_share(share: float, successes: int) -> None:
    """A tenth ten times is one whole retry, with no rounding in between; nine times it is none."""
    budget = RetryBudget(1, refill_per_success=share)
    budget.take()
    for _ in range(successes - 1):
        budget.succeeded()
        assert budget.left == 0
    budget.succeeded()
    assert budget.left == int(round(share * 1e6) * successes >= 1e6)


def test_it_never_holds_more_than_its_size() -> None:
    """Neither successes nor retries given back fill it beyond the top."""
    budget = RetryBudget(2)
    for _ in range(100):
        budget.succeeded()
    budget.take()
    budget.give_back()
    assert (budget.left, budget.taken) == (2, 0)


def test_a_success_of_a_retry_counts_once() -> None:
    """Each call that succeeds earns its share, however many attempts it took."""
    budget = RetryBudget(5, refill_per_success=0.5)
    answers = iter([ConnectionResetError(), "answer", "answer", "answer"])

    def ask() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    retry = Retry(budget=budget, sleep=lambda _: None)
    retry.call(ask)
    assert budget.left == 4
    retry.call(ask)
    assert budget.left == 5


def test_threads_never_take_more_than_there_is() -> None:
    """Eight threads leave one barrier and take until nothing is left: exactly the budget was given."""
    budget = RetryBudget(1_000)
    barrier = threading.Barrier(8)
    taken: list[int] = []

    def taking() -> None:
        barrier.wait(10)
        taken.append(sum(budget.take() for _ in range(500)))

    threads = [threading.Thread(target=taking, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sum(taken) == 1_000
    assert (budget.taken, budget.denied, budget.left) == (1_000, 3_000, 0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 0.5}, "max_retries"),
        ({"refill_per_success": -0.1}, "refill_per_success"),
        ({"refill_per_success": float("inf")}, "refill_per_success"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, float], named: str) -> None:
    """A budget that makes no sense is refused when it is made."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        RetryBudget(**arguments)  # type: ignore[arg-type]
    assert named in str(refusal.value)


def test_observing_counts_refusals_and_refuses_nothing() -> None:
    """What would be refused is counted; switched back, it refuses."""
    budget = RetryBudget(1, observe_only=True)
    assert [budget.take() for _ in range(3)] == [True] * 3
    assert (budget.left, budget.taken, budget.denied) == (0, 3, 2)
    budget.observe_only = False
    assert not budget.take()


def test_switched_off_it_counts_nothing() -> None:
    """Off, everything is allowed and nothing is given back; on again, it goes on where it was."""
    budget = RetryBudget(1)
    budget.enabled = False
    assert all(budget.take() for _ in range(3))
    budget.give_back()
    budget.enabled = True
    assert (budget.left, budget.taken) == (1, 0)
    assert [budget.take(), budget.take()] == [True, False]


def test_what_was_let_through_without_a_token_brings_none_back() -> None:
    """While observing, a retry beyond the budget that was not made leaves the bucket as empty as it was; one
    that took a token brings it back."""
    budget = RetryBudget(1, observe_only=True)
    budget.take()
    budget.take()
    budget.give_back()
    assert (budget.left, budget.taken) == (0, 1)
    budget.give_back()
    assert (budget.left, budget.taken) == (1, 0)


def test_a_token_taken_after_free_retries_comes_back() -> None:
    """Free retries that were made do not keep a later one's token."""
    budget = RetryBudget(1, refill_per_success=1, observe_only=True)
    for _ in range(3):
        budget.take()
    budget.observe_only = False
    budget.succeeded()
    assert budget.take()
    budget.give_back()
    assert budget.left == 1


def test_what_was_taken_uncounted_brings_nothing_back() -> None:
    """A retry taken while the budget was off, and given back after it is on again, adds none."""
    budget = RetryBudget(2)
    budget.take()
    budget.succeeded()
    budget.give_back()
    budget.enabled = False
    budget.take()
    budget.enabled = True
    before = budget.left
    budget.give_back()
    assert (budget.left, budget.taken) == (before, 0)


def test_a_claim_gives_back_what_it_took() -> None:
    """While observing, one retry with the last token and two without: whoever gives back first, only the one
    that took the token brings one back, and only once."""
    for first in range(3):
        budget = RetryBudget(1, refill_per_success=0, observe_only=True)
        claims = [budget.claim() for _ in range(3)]
        claim = claims[first]
        assert claim is not None
        claim.give_back()
        claim.give_back()
        assert (budget.left, budget.taken, budget.denied) == (int(first == 0), 2, 2)


def test_a_claim_is_refused_like_a_take() -> None:
    """Without a token there is no claim; switched off there always is one, and it counts nothing."""
    budget = RetryBudget(0)
    assert budget.claim() is None
    budget.enabled = False
    claim = budget.claim()
    assert claim is not None
    budget.enabled = True
    claim.give_back()
    assert (budget.left, budget.taken, budget.denied) == (0, 0, 1)


@pytest.mark.parametrize("early", [0, 1])
def test_a_retry_interrupted_while_observing_gives_back_its_own(early: int) -> None:
    """Two retries wait, one with the token and one without; the one that is cancelled gives back what it
    took, whichever came last."""

    async def main() -> int:
        budget = RetryBudget(1, refill_per_success=0, observe_only=True)
        retry = Retry(2, base_delay_seconds=10, jitter="none", budget=budget)

        async def down() -> None:
            raise ConnectionError("down")

        calls = [asyncio.create_task(retry.acall(down)) for _ in range(2)]
        await asyncio.sleep(1)
        assert (budget.left, budget.taken) == (0, 2)
        calls[early].cancel()
        await asyncio.wait(calls)
        return budget.left

    assert run(main()) == (early == 0)


def test_a_success_earns_no_more_than_there_is_room_for() -> None:
    """Also where one success is worth more than what is missing."""
    budget = RetryBudget(1, refill_per_success=1.5)
    for _ in range(2):
        assert budget.take()
        budget.succeeded()
        assert budget.left == 1
    assert [budget.take(), budget.take()] == [True, False]


def test_every_retry_that_was_let_through_without_a_token_brings_none_back() -> None:
    """Several in a row are owed each."""
    budget = RetryBudget(2, observe_only=True)
    for _ in range(4):
        assert budget.take()
    budget.give_back()
    budget.give_back()
    assert (budget.left, budget.taken) == (0, 2)
    budget.give_back()
    assert budget.left == 1


def test_a_success_may_fill_any_bucket() -> None:
    """A gain beyond all bounds fills the bucket, and no further."""
    budget = RetryBudget(3, refill_per_success=1e305)
    assert [budget.take() for _ in range(3)] == [True] * 3
    budget.succeeded()
    assert budget.left == 3
