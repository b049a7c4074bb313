"""From an exception to a failure: hear the evidence in the order the table gives.

An exception is judged by itself first.  What caused it is asked when it says nothing, or only roughly what
happened (a wrapper, a bare status); an exception that was merely being handled at the time is asked only when
the outer one has no facts at all.  A text decides last, and a cancellation is never taken from a chain: every
timeout of asyncio has one somewhere below.
"""

from __future__ import annotations

from techrevati.runtime.failures import registered, waits
from techrevati.runtime.failures.facts import Facts, facts_of, text_of
from techrevati.runtime.failures.index import (
    BY_STATUS,
    EXACTLY,
    NOTHING,
    ROUGHLY,
    TABLE,
    evidence_of,
)
from techrevati.runtime.failures.judging import Verdict, by_text, exact, judge, judged
from techrevati.runtime.failures.known import PARSERS, SDKS
from techrevati.runtime.failures.probing import attribute
from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.vocabulary import (
    KINDS,
    Failure,
    FailureKind,
    FailureScenario,
    counts_against_provider,
    made,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from techrevati.runtime.failures.vocabulary import _Values

_MAX_CHAIN = 12  # links of causes; SDKs have three or four
_MAX_MEMBERS = 256  # of exception groups, those in groups counted too
_MAX_DEPTH = 8  # of groups in groups
_MAX_FRAMES = 400

_WAITING_KINDS = frozenset(kind for kind, row in KINDS.items() if row[1]) | {FailureKind.QUOTA_EXHAUSTED}


class _Groups(dict[int, "Verdict"]):
    """The groups met on the way, by identity, and how many members may still be looked at in all of them."""

    left = _MAX_MEMBERS


def _below(error: BaseException) -> tuple[BaseException | None, bool]:
    """The exception below *error* in the chain, and whether it was named as the cause."""
    try:
        cause = error.__cause__
        if cause is not None:
            return cause, True
        reason = attribute(error, "reason")  # urllib and urllib3 carry what happened
        if isinstance(reason, BaseException):
            return reason, True
        return (None if error.__suppress_context__ else error.__context__), False
    except Exception:
        return None, False


def _chained(verdict: Verdict, depth: int, groups: _Groups | None) -> Verdict:
    """*verdict* of the outermost exception, or a better one from below it."""
    if verdict.info.bug:  # raised while it dealt with some failure, perhaps; it is still wrong code
        return verdict
    error = verdict.error
    below, named = _below(error)
    if below is None:
        if not verdict.sure and not by_text(verdict) and verdict.info.last is not None:
            verdict.decide(verdict.info.last, ROUGHLY)
        return verdict
    response = attribute(error, "response")
    text_left: list[Verdict] = []
    if verdict.sure == NOTHING:
        text_left.append(verdict)
    best, bug = verdict, None
    seen = {id(error)}
    always_below, explicit = verdict.info.package == "litellm", True
    for _ in range(_MAX_CHAIN):
        explicit = explicit and named
        if below is None or id(below) in seen or not (explicit or always_below or verdict.sure == NOTHING):
            break
        seen.add(id(below))
        error, (below, named) = below, _below(below)
        if response is not None and attribute(error, "response") is response:
            continue  # the same answer, as the transport told it to the SDK
        if isinstance(error, BaseExceptionGroup):
            groups = _Groups() if groups is None else groups
            found = _of_group(error, depth, groups)
        else:
            found = judged(error)
        if found.kind is FailureKind.CANCELLED:
            continue
        if found.info.last is not None and found.info.builtin and found.sure <= BY_STATUS:
            bug = bug or (found if explicit else None)
            if verdict.sure == NOTHING or not explicit:
                continue
        if found.sure > best.sure:
            best = found
            if best.sure == EXACTLY:
                break
        elif found.sure == NOTHING:
            text_left.append(found)
        elif found.facts.status == verdict.facts.status:
            verdict.facts.fill_from(found.facts)
    if best is not verdict or verdict.sure:
        return best
    for candidate in text_left:
        if by_text(candidate):
            return candidate
    if bug is not None and bug.info.last is not None:
        return bug.decide(bug.info.last, ROUGHLY)
    if verdict.info.last is not None:
        verdict.decide(verdict.info.last, ROUGHLY)
    return verdict


def _of_group(group: BaseExceptionGroup[BaseException], depth: int, groups: _Groups) -> Verdict:
    """A group is its least retryable member; a member that says something goes before one that does not."""
    if id(group) in groups:  # a member's cause, perhaps; groups of groups must not multiply
        return groups[id(group)]
    verdict = groups[id(group)] = judged(group)
    if verdict.sure == EXACTLY or depth <= 0:
        return verdict
    members: list[Verdict] = []
    for member in group.exceptions:
        if not groups.left:  # nobody looks at the rest: it must not be taken for retryable
            members.append(Verdict(group, Facts(), verdict.info))
            break
        groups.left -= 1
        members.append(_verdict(member, depth - 1, groups))
    if not members:
        return verdict

    def rank(member: Verdict) -> tuple[bool, bool]:
        return _retryable(member), member.kind is None

    chosen = min(members, key=rank)
    if _retryable(chosen):  # all of them are: the one that waits longest
        chosen = max(members, key=lambda member: member.facts.wait(None) or 0.0)
    groups[id(group)] = chosen
    return chosen


def _verdict(error: BaseException, depth: int, groups: _Groups | None) -> Verdict:
    if isinstance(error, BaseExceptionGroup):
        return _of_group(error, depth, _Groups() if groups is None else groups)
    return _with_causes(judged(error), depth, groups)


def _with_causes(verdict: Verdict, depth: int, groups: _Groups | None) -> Verdict:
    """*verdict* by an exception's own facts, or a better one, with what its causes know."""
    error = verdict.error
    if verdict.sure == EXACTLY:
        if verdict.info.package in PARSERS and verdict.whole is None:
            below, named = _below(error)
            if below is not None and (
                named or verdict.info.package == "litellm"
            ):  # a wrapper knows what it is; the SDK's own error knows the rest
                verdict.facts.fill_from(judged(below).facts)
        return verdict
    best = _chained(verdict, depth, groups)
    if best is not verdict:
        best.facts.fill_from(verdict.facts)
    return best


def _retryable(verdict: Verdict) -> bool:
    if verdict.whole is not None:
        return verdict.whole.retryable
    should = verdict.facts.should_retry() if verdict.facts.headers else None
    if should is None and verdict.rule is not None:
        should = verdict.rule.retryable
    return KINDS[_kind(verdict)][1] if should is None else should


def _kind(verdict: Verdict) -> FailureKind:
    if verdict.kind is None:
        return FailureKind.UNKNOWN
    rule = verdict.rule
    if rule is not None and rule.inside_sdk is not None and _raised_by_sdk(verdict.error):
        return rule.inside_sdk
    return verdict.kind


def _raised_by_sdk(error: BaseException) -> bool:
    """Was the parser that raised *error* called by an SDK, reading an answer, and not by anybody else?"""
    caller = ""
    frame = error.__traceback__
    for _ in range(_MAX_FRAMES):
        if frame is None:
            break
        name = frame.tb_frame.f_globals.get("__name__")
        if isinstance(name, str) and name.partition(".")[0] not in ("json", "simplejson", "orjson"):
            caller = name
        frame = frame.tb_next
    top, _, rest = caller.partition(".")
    # openai.lib and anthropic.lib parse what the model wrote: arguments of tools, structured answers.
    return top in SDKS and top not in PARSERS and not rest.startswith("lib.")


def _failure(error: BaseException, now_s: float | None) -> Failure:
    info = evidence_of(error)
    if not info.ordinary or registered.judges:
        return _told(error, _verdict(error, _MAX_DEPTH, None), now_s)
    bare = None if info.bare is None else _bare(error, info.bare)
    if bare is not None:
        return bare
    facts = facts_of(error, info.package, info.offers)
    rule = exact(info, facts)
    if rule is not None and rule.inside_sdk is None and rule.kind not in TABLE.sharper:
        return _made(facts, rule, rule.kind, text_of(error), "", now_s)
    return _told(error, _with_causes(judge(Verdict(error, facts, info)), _MAX_DEPTH, None), now_s)


def _told(error: BaseException, verdict: Verdict, now_s: float | None) -> Failure:
    """What *verdict*, of *error* or of something in its chain, makes of *error*."""
    if verdict.whole is not None:
        return verdict.whole
    of = verdict.error
    text = text_of(of if isinstance(error, BaseExceptionGroup) else error)
    also = "" if of is error else text
    return _made(verdict.facts, verdict.rule, _kind(verdict), text, also, now_s)


def _made(
    facts: Facts, rule: Rule | None, kind: FailureKind, text: str, also: str, now_s: float | None
) -> Failure:
    """The failure; *also* may name a wait where neither a fact nor the words do."""
    row = KINDS[kind]
    wait_s, retryable = None, None
    headers = facts.headers
    if facts.wait_s is not None or facts.spent or "retry-after" in headers or "retry-after-ms" in headers:
        wait_s = facts.wait(now_s)
    if "x-should-retry" in headers:
        retryable = facts.should_retry()
    if wait_s is None and kind in _WAITING_KINDS:
        wait_s = waits.from_prose((facts.message or text).lower())
        if wait_s is None and also:
            wait_s = waits.from_prose(also.lower())
    if rule is not None:
        if retryable is None:
            retryable = rule.retryable
        origin, scenario = rule.origin, rule.scenario
    else:
        origin, scenario = None, None
    return made(
        (
            kind,
            row[1] if retryable is None else retryable,
            wait_s,
            row[0] if origin is None else origin,
            facts.provider,
            facts.status,
            facts.code,
            facts.request_id if facts.request is None else facts.request,
            row[2] if scenario is None else scenario,
        ),
        text,
    )


def _bare(error: BaseException, values: _Values) -> Failure | None:
    """The failure that the class of *error* decides, when that carries nothing that could say more."""
    try:
        if error.__dict__:
            return None
        args = error.args
        if args and (isinstance(args[0], dict) or (isinstance(error, OSError) and error.errno is not None)):
            return None
    except Exception:
        return None
    text = text_of(error)
    if args and values[0] in _WAITING_KINDS and waits.from_prose(text.lower()) is not None:
        return None
    return made(values, text)


def _epoch_s(now: datetime | float | None) -> float | None:
    if now is None or isinstance(now, (int, float)):
        return now
    if not hasattr(now, "timestamp"):
        raise TypeError(f"now must be an aware datetime or seconds since 1970, got {now!r}")
    if now.tzinfo is None:
        raise ValueError(f"now must be an aware datetime or seconds since 1970, got the naive {now!r}")
    return now.timestamp()


def classify(exc: BaseException, *, now: datetime | float | None = None) -> Failure:
    """What *exc* is.

    Never raises for anything an exception can be: broken attributes, cycles of causes, foreign types.

    Args:
        exc: Any exception, from an SDK, an HTTP library, a tool, this package or plain Python.
        now: What a Retry-After date or a reset moment is measured from: an aware datetime or seconds since
            1970; None is the wall clock.

    Returns:
        A failure of kind ``unknown`` when nothing is recognisable; that one is not retryable.

    Raises:
        TypeError, ValueError: *now* is neither, or a naive datetime.
    """
    now_s = None if now is None else _epoch_s(now)
    try:
        return _failure(exc, now_s)
    except Exception:
        return Failure(FailureKind.UNKNOWN, message=str(attribute(type(exc), "__name__")))


def classify_exception(error: BaseException) -> FailureScenario:
    """The recovery scenario of *error*, as 0.1 had it: ``classify(error).scenario``."""
    return classify(error).scenario


def provider_failures(exc: BaseException) -> bool:
    """Does *exc* count against the circuit breaker of the provider that was called?

    Timeouts, rate limits, exhausted quota, overload, server errors, network trouble and what nobody can
    name do.  What the caller did (bugs, bad requests, keys, permissions, too much input), refused content,
    what a tool or a store did, our own refusals and limits, and cancellation do not: the provider is well.
    """
    return counts_against_provider(classify(exc))
