"""A run of the demo that may be killed: its journal, its lives, and what is said of both.

Each role is a run of its own in the journal.  One more, under which they stand, is open from the first step
to the last: it keeps other processes out, knows which program this is, and has the one step that leaves a
trace in the world.  What is in doubt after a death is decided in here, and told.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.cli.demo_provider import Billed, Provider, ProviderError, billed
from techrevati.runtime.cli.dying_store import DyingStore
from techrevati.runtime.journal import (
    Happened,
    Journal,
    JournalError,
    ReplayMismatchError,
    RunBusyError,
    Step,
)
from techrevati.runtime.stores import SqliteStore, StoreError
from techrevati.runtime.stores.protocol import Change
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from techrevati.runtime.cli.demo_program import Program
    from techrevati.runtime.cli.demo_spend import Books
    from techrevati.runtime.cli.terminal import Terminal
    from techrevati.runtime.journal import RunJournal
    from techrevati.runtime.orchestrator import OrchestrationSession

    T = TypeVar("T")

LEASE_S = 10.0  # where the death of an owner cannot be seen, its run is free after that
ROLES = ("researcher", "writer", "editor", "abridger")
_RECORD = "demo"  # the run that was begun last in this store


class LivesError(TechrevatiError, RuntimeError):
    """There is nothing to go on with, or it may not be; the text is the line that the user sees."""


def lives_files(events: Path) -> tuple[Path, Path, Path]:
    """The journal, the provider's bill, and what the demo publishes: beside the events."""
    return (
        events.with_name("runs.db"),
        events.with_name("demo-bill.jsonl"),
        events.with_name("demo-answers.md"),
    )


def last_program(events: Path) -> dict[str, Any]:
    """What the run that was begun last beside *events* was asked.

    Raises:
        LivesError: There is none.
    """
    journal_file = lives_files(events)[0]
    if not journal_file.is_file():
        raise LivesError(f"there is nothing to resume: no {journal_file} here; see --kill-at")
    try:
        with closing(SqliteStore(journal_file)) as store:
            program: dict[str, Any] = _record(store, journal_file)["program"]
    except StoreError as error:
        raise LivesError(f"there is nothing to resume: {error}") from None
    return program


