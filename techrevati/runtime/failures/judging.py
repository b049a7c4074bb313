"""What one exception amounts to by itself, its causes left aside: by class, code, status and words.

A text decides last.
"""

from __future__ import annotations

from techrevati.runtime.failures import registered, repetition, reporting, statuses
from techrevati.runtime.failures.facts import Facts, facts_of, text_of
from techrevati.runtime.failures.index import (
    BY_STATUS,
    EXACTLY,
    NOTHING,
    ROUGHLY,
    TABLE,
    ClassEvidence,
    evidence_of,
    rule_of_name,
)
from techrevati.runtime.failures.probing import attribute
from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.vocabulary import KINDS, Failure, FailureKind
from techrevati.runtime.failures.words import COMPLAINS, SAYS, TEXT, Text

_MAX_SEARCHED = 1_500  # characters of a text; what happened stands at its beginning

_NOT_THE_REQUEST = (404, 408, 409, 429)  # statuses below 500 that do not complain about what was sent

# Which words of a 500 or 502 may be believed: a filter or a login named there has failed itself.
_OF_THE_REQUEST = (FailureKind.CONTEXT_OVERFLOW, FailureKind.NOT_FOUND, FailureKind.INVALID_REQUEST)

_finals: dict[Rule, Rule] = {}  # no more than the table has rows


class Verdict:
    """What one exception of a chain amounts to."""

    __slots__ = ("error", "facts", "info", "kind", "rule", "sure", "text", "whole")

    def __init__(self, error: BaseException, facts: Facts, info: ClassEvidence) -> None:
        self.error: BaseException = error
        self.facts: Facts = facts
        self.info: ClassEvidence = info
        self.rule: Rule | None = None
        self.kind: FailureKind | None = None
        self.sure: int = NOTHING
        self.text: Text | None = None
        self.whole: Failure | None = None

    def decide(self, rule: Rule, sure: int) -> Verdict:
        self.rule, self.kind, self.sure = rule, rule.kind, sure
        return self


def _text(verdict: Verdict) -> Text:
    text = verdict.text
    if text is None:
        said = (verdict.facts.message or _worded(verdict.error))[:_MAX_SEARCHED].lower()
        text = verdict.text = Text(said)
    return text


def _worded(error: BaseException) -> str:
    """The words of *error*: of a number and words, as MySQL's clients have it, the words."""
    args = attribute(error, "args")
    if isinstance(args, tuple) and len(args) == 2 and type(args[0]) is int and type(args[1]) is str:
        return args[1] or text_of(error)
    return text_of(error)


def exact(info: ClassEvidence, facts: Facts) -> Rule | None:
    """The rule that a class or a code leaves no doubt about."""
    if info.sure == EXACTLY:
        return info.rule
    for code in facts.codes:
        rule = TABLE.codes.get(code)
        if rule is not None:
            return rule
    return None


def judged(error: BaseException) -> Verdict:
    """What *error* says by its facts, its causes left aside."""
    info = evidence_of(error)
    return judge(Verdict(error, facts_of(error, info.package, info.offers), info))


