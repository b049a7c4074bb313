"""The processes in which the agents of ``techrevati proof`` live, and how they are spoken to.

To import an SDK takes longer than anything else here.  So each process does one plan after the other, and on
Linux all are forked from one that has the SDKs.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from typing import TYPE_CHECKING

from techrevati.runtime.cli import proof_worker
from techrevati.runtime.cli.proof_worker import DONE, READY

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from techrevati.runtime.cli.proof_worker import Plan

LONGEST_S = 60.0  # for anything that a process is waited for


class ProofError(RuntimeError):
    """The run itself went wrong, and proves nothing."""


class AgentProcess:
    """One process of agents; made and used by one thread.

    Args:
        context: How it is started.
        sdk: What its agents use.
    """

    def __init__(self, context: BaseContext, sdk: str) -> None:
        self._said, theirs = context.Pipe()
        self._process = context.Process(target=proof_worker.serve, args=(theirs, sdk), daemon=True)  # type: ignore[attr-defined]
        self._process.start()
        theirs.close()
        self._is_ready = False

    def wait_ready(self) -> None:
        """Until it has its SDK; returns at once when that was seen before."""
        if not self._is_ready:
            self._wait_for(READY, "an agent did not start")
            self._is_ready = True

    def tell(self, plan: Plan) -> None:
        """Have it do *plan*."""
        self.wait_ready()
        self._said.send(plan)

    def wait_done(self) -> None:
        """Until its agents have ended; :class:`ProofError` when one failed, or takes longer than a minute."""
        self._wait_for(DONE, "an agent failed")

    def seems_done(self) -> bool:
        """Whether :meth:`wait_done` would return, or raise, at once."""
        return self._said.poll(0)

    def kill(self) -> None:
        """SIGKILL, on Windows ``TerminateProcess``: nothing of it runs any more, no ``finally`` either."""
        self._process.kill()
        self._process.join()
        self._said.close()

    def _wait_for(self, word: str, otherwise: str) -> None:
        if not self._said.poll(LONGEST_S):
            raise ProofError(f"{otherwise} within {LONGEST_S:g} s")
        try:
            said = self._said.recv()
        except EOFError:
            said = "its process ended"
        if said != word:
            raise ProofError(f"{otherwise}: {said[-500:]}")


class Crew:
    """The processes of both runs, and those that wait to take the place of the killed.

    Args:
        sdks: Which SDKs, one process after the other.
        processes: How many processes have agents.
        spares: How many are killed, and replaced by one with the SDK of the first.
    """

    def __init__(self, sdks: list[str], processes: int, spares: int) -> None:
        # Elsewhere libraries of the system may have threads, which a fork would not take along.
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        if sys.platform == "linux":
            context.set_forkserver_preload([proof_worker.__name__, *sdks])
            _start_forkserver()
        self.processes: list[AgentProcess] = []
        self._spares: list[AgentProcess] = []
        try:
            for number in range(processes):
                self.processes.append(AgentProcess(context, sdks[number % len(sdks)]))
            for process in self.processes:
                process.wait_ready()
            while len(self._spares) < spares:  # they start while the others work
                self._spares.append(AgentProcess(context, sdks[0]))
        except BaseException:
            self.close()
            raise

    def replace(self, number: int) -> AgentProcess:
        """Kill a process that has the SDK of the first, and return the one that has its place now."""
        self.processes[number].kill()
        self.processes[number] = self._spares.pop()
        return self.processes[number]

    def close(self) -> None:
        """End them all, whatever they do."""
        for process in (*self.processes, *self._spares):
            process.kill()


def _start_forkserver() -> None:
    """It leaves Ctrl-C to us from its first moment, as what a process ignores its children do."""
    from multiprocessing import forkserver

    if threading.current_thread() is not threading.main_thread():
        return forkserver.ensure_running()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
