"""Make the bundled price book from what two packages publish: ``genai-prices`` and ``litellm``.

    python -m venv /tmp/prices && /tmp/prices/bin/pip install genai-prices litellm
    /tmp/prices/bin/python .ci/price_book.py [older model_prices_and_context_window.json, ...]

Both are read as the facts they publish.  Where they disagree about a price, the provider's page wins where it
is known (``.ci/price_pages.py``); then genai-prices (its prices are dated and checked against the providers'
pages) unless it only matched the name by a part of it.  Every disagreement is written to
``docs/price-disagreements.csv``.  Models that only an older file of LiteLLM's lists keep the price they last
had: they are retired, and calls of them are still priced.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import re
import sys
import zlib
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from techrevati.runtime.pricing.book import PriceBook  # noqa: E402
from techrevati.runtime.pricing.entry import entry_from  # noqa: E402
from techrevati.runtime.pricing.files import check, number, write_book  # noqa: E402
from techrevati.runtime.pricing.genai_prices_file import models_from as from_genai, names_in  # noqa: E402
from techrevati.runtime.pricing.litellm_file import models_from as from_litellm  # noqa: E402
from techrevati.runtime.pricing.names import MAKERS, canonical_provider, families, shelves, tiers_resold  # noqa: E402
from techrevati.runtime.pricing.rates import PARTS  # noqa: E402

from price_pages import follow_pages, on_the_hosts_page  # noqa: E402 # isort: skip

DATA = ROOT / "techrevati" / "runtime" / "data"
DISAGREEMENTS = ROOT / "docs" / "price-disagreements.csv"
# Hosts whose LiteLLM rows are not priced by tokens of a language model.
LEFT_OUT = re.compile(r"fal_ai/|runwayml/|stability/|recraft/|black_forest_labs/")
FREE = re.compile("included in the subscription|free of charge", re.IGNORECASE)
# Rows of older files that were mistakes: prices of more tokens or of a character as of one token.
MISTAKEN = re.compile(r"wandb/|vertex_ai/gemini-1\.5-|together/.*-instruct-2507-tput")


def plain(value: object) -> object:
    """Dataclasses and prices of genai-prices as the JSON that the project itself publishes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if name.startswith("Clause"):
            return {key.rstrip("_"): plain(inner) for key, inner in fields.items()}
        return {key: plain(inner) for key, inner in fields.items() if inner is not None}
    if type(value).__name__ == "ModelPrice":
        return {key: plain(inner) for key, inner in vars(value).items() if inner is not None}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (Decimal, datetime.date, datetime.time)):
        return str(value)
    return value


def published() -> tuple[list, dict[str, dict], dict[str, dict]]:
    """The providers of genai-prices; LiteLLM's models as published, and as ``provider/name`` to our form."""
    from genai_prices.data import providers

    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
    content = json.loads(path.read_text(encoding="utf-8"), parse_float=str)
    return providers, content, from_litellm(content)


class GenaiPrices:
    """genai-prices: its models in our form, and its own opinion on which of them a name means."""

    def __init__(self, providers: list) -> None:
        self.all = providers
        self.by_id = {provider.id: provider for provider in providers}
        read = plain([dataclasses.replace(provider, extractors=None) for provider in providers])
        assert isinstance(read, list)
        self.models = from_genai(read)
        self.names = {
            id(model): {str(model.id).lower(), *names_in(plain(model.match))}
            for provider in providers
            for model in provider.models
        }
        self.home = {id(model): provider.id for provider in providers for model in provider.models}

    def meaning(self, name: str) -> tuple[dict, bool] | None:
        """(the model that prices *name*, whether a name of it says so); None if genai-prices has none."""
        shelf, _, own = name.partition("/")
        for each in shelves(shelf):
            provider = self.by_id.get(each)
            model = provider and provider.find_model(own, all_providers=self.all)
            if model:
                written = self.models.get(f"{self.home[id(model)]}/{str(model.id).lower()}")
                names = self.names[id(model)]
                spelled = any(family in names or own.endswith(f"/{family}") for family in families(own))
                if written is not None and self.home[id(model)] not in shelves(shelf):
                    written = resold(written, self.home[id(model)])
                return None if written is None else (written, spelled)
        for each in shelves(shelf):
            if f"{each}/{own}" in self.models:  # its id, which its own rule does not match
                return self.models[f"{each}/{own}"], True
        return None


def resold(written: dict, maker: str) -> dict:
    """What a platform sells at its maker's prices: its tiers are its own (genai-prices drops them, too), but
    for Azure's batches of OpenAI's models, which its page sells at half the price as OpenAI does."""
    kept = {tier: prices for tier, prices in written.get("tiers", {}).items() if tier in tiers_resold(maker)}
    rest = {name: value for name, value in written.items() if name != "tiers"}
    return {**rest, "tiers": kept} if kept else rest


