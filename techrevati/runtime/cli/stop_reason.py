"""Say in one line why a run stopped without an answer, and whether it could be begun at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.scrub import scrubbed
from techrevati.runtime.cli.chat_client import ChatError, UnreadableReplyError
from techrevati.runtime.failures import FailureKind, classify

if TYPE_CHECKING:
    from techrevati.runtime.cli.chat_client import ChatClient


class StopReason(NamedTuple):
    """Why a run stopped.

    Attributes:
        line: For people; holds no credential.
        begun: False when the endpoint, the key or the model is wrong: then nothing could have come of it.
    """

    line: str
    begun: bool


def stop_reason(
    error: Exception, client: ChatClient, key_variable: str, *, answered_before: bool = False
) -> StopReason:
    """What *error*, which ended a run against the endpoint of *client*, means to whoever started it.

    An endpoint that has *answered_before* is one, and was reached.
    """
    line, begun = _judged(error, client, key_variable)
    if answered_before and not _is_status(error):
        line, begun = _no_answer(error), True
    return StopReason(scrubbed(" ".join(line.split())), begun)


def _judged(error: Exception, client: ChatClient, key_variable: str) -> tuple[str, bool]:
    kind = classify(error).kind
    if _is_status(error):
        if kind in (FailureKind.AUTH, FailureKind.PERMISSION) or _status(error) == 403:
            what = "the key" if client.has_key else f"a request without a key (set {key_variable})"
            return f"{client.address} refused {what}: {error}", False
        if kind is FailureKind.NOT_FOUND:
            return f"{client.address} does not know this model or address: {error}", False
    if isinstance(error, UnreadableReplyError):
        return f"{client.address} is no chat completions endpoint: {error}", False
    if kind is FailureKind.NETWORK:
        return f"cannot reach {client.address}: {error}", False
    return _no_answer(error), True


def _status(error: Exception) -> object:
    return getattr(error, "status_code", None)


def _is_status(error: Exception) -> bool:
    """Whether the endpoint answered with an error: through an SDK, too."""
    return isinstance(error, ChatError) or type(_status(error)) is int


def _no_answer(error: Exception) -> str:
    return f"no answer: {type(error).__name__}: {error}"
