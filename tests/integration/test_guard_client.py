"""A guarded client is the SDK's client: its attributes, signatures, types and habits; and the page of its
books is what the command says."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import guard
from techrevati.runtime.ledger import SpendLedger
from tests.integration import guard_matrix
from tests.integration.guard_shapes import (
    async_openai_client,
    endpoint,
    openai_client,
    request,
)

ROOT = Path(__file__).resolve().parents[2]


def guarded(client: Any, ledger: SpendLedger, **more: Any) -> Any:
    """With breakers of its own."""
    return guard(client, project="acme", ledger=ledger, breaker=BreakerRegistry(), **more)


def test_the_page_of_the_books_is_what_the_command_says() -> None:
    """docs/guard-matrix.md, every shape in every case; a wrong cell is an error of the command."""
    page = (ROOT / "docs" / "guard-matrix.md").read_text(encoding="utf-8")
    assert "".join(guard_matrix.page()) == page


def test_signatures_are_those_of_the_sdk(ledger: SpendLedger) -> None:
    """For people and frameworks that look."""
    with endpoint() as server:
        for make in (openai_client, async_openai_client):
            plain = make(server)
            made = guarded(plain, ledger)
            for name in ("request", "copy", "with_options"):
                assert inspect.signature(getattr(made, name)) == inspect.signature(getattr(plain, name))
                assert getattr(made, name).__doc__ == getattr(plain, name).__doc__
            assert inspect.iscoroutinefunction(made.request) == inspect.iscoroutinefunction(plain.request)


class OfItsOwn(openai.OpenAI):
    """Copies itself onto new connections, as Bedrock's clients before anthropic 2 do."""

    def copy(self, *, http_client: Any = None, **changes: Any) -> Any:
        return super().copy(http_client=http_client or openai.DefaultHttpxClient(), **changes)


class Marked(openai.OpenAI):
    """Copies itself in its own way, without arguments."""

    mark = 0

    def copy(self) -> Any:
        made = super().copy()
        made.mark = self.mark + 1
        return made


def test_a_copy_is_the_clients_own_on_the_same_connections() -> None:
    """A proxy or a certificate that the program gave is not lost."""
    with OfItsOwn(api_key="k") as plain:
        assert guard(plain)._client is plain._client
    with Marked(api_key="k") as marked:
        assert guard(marked).mark == 1
        assert guard(marked)._client is marked._client


def test_what_is_assigned_later_counts(ledger: SpendLedger) -> None:
    """A key that is rotated and an address that changes, on the guarded client itself."""
    with endpoint() as first, endpoint() as second, openai_client(first) as plain:
        client = guarded(plain, ledger)
        client.chat.completions.create(**request())
        client.base_url = second.base_url
        client.api_key = "sk-rotated-0123456789"
        client.chat.completions.create(**request())
        assert (first.bill.requests, second.bill.requests) == (1, 1)
        assert plain.api_key != client.api_key
        assert client.with_options(timeout=1).api_key == client.api_key
    assert len(list(ledger.records())) == 2


def test_it_is_copied_pickled_and_collected_as_before(ledger: SpendLedger) -> None:
    """``copy.copy`` stays guarded; what the SDK cannot do the guard cannot either; nothing keeps it alive."""
    with endpoint() as server, openai_client(server) as plain:
        client = guarded(plain, ledger)
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(plain)
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(client)
        copy.copy(client).chat.completions.create(**request())
        assert len(list(ledger.records())) == 1
        seen = weakref.ref(client)
        del client
        gc.collect()
        assert seen() is None


class Settings(NamedTuple):
    """What the clients below are made of."""

    url: str
    key: str = "sk-test-0123456789abcdef"


