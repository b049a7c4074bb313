"""``techrevati demo``: three agents answer a question about a folder, and what can go wrong does.

Without ``--base-url`` an endpoint on this machine plays the model and fails on a script.  The exit status is
0 only if the answer came from the folder.  With ``--kill-at`` the run is on record and its process dies; with
``--resume`` another process goes on with it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.cli.announcements import Announcer
from techrevati.runtime.cli.chat_client import ChatClient, UnusableEndpointError
from techrevati.runtime.cli.circuits import Patience
from techrevati.runtime.cli.demo_lives import Lives, LivesError, last_program, lives_files
from techrevati.runtime.cli.demo_program import Program, digest
from techrevati.runtime.cli.demo_spend import Books, spend_files
from techrevati.runtime.cli.folder import Folder, FolderError
from techrevati.runtime.cli.grounding import grounding
from techrevati.runtime.cli.live_lines import LiveLines
from techrevati.runtime.cli.model_calls import ModelCaller
from techrevati.runtime.cli.run_deadline import RunDeadline
from techrevati.runtime.cli.secrets_guardrail import SecretsGuardrail
from techrevati.runtime.cli.stop_reason import stop_reason
from techrevati.runtime.cli.summary import show_circuits, show_table
from techrevati.runtime.cli.tally import Tally
from techrevati.runtime.cli.team import ORDERS, Team
from techrevati.runtime.cli.terminal import OutputClosedError, Terminal, visible as _visible
from techrevati.runtime.cli.toolbox import Toolbox
from techrevati.runtime.cli.topics import pointed_question
from techrevati.runtime.journal import ReplayMismatchError, RunBusyError
from techrevati.runtime.sinks import FanOutEventSink, JsonlEventSink
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from techrevati.runtime.chaos import ChaosServer
    from techrevati.runtime.otel import OpenTelemetryRunSink

P = TypeVar("P", bound="argparse.ArgumentParser")

SAMPLE = Path(__file__).parent / "sample"
SAMPLE_QUESTION = (
    "Why did the lockers refuse valid pickup codes on 14 March, and what was changed after the incident?"
)
OPEN_QUESTION = "What is this folder about?"
PROSE = (".md", ".txt", ".rst")
KEY_VARIABLES = ("TECHREVATI_API_KEY", "OPENAI_API_KEY")
ANTHROPIC_KEY_VARIABLES = ("TECHREVATI_API_KEY", "ANTHROPIC_API_KEY")
ANSWERED, NOT_ANSWERED, CANNOT_BEGIN = 0, 1, 2
# The run cannot go on here; what an endpoint did is another matter.
_LIVES_ERRORS = (LivesError, ReplayMismatchError, RunBusyError, StoreError)


class _CannotBeginError(TechrevatiError, RuntimeError):
    """The demo cannot begin or go on; its text is the line that the user sees."""


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "demo",
        help="let three agents answer a question about a folder, while things go wrong",
        description="A researcher, a writer and an editor answer a question about a folder of text files, "
        "over real HTTP. Without --base-url an endpoint on this machine plays the model and fails on a "
        "script.",
        epilog="The key for --base-url comes from TECHREVATI_API_KEY or OPENAI_API_KEY (ANTHROPIC_API_KEY "
        "with --sdk anthropic). Exit status: 0 the "
        "question was answered from the folder, 1 it was not, 2 the demo could not begin.",
    )
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="text files; a small example when left out"
    )
    parser.add_argument("--question", help="what to ask about the folder")
    parser.add_argument(
        "--base-url", metavar="URL", help="an OpenAI-compatible endpoint, e.g. https://host/v1"
    )
    parser.add_argument(
        "--sdk",
        choices=("openai", "anthropic"),
        help="ask through this SDK, guarded, instead of a client of the demo's own",
    )
    parser.add_argument("--model", help="the model to ask there; needed with --base-url")
    parser.add_argument(
        "--events", metavar="FILE", default="events.jsonl", help="where events are added (%(default)s)"
    )
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=float, help="for the whole run (600; 30 without --base-url)"
    )
    parser.add_argument(
        "--otel",
        action="store_true",
        help="also trace the run with the program's OpenTelemetry providers (needs the extra 'otel')",
    )
    parser.add_argument(
        "--kill-at",
        metavar="N",
        type=int,
        help="keep a journal beside the events, and end this process by SIGKILL (on Windows "
        "TerminateProcess) in the middle of the N-th entry it makes there",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run that died beside the events: same folder, question and endpoint, nothing "
        "paid twice; with --kill-at it dies again",
    )
    parser.set_defaults(run=run)


def run(
    options: argparse.Namespace,
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run the demo; returns the exit status.

    *sleep* and *clock* are for waits between attempts, for circuits and for the deadline.
    """
    try:
        return _Demo(options, sleep, clock).run()
    except (_CannotBeginError, FolderError, UnusableEndpointError, *_LIVES_ERRORS) as error:
        sys.stderr.write(f"techrevati demo: {_visible(str(error))}\n")
        return CANNOT_BEGIN


