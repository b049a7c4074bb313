"""Turns of an agent as steps of a DBOS workflow: killed in the middle, and nothing is paid twice.

``pip install techrevati-runtime dbos openai``.  The provider is on this machine.  The first life kills itself
between our record of turn 2 and the engine's; the engine runs the step again, the journal answers.
"""

import os
import signal
import subprocess
import sys
from functools import partial
from tempfile import TemporaryDirectory

from dbos import DBOS, SetWorkflowID
from openai import OpenAI
from openai.types.chat import ChatCompletion

from techrevati.runtime import Journal, Orchestrator, SpendLedger, SqliteStore
from techrevati.runtime.chaos import ChaosServer

MODEL = "gpt-4o-mini"
QUESTIONS = ["What opens it? Five open it.", "What closes it? A probe closes it.", "Who asks? Ann asks."]


@DBOS.step()
def turn(number: int, messages: list[dict[str, str]]) -> str:
    """One turn of a session. The engine's workflow and step are the key under which ours is on record."""
    run_id = f"{DBOS.workflow_id}/{DBOS.step_id}"
    with SqliteStore("runs.db") as store, SpendLedger("spend.db") as ledger, OpenAI(max_retries=0) as client:
        ask = partial(client.chat.completions.create, model=MODEL, max_tokens=60, messages=messages)
        agent = Orchestrator("guide", "answer", "acme", journal=Journal(store), run_id=run_id, ledger=ledger)
        with agent.session() as session:
            answer, _ = session.run_turn(ask, MODEL, key="ask", input_tokens=200, max_output_tokens=60)
    if os.environ.get("DIE_AFTER_TURN") == str(number):  # we know of the turn, the engine does not yet
        os.kill(os.getpid(), signal.SIGKILL)
    return ChatCompletion.model_validate(answer).choices[0].message.content or ""


@DBOS.workflow()
def answers(questions: list[str]) -> list[str]:
    """One turn a question; the engine remembers which are done."""
    return [turn(number, [{"role": "user", "content": said}]) for number, said in enumerate(questions, 1)]


if __name__ == "__main__" and len(sys.argv) > 1:  # one life: it starts the workflow, or goes on with it
    DBOS(config={"name": "durable", "system_database_url": "sqlite:///engine.db", "log_level": "ERROR"})
    DBOS.launch()
    with SetWorkflowID(sys.argv[1]):
        print(*DBOS.start_workflow(answers, QUESTIONS).get_result(), sep="\n")
    DBOS.destroy()
elif __name__ == "__main__":
    with TemporaryDirectory() as place, ChaosServer() as server:
        known = os.environ | {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}
        for death in ("2", ""):
            known["DIE_AFTER_TURN"] = death
            done = subprocess.run([sys.executable, __file__, "invoice-17"], cwd=place, env=known)
            print(f"a life ended with {done.returncode}; requests so far: {server.bill.requests}")
        with SpendLedger(f"{place}/spend.db") as ledger:
            print(f"bill {server.bill.cost_usd} USD, ledger {ledger.total()} USD")
