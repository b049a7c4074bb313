"""The verdict and the bill on the real openai and anthropic clients, with their own retries and without."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal
from typing import Any

import anthropic
import anyio
import openai
import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, ModelPrice, Outcome, count_tokens

NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"
SDKS = ("openai", "anthropic")
RAISED = (openai.OpenAIError, anthropic.AnthropicError)


class Clock:
    """The server's time, which moves when a client sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock on which the waits of the SDKs take no time."""
    made = Clock()
    for sdk in (openai, anthropic):
        monkeypatch.setattr(sdk._base_client.time, "sleep", made.sleep)
    monkeypatch.setattr(anyio, "sleep", made.asleep)
    return made


def client(sdk: str, server: ChaosServer, *, retries: int = 2, key: str = "sk-x") -> Any:
    if sdk == "openai":
        return openai.OpenAI(api_key=key, base_url=server.base_url, max_retries=retries, timeout=60)
    return anthropic.Anthropic(
        api_key=key, base_url=server.anthropic_base_url, max_retries=retries, timeout=60
    )


def ask(sdk: str, one: Any, text: str = NOTES, **options: Any) -> Any:
    messages = options.pop("messages", [{"role": "user", "content": text}])
    if sdk == "openai":
        return one.chat.completions.create(model="chaos-small", messages=messages, **options)
    return one.messages.create(model="chaos-small", messages=messages, max_tokens=500, **options)


def failing(sdk: str, one: Any, text: str = NOTES, **options: Any) -> None:
    with pytest.raises(RAISED):
        ask(sdk, one, text, **options)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.RATE_LIMIT, retry_after_s=1.0),
        Fault(FaultKind.SERVER_ERROR),
        Fault(FaultKind.OVERLOADED),
        Fault(FaultKind.RESET),
        Fault(FaultKind.UNAVAILABLE, retry_after_s=0.3, retry_after_as="ms"),
    ],
    ids=lambda fault: fault.kind.value,
)
def test_the_sdks_own_retries_are_good_behaviour(sdk: str, fault: Fault, clock: Clock) -> None:
    """One call in three attempts, told apart from an equal one before and after; nothing to object to."""
    with ChaosServer([None, fault, fault, None, None], clock=clock) as server, client(sdk, server) as one:
        for _ in range(3):
            ask(sdk, one)
        assert [(record.attempt) for record in server.injected] == [1, 1, 2, 3, 1]
        assert len({record.call for record in server.injected}) == 3
        server.verdict(declared_requests=5, attempts_per_call=3).raise_for_findings()
        assert server.verdict(attempts_per_call=2).names == ("undeclared-requests",)


@pytest.mark.parametrize("sdk", SDKS)
def test_equal_calls_one_after_the_other_are_not_one(sdk: str) -> None:
    """Five equal answered questions, then one that is refused and asked again with another key."""
    faults = [None] * 5 + [Fault(FaultKind.INVALID_KEY), None]
    with ChaosServer(faults) as server, client(sdk, server) as one:
        for _ in range(5):
            ask(sdk, one)
        failing(sdk, one)
        with client(sdk, server, key="sk-other") as other:
            ask(sdk, other)
        assert len({record.call for record in server.injected}) == 7
        assert [record.credential for record in server.injected] == [1] * 6 + [2]
        server.verdict(attempts_per_call=1).raise_for_findings()


@pytest.mark.parametrize("sdk", SDKS)
def test_a_loop_around_the_sdk_is_found(sdk: str, clock: Clock) -> None:
    """Retries are off in the SDK and on in the agent, which asks again what was refused for good."""
    with (
        ChaosServer([Fault(FaultKind.QUOTA_EXHAUSTED)] * 3, clock=clock) as server,
        client(sdk, server, retries=0) as one,
    ):
        for _ in range(3):
            failing(sdk, one)
            clock.sleep(5.0)
        assert "retried-non-retryable" in server.verdict().names
        assert server.verdict(attempts_per_call=1).names == ("retried-non-retryable",)


@pytest.mark.parametrize("sdk", SDKS)
def test_an_agent_that_ignores_what_it_is_told_is_found(sdk: str, clock: Clock) -> None:
    """It is told 30 seconds and comes back after three, with the SDK's own retries off."""
    limited = Fault(FaultKind.RATE_LIMIT, retry_after_s=30.0)
    with ChaosServer([limited], clock=clock) as server, client(sdk, server, retries=0) as one:
        failing(sdk, one)
        clock.sleep(3.0)
        ask(sdk, one)
        assert server.verdict().names == ("ignored-retry-after",)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("fresh", [False, True], ids=["one client", "a new client each"])
