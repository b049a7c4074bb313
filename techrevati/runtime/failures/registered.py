"""Rules of users, which go in front of the table."""

from __future__ import annotations

from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime.failures.index import Index, belongs
from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.vocabulary import Failure, FailureKind
from techrevati.runtime.failures.words import COMPLAINS, SAYS, TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.failures.facts import Facts
    from techrevati.runtime.failures.index import ClassEvidence
    from techrevati.runtime.failures.words import Text

    Judge = Callable[[BaseException], "Failure | FailureKind | None"]

MAX_USER_RULES = 100

_lock = fork_safe_lock()
judges: tuple[_UserRule, ...] = ()
"""What is registered, the newest first; mostly nothing, and then nobody pays for it."""


class _UserRule:
    """One registered rule; identity is what unregisters it."""

    __slots__ = ("complained", "index", "judge", "rule")

    def __init__(self, rule: Rule | Judge) -> None:
        self.rule = rule if isinstance(rule, Rule) else None
        self.index = Index((rule,)) if isinstance(rule, Rule) else None
        self.judge = None if isinstance(rule, Rule) else rule
        self.complained = False


def register_rule(rule: Rule | Judge) -> Callable[[], None]:
    """Put *rule* in front of the table; the newest is asked first.

    A ``Rule`` decides on any evidence it names.  A function gets the exception, and each of its causes in
    turn, and answers with a kind, a whole ``Failure``, or None to leave it to the others.  One that raises
    is skipped and logged once.

    Returns:
        A function that takes the rule out again; calling it twice does nothing.

    Raises:
        ValueError: ``MAX_USER_RULES`` are registered already: a loop registers the same rule again and again.
    """
    global judges
    if not isinstance(rule, Rule) and not callable(rule):
        raise TypeError(f"rule must be a Rule or a function, got {rule!r}")
    registered = _UserRule(rule)
    with _lock:
        if len(judges) >= MAX_USER_RULES:
            raise ValueError(
                f"at most {MAX_USER_RULES} rules can be registered; unregister those not needed any more"
            )
        judges = (registered, *judges)

    def unregister() -> None:
        global judges
        with _lock:
            judges = tuple(judge for judge in judges if judge is not registered)

    return unregister


def answer(
    error: BaseException, facts: Facts, evidence: ClassEvidence, text: Callable[[], Text]
) -> Rule | Failure | FailureKind | None:
    """What the first registered rule with an opinion says of *error*; *text* makes its words searchable."""
    for entry in judges:
        try:
            if entry.judge is not None:
                given = entry.judge(error)
                if given is not None:
                    return given if isinstance(given, Failure) else FailureKind(given)
            elif entry.index is not None and _fits(entry.index, facts, evidence, text):
                return entry.rule
        except Exception:
            if not entry.complained:
                entry.complained = True
                from techrevati.runtime._core.log import logger

                logger("failures").warning("a registered rule raised and was skipped", exc_info=True)
    return None


def sharper(kind: FailureKind, text: Callable[[], Text]) -> Rule | None:
    """The first registered rule that makes a case of its own of what the table gave *kind*."""
    for entry in judges:
        columns = None if entry.index is None else entry.index.sharper.get(kind)
        if columns is not None and entry.index is not None:
            rule = entry.index.phrases.first(text(), columns)
            if rule is not None:
                return rule
    return None


def _fits(index: Index, facts: Facts, evidence: ClassEvidence, text: Callable[[], Text]) -> bool:
    """Does any evidence of one user's rule fit?"""
    names = evidence.names
    if any(name in column for name in names for column in (index.types, index.kin, index.bugs, index.last)):
        return True
    if any(belongs(name, family) for name in names for family, _, _ in index.families):
        return True
    if facts.status in index.statuses or any(
        code in index.codes or code in index.broad for code in facts.codes
    ):
        return True
    return bool(index.phrases) and index.phrases.first(text(), (SAYS, COMPLAINS, TEXT)) is not None
