"""What a request may use at most is reserved alike, in few steps and in all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from techrevati.runtime.budgets import Budget, BudgetExceededError, BudgetSnapshot
from techrevati.runtime.integrations.model_request import ModelRequest, read_request
from techrevati.runtime.integrations.request_bounds import reservation_of, reserved

CONTENT = st.sampled_from(
    [
        "hello",
        [{"type": "text", "text": "hello"}],
        [{"type": "file", "file": {"file_id": "f"}}],
        [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
    ]
)
BODIES = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt-5-mini", "claude-sonnet-5", "nobody-knows", None])},
    optional={
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "content": CONTENT}), max_size=2
        ),
        "input": st.just("hello"),
        "max_tokens": st.sampled_from([0, 60, 10**7, None]),
        "max_output_tokens": st.just(60),
        "n": st.sampled_from([1, 3]),
        "service_tier": st.sampled_from(["priority", "flex", "default"]),
        "speed": st.just("fast"),
        "previous_response_id": st.just("r"),
        "thread": st.just({"type": "continue"}),
    },
)
LIMITS = st.sampled_from(
    [(1.0, {}), (0.0001, {}), (None, {"input_tokens": 900}), (None, {"output_tokens": 100}),
     (1.0, {"attempts": 3}),
     (None, {"wall_seconds": 9}), (None, {})]
)  # fmt: skip


def left(request: ModelRequest, limit_usd: float | None, limits: dict[str, float], quickly: bool) -> Any:
    """What is reserved, or the refusal."""
    budget = Budget("b", limit_usd, limits=limits)
    try:
        made = (
            reserved(budget, request, {})
            if quickly
            else budget.reserve(**reservation_of(budget, request, {}))
        )
    except (BudgetExceededError, ValueError, LookupError) as refusal:
        return type(refusal), str(refusal)
    snapshot: BudgetSnapshot = budget.snapshot()
    return snapshot, made.cost_usd


@given(BODIES, st.sampled_from(["chat.completions", "responses", "messages", "embeddings"]), LIMITS)
def test_few_steps_reserve_what_all_steps_do(
    body: dict[str, object], api: str, limit: tuple[float | None, dict[str, float]]
) -> None:
    """Several answers, tiers, files, earlier turns and unknown models included."""

    def request() -> ModelRequest:
        return read_request(api, body, provider="p", shape="s", price_provider=None, credential_id="")

    assert left(request(), *limit, True) == left(request(), *limit, False)


def test_a_tier_is_reserved_at_its_price() -> None:
    """Priority costs more than the standard, which is all that few steps know."""
    body = {"model": "gpt-5-mini", "max_tokens": 60, "messages": [{"role": "user", "content": "hello"}]}
    costs = []
    for more in ({}, {"service_tier": "priority"}):
        request = read_request(
            "chat.completions",
            {**body, **more},
            provider="p",
            shape="s",
            price_provider=None,
            credential_id="",
        )
        costs.append(left(request, 1.0, {}, True)[1])
    assert costs[0] < costs[1]


def test_several_answers_are_several_times_as_much() -> None:
    """Read quickly, too."""
    body = {"model": "gpt-5-mini", "max_tokens": 60, "messages": [{"role": "user", "content": "hello"}]}
    costs = []
    for answers in (1, 3):
        request = read_request(
            "chat.completions",
            {**body, "n": answers},
            provider="p",
            shape="s",
            price_provider=None,
            credential_id="",
        )
        costs.append(left(request, None, {"output_tokens": 1_000}, True)[0].reserved["output_tokens"])
    assert costs == [60, 180]
