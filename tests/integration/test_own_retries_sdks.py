"""The real SDK clients tell that they retry by themselves, whichever of their methods is wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.retry_policy import Retry, own_retries
from techrevati.runtime.testing import run

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

METHODS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "chat": (openai.OpenAI, openai.AsyncOpenAI, lambda client: client.chat.completions.create),
    "responses": (openai.OpenAI, openai.AsyncOpenAI, lambda client: client.responses.create),
    "raw": (
        openai.OpenAI,
        openai.AsyncOpenAI,
        lambda client: client.chat.completions.with_raw_response.create,
    ),
    "messages": (anthropic.Anthropic, anthropic.AsyncAnthropic, lambda client: client.messages.create),
}


@pytest.fixture(autouse=True)
def nobody_was_warned() -> Iterator[None]:
    own_retries._warned_clients.clear()
    yield
    own_retries._warned_clients.clear()


@pytest.mark.parametrize(
    "bound", [lambda fn: fn, lambda fn: partial(partial(fn, model="m"), extra_body=None)]
)
@pytest.mark.parametrize("own", [0, 2])
@pytest.mark.parametrize("nth", [0, 1], ids=["sync", "async"])
@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_retries_is_told_of_once(
    method: str, nth: int, own: int, bound: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = METHODS[method]
    client = made[nth](api_key="k", base_url="http://127.0.0.1:9", max_retries=own)
    fn = bound(made[2](client))
    for _ in range(2):
        own_retries.warn_of_own_retries(fn, None, 3)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (1 if own else 0)
    assert all("max_retries=0" in text and "up to 9 requests" in text for text in told)


@pytest.mark.parametrize("own", [0, 2])
@pytest.mark.parametrize("decorate", [Retry(3), Pipeline(Retry(3))], ids=["retry", "pipeline"])
@pytest.mark.parametrize("nth", [0, 1], ids=["sync", "async"])
def test_a_decorated_method_is_told_of_at_once(
    decorate: Any, nth: int, own: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = METHODS["chat"][nth](api_key="k", base_url="http://127.0.0.1:9", max_retries=own)
    decorate(client.chat.completions.create)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (1 if own else 0)


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("nth", [0, 1], ids=["sync", "async"])
@pytest.mark.parametrize("method", METHODS)
def test_a_call_that_fails_behind_a_function_of_the_caller(
    method: str, nth: int, own: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = METHODS[method]
    client = made[nth](api_key="k", base_url="http://127.0.0.1:9", max_retries=own)
    monkeypatch.setattr(type(client), "_calculate_retry_timeout", lambda *args, **kwargs: 0.0)
    more: dict[str, Any] = {"responses": {"input": "x"}}.get(method, {"messages": [], "max_tokens": 1})

    def ask() -> Any:
        return made[2](client)(model="m", **more)

    async def aask() -> Any:
        return await made[2](client)(model="m", **more)

    async def no_wait(seconds: float) -> None: ...

    retry = Retry(2, sleep=lambda seconds: None, asleep=no_wait)
    with pytest.raises(Exception, match=r"[Cc]onnection"):
        run(retry.acall(aask)) if nth else retry.call(ask)
    told = [record.getMessage() for record in caplog.records if "by itself" in record.getMessage()]
    assert len(told) == (1 if own else 0)
