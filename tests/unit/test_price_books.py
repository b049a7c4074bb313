"""Price books: three forms of files, exact money against an oracle, and bounds that hold."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.pricing import (
    PICODOLLARS_PER_USD,
    PRICING_TABLE,
    ModelPricing,
    PriceBook,
    UnknownModelError,
    UnknownPriceError,
    cost_picodollars_or_none,
    cost_usd,
    output_limit,
    quote,
    register_pricing,
    use_price_book,
    worst_case_picodollars,
)
from techrevati.runtime.pricing.files import write_book
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import UsageTracker

MILLION = UsageSnapshot(1_000_000, 1_000_000)
SUMMER = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The books alone answer, and the bundled one alone afterwards."""
    for model in list(PRICING_TABLE):
        monkeypatch.delitem(PRICING_TABLE, model)
    yield
    use_price_book(None)


# --- files -------------------------------------------------------------------------------------------------

OURS = """techrevati price book 1
version: of the house
providers: house openai

house/big\t{"prices":[[{"input":2,"output":4}],[{"input":3,"output":6},{"from":"2026-08-01"}]],"out":8000}
house/large\t=house/big
house/small\t{"p":{"i":0.5,"o":[1,1000,"2.5"]},"t":{"batch":[[{"input":0.25}]],"us":1.1},"max":4096}
openai/gpt-4o\t{"p":{"i":7,"o":8}}
"""
LITELLM = {
    "sample_spec": {"litellm_provider": "one of …", "input_cost_per_token": 0.0},
    "house/small": {
        "litellm_provider": "house",
        "input_cost_per_token": 1.4999999999999998e-06,
        "output_cost_per_token": 3e-06,
        "output_cost_per_token_above_200k_tokens": 4.5e-06,
        "cache_read_input_token_cost": 1.5e-07,
        "input_cost_per_token_batches": 7.5e-07,
        "max_output_tokens": 16384,
    },
    "house/picture": {"litellm_provider": "house", "output_cost_per_image": 0.04},
    "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 7e-06, "output_cost_per_token": 8e-06},
}
GENAI = [
    {
        "id": "house",
        "name": "House",
        "models": [
            {
                "id": "small",
                "match": {"or": [{"equals": "small"}, {"starts_with": "small-chat"}]},
                "prices": {
                    "input_mtok": {"base": 1.5, "tiers": [{"start": 200000, "price": 2.5}]},
                    "output_mtok": 3,
                    "requests_kcount": 5,
                },
            },
            {
                "id": "dated",
                "match": {"equals": "dated"},
                "prices": [
                    {"prices": {"input_mtok": 1, "output_mtok": 1}},
                    {
                        "constraint": {"start_date": "2026-08-01"},
                        "prices": {"input_mtok": 2, "output_mtok": 2},
                    },
                ],
            },
        ],
    }
]


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "prices.txt"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_book_of_ours_is_read(tmp_path: Path) -> None:
    """Dates, aliases, tiers, multipliers and steps."""
    use_price_book(PriceBook.load(written(tmp_path, OURS)))
    assert cost_usd("house/big", MILLION, at=SUMMER) == 6
    assert cost_usd("house/large", MILLION, at=SUMMER + timedelta(days=31)) == 9
    assert cost_usd("house/small", UsageSnapshot(1000, 1000)) == Decimal("0.0015")
    assert cost_usd("house/small", UsageSnapshot(1001, 1000)) == Decimal("0.0030005")
    assert cost_usd("house/small", UsageSnapshot(1000, 1000), tier="batch") == Decimal("0.00125")
    assert cost_usd("house/small", UsageSnapshot(1000, 1000), tier=("us", "batch")) == Decimal("0.001375")
    assert output_limit("house/small-2026-01-01") == 4096
    assert output_limit("large", provider="house") == 8000
    assert output_limit("gpt-4o") is None


