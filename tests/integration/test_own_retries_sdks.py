"""The real SDK clients tell that they retry by themselves, whichever of their methods is wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
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


URL = "http://127.0.0.1:9"
HELLO = [{"role": "user", "content": "x"}]


def mistral(own: bool) -> tuple[Any, Any]:
    utils = pytest.importorskip("mistralai.client.utils")
    backoff = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 2, 1.0, 5), True)
    given = {"retry_config": backoff} if own else {}
    client = pytest.importorskip("mistralai.client").Mistral(api_key="k", server_url=URL, **given)
    return client.chat.complete, lambda: client.chat.complete(model="m", messages=HELLO)


def mistral_told_so(own: bool) -> tuple[Any, Any]:
    """A client that retries, and a call that says not to."""
    utils = pytest.importorskip("mistralai.client.utils")
    backoff = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 2, 1.0, 5), True)
    client = pytest.importorskip("mistralai.client").Mistral(
        api_key="k", server_url=URL, retry_config=backoff
    )
    ask = partial(client.chat.complete, model="m", messages=HELLO, **({} if own else {"retries": None}))
    return ask, lambda: ask()


def cohere(own: bool) -> tuple[Any, Any]:
    client = pytest.importorskip("cohere").ClientV2(api_key="k", base_url=URL)
    given = {} if own else {"request_options": {"max_retries": 0}}
    embed = partial(client.embed, model="m", input_type="classification", texts=["x"], **given)
    return embed, lambda: client.chat(model="m", messages=HELLO, **given)


def google(own: bool) -> tuple[Any, Any]:
    types = pytest.importorskip("google.genai.types")
    again = types.HttpRetryOptions(attempts=3 if own else 1, initial_delay=0.001, max_delay=0.001)
    options = types.HttpOptions(base_url=URL, retry_options=again)
    client = pytest.importorskip("google.genai").Client(api_key="k", http_options=options)
    return client.models.generate_content, lambda: client.models.generate_content(model="m", contents="x")


def botocore(own: bool) -> tuple[Any, Any]:
    config = pytest.importorskip("botocore.config").Config(
        retries={"mode": "standard"} if own else {"total_max_attempts": 1}
    )
    client = pytest.importorskip("boto3").client(
        "bedrock-runtime",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url=URL,
        config=config,
    )
    return client.converse, lambda: client.converse(modelId="m", messages=[])


def groq(own: bool) -> tuple[Any, Any]:
    client = pytest.importorskip("groq").Groq(api_key="k", base_url=URL, max_retries=2 * own)
    ask = client.chat.completions.create
    return ask, lambda: ask(model="m", messages=HELLO)


def chat_openai(own: bool) -> tuple[Any, Any]:
    model = pytest.importorskip("langchain_openai").ChatOpenAI(
        api_key="k", model="m", base_url=URL, max_retries=None if own else 0
    )
    return model.invoke, lambda: model.bind(temperature=0).invoke("x")


def chat_anthropic(own: bool) -> tuple[Any, Any]:
    model = pytest.importorskip("langchain_anthropic").ChatAnthropic(
        api_key="k", model="m", base_url=URL, max_retries=2 * own
    )
    return model.bind(temperature=0).invoke, lambda: model.invoke("x")


def with_retry(own: bool) -> tuple[Any, Any]:
    model = pytest.importorskip("langchain_openai").ChatOpenAI(
        api_key="k", model="m", base_url=URL, max_retries=0
    )
    runnable = model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False) if own else model
    return runnable.invoke, lambda: runnable.invoke("x")


FAMILIES: dict[str, tuple[Callable[[bool], tuple[Any, Any]], str]] = {
    "mistral": (mistral, "multiply; let Retry do it and make the client without retry_config"),
    "mistral call": (mistral_told_so, "make the client without retry_config"),
    "cohere": (
        cohere,
        'up to 6 requests; let Retry do it and call it with request_options={"max_retries": 0}',
    ),
    "google": (
        google,
        "up to 6 requests; let Retry do it and make the client without HttpOptions(retry_options",
    ),
    "botocore": (botocore, 'make the client with Config(retries={"total_max_attempts": 1})'),
    "groq": (groq, "up to 6 requests; let Retry do it and call client.with_options(max_retries=0)"),
    "ChatOpenAI": (chat_openai, "up to 6 requests; let Retry do it and give max_retries=0 to the model"),
    "ChatAnthropic": (chat_anthropic, "give max_retries=0 to the model"),
    "with_retry": (with_retry, "up to 6 requests; let Retry do it and leave out .with_retry()"),
}


@pytest.mark.parametrize("found", ["decorated", "failed"])
@pytest.mark.parametrize("own", [False, True], ids=["quiet", "retries"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_told_its_own_fix(
    family: str, own: bool, found: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by what is decorated, or by the frames of a failure behind a lambda; quiet clients are not."""
    make, fix = FAMILIES[family]
    method, failing = make(own)
    if found == "decorated":
        Retry(2)(method)
        Retry(2)(method)
    else:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        with pytest.raises(Exception, match=r"(?i)connect"):
            Retry(2, sleep=lambda seconds: None).call(lambda: failing())
    told = [text for record in caplog.records if "by itself" in (text := record.getMessage())]
    assert len(told) == own
    assert all(fix in text for text in told)


def test_a_failure_in_the_words_of_a_framework_leads_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """Frameworks raise their own exceptions; what caused them came through the client."""
    client = openai.OpenAI(api_key="k", base_url=URL, max_retries=1)

    def framework() -> None:
        try:
            client.chat.completions.create(model="m", messages=[])
        except openai.APIConnectionError as error:
            raise ConnectionError("model unreachable") from error

    client._calculate_retry_timeout = lambda *args, **kwargs: 0.0
    with pytest.raises(ConnectionError):
        Retry(2, sleep=lambda seconds: None).call(framework)
    assert len([record for record in caplog.records if "by itself" in record.getMessage()]) == 1


def test_litellm_is_told_in_its_own_words(caplog: pytest.LogCaptureFixture) -> None:
    """The client is one that litellm made: its settings are litellm's arguments."""
    client = openai.OpenAI(api_key="k", base_url=URL, max_retries=1)
    client._calculate_retry_timeout = lambda *args, **kwargs: 0.0

    def ask(**more: object) -> Any:
        return client.chat.completions.create(model="m", messages=[])

    completion = FunctionType(ask.__code__, {"__name__": "litellm.main"}, "completion", None, ask.__closure__)
    completion.__module__ = "litellm.main"
    Retry(2)(partial(completion, num_retries=0))
    assert caplog.records == []
    Retry(2)(partial(completion, num_retries=3))
    own_retries._warned_clients.clear()
    with pytest.raises(openai.APIConnectionError):
        Retry(2, sleep=lambda seconds: None).call(completion)
    told = [text for record in caplog.records if "by itself" in (text := record.getMessage())]
    assert told[0].startswith("litellm retries up to 3 times")
    assert told[0].endswith("leave out num_retries")
    assert told[1].startswith("litellm retries up to 1 times")
    assert told[1].endswith("give max_retries=0 to its function")


def test_an_object_that_answers_nothing_hides_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Looking for a client is no reason to fail: a proxy that raises whatever it is asked is no client."""

    class Proxy:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("working outside of request context")

        def ask(self) -> None:
            raise ConnectionError("reset by peer")

    with pytest.raises(ConnectionError, match="reset by peer"):
        Retry(2, sleep=lambda seconds: None).call(Proxy().ask)
    assert caplog.records == []
