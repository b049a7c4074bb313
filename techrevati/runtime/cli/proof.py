"""``techrevati proof``: one claim that can be shown to be wrong, and the run that would show it.

24 agents in four processes use the real SDKs on one budget that is too small for them.  The provider, an
endpoint on this machine that keeps the bill, goes down for a while; one process is killed with its calls
under way, and started again.  Then its bill is laid beside our books, agent by agent; and once more for the
same agents with a counter that is looked at before each call and moved after it.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.chaos.bill import NOTHING, Outcome
from techrevati.runtime.cli.proof_processes import LONGEST_S, AgentProcess, Crew, ProofError
from techrevati.runtime.cli.proof_worker import (
    BOOKS,
    COUNTED,
    DIARY,
    GUARDED,
    MODEL,
    NAIVE,
    PRICES,
    Plan,
    key_of,
    name_of,
)
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import register_pricing
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from techrevati.runtime.chaos import InjectedRecord

P = TypeVar("P", bound="argparse.ArgumentParser")

SDKS = ("openai", "anthropic")
PROCESSES, WORKERS, STEPS = 4, 24, 4
LIMIT = Decimal("0.02")
OUTAGE_S = (0.25, 1.45)  # since the first answer
LATENCY_S = 0.12  # of an answer, so that calls overlap as they do with a real provider
TRIES = 3
CLAIM = (
    "Many agents on one budget, an outage, a process killed and started again: what the provider bills is "
    "what our books say, and it is never more than the budget."
)


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "proof",
        help="24 agents, one budget, an outage and a SIGKILL: is the provider's bill what our books say?",
        description=f"{CLAIM} Runs the real SDKs (openai, anthropic; at least one must be installed) against "
        "an endpoint on this machine, and the same agents without us. Takes less than 30 seconds and no "
        "network.",
        epilog="Exit status: 0 the claim held, 1 it did not, 2 it could not begin.",
    )
    parser.add_argument("--keep", metavar="FOLDER", help="keep ledger, journal and diaries there")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to.

    Attributes:
        billed, booked: US dollars, by the provider and by the books of the run.
        difference: Summed over the agents, each without its sign, so that nothing cancels out.
        calls, refused, spared: Billed; refused for want of money; not sent as the provider was down.
        sent_in_vain: Requests that met the outage.
        doubts: Calls that the killed process left, booked by what the provider lists for its keys.
        recalled: Steps whose answer came from the journal.
        repeated: Steps that were done twice.
        done: Steps that were done.
        seconds: How long it took, with its agents' SDKs imported before.
    """

    billed: Decimal
    booked: Decimal
    difference: Decimal
    calls: int
    refused: int
    spared: int
    sent_in_vain: int
    doubts: int
    recalled: int
    repeated: int
    done: int
    seconds: float

    @property
    def over(self) -> Decimal:
        """How much more than the limit was spent."""
        return max(self.billed - LIMIT, Decimal(0))

    @property
    def holds(self) -> bool:
        """Whether the claim is true of it."""
        return not self.difference and not self.over and not self.repeated


class Stopwatch:
    """The provider's clock: it stands still until the first answer was given."""

    def __init__(self) -> None:
        self._began_s: float | None = None

    def seen(self, record: InjectedRecord) -> None:
        """Told of every request that ended."""
        if self._began_s is None and record.outcome is Outcome.COMPLETE and record.cost_usd:
            self._began_s = time.monotonic()

    def __call__(self) -> float:
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s


class _MissedError(ProofError):
    """The agents had ended before there was a moment to kill one: a machine that is busy with others."""


def run(options: argparse.Namespace) -> int:
    """Both runs and their table; returns the exit status."""
    sdks = [name for name in SDKS if find_spec(name) is not None]
    if not sdks:
        sys.stderr.write(
            "techrevati proof: it drives the real SDKs and finds neither; pip install openai anthropic\n"
        )
        return 2
    register_pricing(MODEL, PRICES)
    folder = options.keep or tempfile.mkdtemp(prefix="techrevati-proof-")
    began = time.monotonic()
    crew: Crew | None = None
    results = {}
    try:
        for way in (GUARDED, NAIVE):
            os.makedirs(os.path.join(folder, way))
        crew = Crew(sdks, PROCESSES, spares=2)
        started = time.monotonic()
        for way in (GUARDED, NAIVE):
            results[way] = _killed_in_time(way, os.path.join(folder, way), crew)
    except FileExistsError:
        sys.stderr.write(f"techrevati proof: there is a proof in {folder} already; choose another folder\n")
        return 2
    except ProofError as error:
        sys.stderr.write(f"techrevati proof: {error}\n")
        return 2
    finally:
        if crew is not None:
            crew.close()
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    ours, theirs = results[GUARDED], results[NAIVE]
    if options.json:
        sys.stdout.write(json.dumps({way: _plain(one) for way, one in results.items()}, indent=2) + "\n")
    else:
        took = f"{time.monotonic() - began:.1f} s, {started - began:.1f} s of them to start the agents."
        sys.stdout.write("\n".join((*_told(ours, theirs, sdks), took)) + "\n")
    return 0 if ours.holds else 1


