"""Does a text only speak of a failure: the entry on rate limits, the timeout page, what a customer saw?

Texts come in lower case.
"""

from __future__ import annotations


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MAX_BEFORE = 60  # characters looked at before what was found
_ARTICLES = _words("a an any her his http its no our that the their these this those")
_SUBJECT_AFTER = _words(
    "about category concerning counter define defines entitled explain explains labelled mentioning "
    "mentions metric named phrase regarding term titled word words"
)
# How a text goes on behind the name of a failure that did not happen.
NOT_OF_FAILURES = (
    "has no ", "has two ", "is no ", "is spelled", "is ambiguous", "is reserved", "is unknown", "is empty",
    "is forbidden", "is not simulated", "is missing", "lacks ", "maps to ", "occurs ", "was not raised",
    "was not seen", "not seen", "already exists", "not in allowed", "must be quoted", "needs a ", "entries ",
)  # fmt: skip
_OF = _words("for of on")
# What has a subject: the entry on …, the postmortem of …
_DOCUMENTS = _words(
    "article articles blog book chapter course definition discussion docs document documentation "
    "e-mail email emails entry essay faq guide heading label lecture lesson meaning meeting note "
    "notes page paper paragraph post postmortem question quiz report section slide slides spelling "
    "story summary talk template thread title training translation tutorial video wiki"
)
# What a failure gives its name to: the timeout page.
NAMED_AFTER = _words(
    "alert alerts article banner button category chapter column dashboard description dialog docs "
    "document e-mail email emails entry example examples faq fixture form guide handler icon "
    "injection label lesson mock page pages paragraph photo popup report reports rule scenario screen "
    "section simulation slide slides story survey tab template test tests ticket tickets tooltip "
    "translation tutorial widget wiki"
)
# What times out, or has its deadline exceeded, among people.
_OF_PEOPLE = _words(
    "appointment auction bid bidding booking cart coupon exam grant guarantee half-time invitation "
    "lease link offer permit player quiz reservation student submission visa vote voting voucher "
    "warranty"
)
_WITH_DEADLINES = _words("application applications delivery project tender")
_AUXILIARY = _words("had has have is was")
# One of these is the last word before what is a subject, or of people.
BEFORE_MENTIONS = _ARTICLES | _SUBJECT_AFTER | _OF | _OF_PEOPLE | _WITH_DEADLINES | _AUXILIARY | {"period"}
_DENIED = _words("expected neither never no none nor not nothing where without")
_RETURNS = _words("answer answered be gave get give raise return returned returns see seen send sent")
# People say, see and ask for what did not happen to this call; programs only "report" and "request".
_PEOPLE = _words(
    "applicant author boss buyer candidate coach colleague critic customer customers editor patient "
    "people reader reviewer reviewers seller speaker student students teacher tester traveller user "
    "users visitor"
)
_SPEECH = _words(
    "asked asks complained complains criticised described describes disliked mentioned mentions "
    "praised quoted rejected said saw says suggested thinks wants wished wrote"
)


def is_subject(text: str, start: int) -> bool:
    """Is what begins at *start* what a document is on: the entry on rate limits, a mail about timeouts?"""
    if not start or text[start - 1] not in " '\"`":
        return False
    before, _, last = text[max(0, start - _MAX_BEFORE) : start].rstrip("'\"` ").rpartition(" ")
    while last in _ARTICLES:
        before, _, last = before.rpartition(" ")
    return last in _SUBJECT_AFTER or (last in _OF and before.rpartition(" ")[2] in _DOCUMENTS)


def names_a_document(text: str, end: int) -> bool:
    """Does what ends at *end* only give a document or a part of it its name: the timeout page?"""
    if text[end : end + 1] not in (" ", "'", '"', "`", ")"):
        return False
    rest = text[end : end + 24]
    rest = (rest[1:] if rest[:1] in ("'", '"', "`") else rest).lstrip(" )")
    return rest[:1].isalpha() and rest.partition(" ")[0].rstrip(".,;:!?)'\"`") in NAMED_AFTER


def is_of_people(before: str, *, deadline: bool) -> bool:
    """Do the words *before* a phrase end with what no program calls: the reservation has …?"""
    words = before.split()[-3:]
    if words and words[-1] in _AUXILIARY:
        words.pop()
    if words and (words[-1] == "period" or words[-1].isdigit()):  # player 4
        words.pop()
    last = words[-1] if words else ""
    return last in _OF_PEOPLE or (deadline and last in _WITH_DEADLINES)


def denied(text: str, start: int) -> bool:
    """Is what begins at *start* said not to be: no 503, never returned 429?"""
    before, _, last = text[max(0, start - 24) : start].rstrip().rpartition(" ")
    if last in _RETURNS:
        last = before.rpartition(" ")[2]
    return last in _DENIED or last.endswith("n't")


def told_by_people(text: str, words: set[str]) -> bool:
    """Does somebody say in *text* what he saw, asked for or wants?  *words* are those of the text."""
    if words.isdisjoint(_PEOPLE) or words.isdisjoint(_SPEECH):
        return False
    before = ""
    for word in text.split():
        if before in _PEOPLE and word.rstrip(".,:;") in _SPEECH:
            return True
        if word not in ("has", "had", "have", "also"):
            before = word
    return False
