"""Runs in a store: who has one open, what it did, and what is in doubt."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from techrevati.runtime._core import arguments as check
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.journal.codec import JsonCodec
from techrevati.runtime.journal.core import ended, latest, orphaned
from techrevati.runtime.journal.lease import Lease
from techrevati.runtime.journal.owner import is_dead, owner_here
from techrevati.runtime.journal.run import RunJournal
from techrevati.runtime.journal.vocabulary import IN_DOUBT, INTENT, NOT_DONE, JournalError, RunBusyError, Step
from techrevati.runtime.stores.protocol import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from techrevati.runtime.journal.codec import Codec
    from techrevati.runtime.stores.protocol import Store

RUNS = "journal/run/"
STEPS = "journal/steps/"
_PAGE = 1000


class RunSummary(NamedTuple):
    """One run at a glance.

    Attributes:
        run_id: Its name.
        state: "running", "interrupted" (its owner is gone), "waiting", "completed", "failed" or "cancelled".
        steps: How many it has on record.
        spent_picodollars: What they cost.
        in_doubt: Keys of the steps of which nobody knows whether they happened; a question that waits for
            its answer is none.
    """

    run_id: str
    state: str
    steps: int
    spent_picodollars: Fraction
    in_doubt: tuple[str, ...]


class Journal:
    """What happened in every run, so that a killed one goes on where it was.

    Thread-safe; over a shared store also for processes.  Arguments are kept as hashes, results as the codec
    stores them.  Records of runs are kept until :meth:`forget`.

    Args:
        store: Where it lives; may also hold the ledger, budgets, approvals and breakers.
        codec: Stores results; JSON when None.
        redact: Goes over every text of a result before the JSON codec stores it: a resumed step then returns
            the redacted text.  None takes credentials, the secrets of the environment and what stands under
            names such as ``api_key`` out, as a session does for its events; ``redact=str`` stores texts as
            they are.
        lease_seconds: How long a run stays with an owner that gives no sign of life, > 0.  It is renewed
            while the run is open; an owner on this machine whose process is dead is seen at once.
        durability: What survives a power failure (everything survives the death of the process).
            ``"intents"``: that a step began, unless it is idempotent, before it does; how it ended, once the
            next such step begins or the run is closed, so that a finished step may at worst come back in
            doubt.  ``"full"``: each write, before anybody acts on it.
        max_steps: How many steps one run may have, >= 1; an open run keeps them in memory.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        *,
        codec: Codec | None = None,
        redact: Callable[[str], str] | None = None,
        lease_seconds: float = 30.0,
        durability: str = "intents",
        max_steps: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store: Store = store
        self.codec: Codec = _codec(redact) if codec is None else codec
        self.lease_s: float = check.positive("lease_seconds", lease_seconds)
        if durability not in ("intents", "full"):
            raise ValueError(f"durability must be 'intents' or 'full', got {durability!r}")
        self.syncs_outcomes: bool = durability == "full"
        self.max_steps: int = check.count("max_steps", max_steps, minimum=1)
        self.clock: Callable[[], float] = clock

    def open(self, run_id: str) -> RunJournal:
        """Own a run, new or begun before; close it with ``with`` or :meth:`RunJournal.close`.

        Raises:
            RunBusyError: Somebody else owns it.
        """
        check.name("run_id", run_id)
        owner = owner_here()
        key = RUNS + run_id

        def decide(records: Mapping[str, bytes | None]) -> Change[None]:
            raw, now_s = records[key], self.clock()
            there = {} if raw is None else _loads(raw)
            if there.get("owner") and there["until"] > now_s and not is_dead(there["owner"]):
                raise RunBusyError(run_id, "somebody else has it open", there["until"] - now_s)
            record = {"owner": owner, "until": now_s + self.lease_s, "state": "running"}
            return Change(None, {key: _dumps(record)})

        self.store.update([key], decide)
        steps = {name: orphaned(step) for name, step in self._steps(run_id).items()}
        lease = Lease(self.store, key, run_id, owner, self.lease_s, self.clock)
        return RunJournal(self, run_id, steps, lease)

    def steps(self, run_id: str) -> tuple[Step, ...]:
        """What is on record of a run, in the order in which steps began; those under way look like it."""
        return tuple(step for step in self._steps(run_id).values() if step.state != NOT_DONE)

    def resolve(self, run_id: str, key: str, *, happened: bool, result: object = None) -> None:
        """Say of a step in doubt whether its effect happened, and with what result.

        Raises:
            RunBusyError: The run is open.
            JournalError: The step is not in doubt.
        """
        with self.open(run_id) as run:
            run._state = "interrupted"
            step = run.recorded.get(key)
            if step is None or step.state != IN_DOUBT:
                raise JournalError(run_id, f"step {key!r} is not in doubt")
            if happened:
                settled = ended(step, self.clock(), result=self.codec.encode(result))
            else:
                settled = step._replace(state=NOT_DONE, at_s=self.clock())
            run._write(settled, durable=True)

    def answer(self, run_id: str, value: str, *, key: str | None = None) -> None:
        """Answer the question of a run that waits for input and that nobody has open; its next life goes on
        with *value*.

        Args:
            run_id: The run.
            value: What ``pause_for_input`` returns then.
            key: Which question, when there are several.

        Raises:
            RunBusyError: The run is open: answer it there, with ``provide_input``.
            JournalError: It has no open question, or several and no *key* was given.
        """
        waiting = [step.key for step in self.steps(run_id) if step.kind == "input" and step.state == INTENT]
        if key is None and len(waiting) == 1:
            key = waiting[0]
        if key not in waiting:
            raise JournalError(run_id, f"it waits for {len(waiting) or 'no'} answers; got key={key!r}")
        self.resolve(run_id, key, happened=True, result=value)

    def runs(self, *, limit: int = 1000) -> tuple[RunSummary, ...]:
        """Runs by name; at most *limit*."""
        return tuple(self.run(key.removeprefix(RUNS)) for key in self.store.keys(RUNS, limit=limit))

    def run(self, run_id: str) -> RunSummary:
        """One run at a glance.

        Raises:
            JournalError: There is none of that name.
        """
        found = self.store.load(RUNS + check.name("run_id", run_id))
        if found is None:
            raise JournalError(run_id, "there is no such run")
        record = _loads(found.value)
        owner, state = record.get("owner"), str(record["state"])
        gone = not owner or record["until"] <= self.clock() or is_dead(owner)
        if state == "running" and gone:
            state = "interrupted"
        steps = list(self.steps(run_id))
        if gone:
            steps = [orphaned(step) for step in steps]
        open_steps = [step for step in steps if step.state == IN_DOUBT]
        if state in ("interrupted", "cancelled") and any(step.kind == "input" for step in open_steps):
            state = "waiting"  # a question may be put again: it is no doubt
        doubts = tuple(step.key for step in open_steps if step.kind != "input")
        spent = sum((Fraction(step.cost_picodollars) for step in steps), Fraction(0))
        return RunSummary(run_id, state, len(steps), spent, doubts)

    def forget(self, run_id: str) -> None:
        """Remove a run that nobody has open, with all its steps.

        Raises:
            RunBusyError: Somebody has it open.
        """
        run = self.open(run_id)
        entries = self.store.read(STEPS + run_id, limit=_PAGE)
        while entries:
            self.store.trim(STEPS + run_id, entries[-1].sequence)
            entries = self.store.read(STEPS + run_id, limit=_PAGE)
        run.close("forgotten")
        key = RUNS + run_id
        self.store.update([key], lambda _: Change(None, {key: None}))

    def history(self, run_id: str) -> Iterator[Step]:
        """Everything on record of a run, in the order in which it was written.

        A step comes once as it begins and once as it ends, with "not_done" when somebody said so of one in
        doubt, and again for each further attempt.
        """
        check.name("run_id", run_id)
        after = 0
        while entries := self.store.read(STEPS + run_id, after=after, limit=_PAGE):
            for entry in entries:
                yield Step(*_loads(entry.value))
            after = entries[-1].sequence

    def _steps(self, run_id: str) -> dict[str, Step]:
        return latest(self.history(run_id))

    def _closed(self, run_id: str) -> None:
        """A run was closed."""


def _loads(raw: bytes) -> Any:
    import json

    return json.loads(raw)


def _codec(redact: Callable[[str], str] | None) -> JsonCodec:
    if redact is not None:
        return JsonCodec(redact)
    redactor = Redactor()
    return JsonCodec(
        lambda text: redactor.text(text, max_length=max(len(text), 1)),  # a result is never cut
        redactor.hides,
    )


def _dumps(value: object) -> bytes:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
