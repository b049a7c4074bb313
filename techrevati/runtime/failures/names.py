"""Is a failure's phrase a name in its text: of a setting, a file, a branch, an article?

A timeout that *must be positive* is an argument.  Texts come in lower case.
"""

from __future__ import annotations

from techrevati.runtime.failures.mentions import (
    BEFORE_MENTIONS,
    NAMED_AFTER,
    NOT_OF_FAILURES,
    is_of_people,
    is_subject,
    names_a_document,
)

# After or before a phrase, these make it the name of a setting.
_SETTING_AFTER = (
    "must", "should", "cannot", "can't", "can not", "may not", "has to", "needs", "need ", "parameter",
    "argument", "value", "setting", "option", "config", "is required", "is not a", "is invalid",
    "expects", "keyword", "policy", "handler", "not set", "to be ", "of -", ": expected", ": must",
    ": invalid ",
    ": input should", ": field required", ": extra", "function", "method", "operator", "signature", "size ",
    "id:", "registered", "is not set", "exceeds the maximum", "makes no sense", "of 0 ", ": not a ",
    "could not be parsed", "could not be converted", "is out of range", "is not allowed",
    "import ", "reference", "dependenc", "symbol", "unset", "undefined", "mode", "differs", "differ ",
    "table", "column", "flag", "entry",
    # what is said of a word, a status, a category
    *NOT_OF_FAILURES,
    # what is over
    "last week", "last month", "last year", "yesterday",
)  # fmt: skip
_SETTING_BEFORE = (
    "invalid", "unexpected keyword argument", "unknown", "negative", "missing", "argument", "parameter",
    "keyword", "unsupported", "bad", "set", "field", "option", "setting", "non-positive", "key", "no",
    "handler for", "value for", "enum value", "bad value", "invalid value", "choice",
    "choose between", "lookup of", "section",
    "lacks", "misses", "cannot parse", "could not parse", "failed to parse", "can't parse",
    "supplied", "policy", "named", "called", "column", "attribute",
    # what did not happen
    "expected", "expected error code", "expected error", "expected code", "expected exception",
    "not", "didn't", "never", "without", "neither", "nor", "nothing", "nobody", "none",
    # what has the name of a failure, what a program is to have, and what a word means
    "member", "constant", "enum", "symbol", "identifier", "slug", "tag", "label", "means",
    "illegal", "wrong", "type for", "malformed", "duplicate",
    # of a machine of states, or of what a test wants
    "unexpected state", "illegal state", "outcome", "transition", "never raised",
    # networks of other kinds
    "neural", "social",
    # what somebody means to do
    "request to", "asked to", "told to", "wants to", "want to", "decided to", "declined to", "supposed to",
    "how to",
    # other rates that have limits
    "interest", "exchange", "tax", "mortgage", "frame", "sample", "sampling", "conversion", "heart",
)  # fmt: skip
# Most words begin and end differently, and a few letters are looked up in no time.
_AFTER_BEGINS = frozenset(words[:3] for words in _SETTING_AFTER)
_BEGINS = _AFTER_BEGINS.union(word[:3] for word in NAMED_AFTER)
_BEFORE_ENDS = frozenset(words[-2:] for words in _SETTING_BEFORE)
_SETTING_BEFORE_ARTICLE = (
    "needs a",
    "need a",
    "requires a",
    "require a",
    "specify a",
    "choose a",
    "configure a",
    "either a",
    "not set a",
    "not define a",
    "not configure a",
    "not specify a",
    "never raised a",
)
# A thing that is said not to be there, or into which something is to be read: not a rate limit, as a timeout.
_ARTICLES = (" a", " an", " the", " any", " about a", " about the")
# One of these is the last word before a name.
_BEFORE_LAST = BEFORE_MENTIONS.union(words.rpartition(" ")[2] for words in (*_SETTING_BEFORE, *_ARTICLES))
_DENIED_BY = (
    "not", "isn't", "wasn't", "never", "no longer", "instead of", "rather than", "without",
    "nothing to do with",
)  # fmt: skip
_READ_INTO = ("parse", "convert", "interpret", "decode", "cast", "read", "use", "coerce")
_TIMES = ("timed out", "timeout", "time out", "deadline", "took too long")
# A value is beside the bound of its setting: timeout: 30s is larger than the allowed maximum.
_BOUNDS = (
    "timeout",
    "maximum",
    "minimum",
    "upper bound",
    "lower bound",
    "allowed range",
    "longer than",
    "shorter than",
    "larger than",
    "smaller than",
    "greater than",
    "less than",
    "higher than",
    "lower than",
    "too long",
    "too short",
    "too large",
    "too small",
    "negative",
    "not a ",
)
# A colon, and what is wanted behind it: timeouts: list expected.
_WANTED = frozenset(("expected", "required", "wanted", "needed", "allowed"))
_TYPES = frozenset(
    ("array", "bool", "boolean", "dict", "float", "int", "integer", "list", "mapping", "number", "numbers",
     "sequence", "str", "string", "strings", "tuple")
)  # fmt: skip
# One timeout beside the other that it is compared with.
_COMPARES = (" must ", " should ", " exceeds ", " cannot ", "er than ")
_MOVES = ("go ", "transition", "change", "move ", "switch")
_UNITS = ("(ms)", "(s)", "(sec)", "(seconds)", "(milliseconds)", "(minutes)")
# Which timeout: these stand between it and what says that it is a setting.
_WHICH = frozenset(
    (
        "connection",
        "connect",
        "read",
        "write",
        "request",
        "idle",
        "socket",
        "total",
        "default",
        "global",
        "query",
        "session",
        "tool",
        "overall",
        "longer",
        "shorter",
        "valid",
    )
)
_COMPOUNDS = ("error", "exception", "exceeded", "limited", "related")
# A phrase inside an option of a command (--connect-timeout), a path or an address is part of a name.
_JOINS = ("-", "/", "\\", "_", ".")
# Behind a phrase and a dot, these make it the name of a file.
_ENDINGS = frozenset(
    ("c", "cfg", "cpp", "css", "csv", "go", "h", "html", "ini", "ipynb", "java", "js", "json", "log", "md",
     "pdf", "py", "pyi", "rs", "sh", "sql", "toml", "ts", "txt", "xml", "yaml", "yml")
)  # fmt: skip
# Behind one of these, quotes hold what somebody said; behind any other word, what something is called.
_SAYING = frozenset(
    ("and", "answered", "api", "as", "body", "by", "cause", "caused", "client", "code", "detail", "details",
     "error", "errors", "exception", "failed", "failure", "from", "gateway", "got", "is", "message",
     "metric", "or",
     "provider", "raised", "reason", "received", "replied", "reported", "response", "returned", "returns",
     "said", "saying", "says", "server", "status", "text", "upstream", "was", "with")
)  # fmt: skip
_WITH_A_TEXT = frozenset(("button", "element", "heading", "label", "link", "locator", "node", "selector"))
_VALUES = frozenset("'\"`-0123456789")  # how values begin
_VALUED = ("timeout", "timeouts", "limit", "limits", "errors")
# What is wrong with a value that stands behind its setting: timeout 'soon' not understood.
_WRONG = (
    "is no number", "is no valid", "is no duration", "is not a", "is not valid", "is not positive",
    "is not allowed", "is invalid", "is negative", "not understood", "not valid", "not supported",
    "not recogni", "not allowed", "cannot be ", "can't be ", "could not be ", "must be ", "should be ",
)  # fmt: skip
_WRONG_BEGINS = frozenset(words[:2] for words in _WRONG)
_NO_VALUES = ("none ", "null ", "true ", "false ", "nan ")
_QUOTES = (("'", " '"), ('"', ' "'), ("`", " `"))  # and how they open
_NAMES = ("<", "--", "/", "./", "../", "~/", "http://", "https://", "c:\\")


