"""Guarded clients of the real SDKs: every shape of call counts exactly, and is otherwise the SDK's own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from decimal import Decimal
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError, estimate_input_tokens
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError
from techrevati.runtime.integrations import CallGuard, ModelRequest, assert_guarded, coverage, guard
from techrevati.runtime.integrations.covered import UnguardedCallsError
from techrevati.runtime.integrations.physical_request import PhysicalRequest
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import UnknownModelError
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.sinks import RingBufferEventSink
from techrevati.runtime.stores import SqliteStore, StoreError
from techrevati.runtime.usage import UsageSnapshot
from tests.integration.guard_shapes import (
    ANSWER,
    KEY,
    MODEL,
    SHAPES,
    Shape,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    endpoint,
    openai_client,
    request,
)

BUSY = Fault(FaultKind.UNAVAILABLE)
LIMITED = Fault(FaultKind.RATE_LIMIT, retry_after_s=2)
has_credentials = pytest.mark.skipif(
    "credentials" not in signature(anthropic.Anthropic).parameters, reason="this anthropic has no credentials"
)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


def at_once(attempts: int = 3, **more: Any) -> Retry:
    """A retry that waits for nothing."""

    async def asleep(seconds: float) -> None:
        return None

    return Retry(attempts, base_delay_seconds=0, sleep=lambda seconds: None, asleep=asleep, **more)


def wrapping(ledger: SpendLedger, budget: Budget | None = None, **more: Any) -> Any:
    """``guard`` with its own breakers, so that no test sees another's failures."""
    return partial(
        guard, project="acme", ledger=ledger, budget=budget, **{"breaker": BreakerRegistry(), **more}
    )


def assert_books_agree(server: ChaosServer, ledger: SpendLedger) -> None:
    """The provider's bill is the ledger, to the last token and digit; all of it measured."""
    server.wait_idle()
    records = list(ledger.records())
    billed = server.bill.usage
    assert ledger.total() == server.bill.cost_usd
    assert sum(record.usage.input_tokens for record in records) == billed.input_tokens
    assert sum(record.usage.output_tokens for record in records) == billed.output_tokens
    assert {record.certainty for record in records} == {"measured"}
    assert {record.project for record in records} == {"acme"}
    assert len(records) == server.bill.requests


@every_shape
def test_the_bill_equals_the_ledger(shape: Shape, ledger: SpendLedger) -> None:
    """One call of each shape, from client to books."""
    budget = Budget("acme", 1, ledger=ledger)
    with endpoint() as server:
        assert shape.call(server, wrapping(ledger, budget)) == ANSWER
        assert_books_agree(server, ledger)
        assert server.bill.requests == server.bill.billed_requests == 1
    assert budget.snapshot().settled["usd"] == ledger.total() > 0
    assert not any(budget.snapshot().reserved.values())
    (row,) = coverage()
    assert (row.treatment, row.calls, row.requests, row.without_usage) == ("guarded", 1, 1, 0)
    assert_guarded()


@every_shape
def test_physical_requests_are_counted(shape: Shape, ledger: SpendLedger) -> None:
    """Two refusals and an answer are three requests on both sides, and the SDK retries nothing itself."""
    budget = Budget("acme", 1, limits={"attempts": 10}, ledger=ledger)
    with endpoint(BUSY, BUSY) as server:
        wrapped = wrapping(ledger, budget, retry=at_once())
        assert shape.call(server, wrapped, max_retries=5)
        assert_books_agree(server, ledger)
        assert server.bill.requests == 3
        assert server.bill.billed_requests == 1
    if "options" not in shape.name:
        assert [record.attempt for record in server.injected] == [1, 2, 3]
    assert budget.snapshot().settled["attempts"] == 3
    (row,) = coverage()
    assert (row.calls, row.requests) == (1, 3)


