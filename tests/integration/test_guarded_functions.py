"""``@guarded`` on functions of every colour that call the real SDKs."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, count_tokens
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError
from techrevati.runtime.integrations import CallGuard, ModelRequest, coverage, guarded
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.testing import run
from tests.integration.guard_shapes import (
    ANSWER,
    MODEL,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    endpoint,
    openai_client,
    request,
    responses_request,
)
from tests.integration.test_guard_calls import at_once

BUSY = Fault(FaultKind.UNAVAILABLE)
KINDS = ["def", "async def", "generator", "async generator"]


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


def ask(kind: str, server: ChaosServer, take: int | None = None, **options: Any) -> str:
    """Make one call with a function of that kind; *take* items of a stream at most."""
    options.setdefault("breaker", BreakerRegistry())
    made: dict[str, Any] = {**request(), "stream_options": {"include_usage": True}, "stream": True}

    def chunk_text(chunk: Any) -> str:
        return chunk.choices[0].delta.content or "" if chunk.choices else ""

    if kind == "def":

        @guarded(**options)
        def create(client: Any, model: str, max_tokens: int, messages: list[Any]) -> Any:
            return client.chat.completions.create(model=model, max_tokens=max_tokens, messages=messages)

        with openai_client(server, max_retries=0) as client:
            return create(client, **request()).choices[0].message.content
    if kind == "generator":

        @guarded(**options)
        def chunks(client: Any, **body: Any) -> Iterator[Any]:
            yield from client.chat.completions.create(**body)

        with openai_client(server, max_retries=0) as client:
            stream = chunks(client, **made)
            if take is None:
                return "".join(map(chunk_text, stream))
            for _ in range(take):
                next(stream)
            stream.close()
            return ""

    async def go() -> str:
        async with async_openai_client(server, max_retries=0) as client:
            if kind == "async def":

                @guarded(**options)
                async def acreate(**body: Any) -> Any:
                    return await client.chat.completions.create(**body)

                return (await acreate(**request())).choices[0].message.content

            @guarded(**options)
            async def achunks(**body: Any) -> AsyncIterator[Any]:
                async for chunk in await client.chat.completions.create(**body):
                    yield chunk

            stream: Any = achunks(**made)
            text, seen = "", 0
            async for chunk in stream:
                text += chunk_text(chunk)
                seen += 1
                if seen == take:
                    break
            await stream.aclose()
            for _ in range(100):  # the SDK's own generators are closed by the loop, a moment later
                if len(asyncio.all_tasks()) == 1:
                    break
                await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1
            return text

    return asyncio.run(go())


@pytest.mark.parametrize("kind", KINDS)
def test_the_bill_equals_the_ledger(kind: str, ledger: SpendLedger) -> None:
    """Two refusals and an answer: three physical requests on both sides, one of them billed."""
    budget = Budget("acme", 1, ledger=ledger)
    with endpoint(BUSY, BUSY) as server:
        assert ask(kind, server, budget=budget, project="acme", retry=at_once()) == ANSWER
        server.wait_idle()
        assert server.bill.requests == len(list(ledger.records())) == 3
        assert ledger.total(project="acme") == server.bill.cost_usd > 0
        assert {record.certainty for record in ledger.records() if record.failure is None} == {"measured"}
    (row,) = coverage()
    assert (row.treatment, row.calls, row.requests, row.without_usage) == ("guarded", 1, 3, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_veto_sends_nothing(kind: str) -> None:
    """An open breaker and a budget that is too small refuse before the function runs."""
    breaker = CircuitBreaker("api")
    breaker.force_open()
    with endpoint() as server:
        with pytest.raises(CircuitOpenError):
            ask(kind, server, breaker=breaker)
        with pytest.raises(BudgetExceededError):
            ask(kind, server, budget=Budget("small", 0.000001))
        with pytest.raises(DeadlineExceededError):
            ask(kind, server, deadline=1e-9)
        server.wait_idle()
        assert server.bill.requests == 0


@pytest.mark.parametrize("kind", KINDS)
def test_errors_keep_their_type(kind: str) -> None:
    """The last attempt's own exception comes out."""
    with endpoint(Fault(FaultKind.RATE_LIMIT, retry_after_s=0), BUSY) as server:
        with pytest.raises(openai.InternalServerError):
            ask(kind, server, retry=at_once(2))
        assert server.bill.requests == 2


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_stream_that_is_left_is_estimated(kind: str, ledger: SpendLedger) -> None:
    """The books hold what had come, and say that it is an estimate."""
    with endpoint() as server:
        ask(kind, server, take=2, ledger=ledger)
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert record.usage.output_tokens >= 1
    (row,) = coverage()
    assert row.without_usage == 1


