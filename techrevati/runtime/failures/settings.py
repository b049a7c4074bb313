"""Is a phrase of a failure only a name: of a setting, a file, a column, something quoted?

A timeout that *must be positive* is an argument, ``rate_limits.py`` is a file, and a branch may be called
'fix-timeout'.  Texts come in lower case.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# After or before a phrase, these make it the name of a setting.
_SETTING_AFTER = (
    "must", "should", "cannot", "can't", "can not", "may not", "has to", "needs", "need ", "parameter",
    "argument", "value", "setting", "option", "config", "=", "is required", "is not a", "is invalid",
    "expects", "keyword", "policy", "handler", "not set", "to be ", "of -", ": expected", ": must",
    ": invalid",
    ": input should", ": field required", ": extra", "function", "method", "operator", "signature", "size ",
    "id:", "registered", "is not set", "exceeds the maximum", "unset", "undefined", "mode", "differs",
    "differ ", "table", "column", "flag", "entry", "entries",
    # what is over
    "last week", "last month", "last year", "yesterday",
)  # fmt: skip
_SETTING_BEFORE = (
    "invalid", "unexpected keyword argument", "unknown", "negative", "missing", "argument", "parameter",
    "keyword", "unsupported", "bad", "set", "field", "option", "setting", "non-positive", "key", "no",
    "handler for", "value for", "supplied", "policy", "named", "called", "column", "attribute",
    "illegal", "wrong", "type for", "malformed", "duplicate",
    # of a machine of states, or of what a test wants
    "unexpected state", "illegal state", "outcome", "transition", "never raised a", "never raised",
    # networks of other kinds
    "neural", "social",
    # what somebody means to do
    "request to", "asked to", "told to", "wants to", "want to", "decided to", "declined to", "supposed to",
    "how to",
    # what did not happen
    "not", "didn't", "never", "without",
    # other rates that have limits
    "interest", "exchange", "tax", "mortgage", "frame", "sample", "sampling", "conversion", "heart",
)  # fmt: skip
# A thing that is said not to be there, or into which something is to be read: not a rate limit, as a timeout.
_ARTICLES = (" a", " an", " the", " any", " about a", " about the")
_DENIED_BY = (
    "not", "isn't", "wasn't", "never", "no longer", "instead of", "rather than", "without",
    "nothing to do with",
)  # fmt: skip
_READ_INTO = ("parse", "convert", "interpret", "decode", "cast", "read", "use", "coerce")
# A value is beside the bound of its setting: timeout: 30s is larger than the allowed maximum.
_BOUNDS = ("maximum", "minimum", "upper bound", "lower bound", "allowed range", "timeout")
# A colon, and what is wanted behind it: timeouts: list expected.
_WANTED = frozenset(("expected", "required", "wanted", "needed", "allowed"))
_TYPES = frozenset(
    ("array", "bool", "boolean", "dict", "float", "int", "integer", "list", "mapping", "number", "numbers",
     "sequence", "str", "string", "strings", "tuple")
)  # fmt: skip
# One timeout beside the other that it is compared with.
_COMPARES = (" must ", " should ", " exceeds ", " cannot ", "er than ")
_MOVES = ("go ", "transition", "change", "move ", "switch")
_QUOTES = ("'", '"', "`")
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
_NAMES = ("<", "--", "/", "./", "../", "~/", "http://", "https://", "c:\\")

_MARKS = ("must", "should", " is ", " not ", " be ")  # one of these is in every other match
_HAVE_VALUES = ("timeout", "timeouts", "limit", "limits", "errors")
_compiled: list[re.Pattern[str]] = []  # when it is needed


def _by_letter(words: tuple[str, ...], at: int) -> dict[str, tuple[str, ...]]:
    letters = {word[at] for word in words}
    return {letter: tuple([word for word in words if word[at] == letter]) for letter in letters}


_AFTER = _by_letter(_SETTING_AFTER, 0)
_BEFORE = _by_letter(_SETTING_BEFORE, -1)


def _has_a_value(text: str, start: int, end: int) -> bool:
    """Do a unit, a value and what is wrong with it follow the name: timeout 'soon' not understood?"""
    if not text.endswith(_HAVE_VALUES, start, end):
        return False
    after = text[end : end + 80]
    if after[:5].lstrip(" :='\"`")[:1] not in ("-", "<"):
        for mark in _MARKS:
            if mark in after:
                break
        else:
            return False
    if not _compiled:
        import re

        unit, between = r"(?:\s\([^)]{1,30}\))?", r"[\s:='\"`]{0,4}"
        wrong = (
            r"is\s(?:no\s(?:number|valid|duration)|not\s(?:an?\s\w+|valid|positive|allowed)|invalid|negative)"
            r"|not\s(?:understood|valid|supported|recogni[sz]ed)"
            r"|(?:cannot|can't|could\snot)\sbe\s(?:parsed|negative|zero|used|converted|read|combined)"
            r"|(?:must|should)\sbe"
        )
        value = rf"[\w.+-]{{1,30}}['\"`]?\s(?:{wrong})\b"
        _compiled.append(re.compile(rf"{unit}{between}(?:-\d|<|must\b|should\b|{value})"))
    return _compiled[0].match(after) is not None


def in_word(character: str) -> bool:
    return character.isalnum() or character == "_"  # of no character at all: no


def word_end(text: str, end: int) -> int:
    """Where the word that *text* has before *end* ends."""
    while in_word(text[end : end + 1]):
        end += 1
    return end


def quoted(text: str, start: int, end: int) -> bool:
    """In quotes it is a name, unless it is all there is; within longer ones, if these give a name."""
    quote = text[start - 1 : start]
    if quote in _QUOTES and text[end : end + 1] == quote and end - start + 2 < len(text):
        return True
    if "'" not in text and '"' not in text and "`" not in text:  # most have none
        return False
    return any(in_a_name(text, start, end, mark) for mark in _QUOTES)


def in_a_name(text: str, start: int, end: int, quote: str) -> bool:
    """Does it stand between two of *quote* that give something its name: branch 'fix-timeout'?"""
    if quote not in _QUOTES or text.find(quote, end) < 0:
        return False
    opening = text.rfind(" " + quote, 0, start)
    if opening < 0 or text.find(quote, opening + 2, start) >= 0:
        return False
    named = text[max(0, opening - 40) : opening].split()[-1:]
    return bool(named) and named[0].isalpha() and named[0] not in _SAYING


def names_a_setting(text: str, start: int, end: int) -> bool:
    """Is what stands from *start* to *end* the name of a setting or of a thing, or denied?"""
    if text[start - 1 : start] == "-" and in_word(text[start - 2 : start - 1]) and " " in text[start:end]:
        return True  # the second half of a compound: half-time out
    if text[end : end + 1] == "-" and text[end + 1 : end + 2].isalpha():
        return not text.startswith(_COMPOUNDS, end + 1)  # the first half of one: overloaded-queue
    if text[end : end + 1] != " " and _is_file(text, end):
        return True
    after = text[end : end + 50].lstrip("'\"` ")
    if after:
        if after.startswith(_AFTER.get(after[0], ())) or _has_a_value(text, start, end):
            return True
        if after[0] == ":" and _wants_a_type(after):
            return True
    before = text[max(0, start - 80) : start]
    if not before:
        return _bounded(text, start, end)
    if before.endswith(_JOINS) and before.split()[-1].lstrip("('\"").startswith(_NAMES):
        return True
    if before.endswith("."):  # a key or an attribute is named in full: key errors.network.timeout
        before = before.rpartition(" ")[0]
    before = before.rstrip("'\"`: ")
    if _denied(before) or _bounded(text, start, end):
        return True
    if before.endswith(" to") and " from " in before and any(verb in before for verb in _MOVES):
        return True  # two states: cannot go from open to timeout
    words = _BEFORE.get(before[-1:], ())
    return before.endswith(words) and any(
        before.endswith(word) and not in_word(before[-len(word) - 1 : -len(word)]) for word in words
    )


def _wants_a_type(after: str) -> bool:
    """Does a colon, and behind it the type that a setting should be of, stand in *after*?"""
    words = {word.strip(".,;:()'\"`") for word in after[1:].split()[:5]}
    return not words.isdisjoint(_WANTED) and not words.isdisjoint(_TYPES)


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
    if not text.endswith("timeout", start, end):
        return False
    before = text[max(0, start - 80) : start]
    if "timeout" in before:
        between = before.rpartition("timeout")[2]
        if any(compares in between for compares in _COMPARES):
            return True
    after = text[end : end + 80]
    value, is_, bound = after.partition(" is ")
    if not is_:
        value, is_, bound = after.partition(" exceeds ")
    value = value.strip(":= ").removeprefix("of ")
    return bool(is_) and " " not in value and any(word in bound for word in _BOUNDS)


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
