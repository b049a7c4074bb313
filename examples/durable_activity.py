"""A turn of an agent as a Temporal activity: the workflow's id and the activity's are the key of the turn.

``pip install temporalio openai``; a worker runs ``activities=[turn], workflows=[Answers]``.  Temporal runs an
activity again when its worker died or it failed.  Whatever attempt it is, the key is the same: what one
attempt put on record is the answer of the next, without a second call.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():  # only the activity uses these
    import openai
    from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

    from techrevati.runtime import InDoubtError, Journal, Orchestrator, SpendLedger, SqliteStore

MODEL = "gpt-4o-mini"


def folder() -> Path:
    """Where journal and ledger are. All workers need the same: a disk of one machine here."""
    return Path(os.environ.get("DURABLE_FOLDER", "."))


def ask(question: str) -> ChatCompletion:
    """One paid request. Neither the SDK nor anybody else tries again behind the books' back."""
    with openai.OpenAI(max_retries=0) as client:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
        return client.chat.completions.create(model=MODEL, max_tokens=60, messages=messages)


@activity.defn
def turn(question: str) -> str:
    """One turn; the key leaves the attempt's number out."""
    info = activity.info()
    run_id = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
    with SqliteStore(folder() / "runs.db") as store, SpendLedger(folder() / "spend.db") as ledger:
        agent = Orchestrator("guide", "answer", "acme", journal=Journal(store), run_id=run_id, ledger=ledger)
        try:
            with agent.session() as session:
                said, _ = session.run_turn(
                    lambda: ask(question), MODEL, key="ask", input_tokens=200, max_output_tokens=60
                )
        except InDoubtError as error:  # an attempt died between request and record: a human decides
            raise ApplicationError(str(error), type="InDoubt", non_retryable=True) from error
    return ChatCompletion.model_validate(said).choices[0].message.content or ""


@workflow.defn
class Answers:
    """One turn a question; Temporal remembers which are done."""

    @workflow.run
    async def run(self, questions: list[str]) -> list[str]:
        """The answers, in order."""
        return [
            await workflow.execute_activity(
                turn,
                question,
                start_to_close_timeout=timedelta(minutes=2),
                retry_policy=RetryPolicy(maximum_attempts=5),
            )
            for question in questions
        ]


if __name__ == "__main__":
    print("run it in a worker: activities=[turn], workflows=[Answers]")  # noqa: T201
