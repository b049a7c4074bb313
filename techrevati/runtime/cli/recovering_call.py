"""One question to a model, asked again as the recovery recipes say until it is answered.

A failed turn is classified by the session, which then runs the recipe of that failure with the handlers
registered here: they wait, switch the model, or shrink the context.  If every step worked, the call is really
made again, and only its answer is called a recovery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import BudgetExceededError, TechrevatiError
from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.circuit_breaker import CircuitOpenError
from techrevati.runtime.failures import Failure, FailureOrigin, FailureScenario, classify
from techrevati.runtime.orchestrator import MaxIterationsExceededError
from techrevati.runtime.retry_policy import (
    RecoveryContext,
    RecoveryStep,
    backoff_delay,
    smaller_context_budget,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.cli.announcements import Announcer
    from techrevati.runtime.cli.chat_client import ChatClient, ChatReply
    from techrevati.runtime.cli.conversation import Conversation
    from techrevati.runtime.cli.model_route import ModelRoute, Patience
    from techrevati.runtime.cli.tally import Tally
    from techrevati.runtime.orchestrator import OrchestrationSession

TOLD_WAIT_S = 2.0  # a longer wait is told before it begins


class NotRecoverableError(TechrevatiError, RuntimeError):
    """Doing the same again cannot help; the text says why."""


class ModelCaller:
    """Asks models on behalf of sessions.

    Args:
        sleep: Waits so many seconds.
        draw: Gives numbers in [0, 1) for the jitter of the waits.
    """

    def __init__(
        self,
        client: ChatClient,
        route: ModelRoute,
        patience: Patience,
        announcer: Announcer,
        tally: Tally,
        *,
        sleep: Callable[[float], object],
        draw: Callable[[], float] | None = None,
    ) -> None:
        self.client: ChatClient = client
        self.route: ModelRoute = route
        self.patience: Patience = patience
        self.announcer: Announcer = announcer
        self.tally: Tally = tally
        self.sleep: Callable[[float], object] = sleep
        self.draw: Callable[[], float] | None = draw

    def ask(
        self, session: OrchestrationSession, talk: Conversation, *, may_use_tools: bool = True
    ) -> ChatReply:
        """The model's answer to *talk*, which may have shrunk when this returns.

        Raises:
            BudgetExceededError, MaxIterationsExceededError: The session may not go on.
            Exception: The last failure, when recovery gave up.
        """
        self.route.prefer_first()
        return _RecoveringCall(self, session, talk, may_use_tools).answer()


class _RecoveringCall:
    """The attempts of one call, and what was done between them."""

    def __init__(
        self, caller: ModelCaller, session: OrchestrationSession, talk: Conversation, may_use_tools: bool
    ) -> None:
        self._caller = caller
        self._session = session
        self._talk = talk
        self._may_use_tools = may_use_tools
        self._sent = 0
        self._failures = 0
        self._last_wait_s = 0.0
        self._failure: Failure | None = None
        self._done: list[str] = []
        # Every call gets the recipes anew: a long session must not end at its third rate limit.
        session.recovery = RecoveryContext(
            {
                RecoveryStep.RETRY_WITH_BACKOFF: self._back_off,
                RecoveryStep.SWITCH_PROVIDER: self._switch,
                RecoveryStep.RETRY_WITH_SMALLER_CONTEXT: self._shrink,
                RecoveryStep.REDUCE_TOOL_SET: self._reduce_tools,
            }
        )

    def answer(self) -> ChatReply:
        while True:
            model = self._caller.route.current.model
            try:
                reply, _ = self._session.run_turn(self._attempt, model)
            except (BudgetExceededError, MaxIterationsExceededError):
                raise
            except Exception:
                recoveries = self._session.recovery.events
                if not recoveries or recoveries[-1].result.outcome != "recovered":
                    raise
                self._tell_switch(model)
                continue
            if self._failures:
                self._tell_recovered(model)
            return reply

    def _attempt(self) -> ChatReply:
        circuit = self._caller.route.current
        try:
            return circuit.breaker.call(self._send)
        except Exception as error:
            circuit.refused += isinstance(error, CircuitOpenError)
            self._failures += 1
            self._failure = classify(error)
            raise

    def _send(self) -> ChatReply:
        caller = self._caller
        model = caller.route.current.model
        caller.tally.sent(self._session.role, model, again=self._sent > 0)
        self._sent += 1
        return caller.client.complete(
            model, self._talk.messages, self._talk.tools, may_use_tools=self._may_use_tools
        )

    # --- what recipes ask for ------------------------------------------------------------------------------

    def _back_off(self, scenario: FailureScenario) -> None:
        failure = self._worth_it()
        patience = self._caller.patience
        asked_s = failure.retry_after if failure.origin is FailureOrigin.PROVIDER else None
        self._last_wait_s = backoff_delay(
            self._failures,
            patience.first_wait_s,
            cap=patience.longest_backoff_s,
            prev_delay=self._last_wait_s,
            rng=self._caller.draw,
        )
        closed_s = self._caller.route.current.seconds_until_probe()
        wait_s = max(self._last_wait_s if asked_s is None else asked_s, closed_s)
        why = ""
        if wait_s == closed_s:
            why = f", until the circuit of {self._caller.route.current.model} lets a call try"
        elif wait_s == asked_s:
            why = ", as the endpoint asked"
        if wait_s > patience.longest_wait_s:
            raise NotRecoverableError(f"the endpoint asks to wait {wait_s:,.0f} s")
        if wait_s > TOLD_WAIT_S:
            self._caller.announcer.tell(
                Name.AGENT_BLOCKED, Status.BLOCKED, f"waits {wait_s:.1f} s{why}: {failure.message}"
            )
        self._done.append(f"waited {wait_s:.1f} s{why}")
        self._caller.sleep(wait_s)

    def _switch(self, scenario: FailureScenario) -> None:
        self._worth_it()
        if self._caller.route.switch() is None:
            self._done.append("kept the model, for there is no other")

    def _shrink(self, scenario: FailureScenario) -> None:
        before = self._talk.about_tokens()
        material = self._talk.about_material_tokens()
        if not self._talk.shrink(before - material + smaller_context_budget(material)):
            if not self._talk.tools:  # else the next step of the recipe still makes it smaller
                raise NotRecoverableError("nothing can be left out of the context")
            return
        self._done.append(f"context cut from about {before:,} to {self._talk.about_tokens():,} tokens")

    def _reduce_tools(self, scenario: FailureScenario) -> None:
        if self._talk.drop_tool("search_files"):
            self._done.append("search_files no longer offered")

    def _worth_it(self) -> Failure:
        failure = self._failure
        if failure is None or not failure.retryable:
            raise NotRecoverableError("the same request would fail again")
        return failure

    # --- what is told --------------------------------------------------------------------------------------

    def _tell_switch(self, before: str) -> None:
        after = self._caller.route.current.model
        if after != before:
            data = {"from": before, "to": after}
            told = f"goes on with {after} instead of {before}"
            self._caller.announcer.tell(Name.RECOVERY_PROVIDER_SWITCHED, Status.RUNNING, told, data)

    def _tell_recovered(self, model: str) -> None:
        told = f"{model} answered at attempt {self._failures + 1}: {'; '.join(self._done) or 'tried again'}"
        data = {"model": model, "attempts": self._failures + 1, "requests": self._sent}
        self._caller.announcer.tell(Name.RECOVERY_SUCCEEDED, Status.GREEN, told, data)
