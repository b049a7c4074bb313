"""The endpoint of a demo that may be killed: a process of its own, which lives on and keeps the bill.

A provider does not die with its client, and bills what it has generated whoever is there to read it.  So
this process outlives the demo's; each of its requests is a line in the bill beside the events, and what it
answered can be looked up.  It ends when it is told to, or when nobody has spoken to it for ten minutes.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socketserver
import subprocess
import sys
import time
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import create_connection
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from techrevati.runtime.chaos import ChaosServer, InjectedRecord

PATIENCE_S = 600.0  # without a word from anybody
ANSWER_S = 15.0
_BEGIN = (
    "import sys; sys.path.append({root!r}); "
    "from techrevati.runtime.cli.demo_provider import main; raise SystemExit(main(sys.argv[1:]))"
)


class ProviderError(TechrevatiError, RuntimeError):
    """The process of the endpoint could not be started, or does not answer."""


class Billed(NamedTuple):
    """What the provider bills for one run, over all lives.

    Attributes:
        requests: Physical requests, refused ones included.
        input_tokens, output_tokens: Cached input included.
        cost_usd: Exactly.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


class Provider:
    """The endpoint's process, as the demo sees it.

    Args:
        facts: What :meth:`started` found out, for a later life; see :attr:`facts`.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts: dict[str, Any] = dict(facts)
        self.base_url: str = facts["base_url"]

    @classmethod
    def started(cls, victim: str, bill: Path, run: str) -> Provider:
        """A new one; *victim* is the file that its model will once try to delete.

        Raises:
            ProviderError: It did not start.
        """
        root = str(Path(__file__).parents[3])
        own: dict[str, Any] = {"start_new_session": True}  # so that Ctrl-C is for the demo alone
        if os.name == "nt":
            own = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BEGIN.format(root=root), victim, str(bill), run],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **own,
        )
        assert process.stdout is not None
        with process.stdout as told:
            line = told.readline()
        process.returncode = 0  # it is nobody's child any more: not waited for, and no warning about that
        try:
            facts = json.loads(line)
        except ValueError:
            raise ProviderError("the endpoint of the demo did not start") from None
        if "problem" in facts:
            raise ProviderError(str(facts["problem"]))
        return cls(facts)

    def is_alive(self) -> bool:
        """Whether it still serves."""
        try:
            return self._told("look") == "here"
        except ProviderError:
            return False

    def settle(self) -> None:
        """Return once no request is under way and all of them are in the bill."""
        self._told("settle")

    def stop(self) -> None:
        """End it; one that has ended already is no trouble."""
        try:
            self._told("stop")
        except ProviderError:
            pass

    def stored(self, **metadata: str) -> list[dict[str, Any]]:
        """The answers that it stored under *metadata*, the newest first.

        Raises:
            ProviderError: It does not answer.
        """
        query = urlencode({f"metadata[{name}]": value for name, value in metadata.items()})
        parts = urlsplit(self.base_url)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=ANSWER_S)
        try:
            connection.request("GET", f"{parts.path}/chat/completions?{query}")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            listed: list[dict[str, Any]] = found["data"]
        except (OSError, HTTPException, ValueError, KeyError):
            raise ProviderError("the endpoint of the demo does not answer") from None
        finally:
            connection.close()
        return listed

    def _told(self, word: str) -> str:
        try:
            with create_connection(("127.0.0.1", self.facts["desk"]), ANSWER_S) as line:
                line.sendall(f"{word} {self.facts['token']}\n".encode())
                with line.makefile("rb") as answers:
                    answer = answers.readline(100)
        except OSError:
            answer = b""
        if not answer:
            raise ProviderError("the endpoint of the demo does not answer")
        return answer.decode().strip()


def billed(bill: Path, run: str) -> Billed:
    """What *bill* has for *run*; lines that nobody can read are no lines of ours."""
    requests = read = written = 0
    cost_usd = Decimal(0)
    with open(bill, encoding="utf-8") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["run"] == run:
                requests += 1
                read += row["input_tokens"]
                written += row["output_tokens"]
                cost_usd += Decimal(row["cost_usd"])
    return Billed(requests, read, written, cost_usd)


# --- the process itself ------------------------------------------------------------------------------------


class _BillFile:
    """One line for each request that asked a model."""

    def __init__(self, path: str, run: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._run = run
        self.lines: int = 0
        self.heard_s: float = time.monotonic()

    def add(self, record: InjectedRecord) -> None:
        """Told of every request that ended."""
        self.heard_s = time.monotonic()
        if not record.model:
            return
        row = {
            "run": self._run,
            "model": record.model,
            "status": record.status,
            "outcome": record.outcome.value,
            "fault": None if record.fault is None else record.fault.value,
            "input_tokens": record.billed.prompt_tokens,
            "output_tokens": record.billed.output_tokens,
            "cost_usd": f"{record.cost_usd or Decimal(0):f}",
        }
        os.write(self._file, (json.dumps(row) + "\n").encode())
        self.lines += 1


class _Desk(socketserver.TCPServer):
    """Where the demo asks for more than a model: is it there, has it billed everything, may it end."""

    timeout = 1.0

    def __init__(self, server: ChaosServer, bill: _BillFile) -> None:
        self.token = secrets.token_hex(16)
        self.ended = False
        self._server, self._bill = server, bill
        super().__init__(("127.0.0.1", 0), _Talk)

    def answer(self, word: str) -> str:
        """What is said to *word*."""
        self._bill.heard_s = time.monotonic()
        if word == "stop":
            self.ended = True
        if word in ("settle", "stop"):
            end_s = time.monotonic() + ANSWER_S / 2
            self._server.wait_idle(ANSWER_S / 2)
            # The line of a request is written a moment after it is no longer under way.
            while self._bill.lines < self._asked() and time.monotonic() < end_s:
                time.sleep(0.005)
        return "here"

    def _asked(self) -> int:
        return sum(line.requests for model, line in self._server.bill.models.items() if model)

    def serve(self) -> None:
        """Until it is told to end, or nobody has said anything for long."""
        while not self.ended and time.monotonic() < self._bill.heard_s + PATIENCE_S:
            self.handle_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hung up while talking has nothing more to hear."""


class _Talk(socketserver.StreamRequestHandler):
    timeout = 5.0

    def handle(self) -> None:
        desk = self.server
        assert isinstance(desk, _Desk)
        word, _, token = self.rfile.readline(200).decode("ascii", "replace").strip().partition(" ")
        if hmac.compare_digest(token.encode(), desk.token.encode()):
            self.wfile.write(f"{desk.answer(word)}\n".encode())


def main(argv: Sequence[str]) -> int:
    """Serve; the first line on stdout says where, as JSON."""
    from techrevati.runtime.chaos import ChaosServerError
    from techrevati.runtime.cli.demo_endpoint import demo_endpoint

    victim, path, run = argv
    try:
        bill = _BillFile(path, run)
        with demo_endpoint(victim, bill.add) as server, _Desk(server, bill) as desk:
            facts = {"base_url": server.base_url, "desk": desk.server_address[1], "token": desk.token}
            _say({**facts, "pid": os.getpid()})
            desk.serve()
    except (ChaosServerError, OSError) as error:
        _say({"problem": str(error)})
        return 2
    return 0


def _say(facts: Mapping[str, object]) -> None:
    """One line, and then the pipe is let go of: whoever reads it may be killed."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
