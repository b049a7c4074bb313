"""Does a text say that its call must not be made again, or that it had, or may have had, its effect?

Texts come in lower case.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DONE = (
    "applied booked captured charged committed completed created debited delivered executed inserted paid "
    "placed processed saved started stored submitted transferred written"
)
_THINGS = (
    "account booking charge charges comment commit email emails file insert invoice job jobs "
    "mail message messages order orders payment payments purchase record "
    "records reservation row rows subscription task ticket transaction transfer upload write"
)
_DID = f"(?:{'|'.join(_DONE.split())})"
# How texts say it; each row with words of which such a text has one of the first and, if there are any, one
# of the second.
_FORBIDS = (
    (
        _words(
            "again repeat repeated rerun resend resubmit resubmitted retried retries retry run send submit"
        ),
        _words("allowed cannot never no not refused refuses refusing t unsafe"),
        r"""\b(?:do\ not|don't|never|must\ not|should\ not|cannot|can't|will\ not|won't|refus\w+\ to
               |unsafe\ to|not\ safe\ to)\ (?:be\ )?
            (?:\w+\ (?:it\ |this\ )?again|re-?(?:run|send|submit)|retry|retried
               |repeat|repeated|resubmitted)\b
            # "Do not retry before 10:30" names a wait.
            (?!\ (?:this\ |the\ request\ )?(?:before|earlier|for|immediately|more|right|so|sooner|too|until
               |within|yet)\b)
          | \bretr(?:y|ies)\ (?:is|are)\ not\ allowed\b | \bno\ retry\b(?!-)""",
    ),
    (
        _words("repeat repeating resend retry"),
        _words("before"),
        r"""\bcheck\b.{0,40}\bbefore\b.{0,20}\b(?:repeat|resend|retry)
          | \bbefore\ (?:you\ re(?:peat|send)|repeating)\b""",
    ),
    (
        _words("idempotent recoverable repeatable retriable retryable"),
        _words("false no non not"),
        r"""\b(?:not|non)[\ -](?:be\ )?(?:idempotent|recoverable|repeatable|retryable|retriable)\b
          | \bretr(?:y|i)able['"]?\s?[:=]\s?(?:false|no|0)\b""",
    ),
    (
        _words("final irrecoverable permanent terminal unrecoverable"),
        None,
        r"\b(?:unrecoverable|irrecoverable|(?:permanent|terminal)\ (?:error|failure)|is\ final)\b",
    ),
    (
        _words("could may might"),
        _words("have"),
        rf"""\b(?:may|might|could)\ have\ (?:already\ )?
            (?:taken\ effect|gone\ through|arrived|happened|reached|succeeded
               |(?:been\ )?(?:{_DID}|sent))\b""",
    ),
    (
        _words("accepted already intervention partial partially unknown went"),
        None,
        rf"""\balready\ (?:been\ )?(?:{_DID}|sent)\b | \bwent\ through\b
          | \baccepted\ (?:although|but|though)\b
          | \bpartial(?:ly)?\ (?:write|applied|completed|processed|written)\b
          | \b(?:unknown\ outcome|manual\ intervention
               |(?:effect|outcome|state|status)\ (?:of\ (?:the\ |this\ )?\w+\ )?is\ unknown)\b""",
    ),
    (
        _words(_THINGS),
        _words(_DONE + " continues exists sent succeeded"),
        rf"""\b(?:{"|".join(_THINGS.split())}|e-mail)\ (?:\w+\ )?
            (?:(?:has|have|was|were)\ (?:been\ )?(?:{_DID}|sent)|booked|captured|charged|committed
               |completed|delivered|executed|paid|placed|succeeded|continues|exists)\b""",
    ),
)
_ROWS = {word: [row for row in _FORBIDS if word in row[0]] for row in _FORBIDS for word in row[0]}
_REPEATED = frozenset(_ROWS)
# What one of these is said of stays as it is.
_FOR_EVER = _words("banned blacklisted blocklisted forever permanently revoked suspended")
_patterns: dict[str, re.Pattern[str]] = {}


def forbidden(text: str, words: set[str]) -> bool:
    """Does *text* say it?  *words* are those of the text."""
    if not words.isdisjoint(_FOR_EVER):
        return True
    for word in words & _REPEATED:
        for _, second, source in _ROWS[word]:
            if second is not None and words.isdisjoint(second):
                continue
            pattern = _patterns.get(source)
            if pattern is None:
                import re

                pattern = _patterns[source] = re.compile(source, re.VERBOSE)
            if pattern.search(text):
                return True
    return False
