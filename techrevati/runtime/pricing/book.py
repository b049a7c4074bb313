"""A book of prices: many models, of which a program uses a handful.

The book stays text, one line a model, sorted by ``provider/model``.  Opening it notes only where each name's
line is; looking a model up decodes that line alone, and what was decoded is kept.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime.pricing.entry import Entry, entry_from
from techrevati.runtime.pricing.names import (
    MAKERS,
    RESELLERS,
    canonical_provider,
    families,
    is_inference_profile,
    makers_resold,
    shelves,
    strip_deployment,
    strip_geography,
    tiers_resold,
    unwrapped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

HEADER = "techrevati price book 1"
_CAPACITY = 4096  # looked-up names kept; a program that invents more starts over


class PriceBook:
    """Prices of many models.

    Attributes:
        version: What the book was made of and when, in one line; stored with every ledger record.
        facts: The header's lines: sources, versions, date.

    >>> book = PriceBook.bundled()
    >>> book.find("gpt-4o-mini").provider
    'openai'
    """

    def __init__(self, text: str) -> None:
        head, _, body = text.partition("\n\n")
        lines = head.splitlines()
        if not lines or lines[0] != HEADER:
            raise ValueError(f"a price book begins with the line {HEADER!r}, got {head[:60]!r}")
        self.facts: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.facts[name] = value
        self.version: str = self.facts.get("version", "unversioned")
        lines = body.split("\n")
        named = [line.partition("\t") for line in lines if line]
        # Of a name listed twice the first line counts.
        self._written: dict[str, str] = {name: written for name, _, written in reversed(named)}
        self._names = tuple(name for name, _, _ in named)
        self._hosts: dict[str, list[str]] | None = None  # a model's own name -> who lists it
        self._found: dict[tuple[str | None, str], Entry | None] = {}
        self._decoded: dict[str, Entry] = {}
        self._providers: frozenset[str] | None = None
        self._lock = Lock()

    @classmethod
    def bundled(cls) -> PriceBook:
        """The book that comes with this package; read once."""
        global _bundled
        if _bundled is None:
            from techrevati.runtime.pricing.files import read_bundled

            _bundled = cls(read_bundled())
        return _bundled

    @classmethod
    def load(cls, path: str | PathLike[str]) -> PriceBook:
        """A book from a file: ours, LiteLLM's ``model_prices_and_context_window.json``, or genai-prices'
        ``data.json``.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is none of these; the text says what is wrong with it.
        """
        from techrevati.runtime.pricing.files import read_any

        return cls(read_any(path))

    def find(self, model: str, provider: str | None = None) -> Entry | None:
        """The entry of *model*, by its own name or the family it is a dated variant of; None if there is
        none.

        *model* may begin with its provider (``azure/…``, ``openrouter/…``).  A name without any means its
        maker; one that only several hosts list, at different prices, is ambiguous and not found.
        """
        key = (provider, model)
        try:
            return self._found[key]
        except KeyError:
            pass
        entry = self._search(model, provider)
        with self._lock:
            if len(self._found) >= _CACHED_NAMES:
                self._found.clear()
            self._found[key] = entry
        return entry

    def names(self) -> Iterator[str]:
        """Every ``provider/model`` in the book, in order."""
        yield from self._names

    def entry(self, name: str) -> Entry | None:
        """The entry listed under exactly this ``provider/model``."""
        return self._line(name.lower())

    @property
    def providers(self) -> frozenset[str]:
        """The canonical names of all providers in the book."""
        if self._providers is None:
            listed = self.facts.get("providers")
            names = listed.split() if listed else (name.partition("/")[0] for name in self.names())
            self._providers = frozenset(names)
        return self._providers

    def near(self, model: str, limit: int = 3) -> tuple[str, ...]:
        """Listed names that look like *model*, the most similar first."""
        from difflib import get_close_matches

        wanted = model.lower().rpartition("/")[2]
        bare: dict[str, str] = {}
        for name in self.names():
            provider, _, own = name.partition("/")
            last = own.rpartition("/")[2]
            if last[:2] == wanted[:2]:
                known = bare.get(last)
                if known is None or _rank(provider) < _rank(known.partition("/")[0]):
                    bare[last] = name
        return tuple(bare[match] for match in get_close_matches(wanted, bare, limit, 0.6))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"PriceBook({self.version!r}, {len(self)} names)"

    # --- search ---------------------------------------------------------------------------------------------

    def _search(self, model: str, provider: str | None) -> Entry | None:
        name = model.strip().lower()
        found = self._listed(name, provider)
        if found is None:
            said = None if provider is None else canonical_provider(provider)
            # A provider that was given is not overruled by what the name says.
            whose = None if said is None or said == "litellm" else shelves(said)
            for owner, inner in unwrapped(name):
                if found is None and (whose is None or owner in whose):
                    found = self._of(owner, inner)
        return found

    def _listed(self, name: str, provider: str | None) -> Entry | None:
        if provider is not None:
            canonical = canonical_provider(provider)
            if canonical == "litellm":
                return self._listed(name, None)
            return self._of(canonical, name)
        head, slash, rest = name.partition("/")
        if slash:
            canonical = canonical_provider(head)
            if canonical in self.providers or shelves(canonical)[1:]:
                found = self._of(canonical, rest)
                if found is not None or canonical not in ("meta",):
                    return found
        # A platform that sells what others make comes after them, even where it lists the very name.
        for makers in (MAKERS[:-1], MAKERS[-1:]):
            for exact in (True, False):
                for maker in makers:
                    found = self._on(maker, name, exact=exact)
                    if found is not None:
                        return found
        if is_inference_profile(name):
            return self._of("aws", name)
        return self._of_any_host(name)

    def _of(self, provider: str, name: str) -> Entry | None:
        """*name* as *provider* lists it, with or without its own prefix, or at the maker's price."""
        candidates = [name]
        head, slash, rest = name.partition("/")
        if slash and canonical_provider(head) in shelves(provider):
            candidates.append(rest)
        if name.startswith("models/"):  # Gemini's own resource names
            candidates.append(name[7:])
        if name.startswith("ft:"):  # ft:BASE:organisation:name:id
            candidates.append(":".join(name.split(":")[:2]))
        for exact in (True, False):
            for candidate in candidates:
                for shelf in shelves(provider):
                    found = self._on(shelf, candidate, exact=exact)
                    if found is not None:
                        return found
        if provider in ("aws", "azure", "azure_ai"):
            strip = strip_geography if provider == "aws" else strip_deployment
            for candidate in candidates:
                bare = strip(candidate)
                if bare is not None:
                    return self._of(provider, bare)
        for maker in makers_resold(provider):
            for candidate in candidates:
                found = self._on(maker, candidate, exact=False)
                if found is not None:
                    return found.with_tiers(tiers_resold(maker))
        return None

    def _on(self, shelf: str, name: str, *, exact: bool) -> Entry | None:
        if exact:
            return self._line(f"{shelf}/{name}")
        for family in families(name):
            found = self._line(f"{shelf}/{family}")
            if found is not None:
                return found
        return None

    def _of_any_host(self, name: str) -> Entry | None:
        """What every host that lists *name* charges; None when they disagree."""
        if self._hosts is None:
            hosts: dict[str, list[str]] = {}
            for listed in self._names:
                if not listed.startswith(RESELLERS):
                    hosts.setdefault(listed.partition("/")[2], []).append(listed)
            self._hosts = hosts
        for family in families(name):
            found = [self._line(listed) for listed in self._hosts.get(family, ())]
            first = found[0] if found else None
            if first is not None:
                same = all(other is not None and other.standard == first.standard for other in found)
                return first if same else None
        return None

    def _line(self, name: str) -> Entry | None:
        entry = self._decoded.get(name)
        if entry is not None:
            return entry
        written = self._written.get(name)
        if written is None:
            return None
        provider, _, own = name.partition("/")
        if written[:1] in ("=", "~"):
            other = self._written.get(written[1:], "=")
            entry = None if other[:1] in ("=", "~") else self._line(written[1:])
            if entry is None:
                raise ValueError(f"price book: {name!r} refers to {written[1:]!r}, which lists no prices")
            if written[0] == "~":
                entry = entry.renamed(own)
        else:
            entry = _entry(provider, own, _decoded(name, written), self.version)
        if len(self._decoded) < _CAPACITY:
            self._decoded[name] = entry
        return entry


_bundled: PriceBook | None = None
_CACHED_NAMES = _CAPACITY


def _entry(provider: str, own: str, value: Mapping[str, object], version: str) -> Entry:
    from techrevati.runtime.pricing.files import BROKEN, unreadable

    try:
        return entry_from(provider, own, value, version)
    except BROKEN as error:
        raise unreadable(f"{provider}/{own}", error) from None


def _decoded(name: str, written: str) -> Mapping[str, object]:
    import json

    from techrevati.runtime.pricing.files import lengthened

    try:
        # Decimal digits, not the nearest binary fraction.
        value = lengthened(json.loads(written, parse_float=str))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"price book: line of {name!r}: {error}") from None
    if not isinstance(value, dict) or "prices" not in value:
        raise ValueError(f"price book: line of {name!r} must be an object with prices, got {written[:60]!r}")
    return value


def _rank(provider: str) -> int:
    return MAKERS.index(provider) if provider in MAKERS else len(MAKERS)