@every_shape
def test_an_open_breaker_sends_nothing(shape: Shape, ledger: SpendLedger) -> None:
    """The refusal is ours, and no request leaves."""
    breaker = CircuitBreaker("api")
    breaker.force_open()
    with endpoint() as server:
        with pytest.raises(CircuitOpenError):
            shape.call(server, wrapping(ledger, breaker=breaker, retry=at_once()))
        assert server.bill.requests == 0
    assert ledger.total() == 0
    (row,) = coverage()
    assert (row.calls, row.requests) == (1, 0)
    assert row.refused >= 1


@every_shape
def test_an_empty_budget_sends_nothing(shape: Shape, ledger: SpendLedger) -> None:
    """The worst case of the request itself does not fit; nothing is sent, nothing stays reserved."""
    budget = Budget("acme", 0.0001, ledger=ledger)
    with endpoint() as server:
        with pytest.raises(BudgetExceededError):
            shape.call(server, wrapping(ledger, budget, retry=at_once()))
        assert server.bill.requests == 0
    assert not any(budget.snapshot().reserved.values())
    (row,) = coverage()
    assert (row.calls, row.requests, row.refused) == (1, 0, 1)


def test_what_was_reserved_before_a_refusal_is_given_back() -> None:
    """The budget has let it in, and then its record cannot be written."""
    budget = Budget("acme", 1)
    closed = SpendLedger(":memory:")
    closed.close()
    with endpoint() as server, openai_client(server) as plain:
        with pytest.raises(StoreError):
            wrapping(closed, budget, retry=at_once(1))(plain).chat.completions.create(**request())
        assert server.bill.requests == 0
    assert not any(budget.snapshot().reserved.values())


@every_shape
def test_errors_keep_their_type(shape: Shape, ledger: SpendLedger) -> None:
    """After the retries the SDK's own last exception is raised, and the ledger has each attempt at $0."""
    sdk = anthropic if "messages" in shape.name else openai
    with endpoint(*[Fault(FaultKind.RATE_LIMIT)] * 9) as server:
        with pytest.raises(sdk.RateLimitError) as caught:
            shape.call(server, wrapping(ledger, retry=at_once(3)))
        assert server.bill.requests == 3
        assert_books_agree(server, ledger)
    assert type(caught.value) is sdk.RateLimitError
    assert caught.value.status_code == 429


# --- the client itself -------------------------------------------------------------------------------------


def test_it_is_the_same_kind_of_client(ledger: SpendLedger) -> None:
    """Exactly its class, with its settings; the one given is not changed."""
    with endpoint() as server:
        given = openai_client(server, max_retries=4, timeout=12, organization="org")
        before = dict(given.__dict__)
        guarded = wrapping(ledger)(given)
        assert type(guarded) is openai.OpenAI
        assert (guarded.max_retries, guarded.timeout, guarded.organization) == (4, 12, "org")
        assert guarded.base_url == given.base_url
        assert given.__dict__ == before
        given.chat.completions.create(**request())
        assert ledger.total() == 0
        assert guarded.with_options(timeout=3).timeout == 3


def test_guarding_twice_replaces_the_guard() -> None:
    """One call is on one ledger, that of the last guard."""
    with SpendLedger(":memory:") as first, SpendLedger(":memory:") as second, endpoint() as server:
        client = wrapping(second)(wrapping(first)(openai_client(server)))
        client.chat.completions.create(**request())
        assert first.total() == 0
        assert_books_agree(server, second)


@pytest.mark.parametrize("given", [None, "client", openai, openai.OpenAI, object()])
def test_other_things_are_refused(given: object) -> None:
    """The text says what is taken."""
    with pytest.raises(TypeError, match="client must be an OpenAI or Anthropic client"):
        guard(given)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("breaker", 3),
        ("budget", 5.0),
        ("retry", 3),
        ("ledger", "spend.db"),
        ("deadline", 0),
        ("project", 7),
        ("project", "x" * 1_001),
        ("user", "\ud83d"),
        ("redactor", "x"),
        ("tags", {"team": 7}),
        ("tags", "team"),
        ("credential_id", 7),
        ("event_sink", print),
        ("ask_usage", "no"),
        ("breaker", KEY),
        ("ledger", KEY),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any) -> None:
    """At construction, and no key is repeated."""
    with pytest.raises((TypeError, ValueError), match=argument) as caught:
        guard(openai.OpenAI(api_key=KEY), **{argument: value})
    assert KEY not in str(caught.value)


