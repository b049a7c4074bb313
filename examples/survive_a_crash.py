"""An agent that is killed in the middle of a payment, and goes on: nothing is paid twice.

``pip install techrevati-runtime``.  It starts itself as a child, which kills itself with SIGKILL after
the bank has the money and before anything is noted; the second life asks the bank.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from techrevati.runtime import Happened, Journal, Orchestrator, SqliteStore, UsageSnapshot


def model(folder: Path) -> str:
    """Stands for a call that costs money."""
    note(folder, "model asked")
    return "Pay 5 to Ann."


def pay(folder: Path, die: bool) -> str:
    """Stands for a side effect that must not happen twice."""
    note(folder, "5 paid to Ann")
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    return "receipt 1"


def note(folder: Path, what: str) -> None:
    with (folder / "world.txt").open("a") as world:
        world.write(f"{what}\n")


def asked_bank(folder: Path) -> Happened | bool:
    """What the bank says about a payment of which we do not know."""
    return Happened("receipt 1") if "paid" in (folder / "world.txt").read_text() else False


def life(folder: Path, die: bool) -> None:
    with SqliteStore(folder / "runs.db") as store:
        agent = Orchestrator("clerk", "payments", journal=Journal(store), run_id="invoice-17")
        with agent.session() as session:
            plan, _ = session.run_turn(lambda: model(folder), "gpt-4o", UsageSnapshot(900, 20))
            receipt = session.run_tool("pay", lambda: pay(folder, die), verify=lambda: asked_bank(folder))
            print(f"{plan} {receipt}; {session.run.replayed} steps were on record")


if len(sys.argv) > 1:
    life(Path(sys.argv[1]), die=True)
with tempfile.TemporaryDirectory() as place:
    child = subprocess.run([sys.executable, __file__, place], check=False)
    print(f"the first life ended with signal {-child.returncode}")
    life(Path(place), die=False)
    print((Path(place) / "world.txt").read_text())
