"""The JSON that the ``genai-prices`` project publishes (MIT): a list of providers with their models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.pricing.files import BROKEN, number, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from techrevati.runtime.pricing.files import Models, Written

UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write",
    "cache_read_mtok": "cache_read",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "output_image_mtok": "output_image",
    "output_citation_mtok": "citation",
    "cache_audio_read_mtok": "cache_read_audio",
    "web_searches_kcount": "web_search",
    "requests_kcount": "request",
}
_TIER_OF = {
    ("processing", "batch"): "batch",
    ("service_tier", "priority"): "priority",
    ("service_tier", "flex"): "flex",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
    ("search_type", "fast"): "fast",
    ("route", "mistral/eu"): "eu",
}


def models_from(providers: Sequence[object]) -> Models:
    """Every name that a provider's models are matched by, as ``provider/name``, with its prices.

    Rules that match names by a part of them are read as the names they spell out: a name's boundary decides
    here, so a rule for ``gpt-5`` does not price ``gpt-5-mini``.
    """
    models: Models = {}
    for provider in providers:
        if not isinstance(provider, dict) or not isinstance(provider.get("models"), list):
            raise ValueError("a genai-prices file must be a list of providers with their models")
        shelf = str(provider.get("id")).lower()
        read = []
        for model in provider["models"]:
            try:
                written = _written(model)
            except BROKEN as error:
                name = model.get("id") if isinstance(model, dict) else model
                raise unreadable(f"{shelf}/{name}", error) from None
            if written is not None:
                read.append((model, written))
        for model, written in read:  # ids first: a rule of another model must not take them
            models.setdefault(f"{shelf}/{str(model['id']).lower()}", written)
        for model, written in read:
            for name in names_in(model.get("match")):
                models.setdefault(f"{shelf}/{name}", written)
    return models


def names_in(match: object) -> Iterator[str]:
    """The names that a rule of matching spells out."""
    if not isinstance(match, dict):
        return
    for kind, value in match.items():
        if kind in ("or", "and"):
            for each in value if isinstance(value, list) else ():
                yield from names_in(each)
        elif kind in ("equals", "starts_with", "contains", "ends_with"):
            # A rule ends in the mark that the rest of a name begins with; "@cf/…" begins with one of its own.
            name = str(value).lower().rstrip("-_/.:@ ").lstrip("-_/.: ")
            if len(name) >= 2 and not any(mark in name for mark in "\t\n"):
                yield name


def _written(model: Mapping[str, object]) -> Written | None:
    given = model.get("prices")
    if not given and str(model["id"]).endswith(":free"):
        return {"id": str(model["id"]).lower(), "prices": [[{"input": 0, "output": 0}]]}
    periods = []
    for each in given if isinstance(given, list) else [{"prices": given}]:
        prices = _prices(each.get("prices"))
        if prices:
            periods.append(_period(prices, each.get("constraint")))
    if not periods or not {"input", "output"} & _parts(periods[0]):
        return None
    written: Written = {"id": str(model["id"]).lower(), "prices": _joined_windows(periods)}
    tiers: dict[str, list[list[object]]] = {}
    variants = model.get("price_variants")
    for variant in variants if isinstance(variants, list) else ():
        conditions = [(str(name), str(value)) for name, value in variant["when"].items()]
        tier = _TIER_OF.get(conditions[0]) if len(conditions) == 1 else None
        prices = _prices(variant.get("prices"))
        if tier is not None and prices:
            # There the first that applies wins, here the last.
            tiers.setdefault(tier, []).insert(0, _period(prices, variant.get("constraint")))
    if tiers:
        written["tiers"] = tiers
    return written


def _prices(given: object) -> dict[str, object]:
    prices: dict[str, object] = {}
    for unit, value in (given or {}).items() if isinstance(given, dict) else ():
        part = UNITS.get(unit)
        if part is None or value is None:
            continue
        if isinstance(value, dict):
            steps: list[object] = [number(value["base"])]
            for tier in sorted(value["tiers"], key=lambda tier: int(tier["start"])):
                steps += [int(tier["start"]), number(tier["price"])]
            prices[part] = steps
        else:
            price = number(value)
            if price is None:  # left out it would be free
                raise ValueError(f"{unit} must be a number >= 0, got {value!r}")
            prices[part] = price
    return prices


def _period(prices: dict[str, object], constraint: object) -> list[object]:
    if not isinstance(constraint, dict):
        return [prices]
    if constraint.get("start_date") is not None:
        return [prices, {"from": str(constraint["start_date"])[:10]}]
    start, end = str(constraint["start_time"])[:5], str(constraint["end_time"])[:5]
    return [prices, {"hours": [f"{start}-{end}"]}]


def _parts(period: list[object]) -> set[str]:
    prices = period[0]
    assert isinstance(prices, dict)
    return set(prices)


def _joined_windows(periods: list[list[object]]) -> list[list[object]]:
    """Neighbouring periods of equal prices that differ by their hours, as one."""
    joined: list[list[object]] = []
    for period in periods:
        before = joined[-1] if joined else None
        if before and len(before) == len(period) == 2 and before[0] == period[0]:
            old, new = before[1], period[1]
            assert isinstance(old, dict)
            assert isinstance(new, dict)
            if "hours" in old and "hours" in new:
                old["hours"] = [*old["hours"], *new["hours"]]
                continue
        joined.append(period)
    return joined
