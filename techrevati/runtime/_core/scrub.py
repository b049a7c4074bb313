"""Take credentials out of a text before it becomes part of an event or a log line.

Errors of HTTP clients quote keys and headers.  Patterns are the shapes that providers document for their
keys, plus anything that follows a name such as ``authorization`` or ``api_key``.  Most texts hold none: a
pattern only runs where one of its hints, plain words without which it cannot match, is in the text.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

MAX_TEXT_LENGTH = 2_000
REDACTED = "[redacted]"
# Blanks and backslashes are bounded, so that no text makes a pattern slow.
# What it is, hints in lower case, pattern.  What the group ``keep`` matched stays.
CREDENTIALS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # What follows the name of a credential, quoted or not: header lines, JSON (in JSON), query strings, repr.
    (
        "authorization header",
        ("authorization",),
        r"(?i)(?P<keep>(?:proxy-)?authorization(?:\\{0,8}['\"])?\s{0,20}(?:[:=]|,\s{0,20}(?=b?\\{0,8}['\"]))\s{0,20}(?:b?\\{0,8}['\"])?"
        r"(?:(?:bearer|basic|token|api-?key|negotiate|ntlm|key|hmac)(?=\s))?\s{0,20})"
        # Some schemes are followed by a list of parameters: all of it.
        r"(?:(?:digest|oauth|signature|hawk|aws4-[\w-]{1,30}|sharedkey\w{0,10})\s{1,20}[^\n'}]+"
        r"|(?:[^\s'\",;}\\]|\\(?!\\{0,8}['\"]))+)",
    ),
    ("bearer token", ("bearer",), r"(?i)(?P<keep>\bbearer\s{1,20})[\w.~+/=-]{8,}"),
    (
        "named credential",
        ("key", "token", "secret", "passw"),
        r"(?i)(?P<keep>\b[\w-]{0,40}?(?:api[-_]?key|(?:access|secret|auth|subscription|private)[-_]?key(?:[-_]id)?"
        r"|(?:access|auth|refresh|session|security|id|bearer)[-_]?token|secret|passw(?:or)?d)(?:\\{0,8}['\"])?"
        r"\s{0,20}(?:[:=]\s{0,20}b?(?P<quote>\\{0,8}['\"])|[:=]\s{0,20}|,\s{0,20}b?\\{0,8}['\"]))(?!-----BEGIN)"
        # In quotes: to their end.
        r"(?(quote)(?:(?!(?P=quote))(?:\\.|.)){1,10000}"
        # A plain word behind the name is no secret: "invalid_api_key: Incorrect ...".
        r"|(?![A-Za-z]{1,15}(?:[\s.,;'\"\\]|$))(?:[^\s'\",;&}\\]|\\(?!\\{0,8}['\"]))+)",
    ),
    (
        "token",
        ("token",),
        r"(?i)(?P<keep>\btoken(?:\\{0,8}['\"])?\s{0,20}[:=]\s{0,20}(?:b?\\{0,8}['\"])?)(?=[\w.~+/-]{0,200}?\d)[\w.~+/=-]{16,}",
    ),
    (
        "cookie",
        ("cookie",),
        r"(?i)(?P<keep>\b(?:set-)?cookie(?:\\{0,8}['\"])?\s{0,20}(?::|,\s{0,20}(?=b?\\{0,8}['\"]))\s{0,20}(?:b?\\{0,8}['\"])?)"
        r"[^\s'\",}]+=[^\n'\"}]+",
    ),
    ("key in a URL", ("=",), r"(?i)(?P<keep>[?&](?:key|token|sig|(?:x-(?:amz|goog)-)?signature)=)[^\s'\"&]+"),
    ("password in a URL", ("://",), r"(?P<keep>://[^\s/:@]*:)[^\s/@]+(?=@)"),
    ("token in a URL", ("://",), r"(?P<keep>://)[^\s/:@]{16,}(?=@)"),
    (
        "private key",
        ("private key",),
        r"(?s)(?P<keep>)-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END).){0,16000}"
        r"(?:-----END [A-Z ]{0,40}-----)?",
    ),
    # Keys by their own shape: OpenAI, Anthropic and kin; Google; AWS; GitHub, GitLab; Slack; xAI …; JWT.
    ("API key", ("sk-", "pk-", "rk-"), r"(?P<keep>\b)(?:sk|pk|rk)-[\w-]{8,}[*\w-]*"),
    (
        "Stripe key",
        ("_live_", "_test_", "whsec_"),
        r"(?P<keep>\b)(?:(?:sk|pk|rk|whsec)_(?:live|test)_\w{8,}|whsec_\w{24,})",
    ),
    ("Google key", ("aiza", "ya29."), r"(?P<keep>\b)(?:AIza[\w-]{20,}|ya29\.[\w.-]{16,})"),
    ("AWS access key", ("akia", "asia"), r"(?P<keep>\b)(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    (
        "repository token",
        ("gh", "github_pat_", "glpat-"),
        r"(?P<keep>\b)(?:gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,})",
    ),
    ("Slack token", ("xox", "xapp-"), r"(?P<keep>\b)(?:xox[abeoprs]|xapp)-[\w-]{8,}"),
    ("SendGrid key", ("sg.",), r"(?P<keep>\b)SG\.[\w-]{16,}\.[\w-]{16,}"),
    ("npm token", ("npm_",), r"(?P<keep>\b)npm_[A-Za-z0-9]{30,}"),  # npm_config_… is a name
    (
        "provider key",
        ("xai", "gsk", "hf", "pplx", "r8", "nvapi"),
        r"(?P<keep>\b)(?:xai|gsk|hf|pplx|r8|nvapi)[-_]\w{16,}",
    ),
    (
        "service key",
        (
            "pypi-",
            "lsv2_",
            "tvly-",
            "gocspx-",
            "dop_v1_",
            "hvs.",
            "lin_api_",
            "shpat_",
            "age-secret-key-",
            "csk-",
        ),
        r"(?P<keep>\b)(?:pypi-[\w-]{40,}|lsv2_(?:pt|sk)_\w{24,}|tvly-(?:dev-|prod-)?\w{24,}|GOCSPX-[\w-]{20,}|dop_v1_[0-9a-f]{32,}"
        r"|hvs\.[\w-]{24,}|lin_api_\w{24,}|shpat_[0-9a-f]{24,}|AGE-SECRET-KEY-1[0-9A-Z]{40,}|csk-\w{24,})",
    ),
    ("JSON web token", ("eyj",), r"(?P<keep>\b)eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
)
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_- ")
_KEPT = r"\g<keep>" + REDACTED
_compiled: list[tuple[str, tuple[str, ...], re.Pattern[str]]] = []  # when first needed


def credential_patterns() -> list[tuple[str, tuple[str, ...], re.Pattern[str]]]:
    """:data:`CREDENTIALS`, compiled once."""
    if not _compiled:
        import re

        _compiled[:] = [(what, hints, re.compile(source)) for what, hints, source in CREDENTIALS]
    return _compiled


def without_credentials(text: str) -> str:
    """*text*, whole, with credentials replaced; the very same object when there are none."""
    lower = text.lower()
    for _, hints, pattern in credential_patterns():
        for hint in hints:
            if hint in lower:
                text = pattern.sub(_KEPT, text)
                break
    return text


def is_word(text: str) -> bool:
    """Whether *text* may be the second of two names, as in ``["password", "email"]``, and so no secret."""
    return _NAME_CHARACTERS.issuperset(text)


def scrubbed(text: str) -> str:
    """*text* with credentials replaced by ``[redacted]``, at most ``MAX_TEXT_LENGTH`` characters long."""
    # Cut twice: a pattern must see a key whole, but must not run over megabytes.
    text = without_credentials(text[: MAX_TEXT_LENGTH * 2])
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"


def error_text(error: BaseException) -> str:
    """``Type: message`` of *error* without credentials; an error whose ``str`` fails is named by type."""
    try:
        message = str(error)
    except Exception:
        message = ""
    name = type(error).__name__
    return scrubbed(f"{name}: {message}" if message else name)
