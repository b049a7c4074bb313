"""What guarded clients put on the books when an answer does not say all: no usage, or no end yet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import anthropic._exceptions as anthropic_exceptions
import openai
import openai._exceptions as openai_exceptions
import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.chaos import count_tokens
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import coverage, guard
from techrevati.runtime.ledger import SpendLedger, SpendRecord
from tests.integration.guard_shapes import KEY, MODEL, request, responses_request

# httpx2 in the current majors, httpx in the ones before
openai_http: Any = getattr(openai_exceptions, "httpx2", None) or getattr(openai_exceptions, "httpx", None)
anthropic_http: Any = getattr(anthropic_exceptions, "httpx2", None) or getattr(
    anthropic_exceptions, "httpx", None
)
SAID = "The breaker opens after five failures. " * 10
TOKENS = count_tokens(SAID)


def transport(http: Any, answer: Callable[[str], Any]) -> Any:
    """Answers requests by their method."""

    def handle(asked: Any) -> Any:
        body = answer(asked.method)
        return http.Response(200, json=body) if isinstance(body, dict) else http.Response(200, text=body)

    return http.MockTransport(handle)


def openai_answering(answer: Any, kind: Any = openai.OpenAI, **more: Any) -> Any:
    """A client whose provider says *answer*."""
    given = answer if callable(answer) else lambda _: answer
    client = openai_http.AsyncClient if issubclass(kind, openai.AsyncOpenAI) else openai_http.Client
    return kind(api_key=KEY, http_client=client(transport=transport(openai_http, given)), **more)


def chat(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": SAID}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], **more}


def response(**more: Any) -> dict[str, Any]:
    said = {"type": "output_text", "text": SAID, "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [said]}
    said_before = {
        "object": "response",
        "created_at": 1,
        "model": MODEL,
        "instructions": "Be " + "brief. " * 99,
    }
    settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {"id": "r", **said_before, **settings, "status": "completed", "output": [message], **more}


def guarded(client: Any, ledger: SpendLedger, **more: Any) -> Any:
    return guard(client, project="acme", ledger=ledger, breaker=BreakerRegistry(), **more)


def the_record(ledger: SpendLedger) -> SpendRecord:
    (record,) = ledger.records()
    return record


def create(client: Any) -> None:
    client.chat.completions.create(**request())


def raw(client: Any) -> None:
    client.chat.completions.with_raw_response.create(**request()).parse()


def streaming(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**request()) as said:
        said.read()


@pytest.mark.parametrize("ask", [create, raw, streaming], ids=["create", "raw", "streaming-response"])
def test_an_answer_without_usage_is_counted_by_its_text(ask: Any, ledger: SpendLedger) -> None:
    """What many servers of open models leave out: the output is estimated, and not taken for nothing."""
    ask(guarded(openai_answering(chat()), ledger))
    record = the_record(ledger)
    assert record.certainty == "estimated"
    assert record.usage.output_tokens == TOKENS
    assert record.usage.input_tokens > 20
    (row,) = coverage()
    assert row.without_usage == 1


@pytest.mark.parametrize(
    ("said", "silent"),
    [
        ({}, 1),
        ({"usage": None}, 1),
        ({"usage": {}}, 1),
        ({"usage": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}}, 1),
        ({"usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}, 0),
    ],
)
@pytest.mark.parametrize("ask", [create, raw, streaming], ids=["create", "raw", "streaming-response"])
def test_a_guard_without_books_tells_silence_from_usage(ask: Any, said: dict[str, Any], silent: int) -> None:
    """It reads no usage that nobody asks for, but coverage() says whether there was one."""
    coverage(reset=True)
    ask(guard(openai_answering(chat(**said)), breaker=BreakerRegistry()))
    (row,) = coverage()
    assert (row.calls, row.requests, row.without_usage) == (1, 1, silent)


def test_the_same_of_a_task_and_of_a_response(ledger: SpendLedger) -> None:
    """Asynchronous; of a response only what it generated counts, not what it repeats of the request."""
    client = guarded(openai_answering(response(), openai.AsyncOpenAI), ledger)
    asyncio.run(client.responses.create(**responses_request()))
    assert (the_record(ledger).usage.output_tokens, the_record(ledger).certainty) == (TOKENS, "estimated")


def test_the_same_of_a_message_with_a_tool_call(ledger: SpendLedger) -> None:
    """Anthropic's arguments are an object, and count as its JSON does."""
    given = {"path": "a" * 400}
    content = [{"type": "tool_use", "id": "t", "name": "read", "input": given}]
    said = {"id": "m", "type": "message", "role": "assistant", "model": MODEL, "content": content}
    plain = anthropic.Anthropic(
        api_key=KEY,
        http_client=anthropic_http.Client(transport=transport(anthropic_http, lambda _: said)),
    )
    guarded(plain, ledger).messages.create(**request())
    record = the_record(ledger)
    assert record.certainty == "estimated"
    assert record.usage.output_tokens == count_tokens("read") + count_tokens(json.dumps(given))


@pytest.mark.parametrize("status", ["queued", "in_progress"])
@pytest.mark.parametrize("limited", [True, False], ids=["max", "no-max"])
def test_a_background_response_counts_as_the_most_it_may_use(
    status: str, limited: bool, ledger: SpendLedger
) -> None:
    """Its answer comes later, to a request that is free: until then it is the most that it may be."""
    later = response(usage={"input_tokens": 9, "output_tokens": 5, "total_tokens": 14})
    first = response(status=status, output=[], background=True, model="gpt-5-mini")
    provider = openai_answering(lambda method: first if method == "POST" else later)
    budget = Budget("b", limit_usd=5, ledger=ledger)
    client = guarded(provider, ledger, budget=budget)
    body = {**responses_request(), "model": "gpt-5-mini", "background": True}
    if not limited:
        del body["max_output_tokens"]
    client.responses.create(**body)
    client.responses.retrieve("r")
    record = the_record(ledger)
    assert record.certainty == "estimated"
    assert record.usage.output_tokens == (60 if limited else 128_000)
    assert budget.snapshot().settled["usd"] == record.cost == ledger.total()
    assert sum(row.without_usage for row in coverage()) == 1


@pytest.mark.parametrize("text", ["", "<html>maintenance</html>"], ids=["empty", "html"])
def test_an_answer_that_is_none_is_estimated(text: str, ledger: SpendLedger) -> None:
    """The SDK hands it on as it is; the input was sent, and coverage says that nobody knows."""
    said = guarded(openai_answering(text), ledger).chat.completions.create(**request())
    assert said == text
    assert (the_record(ledger).certainty, the_record(ledger).usage.output_tokens) == ("estimated", 0)
    (row,) = coverage()
    assert row.without_usage == 1