@pytest.mark.parametrize("kind", ["unavailable", "reset", "rate_limit"])
def test_a_queue_worked_off_into_refusals_is_hammering(
    sdk: str, fresh: bool, kind: str, clock: Clock
) -> None:
    """Another prompt each time, each at once after a refusal."""
    with ChaosServer([Fault(FaultKind(kind))] * 12, clock=clock) as server:
        shared = None if fresh else client(sdk, server, retries=0)
        made = [client(sdk, server, retries=0) for _ in range(12)] if fresh else [shared] * 12
        for number, one in enumerate(made):
            failing(sdk, one, f"{NOTES} {number}")
            clock.sleep(0.01)
        assert server.verdict().names == ("hammered-while-refused",)
        for one in {id(one): one for one in made}.values():
            one.close()


@pytest.mark.parametrize("sdk", SDKS)
def test_many_agents_at_once_do_not_hammer(sdk: str, clock: Clock) -> None:
    """Twenty threads with one key are refused, and wait each for itself."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE)] * 20, clock=clock) as server:
        barrier = threading.Barrier(20)
        # On a busy machine a retry comes before another's first request, and takes its refusal.
        clients = [client(sdk, server, retries=19) for _ in range(20)]

        def work(number: int) -> None:
            barrier.wait()
            ask(sdk, clients[number], f"{NOTES} {number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in clients:
            one.close()
        server.verdict(attempts_per_call=20).raise_for_findings()


def test_many_tasks_with_the_same_question_are_calls_of_their_own(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five equal requests at once through one async client, all refused once."""

    async def asleep(seconds: float) -> None:
        """Time goes on once all five have asked: a first request that comes later looks like a retry."""
        until = time.monotonic() + 30
        while len(server.injected) < 5 and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        clock.sleep(seconds)

    monkeypatch.setattr(anyio, "sleep", asleep)

    async def work(server: ChaosServer) -> None:
        async with openai.AsyncOpenAI(api_key="sk-x", base_url=server.base_url, timeout=60) as one:
            message: Any = {"role": "user", "content": NOTES}
            await asyncio.gather(
                *(one.chat.completions.create(model="m", messages=[message]) for _ in range(5))
            )

    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=0.5)] * 5, clock=clock) as server:
        asyncio.run(work(server))
        assert server.bill.billed_requests == 5
        assert len({record.call for record in server.injected}) == 5
        server.verdict(attempts_per_call=2).raise_for_findings()


@pytest.mark.parametrize("tokens", [1, 2, 9])
@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("kind", ["truncated_stream", "stalled_stream"])
def test_a_part_taken_for_an_answer_is_found(kind: str, sdk: str, tokens: int) -> None:
    """One token or nine, cut off in silence or left when nothing more came; the whole one is fine."""
    for whole in (False, True):
        fault = Fault(FaultKind(kind), after_tokens=tokens)
        with ChaosServer([fault]) as server, client(sdk, server, retries=0) as one:
            text = ""
            with ask(sdk, one, stream=True) as events:
                for event in events:
                    text += said(sdk, event)
                    if count_tokens(text) == tokens and kind == "stalled_stream":
                        break  # nothing more would come
            assert server.wait_idle()
            assert text
            assert text != ANSWER
            messages = [
                {"role": "user", "content": NOTES},
                {"role": "assistant", "content": ANSWER if whole else text},
                {"role": "user", "content": "Thanks. What else?"},
            ]
            ask(sdk, one, messages=messages)
            assert server.verdict().names == (() if whole else ("accepted-truncated-stream",))
            taken = server.verdict(answers=[ANSWER if whole else text]).names
            assert taken == (() if whole else ("accepted-truncated-stream",))


def said(sdk: str, event: Any) -> str:
    if sdk == "openai":
        return (event.choices[0].delta.content or "") if event.choices else ""
    return getattr(event.delta, "text", "") if event.type == "content_block_delta" else ""