def in_word(character: str) -> bool:
    return character.isalnum() or character == "_"  # of no character at all: no


def word_end(text: str, end: int) -> int:
    """Where the word that *text* has before *end* ends."""
    while in_word(text[end : end + 1]):
        end += 1
    return end


def quoted(text: str, start: int, end: int) -> bool:
    """In quotes it is a name, unless it is all there is; within longer ones, if these give a name."""
    if not start:
        return False
    quote = text[start - 1]
    if quote in "'\"`" and text[end : end + 1] == quote and end - start + 2 < len(text):
        return True
    return in_some_name(text, start, end)


def in_some_name(text: str, start: int, end: int) -> bool:
    """Does it stand within quotes that give something its name?"""
    if " '" not in text and ' "' not in text and " `" not in text:  # most have none
        return False
    for quote, opening in _QUOTES:
        if text.find(opening, 0, start) >= 0 and in_a_name(text, start, end, quote):
            return True
    return False


def in_a_name(text: str, start: int, end: int, quote: str) -> bool:
    """Does it stand between two of *quote* that give something its name: branch 'fix-timeout'?"""
    if quote not in ("'", '"', "`") or text.find(quote, end) < 0:
        return False
    opening = text.rfind(" " + quote, 0, start)
    if opening < 0 or text.find(quote, opening + 2, start) >= 0:
        return False
    named = text[max(0, opening - 60) : opening].split()
    if not named or not named[-1].isalpha():
        return False
    return named[-1] not in _SAYING or (named[-1] == "text" and not _WITH_A_TEXT.isdisjoint(named))


