"""Embeddings on the chaos endpoint, driven by the real SDK and by langchain."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import openai
import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Outcome, count_tokens
from techrevati.runtime.chaos.bill import NOTHING
from tests.integration.test_chaos_sdks import OPENAI

MODEL = "text-embedding-3-small"
TEXTS = ["The breaker opens after five failures.", "Bread needs flour, water and salt."]
TOKENS = sum(map(count_tokens, TEXTS))


def sdk(server: ChaosServer, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", base_url=server.base_url, **{"max_retries": 0, **more})


def vectors(server: ChaosServer, given: Any, *, asynchronous: bool = False, **more: Any) -> Any:
    if not asynchronous:
        with sdk(server) as client:
            return client.embeddings.create(model=MODEL, input=given, **more)

    async def main() -> Any:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=server.base_url, max_retries=0) as client:
            return await client.embeddings.create(model=MODEL, input=given, **more)

    return asyncio.run(main())


def closeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_text_has_its_vector_and_the_tokens_are_billed(asynchronous: bool) -> None:
    """In order, of length one, the same every time, and in the same form in both encodings."""
    with ChaosServer() as server:
        said = vectors(server, TEXTS, asynchronous=asynchronous)  # the SDK asks for base64 by itself
        floats = vectors(server, TEXTS, asynchronous=asynchronous, encoding_format="float")
        packed = vectors(server, TEXTS, asynchronous=asynchronous, encoding_format="base64")
        assert [one.index for one in said.data] == [0, 1]
        for one, other, raw in zip(said.data, floats.data, packed.data, strict=True):
            assert len(one.embedding) == 1536
            assert one.embedding == pytest.approx(other.embedding, abs=1e-8)
            assert math.isclose(closeness(one.embedding, one.embedding), 1, abs_tol=1e-5)
            assert isinstance(raw.embedding, str)
        assert (said.usage.prompt_tokens, said.usage.total_tokens) == (TOKENS, TOKENS)
        line = server.bill.models[MODEL]
        assert (line.usage.input_tokens, line.usage.output_tokens) == (3 * TOKENS, 0)
        assert line.cost_usd is not None
        assert line.cost_usd > 0


def test_texts_that_share_words_are_near_each_other() -> None:
    """A search over the vectors finds the right text."""
    with ChaosServer() as server:
        query, *texts = (one.embedding for one in vectors(server, ["When does a breaker open?", *TEXTS]).data)
        assert closeness(query, texts[0]) > closeness(query, texts[1]) + 0.2


def test_tokens_and_dimensions() -> None:
    """Token lists are inputs, too; fewer dimensions can be asked for."""
    with ChaosServer() as server:
        said = vectors(server, [[1, 2, 3], [4, 5]], dimensions=64)
        assert ([len(one.embedding) for one in said.data], said.usage.prompt_tokens) == ([64, 64], 5)
        assert vectors(server, [1, 2, 3], dimensions=64).data[0].embedding == said.data[0].embedding


@pytest.mark.parametrize("kind", OPENAI)
def test_every_fault_is_what_it_is_on_chat(kind: FaultKind) -> None:
    """Class, status and code; a refusal is free, damage costs the input."""
    with ChaosServer([Fault(kind)]) as server:
        with pytest.raises(Exception) as caught:
            vectors(server, TEXTS)
        error: Any = caught.value
        seen = (type(error).__name__, getattr(error, "status_code", None), getattr(error, "code", None))
        assert seen == OPENAI[kind]
        assert server.wait_idle()
        (record,) = server.injected
        refused = Fault(kind).refuses or kind is FaultKind.MID_STREAM_ERROR
        assert record.outcome is (Outcome.REFUSED if refused else Outcome.DAMAGED)
        assert record.billed.input_tokens == (0 if refused else TOKENS)


WRONG: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"input": []}, "empty_array", "input"),
    ({"input": None}, "missing_required_parameter", "input"),
    ({"input": ""}, None, "input"),
    ({"input": 5}, "invalid_type", "input"),
    ({"input": ["a", 5]}, "invalid_type", "input[1]"),
    ({"input": ["a"] * 2049}, "array_above_max_length", "input"),
    ({"input": [1] * 8193}, None, "input"),
    ({"encoding_format": "int8"}, "invalid_value", "encoding_format"),
    ({"dimensions": 0}, "integer_below_min_value", "dimensions"),
    ({"dimensions": 1537}, None, "dimensions"),
    ({"stream": True}, None, None),
]


@pytest.mark.parametrize(("wrong", "code", "param"), WRONG)
def test_wrong_requests_are_refused(wrong: dict[str, Any], code: str | None, param: str | None) -> None:
    """400 with param and code; nothing is billed."""
    with ChaosServer() as server, sdk(server) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.post("/embeddings", body={"model": MODEL, "input": "a", **wrong}, cast_to=object)
        assert (caught.value.code, caught.value.param) == (code, param)
        assert server.bill.usage == NOTHING


def test_langchain_and_azure() -> None:
    """``OpenAIEmbeddings`` searches; a deployment of Azure answers at its own path."""
    module = pytest.importorskip("langchain_openai")
    with ChaosServer() as server, sdk(server) as client:
        embedder = module.OpenAIEmbeddings(
            model=MODEL,
            base_url=server.base_url,
            api_key="sk-test",
            check_embedding_ctx_length=False,
            client=client.embeddings,
        )
        assert len(embedder.embed_documents(TEXTS)) == 2
        assert closeness(embedder.embed_query(TEXTS[0]), embedder.embed_documents(TEXTS)[0]) > 0.99
        with openai.AzureOpenAI(
            api_key="any", azure_endpoint=server.origin, api_version="2024-10-21", max_retries=0
        ) as azure:
            azure.embeddings.create(model="my-vectors", input="Hello.")
        assert server.injected[-1].path == "/openai/deployments/my-vectors/embeddings"
        assert server.bill.models["my-vectors"].usage.input_tokens == 2