def test_a_dropped_history_is_said() -> None:
    """The verdict of a short history is not ok; what was declared is compared with all requests."""
    with ChaosServer(history=5) as server, client("openai", server) as one:
        for _ in range(6):
            ask("openai", one)
        verdict = server.verdict(declared_requests=6)
        assert (verdict.findings, verdict.complete, verdict.ok) == ((), False, False)
        assert server.verdict(declared_requests=5).names == ("undeclared-requests",)
        assert "1 older requests are no longer in the records" in server.report()


# The bill.


def cached(text: str, ttl: str | None) -> dict[str, Any]:
    control = {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})
    return {"type": "text", "text": text, "cache_control": control}


@pytest.mark.parametrize("stream", [False, True])
def test_cache_writes_of_an_hour_are_kept_apart_and_cost_twice_the_input(stream: bool) -> None:
    """What the SDK is told is what the bill has, and its dollars are exact."""
    long, more = "word " * 2_000, "more " * 1_500
    prices = {"chaos-small": ModelPrice("3", "15")}
    with ChaosServer(prices=prices) as server, client("anthropic", server) as one:
        options: dict[str, Any] = {
            "system": [cached(long, "1h")],
            "messages": [{"role": "user", "content": [cached(more, None)]}],
        }
        usages = []
        for _ in range(2):
            if stream:
                with one.messages.stream(model="chaos-small", max_tokens=50, **options) as events:
                    usages.append(events.get_final_message().usage)
            else:
                usages.append(ask("anthropic", one, **options).usage)
        first, second = usages
        billed = server.injected[0].billed
        assert billed.cache_write_1h_tokens >= 2_000
        assert billed.cache_write_tokens >= 1_500
        if first.cache_creation is not None:
            split = first.cache_creation
            assert split.ephemeral_1h_input_tokens == billed.cache_write_1h_tokens
            assert split.ephemeral_5m_input_tokens == billed.cache_write_tokens
        written = billed.cache_write_tokens + billed.cache_write_1h_tokens
        assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (written, 0)
        assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, written)
        expected = (
            3 * Decimal(billed.input_tokens)
            + 15 * Decimal(billed.output_tokens)
            + 3 * Decimal("1.25") * billed.cache_write_tokens
            + 3 * 2 * Decimal(billed.cache_write_1h_tokens)
        ) / 1_000_000
        assert server.injected[0].cost_usd == expected
        assert server.bill.cost_usd == sum(record.cost_usd or 0 for record in server.injected)
        assert server.bill.cache_write_1h_tokens == billed.cache_write_1h_tokens


def test_an_hour_after_five_minutes_and_an_odd_time_are_refused() -> None:
    """As the provider does."""
    for system, user in (("5m", "1h"), ("2h", None)):
        with ChaosServer() as server, client("anthropic", server) as one:
            content = [cached("x", user)] if user else "x"
            with pytest.raises(anthropic.BadRequestError, match="ttl"):
                ask(
                    "anthropic",
                    one,
                    system=[cached("y", system)],
                    messages=[{"role": "user", "content": content}],
                )
            assert server.injected[0].outcome is Outcome.INVALID


def test_every_attempt_abort_and_broken_stream_has_its_price() -> None:
    """Refused and invalid ones are free; a timeout, a reset and a cut stream cost what was generated."""
    faults = [
        Fault(FaultKind.RATE_LIMIT),
        Fault(FaultKind.RESET),
        Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=3_600.0),
        Fault(FaultKind.TRUNCATED_STREAM, after_tokens=4),
        None,
    ]
    with ChaosServer(faults) as server:
        with client("openai", server, retries=0) as one:
            failing("openai", one)
            failing("openai", one)
            failing("openai", one, timeout=0.2)
            list(ask("openai", one, stream=True))
            ask("openai", one)
            with pytest.raises(openai.BadRequestError):
                ask("openai", one, messages=[])
        assert server.wait_idle()
        price = ModelPrice("0.25", "1.00")  # the documented default of chaos-small
        records = server.injected
        full = records[4].billed
        assert [record.billed.output_tokens for record in records] == [
            0,
            full.output_tokens,
            0,
            4,
            full.output_tokens,
            0,
        ]
        assert [bool(record.billed.input_tokens) for record in records] == [
            False,
            True,
            True,
            True,
            True,
            False,
        ]
        assert [record.cost_usd for record in records] == [
            price.cost_usd(record.billed) for record in records
        ]
        assert server.bill.cost_usd == price.cost_usd(server.bill.usage)
        assert f"{server.bill.cost_usd:f}".rstrip("0") in server.report()
