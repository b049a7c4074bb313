"""Model calls on the library's own parts: one ``Pipeline`` around each request, ``Recovery`` around a turn.

The pipeline is, outermost first: the deadline of the run, ``Retry``, ``Failover`` to the other models, the
breaker of the preferred one.  A context that is too long is another matter: the same request would fail again
everywhere, so the turn's recovery makes it smaller.  What happens is told as it happens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import BudgetExceededError
from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.cli.chat_client import ChatReply, ToolCall, reply_of
from techrevati.runtime.cli.circuits import Circuit
from techrevati.runtime.failover import Failover, Target
from techrevati.runtime.failures import Failure, FailureOrigin
from techrevati.runtime.journal import Happened
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.retry_policy import Recovery, RecoveryStep, Retry, smaller_context_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from techrevati.runtime.cli.announcements import Announcer
    from techrevati.runtime.cli.chat_client import ChatClient
    from techrevati.runtime.cli.circuits import Patience
    from techrevati.runtime.cli.conversation import Conversation
    from techrevati.runtime.cli.demo_lives import Lives
    from techrevati.runtime.cli.demo_spend import Books
    from techrevati.runtime.cli.tally import Tally
    from techrevati.runtime.deadlines import Deadline
    from techrevati.runtime.failover import PassedTarget, TargetSwitch
    from techrevati.runtime.orchestrator import OrchestrationSession
    from techrevati.runtime.pipeline.pipeline import Part
    from techrevati.runtime.retry_policy import RecoveryNews, RetryAttempt

_NO_MORE = {
    "attempts": "it was tried often enough",
    "deadline": "the wait would outlast the deadline",
    "retry-after too long": "the endpoint asks for too long a wait",
}


class _Turn:
    """One turn of a role: what is asked, whom, and what went wrong on the way."""

    def __init__(self, role: str, run_id: str, talk: Conversation, may_use_tools: bool, model: str) -> None:
        self.role = role
        self.run_id = run_id
        self.talk = talk
        self.may_use_tools = may_use_tools
        self.model = model
        self.sent = 0
        self.about: Mapping[str, str] | None = None
        self.has_shrunk = False
        self.troubles: list[str] = []
        self.recovered = False


class ModelCaller:
    """Asks models on behalf of sessions, one call at a time.

    Args:
        models: In order of preference.
        sleep: Waits so many seconds.
        draw: Gives numbers in [0, 1) for the jitter of the waits.
        lives: Where turns are on record; None for no record.

    Attributes:
        circuits: By model.
        pipeline: What stands around each request.
        recovery: For the orchestrators whose sessions ask.
    """

    def __init__(
        self,
        client: ChatClient,
        models: Sequence[str],
        patience: Patience,
        deadline: Deadline,
        announcer: Announcer,
        tally: Tally,
        books: Books,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        draw: Callable[[], float] | None = None,
        lives: Lives | None = None,
    ) -> None:
        self._client = client
        self._lives = lives
        self._announcer = announcer
        self._tally = tally
        self._books = books
        self._turn: _Turn | None = None
        self.circuits: dict[str, Circuit] = {
            model: Circuit(model, patience, clock, announcer) for model in models
        }
        self._preferred, *others = models
        retry = Retry(
            patience.attempts,
            base_delay_seconds=patience.first_wait_s,
            max_delay_seconds=patience.longest_backoff_s,
            max_retry_after_seconds=patience.longest_wait_s,
            jitter="decorrelated",
            on_attempt=self._failed,
            clock=clock,
            sleep=sleep,
            rng=draw,
        )
        parts: list[Part] = [deadline, retry]
        if others:
            targets = [
                Target(model, partial(self._send, model), breaker=self.circuits[model].breaker)
                for model in others
            ]
            parts.append(Failover(targets, on_switch=self._switched, clock=clock))
        self.pipeline: Pipeline = Pipeline(*parts, self.circuits[self._preferred].breaker)
        handlers = {
            RecoveryStep.RETRY_WITH_SMALLER_CONTEXT: self._shrink,
            RecoveryStep.REDUCE_TOOL_SET: self._reduce_tools,
        }
        self.recovery: Recovery = Recovery(handlers, on_event=self._recovered, sleep=sleep, rng=draw)

    def ask(
        self, session: OrchestrationSession, talk: Conversation, *, may_use_tools: bool = True
    ) -> ChatReply:
        """The model's answer to *talk*, which may have shrunk when this returns.

        Raises:
            BudgetExceededError, MaxIterationsExceededError: The session may not go on.
            DeadlineExceededError: The run may not.
            Exception: The last failure, when nothing could help.
        """
        turn = self._turn = _Turn(session.role, session.run_id, talk, may_use_tools, self._preferred)
        send = partial(self._send, self._preferred)
        if self._lives is None:
            reply, _ = session.run_turn(lambda: self.pipeline.call(send, turn), lambda: turn.model)
        else:
            reply = self._on_record(self._lives, session, turn, lambda: self.pipeline.call(send, turn))
        if turn.troubles and not turn.recovered:  # else the session has told it
            told = f"{turn.model} answered; on the way: {'; '.join(dict.fromkeys(turn.troubles))}"
            data = {"model": turn.model, "requests": turn.sent}
            self._announcer.tell(Name.RECOVERY_SUCCEEDED, Status.GREEN, told, data)
        return reply

    def _on_record(
        self, lives: Lives, session: OrchestrationSession, turn: _Turn, call: Callable[[], ChatReply]
    ) -> ChatReply:
        """One turn that happens once in all lives; its record says who answered, and how the talk went on."""
        key = lives.next_key(turn.role, "turn")
        turn.about = lives.about(turn.role, key)
        talk = turn.talk

        def made() -> dict[str, Any]:
            return recorded(call(), turn.model, talk if turn.has_shrunk else None)

        def found() -> bool | Happened:
            answer = lives.answered(turn.role, key)
            if answer is None:
                return False
            turn.model = str(answer["model"])
            return Happened(recorded(reply_of(answer), turn.model, None))

        with lives.told_if_recalled(session, key):
            try:
                result, _ = session.run_turn(made, lambda: turn.model, key=key, verify=found)
            except BudgetExceededError as over:
                if isinstance(over.result, dict):
                    over.result = replied(over.result)
                raise
        if result["talk"] is not None:
            talk.messages, talk.tools = result["talk"]
        return replied(result)

    def _send(self, model: str, turn: _Turn) -> ChatReply:
        """One physical request: counted, and on the books whatever becomes of it."""
        turn.model = model
        with self._books.attempt(model, turn.role, turn.run_id, turn.talk) as attempt:
            self._tally.sent(turn.role, model, again=turn.sent > 0)
            turn.sent += 1
            self._client.on_behalf(turn.role, turn.run_id)
            if turn.about is not None:
                self._client.store_under({**turn.about, "request": attempt.key})
            reply = self._client.complete(
                model, turn.talk.messages, turn.talk.tools, may_use_tools=turn.may_use_tools
            )
            attempt.answered(reply)
        return reply

    # --- what the parts tell -------------------------------------------------------------------------------

    def _failed(self, attempt: RetryAttempt) -> None:
        """The retry: all models that could be asked failed, and what is done about that."""
        failure, wait_s = attempt.failure, attempt.wait_seconds
        if failure is None or self._turn is None:
            return
        if failure.origin is FailureOrigin.RUNTIME and len(self.circuits) == 1:  # else the failover tells it
            self.circuits[self._preferred].refused += 1
        if wait_s is None:
            why = _NO_MORE.get(attempt.reason or "")
            if why is not None:
                self._announcer.tell(
                    Name.RECOVERY_FAILED, Status.RED, f"{_ended(failure)}; no more retries: {why}"
                )
            return
        why = ""
        if wait_s == failure.retry_after:
            ours = failure.origin is FailureOrigin.RUNTIME
            why = ", until a call may try" if ours else ", as the endpoint asked"
        waits = f"{wait_s:.1f} s{why}"
        self._turn.troubles.append(f"waited {waits}")
        data = {"attempt": attempt.number, "wait_seconds": wait_s, "retry_after": failure.retry_after}
        self._announcer.tell(
            Name.RECOVERY_ATTEMPTED, Status.RUNNING, f"{_ended(failure)}; waits {waits}", data
        )

    def _switched(self, switch: TargetSwitch) -> None:
        """The failover: another model is asked."""
        for passed in switch.passed:
            self._passed(passed)
        before = [self._model(passed) for passed in switch.passed]
        told = f"asks {switch.target} instead of {' or '.join(before)}"
        if self._turn is not None:
            self._turn.troubles.append(told.replace("asks", "asked"))
        data = {"from": before, "to": switch.target}
        self._announcer.tell(Name.RECOVERY_PROVIDER_SWITCHED, Status.RUNNING, told, data)

    def _passed(self, passed: PassedTarget) -> None:
        model, failure = self._model(passed), passed.failure
        refused = passed.reason == "open" or (failure is not None and failure.origin is FailureOrigin.RUNTIME)
        if refused:
            self.circuits[model].refused += 1
        told = f"{model} is not asked: {passed.reason}" if failure is None else failure.message
        if passed.reason == "resting" and passed.retry_after is not None:
            told = f"{model} asked to be left alone, for {passed.retry_after:.1f} s more"
        data = {"model": model, "reason": "refused" if refused else passed.reason}
        self._announcer.tell(Name.RECOVERY_ATTEMPTED, Status.RUNNING, told, data)

    def _model(self, passed: PassedTarget) -> str:
        return passed.name if passed.name in self.circuits else self._preferred

    def _recovered(self, news: RecoveryNews) -> None:
        if self._turn is not None and news.event == "succeeded":
            self._turn.recovered = True

    # --- what the recipe of an overflow asks for -----------------------------------------------------------

    def _shrink(self, failure: Failure) -> bool:
        assert self._turn is not None
        talk = self._turn.talk
        before, material = talk.about_tokens(), talk.about_material_tokens()
        if not talk.shrink(before - material + smaller_context_budget(material)):
            return False
        self._smaller(f"context cut from about {before:,} to {talk.about_tokens():,} tokens")
        return True

    def _reduce_tools(self, failure: Failure) -> bool:
        assert self._turn is not None
        if not self._turn.talk.drop_tool("search_files"):
            return False
        self._smaller("search_files is no longer offered")
        return True

    def _smaller(self, told: str) -> None:
        if self._turn is not None:
            self._turn.has_shrunk = True
        self._announcer.tell(Name.RECOVERY_ATTEMPTED, Status.RUNNING, told, {"step": "smaller context"})


def recorded(reply: ChatReply, model: str, talk: Conversation | None) -> dict[str, Any]:
    """A turn as a journal keeps it; with the *talk* if it was made smaller on the way."""
    return {
        "text": reply.text,
        "tool_calls": [[call.id, call.name, call.arguments] for call in reply.tool_calls],
        "message": reply.message,
        "usage": reply.usage,
        "model": model,
        "talk": None if talk is None else [talk.messages, talk.tools],
    }


def replied(result: dict[str, Any]) -> ChatReply:
    """The reply of a turn on record."""
    calls = tuple(ToolCall(*call) for call in result["tool_calls"])
    return ChatReply(result["text"], calls, result["message"], result["usage"])


def _ended(failure: Failure) -> str:
    return failure.message.rstrip(".")