@pytest.mark.parametrize("model", ["house/big", "house/large", "house/large-20260101", "gpt-4o"])
def test_a_quote_names_the_book_it_comes_from(tmp_path: Path, model: str) -> None:
    """By whatever alias the model was found; the bundled book answers for the rest, under its own name."""
    use_price_book(PriceBook.load(written(tmp_path, OURS)))
    assert quote(model, MILLION).book == "of the house"
    assert quote("claude-opus-4-1", MILLION).book == PriceBook.bundled().version
    use_price_book(None)
    assert quote("gpt-4o", MILLION).book == PriceBook.bundled().version


def test_litellms_file_is_read(tmp_path: Path) -> None:
    """Floats without their noise, long contexts, tiers; what is not priced by tokens is left out."""
    book = PriceBook.load(written(tmp_path, LITELLM))
    use_price_book(book)
    assert sorted(book.names()) == ["house/small", "openai/gpt-4o"]
    assert cost_usd("house/small", UsageSnapshot(200_000)) == Decimal("0.3")
    assert cost_usd("house/small", UsageSnapshot(200_001, 1_000_000)) == Decimal("4.8000015")
    assert cost_usd("house/small", UsageSnapshot(0, 0, 0, 1_000), tier=None) == Decimal("0.00015")
    assert cost_usd("house/small", UsageSnapshot(1_000_000), tier="batch") == Decimal("0.75")
    assert cost_usd("gpt-4o", MILLION) == 15
    assert output_limit("house/small") == 16384
    assert book.version == "litellm prices.txt"