class _Crew(NamedTuple):
    """Those who answer the question, and what counts and shows what they do."""

    team: Team
    caller: ModelCaller
    books: Books
    lines: LiveLines
    end: RunDeadline


class _Demo:
    def __init__(
        self, options: argparse.Namespace, sleep: Callable[[float], object], clock: Callable[[], float]
    ) -> None:
        if options.base_url is not None and not options.model and not options.resume:
            raise _CannotBeginError("--base-url needs --model NAME")
        if options.model is not None and options.base_url is None and not options.resume:
            raise _CannotBeginError(
                "--model needs --base-url URL; the endpoint of the demo has its own models"
            )
        if options.question is not None and not options.question.strip():
            raise _CannotBeginError("--question is empty")
        if options.deadline is not None and not 0 < options.deadline < inf:
            raise _CannotBeginError(f"--deadline must be a number > 0, got {options.deadline!r}")
        if options.kill_at is not None and options.kill_at < 1:
            raise _CannotBeginError(f"--kill-at must be an integer >= 1, got {options.kill_at}")
        if options.resume:
            options = _as_before(options)
        self._options = options
        self._sleep = sleep
        self._clock = clock
        self._terminal = Terminal(sys.stdout)
        self._tally = Tally()
        self._events_path = Path(options.events)
        self._folder = Folder(
            SAMPLE if options.folder is None else options.folder,
            leave_out=[self._events_path, *spend_files(self._events_path), *lives_files(self._events_path)],
        )
        self._toolbox = Toolbox(self._folder)
        self._question = self._asked()
        self._traced = self._tracing()
        self._lives: Lives | None = None

    def run(self) -> int:
        with ExitStack() as stack:
            server: ChaosServer | None = None
            if self._options.kill_at is not None or self._options.resume:
                self._lives = stack.enter_context(self._life())
            if self._options.base_url is not None:
                names = self._key_variables()
                key = next((os.environ[name] for name in names if os.environ.get(name)), "").strip()
                client = stack.enter_context(closing(self._client(self._options.base_url, key)))
                models: Sequence[str] = (self._options.model,)
                patience = Patience()
                self._reach(client)
                if self._lives is not None:
                    self._lives.begin()
            else:
                from techrevati.runtime.chaos import ChaosServerError
                from techrevati.runtime.cli import demo_endpoint

                key = ""
                if self._lives is None:
                    try:
                        server = stack.enter_context(demo_endpoint.demo_endpoint(self._folder.names[0]))
                    except ChaosServerError as error:
                        raise _CannotBeginError(str(error)) from None
                    base_url = server.base_url
                else:
                    demo_endpoint.register_prices()
                    base_url = self._lives.begin(self._folder.names[0])
                client = stack.enter_context(closing(self._client(base_url, "")))
                models, patience = (demo_endpoint.PREFERRED, demo_endpoint.SPARE), demo_endpoint.PATIENCE
            if self._options.deadline is not None:
                patience = replace(patience, deadline_s=self._options.deadline)
            jsonl = stack.enter_context(self._events_file())
            for sink in self._traced:
                stack.callback(sink.close)
            return self._answered(client, models, patience, jsonl, key, server)

    def _answered(
        self,
        client: ChatClient,
        models: Sequence[str],
        patience: Patience,
        jsonl: JsonlEventSink,
        key: str,
        server: ChaosServer | None,
    ) -> int:
        lives = self._lives
        self._introduce(client, models)
        crew = self._crew(client, models, patience, jsonl, key)
        with closing(crew.books), crew.end.deadline:
            if lives is not None:
                lives.on_recalled = crew.lines.recalled
                lives.enter_program()
                crew.books.settle_doubts()
            crew.end.begin()
            try:
                answer = crew.team.answer()
            except (OutputClosedError, *_LIVES_ERRORS):
                raise
            except Exception as error:
                reason = stop_reason(
                    error, client, self._key_variables()[-1], answered_before=self._tally.total().turns > 0
                )
                if not reason.begun:
                    raise _CannotBeginError(reason.line) from None
                crew.end.end()
                self._conclude(crew, jsonl, server)
                sys.stderr.write(f"techrevati demo: {_visible(reason.line)}\n")
                return NOT_ANSWERED
            if self._is_scripted:
                self._second_edition(crew.team, answer)
            crew.end.end()
            status = self._judge(answer)
            if lives is not None:
                self._terminal.line(lives.publish(self._question, answer), head="  ")
                lives.ended()
            self._conclude(crew, jsonl, server)
            return status

    def _crew(
        self,
        client: ChatClient,
        models: Sequence[str],
        patience: Patience,
        jsonl: JsonlEventSink,
        key: str,
    ) -> _Crew:
        """Those who answer, wired to what guards, counts and shows them."""
        lives = self._lives
        lines = LiveLines(
            self._terminal, clock=time.monotonic, tool_under_way=lambda: self._toolbox.under_way
        )
        events = FanOutEventSink(jsonl, lines, *self._traced)  # what is shown is on record
        announcer = Announcer(events)
        end = RunDeadline(patience.deadline_s, self._clock, announcer)
        # The embedded endpoint fails on a script, so the waits are drawn the same way each time, too.
        draw = random.Random(1).random if self._is_scripted else None
        project = "sample" if self._options.folder is None else self._folder.path.name or "folder"
        books = Books(self._events_path, project)
        if lives is not None:
            books = Books(self._events_path, project, lives.run, lives.used_by)
        client.keep(books)
        caller = ModelCaller(
            client,
            models,
            patience,
            end.deadline,
            announcer,
            self._tally,
            books,
            clock=self._clock,
            sleep=self._sleep,
            draw=draw,
            lives=lives,
        )
        team = Team(
            self._question,
            self._toolbox,
            caller,
            self._tally,
            guardrails=[SecretsGuardrail([key], left_out=lives is not None)],
            event_sink=events,
            usage_sink=lines,
            tell_step=self._terminal.title,
            lives=lives,
        )
        return _Crew(team, caller, books, lines, end)

    # --- before --------------------------------------------------------------------------------------------

    @property
    def _is_scripted(self) -> bool:
        """Whether the endpoint is the demo's own."""
        return self._options.base_url is None

    def _life(self) -> Lives:
        """The run on record: a new one, or the one to go on with."""
        options = self._options
        question = None
        if options.question is not None:
            question = Redactor().text(options.question, max_length=max(len(options.question), 1))
        program = Program(
            folder=options.folder,
            question=question,
            is_whole=question == options.question,
            sdk=options.sdk,
            model=options.model,
            address=None if self._is_scripted else ChatClient(options.base_url).address,
            asked=digest([self._question]),
            files=digest(list(self._folder.texts())),
            orders=digest(ORDERS),
        )
        return Lives(
            self._events_path, program, self._terminal, resume=options.resume, kill_at=options.kill_at
        )

    def _asked(self) -> str:
        if self._options.question is None and self._options.folder is None:
            return SAMPLE_QUESTION
        question = " ".join((self._options.question or OPEN_QUESTION).split())
        texts = dict(self._folder.texts())
        # Where there is prose, it says better than code what a folder is about.
        prose = [text for name, text in texts.items() if name.lower().endswith(PROSE)]
        return pointed_question(question, prose or texts.values())

    def _client(self, base_url: str, key: str) -> ChatClient:
        if self._options.sdk is None:
            return ChatClient(base_url, key)
        from techrevati.runtime.cli.sdk_client import MissingSdkError, SdkClient

        try:
            return SdkClient(self._options.sdk, base_url, key)
        except MissingSdkError as error:
            raise _CannotBeginError(str(error)) from None

    def _key_variables(self) -> tuple[str, ...]:
        return ANTHROPIC_KEY_VARIABLES if self._options.sdk == "anthropic" else KEY_VARIABLES

    def _reach(self, client: ChatClient) -> None:
        try:
            client.reach()
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise _CannotBeginError(f"cannot reach {client.address}: {reason}") from None

    def _tracing(self) -> list[OpenTelemetryRunSink]:
        if not getattr(self._options, "otel", False):
            return []
        from techrevati.runtime.otel import OpenTelemetryRunSink

        try:
            return [OpenTelemetryRunSink()]
        except ImportError as error:
            raise _CannotBeginError(str(error)) from None

    def _events_file(self) -> JsonlEventSink:
        try:
            return JsonlEventSink(self._events_path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise _CannotBeginError(
                f"cannot write {str(self._events_path)!r}: {reason}; see --events"
            ) from None

    def _introduce(self, client: ChatClient, models: Sequence[str]) -> None:
        files = len(self._folder.names)
        where = (
            "the example that comes with techrevati"
            if self._options.folder is None
            else str(self._folder.path)
        )
        many = f"{files}{' or more' if self._folder.more else ''} text file{'' if files == 1 else 's'}"
        self._terminal.line(self._question, head="Question  ", style="bold")
        self._terminal.line(f"{where}: {many}", head="Folder    ")
        if not self._is_scripted:
            self._terminal.line(f"{client.address}, model {models[0]}{self._through()}", head="Endpoint  ")
        else:
            where = f"on this machine, over HTTP{self._through()}; models {' and '.join(models)}"
            self._terminal.line(where, head="Endpoint  ")
            self._terminal.line(
                "On a script it answers 503, 429, a reset connection and context_length_exceeded, and once "
                "its model tries to delete a file.",
                head="          ",
            )
        if self._lives is not None:
            self._lives.introduce()

    def _through(self) -> str:
        return "" if self._options.sdk is None else f", through the SDK of {self._options.sdk}, guarded"

    # --- after ---------------------------------------------------------------------------------------------

    def _second_edition(self, team: Team, answer: str) -> None:
        from techrevati.runtime.cli.demo_endpoint import SECOND_EDITION_USD

        self._terminal.title(
            f"A second edition is wanted, for ${SECOND_EDITION_USD:.4f}. The budget is enforced."
        )
        try:
            refusal = team.second_edition(answer, SECOND_EDITION_USD)
        except OutputClosedError:
            raise
        except Exception as error:  # the answer is there, whatever becomes of its second edition
            self._terminal.paragraph(f"There is no second edition: {error}", " " * 9)
            return
        if refusal is not None:
            spent = f"${refusal.current_cost_usd:.6f} of ${refusal.budget_usd:.4f}"
            self._terminal.paragraph(
                f"The first call went over the budget ({spent}); its answer was paid for and is kept. The "
                "second call was refused before anything was sent.",
                " " * 9,
            )

    def _judge(self, answer: str) -> int:
        self._terminal.title("Answer")
        self._terminal.paragraph(answer.strip() or "(none)", "  ")
        read = {name: text for name, text in self._folder.texts() if name in self._toolbox.read}
        found = grounding(answer, read)
        verdict, style = ("Answered from the folder", "green") if found.answered else ("Not answered", "red")
        self._terminal.line()
        self._terminal.line(f"{verdict}: {found}.", head="  ", style=style)
        return ANSWERED if found.answered else NOT_ANSWERED

    def _conclude(self, crew: _Crew, jsonl: JsonlEventSink, server: ChaosServer | None) -> None:
        books = crew.books
        self._terminal.title("What it took")
        show_table(self._terminal, self._tally)
        if server is not None:
            from techrevati.runtime.cli.demo_endpoint import compared

            self._terminal.paragraph(compared(server, books))
        if self._lives is not None and self._lives.life > 1:
            self._terminal.paragraph(
                "Turns, tokens and cost are of all lives, calls and retries of this one."
            )
        self._terminal.title("Circuit breakers")
        show_circuits(self._terminal, crew.caller.circuits.values())
        self._terminal.line()
        lost = f"; {jsonl.dropped} could not be written" if jsonl.dropped else ""
        self._terminal.line(
            f"{crew.lines.count - jsonl.dropped} events were added to {self._events_path}{lost}."
        )
        books.show(self._terminal)
        if self._lives is not None:
            self._lives.conclude(books)


def _as_before(options: argparse.Namespace) -> argparse.Namespace:
    """*options*, those that were left out as they were when the run was begun."""
    import argparse

    before = last_program(Path(options.events))
    if options.question is None and not before["is_whole"]:
        raise LivesError("the question held a secret, which was not kept; give --question once more")
    given = {**vars(options)}
    for name, found in (
        ("folder", before["folder"]),
        ("question", before["question"]),
        ("sdk", before["sdk"]),
        ("model", before["model"]),
        ("base_url", before["address"]),
    ):
        if given[name] is None:
            given[name] = found
    return argparse.Namespace(**given)
