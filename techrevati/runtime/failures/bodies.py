"""What the body of a refusal says, in the dialects of the providers: codes, words, a wait, a request id."""

from __future__ import annotations

from techrevati.runtime.failures import waits
from techrevati.runtime.failures.probing import is_dict, is_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.failures.facts import Facts

MAX_TEXT_LENGTH = 4_000
_MAX_BODY_LENGTH = 100_000
_MAX_DETAILS = 50

_CODES = ("error_code", "code", "type", "__type", "error_type", "status", "reason", "errorCode", "err_code")
_MESSAGES = ("message", "detail", "error_description", "code")
spelt: dict[str, str] = {}
"""Codes as they come, in lower case; there are few, and ``MAX_SPELT`` of them are remembered."""
MAX_SPELT = 512


def read_body(facts: Facts, body: object) -> None:
    """Read an error body into *facts*: parsed, or JSON that still is text."""
    if not isinstance(body, dict):
        if isinstance(body, (str, bytes, bytearray)):
            body = _parsed(body)
            if isinstance(body, str):
                facts.add_message(body)
        if is_list(body) and body:
            body = body[0]
        if not is_dict(body):
            return
    if "error" in body:
        error = body["error"]
        if is_dict(error):
            _read_error(facts, error)
        elif isinstance(error, str) and error.isidentifier():  # OAuth; what it means stands beside
            facts.add_code(error)
        else:
            facts.add_message(error)
    elif "errors" in body:
        errors = body["errors"]  # Cloudflare, watsonx; Stability has words alone
        if is_list(errors) and errors:
            if is_dict(errors[0]):
                _read_error(facts, errors[0])
            else:
                facts.add_message(errors[0])
    elif "detail" in body:
        detail = body["detail"]
        if is_dict(detail):
            read_body(facts, {"error": detail.get("error", detail)})
    _read_error(facts, body)


def _read_error(facts: Facts, error: dict[object, object]) -> None:
    if "details" in error:
        details = error["details"]
        if is_dict(details):
            facts.add_code(details.get("error_code"))
        elif is_list(details):
            _read_google_details(facts, details)
    if "errors" in error:
        errors = error["errors"]  # Google's older services
        if is_list(errors) and errors and is_dict(errors[0]):
            facts.add_code(errors[0].get("reason"))
    if "innererror" in error:
        inner = error["innererror"]
        if is_dict(inner):
            facts.add_code(inner.get("code"))
    if "metadata" in error:
        metadata = error["metadata"]
        if is_dict(metadata):  # OpenRouter
            if "flagged_input" in metadata:
                facts.add_code("flagged_input")
            facts.add_code(metadata.get("error_type"))
            facts.add_message(metadata.get("raw"))
            if "headers" in metadata:
                facts.add_headers(metadata["headers"])
    for name in _CODES:
        if name in error:
            value = error[name]
            lower = spelt.get(value) if type(value) is str else None
            if lower is not None:  # as add_code does it, without the call
                if facts.code is None:
                    facts.code = value  # type: ignore[assignment]  # pyright: ignore
                facts.codes.append(lower)
            elif value is not None:
                facts.add_code(value)
    if facts.message is None:
        for name in _MESSAGES:
            value = error.get(name)
            # xAI writes a sentence as code.
            if isinstance(value, str) and value and (name != "code" or " " in value):
                facts.message = value[:MAX_TEXT_LENGTH]
                break
    if "request_id" in error:
        facts.add_request(error["request_id"])


def _read_google_details(facts: Facts, details: list[object]) -> None:
    for detail in details[:_MAX_DETAILS]:
        if not is_dict(detail):
            continue
        facts.add_code(detail.get("reason"))
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and facts.wait_s is None:
            facts.wait_s = waits.duration(delay)
        violations = detail.get("violations")
        for violation in violations[:_MAX_DETAILS] if is_list(violations) else ():
            if is_dict(violation) and "perday" in str(violation.get("quotaId"))[:500].lower():
                # A daily quota and a limit per minute share status, code and words; only this tells.
                facts.codes.insert(0, "daily_quota")


def _parsed(body: str | bytes | bytearray) -> object:
    """A JSON body as data; other text as text."""
    body = body[:_MAX_BODY_LENGTH]
    text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    if text.lstrip()[:1] not in ("{", "["):
        return text
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
