"""The table of what guarded calls leave on the books: ``python -m tests.integration.guard_matrix``.

Every shape of call is made through the real SDKs against the chaos endpoint, in every case of the table; a
cell says how many requests arrived and whether the ledger is the endpoint's bill.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import openai

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.integrations import coverage, guard
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.retry_policy import Retry
from tests.integration.guard_shapes import (
    ANSWER,
    SHAPES,
    Shape,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    endpoint,
    openai_client,
    request,
    responses_request,
)

BUSY, LIMITED = Fault(FaultKind.UNAVAILABLE), Fault(FaultKind.RATE_LIMIT)
SEEN = 5  # tokens that arrive of an answer that its reader leaves
STALLED = Fault(FaultKind.STALLED_STREAM, delay_s=30, after_tokens=SEEN)
SILENT = Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=30)
HEADING = """# What guarded calls leave on the books

Made by `python -m tests.integration.guard_matrix > docs/guard-matrix.md`: every shape of call, through the
real SDKs (openai {openai}, anthropic {anthropic}), against the chaos endpoint, which keeps the bill as a
provider would. A test holds this page to what the command says.

**n =** means that n requests arrived, each is a record, and the ledger is the bill, to the last token and
digit. **n = (e)** means the same of a request that ended before its answer said what it used: its record is
marked `estimated`, since a provider may count otherwise. **0** means that the refusal came before anything
was sent, and nothing stays reserved. What is raised is the SDK's own exception, or the refusal's.