def test_an_azure_client_is_guarded(ledger: SpendLedger) -> None:
    """Its deployments are in the path, and its class is its own."""
    with endpoint() as server:
        given = openai.AzureOpenAI(
            api_key=KEY, api_version="2024-10-21", base_url=server.base_url, azure_deployment=None
        )
        client = wrapping(ledger)(given)
        assert type(client) is openai.AzureOpenAI
        breakers = BreakerRegistry()
        client = wrapping(ledger, breaker=breakers)(given)
        try:
            client.chat.completions.create(**request())
        except openai.NotFoundError:  # the endpoint knows no deployments
            pass
        ((provider, model, _),) = breakers.all()
        assert (provider, model) == ("azure", MODEL)


# --- retries -----------------------------------------------------------------------------------------------


def test_retry_after_is_respected_once(ledger: SpendLedger) -> None:
    """One wait for one refusal, of what the provider asked for, and the SDK does not wait as well."""
    waits: list[float] = []
    with endpoint(LIMITED) as server:
        retry = Retry(3, base_delay_seconds=0, sleep=waits.append)
        client = wrapping(ledger, retry=retry)(openai_client(server, max_retries=5))
        client.chat.completions.create(**request())
        assert server.bill.requests == 2
    assert waits == [pytest.approx(2)]


@has_credentials
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_token_that_is_too_old_is_fetched_again(asynchronous: bool, ledger: SpendLedger) -> None:
    """The SDK does so when it tries again by itself: once, and not where nothing is tried again."""
    refused = Fault(FaultKind.INVALID_KEY)
    given: list[str] = []

    def credentials(**_: object) -> Any:
        given.append(f"token-{len(given)}")
        return anthropic.AccessToken(given[-1], None)

    def create(client: Any) -> str:
        made = client.messages.create(**request())
        return (loop.run_until_complete(made) if asynchronous else made).content[0].text

    with (
        closing(asyncio.new_event_loop()) as loop,
        endpoint(refused, None, refused, refused, refused, None) as server,
    ):
        kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        plain = kind(credentials=credentials, base_url=server.base_url.removesuffix("/v1"))
        client = guard(plain, ledger=ledger, breaker=BreakerRegistry(), retry=at_once())
        assert create(client) == ANSWER
        assert len(given) == 2
        with pytest.raises(anthropic.AuthenticationError):
            create(client)
        assert len(given) == 3
        with pytest.raises(anthropic.AuthenticationError):
            create(client.with_options(max_retries=0))
        assert len(given) == 3
        server.wait_idle()
        assert server.bill.requests == 5 == len(list(ledger.records()))
        assert ledger.total() == server.bill.cost_usd
        closed = plain.close()
        if asynchronous:
            loop.run_until_complete(closed)


