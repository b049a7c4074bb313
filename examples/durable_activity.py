"""A turn of an agent as a Temporal activity: the workflow's id and the activity's are the key of the turn.

``pip install techrevati-runtime temporalio openai``.  Whatever attempt of an activity it is, the key is the
same: what one attempt put on record is the answer of the next.  Here the attempts are made in Temporal's test
environment; a worker of yours takes ``activities=[turn], workflows=[Answer]``.
"""

import os
from datetime import timedelta
from functools import partial
from tempfile import TemporaryDirectory

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

with workflow.unsafe.imports_passed_through():  # only the activity uses these
    from openai import OpenAI
    from openai.types.chat import ChatCompletion

    from techrevati.runtime import InDoubtError, Journal, Orchestrator, SpendLedger, SqliteStore
    from techrevati.runtime.chaos import ChaosServer

MODEL = "gpt-4o-mini"


@activity.defn
def turn(messages: list[dict[str, str]]) -> str:
    """One turn, under a key without the attempt's number. All workers need the same files, so one machine."""
    info = activity.info()
    run_id = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
    with SqliteStore("runs.db") as store, SpendLedger("spend.db") as ledger, OpenAI(max_retries=0) as client:
        ask = partial(client.chat.completions.create, model=MODEL, max_tokens=60, messages=messages)
        agent = Orchestrator("guide", "answer", "acme", journal=Journal(store), run_id=run_id, ledger=ledger)
        try:
            with agent.session() as session:
                answer, _ = session.run_turn(ask, MODEL, key="ask", input_tokens=200, max_output_tokens=60)
        except InDoubtError as error:  # an attempt died between request and record: a human decides
            raise ApplicationError(str(error), type="InDoubt", non_retryable=True) from error
    return ChatCompletion.model_validate(answer).choices[0].message.content or ""


@workflow.defn
class Answer:
    @workflow.run
    async def run(self, messages: list[dict[str, str]]) -> str:
        return await workflow.execute_activity(turn, messages, start_to_close_timeout=timedelta(minutes=2))


if __name__ == "__main__":
    with TemporaryDirectory() as place, ChaosServer() as server:
        os.environ |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}
        os.chdir(place)
        question = [{"role": "user", "content": "What opens it? Five failures open it."}]
        for attempt in ("first", "second", "third"):  # of one activity
            print(attempt, ActivityEnvironment().run(turn, question))
        print(server.bill.requests, "request")