"""


class Case(NamedTuple):
    """A column.

    Attributes:
        faults: What the endpoint does to the first requests.
        raises: What the call ends with; None when it is answered. "sdk" is the SDK's own error.
        requests: How many arrive.
    """

    title: str
    faults: tuple[Fault, ...] = ()
    raises: type[Exception] | str | None = None
    requests: int = 1
    breaker_open: bool = False
    limit_usd: float = 1.0


CASES = (
    Case("answered"),
    Case("503 twice, then answered", (BUSY, BUSY), requests=3),
    Case("429 to the end", (LIMITED,) * 9, "RateLimitError", requests=3),
    Case("wrong key", (Fault(FaultKind.INVALID_KEY),), "AuthenticationError"),
    Case("breaker open", (), CircuitOpenError, requests=0, breaker_open=True),
    Case("budget too small", (), BudgetExceededError, requests=0, limit_usd=0.0001),
)


class WrongCellError(AssertionError):
    """A cell that the documentation would not want to show."""


def cell(shape: Shape, case: Case) -> str:
    """Make the call; what it left."""
    breaker = CircuitBreaker("api") if case.breaker_open else BreakerRegistry()
    if isinstance(breaker, CircuitBreaker):
        breaker.force_open()
    with SpendLedger(":memory:") as ledger, endpoint(*case.faults) as server:
        budget = Budget("acme", case.limit_usd, ledger=ledger)

        def guarded(client: Any) -> Any:
            return guard(
                client, project="acme", breaker=breaker, budget=budget, ledger=ledger, retry=at_once(3)
            )

        try:
            text = shape.call(server, guarded, max_retries=5)
        except Exception as error:
            _check(shape, case, error)
        else:
            if case.raises is not None or text != ANSWER:
                raise WrongCellError(f"{shape.name}, {case.title}: answered {text!r}")
        return _left(server, ledger, budget, case.requests, f"{shape.name}, {case.title}")


def _check(shape: Shape, case: Case, error: Exception) -> None:
    sdk = openai if "OpenAI" in shape.client.__annotations__["return"] else anthropic
    expected = getattr(sdk, case.raises) if isinstance(case.raises, str) else case.raises
    if type(error) is not expected:
        raise WrongCellError(f"{shape.name}, {case.title}: {error!r}") from error


def _left(server: ChaosServer, ledger: SpendLedger, budget: Budget, requests: int, what: str) -> str:
    server.wait_idle()
    records, bill = list(ledger.records()), server.bill
    facts = (bill.requests, len(records), any(budget.snapshot().reserved.values()))
    if facts != (requests, requests, False):
        raise WrongCellError(f"{what}: (requests, records, reserved) are {facts}")
    used = [
        sum(getattr(record.usage, name) for record in records) for name in ("input_tokens", "output_tokens")
    ]
    if ledger.total() != bill.cost_usd or used != [bill.usage.input_tokens, bill.usage.output_tokens]:
        raise WrongCellError(f"{what}: ledger {ledger.total()} for {used}, bill {bill}")
    if any(record.certainty != "measured" for record in records):
        return f"{requests} = (e)"
    return f"{requests} =" if requests else "0"


def at_once(attempts: int) -> Retry:
    """A retry that waits for nothing."""

    async def asleep(seconds: float) -> None:
        return None

    return Retry(attempts, base_delay_seconds=0, sleep=lambda seconds: None, asleep=asleep)


# --- calls that end early -------------------------------------------------------------------------------


def chat_left(client: Any) -> None:
    """A reader who goes after some chunks."""
    with client.chat.completions.create(**request(), stream=True) as stream:
        until_seen(stream, lambda chunk: bool(chunk.choices[0].delta.content))


def chat_raw_left(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(**request(), stream=True)
    with raw.parse() as stream:
        until_seen(stream, lambda chunk: bool(chunk.choices[0].delta.content))


def chat_stream_left(client: Any) -> None:
    with client.chat.completions.stream(**request()) as stream:
        until_seen(stream, lambda event: event.type == "content.delta" and event.delta != "")


def chat_lines_left(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**request(), stream=True) as response:
        until_seen(response.iter_lines(), lambda line: '"content":"' in line and '"role"' not in line)


def responses_left(client: Any) -> None:
    with client.responses.create(**responses_request(), stream=True) as stream:
        until_seen(stream, lambda event: event.type == "response.output_text.delta")


def responses_stream_left(client: Any) -> None:
    with client.responses.stream(**responses_request()) as stream:
        until_seen(stream, lambda event: event.type == "response.output_text.delta")


def messages_left(client: Any) -> None:
    with client.messages.create(**request(), stream=True) as stream:
        until_seen(stream, lambda event: event.type == "content_block_delta")


def messages_stream_left(client: Any) -> None:
    with client.messages.stream(**request()) as stream:
        until_seen(stream.text_stream, bool)


def until_seen(items: Any, tells: Callable[[Any], bool]) -> None:
    """Read until all has come that comes before the stream stalls."""
    seen = 0
    while seen < SEEN:
        seen += tells(next(items))


async def achat_cancelled(client: Any) -> None:
    """A task that is cancelled before anything came."""
    await client.chat.completions.create(**request())


async def aresponses_cancelled(client: Any) -> None:
    await client.responses.create(**responses_request())


async def amessages_cancelled(client: Any) -> None:
    await client.messages.create(**request())


async def achat_stream_cancelled(client: Any) -> None:
    """A task that is cancelled while it reads."""
    async for _ in await client.chat.completions.create(**request(), stream=True):
        pass


async def aresponses_stream_cancelled(client: Any) -> None:
    async for _ in await client.responses.create(**responses_request(), stream=True):
        pass


async def amessages_stream_cancelled(client: Any) -> None:
    async with client.messages.stream(**request()) as stream:
        await stream.get_final_message()


EARLY: tuple[tuple[Callable[[Any], Any], Callable[..., Any]], ...] = (
    (chat_left, openai_client),
    (chat_raw_left, openai_client),
    (chat_stream_left, openai_client),
    (chat_lines_left, openai_client),
    (responses_left, openai_client),
    (responses_stream_left, openai_client),
    (messages_left, anthropic_client),
    (messages_stream_left, anthropic_client),
    (achat_cancelled, async_openai_client),
    (achat_stream_cancelled, async_openai_client),
    (aresponses_cancelled, async_openai_client),
    (aresponses_stream_cancelled, async_openai_client),
    (amessages_cancelled, async_anthropic_client),
    (amessages_stream_cancelled, async_anthropic_client),
)


def early_cell(call: Callable[[Any], Any], make_client: Callable[..., Any]) -> str:
    """Make a call that its reader leaves, or that is cancelled; what it left."""
    streams = "stream" in call.__name__ or "left" in call.__name__
    with SpendLedger(":memory:") as ledger, endpoint(STALLED if streams else SILENT) as server:
        budget = Budget("acme", 1, ledger=ledger)
        client = guard(
            make_client(server, max_retries=0),
            project="acme",
            breaker=BreakerRegistry(),
            budget=budget,
            ledger=ledger,
        )
        if asyncio.iscoroutinefunction(call):
            asyncio.run(_cancelled(call, client, server, SEEN if streams else 0))
        else:
            with client:
                call(client)
        return _left(server, ledger, budget, 1, call.__name__)


async def _cancelled(call: Callable[[Any], Any], client: Any, server: ChaosServer, sent: int) -> None:
    async with client:
        task = asyncio.create_task(call(client))
        while not server.injected or server.bill.output_tokens < sent:  # noqa: ASYNC110  # another thread's
            await asyncio.sleep(0.01)
        for _ in range(20):  # what was sent is read
            await asyncio.sleep(0.005)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(end, asyncio.CancelledError):
            raise WrongCellError(f"{call.__name__} ended with {end!r}")


# --- the page -------------------------------------------------------------------------------------------


def page() -> Iterator[str]:
    """Its lines."""
    yield HEADING.format(
        openai=openai.__version__.partition(".")[0], anthropic=anthropic.__version__.partition(".")[0]
    )
    yield f"| call | as coverage() says it | {' | '.join(case.title for case in CASES)} |\n"
    yield f"|---|---|{'---|' * len(CASES)}\n"
    for shape in SHAPES:
        coverage(reset=True)
        cells = [cell(shape, case) for case in CASES]
        (row,) = coverage(reset=True)
        colour = ", async" if shape.name.startswith("a") else ""
        yield f"| `{shape.name}` | {row.provider} {row.shape}{colour} | {' | '.join(cells)} |\n"
    yield "\nCalls that end early: a reader who leaves, a task that is cancelled.\n\n"
    yield "| call | left |\n|---|---|\n"
    for call, make_client in EARLY:
        yield f"| `{call.__name__}` | {early_cell(call, make_client)} |\n"
    yield (
        "\nThe calls themselves are in `tests/integration/guard_shapes.py`, those that end early in "
        "`tests/integration/guard_matrix.py`, by these names.\n"
    )


if __name__ == "__main__":
    for line in page():
        sys.stdout.write(line)