TOOL: dict[str, Any] = {
    "name": "search_docs",
    "description": "Search.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
@pytest.mark.parametrize("calls", [False, True])
def test_a_generator_that_breaks_off_costs_what_the_endpoint_bills(
    api: str, calls: bool, asynchronous: bool, ledger: SpendLedger
) -> None:
    """Arguments that are a request to a model are counted as one, and calls of tools are output."""
    options: dict[str, Any] = {"ledger": ledger, "breaker": BreakerRegistry()}
    body: dict[str, Any] = responses_request() if api == "responses" else request()
    body["tools"] = [{"type": "function", **TOOL}]
    if api == "chat":
        body["tools"] = [{"type": "function", "function": TOOL}]
    elif api == "messages":
        body["tools"] = [{"name": TOOL["name"], "input_schema": TOOL["parameters"]}]
    needed, free = ({"type": "any"}, {"type": "none"}) if api == "messages" else ("required", "none")
    body["tool_choice"] = needed if calls else free

    def items(client: Any, **body: Any) -> Iterator[Any]:
        made = client.chat.completions if api == "chat" else getattr(client, api)
        with made.create(**body, stream=True) as stream:
            yield from stream

    async def aitems(client: Any, **body: Any) -> AsyncIterator[Any]:
        made = client.chat.completions if api == "chat" else getattr(client, api)
        async with await made.create(**body, stream=True) as stream:
            async for item in stream:
                yield item

    async def main(client: Any) -> None:
        async with client:
            async for _ in guarded(**options)(aitems)(client, **body):
                pass

    with endpoint(Fault(FaultKind.RESET_MID_BODY, after_tokens=4)) as server:
        clients = anthropic_client, async_anthropic_client
        if api != "messages":
            clients = openai_client, async_openai_client
        client = clients[asynchronous](server, max_retries=0)
        with pytest.raises(Exception) as caught:  # the SDK's, or its HTTP library's
            asyncio.run(main(client)) if asynchronous else list(guarded(**options)(items)(client, **body))
        assert type(caught.value).__module__.partition(".")[0] in ("openai", "anthropic", "httpx", "httpx2")
        server.wait_idle()
        bill = server.bill.usage
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert (record.usage.input_tokens, record.usage.output_tokens) == (bill.input_tokens, bill.output_tokens)
    assert bill.output_tokens >= 4


def test_arguments_beside_a_request_count_whole(ledger: SpendLedger) -> None:
    """A function that is given more than a request has all of it counted."""

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=9, breaker=BreakerRegistry())
    def made(messages: list[Any], notes: Any = None, text: Any = None) -> Any:
        raise ConnectionError("the line is dead")

    messages = [{"role": "user", "content": "Hi."}]
    words = "word " * 50
    for more in ({}, {"text": {"verbosity": "low"}}, {"notes": words}, {"text": words}, {"notes": [words]}):
        with pytest.raises(ConnectionError):
            made(messages, **more)
    used = [record.usage.input_tokens for record in ledger.records()]
    assert used[:2] == [3 + 4 + count_tokens("Hi.")] * 2
    assert all(tokens >= 50 + used[0] for tokens in used[2:])


def test_the_signature_stays() -> None:
    """Names, defaults, annotations and docstring are the function's own."""

    @guarded(model=MODEL, max_output_tokens=5)
    def ask_model(prompt: str, *, calm: bool = True) -> str:
        """Ask."""
        return prompt

    assert str(inspect.signature(ask_model)) == "(prompt: 'str', *, calm: 'bool' = True) -> 'str'"
    assert ask_model.__doc__ == "Ask."


def test_usage_by_hand(ledger: SpendLedger) -> None:
    """``usage_of`` and ``request`` say what cannot be read."""
    seen: list[ModelRequest] = []

    def read(prompt: str) -> ModelRequest:
        seen.append(ModelRequest("mine", MODEL, "mine", content=prompt, max_output_tokens=10))
        return seen[-1]

    @guarded(
        ledger=ledger, request=read, usage_of=lambda answer: {"input_tokens": answer[1], "output_tokens": 2}
    )
    def ask_model(prompt: str) -> tuple[str, int]:
        return prompt, 7

    assert ask_model("hello") == ("hello", 7)
    (record,) = ledger.records()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (7, 2)
    assert record.model == MODEL
    assert len(seen) == 1


def test_silence_is_not_free(ledger: SpendLedger) -> None:
    """An answer without usage is on the books as an estimate, and coverage says so."""

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=10)
    def ask_model(prompt: str) -> str:
        return "yes"

    ask_model("hello")
    (row,) = coverage()
    assert row.without_usage == 1
    (record,) = ledger.records()
    assert record.certainty != "measured"