def test_the_clients_own_number_of_retries_counts(
    ledger: SpendLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a Retry, and after with_options(max_retries=…) with one."""
    monkeypatch.setattr("techrevati.runtime.retry_policy.retry.time.sleep", lambda seconds: None)
    for retry, given, options, expected in (
        (None, 1, {}, 2),
        (None, 0, {}, 1),
        (at_once(4), 0, {}, 4),
        (at_once(4), 0, {"max_retries": 1}, 2),
        (at_once(4), 3, {"max_retries": 0}, 1),
        (at_once(4), 3, {"timeout": 9}, 4),
    ):
        with endpoint(*[BUSY] * 9) as server:
            client = wrapping(ledger, retry=retry)(openai_client(server, max_retries=given))
            client = client.with_options(**options) if options else client
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**request())
            assert server.bill.requests == expected


def test_no_warning_about_own_retries(ledger: SpendLedger, caplog: pytest.LogCaptureFixture) -> None:
    """A guarded client multiplies nothing, although its max_retries is still told."""
    with endpoint(BUSY, BUSY) as server:
        client = wrapping(ledger, retry=at_once())(openai_client(server, max_retries=2))
        client.chat.completions.create(**request())
    assert "by itself" not in caplog.text


# --- breakers, deadlines, limits ---------------------------------------------------------------------------


def test_each_provider_model_and_credential_has_its_breaker(ledger: SpendLedger) -> None:
    """What fails with one key or model does not stop the others; the key itself is nowhere."""
    breakers = BreakerRegistry(lambda key: CircuitBreaker(key, failure_threshold=2))
    wrapped = wrapping(ledger, breaker=breakers, retry=at_once(1))
    with endpoint(BUSY, BUSY) as server:
        client = wrapped(openai_client(server))
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**request())
        with pytest.raises(CircuitOpenError) as refused:
            client.chat.completions.create(**request())
        assert server.bill.requests == 2
        client.chat.completions.create(**{**request(), "model": "another"})
        client.with_options(api_key="sk-another-0123456789").chat.completions.create(**request())
        wrapped(anthropic_client(server)).messages.create(**request())
        assert server.bill.requests == 5
    assert len(breakers.all()) == 4
    assert KEY not in repr(breakers.all()) + str(refused.value)


def test_the_callers_mistakes_do_not_open_a_breaker(ledger: SpendLedger) -> None:
    """A wrong request says nothing about the provider."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    with endpoint(Fault(FaultKind.CONTEXT_OVERFLOW)) as server:
        client = wrapping(ledger, breaker=breaker)(openai_client(server))
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**request())
        client.chat.completions.create(**request())
    assert breaker.snapshot().failures == 0


def test_a_deadline_that_is_over_sends_nothing(ledger: SpendLedger) -> None:
    """Given to the guard, or in force around the call."""
    times = iter([0.0, 10.0, 10.0, 10.0, 10.0])
    over = Deadline(5, clock=lambda: next(times, 10.0))
    with endpoint() as server:
        with pytest.raises(DeadlineExceededError):
            wrapping(ledger, deadline=over)(openai_client(server)).chat.completions.create(**request())
        with over, pytest.raises(DeadlineExceededError):
            wrapping(ledger)(openai_client(server)).chat.completions.create(**request())
        assert server.bill.requests == 0


def test_a_deadline_shortens_the_wait_for_an_answer(ledger: SpendLedger) -> None:
    """The SDK's own timeout error, long before its own timeout; no retry follows."""
    with endpoint(Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=30)) as server:
        client = wrapping(ledger, deadline=0.2)(openai_client(server, timeout=60))
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(**request())
        assert server.wait_idle()
    (record,) = ledger.records()
    assert record.certainty == "estimated"


def test_an_unpriced_model_is_refused_not_free(ledger: SpendLedger) -> None:
    """Under a budget of money."""
    with endpoint() as server:
        client = wrapping(ledger, Budget("acme", 1, ledger=ledger))(openai_client(server))
        with pytest.raises(UnknownModelError):
            client.chat.completions.create(**{**request(), "model": "nobody-knows-9"})
        assert server.bill.requests == 0


def test_a_request_without_a_bound_is_refused_with_advice(ledger: SpendLedger) -> None:
    """No maximum in the request, none known of the model."""
    with endpoint() as server:
        client = wrapping(ledger, Budget("acme", 1, ledger=ledger))(openai_client(server))
        body = request()
        del body["max_tokens"]
        with pytest.raises(ValueError, match="how much it may generate"):
            client.chat.completions.create(**body)
        with pytest.raises(ValueError, match="previous_response_id adds input"):
            client.responses.create(
                model=MODEL, input="go on", previous_response_id="resp_1", max_output_tokens=9
            )
        assert server.bill.requests == 0