class Lives:
    """One run of the demo in this process: its first life, or a later one.

    Use it with ``with``; leaving it without :meth:`ended` leaves a run that can be resumed.

    Args:
        events: Where the events are; everything lies beside them.
        program: What is run.
        resume: Go on with the run that was begun last.
        kill_at: Die at that entry of the journal.

    Attributes:
        journal: For the orchestrators.
        run: The name of the run, also on the books.
        life: From 1.
        provider: The process that plays the provider; None for a real one.
        on_recalled: Told the role and the key of each step that is answered from the journal.

    Raises:
        LivesError: It cannot be begun or gone on with.
    """

    def __init__(
        self, events: Path, program: Program, terminal: Terminal, *, resume: bool, kill_at: int | None
    ) -> None:
        self._events, self._program, self._terminal = events, program, terminal
        self._file, self._bill, self._answers = lives_files(events)
        self._kill_at = kill_at
        self._opened: list[RunJournal] = []
        self._counts: dict[str, int] = {}
        self._doubts: list[str] = []
        self._found_done: set[tuple[str, str]] = set()
        self._is_over = False
        self.provider: Provider | None = None
        self.on_recalled: Callable[[str, str], object] = lambda role, key: None
        self._has_forgotten = False  # the provider was started anew, and knows nothing of earlier answers
        try:
            self._store = DyingStore(self._file, kill_at, self._last_words)
        except StoreError as error:
            raise LivesError(str(error)) from None
        try:
            self.journal: Journal = _Watched(self._store, self._opened)
            self._before = _record(self._store, self._file) if resume else self._first()
            self.run: str = self._before["run"]
            self.life: int = self._before["lives"] + 1
            self._whole = self._taken(resume)
        except BaseException:
            self._store.close()
            raise

    def _first(self) -> dict[str, Any]:
        """A new run, unless one is under way here."""
        if self._store.load(_RECORD) is not None:
            before = _record(self._store, self._file)
            if self._is_under_way(before["run"]):
                raise LivesError(f"run {before['run']} is under way here in another process")
            if before["provider"] is not None:
                Provider(before["provider"]).stop()  # nobody will ask it any more
        return {"run": f"demo-{os.urandom(4).hex()}", "lives": 0, "provider": None}

    def _is_under_way(self, run: str) -> bool:
        try:
            return self.journal.run(run).state == "running"
        except JournalError:  # it died before it had a journal
            return False

    def _taken(self, resume: bool) -> RunJournal:
        """The run above those of the roles, open; it may be another program, or somebody else's."""
        program = self._program
        try:
            if resume and self.journal.run(self.run).state == "completed":
                raise LivesError(f"run {self.run} is finished; without --resume another one begins")
            whole = self.journal.open(self.run)
        except RunBusyError as busy:
            wait = (
                ""
                if busy.retry_after is None
                else f"; if that has died, try again in {busy.retry_after:.0f} s"
            )
            raise LivesError(f"run {self.run} is under way in another process{wait}") from None
        except (JournalError, StoreError) as error:
            raise LivesError(str(error)) from None
        try:
            if resume:
                changed = program.differences(self._before["program"])
                if changed:
                    told = " and ".join(changed)
                    raise LivesError(
                        f"run {self.run} was begun with another program: {told} changed since; "
                        "without --resume another run begins"
                    )
            return whole
        except BaseException:
            whole.close("interrupted")
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with closing(self._store):
            self._whole.close("completed" if self._is_over else "failed" if error is None else "interrupted")
            if self._is_over and self.provider is not None:
                self.provider.stop()

    # --- begin ---------------------------------------------------------------------------------------------

    def begin(self, victim: str = "") -> str:
        """Be on record as a life of this run; returns where the provider of the demo is.

        Args:
            victim: For that provider.

        Raises:
            LivesError: There is no provider to be had, or the record says that this is another program.
        """
        if self._program.address is None:
            known = self._before["provider"]
            found = None if known is None else Provider(known)
            if found is None or not found.is_alive():
                self._has_forgotten = found is not None
                try:
                    found = Provider.started(victim, self._bill, self.run)
                except ProviderError as error:
                    raise LivesError(str(error)) from None
            self.provider = found
        record = {
            "run": self.run,
            "lives": self.life,
            "program": self._program.facts(),
            "provider": None if self.provider is None else self.provider.facts,
        }
        self._store.update([_RECORD], lambda _: Change(None, {_RECORD: json.dumps(record).encode()}))
        return "" if self.provider is None else self.provider.base_url

    def enter_program(self) -> None:
        """Put on record which program this is, or be refused by what is there."""
        facts = self._program.facts()

        def again() -> bool:
            self._decided("", "program", "it only says what is run; done again")
            return False

        try:
            self._whole.step("program", lambda: self.run, arguments=facts, verify=again)
        except ReplayMismatchError as error:
            raise LivesError(f"{error}; without --resume another run begins") from None

    def introduce(self) -> None:
        """Say which life this is, and what the one before left."""
        head = "Journal   "
        if self.life == 1:
            self._terminal.line(f"run {self.run} in {self._file}", head=head)
            return
        steps = [(role, step) for role in ("", *ROLES) for step in self.journal.steps(self._named(role))]
        open_steps = [_told(role, step.key) for role, step in steps if step.state == "intent"]
        told = f"run {self.run} in {self._file}, life {self.life}: {len(steps)} steps on record, "
        told += f"in doubt: {'; '.join(open_steps)}" if open_steps else "none in doubt"
        self._terminal.line(told, head=head)
        self._terminal.line(
            "Circuit breakers begin closed in each life: what is left may ask other models, in other turns.",
            head=" " * 10,
        )
        if self._has_forgotten:
            self._terminal.line(
                "Its endpoint had ended and begins again; what it answered is lost.", head=" " * 10
            )

    # --- steps ---------------------------------------------------------------------------------------------

    def role_run(self, role: str) -> str:
        """The run of a role."""
        return self._named(role)

    def next_key(self, role: str, kind: str) -> str:
        """The key of the next step of that kind: the same one in each life."""
        number = self._counts[role + kind] = self._counts.get(role + kind, 0) + 1
        return f"{kind} {number}"

    @contextmanager
    def told_if_recalled(self, session: OrchestrationSession, key: str) -> Iterator[None]:
        """Around a step: say so if it is answered from the journal, as an earlier life left it."""
        before = session.run.replayed
        try:
            yield
        finally:
            if session.run.replayed > before and (session.role, key) not in self._found_done:
                self.on_recalled(session.role, key)

    def about(self, role: str, key: str) -> dict[str, str] | None:
        """What the provider is to store an answer under; None where it stores nothing."""
        return {"run": self.run, "step": f"{role}/{key}"} if self._can_look_up else None

    @property
    def _can_look_up(self) -> bool:
        return self.provider is not None and self._program.sdk != "anthropic"

    def answered(self, role: str, key: str) -> dict[str, Any] | None:
        """Decide a turn in doubt: the answer that the provider has, or None to ask (again)."""
        if not self._can_look_up or self._has_forgotten:
            self._decided(role, key, "nobody can look it up; asked again, so that it may be paid twice")
            return None
        found = self._looked_up(step=f"{role}/{key}")
        if not found:
            self._decided(role, key, "the provider never answered it; asked now")
            return None
        self._decided(role, key, "the provider has its answer, paid for once; taken from there")
        self._found_done.add((role, key))
        return found[0]

    def may_repeat(self, role: str, key: str, name: str) -> bool:
        """Decide a tool in doubt: those of the demo only read."""
        self._decided(role, key, f"{name} only reads; done again")
        return False

    def used_by(self, request: str) -> UsageSnapshot | None:
        """What the provider billed for a request whose answer never came; None when it has none."""
        found = self._looked_up(request=request)
        return UsageSnapshot.from_response(found[0]) if found else None

    def _looked_up(self, **metadata: str) -> list[dict[str, Any]]:
        if self.provider is None or not self._can_look_up:
            return []
        try:
            return self.provider.stored(run=self.run, **metadata)
        except ProviderError:
            self._has_forgotten = True
            return []

    def publish(self, question: str, answer: str) -> str:
        """Append the answer to a file: the one step that the world would see twice; returns what was done."""
        mark = f"<!-- {self.run} -->"

        def append() -> str:
            handle = os.open(self._answers, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                text = f"{mark}\n## {question}\n\n{answer.strip()}\n\n"
                text = Redactor().text(text, max_length=len(text))
                os.write(handle, text.encode("utf-8", "replace"))
            finally:
                os.close(handle)
            return str(self._answers)

        def published() -> bool | Happened:
            if self._answers.is_file() and mark in self._answers.read_text(encoding="utf-8"):
                self._decided("", "publish", f"the answer is in {self._answers}; not repeated")
                self._found_done.add(("", "publish"))
                return Happened(str(self._answers))
            self._decided("", "publish", f"the answer is not in {self._answers}; done now")
            return False

        self._whole.step("publish", append, verify=published, kind="tool", name="publish")
        return f"The answer was appended to {self._answers}, once."

    def _decided(self, role: str, key: str, how: str) -> None:
        told = f"{_told(role, key)}: {how}"
        self._doubts.append(told)
        self._terminal.line(told, head=" " * 9 + f"{role or 'run':<10}  ", word="in doubt  ", word_width=10)

    def _named(self, role: str) -> str:
        return f"{self.run}/{role}" if role else self.run

    # --- end -----------------------------------------------------------------------------------------------

    def ended(self) -> None:
        """The run came to its end, so that nothing is left to resume."""
        self._is_over = True

    def conclude(self, books: Books) -> None:
        """The closing lines: steps, doubts, and the provider's bill beside our books."""
        line = self._terminal.line
        lives = "one life" if self.life == 1 else f"{self.life} lives"
        self._terminal.title(f"Run {self.run}, {lives}")
        replayed = sum(run.replayed for run in self._opened) - len(self._found_done)
        line(f"{replayed} (answered from the journal, nothing was called)", head="  Steps replayed    ")
        line(f"{len(self._store.done)}", head="  Steps run         ")
        line(f"{len(self._doubts)}", head="  In doubt          ")
        for one in self._doubts:
            line(one, head="    ")
        self._compare(books)
        if self._kill_at is not None:
            many = "1 entry" if self._store.entries == 1 else f"{self._store.entries} entries"
            line(f"--kill-at {self._kill_at} was never reached: this life made {many} in the journal.")

    def _compare(self, books: Books) -> None:
        line = self._terminal.line
        head = "  Provider's bill   "
        sums = books.sums()
        bill: Billed | None = None
        if self.provider is None:
            line("known to the provider alone", head=head)
        else:
            try:
                self.provider.settle()
                ended = ""
            except ProviderError:
                ended = "; its endpoint has ended, and may have billed more"
            bill = billed(self._bill, self.run)
            line(f"${bill.cost_usd:f}  {_requests(bill.requests)}, over all lives{ended}", head=head)
        if sums is None:
            line("the spend is not on the books", head="  Our ledger        ")
            return
        ours, guessed = sums
        cost_usd = ours.cost_usd + guessed.cost_usd
        line(f"${cost_usd:f}  {_requests(ours.calls + guessed.calls)}", head="  Our ledger        ")
        if bill is not None:
            told = f"${_plain(cost_usd - bill.cost_usd)}"
            if guessed.calls:
                told += f"  {_requests(guessed.calls)} on our books is estimated: the answer was lost"
            line(told, head="  Difference        ")
        left = books.unsettled()
        if left:
            line(
                f"{_requests(left)} of a life that was killed, held at the most it can cost; "
                "techrevati doubts lists them",
                head="  Left open         ",
            )

    def _last_words(self, run: str, step: Step) -> None:
        role = run.partition("/")[2]
        what = "the begin" if step.state == "intent" else "the outcome"
        signal_name = "SIGKILL" if hasattr(signal, "SIGKILL") else "TerminateProcess"
        where = "" if str(self._events) == "events.jsonl" else f" --events {self._events}"
        self._terminal.title(
            f"{signal_name} at entry {self._store.entries} of the journal: {what} of {_told(role, step.key)} "
            "is not on record."
        )
        self._terminal.line(f"Go on with: techrevati demo --resume{where}")


class _Watched(Journal):
    """A journal that remembers the runs it opened."""

    def __init__(self, store: SqliteStore, opened: list[RunJournal]) -> None:
        super().__init__(store, lease_seconds=LEASE_S)
        self._opened = opened

    def open(self, run_id: str) -> RunJournal:
        """:meth:`Journal.open`."""
        run = super().open(run_id)
        self._opened.append(run)
        return run


def _record(store: SqliteStore, file: Path) -> dict[str, Any]:
    found = store.load(_RECORD)
    if found is None:
        raise LivesError(f"there is nothing to resume: {file} has no run of the demo; see --kill-at")
    record: dict[str, Any] = json.loads(found.value)
    return record


def _told(role: str, key: str) -> str:
    return f"{role}, {key}" if role else f"the step {key!r}"


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _plain(amount: Decimal) -> str:
    return f"{amount:f}" if amount else "0"
