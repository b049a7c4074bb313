"""Shrinking a context, naming topics, and judging whether an answer came from the files."""

from __future__ import annotations

import pytest

from techrevati.runtime.cli.conversation import LEFT_OUT, Conversation
from techrevati.runtime.cli.grounding import grounding
from techrevati.runtime.cli.toolbox import OFFERS
from techrevati.runtime.cli.topics import pointed_question, telling_words

QUESTION = "When does the tide turn?"


def talk_with(*results: tuple[str, str]) -> Conversation:
    talk = Conversation("You are.", f"Question: {QUESTION}", QUESTION, OFFERS)
    for number, (tool, text) in enumerate(results):
        call = {"id": str(number), "type": "function", "function": {"name": tool, "arguments": "{}"}}
        talk.add({"role": "assistant", "content": None, "tool_calls": [call]})
        talk.add({"role": "tool", "tool_call_id": str(number), "content": text})
    return talk


def test_what_does_not_speak_of_the_question_goes_first() -> None:
    """Paragraphs about other things are left out, a heading with its text; what answers stays."""
    seals = "Seals sleep all day long. " * 20
    text = f"# Harbour\n\nOpening hours.\n\n## Seals\n\n{seals}\n\nThe tide turns at noon."
    talk = talk_with(("read_file", text))
    before = talk.about_tokens()
    assert talk.shrink(before - 8)
    assert talk.messages[-1]["content"] == "# Harbour\n\nOpening hours.\n\nThe tide turns at noon."
    assert talk.about_tokens() < before


def test_shrinking_ends_when_nothing_is_left_to_leave_out() -> None:
    """An impossible target leaves a little of each text, and the second time says that it failed."""
    talk = talk_with(
        ("read_file", f"a\n\nb\n\n\n\n{'c' * 400}\n\n"), ("search_files", "x:1: tide\nx:2: turn\n")
    )
    assert talk.shrink(1)
    assert not talk.shrink(1)
    assert [one["content"] for one in talk.messages if one["role"] == "tool"] == ["a\n\nb", "x:1: tide"]


def test_what_a_file_says_to_the_question_is_kept() -> None:
    """What a search found goes first; a short file stays whole, only a very long one loses what matters."""
    short = "Opening hours.\nNo dogs.\nTides turn at noon."
    longer = f"Opening hours.\n{'Seals sleep. ' * 40}\nTides turn at noon."
    talk = talk_with(("search_files", "x:1: tide\nx:2: turn"), ("read_file", short), ("read_file", longer))
    assert talk.shrink(talk.about_tokens() - 1)
    results = [one["content"] for one in talk.messages if one["role"] == "tool"]
    assert results == ["x:1: tide", short, longer]
    assert talk.shrink(1)
    assert talk.messages[-1]["content"] == "Opening hours.\nTides turn at noon."
    long = talk_with(("read_file", "Opening hours.\n" + "Tides turn at noon.\n" * 300))
    assert long.shrink(long.about_tokens() - 400)


def test_without_tools_the_request_itself_shrinks() -> None:
    """A writer's notes are shortened, the question stays."""
    talk = Conversation("You are.", f"Question: {QUESTION}\n\nA.\n\nSeals.\n\nThe tide turns.", QUESTION)
    assert talk.shrink(talk.about_tokens() - 2)
    assert talk.messages[1]["content"] == f"Question: {QUESTION}\n\nA.\n\nThe tide turns."
    short = Conversation("You are.", f"Question: {QUESTION}\n\nNotes: seals.", QUESTION)
    assert not short.shrink(1)


def test_a_dropped_tool_takes_its_results_along() -> None:
    """The tool is no longer offered, what it said is gone, other results stay."""
    talk = talk_with(("search_files", "x:1: tide"), ("read_file", "The tide."))
    assert talk.drop_tool("search_files")
    assert not talk.drop_tool("search_files")
    assert [one["content"] for one in talk.messages if one["role"] == "tool"] == [LEFT_OUT, "The tide."]
    assert len(talk.tools) == len(OFFERS) - 1


def test_topics_come_from_one_sentence() -> None:
    """One place of one file holds all of them, so that it answers the question; a table's line will do."""
    texts = [
        "Harbour opens at noon.\r\nSeals sleep in the harbour.",
        "```\nharbour seals sleep\n```\nA quay.",
    ]
    asked = pointed_question("What is this folder about?", texts)
    assert asked == "What is this folder about: Seals, sleep, harbour?"
    assert pointed_question("What is this?", ["name,age\nAnna,34"]) == "What is this: name, age?"
    assert pointed_question("What is this?", ["42"]) == "What is this: 42?"


def test_only_a_question_about_nothing_is_given_topics() -> None:
    """A question that says what it is about stays as it is."""
    texts = ["Harbour, harbour, seal."] * 2
    assert pointed_question(QUESTION, texts) == QUESTION
    assert (
        pointed_question("What is this folder about?", texts) == "What is this folder about: Harbour, seal?"
    )
    assert pointed_question("What is this?", ["1 2 3"]) == "What is this?"
    assert telling_words("What happened on 14 March?") == {"happened", "14", "march"}


TEXTS = {"tides.md": "The tide turns at noon and at midnight.", "odd [1].md": "Seals sleep on the quay."}


@pytest.mark.parametrize(
    ("answer", "answered"),
    [
        ("The tide turns at noon. [tides.md]", True),
        ("At noon the tide turns [tides.md].\n\nAnd at midnight the tide turns too. [tides.md]", True),
        ("The tide turns at noon. [tides.md, tides.md]", True),
        ("The tide turns [sic] at noon. [tides.md]", True),
        ("", False),
        ("The tide turns at noon.", False),
        ("I found nothing about the tide.", False),
        ("The king of France is bald and lives in Paris. [tides.md]", False),
        ("The tide turns at noon. [tides.md] It rains all day long. [weather.md]", False),
        ("The tide turns at noon. [other/tides.md]", False),
        ("Kings are bald. [tides.md] Queens are not. [tides.md] The tide turns at noon. [tides.md]", False),
    ],
)
def test_an_answer_counts_only_when_the_files_say_it(answer: str, answered: bool) -> None:
    """Uncited, invented, wrongly cited and mostly unsupported answers are no answers from the folder."""
    found = grounding(answer, TEXTS)
    assert found.answered is answered
    assert str(found)


def test_no_file_was_read() -> None:
    """A citation of a file that nobody read is none, whatever the file says."""
    assert not grounding("The tide turns at noon. [tides.md]", {}).answered
