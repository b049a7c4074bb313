"""How long a provider asked to wait, in seconds, from whatever form it chose.

Nothing here guesses: no hint is None.  Negative, infinite and absurd waits are no hints; a moment that has
already passed is a wait of 0.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

MAX_WAIT_S = 31 * 86_400.0  # a month of quota; anything longer is a mistake of the sender

_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNIT_WORDS = {
    "millisecond": "ms",
    "second": "s",
    "sec": "s",
    "minute": "m",
    "min": "m",
    "hour": "h",
    "hr": "h",
}
_UNIT_WORDS["day"] = "d"
_compiled: dict[str, re.Pattern[str]] = {}


def _pattern(name: str) -> re.Pattern[str]:
    found = _compiled.get(name)
    if found is None:
        import re

        part = r"\d{1,9}(?:\.\d{1,9})?\s?(?:milliseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?"
        part += r"|ns|us|µs|ms|s|m|h|d)(?![a-zµ])"
        sources = {
            "part": r"(\d{1,9}(?:\.\d{1,9})?)\s?([a-zµ]+)",
            "prose": rf"(?:(?:again|retry(?:ing)?|wait)\s(?:in|after|for)?\s?|retry-after\s)"
            rf"(?:about\s|at least\s)?({part}(?:[,\s]*(?:and\s)?{part})*)",
            "header": r"retry-after['\"]?\s?[:=]\s?['\"]?(\d{1,9}(?:\.\d{1,9})?)(?![\w.])",
            # google.rpc.RetryInfo, as JSON or as protobuf text, inside somebody else's message
            "delay": rf"retry_?delay['\"]?\s*(?::\s*['\"]?({part})|\{{\s*seconds:\s*(\d{{1,9}}))",
        }
        found = _compiled[name] = re.compile(sources[name])
    return found


def bounded(seconds: float) -> float | None:
    """*seconds* when that is a sensible wait."""
    return float(seconds) if 0 <= seconds <= MAX_WAIT_S else None


def number(value: object) -> float | None:
    """A plain decimal number, as a header or an attribute has it; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not text or not text.isascii() or not text.lstrip("+-").replace(".", "", 1).isdigit():
        return None
    return float(text[:400])


def duration(text: str) -> float | None:
    """``7m12s``, ``644ms``, ``34s``, ``2 minutes and 5 seconds``; None unless all of it is that."""
    total, end = 0.0, 0
    text = text.strip().lower()[:100]
    if text[-1:] == "s" and text[:-1].isdigit() and text.isascii() and len(text) < 11:  # "34s", mostly
        return bounded(float(text[:-1]))
    for part in _pattern("part").finditer(text):
        if text[end : part.start()].strip(", ") not in ("", "and"):
            return None
        unit = part[2]
        unit = _UNIT_WORDS.get(unit.removesuffix("s"), unit) if len(unit) > 2 else unit
        if unit not in _UNIT_S:
            return None
        total, end = total + float(part[1]) * _UNIT_S[unit], part.end()
    return bounded(round(total, 9)) if end and not text[end:].strip() else None


def _moment(text: str, now_s: float | None) -> float | None:
    """Seconds until a moment written as an HTTP date (RFC 9110) or in RFC 3339."""
    from datetime import UTC, datetime

    try:
        if text[:4].isdigit():
            moment = datetime.fromisoformat(text)
        else:
            from email.utils import parsedate_to_datetime

            moment = parsedate_to_datetime(text)
        epoch_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return bounded(max(0.0, epoch_s - (_wall() if now_s is None else now_s)))


def _wall() -> float:
    import time

    return time.time()


def asked(text: str, now_s: float | None = None, unit_s: float = 1.0) -> float | None:
    """A Retry-After value: a number of *unit_s*, or an HTTP date measured from *now_s* (epoch seconds)."""
    count = float(text) if text.isdigit() and text.isascii() and len(text) < 20 else number(text)
    if count is not None:
        return bounded(count * unit_s)
    return _moment(text.strip()[:100], now_s) if unit_s == 1.0 and text.strip() else None


def _reset(value: str, now_s: float | None) -> float | None:
    """A reset value: ``7m12s``, seconds, epoch seconds, epoch milliseconds or a timestamp."""
    seconds = number(value)
    if seconds is None:
        spelt = duration(value)
        return _moment(value, now_s) if spelt is None else spelt
    if seconds < 1e9:
        return bounded(seconds)
    return bounded(max(0.0, seconds / (1e3 if seconds > 1e11 else 1) - (_wall() if now_s is None else now_s)))


def until_reset(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds until the last of those limits is reset whose remaining is 0; names in lower case.

    ``x-ratelimit-reset-<what>`` with ``x-ratelimit-remaining-<what>`` (OpenAI, Groq, Azure, OpenRouter), or
    ``anthropic-ratelimit-<what>-reset`` with ``…-remaining``.
    """
    resets: list[float] = []
    for name, value in headers.items():
        if "reset" in name and number(headers.get(name.replace("reset", "remaining"))) == 0:
            reset_s = _reset(value.strip(), now_s)
            if reset_s is not None:
                resets.append(reset_s)
    return max(resets, default=None)


def from_prose(text: str) -> float | None:
    """``Please try again in 1m2.5s.``: *text* in lower case; a number needs its unit, or a header's name."""
    # Before the first of these words there is nothing to find.
    retry = start = text.find("retry")
    for word in ("again", "wait"):
        at = text.find(word)
        if at >= 0 and (at < start or start < 0):
            start = at
    if start < 0:
        return None
    found = _pattern("prose").search(text, start)
    if found:
        return duration(found[1])
    if retry < 0:
        return None
    found = _pattern("header").search(text)
    if found:
        return bounded(float(found[1]))
    found = _pattern("delay").search(text)
    if found:
        return duration(found[1]) if found[1] else bounded(float(found[2]))
    return None
