"""What a fourth examiner wrote before he had read rules or corpus, and afterwards, before it was run.

Answers of services that speak OpenAI's dialect, through the real client, and texts of user code.  His exams
drove all SDKs that the corpus drives; these are the rows of them that nothing else covers.  Each was frozen,
then scored once: of 761 cases 748 had a kind that he accepted, and 2 would have been repeated that must not
be; after mending, of 199 fresh ones 190 and 3; of 108 texts alone 106 and 1; of 137 mixed ones 132 and 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from techrevati.runtime.failures import classify
from tests.unit.test_failures_sdks import openai_error

_DATA = Path(__file__).parent.parent / "data"
ANSWERS = [json.loads(line) for line in (_DATA / "failure-answers.jsonl").read_text("utf-8").splitlines()]
TEXTS = [
    json.loads(line) for line in (_DATA / "failure-texts-compared.jsonl").read_text("utf-8").splitlines()
]
CLASSES: dict[str, Any] = {
    "Exception": Exception,
    "RuntimeError": RuntimeError,
    "ValueError": ValueError,
    "LookupError": LookupError,
}


def misjudged(case: dict[str, Any], error: BaseException) -> list[str]:
    failure = classify(error)
    right = failure.kind.value in case["kinds"]
    if right and failure.retryable is case.get("retryable", failure.retryable):
        return []
    return [f"{error!r}: {failure.kind.value}, {failure.retryable}"]


@pytest.mark.parametrize("service", sorted({case["service"] for case in ANSWERS}))
def test_answers_of_a_service(service: str) -> None:
    wrong: list[str] = []
    for case in ANSWERS:
        if case["service"] == service:
            body = case["body"].encode() if isinstance(case["body"], str) else case["body"]
            error = openai_error(case["status"], body, case.get("headers"))
            assert isinstance(error, openai.APIStatusError)
            wrong += misjudged(case, error)
    assert wrong == []


def test_texts_of_user_code() -> None:
    wrong: list[str] = []
    for case in TEXTS:
        wrong += misjudged(case, CLASSES[case["class"]](case["text"]))
    assert wrong == []


def test_the_data_are_whole() -> None:
    assert (len(ANSWERS), len(TEXTS)) == (250, 232)
