"""One process of ``techrevati proof``: a few agents, each in a thread, with the real SDKs.

The guarded ones have a budget, a breaker and a journal; the naive ones do what most programs do: look whether
there is money left, call, and count what it cost afterwards.  Both may be killed at any moment.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from decimal import Decimal
from functools import partial
from importlib import import_module
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.pricing import ModelPricing, cost_usd, register_pricing
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from typing import Any

    from techrevati.runtime.orchestrator import OrchestrationSession, Orchestrator

MODEL = "proof-model"
PRICES = ModelPricing(2.5, 10.0)
MAX_OUTPUT_TOKENS = 64
LEASE_S = 1.0  # of reservations and runs; whoever is killed is known to be dead after it
PATIENCE_S = 20.0  # for an outage
MONEY_PATIENCE_S = 2.0  # for money that others have reserved, and may give back

GUARDED, NAIVE = "guarded", "naive"
READY, DONE = "ready", "done"  # what a process says: before its first plan, after each
BOOKS, COUNTED, DIARY = "spend.db", "counted.db", "diary.txt"  # in the folder of a run


class Plan(NamedTuple):
    """What a process is told."""

    way: str
    folder: str
    openai_url: str
    anthropic_url: str
    limit_usd: str
    steps: int
    workers: list[int]


class Diary:
    """What happened in the world, one line each, in a file that every process appends to."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, DIARY)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, *words: object) -> None:
        """One line, whole."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    def has(self, *words: object) -> bool:
        """Whether that line is there."""
        with open(self._path, encoding="utf-8") as lines:
            return (" ".join(map(str, words)) + "\n") in lines


def key_of(worker: int) -> str:
    """The API key of a worker: the provider lists what each key used."""
    return f"proof-worker-{worker:02}"


def name_of(worker: int) -> str:
    """How the books and the journal know it."""
    return f"worker-{worker:02}"


def _client(sdk: str, plan: Plan) -> Any:
    """The client of a process; each agent has it with a key of its own, over the same connections."""
    module = import_module(sdk)
    if sdk == "openai":
        return module.OpenAI(base_url=plan.openai_url, api_key="any")
    return module.Anthropic(base_url=plan.anthropic_url, api_key="any")


def _send(client: Any, question: str) -> Any:
    """One call of the SDK; the two differ in little."""
    messages = [{"role": "user", "content": question}]
    if hasattr(client, "chat"):
        return client.chat.completions.create(
            model=MODEL, messages=messages, max_completion_tokens=MAX_OUTPUT_TOKENS
        )
    return client.messages.create(model=MODEL, messages=messages, max_tokens=MAX_OUTPUT_TOKENS)


def _question(worker: int, step: int) -> str:
    return f"Ticket {step} of clerk {worker}: what should we answer?"


def guarded(plan: Plan, sdk: str, opened: ExitStack) -> list[Callable[[], None]]:
    """The agents of this process with breaker, budget, ledger and journal; *opened* closes what is shared."""
    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import CircuitBreaker
    from techrevati.runtime.integrations import guard
    from techrevati.runtime.journal import Journal
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.orchestrator import Orchestrator
    from techrevati.runtime.retry_policy import Retry
    from techrevati.runtime.stores import SqliteStore

    diary = opened.enter_context(closing(Diary(plan.folder)))
    ledger = opened.enter_context(SpendLedger(os.path.join(plan.folder, BOOKS)))
    budget = Budget("proof", Decimal(plan.limit_usd), ledger=ledger, lease_seconds=LEASE_S)
    breaker = CircuitBreaker("provider", failure_threshold=2, recovery_timeout_seconds=0.4)
    store = opened.enter_context(closing(SqliteStore(os.path.join(plan.folder, "runs.db"))))
    journal = Journal(store, lease_seconds=LEASE_S)
    shared = opened.enter_context(_client(sdk, plan))

    def work(worker: int) -> None:
        client = guard(
            shared.with_options(api_key=key_of(worker)),
            project="proof",
            user=name_of(worker),
            budget=budget,
            breaker=breaker,
            ledger=ledger,
            retry=Retry(2, base_delay_seconds=0.1),
        )
        clerk = Orchestrator("clerk", "proof", journal=journal, run_id=name_of(worker))
        with ExitStack() as stack:
            session = _opened(clerk, stack)
            for step in range(plan.steps):
                asked = Event()
                session.run_turn(
                    partial(_ask, client, diary, worker, step, asked),
                    MODEL,
                    key=f"ask-{step}",
                    idempotent=True,
                )
                if not asked.is_set():
                    diary.write("recalled", worker, step)
                session.run_tool(
                    "answer ticket",
                    partial(diary.write, "done", worker, step),
                    key=f"answer-{step}",
                    verify=partial(diary.has, "done", worker, step),
                )

    return [partial(work, worker) for worker in plan.workers]


def _opened(clerk: Orchestrator, stack: ExitStack) -> OrchestrationSession:
    """The session of a run, whose owner may have been killed a moment ago."""
    from techrevati.runtime.journal import RunBusyError

    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return stack.enter_context(clerk.session())
        except RunBusyError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def _ask(client: Any, diary: Diary, worker: int, step: int, asked: Event) -> dict[str, object]:
    """One answer; waits for a provider that is down, and for money that others may give back."""
    from techrevati.runtime.budgets import BudgetExceededError
    from techrevati.runtime.circuit_breaker import CircuitOpenError
    from techrevati.runtime.failures import classify

    asked.set()
    begin = time.monotonic()
    while True:
        try:
            answer: dict[str, object] = _send(client, _question(worker, step)).model_dump(mode="json")
            return answer
        except CircuitOpenError as refusal:
            diary.write("spared", worker, step)
            wait_s = refusal.retry_after or 0.1
        except BudgetExceededError as refusal:
            if refusal.reason != "busy" or time.monotonic() > begin + MONEY_PATIENCE_S:
                diary.write("refused", worker, step)
                raise
            wait_s = refusal.retry_after or 0.1
        except Exception as error:
            if not classify(error).retryable:
                raise
            wait_s = 0.1
        if time.monotonic() > begin + PATIENCE_S:
            raise TimeoutError("the provider did not come back")
        time.sleep(min(max(wait_s, 0.02), 0.3))


def naive(plan: Plan, sdk: str, opened: ExitStack) -> list[Callable[[], None]]:
    """The same agents as most programs have them: check, call, count."""
    diary = opened.enter_context(closing(Diary(plan.folder)))
    shared = opened.enter_context(_client(sdk, plan))
    limit = Decimal(plan.limit_usd)
    path = os.path.join(plan.folder, COUNTED)

    def counted(worker: int, add: Decimal | None = None) -> Decimal:
        connection = sqlite3.connect(path, timeout=30)
        try:
            with connection:
                connection.execute("CREATE TABLE IF NOT EXISTS cost (worker TEXT, usd TEXT)")
                if add is not None:
                    connection.execute("INSERT INTO cost VALUES (?, ?)", (name_of(worker), str(add)))
            return sum((Decimal(row[0]) for row in connection.execute("SELECT usd FROM cost")), Decimal(0))
        finally:
            connection.close()

    def work(worker: int) -> None:
        client = shared.with_options(api_key=key_of(worker))  # with the SDK's own retries
        end = time.monotonic() + PATIENCE_S
        for step in range(plan.steps):
            while True:
                if counted(worker) >= limit:
                    diary.write("refused", worker, step)
                    return
                try:
                    answer = _send(client, _question(worker, step))
                    break
                except Exception:
                    if time.monotonic() > end:
                        raise
            counted(worker, cost_usd(MODEL, UsageSnapshot.from_response(answer)))
            diary.write("done", worker, step)

    return [partial(work, worker) for worker in plan.workers]


def serve(told: Connection, sdk: str) -> None:
    """Say that it is ready, do each plan that it is told, and say that, or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it ends it
    try:
        import_module(sdk)  # takes its time, and is not what is compared
        register_pricing(MODEL, PRICES)
        told.send(READY)
        while True:
            trouble = _do(told.recv(), sdk)
            told.send("; ".join(map(_named, trouble)) or DONE)
            if trouble:
                return
    except (EOFError, OSError):
        pass  # nobody wants anything any more
    except Exception as error:
        told.send(_named(error))


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _do(plan: Plan, sdk: str) -> list[BaseException]:
    """All agents of a plan, to their ends; what went wrong."""
    from techrevati.runtime.budgets import BudgetExceededError

    trouble: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BudgetExceededError:
            pass  # it is in the diary
        except BaseException as error:
            trouble.append(error)

    ways = {GUARDED: guarded, NAIVE: naive}
    with ExitStack() as opened:
        works = ways[plan.way](plan, sdk, opened)
        threads = [Thread(target=run, args=(work,), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return trouble
