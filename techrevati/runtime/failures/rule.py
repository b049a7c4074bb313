"""One row of the table of failures: a kind and all that speaks for it; ``rules`` says in which order."""

from __future__ import annotations

from techrevati.runtime._core import arguments
from techrevati.runtime.failures.vocabulary import FailureKind, FailureOrigin, FailureScenario

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Rule:
    """One row: any of the evidence means *kind*.

    Args:
        kind: What it means.
        origin: Whose trouble it is; None takes what follows from the kind.
        scenario: The recovery scenario; None takes what follows from the kind.
        types, kin, bugs, last: Class names, as a sequence or in one string with blanks between.
        codes, broad: Error codes, likewise.
        statuses: HTTP status codes, 100 to 599.
        says, complains, text: Phrases.
        inside_sdk: The kind instead, when a provider's SDK raised it while reading an answer.
        retryable: Whether the identical call may succeed later; None takes what follows from the kind.
        sharpens, within: Phrases that make a failure that class or code already gave the kind *within* a
            case of this row.
    """

    __slots__ = (
        "broad",
        "bugs",
        "codes",
        "complains",
        "inside_sdk",
        "kin",
        "kind",
        "last",
        "origin",
        "retryable",
        "says",
        "scenario",
        "sharpens",
        "statuses",
        "text",
        "types",
        "within",
    )  # fmt: skip

    def __init__(
        self,
        kind: FailureKind,
        origin: FailureOrigin | None = None,
        scenario: FailureScenario | None = None,
        *,
        types: str | Iterable[str] = (),
        codes: str | Iterable[str] = (),
        says: Iterable[str] = (),
        complains: Iterable[str] = (),
        statuses: Iterable[int] = (),
        broad: str | Iterable[str] = (),
        kin: str | Iterable[str] = (),
        text: Iterable[str] = (),
        bugs: str | Iterable[str] = (),
        last: str | Iterable[str] = (),
        inside_sdk: FailureKind | None = None,
        retryable: bool | None = None,
        sharpens: Iterable[str] = (),
        within: FailureKind | None = None,
    ) -> None:
        self.kind: FailureKind = arguments.member("kind", kind, FailureKind)
        self.origin: FailureOrigin | None = None if origin is None else FailureOrigin(origin)
        self.scenario: FailureScenario | None = None if scenario is None else FailureScenario(scenario)
        self.types: tuple[str, ...] = _names(types)
        self.kin: tuple[str, ...] = _names(kin)
        self.bugs: tuple[str, ...] = _names(bugs)
        self.last: tuple[str, ...] = _names(last)
        self.codes: tuple[str, ...] = tuple(code.lower() for code in _names(codes))
        self.broad: tuple[str, ...] = tuple(code.lower() for code in _names(broad))
        self.says: tuple[str, ...] = _phrases(says)
        self.complains: tuple[str, ...] = _phrases(complains)
        self.text: tuple[str, ...] = _phrases(text)
        self.statuses: tuple[int, ...] = tuple(statuses)
        self.inside_sdk: FailureKind | None = inside_sdk
        self.retryable: bool | None = retryable
        self.sharpens: tuple[str, ...] = _phrases(sharpens)
        self.within: FailureKind | None = (
            None if within is None else arguments.member("within", within, FailureKind)
        )
        if bool(self.sharpens) != (within is not None):
            raise ValueError(
                f"sharpens and within belong together, got sharpens={sharpens!r}, within={within!r}"
            )

    def __repr__(self) -> str:
        facts = ((name, getattr(self, name)) for name in self.__slots__ if name != "kind")
        given = (f"{name}={value!r}" for name, value in facts if value is not None and value != ())
        return f"Rule({', '.join((self.kind.value, *given))})"


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(names.split() if isinstance(names, str) else names)


def _phrases(phrases: Iterable[str]) -> tuple[str, ...]:
    if isinstance(phrases, str):  # one phrase, not its letters
        phrases = (phrases,)
    return tuple(phrase.lower() for phrase in phrases if phrase.strip("* "))