@pytest.mark.skipif(
    "thread" not in signature(anthropic.resources.beta.messages.Messages.create).parameters,
    reason="this anthropic has no threads",
)
def test_a_thread_that_the_provider_keeps_has_no_bound(ledger: SpendLedger) -> None:
    """Anthropic adds what was said before; the request that begins it shows everything."""
    with endpoint() as server:
        client = wrapping(ledger, Budget("acme", 1, ledger=ledger))(anthropic_client(server))
        with pytest.raises(ValueError, match="thread adds input"):
            client.beta.messages.create(
                **request(), thread={"type": "continue", "previous_message_id": "msg_1"}
            )
        assert server.bill.requests == 0
        with pytest.raises(anthropic.BadRequestError):  # the endpoint has no threads
            client.beta.messages.create(**request(), thread={"type": "create"})
        assert server.bill.requests == 1


def no_key() -> str:
    """What gives an API key, when it cannot."""
    raise LookupError("the vault is closed")


async def no_async_key() -> str:
    """The same for tasks."""
    return no_key()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("why", ["no JSON", "no key", "no JSON, anthropic"])
def test_what_cannot_be_sent_costs_nothing(why: str, asynchronous: bool, ledger: SpendLedger) -> None:
    """The SDK raises while it makes the request ready."""
    budget = Budget("acme", 1, ledger=ledger)
    body: Any = request()
    if why != "no key":
        body["messages"] = [{"role": "user", "content": object()}]
    with endpoint() as server, closing(asyncio.new_event_loop()) as loop:
        plain: Any
        if "anthropic" in why:
            plain = (async_anthropic_client if asynchronous else anthropic_client)(server)
        else:
            key: Any = KEY if why != "no key" else no_async_key if asynchronous else no_key
            kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
            plain = kind(api_key=key, base_url=server.base_url)
        client = wrapping(ledger, budget)(plain)
        surface = client.messages if "anthropic" in why else client.chat.completions
        with pytest.raises(LookupError if why == "no key" else TypeError):
            loop.run_until_complete(surface.create(**body)) if asynchronous else surface.create(**body)
        assert server.bill.requests == 0
        closed = plain.close()
        if asynchronous:
            loop.run_until_complete(closed)
    assert list(ledger.records()) == []
    assert budget.snapshot().settled.get("usd", 0) == 0
    assert not any(budget.snapshot().reserved.values())


@has_credentials
def test_a_token_that_cannot_be_fetched_costs_nothing(ledger: SpendLedger) -> None:
    """The SDK calls it a connection that failed."""

    def credentials(**_: object) -> Any:
        raise LookupError("the vault is closed")

    url = "http://127.0.0.1:9"
    with anthropic.Anthropic(credentials=credentials, base_url=url) as plain:
        client = wrapping(ledger, Budget("acme", 1, ledger=ledger), retry=Retry(1))(plain)
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**request())
    assert list(ledger.records()) == []


FILE: Any = {"type": "file", "file": {"file_id": "file-1"}}
DOCUMENT: Any = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}


