"""What a guard adds to a call of the real SDK, against the chaos endpoint on loopback, in pairs.

The endpoint is a process of its own, so that its work is not ours.  A pair is one bare call and one guarded
call, one right after the other, the first of them in turn; each is timed twice, by the clock and by the
processor time of this process.  What decides is the median over the pairs of the difference, in
microseconds: by the clock it is what a program waits, but on a machine with other work that is mostly the
others' work; the processor time is ours alone (a guard without a file waits for nothing).  It may be 50 us,
or 2 % of the quickest bare call of the run.

Of the guards the first has a breaker, a retry and coverage; then come a budget in memory, a budget and books
in memory, and both in a file, whose price is SQLite's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from benchmarks.harness import Aim, Effort, Figure, Pairs, Subject, Timed, WrongAnswerError
from techrevati.runtime.budgets import Budget
from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.integrations import coverage, guard
from techrevati.runtime.ledger import SpendLedger

ADDED_S, SHARE = 50e-6, 0.02
CALLS = 2  # pairs for each round of the effort
MODEL = "gpt-5-mini"
NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
REQUEST: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 60,
    "messages": [{"role": "user", "content": NOTES}],
}
CLAUDE: dict[str, Any] = {**REQUEST, "model": "claude-sonnet-5"}
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"
CREATE = "result = client.chat.completions.create(**request).choices[0].message.content"
ACREATE = "result = run(client.chat.completions.create(**request)).choices[0].message.content"
STREAM = (
    "result = ''.join(chunk.choices[0].delta.content or '' "
    "for chunk in client.chat.completions.create(**request, stream=True) if chunk.choices)"
)
AMESSAGES = "result = run(client.messages.create(**request)).content[0].text"
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


class Pair(NamedTuple):
    """One shape of calls, bare and guarded; *aimed* unless a database is a part of it."""

    what: str
    code: str
    bare: object
    guarded: object
    run: Callable[[Any], Any] | None = None
    aimed: bool = True

    def halves(self) -> tuple[Timed, Timed]:
        """The bare call and the guarded one, each with its answer checked."""
        made = []
        for name, client in (("bare SDK", self.bare), ("guarded", self.guarded)):
            request = CLAUDE if hasattr(client, "messages") else REQUEST
            names = {"client": client, "request": request, "run": self.run}
            made.append(Timed(Subject(name, self.code, names, ANSWER)))
            made[-1].checked()
        return made[0], made[1]


def pairs(url: str, stack: ExitStack) -> Iterator[Pair]:
    """openai and anthropic, sync and async, from the light guard to the full one, and streams."""
    import anthropic
    import openai

    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    run = loop.run_until_complete
    site = url.removesuffix("/v1")
    chat = stack.enter_context(openai.OpenAI(base_url=url, api_key="any"))
    achat = openai.AsyncOpenAI(base_url=url, api_key="any")
    claude = stack.enter_context(anthropic.Anthropic(base_url=site, api_key="any"))
    aclaude = anthropic.AsyncAnthropic(base_url=site, api_key="any")
    stack.callback(lambda: run(achat.close()))
    stack.callback(lambda: run(aclaude.close()))
    memory = stack.enter_context(SpendLedger(":memory:"))
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    file = stack.enter_context(SpendLedger(Path(folder, "spend.db")))
    shapes: tuple[tuple[str, str, Any, Any], ...] = (
        ("openai", CREATE, chat, None),
        ("openai async", ACREATE, achat, run),
        ("anthropic", MESSAGES, claude, None),
        ("anthropic async", AMESSAGES, aclaude, run),
    )
    for who, code, client, runs in shapes:
        kept = Budget(f"{who} kept", 1_000_000, ledger=memory)
        filed = Budget(f"{who} filed", 1_000_000, ledger=file)
        budget = Budget(who, 1_000_000)
        yield Pair(f"{who}, guard", code, client, guard(client), runs)
        yield Pair(f"{who}, guard with budget", code, client, guard(client, budget=budget), runs)
        for where, booked, ledger in (("memory", kept, memory), ("a file", filed, file)):
            guarded = guard(client, budget=booked, ledger=ledger)
            yield Pair(f"{who}, guard with budget and ledger in {where}", code, client, guarded, runs, False)
    streamed = guard(chat, budget=Budget("streams", 1_000_000))
    yield Pair("openai stream, guard with budget", STREAM, chat, streamed)


def measured(pair: Pair, effort: Effort) -> list[Figure]:
    """What the guard of *pair* adds, by the clock and in processor time; with its aim, 50 us or 2 %."""
    bare, guarded = pair.halves()
    clocks = (effort.clock, process_time)
    samples: list[Pairs] = [Pairs() for _ in clocks]
    for number in range(effort.rounds * CALLS):
        took: dict[Timed, list[float]] = {}
        for half in (bare, guarded) if number % 2 == 0 else (guarded, bare):
            began = [clock() for clock in clocks]
            half.once()
            took[half] = [clock() - then for clock, then in zip(clocks, began, strict=True)]
        for at, found in enumerate(samples):
            found.ours.append(took[guarded][at])
            found.floors.append(took[bare][at])
    figures = []
    quiet_s = min(samples[0].floors)  # what the bare call takes when nothing else runs
    aim = Aim(max(ADDED_S, SHARE * quiet_s), "s") if pair.aimed else None
    for how, found in zip(("by the clock", "processor time"), samples, strict=True):
        whole = found.figure(f"{pair.what}: {how}", "guarded")
        added_s = whole.added or 0.0
        note = f"{100 * added_s / quiet_s:.1f} % of the quickest bare call, {quiet_s * 1e6:.0f} us"
        figures.append(whole)
        figures.append(Figure(f"{pair.what}: added, {how}", "guarded", seconds=added_s, aim=aim, note=note))
    return figures


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    try:
        import anthropic
        import openai
    except ImportError as error:
        return [Figure("guarded calls", "guarded", note=f"not measured: {error}")]
    del anthropic, openai
    with ExitStack() as stack:
        made = pairs(stack.enter_context(endpoint()), stack)
        figures = [figure for pair in made for figure in measured(pair, effort)]
    if coverage().passed_through or coverage().without_usage:
        raise WrongAnswerError(f"not every call was guarded:\n{coverage()}")
    return figures
