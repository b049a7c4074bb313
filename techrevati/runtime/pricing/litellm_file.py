"""LiteLLM's ``model_prices_and_context_window.json`` (MIT): a flat object of model names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime.pricing.files import BROKEN, first_of, number, shortest, unreadable
from techrevati.runtime.pricing.names import canonical_provider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from techrevati.runtime.pricing.files import Models, Written

_PARTS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_creation_input_token_cost": "cache_write",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_image_token": "output_image",
    "citation_cost_per_token": "citation",
    "cache_read_input_audio_token_cost": "cache_read_audio",
}
_TIERS = {"batches": "batch", "flex": "flex", "priority": "priority", "ultrafast": "fast"}
_KEY = re.compile(
    rf"({'|'.join(sorted(_PARTS, key=len, reverse=True))})(?:_above_(\d+)k_tokens)?(?:_({'|'.join(_TIERS)}))?"
)
_SAME_UNLESS_SAID = {
    "reasoning": "output",
    "output_audio": "output",
    "output_image": "output",
    "input_audio": "input",
    "input_image": "input",
}
_FREE_HOSTS = {"ollama", "lemonade", "ollama_chat"}  # they run on your own machine
_FEE_PER_CALL = {"perplexity"}  # every call searches


def models_from(content: Mapping[str, object]) -> Models:
    """Every model that is priced by tokens, as ``provider/name``, with its prices."""
    models: Models = {}
    for key, given in content.items():
        if not isinstance(given, dict) or key == "sample_spec":
            continue
        value = given
        target = content.get(str(given.get("alias_of")))
        if isinstance(target, dict):
            value = {**target, **given}
        host = value.get("litellm_provider")
        if not isinstance(host, str) or " " in host:
            continue
        try:
            written = _written(value, host, key)
        except BROKEN as error:
            raise unreadable(key, error) from None
        if written is not None:
            for name in _names(key.lower(), host):
                known = models.setdefault(name, written)
                if known is not written and known["prices"] == written["prices"]:
                    _add_tiers(known, written)  # the same platform's row for another of its APIs
    return models


def _add_tiers(known: Written, other: Written) -> None:
    """Let *known* have the tiers that only *other* prices."""
    tiers, more = known.get("tiers", {}), other.get("tiers", {})
    assert isinstance(tiers, dict)
    assert isinstance(more, dict)
    if more.keys() - tiers.keys():
        known["tiers"] = {**more, **tiers}


def _names(key: str, host: str) -> Iterator[str]:
    provider = canonical_provider(host)
    head, slash, rest = key.partition("/")
    own = rest if slash and canonical_provider(head) == provider else key
    if slash and provider == "zai" and canonical_provider(head) == "zhipuai":
        own = rest
    yield f"{provider}/{own}"


def _written(value: Mapping[str, object], host: str, key: str) -> Written | None:
    steps_of, tiers_of = _read_prices(value, 1 if canonical_provider(host) == "x-ai" else 0)
    prices = {part: _steps(steps) for part, steps in steps_of.items() if 0 in steps}
    if "input" not in prices and "output" not in prices:
        prices = _ranged(value.get("tiered_pricing"))
    if not prices:
        return None
    free = not any(_charged(prices.get(part)) for part in ("input", "output"))
    if free and host not in _FREE_HOSTS and ":free" not in key:
        return None  # a zero there means "not charged by tokens" as often as it means free
    if prices.get("cache_write") == 0 and prices.get("input"):
        del prices["cache_write"]  # not charged beside the input
    if prices.get("cache_read") == 0 and prices.get("input"):
        del prices["cache_read"]
    for part, whole in _SAME_UNLESS_SAID.items():
        if part in prices and prices[part] == prices.get(whole):
            del prices[part]  # repeated; a tier that names only the whole means this part, too
    _add_fees(prices, value, host)
    written: Written = {"prices": _periods(prices, value.get("off_peak_pricing"))}
    tiers: dict[str, object] = {}
    for tier, parts in tiers_of.items():
        own = {part: _steps(steps) for part, steps in parts.items() if 0 in steps}
        if own:
            tiers[tier] = [[own]]
    for name, tier in (("us", "us"), ("eu", "eu")):
        factor = _factor(value, name)
        if factor is not None:
            tiers[tier] = factor
    if tiers:
        written["tiers"] = tiers
    limit = first_of((value.get("max_output_tokens"), None))
    if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        written["out"] = limit
    return written


def _charged(price: object) -> bool:
    """Whether a price, or any step of it, is more than nothing."""
    return any(price[::2]) if isinstance(price, list) else bool(price)


def _read_prices(
    value: Mapping[str, object], at_or_above: int
) -> tuple[dict[str, dict[int, object]], dict[str, dict[str, dict[int, object]]]]:
    standard: dict[str, dict[int, object]] = {}
    tiers: dict[str, dict[str, dict[int, object]]] = {}
    for name, given in value.items():
        match = _KEY.fullmatch(name)
        if match is None:
            continue
        price = _per_million(given)
        if price is None:
            if given is None:
                continue
            raise ValueError(f"{name} must be a number >= 0, got {given!r}")  # left out it would be free
        part, start, tier = _PARTS[match[1]], match[2], match[3]
        target = standard if tier is None else tiers.setdefault(_TIERS[tier], {})
        target.setdefault(part, {})[int(start) * 1000 - at_or_above if start else 0] = price
    return standard, tiers


def _per_million(given: object, scale: int = 1_000_000) -> str | int | None:
    from decimal import Decimal

    if number(given) is None:
        return None
    # Binary fractions that were multiplied or added leave noise after the fifteenth digit, thirds after the
    # twelfth.
    return shortest(Decimal(str(given)) * scale, 12)


def _steps(steps: Mapping[int, object]) -> object:
    if len(steps) == 1:
        return steps[0]
    flat: list[object] = [steps[0]]
    for start in sorted(steps):
        if start:
            flat += [start, steps[start]]
    return flat


def _ranged(given: object) -> dict[str, object]:
    """Prices by ranges of input size: ``[{"range": [0, 32000], "input_cost_per_token": …}, …]``."""
    if not isinstance(given, list):
        return {}
    steps: dict[str, dict[int, object]] = {}
    for each in given:
        if not isinstance(each, dict) or not isinstance(each.get("range"), list):
            return {}
        for name, part in _PARTS.items():
            price = _per_million(each.get(name))
            if price is not None:
                steps.setdefault(part, {})[int(float(each["range"][0]))] = price
    return {part: _steps(levels) for part, levels in steps.items() if 0 in levels}


def _add_fees(prices: dict[str, object], value: Mapping[str, object], host: str) -> None:
    sizes = value.get("search_context_cost_per_query")
    if isinstance(sizes, dict):
        deep = "deep-research" in str(value.get("source", "")) or "citation" in prices
        fee = _per_million(sizes.get("search_context_size_medium"), 1000)
        if fee:
            prices["request" if host in _FEE_PER_CALL and not deep else "web_search"] = fee
    fee = _per_million(value.get("input_cost_per_request"), 1000)
    if fee:
        prices["request"] = fee


def _periods(prices: dict[str, object], off_peak: object) -> list[list[object]]:
    periods: list[list[object]] = [[prices]]
    if not isinstance(off_peak, dict):
        return periods
    cheaper = dict(prices)
    for name, part in _PARTS.items():
        price = _per_million(off_peak.get(name))
        if price is not None:
            cheaper[part] = price
    for window in off_peak.get("windows", ()):
        hours = window["hours_utc"]
        condition: dict[str, object] = {}
        listed = [hours] if isinstance(hours, str) else list(hours)
        if listed != ["00:00-00:00"]:
            condition["hours"] = listed
        if window.get("weekdays"):
            condition["days"] = list(window["weekdays"])
        periods.append([cheaper, condition])
    return periods


def _factor(value: Mapping[str, object], region: str) -> str | int | None:
    entry = value.get("provider_specific_entry")
    given = entry.get(region) if isinstance(entry, dict) else None
    return number(first_of((given, value.get(f"regional_processing_uplift_multiplier_{region}"))))