@pytest.mark.parametrize(
    ("api", "content", "named"),
    [
        ("chat", [FILE], "file_id"),
        ("responses", [{"type": "input_file", "file_url": "https://example.com/a.pdf"}], "file_url"),
        ("messages", [DOCUMENT], "url"),
        ("messages", [{"type": "tool_result", "tool_use_id": "t", "content": [DOCUMENT]}], "url"),
        ("chat", [{"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}}], None),
        ("messages", [{"type": "document", "source": {"type": "text", "data": "Hi"}}], None),
        ("chat", [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}], None),
    ],
)
def test_files_by_reference_have_no_bound(
    api: str, content: Any, named: str | None, ledger: SpendLedger
) -> None:
    """Nobody sees in the request how much they hold; one that is in it is counted by its bytes."""
    message: Any = {"role": "user", "content": content}
    with endpoint() as server:
        budget = Budget("acme", Decimal("0.0000001"), ledger=ledger)
        client = wrapping(ledger, budget)((anthropic_client if api == "messages" else openai_client)(server))
        refusal: Any = BudgetExceededError if named is None else ValueError
        with pytest.raises(refusal, match=None if named is None else f"^{named} adds input"):
            if api == "responses":
                client.responses.create(model=MODEL, max_output_tokens=16, input=[message])
            else:
                surface = client.messages if api == "messages" else client.chat.completions
                surface.create(model=MODEL, max_tokens=16, messages=[message])
        assert server.bill.requests == 0


@pytest.mark.parametrize(
    ("model", "more", "times"),
    [
        ("gpt-5.5", {"service_tier": "fast"}, "2.5"),
        ("gpt-5.5", {"service_tier": "priority"}, "2.5"),
        ("claude-opus-4-8", {"speed": "fast"}, "2"),
        ("claude-opus-4-8", {"inference_geo": "us"}, "1.1"),
        ("claude-opus-4-8", {"speed": "fast", "inference_geo": "us"}, "2.2"),
    ],
)
def test_what_makes_a_request_dearer_is_reserved(
    model: str, more: dict[str, str], times: str, ledger: SpendLedger
) -> None:
    """A fast answer costs a multiple; the budget has to hold for it as well."""
    asked: list[Decimal] = []
    with endpoint() as server:
        make = openai_client if model.startswith("gpt") else anthropic_client
        client = wrapping(ledger, Budget("acme", Decimal("0.000001"), ledger=ledger))(make(server))
        surface = client.chat.completions if model.startswith("gpt") else client.beta.messages
        for extra in ({}, more):
            body = {"model": model, "max_tokens": 9_000, "messages": [{"role": "user", "content": "Hi"}]}
            with pytest.raises(BudgetExceededError) as refused:
                surface.create(**body, extra_body=extra)
            asked.append(Decimal(str(refused.value.asked)))
        assert server.bill.requests == 0
    assert abs(asked[1] / asked[0] - Decimal(times)) < Decimal("0.1")


@pytest.mark.parametrize("beta", [False, True], ids=["messages", "beta"])
def test_what_a_program_does_not_say_reserves_nothing(beta: bool) -> None:
    """The anthropic SDK keeps a placeholder for every parameter that is not given, and sends none of them."""
    bound = estimate_input_tokens(request())
    with endpoint() as server, anthropic_client(server) as plain:
        client = guard(plain, budget=Budget("tight", limits={"input_tokens": bound}))
        (client.beta.messages if beta else client.messages).create(**request())
        assert server.bill.requests == 1


def test_several_answers_are_all_reserved(ledger: SpendLedger) -> None:
    """n=3 may cost three times as much."""
    budget = Budget("acme", limits={"output_tokens": 150}, ledger=ledger)
    with endpoint() as server:
        client = wrapping(ledger, budget)(openai_client(server))
        with pytest.raises(BudgetExceededError):
            client.chat.completions.create(**request(), n=3)
        assert server.bill.requests == 0


# --- what is not guarded -----------------------------------------------------------------------------------


def test_other_calls_pass_through_and_are_told_once(
    ledger: SpendLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning and one event; with the SDK's own retries, as before; reading is free."""
    sink = RingBufferEventSink()
    with endpoint() as server:
        client = wrapping(ledger, event_sink=sink)(openai_client(server, max_retries=0))
        for _ in range(2):
            with pytest.raises(openai.APIStatusError):
                client.images.generate(prompt="a house")
        assert [model.id for model in client.models.list()] == [MODEL]
    assert caplog.text.count("POST /images/generations is not guarded") == 1
    assert [event.event.value for event in sink.events] == ["model.unguarded"]
    rows = {(row.shape, row.treatment): row.calls for row in coverage()}
    assert rows == {
        ("POST /images/generations", "passed through"): 2,
        ("GET /models", "free"): 1,
    }
    with pytest.raises(UnguardedCallsError, match="images/generations") as caught:
        assert_guarded()
    assert isinstance(caught.value, AssertionError)


def test_observe_only_refuses_nothing(ledger: SpendLedger) -> None:
    """What would have been refused is sent, told and on the books."""
    sink = RingBufferEventSink()
    breaker = CircuitBreaker("api")
    breaker.force_open()
    budget = Budget("acme", 0.000001, ledger=ledger)
    with endpoint() as server:
        client = wrapping(ledger, budget, breaker=breaker, event_sink=sink, observe_only=True)(
            openai_client(server)
        )
        client.chat.completions.create(**request())
        assert_books_agree(server, ledger)
    refused = [event for event in sink.events if event.event.value == "model.refused"]
    assert len(refused) == 2
    assert all(event.data is not None and event.data["observed"] for event in refused)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_observe_only_refuses_nothing_for_a_deadline(asynchronous: bool, ledger: SpendLedger) -> None:
    """One that has passed is told, and does not end the call."""
    sink = RingBufferEventSink()
    with endpoint() as server:
        make = async_openai_client if asynchronous else openai_client
        client = wrapping(ledger, event_sink=sink, observe_only=True, deadline=1e-9)(make(server))

        async def main() -> None:
            async with client:
                await client.chat.completions.create(**request())

        if asynchronous:
            asyncio.run(main())
        else:
            client.chat.completions.create(**request())
        assert_books_agree(server, ledger)
        assert server.bill.requests == 1
    assert [event.event.value for event in sink.events] == ["model.refused", "model.called"]


def test_a_request_ends_once(ledger: SpendLedger) -> None:
    """Whoever comes later with another end changes nothing: books, breaker, coverage and events."""
    sink, breaker = RingBufferEventSink(), CircuitBreaker("api", failure_threshold=1)
    guarding = CallGuard(project="acme", ledger=ledger, breaker=breaker, event_sink=sink)
    made = guarding.begin(ModelRequest("openai", MODEL, "chat", input_tokens=5, max_output_tokens=5))
    made.finish(UsageSnapshot(1, 2))
    made.fail(ConnectionError("late"))
    made.abandon()
    (record,) = ledger.records()
    assert (record.certainty, record.usage.output_tokens) == ("measured", 2)
    (row,) = coverage()
    assert (row.requests, row.without_usage) == (1, 0)
    assert len(sink.events) == 1
    assert breaker.snapshot().failures == 0


# --- events ------------------------------------------------------------------------------------------------


def ends_the_program(*told: object) -> bool:
    """A listener, or a judge."""
    raise SystemExit(3)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("who", ["judge", "listener", "threshold"])
def test_who_ends_the_program_loses_no_record(who: str, stream: bool) -> None:
    """Whoever is told of a call may end the program: what was used is on all books, and nothing is held."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    if who == "judge":
        breaker = CircuitBreaker("api", counts_as_failure=ends_the_program)
    elif who == "listener":
        breaker = CircuitBreaker("api", failure_threshold=1, on_state_change=ends_the_program)
    told = ends_the_program if who == "threshold" else None
    fault = Fault(FaultKind.RESET_MID_BODY if stream else FaultKind.TRUNCATED_BODY)
    with SpendLedger(":memory:") as ledger, endpoint(fault) as server, openai_client(server) as plain:
        budget = Budget("acme", 1, limits={"input_tokens": 9_000, "model_calls": 1}, on_threshold=told)
        client = guard(plain, breaker=breaker, budget=budget, ledger=ledger, retry=at_once(1))
        with pytest.raises(SystemExit):
            list(client.chat.completions.create(**{**request(), "stream": stream}))
        (record,) = ledger.records()
        assert (record.certainty, record.usage.input_tokens) == ("estimated", server.bill.input_tokens)
        assert not any(budget.snapshot().reserved.values())
        assert budget.snapshot().settled["input_tokens"] == record.usage.input_tokens


def test_events_tell_what_happened_and_no_secret(ledger: SpendLedger) -> None:
    """One for each physical request, with usage, without contents and keys."""
    sink = RingBufferEventSink()
    with endpoint(Fault(FaultKind.INVALID_KEY)) as server:
        client = wrapping(ledger, event_sink=sink, retry=at_once())(openai_client(server))
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(**request())
        client.chat.completions.create(**request())
    failed, called = sink.events
    assert (failed.event.value, called.event.value) == ("model.failed", "model.called")
    assert failed.data is not None
    assert failed.data["kind"] == "auth"
    assert called.project_id == "acme"
    assert called.data is not None
    assert called.data["usage"]["output_tokens"] > 0
    text = failed.to_json() + called.to_json()
    assert KEY not in text
    assert "breaker opens" not in text


def test_threads_and_tasks_share_one_budget(ledger: SpendLedger) -> None:
    """Never more than the limit, from plain threads and a loop at once."""
    import asyncio
    import threading

    budget = Budget("acme", 0.02, ledger=ledger)
    with endpoint() as server:
        wrapped = wrapping(ledger, budget, retry=at_once(1))
        client, aclient = wrapped(openai_client(server)), wrapped(async_openai_client(server))

        def in_thread() -> None:
            for _ in range(15):
                try:
                    client.chat.completions.create(**request())
                except BudgetExceededError:
                    return

        async def in_tasks() -> None:
            async def one() -> None:
                try:
                    await aclient.chat.completions.create(**request())
                except BudgetExceededError:
                    return

            async with aclient:
                await asyncio.gather(*(one() for _ in range(15)))

        threads = [threading.Thread(target=in_thread) for _ in range(4)]
        for thread in threads:
            thread.start()
        asyncio.run(in_tasks())
        for thread in threads:
            thread.join()
        assert_books_agree(server, ledger)
        assert 0 < server.bill.cost_usd <= 0.02
    assert not any(budget.snapshot().reserved.values())


def test_a_task_ends_at_a_breaker_with_a_store_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may wait for a disk, and the event loop must not."""
    threads: list[int] = []
    end = CircuitBreaker._end

    def noted(self: CircuitBreaker, *given: Any) -> None:
        threads.append(threading.get_ident())
        end(self, *given)

    monkeypatch.setattr(CircuitBreaker, "_end", noted)
    with SqliteStore(tmp_path / "breakers.db") as store, endpoint() as server:

        async def call() -> None:
            async with async_openai_client(server) as plain:
                client = guard(plain, breaker=CircuitBreaker("api", store=store))
                await client.chat.completions.create(**request())

        asyncio.run(call())
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


@pytest.mark.parametrize("place", ["memory", "file"])
def test_a_task_hops_to_a_thread_only_for_a_disk(place: str, tmp_path: Path) -> None:
    """Books in memory are written by the loop's own thread, those in a file never."""
    import asyncio
    import threading
    import time

    seen: list[int] = []

    class Watching:
        def emit(self, event: object) -> None:
            seen.append(threading.get_ident())

    def clock() -> float:
        seen.append(threading.get_ident())
        return time.time()

    async def send(made: PhysicalRequest) -> str:
        await made.afinish(UsageSnapshot(input_tokens=1, output_tokens=1))
        return ANSWER

    with SpendLedger(":memory:" if place == "memory" else str(tmp_path / "books.db")) as books:
        budget = Budget("acme", 1, ledger=books, clock=clock)
        guarding = CallGuard(budget=budget, ledger=books, event_sink=Watching())
        asked = ModelRequest("openai", MODEL, "test", content={"a": 1}, max_output_tokens=5)
        seen.clear()
        assert asyncio.run(guarding.acall(asked, send)) == ANSWER
        reserved, told = seen[0], seen[-1]
        assert len(list(books.records())) == 1
    here = threading.get_ident()
    assert (reserved == here, told == here) == ((True, True) if place == "memory" else (False, False))