def test_clients_among_the_arguments_are_not_input() -> None:
    """Only texts, lists and mappings are."""

    @guarded(model=MODEL, budget=Budget("b", limits={"input_tokens": 2_000}))
    def ask_model(client: object, prompt: str) -> dict[str, Any]:
        return {"usage": {"input_tokens": 1, "output_tokens": 1}}

    ask_model(CallGuard(), "hello")
    with pytest.raises(BudgetExceededError):
        ask_model(None, "x" * 5_000)


def test_the_texts_in_a_dataclass_are_input() -> None:
    """Messages of pydantic-ai are dataclasses; a list of them is not taken for nothing."""

    @dataclass
    class Said:
        text: str

    @guarded(model=MODEL, budget=Budget("b", limits={"input_tokens": 2_000}))
    def ask_model(messages: list[Said]) -> dict[str, Any]:
        return {"usage": {"input_tokens": 1, "output_tokens": 1}}

    ask_model([Said("hello")])
    with pytest.raises(BudgetExceededError):
        ask_model([Said("x" * 5_000)])


def test_a_stream_that_is_open_at_the_end_of_the_program_is_estimated(tmp_path: Path) -> None:
    """It is on the books before the interpreter takes itself apart, and nothing is written to stderr."""
    script = """
import sys
from techrevati.runtime import Budget, SpendLedger
from techrevati.runtime.integrations import guarded

books = SpendLedger(sys.argv[1])

@guarded(model="gpt-5-mini", max_output_tokens=9, budget=Budget("acme", limit_usd=1, ledger=books))
def says():
    yield "one"
    yield "two"

stream = says()
next(stream)
"""
    file = str(tmp_path / "spend.db")
    done = subprocess.run(
        [sys.executable, "-c", script, file], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    with SpendLedger(file) as books:
        (record,) = books.records()
        assert (record.certainty, record.usage.output_tokens) == ("estimated", 1)
        assert not any(Budget("acme", limit_usd=1, ledger=books).snapshot().reserved.values())


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_or_a_raw_response_that_is_returned_is_heard(
    streamed: bool, asynchronous: bool, ledger: SpendLedger
) -> None:
    """It counts exactly when it is read; a stream that is closed before is an estimate."""
    made: Any = request()
    if streamed:
        made |= {"stream": True, "stream_options": {"include_usage": True}}
    options: Any = {"ledger": ledger, "breaker": BreakerRegistry()}

    def create(client: Any, body: Any) -> Any:
        chat = client.chat.completions
        return (chat if streamed else chat.with_raw_response).create(**body)

    def calls(server: ChaosServer) -> None:
        @guarded(**options)
        def ask_model(client: Any, **body: Any) -> Any:
            return create(client, body)

        with openai_client(server, max_retries=0) as client:
            assert len(list(ask_model(client, **made)) if streamed else ask_model(client, **made).content)
            if streamed:
                ask_model(client, **made).close()

    async def acalls(server: ChaosServer) -> None:
        @guarded(**options)
        async def ask_model(client: Any, **body: Any) -> Any:
            return await create(client, body)

        async with async_openai_client(server, max_retries=0) as client:
            answer = await ask_model(client, **made)
            assert len([chunk async for chunk in answer] if streamed else answer.content)
            if streamed:
                await (await ask_model(client, **made)).close()

    with endpoint() as server:
        if asynchronous:
            asyncio.run(acalls(server))
        else:
            calls(server)
        server.wait_idle()
        first, *left = ledger.records()
        assert first.certainty == "measured"
        assert (first.usage.input_tokens, first.usage.output_tokens) == (52, 18)
        assert [record.certainty for record in left] == ["estimated"] * streamed
        assert server.bill.requests == 1 + streamed


@pytest.mark.parametrize("answer", [None, ("yes", 3), "y" * 40, ""])
def test_an_answer_that_says_nothing_is_no_less_than_its_text(answer: object, ledger: SpendLedger) -> None:
    """By the text that comes back; where nothing can be read, the most it may generate."""

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=30, breaker=BreakerRegistry())
    def ask_model(prompt: str) -> object:
        return answer

    assert ask_model("hello") is answer
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert record.usage.output_tokens == (count_tokens(answer) if isinstance(answer, str) else 30)
    assert record.usage.input_tokens > 0