def main() -> None:
    providers, raw, litellm = published()
    genai = GenaiPrices(providers)
    models = {name: dict(written) for name, written in genai.models.items()}
    rows: list[tuple[str, str, str, str, str]] = []
    for name, theirs in sorted(litellm.items()):
        meant = genai.meaning(name)
        if meant is None:
            models.setdefault(name, dict(theirs))
            continue
        ours, spelled = meant
        page = on_the_hosts_page(name, raw)
        spelled = spelled and not page
        listed = [f"{shelf}/{name.partition('/')[2]}" for shelf in shelves(name.partition("/")[0])]
        same = agree(ours, theirs, rows, name, spelled)
        home = next((each for each in listed if each in genai.models), name)
        known = models.get(home, ours) if home in genai.models else ours  # by what other rows knew
        if same:
            merged = completed(known, theirs)
        elif spelled:
            merged = {**known, **({"out": theirs["out"]} if "out" in theirs else {})}
            if same_base(ours, theirs) and "tiers" in theirs:
                merged["tiers"] = {**theirs["tiers"], **known.get("tiers", {})}
        else:
            merged = dict(theirs)
        if page and not same:
            models[name] = merged
        elif same or home == name or home not in genai.models:
            models[home] = merged
    models = {name: written for name, written in models.items() if not LEFT_OUT.match(name)}
    undated_twins(models, litellm)
    free_of_charge(models, providers, raw)
    peaks_since(models)
    half_price_cache(models)
    follow_pages(models)
    tiers_in_a_region(models)
    add_retired(models)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    sources = f"genai-prices {version('genai-prices')}, litellm {version('litellm')}"
    sources += ", and older for retired models" if sys.argv[1:] else ""
    text = write_book(models, {"version": f"{day} ({sources})", "made": day, "sources": sources})
    check(text)
    DATA.mkdir(exist_ok=True)
    (DATA / "prices.book.z").write_bytes(zlib.compress(text.encode(), 9))
    with DISAGREEMENTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("model", "part", "genai-prices", "litellm", "chosen"))
        writer.writerows(sorted(set(rows)))
    listed_providers = {name.partition("/")[0] for name in models}
    sys.stdout.write(
        f"{len(models)} names, {len(listed_providers)} providers, {len(text):,} bytes as text, "
        f"{len(rows)} disagreements\n"
    )


def agree(ours: dict, theirs: dict, rows: list, name: str, spelled: bool) -> bool:
    """Whether both say the same of the parts that both price; what differs is written down."""
    mine, other = standing(ours["prices"]), theirs["prices"][0][0]
    off_peak = theirs["prices"][-1][0]
    chosen = "genai-prices" if spelled else "litellm"
    same = True
    for part in sorted(mine.keys() & other.keys()):
        if mine[part] != other[part] and mine[part] != off_peak[part]:
            rows.append((name, part, str(mine[part]), str(other[part]), chosen))
            same = same and part not in ("input", "output", "cache_read", "cache_write")
    return same


