"""Take credentials out of a text before it becomes part of an event or a log line.

Errors of HTTP clients quote keys and headers.  Patterns are the shapes that providers document for their
keys, plus anything that follows a name such as ``authorization`` or ``api_key``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

MAX_TEXT_LENGTH = 2_000
_patterns: list[re.Pattern[str]] = []  # compiled when first needed
_SOURCES = (
    # What follows the name of a credential, quoted or not: header lines, JSON, query strings, repr.
    r"(?i)(?P<keep>(?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?(?:b['\"])?(?:bearer|basic|token)?\s*)"
    r"[^\s'\",;}]+",
    r"(?i)(?P<keep>\bbearer\s+)[\w.~+/=-]{8,}",
    r"(?i)(?P<keep>\b[\w-]{0,40}?(?:api[-_]?key|(?:access|secret|auth|subscription|private)[-_]?key(?:[-_]id)?"
    r"|(?:access|auth|refresh|session|security|id|bearer)[-_]?token|secret|passw(?:or)?d)['\"]?"
    # A plain word behind the name is no secret: "invalid_api_key: Incorrect ...".
    r"\s*(?:[:=]|,\s*(?=b?['\"]))\s*['\"]?(?:b['\"])?)(?![A-Za-z]{1,15}(?:[\s.,;'\"]|$))[^\s'\",;&}]+",
    r"(?i)(?P<keep>[?&](?:key|token|sig|signature)=)[^\s'\"&]+",
    r"(?P<keep>://[^\s/:@]+:)[^\s/@]+(?=@)",
    # Keys by their own shape: OpenAI, Anthropic and kin; Google; AWS; GitHub, GitLab; Slack; xAI …; JWT.
    r"(?P<keep>\b)(?:sk|pk|rk)-[\w-]{8,}[*\w-]*",
    r"(?P<keep>\b)(?:AIza[\w-]{20,}|ya29\.[\w.-]{16,})",
    r"(?P<keep>\b)(?:AKIA|ASIA)[A-Z0-9]{12,}",
    r"(?P<keep>\b)(?:gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,})",
    r"(?P<keep>\b)xox[abeoprs]-[\w-]{8,}",
    r"(?P<keep>\b)(?:xai|gsk|hf|pplx|r8|nvapi)[-_]\w{16,}",
    r"(?P<keep>\b)eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
)


def scrubbed(text: str) -> str:
    """*text* with credentials replaced by ``[redacted]``, at most ``MAX_TEXT_LENGTH`` characters long."""
    import re

    if not _patterns:
        _patterns[:] = [re.compile(source) for source in _SOURCES]
    # Cut twice: a pattern must see a key whole, but must not run over megabytes.
    text = text[: MAX_TEXT_LENGTH * 2]
    for pattern in _patterns:
        text = pattern.sub(r"\g<keep>[redacted]", text)
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"


def error_text(error: BaseException) -> str:
    """``Type: message`` of *error* without credentials; an error whose ``str`` fails is named by type."""
    try:
        message = str(error)
    except Exception:
        message = ""
    name = type(error).__name__
    return scrubbed(f"{name}: {message}" if message else name)