def test_what_is_thrown_or_sent_into_a_generator_arrives() -> None:
    """As without the decorator, in both colours; what it does not catch is a failure and comes out."""
    seen: list[object] = []

    @guarded(model=MODEL, max_output_tokens=10, breaker=BreakerRegistry())
    def items(prompt: str) -> Any:
        try:
            seen.append((yield "first"))
            yield "second"
        except ValueError:
            yield "caught"

    @guarded(model=MODEL, max_output_tokens=10, breaker=BreakerRegistry())
    async def aitems(prompt: str) -> Any:
        try:
            seen.append((yield "first"))
            yield "second"
        except ValueError:
            yield "caught"

    made = items("x")
    assert [next(made), made.send("sent"), made.throw(ValueError())] == ["first", "second", "caught"]
    with pytest.raises(KeyError):
        made.throw(KeyError())

    async def go() -> None:
        made = aitems("x")
        assert [await anext(made), await made.asend("sent"), await made.athrow(ValueError())] == [
            "first",
            "second",
            "caught",
        ]
        with pytest.raises(KeyError):
            await made.athrow(KeyError())

    asyncio.run(go())
    assert seen == ["sent", "sent"]
    assert sum(row.requests for row in coverage()) == 2

    @guarded(model=MODEL, max_output_tokens=10, breaker=BreakerRegistry())
    def plain_items(prompt: str) -> Any:
        yield from ["only"]

    made = plain_items("x")
    next(made)
    with pytest.raises(LookupError):
        made.throw(LookupError())


def test_methods_are_functions_too(ledger: SpendLedger) -> None:
    """The decorator stands below ``@classmethod`` and ``@staticmethod``, and says so."""

    class Agent:
        model = "another"

        @guarded(model=MODEL, ledger=ledger, breaker=BreakerRegistry())
        def ask(self, prompt: str) -> Any:
            return {"usage": {"input_tokens": 1, "output_tokens": 1}}

        @classmethod
        @guarded(model=MODEL, ledger=ledger, breaker=BreakerRegistry())
        def ask_class(cls, prompt: str) -> Any:
            return {"usage": {"input_tokens": 1, "output_tokens": 1}}

        @staticmethod
        @guarded(model=MODEL, ledger=ledger, breaker=BreakerRegistry())
        def ask_anybody(prompt: str) -> Any:
            return {"usage": {"input_tokens": 1, "output_tokens": 1}}

    for call in (Agent().ask, Agent.ask_class, Agent().ask_anybody):
        call("hello")
    assert [(record.model, record.certainty) for record in ledger.records()] == [(MODEL, "measured")] * 3
    for kind in (classmethod, staticmethod):
        with pytest.raises(TypeError, match=f"below @{kind.__name__}"):
            guarded()(kind(lambda prompt: None))


def test_bad_arguments_are_told_at_once() -> None:
    """The text names the argument."""
    with pytest.raises(ValueError, match="provider"):
        guarded(provider="")
    with pytest.raises(TypeError, match="budget"):
        guarded(budget=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="function"):
        guarded()(int)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_that_fails_or_is_left_is_closed(asynchronous: bool, ledger: SpendLedger) -> None:
    """Its own cleaning up is done before the reader goes on; what it said it used until then counts."""
    log: list[str] = []
    used = {"type": "message_stop", "usage": {"input_tokens": 4, "output_tokens": 2}}

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=9, breaker=BreakerRegistry(), usage_of=read)
    def items(fails: bool) -> Any:
        try:
            yield "first"
            yield used
            if fails:
                raise ConnectionError("the line is dead")
            yield "last"
        finally:
            log.append("closed")

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=9, breaker=BreakerRegistry(), usage_of=read)
    async def aitems(fails: bool) -> Any:
        try:
            yield "first"
            yield used
            if fails:
                raise ConnectionError("the line is dead")
            yield "last"
        finally:
            log.append("closed")

    def go(fails: bool, take: int) -> None:
        made = items(fails)
        for _ in range(take):
            next(made)
        made.close()
        assert log == ["closed"]

    async def ago(fails: bool, take: int) -> None:
        made = aitems(fails)
        for _ in range(take):
            await anext(made)
        await made.aclose()
        assert log == ["closed"]

    def once(fails: bool, take: int) -> None:
        log.clear()
        if asynchronous:
            asyncio.run(ago(fails, take))
        else:
            go(fails, take)

    once(False, 1)  # left before it said what it used
    once(False, 2)  # left after
    with pytest.raises(ConnectionError):
        once(True, 3)
    before, after, failed = ledger.records()
    assert (before.certainty, before.failure) == ("estimated", None)
    assert (after.certainty, after.usage.input_tokens, after.failure) == ("measured", 4, None)
    assert (failed.certainty, failed.usage.input_tokens, failed.failure) == ("measured", 4, "network")


