"""Stored chat completions on the chaos endpoint, looked up with the real SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.chaos.stored_chats import MAX_STORED


def sdk(server: ChaosServer) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", base_url=server.base_url, max_retries=0)


def ask(client: openai.OpenAI, step: str, **more: Any) -> Any:
    request: dict[str, Any] = {"model": "chaos-small", "store": True, "metadata": {"run": "r", "step": step}}
    messages: Any = [{"role": "user", "content": f"What is {step}?"}]
    return client.chat.completions.create(messages=messages, **{**request, **more})


def test_a_stored_answer_is_found_by_its_metadata() -> None:
    """By any part of it, whole and with its usage; what was not to be stored is not there."""
    with ChaosServer() as server, sdk(server) as client:
        one, two = ask(client, "one"), ask(client, "two")
        ask(client, "three", store=False)
        ask(client, "four", store=None)
        for stream in (ask(client, "five", stream=True),):
            parts = list(stream)
        found = list(client.chat.completions.list(metadata={"run": "r"}, order="asc"))
        assert [answer.id for answer in found] == [one.id, two.id, parts[0].id]
        (again,) = client.chat.completions.list(metadata={"run": "r", "step": "two"})
        assert again.choices[0].message.content == two.choices[0].message.content
        assert again.usage == two.usage
        assert (again.metadata or {})["step"] == "two"
        assert client.chat.completions.retrieve(one.id).choices == one.choices
        assert list(client.chat.completions.list(metadata={"step": "three"})) == []
        assert list(client.chat.completions.list(model="other")) == []
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve("chatcmpl-nobody")


def test_pages() -> None:
    """Newest first, in pages that the SDK follows."""
    with ChaosServer() as server, sdk(server) as client:
        made = [ask(client, str(number)).id for number in range(5)]
        assert [one.id for one in client.chat.completions.list(limit=2)] == made[::-1]
        page = client.chat.completions.list(limit=2, after=made[1], order="asc")
        assert [one.id for one in page.data] == made[2:4]
        for wrong in ({"limit": 0}, {"limit": 101}, {"after": "chatcmpl-nobody"}):
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.list(**wrong)  # type: ignore[arg-type]


def test_an_answer_that_was_lost_is_found() -> None:
    """The provider had generated it, and bills it; one that was refused is not there.  Looking is free, and
    no finding of the verdict."""
    faults = [Fault(FaultKind.RESET), Fault(FaultKind.UNAVAILABLE)]
    with ChaosServer(faults) as server, sdk(server) as client:
        with pytest.raises(openai.APIConnectionError):
            ask(client, "lost")
        with pytest.raises(openai.InternalServerError):
            ask(client, "refused")
        for _ in range(20):
            (found,) = client.chat.completions.list(metadata={"run": "r"})
        server.wait_idle()
        assert found.usage is not None
        assert server.bill.usage.prompt_tokens == found.usage.prompt_tokens
        assert server.bill.usage.output_tokens == found.usage.completion_tokens
        assert server.verdict().ok


@pytest.mark.parametrize(
    "metadata", ["text", {"number": 1}, {"long": "x" * 513}, {str(n): "" for n in range(17)}]
)
def test_metadata_that_the_provider_refuses(metadata: object) -> None:
    """400, and nothing is billed."""
    with ChaosServer() as server, sdk(server) as client:
        with pytest.raises(openai.BadRequestError, match="metadata"):
            ask(client, "x", metadata=metadata)
        assert server.bill.billed_requests == 0


def test_the_store_is_bounded() -> None:
    """The oldest go first."""
    from techrevati.runtime.chaos.conversation import Reply
    from techrevati.runtime.chaos.openai_wire import OpenAIWire
    from techrevati.runtime.chaos.stored_chats import StoredChats
    from techrevati.runtime.chaos.wire import Generation, InvalidRequestError

    chats = StoredChats()
    for number in range(MAX_STORED + 1):
        made = Generation(f"id-{number}", "m", 0, Reply(text="x"), request={"store": True})
        chats.store(made, OpenAIWire().plain(made))
    with pytest.raises(InvalidRequestError):
        chats.one("id-0")
    assert chats.one("id-1")["id"] == "id-1"
