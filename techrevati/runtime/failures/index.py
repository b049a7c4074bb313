"""The rules by their evidence, and what the class of an exception alone tells.

Classes are judged once and remembered; there are few of them and many exceptions.
"""

from __future__ import annotations

from techrevati.runtime.failures.facts import offered
from techrevati.runtime.failures.known import PARSERS, SDKS
from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.rules import RULES
from techrevati.runtime.failures.vocabulary import KINDS
from techrevati.runtime.failures.words import COMPLAINS, SAYS, SHARPER, TEXT, Phrases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from techrevati.runtime.failures.vocabulary import FailureKind, _Values

MAX_CLASSES = 512
_MAX_NAMES = 200  # characters of a text that may be nothing but the names of classes
_NAMES_END = ("error", "exception", "timeout")

# How sure a verdict is.
NOTHING, ROUGHLY, BY_STATUS, EXACTLY = 0, 1, 2, 3


class Index:
    """Rules by their evidence; the first row that names a piece of evidence has it."""

    __slots__ = (
        "broad",
        "bugs",
        "codes",
        "endings",
        "families",
        "kin",
        "last",
        "lowered",
        "phrases",
        "sharper",
        "statuses",
        "types",
    )

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.types: dict[str, Rule] = {}
        self.kin: dict[str, Rule] = {}
        self.bugs: dict[str, Rule] = {}
        self.last: dict[str, Rule] = {}
        self.codes: dict[str, Rule] = {}
        self.broad: dict[str, Rule] = {}
        self.statuses: dict[int, Rule] = {}
        self.phrases: Phrases = Phrases()
        self.sharper: dict[FailureKind, tuple[int]] = {}  # columns, by the kind they sharpen
        self.families: list[tuple[str, Rule, int]] = []  # class names with a star
        # What texts call classes, in full or by how a name ends, in lower case.
        self.lowered: dict[str, Rule] = {}
        self.endings: list[tuple[str, Rule]] = []
        for rule in rules:
            for found, names, sure in ((self.types, rule.types, EXACTLY), (self.kin, rule.kin, ROUGHLY)):
                for name in names:
                    if "*" in name:
                        self.families.append((name, rule, sure))
                    else:
                        found.setdefault(name, rule)
            for found, names in (
                (self.bugs, rule.bugs),
                (self.last, rule.last),
                (self.codes, rule.codes),
                (self.broad, rule.broad),
            ):
                for name in names:
                    found.setdefault(name, rule)
            for status in rule.statuses:
                self.statuses.setdefault(status, rule)
            for heard, phrases in (
                (SAYS, rule.says),
                (COMPLAINS, rule.complains),
                (TEXT, rule.text),
            ):
                for phrase in phrases:
                    self.phrases.add(phrase, rule, heard)
            for name in (*rule.types, *rule.kin):
                if name.startswith("*") and not name.endswith("*"):
                    self.endings.append((name[1:].lower(), rule))
                self.lowered.setdefault(name.lower(), rule)
            if rule.within is not None:
                (column,) = self.sharper.setdefault(rule.within, (SHARPER + len(self.sharper),))
                for phrase in rule.sharpens:
                    self.phrases.add(phrase, rule, column)


