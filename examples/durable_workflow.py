"""Turns of an agent as steps of a DBOS workflow: killed in the middle, and nothing is paid twice.

Run it: ``pip install dbos openai``, then ``python examples/durable_workflow.py``.  The provider is a server
on this machine, the engine's database an SQLite file.  The first life kills itself with SIGKILL between the
answer of the second turn and the engine's record of it; the engine runs the step again, the journal answers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import openai
from dbos import DBOS, SetWorkflowID
from openai.types.chat import ChatCompletion

from techrevati.runtime import Journal, Orchestrator, SpendLedger, SqliteStore
from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.pricing import ModelPricing, register_pricing

MODEL = "chaos-large"
QUESTIONS = ("What opens the breaker?", "What closes it?", "Who is told?")
NOTES = """
Notes:
- Five failures open the breaker. [a.md]
- A good probe closes it. [a.md]
- The team is told. [a.md]"""
register_pricing(MODEL, ModelPricing(2.5, 10))
folder = Path(os.environ.get("DURABLE_FOLDER", "."))
deaths = os.environ.get("DURABLE_DEATHS", "").split(",")  # "2:asked": in turn 2, once the model has answered


def die_at(place: str) -> None:
    """Kill this process where a test or the example wants it to die."""
    if place in deaths:
        os.kill(os.getpid(), signal.SIGKILL)


def ask(question: str) -> ChatCompletion:
    """One paid request. The SDK must not try again behind the books' back."""
    with openai.OpenAI(max_retries=0) as client:
        return client.chat.completions.create(
            model=MODEL, max_tokens=60, messages=[{"role": "user", "content": f"Question: {question}{NOTES}"}]
        )


@DBOS.step()
def turn(number: int, question: str) -> str:
    """One turn of a session. The engine's workflow and step are the key under which ours is on record."""
    run_id = f"{DBOS.workflow_id}/{DBOS.step_id}"

    def call() -> ChatCompletion:
        said = ask(question)
        die_at(f"{number}:asked")
        return said

    with SqliteStore(folder / "runs.db") as store, SpendLedger(folder / "spend.db") as ledger:
        agent = Orchestrator("guide", "answer", "acme", journal=Journal(store), run_id=run_id, ledger=ledger)
        with agent.session() as session:
            said, _ = session.run_turn(call, MODEL, key="ask", input_tokens=200, max_output_tokens=60)
    die_at(f"{number}:closed")
    return ChatCompletion.model_validate(said).choices[0].message.content or ""


@DBOS.workflow()
def answers(questions: list[str]) -> list[str]:
    """One turn a question; the engine remembers which are done."""
    return [turn(number, one) for number, one in enumerate(questions, 1)]


def life(workflow_id: str) -> list[str]:
    """Start the workflow, or go on with it; returns what it returns."""
    database = f"sqlite:///{folder / 'engine.db'}"
    DBOS(config={"name": "durable", "system_database_url": database, "log_level": "WARNING"})
    DBOS.launch()  # takes up the workflows that a dead process left
    try:
        with SetWorkflowID(workflow_id):
            return DBOS.start_workflow(answers, list(QUESTIONS)).get_result()
    finally:
        DBOS.destroy()


def main() -> None:
    """Two lives against one bill."""
    with tempfile.TemporaryDirectory() as place, ChaosServer() as server:
        known = {"DURABLE_FOLDER": place, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}
        for deaths in ("2:closed", ""):
            environment = {**os.environ, **known, "DURABLE_DEATHS": deaths}
            done = subprocess.run([sys.executable, __file__, "invoice-17"], env=environment, check=False)
            print(f"a life ended with {done.returncode}; requests so far: {server.bill.requests}")  # noqa: T201
        with SpendLedger(Path(place) / "spend.db") as ledger:
            print(f"bill {server.bill.cost_usd} USD, ledger {ledger.total()} USD")  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print("\n".join(life(sys.argv[1])))  # noqa: T201
    else:
        main()
