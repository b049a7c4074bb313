"""Names and values of OpenTelemetry's conventions: what of an event is shown, and as what.

Source: OpenTelemetry semantic conventions for generative AI (agent and client spans, client metrics).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.otel import _nanoseconds
from techrevati.runtime.otel.sendable import encodable
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from opentelemetry.trace import Span

    from techrevati.runtime.agent_events import AgentEvent

    Attributes: TypeAlias = dict[str, str | int | float | bool]
    Facts: TypeAlias = Mapping[str, object]

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
_PLAIN = (str, int, float, bool)
_CONTENT = frozenset({"result", "prompt", "answer", "arguments"})


def chat(provider: str, model: str, operation: str = "chat") -> Attributes:
    """Of every model call."""
    attributes: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider_name(provider),
    }
    if model:
        attributes["gen_ai.request.model"] = model
    return attributes


def request(facts: Facts, provider: str, model: str, operation: str) -> Attributes:
    """Of one physical request."""
    attributes = chat(provider, model, operation)
    attempt = facts.get("attempt")
    if isinstance(attempt, int):
        attributes["techrevati.attempt"] = attempt
    for key in ("shape", "server_address", "server_port"):
        value = facts.get(key)
        if isinstance(value, (str, int)):
            name = "techrevati.request.shape" if key == "shape" else key.replace("_", ".")
            attributes[name] = value
    settings = facts.get("settings")
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if isinstance(value, (int, float)):
            attributes[f"gen_ai.request.{key}"] = value
    return attributes


def noted(event: AgentEvent, facts: Facts, *, texts: bool) -> Attributes:
    """Of an event with no duration; *texts* of errors only where they are wanted."""
    attributes: Attributes = {"techrevati.status": event.status.value}
    for key, value in facts.items():
        if isinstance(value, _PLAIN) and key not in _CONTENT and (texts or key != "reason"):
            attributes[f"techrevati.{key}"] = value
    if event.failure_class is not None:
        attributes["error.type"] = event.failure_class.value
    if texts and event.detail is not None:
        attributes["techrevati.detail"] = event.detail
    return attributes


def ns_of(event: AgentEvent) -> int:
    import time

    when = event._emitted_at
    if isinstance(when, float):
        return int(when * 1_000_000) * 1000
    return _nanoseconds(event.emitted_at) or time.time_ns()


def error_type(event: AgentEvent) -> str:
    kind = (event.data or {}).get("kind")
    if isinstance(kind, str):
        return kind
    return event.event.value if event.failure_class is None else event.failure_class.value


def text_of(facts: Facts, key: str) -> str:
    value = facts.get(key)
    return value if isinstance(value, str) else ""


def operation_of(shape: str) -> str:
    """What the conventions call a request to one of the APIs."""
    return {"embeddings": "embeddings", "completions": "text_completion"}.get(shape.partition(".")[0], "chat")


def provider_name(name: str) -> str:
    """What the conventions call a provider."""
    return _PROVIDERS.get(name, name)


def usage_of(facts: Facts) -> UsageSnapshot | None:
    told = facts.get("usage")
    return UsageSnapshot.from_dict(told) if isinstance(told, dict) else None


def show_usage(span: Span, usage: UsageSnapshot, cost_usd: object) -> None:
    given = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    span.set_attribute("gen_ai.usage.input_tokens", given)
    span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
    optional = (
        ("gen_ai.usage.cache_read.input_tokens", usage.cache_read_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
        ("gen_ai.response.model", usage.model),
    )
    for name, value in optional:
        if value:
            span.set_attribute(name, encodable(value) if isinstance(value, str) else value)
    if isinstance(cost_usd, float):
        span.set_attribute("techrevati.cost.usd", cost_usd)
