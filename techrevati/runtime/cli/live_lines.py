"""Show every event and every use of tokens as one line, while it happens.

A line has the seconds since the start, the role, a word for what happened, and the detail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.orchestrator import current_session
from techrevati.runtime.pricing import has_pricing

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.agent_events import AgentEvent
    from techrevati.runtime.cli.terminal import Terminal
    from techrevati.runtime.usage import UsageSnapshot

_TROUBLE = frozenset({Status.RED, Status.FAILED, Status.BLOCKED})
_WORDS: dict[Name, tuple[str, str]] = {
    Name.AGENT_STARTED: ("started", "bold"),
    Name.AGENT_READY: ("ready", ""),
    Name.AGENT_BLOCKED: ("blocked", "yellow"),
    Name.AGENT_TOOL_CALLED: ("tool", "cyan"),
    Name.AGENT_TOOL_COMPLETED: ("tool done", "dim"),
    Name.AGENT_COMPLETED: ("completed", "green"),
    Name.AGENT_FAILED: ("failed", "red"),
    Name.AGENT_CANCELLED: ("cancelled", "red"),
    Name.RECOVERY_ATTEMPTED: ("failure", "yellow"),
    Name.RECOVERY_SUCCEEDED: ("recovered", "green"),
    Name.RECOVERY_ESCALATED: ("gave up", "red"),
    Name.RECOVERY_FAILED: ("gave up", "red"),
    Name.RECOVERY_PROVIDER_SWITCHED: ("switched", "yellow"),
    Name.CIRCUIT_OPENED: ("circuit", "red"),
    Name.CIRCUIT_HALF_OPENED: ("circuit", "yellow"),
    Name.CIRCUIT_CLOSED: ("circuit", "green"),
    Name.DEADLINE_STARTED: ("deadline", "bold"),
    Name.DEADLINE_SHORTENED: ("deadline", "yellow"),
    Name.DEADLINE_ENDED: ("deadline", "bold"),
    Name.HOOK_PRE_TOOL: ("guardrails", "dim"),
    Name.HOOK_POST_TOOL: ("guardrails", "dim"),
}
# Said already by the word, or of no use to people.
_NAMES = ("ChatError: ", "CircuitOpenError: ")


class LiveLines:
    """An event sink and a usage sink that write to a terminal.

    Args:
        clock: Seconds; what it says now is the start.
        tool_under_way: Says which tool is being used on what; events only know the tool's name.
    """

    def __init__(
        self, terminal: Terminal, *, clock: Callable[[], float], tool_under_way: Callable[[], str]
    ) -> None:
        self._terminal = terminal
        self._clock = clock
        self._start_s = clock()
        self._tool_under_way = tool_under_way
        self.count: int = 0

    def emit(self, event: AgentEvent) -> None:
        """Show one event."""
        self.count += 1
        word, style = _WORDS.get(event.event, (event.event.value, ""))
        if style == "dim" and event.status in _TROUBLE:
            style = "red"
        data = event.data or {}
        if event.event is Name.RECOVERY_ATTEMPTED:
            word = _recovery_word(data)
        if "budget_usd" in data:
            word = "budget"
        self._show(event.role or "run", word, self._told(event), style)

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Show what one answer used."""
        session = current_session()
        read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        cost = f"${cost_usd:.6f}" if has_pricing(model) else "no price known"
        told = f"{model}: {read:,} tokens in, {usage.output_tokens:,} out, {cost}"
        self._show("" if session is None else session.role, "usage", told, "dim")

    def recalled(self, role: str, step: str) -> None:
        """Show a step that was answered from the journal; it is no event."""
        self._show(role, "journal", f"{step} is on record and not done again", "dim")

    def _show(self, role: str, word: str, told: str, style: str) -> None:
        seconds = f"{self._clock() - self._start_s:6.2f}s"
        painted = self._terminal.styled(f"{word:<10}", style)
        self._terminal.line(told, head=f"{seconds}  {role:<10}  ", word=painted, word_width=10)

    def _told(self, event: AgentEvent) -> str:
        data = event.data or {}
        detail = " ".join((event.detail or "").split())
        for name in _NAMES:
            detail = detail.removeprefix(name)
        match event.event:
            case Name.AGENT_STARTED:
                return f"phase: {event.phase}"
            case Name.AGENT_TOOL_CALLED:
                return self._tool_under_way()
            case Name.AGENT_TOOL_COMPLETED:
                failed = event.status is Status.FAILED
                return f"{data.get('tool')}: {'no result for the model' if failed else 'ok'}"
            case Name.HOOK_PRE_TOOL | Name.HOOK_POST_TOOL if event.status is Status.GREEN:
                before = event.event is Name.HOOK_PRE_TOOL
                return f"{data.get('tool')}: {'may run' if before else 'the result may be used'}"
            case Name.HOOK_PRE_TOOL | Name.HOOK_POST_TOOL:
                verb = "refused" if event.event is Name.HOOK_PRE_TOOL else "the result is withheld"
                return f"{self._tool_under_way()}: {verb}, {detail.partition(': ')[2]}"
            case Name.AGENT_BLOCKED if data.get("tool"):
                return f"{self._tool_under_way()}: {detail}; nothing was done"
            case Name.RECOVERY_ATTEMPTED | Name.RECOVERY_ESCALATED | Name.RECOVERY_FAILED if (
                "scenario" in data
            ):
                return f"{detail.rstrip('.')}; {_recipe(data)}"
            case _:
                return detail


def _recovery_word(data: dict[str, object]) -> str:
    if "wait_seconds" in data:
        return "retry"
    if data.get("step"):
        return "smaller"
    return "refused" if data.get("reason") in ("refused", "resting") else "failure"


def _recipe(data: dict[str, object]) -> str:
    if data.get("reason") is not None:
        return f"recipe {data.get('scenario')}: {data.get('reason')}"
    steps = data.get("steps")
    named = ", ".join(str(step).replace("_", " ") for step in steps) if isinstance(steps, list) else ""
    return f"recipe {data.get('scenario')}: {named}"