def test_what_litellm_lists_twice_or_at_zero(tmp_path: Path) -> None:
    """Two rows of one model complete each other's tiers; zeros with a step are no price, as without one."""
    row = {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    tier = {"input_cost_per_token_batches": 5e-7, "output_cost_per_token_batches": 1e-6}
    zero = {
        f"{part}_cost_per_token{step}": 0
        for part in ("input", "output")
        for step in ("", "_above_128k_tokens")
    }
    book = PriceBook.load(
        written(
            tmp_path,
            {
                "bedrock/house.small": row | {"input_cost_per_token_flex": 4e-7},
                "house.small": row | tier | {"litellm_provider": "bedrock_converse"},
                "gemini/house-exp": zero | {"litellm_provider": "gemini"},
            },
        )
    )
    use_price_book(book)
    assert sorted(book.names()) == ["aws/house.small"]
    assert cost_usd("house.small", MILLION, provider="aws", tier="batch") == Decimal("1.5")
    assert cost_usd("house.small", MILLION, provider="aws", tier="flex") == Decimal("2.4")


def test_names_that_begin_with_a_mark(tmp_path: Path) -> None:
    """Cloudflare's names begin with ``@``, a part of them; rules that end names begin with a slash."""
    rules = [{"equals": "@cf/house/fast"}, {"ends_with": "/house-fast"}]
    model = {"id": "fast", "match": {"or": rules}, "prices": {"input_mtok": 1, "output_mtok": 2}}
    book = PriceBook.load(written(tmp_path, [{"id": "cloudflare", "models": [model]}]))
    assert sorted(book.names()) == ["cloudflare/@cf/house/fast", "cloudflare/fast", "cloudflare/house-fast"]


def test_models_of_equal_prices_keep_their_names(tmp_path: Path) -> None:
    """In a book of ours they share a line; a quote says which of them was asked for."""
    row = {"litellm_provider": "house", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    book = PriceBook.load(
        written(tmp_path, {"house/a": row, "house/b": row | {"max_output_tokens": 9}, "house/c": row})
    )
    use_price_book(book)
    assert quote("house/a", MILLION).model == "a"
    assert quote("house/c", MILLION).model == "c"
    assert quote("house/c", MILLION).book == book.version


def test_genai_prices_file_is_read(tmp_path: Path) -> None:
    """Steps for long inputs, dates, fees per request, and the names that its rules spell out."""
    book = PriceBook.load(written(tmp_path, GENAI))
    use_price_book(book)
    assert sorted(book.names()) == ["house/dated", "house/small", "house/small-chat"]
    assert cost_usd("house/small-chat", UsageSnapshot(200_000)) == Decimal("0.305")
    assert cost_usd("house/small", UsageSnapshot(200_001)) == Decimal("0.5050025")
    assert cost_usd("house/dated", MILLION, at=SUMMER) == 2
    assert cost_usd("house/dated", MILLION, at=SUMMER + timedelta(days=31)) == 4
    assert book.version == "genai-prices prices.txt"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "neither"),
        ("prices\n", "neither"),
        ("{}", "neither"),
        ({"gpt-4o": {"input": 3}}, "neither"),
        ([], "no price"),
        ([{"id": "house"}], "genai-prices"),
        ({"a": {"litellm_provider": "house", "mode": "image"}}, "no price"),
        (OURS.replace("=house/big", "=house/none"), "house/none"),
        (OURS.replace('"output":4', '"output":-4'), "output"),
        (OURS.replace('"output":4', '"outputs":4'), "outputs"),
        (OURS.replace('{"p":{"i":7,"o":8}}', "{"), "openai/gpt-4o"),
        (OURS.replace("house/big\t", "house/Big\t"), "house/"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, content: object, said: str) -> None:
    """At loading, not at the first call of a model."""
    with pytest.raises(ValueError, match=said):
        PriceBook.load(written(tmp_path, content))
    with pytest.raises(OSError):
        PriceBook.load(tmp_path / "none")


def test_the_bundled_book_survives_its_own_form(tmp_path: Path) -> None:
    """Written out and loaded it is the same book."""
    from techrevati.runtime.pricing.files import read_bundled

    text = read_bundled()
    book = PriceBook.load(written(tmp_path, text))
    assert list(book.names()) == list(PriceBook.bundled().names())
    assert book.version == PriceBook.bundled().version


# --- tiers -------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=12).filter(lambda text: text.strip()))
def test_a_word_of_a_providers_own_never_stops_pricing(word: str) -> None:
    """What the provider says it served is data: words that name no tier of ours are standard."""
    from techrevati.runtime.pricing.quotes import TIERS

    if any(part.strip().lower() in TIERS | {"batches"} for part in word.split("+")):
        return
    usage = UsageSnapshot(1_000_000, 1_000, tier=word)
    assert cost_usd("gpt-4o-mini", usage) == Decimal("0.1506")
    assert quote("gpt-4o-mini", usage).tier == "standard"
    tracker = UsageTracker()
    tracker.record_turn("gpt-4o-mini", usage)
    assert tracker.total_cost() == 0.1506


def test_tiers_are_told_apart() -> None:
    """A joined tier is its parts; a known one without a price is an error, and so is the caller's own
    unknown word."""
    served = UsageSnapshot(1_000_000, tier="Fast+us+burst")
    plain = cost_usd("claude-opus-4-8", UsageSnapshot(1_000_000))
    priced = quote("claude-opus-4-8", served)
    assert priced.tier == "fast+us"
    assert priced.cost_usd == cost_usd("claude-opus-4-8", UsageSnapshot(1_000_000), tier=("us", "fast"))
    assert priced.cost_usd == cost_usd("claude-opus-4-8", UsageSnapshot(1_000_000), tier="fast+us")
    assert priced.cost_usd > plain
    assert cost_usd("claude-opus-4-8", served, tier="standard") == plain
    for wrong in ("burst", "fast+burst", "", ("batch", "burst"), (None,)):
        with pytest.raises(ValueError, match="tier must be"):
            cost_usd("claude-opus-4-8", served, tier=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tier must be None, a word or a tuple of words, got 3"):
        cost_usd("claude-opus-4-8", served, tier=3)  # type: ignore[arg-type]
    for usage, tier in ((UsageSnapshot(1, tier="fast"), None), (UsageSnapshot(1), "fast")):
        with pytest.raises(UnknownPriceError, match="fast"):
            cost_usd("gpt-3.5-turbo", usage, tier=tier)
        assert cost_picodollars_or_none("gpt-3.5-turbo", UsageSnapshot(1, tier="fast")) is None


# --- money against an oracle -------------------------------------------------------------------------------

decimals = st.decimals(0, 500, places=4).map(lambda price: f"{price:f}") | st.decimals(0, 1, places=9).map(
    lambda price: f"{price:f}"
)
starts = st.lists(st.sampled_from([1, 1_000, 32_000, 200_000]), max_size=2, unique=True).map(sorted)


@st.composite
def prices(draw: st.DrawFn) -> dict[str, object]:
    """Prices of some parts, a few with steps for long inputs."""
    parts: dict[str, object] = {"input": draw(decimals), "output": draw(decimals)}
    for part in draw(st.lists(st.sampled_from([*FALLBACK][2:]), unique=True)):
        parts[part] = draw(decimals)
    for part in draw(st.lists(st.sampled_from([*parts]), max_size=2, unique=True)):
        steps: list[object] = [parts[part]]
        for start in draw(starts):
            steps += [start, draw(decimals)]
        parts[part] = steps
    return parts


@st.composite
def usages(draw: st.DrawFn, most: int = 10**7) -> UsageSnapshot:
    """Any usage, parts within their wholes."""
    count = st.integers(0, most) | st.integers(0, 3)
    output, read = draw(count), draw(count)
    return UsageSnapshot(
        input_tokens=draw(count),
        output_tokens=output,
        cache_write_tokens=draw(count),
        cache_read_tokens=read,
        cache_write_1h_tokens=draw(count),
        reasoning_tokens=draw(st.integers(0, output)),
        input_audio_tokens=draw(count),
        output_audio_tokens=draw(count),
        input_image_tokens=draw(count),
        web_searches=draw(st.integers(0, 50)),
        requests=draw(st.integers(0, 3)),
        citation_tokens=draw(count),
        output_image_tokens=draw(st.integers(0, output)),
        cache_read_audio_tokens=draw(st.integers(0, read)),
    )


# The rules as the documentation states them, written down a second time: part -> what else prices it.
FALLBACK = {
    "input": None,
    "output": None,
    "cache_write": "input",
    "cache_read": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "input_audio": "input",
    "output_audio": "output",
    "input_image": "input",
    "web_search": None,
    "request": None,
    "citation": "input",
    "output_image": "output",
    "cache_read_audio": "cache_read",
}


def oracle(written_prices: dict[str, Any], usage: UsageSnapshot) -> Fraction:
    """US dollars by the textbook: every token once, at the price of its part."""
    size = (
        *(usage.input_tokens, usage.cache_write_tokens, usage.cache_read_tokens),
        *(usage.cache_write_1h_tokens, usage.input_audio_tokens, usage.input_image_tokens),
    )

    def price(part: str | None) -> Fraction:
        if part is None:
            return Fraction(0)
        given = written_prices.get(part)
        if given is None:
            return price(FALLBACK[part])
        if not isinstance(given, list):
            return Fraction(given)
        reached = [
            given[0],
            *(dear for start, dear in zip(given[1::2], given[2::2], strict=True) if sum(size) > start),
        ]
        return Fraction(reached[-1])

    tokens = {
        "input": usage.input_tokens,
        "output": usage.output_tokens - usage.reasoning_tokens - usage.output_image_tokens,
        "cache_write": usage.cache_write_tokens,
        "cache_read": usage.cache_read_tokens - usage.cache_read_audio_tokens,
        "cache_write_1h": usage.cache_write_1h_tokens,
        "reasoning": usage.reasoning_tokens,
        "input_audio": usage.input_audio_tokens,
        "output_audio": usage.output_audio_tokens,
        "input_image": usage.input_image_tokens,
        "citation": usage.citation_tokens,
        "output_image": usage.output_image_tokens,
        "cache_read_audio": usage.cache_read_audio_tokens,
    }
    total = sum((count * price(part) for part, count in tokens.items()), Fraction(0)) / 1_000_000
    total += usage.web_searches * price("web_search") / 1_000
    if any(getattr(usage, name) for name in usage.to_dict() if name not in ("tier", "model")):
        total += (usage.requests or 1) * price("request") / 1_000
    return total


@given(st.lists(prices(), min_size=1, max_size=4), st.data())
def test_every_book_prices_every_usage_exactly(book: list[dict[str, object]], data: st.DataObject) -> None:
    """Equal to a sum in fractions, to the last digit, whatever the book and the usage."""
    models = {f"house/m{number}x": {"prices": [[each]]} for number, each in enumerate(book)}
    use_price_book(PriceBook(write_book(models, {"version": "random"})))
    total, wanted = Decimal(0), Fraction(0)
    for number, each in enumerate(book):
        usage = data.draw(usages())
        cost = cost_usd(f"house/m{number}x", usage)
        assert Fraction(cost) == oracle(each, usage)
        assert Fraction(quote(f"house/m{number}x", usage).cost_picodollars) == Fraction(cost) * 10**12
        total, wanted = total + cost, wanted + Fraction(cost)
    assert Fraction(total) == wanted or len(total.as_tuple().digits) >= 28  # the caller's own context


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        *(
            (part, {f"{part}_tokens": 1_000_000})
            for part in FALLBACK
            if part not in ("web_search", "request")
        ),
        ("web_search", {"web_searches": 1_000}),
        ("request", {"requests": 1_000}),
    ],
)
def test_each_part_alone_is_priced(part: str, counts: dict[str, int]) -> None:
    """A part that stands alone in a usage is not overlooked."""
    whole = {"reasoning": "output", "output_image": "output", "cache_read_audio": "cache_read"}.get(part)
    if whole is not None:
        counts = {**counts, f"{whole}_tokens": 1_000_000}
    models = {"house/x": {"prices": [[{"input": 1, "output": 2, part: 7}]]}}
    use_price_book(PriceBook(write_book(models, {"version": "one"})))
    assert cost_usd("house/x", UsageSnapshot(**counts)) == 7  # type: ignore[arg-type]