class ClassEvidence:
    """What a class alone tells; worked out once per class."""

    __slots__ = (
        "bare",
        "bug",
        "builtin",
        "last",
        "names",
        "offers",
        "on_record",
        "ordinary",
        "package",
        "provider",
        "rule",
        "sure",
    )

    def __init__(self, kind: type[BaseException]) -> None:
        self.names: tuple[str, ...] = tuple(_class_names(kind))
        self.package: str = ""
        for cls in kind.__mro__:
            top = str(cls.__module__).partition(".")[0]
            if top in SDKS:
                self.package = top
                break
        self.provider: str | None = SDKS.get(self.package)
        # What happened before, and was judged then, says so itself.
        self.on_record: bool = hasattr(kind, "__on_record__")
        # A group is its members; a wrapper of a framework leaves facts to the SDK's error below it.
        self.ordinary: bool = not (
            self.on_record or self.package in PARSERS or issubclass(kind, BaseExceptionGroup)
        )
        self.builtin: bool = kind.__module__ == "builtins"
        self.offers: tuple[str, ...] = offered(kind)
        self.rule: Rule | None
        self.sure: int
        self.rule, self.sure = self._judged(TABLE)
        self.last: Rule | None = None
        for name in self.names:
            if self.last is None:
                bug = TABLE.bugs.get(name.removeprefix("builtins.")) if name.startswith("builtins.") else None
                self.last = bug or TABLE.last.get(name)
        self.bug: bool = self.rule is None and self.builtin and kind.__name__ in TABLE.bugs
        if self.bug:
            # What causes a call of ours to fail may be such a bug; a status that hides it is the better word.
            self.rule, self.sure = self.last, BY_STATUS
        self.bare: _Values | None = self._of_the_bare(kind)

    def _of_the_bare(self, kind: type[BaseException]) -> _Values | None:
        """What an exception of *kind* is that carries only words; None when words may count."""
        rule = self.rule
        if (
            rule is None
            or (self.sure != EXACTLY and not self.bug)
            or rule.inside_sdk is not None
            or rule.kind in TABLE.sharper
            or self.package
            or self.offers
            or not self.ordinary
        ):
            return None
        origin, retryable, scenario = KINDS[rule.kind][:3]
        return (
            rule.kind,
            retryable if rule.retryable is None else rule.retryable,
            None,
            rule.origin or origin,
            None,
            None,
            None,
            None,
            rule.scenario or scenario,
        )

    def _judged(self, index: Index) -> tuple[Rule | None, int]:
        for name in self.names:
            rule = index.types.get(name)
            if rule is not None:
                return rule, EXACTLY
            for family, rule, sure in index.families:
                if "." in family and belongs(name, family):
                    return rule, sure
        for name in self.names:
            rule = index.kin.get(name)
            if rule is not None:
                return rule, ROUGHLY
        for name in self.names:
            for family, rule, sure in index.families:
                if belongs(name, family):
                    return rule, sure
        return None, NOTHING


def _class_names(kind: type[BaseException]) -> Iterator[str]:
    """How rules may name a class: in full, by package and name, by name; most derived first."""
    for cls in kind.__mro__:
        if cls in (object, BaseException, Exception):
            continue
        module, name = str(cls.__module__), str(cls.__name__)
        top = module.partition(".")[0].lstrip("_")  # _ssl, _queue
        if top != module:
            yield f"{module}.{name}"
        yield f"{top}.{name}"
        yield name


def belongs(name: str, family: str) -> bool:
    """Is *name* in the *family* ``*Suffix``, ``package.*Suffix`` or ``*Inner*``?"""
    package, _, pattern = family.rpartition(".")
    if package:
        top, _, name = name.partition(".")
        if top != package:
            return False
    elif "." in name:
        return False
    bare = pattern.strip("*")
    if not pattern.endswith("*"):
        return name.endswith(bare)
    at = name.find(bare)
    return at >= 0 and not name[at + len(bare) : at + len(bare) + 1].islower()


TABLE = Index(RULES)
_classes: dict[type[BaseException], ClassEvidence] = {}


def evidence_of(error: BaseException) -> ClassEvidence:
    kind = type(error)
    info = _classes.get(kind)
    if info is None:
        info = ClassEvidence(kind)
        if len(_classes) >= MAX_CLASSES:  # classes made on the fly must not pile up
            _classes.clear()
        _classes[kind] = info
    return info


def rule_of_name(text: str) -> Rule | None:
    """The rule of the class whose name is all that *text* says: "litellm.BadGatewayError: OpenAIException -".

    Args:
        text: In lower case.
    """
    if len(text) > _MAX_NAMES:
        return None
    text = text.removeprefix("error: ")
    name = text.partition(" ")[0].rstrip(":")
    top, dot, _ = name.partition(".")
    if not name.endswith(_NAMES_END) and not (dot and top in SDKS):
        return None
    last = name.rpartition(".")[2]
    for word in text.split()[1:]:
        word = word.strip(":-.,()'\"")
        if word and not word.endswith(_NAMES_END):
            return None
    found = TABLE.lowered.get(f"{top}.{last}") or TABLE.lowered.get(last)
    if found is None:
        for ending, rule in TABLE.endings:
            if last.endswith(ending):
                return rule
    return found