def names_a_setting(text: str, start: int, end: int) -> bool:
    """Is what stands from *start* to *end* the name of a setting or of a thing, or denied?"""
    if end < len(text) and _set_by_what_follows(text, start, end):
        return True
    return (start > 0 and _set_by_what_precedes(text, start, end)) or _bounded(text, start, end)


def _set_by_what_follows(text: str, start: int, end: int) -> bool:
    following = text[end]
    if following == " ":
        begins = text[end + 1 : end + 4]
        if begins not in _BEGINS and begins[:1].isalpha():
            return text.endswith(_VALUED, start, end) and _is_wrong(text[end + 1 : end + 80])
    elif following in ".,;" and not in_word(text[end + 1 : end + 2]):
        return False
    if following == "-" and text[end + 1 : end + 2].isalpha():
        return not text.startswith(_COMPOUNDS, end + 1)  # the first half of one: overloaded-queue
    if following == "[" and text[end + 1 : end + 2].isdigit():
        return True  # rate_limits[2]
    if following not in " :,;)" and _is_file(text, end):
        return True
    after = text[end : end + 32].lstrip("'\"` ")
    if after[:1] == "(":
        for unit in _UNITS:
            after = after.removeprefix(unit).lstrip(" ")
    if after[:3] in _AFTER_BEGINS and after.startswith(_SETTING_AFTER):
        return True
    if text.endswith(_VALUED, start, end):
        if _has_a_value(text[end : end + 80]):
            return True
        if after[:2] in (": ", "= ") and (after[2:3] in _VALUES or after.startswith(_NO_VALUES, 2)):
            after = after[2:].partition(" ")[2]
            if after.startswith(_SETTING_AFTER):
                return True
    if after[:1] == ":" and _wants_a_type(text[end : end + 50]):
        return True
    return after[:1] == "=" or names_a_document(text, end)


def _has_a_value(after: str) -> bool:
    """Does a number below 0, or a value and what is wrong with it, stand in *after*, perhaps with a unit?"""
    if after.startswith(" ("):
        after = after.partition(")")[2]
    after = after[:5].lstrip(" :='\"`") + after[5:]
    if after[:1] in ("-", "<") and after[1:2] != "" and (after[1] == " " or after[1].isdigit()):
        return after[:2] != "- "  # a dash
    return _is_wrong(after)


