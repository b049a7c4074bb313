"""What several calls used, where one object tells of all of them: added up, and never only some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.looking import items, view, whole, word
from techrevati.runtime.usage.shapes import input_output
from techrevati.runtime.usage.snapshot import FIELDS, UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from techrevati.runtime.usage.looking import View
    from techrevati.runtime.usage.shapes import Fields


def of_prompts(result: View, find: Callable[[View, int], Fields | None]) -> Fields | None:
    """langchain's ``LLMResult``: one list of answers for each prompt, of which each says what all of them
    used; or, where messages do not say it, the sum that the model's own class made.  Its ``ChatResult`` has
    the list of a single prompt, and a generation is one answer."""
    if result.get("message") is not None and result.get("choices") is None:
        return find(view(result.get("message")), 1)
    parts: list[Fields] = []
    prompts = items(result.get("generations"))
    if prompts and not isinstance(prompts[0], (list, tuple)):
        prompts = [prompts]
    for each in prompts:
        answers = items(each)
        fields = find(view(view(answers[0]).get("message")), 1) if answers else None
        if fields is None:
            parts = []
            break
        parts.append(fields)
    return _sum(parts) if parts else find(view(result.get("llm_output")), 1)


def by_model(totals: View) -> Fields | None:
    """The totals of langchain's callback: a usage for each model's name."""
    if not isinstance(totals, dict) or not totals:
        return None
    parts = []
    for model, usage in totals.items():
        usage = view(usage)
        fields = input_output(usage) if whole(usage.get("total_tokens")) is not None else None
        if fields is None or word(model) is None:
            return None
        parts.append(fields | {"model": model})
    return _sum(parts)


def _sum(parts: Sequence[Fields]) -> Fields:
    first, *others = (UsageSnapshot(**fields) for fields in parts)  # type: ignore[arg-type]
    whole_sum = sum(others, first)
    return {name: getattr(whole_sum, name) for name in FIELDS}