def standing(periods: list) -> dict:
    """The prices of today, at no special hour."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    prices = periods[0][0]
    for period in periods[1:]:
        if "from" in period[1] and period[1]["from"] <= today:
            prices = period[0]
    return prices


def completed(ours: dict, theirs: dict) -> dict:
    """Ours, with what only the other source knows: parts, tiers, the output limit."""
    merged = {**ours}
    if len(ours["prices"]) == 1:
        mine, other = ours["prices"][0][0], theirs["prices"][0][0]
        # What costs what its whole costs is not repeated: a tier that names the whole then means it, too.
        extra = {
            part: price
            for part, price in other.items()
            if part not in mine
            and part != "request"
            and first_step(price) != first_step(mine.get(PARTS[part]))
        }
        merged["prices"] = [[{**extra, **mine}]]
    tiers = {**theirs.get("tiers", {}), **ours.get("tiers", {})}
    for tier in tiers.keys() & theirs.get("tiers", {}).keys():
        if len(ours["prices"]) == 1:
            finer = with_steps(tiers[tier], theirs["tiers"][tier], ours["prices"][0][0])
            tiers[tier] = since_ever(finer, theirs["tiers"][tier])
    if tiers:
        merged["tiers"] = tiers
    if "out" in theirs:
        merged["out"] = theirs["out"]
    return merged


def same_base(ours: dict, theirs: dict) -> bool:
    """Whether input and output cost the same below the first step, but for what a conversion rounds away."""
    mine, other = standing(ours["prices"]), theirs["prices"][0][0]
    pairs = [(first_step(mine.get(part, 0)), first_step(other.get(part, 0))) for part in ("input", "output")]
    return all(abs(Decimal(str(a)) - Decimal(str(b))) <= Decimal(str(a)) / 1000 for a, b in pairs)


def first_step(price: object) -> object:
    """What a price is below its first step."""
    return price[0] if isinstance(price, list) else price


def with_steps(mine: object, other: object, standard: dict) -> object:
    """Prices of a tier with the steps and the parts that LiteLLM alone has, where both begin alike."""
    if not (isinstance(mine, list) and isinstance(other, list) and len(mine) == 1):
        return mine
    prices, known = mine[0][0], other[0][0]
    shared = prices.keys() & known.keys()
    if not shared >= {"input", "output"} or any(
        first_step(prices[part]) != first_step(known[part]) for part in shared
    ):
        return mine
    stepped = {
        part: known[part]
        for part in shared
        if not isinstance(prices[part], list) and isinstance(standard.get(part), list)
    }
    # What genai-prices prices in no tier apart costs there what it always costs.
    more = {part: known[part] for part in known.keys() - prices.keys() - standard.keys()}
    return [[{**prices, **stepped, **more}, *mine[0][1:]]]


def since_ever(mine: object, other: object) -> object:
    """Prices of a tier without the day on which genai-prices read them, if LiteLLM has the same."""
    if isinstance(mine, list) and isinstance(other, list) and len(mine) == 1 and len(mine[0]) == 2:
        prices, known = mine[0][0], other[0][0]
        shared = prices.keys() & known.keys()
        if {"input", "output"} & shared and all(prices[part] == known[part] for part in shared):
            return [[prices]]
    return mine


def undated_twins(models: dict[str, dict], litellm: dict[str, dict]) -> None:
    """A name without a date has the parts that LiteLLM prices for its dated variants alone, such as audio."""
    for name, theirs in sorted(litellm.items()):
        shelf, _, own = name.partition("/")
        for family in families(own)[1:]:
            twin = f"{shelf}/{family}"
            if own.endswith("-latest"):  # no variant: it means whatever came last
                break
            if twin in models and twin not in litellm and agree(models[twin], theirs, [], name, True):
                models[twin] = completed(models[twin], theirs)


def add_retired(models: dict[str, dict]) -> None:
    """What older files of LiteLLM list and the book does not know by any name; the first file wins."""
    for path in sys.argv[1:]:
        book = PriceBook(write_book(models, {}))
        older = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=str)
        for name, written in from_litellm(older).items():
            provider, _, own = name.partition("/")
            if LEFT_OUT.match(name) or MISTAKEN.match(name) or book.find(own, provider) is not None:
                continue
            meant = None if provider in MAKERS or path == sys.argv[1] else book.find(own)
            if meant is None or meant.standard == entry_from(provider, own, written, "").standard:
                models.setdefault(name, written)  # else a name alone would mean no price because of old ones


def tiers_in_a_region(models: dict[str, dict]) -> None:
    """Bedrock's plain ids are served in one region and cost what the profiles of its geography cost; LiteLLM
    has some at the global price, which is why their tiers were left out."""
    for name, written in models.items():
        profile = models.get(name.replace("aws/", "aws/us.", 1)) if name.startswith("aws/") else None
        if profile is not None and "tiers" in profile and agree(profile, written, [], name, True):
            written["tiers"] = {**profile["tiers"], **written.get("tiers", {})}


def half_price_cache(models: dict[str, dict]) -> None:
    """Fireworks' page: a cached prompt token costs half of an input token where nothing else is said."""
    for name, written in models.items():
        prices = written["prices"][0][0]
        if name.startswith("fireworks/") and "cache_read" not in prices:
            given = prices.get("input")
            if given and not isinstance(given, list) and prices.get("output"):
                written["prices"] = [[{**prices, "cache_read": str(Decimal(str(given)) / 2)}]]


def free_of_charge(models: dict[str, dict], providers: list, raw: dict[str, dict]) -> None:
    """What both sources list, neither prices, and the provider's page calls free: Copilot's included models,
    Gemma on the Gemini API."""
    by_id = {provider.id: provider for provider in providers}
    for key, value in raw.items():
        if number(value.get("input_cost_per_token")) or number(value.get("output_cost_per_token")):
            continue
        host = canonical_provider(str(value.get("litellm_provider")))
        own = key.lower().partition("/")[2] if "/" in key else key.lower()
        for shelf in shelves(host):
            provider = by_id.get(shelf)
            model = provider and provider.find_model(own)
            free = model and FREE.search(model.price_comments or "")
            if free and not isinstance(model.prices, list) and not plain(model.prices):
                for name in {own, str(model.id).lower()}:
                    models.setdefault(f"{host}/{name}", {"prices": [[{"input": 0, "output": 0}]]})


def peaks_since(models: dict[str, dict]) -> None:
    """DeepSeek's peak hours began on a date; genai-prices cannot say a date and an hour in one condition.

    Its page has no peak on weekends, which genai-prices cannot say either: what it publishes, and what is
    computed from it and here, is the peak price on every day, an upper bound on Saturdays and Sundays.
    """
    for name, written in models.items():
        if not name.startswith("deepseek/"):
            continue
        for period in written["prices"]:
            if len(period) == 2 and "01:00-04:00" in period[1].get("hours", ()):
                period[1].pop("days", None)
                period[1]["from"] = "2026-08-17"


if __name__ == "__main__":
    main()