def read(item: Any) -> Any:
    """The usage in one item of a stream."""
    return item if isinstance(item, dict) else None


def test_a_deadline_ends_what_can_be_ended(ledger: SpendLedger) -> None:
    """A coroutine under way, and a generator between two items."""
    now = [0.0]

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=9, breaker=BreakerRegistry())
    async def forever(prompt: str) -> None:
        await asyncio.Event().wait()

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=9, breaker=BreakerRegistry())
    async def hangs(prompt: str) -> Any:
        yield "first"
        await asyncio.Event().wait()

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=9, breaker=BreakerRegistry())
    def items(prompt: str) -> Iterator[str]:
        while True:
            yield "piece"

    async def read_all() -> None:
        async for _ in hangs("x"):
            pass

    async def in_time(task: Any) -> None:
        with Deadline(5, clock=asyncio.get_running_loop().time):
            await task()

    for task in (lambda: forever("x"), read_all):
        with pytest.raises(DeadlineExceededError):
            run(in_time(task))
    made = items("x")
    with Deadline(5, clock=lambda: now[0]):
        next(made)
        now[0] = 6.0
        with pytest.raises(DeadlineExceededError):
            next(made)
    assert [record.failure for record in ledger.records()] == ["timeout"] * 3


def test_the_request_is_read_from_the_arguments() -> None:
    """By their names, defaults and keywords included; else what the decorator says; a function that is not
    awaited cannot be seen through."""
    budget = Budget("acme", limits={"output_tokens": 100})
    used = {"usage": {"input_tokens": 1, "output_tokens": 0}}

    @guarded(max_output_tokens=10, budget=budget, breaker=BreakerRegistry())
    def ask_model(prompt: str, max_tokens: int | None = 101, **more: Any) -> Any:
        seen.append(budget.snapshot().reserved["output_tokens"])
        return used

    seen: list[Any] = []
    with pytest.raises(BudgetExceededError):
        ask_model("x")
    ask_model("x", max_tokens=None)
    ask_model("x", max_completion_tokens=20)
    assert seen == [10, 20]

    async def hidden() -> None: ...

    @guarded(breaker=BreakerRegistry())
    def plain(prompt: str) -> Any:
        return hidden()

    with pytest.raises(TypeError, match="cannot be seen through"):
        plain("x")

    @guarded(request=lambda prompt: prompt, breaker=BreakerRegistry())  # type: ignore[arg-type,return-value]
    def wrong(prompt: str) -> Any:
        raise AssertionError

    with pytest.raises(TypeError, match="request must return a ModelRequest"):
        wrong("x")
    with pytest.raises(ValueError, match="max_output_tokens"):
        guarded(max_output_tokens=-1)


def test_models_among_the_arguments_are_input() -> None:
    """Messages of langchain and the like, which say themselves what they hold."""

    class Message(BaseModel):
        text: str

    @guarded(model=MODEL, budget=Budget("b", limits={"input_tokens": 2_000}), breaker=BreakerRegistry())
    def ask_model(messages: list[Message]) -> dict[str, Any]:
        return {"usage": {"input_tokens": 1, "output_tokens": 1}}

    ask_model([Message(text="hello")])
    with pytest.raises(BudgetExceededError):
        ask_model([Message(text="x" * 5_000)])


def test_the_methods_of_an_sdk_can_be_decorated(ledger: SpendLedger) -> None:
    """Those of an async client, too, which look like plain functions."""

    async def go(server: ChaosServer) -> None:
        async with async_openai_client(server, max_retries=0) as client:
            ask_model: Any = guarded(ledger=ledger, breaker=BreakerRegistry())(client.chat.completions.create)
            await ask_model(**request())

    with endpoint() as server:
        asyncio.run(go(server))
        server.wait_idle()
        (record,) = ledger.records()
        assert record.certainty == "measured"
        assert ledger.total() == server.bill.cost_usd


def test_what_a_generator_returns_may_say_its_usage(ledger: SpendLedger) -> None:
    """Where none of its items did; it is still returned."""
    answer = {"usage": {"input_tokens": 7, "output_tokens": 2}}

    @guarded(model=MODEL, ledger=ledger, breaker=BreakerRegistry())
    def items(prompt: str) -> Any:
        yield "yes"
        return answer

    def all_of() -> Any:
        return (yield from items("x"))

    reading = all_of()
    assert next(reading) == "yes"
    with pytest.raises(StopIteration) as end:
        next(reading)
    assert end.value.value is answer
    (record,) = ledger.records()
    assert (record.certainty, record.usage.input_tokens) == ("measured", 7)
