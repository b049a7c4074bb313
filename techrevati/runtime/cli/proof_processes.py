"""The processes in which the agents of ``techrevati proof`` live, and how they are spoken to.

Each imports its SDK once, which takes longer than anything else here, and then does one plan after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from queue import Empty, SimpleQueue
from threading import Thread

from techrevati.runtime.cli import proof_worker
from techrevati.runtime.cli.proof_worker import DONE, READY, Plan

LONGEST_S = 60.0  # for anything that a process is waited for


class ProofError(RuntimeError):
    """The run itself went wrong, and proves nothing."""


class AgentProcess:
    """One process of agents; made and used by one thread."""

    def __init__(self, sdk: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", proof_worker.__name__, sdk],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: SimpleQueue[str] = SimpleQueue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._is_ready = False
        self._errors = ""

    def _listen(self) -> None:
        """A pipe cannot be read with a limit of time everywhere; a queue can."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.strip())
        self._said.put("")  # it ended

    def wait_ready(self) -> None:
        """Until it has its SDK; returns at once when that was seen before."""
        if not self._is_ready:
            self._wait_for(READY, "an agent did not start")
            self._is_ready = True

    def tell(self, plan: Plan) -> None:
        """Have it do *plan*."""
        self.wait_ready()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(plan._asdict()) + "\n")
        self._process.stdin.flush()

    def wait_done(self) -> None:
        """Until its agents have ended; :class:`ProofError` when one failed, or takes longer than a minute."""
        self._wait_for(DONE, "an agent failed")

    def seems_done(self) -> bool:
        """Whether :meth:`wait_done` would return at once; :class:`ProofError` when an agent failed."""
        if self._process.poll() is not None:
            raise self._failed("an agent failed")
        return not self._said.empty()

    def kill(self) -> None:
        """SIGKILL, on Windows ``TerminateProcess``: nothing of it runs any more, no ``finally`` either."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _wait_for(self, word: str, otherwise: str) -> None:
        try:
            said = self._said.get(timeout=LONGEST_S)
        except Empty:
            raise ProofError(f"an agent was not {word} within {LONGEST_S:g} s") from None
        if said != word:
            raise self._failed(otherwise)

    def _failed(self, what: str) -> ProofError:
        self._process.kill()  # it may have said something else than it should, and go on
        self._process.wait()
        assert self._process.stderr is not None
        self._errors += self._process.stderr.read()  # nothing, the second time
        return ProofError(f"{what}: {self._errors.strip()[-500:]}")


class Crew:
    """The processes of both runs, and those that wait to take the place of the killed.

    Args:
        sdks: Which SDKs, one process after the other.
        processes: How many processes have agents.
        spares: How many are killed, and replaced by one with the SDK of the first.
    """

    def __init__(self, sdks: list[str], processes: int, spares: int) -> None:
        self.processes: list[AgentProcess] = []
        self._spares: list[AgentProcess] = []
        try:
            for number in range(processes):
                self.processes.append(AgentProcess(sdks[number % len(sdks)]))
            for process in self.processes:
                process.wait_ready()
            while len(self._spares) < spares:  # they start while the others work
                self._spares.append(AgentProcess(sdks[0]))
        except BaseException:
            self.close()
            raise

    def replace(self, number: int) -> AgentProcess:
        """Kill a process that has the SDK of the first, and return the one that has its place now."""
        self.processes[number].kill()
        self.processes[number].close()
        self.processes[number] = self._spares.pop()
        return self.processes[number]

    def close(self) -> None:
        """End them all."""
        for process in (*self.processes, *self._spares):
            process.close()