class OwnOpenAI(openai.OpenAI):
    """A constructor of its own, which the SDK's ``copy`` cannot call."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(base_url=settings.url, api_key=settings.key)
        self.settings = settings


class OwnAsyncAnthropic(anthropic.AsyncAnthropic):
    """One that fails in another way."""

    def __init__(self, **settings: str) -> None:
        super().__init__(base_url=settings["url"].removesuffix("/v1"), api_key=settings["key"])


@pytest.mark.parametrize("used_before", [False, True])
def test_a_subclass_with_a_constructor_of_its_own_is_guarded(used_before: bool, ledger: SpendLedger) -> None:
    """It keeps its attributes; the client given stays as it is; guarded again, the new guard counts."""
    with endpoint() as server, OwnOpenAI(Settings(server.base_url)) as plain:
        if used_before:
            plain.chat.completions.create(**request())
        with SpendLedger(":memory:") as old:
            first = guarded(plain, old)
            assert type(first) is OwnOpenAI
            assert first.settings is plain.settings
            guarded(first, ledger).chat.completions.create(**request())
            first.chat.completions.with_raw_response.create(**request())
            plain.chat.completions.create(**request())
            assert (len(list(old.records())), len(list(ledger.records()))) == (1, 1)
        server.wait_idle()
        assert server.bill.requests == 3 + used_before

        async def go() -> None:
            async with OwnAsyncAnthropic(url=server.base_url, key="sk-test-0123456789abcdef") as sdk:
                await guarded(sdk, ledger).messages.create(**request())

        asyncio.run(go())
    assert len(list(ledger.records())) == 2


def test_a_subclass_that_keeps_calling_the_old_client_is_refused(ledger: SpendLedger) -> None:
    """What it keeps would pass by the guard: the text names it."""

    class Keeping(OwnOpenAI):
        def __init__(self, settings: Settings, how: str) -> None:
            super().__init__(settings)
            create = self.chat.completions.create
            kept = {"chats": self.chat.completions, "ask": create, "short": partial(create, max_tokens=1)}
            setattr(self, how, kept[how])

    for how in ("chats", "ask", "short"):
        refused = pytest.raises(TypeError, match=f"Keeping cannot be guarded: its copy.. fails .*'{how}'")
        with Keeping(Settings("http://127.0.0.1:1/v1"), how) as client, refused:
            guarded(client, ledger)


def test_what_is_no_client_is_not_repeated() -> None:
    """It may be a key."""
    with pytest.raises(TypeError, match=r"client must be .* got an instance of builtins\.str") as caught:
        guard("sk-test-0123456789abcdef")
    assert "0123456789abcdef" not in str(caught.value)
    with pytest.raises(TypeError, match="the class OpenAI itself"):
        guard(openai.OpenAI)


def test_requests_by_hand_are_guarded_too(ledger: SpendLedger) -> None:
    """``client.post`` with a path of a guarded API, and the whole client's raw view."""
    with endpoint() as server, openai_client(server) as plain:
        client = guarded(plain, ledger)
        said = client.post("/chat/completions", body=request(), cast_to=object)
        assert said["usage"]["total_tokens"] > 0
        client.with_raw_response.chat.completions.create(**request())
        response = type(client.with_raw_response.chat.completions.create(**request()).http_response)
        made = client.post("/chat/completions", body=request(), cast_to=response)
        assert made.json()["usage"]["total_tokens"] > 0
        body = {**request(), "stream": True}
        made = client.post("/chat/completions", body=body, cast_to=response, stream=True)
        assert b"[DONE]" in made.read()
        server.wait_idle()
        assert ledger.total() == server.bill.cost_usd
    assert {record.certainty for record in ledger.records()} == {"measured"}


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, 0),
        ({"stream_options": {"include_usage": False}}, 0),
        ({"stream_options": {"include_usage": True}}, 1),
        ({"extra_body": {"stream_options": {"include_usage": True}}}, 1),
        ({"extra_body": {"stream_options": {"include_usage": False}}}, 0),
        ({"stream_options": {}}, 0),
    ],
)
def test_usage_is_asked_for_and_shown_to_those_who_asked(
    options: dict[str, Any], shown: int, ledger: SpendLedger
) -> None:
    """However it was said, the stream counts exactly, and its reader sees what was asked for."""
    with endpoint() as server, openai_client(server) as plain:
        body = request()
        chunks = list(guarded(plain, ledger).chat.completions.create(**body, stream=True, **options))
        server.wait_idle()
        assert ledger.total() == server.bill.cost_usd
        bare = list(plain.chat.completions.create(**body, stream=True, **options))
    assert len(chunks) == len(bare)
    assert sum(chunk.usage is not None for chunk in chunks) == shown
    assert {record.certainty for record in ledger.records()} == {"measured"}


def test_a_long_retry_after_is_not_waited_for(ledger: SpendLedger) -> None:
    """An hour: the SDK's own error comes at once instead."""
    from techrevati.runtime.chaos import Fault, FaultKind

    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=3600)]) as server:
        with openai_client(server, max_retries=5) as plain, pytest.raises(openai.RateLimitError):
            guarded(plain, ledger).chat.completions.create(**request())
        assert server.bill.requests == 1


def test_type_checkers_see_the_types_of_the_sdk() -> None:
    """pyright on a file that says what each call returns."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "tests/integration/guard_types.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
