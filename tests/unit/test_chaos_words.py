"""Words, sentences and passages: what the extractive model knows of language."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.chaos.passages import finished, passages_in
from techrevati.runtime.chaos.tokens import count_tokens, pieces
from techrevati.runtime.chaos.words import keywords, rarity, sentences, stem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("retries", "retrying"),
        ("policy", "policies"),
        ("closed", "closing"),
        ("stopped", "stop"),
        ("cache", "caching"),
        ("Node", "nodes"),
        ("process", "processes"),
        ("breaker's", "breaker"),
    ],
)
def test_forms_of_one_word_share_a_stem(one: str, other: str) -> None:
    """Usual English endings do not keep two forms of a word apart."""
    assert stem(one) == stem(other)


def test_keywords_leave_out_what_questions_are_made_of() -> None:
    """Question words and the word "file" say nothing about the subject; the first form of a stem stays."""
    assert keywords("How does the retry policy decide whether retries are in the files?") == [
        "retry",
        "policy",
        "decide",
        "whether",
    ]


def test_sentences_keep_citations_and_abbreviations_together() -> None:
    """A citation belongs to the sentence before it; "e.g." ends nothing."""
    assert sentences("It opens, e.g. after five. [a.md] It waits! Then it  tries.") == [
        "It opens, e.g. after five. [a.md]",
        "It waits!",
        "Then it tries.",
    ]


def test_a_rare_stem_weighs_more_than_a_common_one_and_an_absent_one_most() -> None:
    """Weights fall with the number of sentences that have the stem."""
    weights = rarity([frozenset({"a", "b"}), frozenset({"a"})], ["a", "b", "c"])
    assert weights["a"] < weights["b"] < weights["c"]


def test_markdown_becomes_sentences_with_their_heading() -> None:
    """Lists, tables, wrapped lines, titles and emphasis are read; code blocks are not."""
    text = """Breaker
=======

It **opens** after a [long](http://x) series of failures that nobody
could explain.

- first entry
* other `a*b*c` thing

| key | value |
|-----|-------|
| port | 8080 |

```
code = hidden()
```
"""
    found = passages_in(text, "a.md")
    assert [one.text for one in found] == [
        "It opens after a long series of failures that nobody could explain.",
        "first entry",
        "other `a*b*c` thing",
        "key: value",
        "port: 8080",
    ]
    assert all(one.source == "a.md" and one.context == {stem("Breaker")} for one in found)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("no stop", "no stop."),
        ("no stop [a.md]", "no stop. [a.md]"),
        ("stop. [a.md]", "stop. [a.md]"),
        ("stop [a.md].", "stop. [a.md]"),
        ("really?", "really?"),
    ],
)
def test_every_sentence_is_finished_once(text: str, whole: str) -> None:
    """A full stop is added where none is, in front of a citation."""
    assert finished(text) == whole


@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    """The pieces of any text join to the text, and none is empty."""
    assert "".join(pieces(text)) == text
    assert all(pieces(text))
    assert count_tokens(text) == len(pieces(text))


def test_a_token_is_six_letters_or_one_sign() -> None:
    """The documented count, on an example."""
    assert pieces("Retrying soon, ok") == ["Retryi", "ng", " soon", ",", " ok"]
    assert count_tokens("") == 0
