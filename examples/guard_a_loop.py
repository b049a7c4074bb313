"""A plain agent loop, made safe: breaker, budget, turn cap, timeout, permissions, events.

``pip install techrevati-runtime``.  The model here is a function; put your client's call in its place.
"""

from __future__ import annotations

from techrevati.runtime import (
    AgentEvent,
    CircuitBreaker,
    MaxIterationsExceededError,
    ModelPricing,
    Orchestrator,
    PermissionDeniedError,
    PermissionMode,
    PermissionPolicy,
    RolePermissionConfig,
    register_pricing,
)


def model(messages: list[str]) -> dict[str, object]:
    """Stands for ``client.chat.completions.create(…)``; this one never knows when to stop."""
    tool = "delete_file" if len(messages) == 2 else "search"
    return {"tool": tool, "usage": {"prompt_tokens": 200 * len(messages), "completion_tokens": 40}}


class Print:  # an event sink is anything with ``emit``
    def emit(self, event: AgentEvent) -> None:
        tool = (event.data or {}).get("tool", "")
        print(f"{event.sequence:3} {event.event.value:22} {tool} {event.detail or ''}".rstrip())


register_pricing("demo-small", ModelPricing(input_per_million=0.15, output_per_million=0.60))
reader = RolePermissionConfig("researcher", PermissionMode.READ_ONLY)
agent = Orchestrator(
    "researcher",
    "research",
    project_id="acme",
    circuit_breaker=CircuitBreaker("demo-provider"),
    permissions=PermissionPolicy([reader], {"delete_file": PermissionMode.FULL_ACCESS}),
    budget_usd=0.50,
    enforce_budget=True,
    max_iterations=4,
    event_sink=Print(),
)

messages = ["Find out why the sky is blue."]
try:
    with agent.session() as session:
        while True:
            reply, _ = session.run_turn(lambda: model(messages), model="demo-small", timeout=30)
            try:
                messages.append(session.run_tool(str(reply["tool"]), lambda: "nothing new"))
            except PermissionDeniedError as refusal:
                messages.append(str(refusal))
except MaxIterationsExceededError as stop:
    print(f"stopped: {stop}")
print(session.tracker.summary())