def _killed_in_time(way: str, folder: str, crew: Crew) -> Figures:
    """A run in which a process was killed; one that missed the moment proves nothing and is made again."""
    for _ in range(TRIES - 1):
        try:
            return _result(way, folder, crew)
        except _MissedError:
            shutil.rmtree(folder)
            os.makedirs(folder)
    return _result(way, folder, crew)


def _result(way: str, folder: str, crew: Crew) -> Figures:
    """One run, from the first agent's start to its books."""
    began = time.monotonic()
    down = Rule(Fault(FaultKind.UNAVAILABLE), from_s=OUTAGE_S[0], until_s=OUTAGE_S[1])
    slow = Rule(Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=LATENCY_S))
    workers = [list(range(first, WORKERS, PROCESSES)) for first in range(PROCESSES)]
    scenario, stopwatch = Scenario("proof", (down, slow)), Stopwatch()
    with ChaosServer(
        scenario, models=(MODEL,), prices={MODEL: PRICES}, on_request=stopwatch.seen, clock=stopwatch
    ) as server:

        def plan(theirs: list[int]) -> Plan:
            return Plan(way, folder, server.base_url, server.anthropic_base_url, str(LIMIT), STEPS, theirs)

        for worker in range(WORKERS):
            _introduce(server, worker)
        for process, theirs in zip(crew.processes, workers, strict=True):
            process.tell(plan(theirs))
        # Every second process has the SDK of those that wait to take a killed one's place.
        moment = _with_calls_under_way(server, crew.processes[::2], workers[::2])
        if moment is not None:
            crew.replace(moment * 2).tell(plan(workers[moment * 2]))
        for process in crew.processes:
            process.wait_done()
        if moment is None:
            raise _MissedError("the agents did not get as far as the kill")
        server.wait_idle()
        return _figures(way, folder, server, time.monotonic() - began)


def _with_calls_under_way(
    server: ChaosServer, processes: list[AgentProcess], workers: list[list[int]]
) -> int | None:
    """The first process whose agents have something to lose: two answers, and the next call under way.
    None when all have ended before that."""
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        asked = [record for record in server.injected if record.fault is FaultKind.SLOW_FIRST_TOKEN]
        answered = {record.credential for record in asked if record.outcome is Outcome.COMPLETE}
        running = {record.credential for record in asked if record.outcome is Outcome.RUNNING}
        for number, theirs in enumerate(workers):
            keys = {worker + 1 for worker in theirs}
            if len(keys & answered) >= 2 and keys & answered & running:
                return number
        done = [process.seems_done() for process in processes]  # each is looked at: one may have failed
        if all(done):
            return None
        time.sleep(0.005)
    raise ProofError(f"the agents did not get as far as the kill within {LONGEST_S:g} s")


