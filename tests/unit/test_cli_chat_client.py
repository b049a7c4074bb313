"""The client: facts in its errors, the key in nothing."""

from __future__ import annotations

import json
import pickle
import socket

import pytest

from techrevati.runtime import FailureKind, UsageSnapshot, classify
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.cli.chat_client import (
    ChatClient,
    ChatError,
    UnreadableReplyError,
    UnusableEndpointError,
)
from techrevati.runtime.cli.stop_reason import stop_reason
from techrevati.runtime.cli.toolbox import OFFERS

KEY = "sk-test-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "Question: Why?\n\nNotes:\nThe tide turns at noon. [tides.md]"}]


def test_an_answer_has_text_and_usage() -> None:
    """A plain answer over real HTTP, with usage that the library reads."""
    with ChaosServer(api_key=KEY) as server:
        reply = ChatClient(server.base_url + "/", KEY).complete("m", MESSAGES)
    assert reply.text
    assert reply.message["role"] == "assistant"
    assert UsageSnapshot.from_response(reply).input_tokens > 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(FaultKind.RATE_LIMIT, retry_after_s=0.25), FailureKind.RATE_LIMIT),
        (Fault(FaultKind.UNAVAILABLE), FailureKind.OVERLOADED),
        (Fault(FaultKind.CONTEXT_OVERFLOW), FailureKind.CONTEXT_OVERFLOW),
        (Fault(FaultKind.INVALID_KEY), FailureKind.AUTH),
        (Fault(FaultKind.MODEL_NOT_FOUND), FailureKind.NOT_FOUND),
        (Fault(FaultKind.RESET), FailureKind.NETWORK),
        (Fault(FaultKind.RESET_MID_BODY), FailureKind.NETWORK),
        (Fault(FaultKind.TRUNCATED_BODY), FailureKind.NETWORK),
    ],
)
def test_failures_are_what_they_are(fault: Fault, kind: FailureKind) -> None:
    """``classify`` knows every failure of the client by its facts."""
    with ChaosServer([fault]) as server, pytest.raises(Exception) as caught:
        ChatClient(server.base_url).complete("m", MESSAGES)
    failure = classify(caught.value)
    assert failure.kind is kind
    if kind is FailureKind.RATE_LIMIT:
        assert failure.retry_after == 0.25
        assert failure.request_id
        assert isinstance(caught.value, ChatError)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
        assert (again.status_code, again.code, str(again)) == (429, caught.value.code, str(caught.value))


@pytest.mark.parametrize("fault", [Fault(FaultKind.WRONG_JSON), Fault(FaultKind.TRUNCATED_STREAM)])
def test_a_reply_that_is_no_completion_says_so(fault: Fault) -> None:
    """JSON that is broken, or no JSON at all, is an error of its own."""
    with ChaosServer([fault]) as server, pytest.raises(UnreadableReplyError):
        ChatClient(server.base_url).complete("m", MESSAGES)


def test_the_key_is_in_no_error() -> None:
    """An endpoint that repeats the key cannot make us show it."""
    fault = Fault(FaultKind.INVALID_KEY, message=f"Incorrect API key provided: {KEY}. It is {KEY!r}.")
    with ChaosServer([fault]) as server:
        client = ChatClient(server.base_url, KEY)
        with pytest.raises(ChatError) as caught:
            client.complete("m", MESSAGES)
    shown = [str(caught.value), repr(caught.value), json.dumps(caught.value.body), repr(client)]
    shown += [stop_reason(caught.value, client, "KEY").line, repr(caught.value.headers)]
    assert not any(KEY in text for text in shown)
    assert "[redacted]" in str(caught.value)


@pytest.mark.parametrize("key", ["test", "server", "key", KEY])
def test_an_answer_is_left_as_it_is(key: str) -> None:
    """No tool call and no dummy key is blanked; only a final text hides a key that is a secret."""
    said = f"The key of the test server is {key}."
    with ChaosServer([Fault(FaultKind.SAYS, text=said)]) as server:
        assert ChatClient(server.base_url, key).complete("m", MESSAGES).text == said.replace(
            KEY, "[redacted]"
        )
    fault = Fault(FaultKind.TOOL_CALL, tool="read_file", arguments={"path": f"{key}.md"})
    with ChaosServer([fault]) as server:
        reply = ChatClient(server.base_url, key).complete("m", MESSAGES, OFFERS)
    assert reply.tool_calls[0].arguments == {"path": f"{key}.md"}


def test_a_short_key_is_only_redacted_as_a_word() -> None:
    """A dummy key does not make an error unreadable."""
    fault = Fault(FaultKind.INVALID_KEY, message="The latest key is wrong: test.")
    with ChaosServer([fault]) as server, pytest.raises(ChatError) as caught:
        ChatClient(server.base_url, "test").complete("m", MESSAGES)
    assert caught.value.message == "The latest key is wrong: [redacted]."


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "tab\t"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key: str) -> None:
    """Python would quote the whole header in its error."""
    with pytest.raises(UnusableEndpointError) as caught:
        ChatClient("http://host/v1", key)
    assert key not in str(caught.value)


def test_the_address_shows_no_query() -> None:
    """Some endpoints are given their key there."""
    assert ChatClient("https://host/v1/?key=abc").address == "https://host/v1"


def test_reach_says_whether_anybody_listens() -> None:
    """A closed port raises what the system says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = ChatClient(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        client.reach()
    with pytest.raises(ConnectionRefusedError):
        client.reach()


@pytest.mark.parametrize(
    ("status", "begun"), [(401, False), (403, False), (404, False), (500, True), (429, True)]
)
def test_stop_reasons_tell_a_wrong_start_from_a_bad_end(status: int, begun: bool) -> None:
    """A refused key or an unknown model is a wrong start; trouble on the way is not."""
    error = ChatError(status, {"error": {"message": "No.", "code": "no"}}, {})
    assert stop_reason(error, ChatClient("http://host/v1"), "SOME_KEY").begun is begun
    lost = ConnectionResetError()
    assert not stop_reason(lost, ChatClient("http://host/v1"), "SOME_KEY").begun
    assert stop_reason(lost, ChatClient("http://host/v1"), "SOME_KEY", answered_before=True).begun
    if status == 401:
        assert "SOME_KEY" in stop_reason(error, ChatClient("http://host/v1"), "SOME_KEY").line
