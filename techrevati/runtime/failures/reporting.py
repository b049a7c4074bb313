"""Is a failure's phrase said of a call?

A doctor is temporarily unavailable, an elevator is overloaded, and one fails to connect the dots.  What is
not said of a call must not be repeated, and no text says of itself what it is about: the words beside the
phrase do, and how its clause goes on.
"""

from __future__ import annotations

from techrevati.runtime.failures.mentions import told_by_people

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.failures.rule import Rule
    from techrevati.runtime.failures.words import Text


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


# A text with one of these speaks of names and settings of a program; nothing has happened to a call.
_OF_A_PROGRAM = (
    "mutually exclusive", "cannot both", "can not both", "cannot be combined", "cannot be used with",
    "a subclass of", "has no attribute", "has no method", "has no member", "is not callable",
    "keyword argument",
    "positional argument", "no handler for", "not registered", "already registered",
    "are configured", "is deprecated", "are deprecated", "is disabled", "are disabled", "is ignored",
    "was ignored", "are ignored", "expected to be", "did not raise", "to be raised", "error class",
    "exception class", "exception type", "cannot pickle", "can't pickle",
    "no such table", "no such column", "no column named", "cannot import name", "no module named",
    "is not one of", "one of:", "must be one of", "should be one of", "is not a member", "is not defined",
    "keyerror:", "attributeerror:", "nameerror:", "importerror:", "modulenotfounderror:", "indexerror:",
    "syntaxerror:", "assertionerror:",
    # what parsers and linkers quote
    "parse line", "parse log", "parse row", "parse record", "parse entry", "parse date", "parse number",
    "parse integer", "parse value", "resolve variable", "resolve reference", "resolve dependenc",
    "resolve import", "resolve module", "resolve symbol", "resolve type", "resolve template",
    "resolve placeholder", "resolve conflict", "resolve the conflict",
    # what people said
    "user message:", "customer reports", "transcript says",
    # of Python's own, about what it was given to read
    "invalid literal for", "could not convert string", "unsupported operand",
    "expected type", "expected an instance", "must be between", "should be between", "must be greater",
    "must be less", "must be at least", "must be at most", "what does", "is not a valid integer",
    "is not a valid number", "is not a valid duration", "no such option", "unknown option",
    "translation missing", "paid feature", "exists already", "no mapping for", "unsupported operation",
    "under review", "undeclared", "matched nothing", "no matches for", "did not match", "no results",
    "cannot find name", "conflicts with", "undefined reference", "to fail with", "but it passed",
    "dead letter", "golden answer", "golden file", "already taken", "already exists",
    "missing script", "choose one of", "pick one of", "valid values", "allowed values",
    "valid choices",
    "disabled after", "disabled because",
    "both given", "both set", "both be given", "either timeout or", "given twice", "listed twice",
    "defined twice", "documented twice", "already defined", "not understood",
)  # fmt: skip
# One of these beside a phrase says that it is of a service.
OF_A_SERVICE = _words(
    "again ai anthropic api azure backend bedrock capacity claude cluster cohere currently database "
    "deepseek endpoint engine engines error gateway gemini google gpt groq host http instance later llm load "
    "mistral model models momentarily node nvidia ollama openai openrouter perplexity "
    "provider proxy request requests retry retrying server "
    "servers service services status system temporarily traffic upstream wait worker workers"
)
# With none of those, a phrase is of a call where all other words are of these.
_OF_REPORTS = _words(
    "a account after again agent all already an and any are as at attempt attempted attempts be because "
    "been before being busy but by bytes call calls can cannot chat closed command completion concurrent "
    "connect connection connections could data did do does down due during e encountered errno errors exc "
    "exceeded exceeds exception failed failing failure for from function get getting giving got had "
    "happened has have hit i in internal ip is it its job just limit limited limits lost many max maximum "
    "message messages milliseconds minute minutes more ms my network no not now occurred of on operation "
    "or our out peer per please process query rate reached read reading received remote reset response "
    "run s sec second seconds sending sent side since slow socket something sorry step still stream task "
    "than that the then there this timed timeout to token tokens too tool try trying unexpected "
    "unexpectedly unknown until up us user very waiting was we went were when while will with within "
    "would write writing wrong you your"
)
# Not only services are busy, in demand, or asked too often.
_OF_PEOPLE_TOO = _words(
    "busy capacity demand down load loading minute overloaded requests second throttl throttle throttled "
    "throttling traffic unavailable"
)
_MANY = _words("again busy many too")
_ENDS_A_CLAUSE = _words("healthy host network server service")
# How the clause of a report goes on behind its phrase.
_GOES_ON = _words(
    "aborted abruptly after again and awaiting because before broken calling closed connecting dropped "
    "desc due during early encountered error exceeded exception failed fetching from hit interrupted it lost "
    "occurred or please prematurely reached reading receiving refused reset response retry retrying sending "
    "terminated trying unexpectedly waiting when while within without writing"
)
_WHO_ENDS_CONNECTIONS = _words(
    "administrator backend client destination endpoint firewall foreign gateway host other peer provider "
    "proxy remote server service target upstream user"
)
_CONNECTED = _words("database host over securely server the through via with")