def _introduce(server: ChaosServer, worker: int) -> None:
    """Have the provider number the agents' keys in their order; listing models costs nothing."""
    request = urllib.request.Request(
        f"{server.base_url}/models", headers={"authorization": f"Bearer {key_of(worker)}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()


def _figures(way: str, folder: str, server: ChaosServer, seconds: float) -> Figures:
    """The provider's bill and our books, agent by agent."""
    bill: dict[str, Decimal] = {}
    listed: dict[str, list[UsageSnapshot]] = {}
    for worker in range(WORKERS):
        name = name_of(worker)
        mine = [record for record in server.injected if record.credential == worker + 1]
        bill[name] = sum((record.cost_usd or Decimal(0) for record in mine), Decimal(0))
        listed[name] = [record.billed.snapshot() for record in mine if record.billed != NOTHING]
    doubts = 0
    if way == GUARDED:
        with SpendLedger(os.path.join(folder, BOOKS)) as ledger:
            doubts = _resolved(ledger, listed)
            books = {str(group.group): group.cost for group in ledger.by("user")}
    else:
        books = _counted(os.path.join(folder, COUNTED))
    with open(os.path.join(folder, DIARY), encoding="utf-8") as lines:
        diary = [line.split()[0] for line in lines]
    with open(os.path.join(folder, DIARY), encoding="utf-8") as lines:
        done = [line for line in lines if line.startswith("done ")]
    return Figures(
        billed=sum(bill.values(), Decimal(0)),
        booked=sum(books.values(), Decimal(0)),
        difference=sum(
            (abs(bill.get(name, Decimal(0)) - books.get(name, Decimal(0))) for name in {*bill, *books}),
            Decimal(0),
        ),
        calls=server.bill.billed_requests,
        refused=diary.count("refused"),
        spared=diary.count("spared"),
        sent_in_vain=sum(record.fault is FaultKind.UNAVAILABLE for record in server.injected),
        doubts=doubts,
        recalled=diary.count("recalled"),
        repeated=len(done) - len(set(done)),
        done=len(set(done)),
        seconds=seconds,
    )


def _resolved(ledger: SpendLedger, listed: Mapping[str, list[UsageSnapshot]]) -> int:
    """Settle each call that the killed process left as the request that the provider lists and our books do
    not have, if there is one; how many there were.  What else differs stays a difference."""
    end = time.monotonic() + LONGEST_S
    while len(ledger.doubts()) < len(ledger.leases()):  # until the leases of the dead are over
        if time.monotonic() > end:
            raise ProofError("reservations of living agents were left open")
        time.sleep(0.05)
    doubts = ledger.doubts()
    for doubt in doubts:
        name = str(doubt.about["user"])
        known = Counter(_size(record.usage) for record in ledger.records(user=name))
        unknown = Counter(map(_size, listed[name])) - known
        if unknown:
            ledger.resolve(doubt.key, usage=UsageSnapshot(*min(unknown)))
        else:
            ledger.resolve(doubt.key, not_sent=True)
    return len(doubts)


def _size(usage: UsageSnapshot) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


def _counted(path: str) -> dict[str, Decimal]:
    connection = sqlite3.connect(path)
    try:
        sums: dict[str, Decimal] = {}
        for worker, usd in connection.execute("SELECT worker, usd FROM cost"):
            sums[worker] = sums.get(worker, Decimal(0)) + Decimal(usd)
        return sums
    finally:
        connection.close()


def _told(ours: Figures, theirs: Figures, sdks: list[str]) -> Iterator[str]:
    """The table, and what it says."""
    yield CLAIM
    yield (
        f"{WORKERS} agents, {PROCESSES} processes, {' and '.join(sdks)}; "
        f"${LIMIT} for {WORKERS * STEPS} calls; "
        f"the provider down for {OUTAGE_S[1] - OUTAGE_S[0]:g} s; one process killed and started again."
    )
    yield ""
    rows = [
        ("", "guarded", "counting after the call"),
        ("the provider's bill", _usd(ours.billed), _usd(theirs.billed)),
        ("our books", _usd(ours.booked), _usd(theirs.booked)),
        ("difference, agent by agent", _usd(ours.difference), _usd(theirs.difference)),
        (f"over the budget of {_usd(LIMIT)}", _usd(ours.over), _usd(theirs.over)),
        ("calls that were answered", str(ours.calls), str(theirs.calls)),
        ("agents refused, as no money was left", str(ours.refused), str(theirs.refused)),
        ("requests sent to a provider that was down", str(ours.sent_in_vain), str(theirs.sent_in_vain)),
        ("calls under way when killed, settled afterwards", str(ours.doubts), "unknown"),
        ("steps done", str(ours.done), str(theirs.done)),
        ("steps answered from the journal after the kill", str(ours.recalled), "0"),
        ("steps repeated after the kill", str(ours.repeated), str(theirs.repeated)),
        ("seconds", f"{ours.seconds:.1f}", f"{theirs.seconds:.1f}"),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield f"  {row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}".rstrip()
    yield ""
    if ours.doubts:
        yield (
            "What a killed process had under way is in doubt until somebody looks at the provider's list of "
            "requests; that was done here, as `techrevati doubts` does it."
        )
    yield "The claim holds." if ours.holds else "THE CLAIM DOES NOT HOLD."


def _usd(amount: Decimal) -> str:
    return f"${amount.normalize():f}" if amount else "$0"


def _plain(one: Figures) -> dict[str, object]:
    found = {**asdict(one), "over": one.over, "limit": LIMIT}
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in found.items()}
