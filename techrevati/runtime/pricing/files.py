"""Price books as files: ours, and two that others publish.

Ours is text: a header of facts, an empty line, then one line a model, ``provider/name``, a tab and a JSON
object (``prices``, and optionally ``tiers``, ``out``, ``id``), or ``=`` and the name it is an alias of, or
``~`` and the name of another model whose prices and limits are the same.  Sorted, so that a change of prices
is a readable diff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal
    from os import PathLike
    from typing import TypeAlias

    Written: TypeAlias = dict[str, object]
    Models: TypeAlias = dict[str, Written]


def read_bundled() -> str:
    """The text of the book that comes with this package."""
    import zlib
    from pathlib import Path

    path = Path(__file__).parents[1] / "data" / "prices.book.z"
    return zlib.decompress(path.read_bytes()).decode()


def read_any(path: str | PathLike[str]) -> str:
    """The file as a book in our form, whichever of the three forms it has.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is none of them.
    """
    from techrevati.runtime.pricing.book import HEADER

    with open(path, encoding="utf-8") as file:
        try:
            text = file.read()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8: {error}") from None
    if text.startswith(HEADER):
        check(text)
        return text
    import json

    try:
        content = json.loads(text, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is neither a price book of ours nor JSON: {error}") from None
    if isinstance(content, list):
        from techrevati.runtime.pricing.genai_prices_file import models_from

        models, source = models_from(content), "genai-prices"
    elif isinstance(content, dict) and any(
        isinstance(value, dict) and "litellm_provider" in value for value in content.values()
    ):
        from techrevati.runtime.pricing.litellm_file import models_from as models_from_litellm

        models, source = models_from_litellm(content), "litellm"
    else:
        raise ValueError(
            f"{path} is neither a price book of ours, nor LiteLLM's model_prices_and_context_window.json, "
            "nor genai-prices' data.json"
        )
    if not models:
        raise ValueError(f"{path} holds no price of tokens")
    import os

    book = write_book(models, {"version": f"{source} {os.path.basename(path)}"})
    check(book)  # what is wrong with a model is found now, not when a call of it is to be paid
    return book


# What reading a model that is written in another way than expected may come to.
BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def unreadable(name: object, error: Exception) -> ValueError:
    """What to say of a model whose prices cannot be read."""
    why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return ValueError(f"the prices of {str(name)[:100]!r} cannot be read: {why}")


# Shorter names for what is written thousands of times.
SHORT = {
    "input": "i",
    "output": "o",
    "cache_write": "w",
    "cache_read": "r",
    "cache_write_1h": "h",
    "web_search": "s",
    "prices": "p",
    "tiers": "t",
    "out": "max",
}
LONG = {short: name for name, short in SHORT.items()}


def write_book(models: Mapping[str, Mapping[str, object]], facts: Mapping[str, str]) -> str:
    """The text of a book; of equal models of one provider the first is written out."""
    import json

    from techrevati.runtime.pricing.book import HEADER

    lines: list[str] = []
    first: dict[tuple[str, str], str] = {}
    for name in sorted(models):
        if "\t" in name or "\n" in name:
            raise ValueError(f"a model's name must have no tab and no new line, got {name!r}")
        provider, _, own = name.partition("/")
        content = json.dumps(models[name], sort_keys=True)
        known = first.setdefault((provider, content), name)
        if known == name:
            written = {key: value for key, value in models[name].items() if (key, value) != ("id", own)}
            lines.append(f"{name}\t{_digits_bare(json.dumps(_short(written), separators=(',', ':')))}")
        else:
            lines.append(f"{name}\t{'=' if 'id' in models[name] else '~'}{known}")
    providers = " ".join(sorted({name.partition("/")[0] for name in models}))
    header = [HEADER, *(f"{name}: {value}" for name, value in facts.items()), f"providers: {providers}"]
    return "\n".join(header) + "\n\n" + "\n".join(lines) + "\n"


def _short(written: object) -> object:
    if isinstance(written, dict):
        return {
            SHORT.get(key, key): _short(value[0][0] if key == "prices" and _unconditional(value) else value)
            for key, value in written.items()
        }
    return [_short(each) for each in written] if isinstance(written, list) else written


def _unconditional(periods: object) -> bool:
    return isinstance(periods, list) and len(periods) == 1 and len(periods[0]) == 1


def _digits_bare(text: str) -> str:
    import re

    return re.sub(r'"(\d+\.\d+)"', r"\1", text)  # decimal text is read back as text


def lengthened(written: object) -> object:
    """A model's line with its names in full."""
    if isinstance(written, dict):
        full = {LONG.get(key, key): lengthened(value) for key, value in written.items()}
        if isinstance(full.get("prices"), dict):
            full["prices"] = [[full["prices"]]]
        return full
    return [lengthened(each) for each in written] if isinstance(written, list) else written


def check(text: str) -> None:
    """Decode every line of a book once.

    Raises:
        ValueError: A line is wrong; the text names the model.
    """
    from techrevati.runtime.pricing.book import PriceBook

    book = PriceBook(text)
    for name in book.names():
        if name.startswith("/") or "/" not in name:
            raise ValueError(f"price book: a line must begin with provider/model, got {name!r}")
        if book.entry(name) is None:
            raise ValueError(f"price book: {name!r} must be in lower case")


def number(value: object) -> str | int | None:
    """A published price as decimal text without trailing zeros, or an integer; None if it is no price."""
    from decimal import Decimal, InvalidOperation

    if isinstance(value, bool) or value is None:
        return None
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    return shortest(exact) if exact.is_finite() and exact >= 0 else None


def shortest(exact: Decimal, digits: int = 30) -> str | int:
    """Decimal text of at most so many digits, without trailing zeros; an integer where it is one."""
    from decimal import Context

    rounded = exact.normalize(Context(prec=digits))
    if rounded == rounded.to_integral_value():
        return int(rounded)
    return f"{rounded:f}"


def first_of(names: Iterable[object]) -> object:
    """The first that is not None; None if there is none."""
    return next((name for name in names if name is not None), None)