def test_ten_million_additions_do_not_drift() -> None:
    """Ten million costs of a hundred kinds of calls come to what the decimal fractions say; floats do not."""
    rng = random.Random(12)
    names = ("gpt-4o-mini", "claude-opus-4-8", "gemini-2.5-flash", "deepseek/deepseek-chat", "gpt-5.6-luna")
    calls = [
        (rng.choice(names), UsageSnapshot(*(rng.randrange(1, 30_000) for _ in range(4)))) for _ in range(100)
    ]
    each = 100_000
    total, floats, tracker = 0, 0.0, UsageTracker()
    for model, usage in calls:
        cost = tracker.add(model, usage)
        assert isinstance(cost, int)
        total = sum(repeat(cost, each), total)
        floats = sum(repeat(float(cost) / PICODOLLARS_PER_USD, each), floats)
    exact = sum(Fraction(str(cost_usd(model, usage))) * each for model, usage in calls)
    assert Fraction(total, PICODOLLARS_PER_USD) == exact
    assert Fraction(floats) != exact
    for _ in range(99):
        for model, usage in calls:
            tracker.record_turn(model, usage)
    assert tracker.total_picodollars * (each // 100) == total


# --- bounds ------------------------------------------------------------------------------------------------

NAMES = tuple(PriceBook.bundled().names())
TIERS = (None, "batch", "flex", "priority", "fast", "us", ("us", "fast"))


@given(
    st.sampled_from(NAMES),
    st.sampled_from(TIERS),
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.timedeltas(timedelta(0), timedelta(hours=6)),
    st.data(),
)
def test_no_call_costs_more_than_its_worst_case(
    model: str, tier: Any, at: datetime, lasts: timedelta, data: st.DataObject
) -> None:
    """Whatever is cached, reasoned, drawn or spoken, and whichever hour the provider charges by."""
    audio = data.draw(st.booleans())
    usage = data.draw(usages(most=300_000))
    if not audio:
        usage = UsageSnapshot(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_write_tokens,
            usage.cache_read_tokens,
            usage.cache_write_1h_tokens,
            usage.reasoning_tokens,
            input_image_tokens=usage.input_image_tokens,
            web_searches=usage.web_searches,
            requests=usage.requests,
        )
    given_tokens = (
        usage.input_tokens
        + usage.cache_write_tokens
        + usage.cache_read_tokens
        + usage.cache_write_1h_tokens
        + usage.input_audio_tokens
        + usage.input_image_tokens
        + usage.citation_tokens
    )
    spare = data.draw(st.integers(0, 1000))
    try:
        cost = cost_usd(model, usage, at=at + lasts, tier=tier)
        bound = worst_case_picodollars(
            model,
            input_tokens=given_tokens + spare,
            max_output_tokens=usage.output_tokens + usage.output_audio_tokens + spare,
            at=at,
            tier=tier,
            audio=audio,
            web_searches=usage.web_searches,
            requests=max(1, usage.requests),
        )
    except (UnknownPriceError, UnknownModelError):
        return
    assert Fraction(cost) * PICODOLLARS_PER_USD <= bound


def test_the_worst_case_is_no_worse_than_it_must_be() -> None:
    """Without a cache price or a step it is the plain price; the dearest part where there are several."""
    register_pricing("plain", ModelPricing(1.0, 2.0))
    register_pricing("cached", ModelPricing(1.0, 2.0, 1.25, 0.1, 2.0, web_search_per_thousand=10))
    size = {"input_tokens": 1_000_000, "max_output_tokens": 1_000_000}
    assert worst_case_picodollars("plain", **size) == 3 * PICODOLLARS_PER_USD  # type: ignore[arg-type]
    assert worst_case_picodollars("cached", **size) == 4 * PICODOLLARS_PER_USD  # type: ignore[arg-type]
    assert (
        worst_case_picodollars("cached", input_tokens=0, max_output_tokens=0, web_searches=2)
        == PICODOLLARS_PER_USD // 50
    )
    with pytest.raises(UnknownPriceError):
        worst_case_picodollars("plain", input_tokens=1, max_output_tokens=1, tier="batch")
    with pytest.raises(UnknownModelError):
        worst_case_picodollars("no-such-model", input_tokens=1, max_output_tokens=1)
    with pytest.raises(ValueError, match="max_output_tokens"):
        worst_case_picodollars("plain", input_tokens=1, max_output_tokens=-1)


def test_names_like_an_unknown_one_are_searched_for_when_somebody_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program that catches the error does not pay for the search; an error that travels takes it along."""
    searched: list[str] = []
    search = PriceBook.near

    def near(book: PriceBook, model: str, limit: int = 3) -> tuple[str, ...]:
        searched.append(model)
        return search(book, model, limit)

    monkeypatch.setattr(PriceBook, "near", near)
    with pytest.raises(UnknownModelError) as refused:
        cost_usd("claude-opus-4-9", MILLION)
    assert not searched
    assert "anthropic/claude-opus-4-8" in str(refused.value)
    assert searched == ["claude-opus-4-9"]
    with pytest.raises(UnknownModelError) as refused:
        cost_usd("claude-opus-4-9", MILLION)
    assert pickle.loads(pickle.dumps(refused.value)).near == refused.value.near  # noqa: S301
    assert searched == ["claude-opus-4-9"] * 2


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("openai/gpt-4o-mini-made-up:free", "openrouter"),  # a word that is neither a date nor a revision
        ("gpt-4.1-mini-preview", "github-copilot"),
    ],
)
def test_free_is_said_by_a_source_and_never_assumed(model: str, provider: str) -> None:
    """A name that looks like a free one is unknown."""
    with pytest.raises(UnknownModelError):
        cost_usd(model, MILLION, provider=provider)


def test_models_that_are_free_cost_nothing() -> None:
    """OpenRouter's ``:free`` models, and what a page calls free of charge."""
    assert cost_usd("qwen/qwq-32b:free", MILLION, provider="openrouter") == 0
    assert cost_usd("gpt-4.1", MILLION, provider="github-copilot") == 0
    assert cost_usd("gemini/gemma-4-31b-it", MILLION) == 0


def test_a_tier_that_names_only_the_output_means_reasoning_and_speech_too(tmp_path: Path) -> None:
    """LiteLLM repeats the output's price for them; its batch price is for the output alone."""
    row = {
        "litellm_provider": "gemini",
        "input_cost_per_token": 3e-07,
        "output_cost_per_token": 2.5e-06,
        "output_cost_per_reasoning_token": 2.5e-06,
        "input_cost_per_token_batches": 1.5e-07,
        "output_cost_per_token_batches": 1.25e-06,
    }
    path = tmp_path / "litellm.json"
    path.write_text(json.dumps({"gemini/thinker": row}), encoding="utf-8")
    use_price_book(PriceBook.load(path))
    thought = UsageSnapshot(output_tokens=1_000_000, reasoning_tokens=400_000)
    assert cost_usd("gemini/thinker", thought) == Decimal("2.5")
    assert cost_usd("gemini/thinker", thought, tier="batch") == Decimal("1.25")
    assert cost_usd("gemini-2.5-flash", thought, tier="batch") == Decimal("1.25")


def test_output_limits_are_those_published() -> None:
    """A model's own limit, for its dated variants too; None where nobody says."""
    assert output_limit("gpt-4o-mini") == output_limit("gpt-4o-mini-2024-07-18") == 16_384
    assert output_limit("no-such-model") is None
    limits = [output_limit(name) for name in random.Random(1).sample(NAMES, 300)]
    assert all(limit is None or limit > 0 for limit in limits)
    assert sum(limit is not None for limit in limits) > 50


# --- prices in force ---------------------------------------------------------------------------------------


def test_remembered_prices_end_when_prices_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is charged now is remembered to the second before it changes, also when the clock goes back."""
    import time

    book = OURS.replace('{"from":"2026-08-01"}', '{"hours":["01:00-04:00"],"days":[1]}')
    use_price_book(PriceBook.load(written(tmp_path, book)))
    now = datetime(2026, 11, 23, 0, 59, 59, tzinfo=UTC)  # a Monday
    monkeypatch.setattr(time, "time", lambda: now.timestamp())
    tracker = UsageTracker()
    for seconds, wanted in (
        (0, 6),
        (1, 9),
        (-1, 6),
        (10_800, 9),
        (10_801, 6),
        (86_401, 6),
        (604_801, 9),
        (0, 6),
    ):
        now = datetime(2026, 11, 23, 0, 59, 59, tzinfo=UTC) + timedelta(seconds=seconds)
        for _ in range(2):
            assert cost_usd("house/big", MILLION) == wanted == cost_usd("house/big", MILLION, at=now)
            assert tracker.add("house/big", MILLION) == wanted * PICODOLLARS_PER_USD


@given(
    st.sampled_from(NAMES),
    st.sampled_from(TIERS),
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.floats(0, 1, exclude_max=True),
)
def test_within_a_steady_span_no_rates_change(model: str, tier: Any, at: datetime, share: float) -> None:
    """Whatever moment of the span is asked for, the prices are those of the first."""
    entry = PriceBook.bundled().entry(model)
    assert entry is not None
    at_s = at.timestamp()
    since, until = entry.steady(at_s)
    assert since <= at_s < until
    end = min(until, at_s + 10**9)
    other = at_s + (end - at_s) * share
    if other >= end:
        return
    tiers = () if tier is None else (tier,) if isinstance(tier, str) else tier
    try:
        before = entry.rates(at_s, tiers)
    except UnknownPriceError:
        with pytest.raises(UnknownPriceError):
            entry.rates(other, tiers)
        return
    assert entry.rates(other, tiers) is before


ODD_HEAD = "techrevati price book 1\nversion: x\n\n"
ODD_GENAI = '[{"id":"x","models":[{"id":"m",%s}]}]'
ODD_LITELLM = '{"gpt-x":{"litellm_provider":"openai","input_cost_per_token":1e-6,%s}}'
ODD_DEEP = "[" * 100_000
BROKEN: dict[str, tuple[str, str]] = {
    "genai without id": ('[{"id":"x","models":[{"prices":{"input_mtok":1}}]}]', "x/None"),
    "genai null": ('[{"id":"x","models":[null]}]', "x/None"),
    "genai step": (ODD_GENAI % '"prices":{"input_mtok":{"base":1}}', "x/m"),
    "genai variant": (ODD_GENAI % '"prices":{"input_mtok":1},"price_variants":[{}]', "x/m"),
    "genai condition": (
        ODD_GENAI % '"prices":[{"constraint":{"moon":"full"},"prices":{"input_mtok":1}}]',
        "x/m",
    ),
    "genai date": (
        ODD_GENAI % '"prices":[{"constraint":{"start_date":"never"},"prices":{"input_mtok":1}}]',
        "x/m",
    ),
    "genai negative": (ODD_GENAI % '"prices":{"input_mtok":-1,"output_mtok":1}', "input_mtok"),
    "genai name": ('[{"id":"x","models":[{"id":"a\\tb","prices":{"input_mtok":1}}]}]', "tab"),
    "litellm nan": (ODD_LITELLM % '"output_cost_per_token":NaN', "output_cost_per_token"),
    "litellm negative": (ODD_LITELLM % '"output_cost_per_token":-1', "output_cost_per_token"),
    "litellm hours": (ODD_LITELLM % '"off_peak_pricing":{"windows":[{}]}', "gpt-x"),
    "litellm time": (ODD_LITELLM % '"off_peak_pricing":{"windows":[{"hours_utc":"never"}]}', "gpt-x"),
    "litellm name": ('{"a\\nb":{"litellm_provider":"openai","input_cost_per_token":1}}', "new line"),
    "alias of itself": (f"{ODD_HEAD}o/x\t=o/x\n", "o/x"),
    "aliases in a circle": (f"{ODD_HEAD}o/x\t=o/y\no/y\t~o/x\n", "o/x"),
    "no price": (f'{ODD_HEAD}o/x\t{{"p":{{}}}}\n', "o/x"),
    "text as a step": (f'{ODD_HEAD}o/x\t{{"p":{{"i":[1,"a",3]}}}}\n', "o/x"),
    "half a step": (f'{ODD_HEAD}o/x\t{{"p":{{"i":[1,1.5,3]}}}}\n', "o/x"),
    "a third": (f'{ODD_HEAD}o/x\t{{"p":{{"i":"1/3"}}}}\n', "o/x"),
    "by zero": (f'{ODD_HEAD}o/x\t{{"p":{{"i":"1/0"}}}}\n', "o/x"),
    "condition": (f'{ODD_HEAD}o/x\t{{"p":[[{{"i":1}},5]]}}\n', "o/x"),
    "from a number": (f'{ODD_HEAD}o/x\t{{"p":[[{{"i":1}},{{"from":5}}]]}}\n', "o/x"),
    "hour": (f'{ODD_HEAD}o/x\t{{"p":[[{{"i":1}},{{"hours":["25:00-26:00"]}}]]}}\n', "o/x"),
    "day": (f'{ODD_HEAD}o/x\t{{"p":[[{{"i":1}},{{"days":["Mon"]}}]]}}\n', "o/x"),
    "tiers": (f'{ODD_HEAD}o/x\t{{"p":{{"i":1}},"t":[1]}}\n', "o/x"),
    "negative tier": (f'{ODD_HEAD}o/x\t{{"p":{{"i":1}},"t":{{"batch":-0.5}}}}\n', "o/x"),
    "tier of nothing": (f'{ODD_HEAD}o/x\t{{"p":{{"i":1}},"t":{{"batch":null}}}}\n', "o/x"),
    "deep line": (f"{ODD_HEAD}o/x\t{ODD_DEEP}\n", "o/x"),
    "deep": (ODD_DEEP, "JSON"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_a_value_error_that_names_the_model(tmp_path: Path, content: str, said: str) -> None:
    """When it is loaded, not when a call is to be paid; and nothing in it becomes free."""
    path = tmp_path / "prices"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        PriceBook.load(path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """By its path."""
    path = tmp_path / "prices.zip"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"prices\.zip"):
        PriceBook.load(path)
