"""A guarded call of the real SDK over the bare one, against the chaos endpoint on loopback, in pairs.

The endpoint is a process of its own, so that its work is not ours.  Of the guards the first has a breaker, a
retry and coverage; then come a budget and books in memory, and books in a file, whose price is the disk's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, WrongAnswerError, compare_all
from techrevati.runtime.budgets import Budget
from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.integrations import coverage, guard
from techrevati.runtime.ledger import SpendLedger

ADDED_S, SHARE = 50e-6, 1.02
MODEL = "gpt-5-mini"
NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
REQUEST: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 60,
    "messages": [{"role": "user", "content": NOTES}],
}
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"
CREATE = "result = client.chat.completions.create(**request).choices[0].message.content"
ACREATE = "result = run(client.chat.completions.create(**request)).choices[0].message.content"
STREAM = (
    "result = ''.join(chunk.choices[0].delta.content or '' "
    "for chunk in client.chat.completions.create(**request, stream=True) if chunk.choices)"
)
MESSAGES = "result = client.messages.create(**request).content[0].text"


def _serve(told: Connection) -> None:
    with ChaosServer() as server:
        told.send(server.base_url)
        told.recv()


@contextmanager
def endpoint() -> Iterator[str]:
    """The base URL of an endpoint in another process."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        if not here.poll(60):
            raise WrongAnswerError("the endpoint did not start")
        yield here.recv()
    finally:
        here.send("end")
        process.join(10)


def _pair(what: str, code: str, bare: object, guarded: object, **names: object) -> Comparison:
    given = {"request": REQUEST, **names}
    floor = Subject("bare SDK", code, {"client": bare, **given}, ANSWER)
    return Comparison(what, floor, [Subject("guarded", code, {"client": guarded, **given}, ANSWER)])


def comparisons(url: str, stack: ExitStack) -> Iterator[Comparison]:
    """The shapes that programs use most, and the guards from light to full."""
    import anthropic
    import openai

    bare = stack.enter_context(openai.OpenAI(base_url=url, api_key="any"))
    claude = stack.enter_context(anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="any"))
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    aclient = openai.AsyncOpenAI(base_url=url, api_key="any")
    stack.callback(lambda: loop.run_until_complete(aclient.close()))
    memory = stack.enter_context(SpendLedger(":memory:"))
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    file = stack.enter_context(SpendLedger(Path(folder, "spend.db")))
    budget = Budget("bench", 1_000_000)
    run = loop.run_until_complete
    yield _pair("chat create, guard", CREATE, bare, guard(bare))
    yield _pair("chat create, guard with budget", CREATE, bare, guard(bare, budget=budget))
    yield _pair(
        "async chat create, guard with budget", ACREATE, aclient, guard(aclient, budget=budget), run=run
    )
    yield _pair("chat stream, guard with budget", STREAM, bare, guard(bare, budget=budget))
    yield _pair("messages create, guard with budget", MESSAGES, claude, guard(claude, budget=budget))
    yield _pair("chat create, guard with a ledger in memory", CREATE, bare, guard(bare, ledger=memory))
    booked = Budget("bench", 1_000_000, ledger=file)
    yield _pair(
        "chat create, guard with budget and ledger file",
        CREATE,
        bare,
        guard(bare, budget=booked, ledger=file),
    )


def added(figures: list[Figure]) -> list[Figure]:
    """What each guard adds to a call, with its aim: 50 us, or 2 % where that is more."""
    found = []
    for figure in figures:
        if figure.added is None or figure.floor_seconds is None:
            continue
        aim = None if "file" in figure.what else Aim(max(ADDED_S, (SHARE - 1) * figure.floor_seconds), "s")
        found.append(Figure(f"{figure.what}: added", "guarded", seconds=figure.added, aim=aim))
    return found


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    try:
        import anthropic
        import openai
    except ImportError as error:
        return [Figure("guarded calls", "guarded", note=f"not measured: {error}")]
    del anthropic, openai
    with ExitStack() as stack:
        figures = compare_all(comparisons(stack.enter_context(endpoint()), stack), effort)
    if coverage().passed_through or coverage().without_usage:
        raise WrongAnswerError(f"not every call was guarded:\n{coverage()}")
    return figures + added(figures)