def judge(verdict: Verdict) -> Verdict:
    """*verdict*, with what its facts say."""
    error, facts, info = verdict.error, verdict.facts, verdict.info
    if info.on_record:
        told: Failure = type(error).__on_record__(error)  # type: ignore[attr-defined]  # pyright: ignore
        verdict.whole, verdict.kind, verdict.sure = told, told.kind, EXACTLY
        return verdict
    if registered.judges:
        answer = registered.answer(error, facts, info, lambda: _text(verdict))
        if isinstance(answer, Rule):
            return verdict.decide(answer, EXACTLY)
        if answer is not None:
            verdict.whole = answer if isinstance(answer, Failure) else None
            verdict.kind = answer.kind if isinstance(answer, Failure) else answer
            verdict.sure = EXACTLY
            return verdict
    rule = exact(info, facts)
    if rule is not None:
        return verdict.decide(_sharpened(rule, verdict), EXACTLY)
    status = facts.status
    if status is not None or facts.codes or facts.message or info.package:
        refused = status is None or (status < 500 and status not in _NOT_THE_REQUEST)
        rule = _said(_text(verdict), refused=refused)
        if rule is None and status in (500, 502):  # some gateways answer so whatever was wrong
            rule = TABLE.phrases.first(_text(verdict), (COMPLAINS,))
            rule = rule if rule is not None and rule.kind in _OF_THE_REQUEST else None
        if rule is not None:
            return verdict.decide(rule, EXACTLY)
    if status is not None and status >= 300:  # a redirection that nobody follows is no answer, too
        return verdict.decide(
            (_finer(facts) if status == 400 else None) or _rule_of_status(status), BY_STATUS
        )
    for code in facts.codes:
        rule = TABLE.broad.get(code)
        if rule is not None:
            return verdict.decide(rule, BY_STATUS)
    if info.rule is not None:
        return verdict.decide(_sharpened(info.rule, verdict), info.sure)
    return verdict


def _sharpened(rule: Rule, verdict: Verdict) -> Rule:
    """*rule*, or the one that the words make of it: some cases of one kind differ by words alone."""
    found = registered.sharper(rule.kind, lambda: _text(verdict)) if registered.judges else None
    columns = TABLE.sharper.get(rule.kind) if found is None else None
    return found or (rule if columns is None else TABLE.phrases.first(_text(verdict), columns) or rule)


def _said(text: Text, *, refused: bool, unless_setting: bool = False) -> Rule | None:
    """The rule for the provider's words; *refused* when they may be about the request itself."""
    columns = (SAYS, COMPLAINS) if refused else (SAYS,)
    return TABLE.phrases.first(text, columns, unless_setting=unless_setting)


def _finer(facts: Facts) -> Rule | None:
    """What the code of a 400 says more exactly, the vaguest of all; never that it may be tried again."""
    for code in facts.codes:
        rule = TABLE.broad.get(code)
        if rule is not None and not KINDS[rule.kind][1]:
            return rule
    return None


def _rule_of_status(status: int) -> Rule:
    return TABLE.statuses.get(status) or TABLE.statuses[400 if status < 500 else 500]


def by_text(verdict: Verdict) -> bool:
    """Decide by the text alone; False when it says nothing either."""
    text = _text(verdict)
    codes = statuses.codes_in(text.text)
    worded: Rule | None = None  # the rule that words have decided for
    rule = next((TABLE.codes[code] for code in codes if code in TABLE.codes), None) if codes else None
    if rule is None:
        rule = worded = _said(text, refused=True, unless_setting=True)
    status = statuses.status_in(text)
    if status is not None and verdict.facts.status is None:
        verdict.facts.status = status
    if rule is None and status is not None:
        rule = _rule_of_status(status)
    if rule is None:
        rule = worded = TABLE.phrases.first(text, (TEXT,), unless_setting=True)
    if rule is None and codes:
        rule = next((TABLE.broad[code] for code in codes if code in TABLE.broad), None)
    if rule is None and ("error" in text.text or "exception" in text.text or "." in text.text):
        rule = rule_of_name(text.text)
    if rule is None:
        return False
    rule = _sharpened(rule, verdict)
    may = KINDS[rule.kind][1] if rule.retryable is None else rule.retryable
    if may and reporting.of_no_call(text, worded if status is None else None):
        return False
    if may and repetition.forbidden(text.text, text.words):
        rule = _final(rule)
    verdict.decide(rule, ROUGHLY)
    return True


def _final(rule: Rule) -> Rule:
    """*rule*, of a call that must not be repeated."""
    final = _finals.get(rule)
    if final is None:
        final = _finals[rule] = Rule(rule.kind, rule.origin, rule.scenario, retryable=False)
    return final