def _by_word(phrases: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """*phrases* under each of their words of some length: a text without these has none of them."""
    found: dict[str, tuple[str, ...]] = {}
    for phrase in phrases:
        words = [word.rstrip(":") for word in phrase.split() if word.isalpha() or word.endswith(":")]
        for word in [word for word in words if len(word) > 3] or [max(words, key=len)]:
            found[word] = (*found.get(word, ()), phrase)
    return found


_PROGRAM_PHRASES = _by_word(_OF_A_PROGRAM)
_PROGRAM_WORDS = frozenset(_PROGRAM_PHRASES)
_CLAUSE_ENDS = ("", ":", ";", ",", ".", "(", ")", "[", "]", "{", "}", "!", "?", "\n", "|")


def of_no_call(text: Text, rule: Rule | None) -> bool:
    """Does *text* use the words of a failure for something that is none of a call?

    Args:
        rule: The one whose phrase was found; None when a code or a status decided.
    """
    said, used = text.text, text.words
    for word in used & _PROGRAM_WORDS:
        for phrase in _PROGRAM_PHRASES[word]:
            if phrase in said:
                return True
    if told_by_people(said, used):
        return True
    if rule is None:
        return False
    services = used & OF_A_SERVICE
    for _, _, phrase, of, own in text.found:
        if of is rule and _reports(said, used, services, phrase, own):
            return False
    return True


def _reports(said: str, used: set[str], services: set[str], phrase: str, own: frozenset[str]) -> bool:
    """Does *phrase* stand in *said*, and of a call?

    It does when a word beside it is of services, or when no other word is foreign to reports; else when its
    clause ends with it, or goes on as those of reports do.
    """
    if not phrase.isascii():  # of parts that stand far from each other, or of another language
        return True
    bare = phrase.strip("*")
    connects = phrase.endswith("connect")
    stem = bare.rpartition(" ")[2] if phrase[-1] == "*" else ""  # the word that goes on is its own, too
    foreign = services - own
    serves = bool([word for word in foreign if not word.startswith(stem)] if stem else foreign)
    if serves and not connects:
        return bare in said
    if stem:
        own = own.union([word for word in used if word.startswith(stem)], (stem,))
    foreign = used - _OF_REPORTS
    said_whole = len(own) > 4 or (
        len(own) > 2 and own.isdisjoint(_MANY) and not phrase.endswith(("error", "out"))
    )
    known = not connects and (serves or said_whole or foreign <= own)
    ends = not own.isdisjoint(_ENDS_A_CLAUSE) or own.isdisjoint(_OF_PEOPLE_TOO)
    at = said.find(bare)
    while at >= 0:
        end = at + len(bare)
        while phrase[-1] == "*" and end < len(said) and _in_word(said[end]):
            end += 1
        if said.startswith(" between ", end):  # a connection of two things: of a call it is "to" one
            at = said.find(bare, end)
            continue
        if known or (ends and _ends_or_goes_on(said[end : end + 40], connects, serves)):
            return True
        if said[end : end + 1] in _CLAUSE_ENDS and said[:at].rstrip(" ")[-1:] in _CLAUSE_ENDS:
            return True  # a clause of its own
        at = said.find(bare, end)
    return False


def _ends_or_goes_on(after: str, connects: bool, serves: bool) -> bool:
    """Is *after*, behind a phrase, the end of its clause, or one of its usual continuations?"""
    rest = after.lstrip(" ")
    if not rest or not rest[0].isalpha():
        return True
    first, _, then = rest.partition(" ")
    first = first.rstrip(".,;:!?)")
    if first == "by":
        who = then.replace(".", " ").replace(";", ",").partition(",")[0].split()
        return len(who) == 1 or not _WHO_ENDS_CONNECTIONS.isdisjoint(who)
    if first == "for":
        return " " not in then.strip()
    if first in ("in", "on", "at", "of"):
        return then[:1].isdigit()
    return first in _GOES_ON or (connects and (first == "to" or (serves and first in _CONNECTED)))


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