def _is_wrong(after: str) -> bool:
    """Do a word, and that it is wrong, stand in *after*?"""
    what = after.partition(" ")[2]
    return what[:2] in _WRONG_BEGINS and what.startswith(_WRONG)


def _wants_a_type(after: str) -> bool:
    """Does a colon, and behind it the type that a setting should be of, stand in *after*?"""
    words = {word.strip(".,;:()'\"`") for word in after.split()[:5]}
    return not words.isdisjoint(_WANTED) and not words.isdisjoint(_TYPES)


def _set_by_what_precedes(text: str, start: int, end: int) -> bool:
    preceding = text[start - 1]
    if preceding == "-" and in_word(text[start - 2 : start - 1]) and " " in text[start:end]:
        return True  # the second half of a compound: half-time out
    if preceding == " ":
        last = text[text.rfind(" ", 0, start - 1) + 1 : start - 1]
        if (
            last.isalpha()
            and last not in _BEFORE_LAST
            and not (last in _WHICH and text.startswith("timeout", max(start, end - 8)))
        ):
            return False
    before = text[max(0, start - 80) : start]
    if preceding in _JOINS and before.split()[-1].lstrip("('\"").startswith(_NAMES):
        return True
    if preceding in ".-":  # a key is named in full: key errors.network.timeout, tag gateway-timeout
        before = before.rpartition(" ")[0]
    elif is_subject(text, start):
        return True
    if text.startswith("timeout", max(start, end - 8)):
        before = _without_kind(before)
    before = before.rstrip("'\"`: [")
    if text.startswith(_TIMES, start) and is_of_people(before, deadline=text.startswith("dead", start)):
        return True
    if before.endswith(_ARTICLES):
        return _denied(before) or before.endswith(_SETTING_BEFORE_ARTICLE)
    if before[-2:] not in _BEFORE_ENDS:
        return False
    if before.endswith(" to") and " from " in before and any(verb in before for verb in _MOVES):
        return True  # two states: cannot go from open to timeout
    return before.endswith(_SETTING_BEFORE) and any(
        before.endswith(word) and not in_word(before[-len(word) - 1 : -len(word)]) for word in _SETTING_BEFORE
    )


def _without_kind(before: str) -> str:
    """*before* a timeout, without the words that say which one it is."""
    words = before.split(" ")
    while len(words) > 2 and not words[-1] and words[-2] in _WHICH:
        del words[-2]
    return " ".join(words)


def _denied(before: str) -> bool:
    """Do the words *before* a phrase say that it is none, or what something was to be read as?"""
    for article in _ARTICLES:
        if before.endswith(article):
            before = before[: -len(article)]
            break
    else:
        return False
    if before.endswith((" as", " into")):
        return any(verb in before for verb in _READ_INTO)
    if before.endswith(" to"):
        return "convert" in before or "cast " in before
    return before.endswith(_DENIED_BY) and any(
        before.endswith(word) and not in_word(before[-len(word) - 1 : -len(word)]) for word in _DENIED_BY
    )


def _bounded(text: str, start: int, end: int) -> bool:
    """Is it the name of a setting whose value is compared with its bound?"""
    if not text.endswith(("timeout", "limit"), start, end):
        return False
    other = text.rfind("timeout", max(0, start - 80), start)
    if other >= 0 and any(compares in text[other + 7 : start] for compares in _COMPARES):
        return True
    after = text[end : end + 80]
    if " is " not in after and " exceeds " not in after:
        return False
    value, is_, bound = after.partition(" is ")
    if not is_:
        value, _, bound = after.partition(" exceeds ")
    value = value.strip(":= ").removeprefix("of ")
    return " " not in value and any(word in bound for word in _BOUNDS)


def _is_file(text: str, end: int) -> bool:
    """Does the word that ends about *end* go on as the name of a file: rate_limits.py?"""
    end = word_end(text, end)
    if text[end : end + 1] != ".":
        return False
    ending = text[end + 1 : end + 8]
    for at, character in enumerate(ending):
        if not in_word(character):
            ending = ending[:at]
            break
    return ending in _ENDINGS
