"""The extractive model as an agent: it looks things up, answers from what it saw, or says that it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime.chaos import NOTHING_FOUND, extractive_reply
from techrevati.runtime.chaos.conversation import Conversation, Message, Reply, Tool, ToolCall

FILES = {
    "docs/breaker.md": "# Circuit breaker\n\nThe breaker opens after five consecutive failures. It stays "
    "open for 30 seconds, then lets one\nprobe through.\n\n- A late result changes nothing.\n",
    "docs/retry.md": "# Retry policy\n\nRetries use exponential backoff with full jitter.\n",
    "README.md": "# Demo\n\nThe maintainers are Ada Lovelace and Grace Hopper.\n",
    "lunch.txt": "Lunch is at noon on Fridays.\nThe soup costs 4 euros.\n",
}


def tool(name: str, *required: str, kind: str = "string", description: str = "") -> Tool:
    shape = {"type": kind, "items": {"type": "string"}} if kind == "array" else {"type": kind}
    schema = {"type": "object", "properties": dict.fromkeys(required, shape), "required": list(required)}
    return Tool(name, description, schema)


KIT = (
    tool("list_files"),
    tool("search_files", "query"),
    tool("read_file", "path"),
    tool("delete_file", "path"),
)


def run(call: ToolCall) -> str:
    """The tools of a usual agent."""
    if call.name == "list_files":
        return "\n".join(FILES)
    if call.name == "search_files":
        wanted = str(call.arguments["query"]).lower().split()
        hits = [
            f"{name}:{number}: {line}"
            for name, text in FILES.items()
            for number, line in enumerate(text.splitlines(), 1)
            if any(word in line.lower() for word in wanted)
        ]
        return "\n".join(hits) or "no matches"
    return FILES.get(str(call.arguments["path"]), "error: no such file")


def work(
    question: str,
    kit: tuple[Tool, ...] = KIT,
    runner: Callable[[ToolCall], str] = run,
    *,
    parallel: bool = True,
) -> tuple[str, list[ToolCall]]:
    """Let the model answer *question*; its text and the calls that it made."""
    talk = Conversation(
        "m",
        (Message("system", "You are a researcher. Never guess."), Message("user", f"Question: {question}")),
        kit,
        parallel=parallel,
    )
    made: list[ToolCall] = []
    for _ in range(20):
        reply = extractive_reply(talk)
        if not reply.calls:
            return reply.text, made
        assert reply.finish == "tool_calls"
        made += reply.calls
        results = [Message("tool", runner(call), answers=call.id) for call in reply.calls]
        talk = replace(talk, messages=(*talk.messages, Message("assistant", "", reply.calls), *results))
    raise AssertionError("the model never came to an answer")


@pytest.mark.parametrize(
    ("question", "fact", "file"),
    [
        ("When does the circuit breaker open?", "five consecutive failures", "docs/breaker.md"),
        (
            "How long does the breaker stay open?",
            "30 seconds, then lets one probe through",
            "docs/breaker.md",
        ),
        ("Who are the maintainers?", "Ada Lovelace", "README.md"),
        ("How much does the soup cost?", "4 euros", "lunch.txt"),
        ("Which backoff do retries use?", "full jitter", "docs/retry.md"),
    ],
)
def test_it_answers_from_the_files_and_names_them(question: str, fact: str, file: str) -> None:
    """List, search, read, answer: the fact comes with the file in brackets."""
    text, made = work(question)
    assert fact in text
    assert text.endswith(f"[{file}]")
    names = [call.name for call in made]
    assert names[:2] == ["list_files", "search_files"]
    assert set(names[2:]) == {"read_file"}


def test_it_says_plainly_when_nothing_was_found() -> None:
    """A question that no file speaks of gets the fixed words, after single keywords were tried too."""
    text, made = work("What is the capital of France?")
    assert text.startswith(NOTHING_FOUND)
    assert [call.arguments for call in made if call.name == "search_files"][1:] == [
        {"query": "capital"},
        {"query": "France"},
    ]


def test_a_few_words_in_common_are_no_answer() -> None:
    """Half of an answer's words scattered over files that speak of something else do not count."""
    text, _ = work("Which consecutive Fridays did Napoleon visit Moscow?")
    assert text.startswith(NOTHING_FOUND)


def test_words_scattered_over_sentences_are_no_answer() -> None:
    """One sentence has one word of the question, another the second: together they say nothing of it."""
    files = {"a.md": "Six men came to dinner.", "b.md": "A bundled price book has a date."}

    def runner(call: ToolCall) -> str:
        return "\n".join(files) if call.name == "list_files" else files[str(call.arguments["path"])]

    text, _ = work(
        "What are the six bundled scenarios?", (tool("list_files"), tool("read_file", "path")), runner
    )
    assert text.startswith(NOTHING_FOUND)


def test_it_never_acts_and_never_asks_twice() -> None:
    """Tools that write or delete stay alone; no call is repeated with the same arguments."""
    for question in ("Delete the breaker file?", "When does the breaker open?"):
        _, made = work(question)
        assert "delete_file" not in [call.name for call in made]
        keys = [(call.name, call.arguments_json) for call in made]
        assert len(keys) == len(set(keys))


def test_one_call_at_a_time_where_the_client_wants_it() -> None:
    """Without parallel calls the answer is the same."""
    text, made = work("When does the circuit breaker open?", parallel=False)
    assert "five consecutive failures" in text
    assert text == work("When does the circuit breaker open?")[0]
    assert len(made) >= 3


def test_tools_with_other_names_and_json_results_work() -> None:
    """Camel case, arrays, and results as JSON objects are understood."""

    def runner(call: ToolCall) -> str:
        if call.name == "listDocuments":
            return json.dumps(
                {"documents": [{"id": name, "size": len(text)} for name, text in FILES.items()]}
            )
        assert isinstance(call.arguments["doc_ids"], list)
        held = [{"id": name, "content": FILES[name]} for name in call.arguments["doc_ids"]]
        return json.dumps(held)

    kit = (tool("listDocuments"), tool("getDocuments", "doc_ids", kind="array"))
    text, made = work("How much does the soup cost?", kit, runner)
    assert text == "The soup costs 4 euros. [lunch.txt]"
    assert [call.name for call in made] == ["listDocuments", "getDocuments"]


def test_a_nested_listing_is_followed() -> None:
    """Folders in a listing are listed too."""
    tree = {".": "docs/\nnotes.txt", "docs": "docs/soup.md"}

    def runner(call: ToolCall) -> str:
        if call.name == "list_dir":
            return tree[str(call.arguments["path"]).strip("/")]
        return "Soup costs 5 francs." if call.arguments["path"] == "docs/soup.md" else "Nothing here."

    text, made = work("What does soup cost?", (tool("list_dir", "path"), tool("read_file", "path")), runner)
    assert text == "Soup costs 5 francs. [docs/soup.md]"
    assert made[1].arguments == {"path": "docs/"}


def test_failed_reads_are_not_repeated_and_others_are_tried() -> None:
    """A blocked tool costs one call for each file and ends in an answer."""
    text, made = work(
        "When does the circuit breaker open?",
        runner=lambda call: "Error: denied" if call.name == "read_file" else run(call),
    )
    assert "five consecutive failures" in text  # from the search's own lines
    assert all(call.name != "read_file" or made.count(call) == 1 for call in made)


def test_what_a_failed_tool_says_is_no_evidence() -> None:
    """A result that is marked as failed is not quoted, whatever it says."""
    call = ToolCall("call_1", "ask_cook", {})
    talk = Conversation(
        "m",
        (
            Message("user", "Question: What does the soup cost?"),
            Message("assistant", "", (call,)),
            Message("tool", "The soup costs 9 euros.", answers="call_1", failed=True),
        ),
        (tool("ask_cook"),),
    )
    assert extractive_reply(talk).text.startswith(NOTHING_FOUND)


def test_a_single_foreign_tool_is_asked_once() -> None:
    """Any other tool is filled from the question and its result used."""
    kit = (tool("get_weather", "city", description="Weather of a city"),)
    text, made = work(
        "What is the weather in Paris today?", kit, lambda _: "The weather in Paris today is sunny."
    )
    assert [(call.name, call.arguments) for call in made] == [("get_weather", {"city": "Paris"})]
    assert text == "The weather in Paris today is sunny."


@pytest.mark.parametrize(
    ("choice", "name"), [("tool:read_file", "read_file"), ("required", "list_files"), ("none", "")]
)
def test_tool_choice_is_obeyed(choice: str, name: str) -> None:
    """A named tool is called, even one that would not be; ``none`` forbids all."""
    reply = extractive_reply(Conversation("m", (Message("user", "When?"),), KIT, choice))
    assert [call.name for call in reply.calls] == ([name] if name else [])


def prompt(*messages: tuple[str, str], max_tokens: int | None = None) -> Reply:
    made = tuple(Message(role, text) for role, text in messages)
    return extractive_reply(Conversation("m", made, max_tokens=max_tokens))


NOTES = "The breaker opens after five failures. [a.md] It waits 30 seconds. [a.md] Lunch is at noon. [b.txt]"


@pytest.mark.parametrize(
    "user",
    [
        f"Question: When does the breaker open?\n\nNotes:\n{NOTES}\n\nWrite a short answer. Keep citations.",
        f"<question>When does the breaker open?</question>\n<notes>{NOTES}</notes>\nWrite it well.",
        f"Write two sentences.\n\n## Notes\n{NOTES}\n\nQuestion: When does the breaker open?",
        f'Use only this material:\n"""\n{NOTES}\n"""\nWhen does the breaker open?',
        f"Question: When does the breaker open?\nDraft: {NOTES}\nReturn only the final text.",
        f"Question: When does the breaker open?\nNotes:\n{NOTES}\nRules: mention breakers and open windows.",
    ],
)
def test_without_tools_it_condenses_and_repeats_no_order(user: str) -> None:
    """Prose with its citations, about the question, without a word of what was ordered."""
    reply = prompt(("system", "You are a writer. Never invent facts."), ("user", user))
    assert reply.text == "The breaker opens after five failures. It waits 30 seconds. [a.md]"


def test_a_citation_covers_the_sentences_before_it() -> None:
    """A sentence that is kept keeps the citation even when its last neighbour is dropped."""
    draft = "The breaker opens after five failures. Nobody here likes soup. [a.md]"
    user = f"Question: When does the breaker open?\nDraft: {draft}"
    assert prompt(("user", user)).text == "The breaker opens after five failures. [a.md]"


def test_an_editor_keeps_a_good_draft_and_drops_repeats() -> None:
    """The same sentence in notes and draft comes once; bullets become prose."""
    user = (
        "Question: When does the breaker open?\n\nNotes:\n- The breaker opens after five failures [a.md]\n\n"
        "Draft:\nThe breaker opens after five failures. [a.md]\n\nImprove the draft."
    )
    assert prompt(("user", user)).text == "The breaker opens after five failures. [a.md]"


def test_nothing_found_is_passed_on() -> None:
    """A writer whose notes say that nothing was found says so too."""
    notes = f"{NOTHING_FOUND} (looked for: capital, France)."
    user = f"Question: What is the capital of France?\n\nNotes:\n{notes}\n\nWrite an answer."
    assert prompt(("user", user)).text.startswith(NOTHING_FOUND)


def test_no_material_is_no_answer() -> None:
    """Without tools and material there is nothing to say, whatever the prompt orders."""
    for user in ("hello", "Please explain quantum physics.", ""):
        assert prompt(("system", "Be kind."), ("user", user)).text.startswith(NOTHING_FOUND)


def test_the_answer_is_cut_after_max_tokens() -> None:
    """The limit counts tokens as the bill does, and the reply says why it ends."""
    reply = prompt(("user", f"Question: When does the breaker open?\nNotes:\n{NOTES}"), max_tokens=3)
    assert reply == Reply("The breaker", finish="length")


def test_the_same_conversation_always_gets_the_same_reply() -> None:
    """Ids of tool calls included."""
    talk = Conversation("m", (Message("user", "Question: When does the breaker open?"),), KIT)
    assert extractive_reply(talk) == extractive_reply(talk)


def typed(name: str, description: str = "", required: str = "", **properties: dict[str, object]) -> Tool:
    wanted = required.split() if required else list(properties)
    return Tool(name, description, {"type": "object", "properties": properties, "required": wanted})


S: dict[str, object] = {"type": "string"}
INT: dict[str, object] = {"type": "integer"}
N: dict[str, object] = {"type": "number"}
B: dict[str, object] = {"type": "boolean"}


@pytest.mark.parametrize(
    ("question", "kit", "expected"),
    [
        ("Add 3 and 4", [typed("add", a=INT, b=INT), typed("multiply", a=N, b=N)], [{"a": 3, "b": 4}]),
        (
            "What is 6.5 multiplied by 7?",
            [typed("add", a=INT, b=INT), typed("multiply", a=N, b=N)],
            [{"a": 6.5, "b": 7}],
        ),
        ("Show me user 42", [typed("get_user", user_id=INT), typed("get_time")], [{"user_id": 42}]),
        (
            "Find a hotel in Rome from 2026-12-01 for 3 nights, 2 guests, without breakfast",
            [
                typed(
                    "search_hotels",
                    "",
                    "city check_in nights",
                    city=S,
                    check_in={"type": "string", "format": "date"},
                    nights=INT,
                    guests=INT,
                    breakfast=B,
                )
            ],
            [{"city": "Rome", "check_in": "2026-12-01", "nights": 3, "guests": 2, "breakfast": False}],
        ),
        (
            "Find running shoes under 100 dollars that are in stock",
            [
                typed(
                    "search_products",
                    "",
                    "query",
                    query=S,
                    max_price=N,
                    in_stock=B,
                    category={"type": "string", "enum": ["books", "shoes"]},
                )
            ],
            [
                {
                    "query": "running shoes 100 dollars stock",
                    "max_price": 100,
                    "in_stock": True,
                    "category": "shoes",
                }
            ],
        ),
        (
            "What is the average of 3, 4.5 and -2?",
            [typed("average", "Average of numbers", values={"type": "array", "items": N})],
            [{"values": [3, 4.5, -2]}],
        ),
        (
            "Set the thermostat to 35 degrees",
            [typed("set_thermostat", "", degrees={"type": "integer", "maximum": 30})],
            [{"degrees": 30}],
        ),
        (
            "What is the square root of 144?",
            [typed("calculate", "Does math", expression={"anyOf": [{"type": "string"}, {"type": "null"}]})],
            [{"expression": "sqrt(144)"}],
        ),
    ],
)
def test_arguments_have_their_types(
    question: str, kit: list[Tool], expected: list[dict[str, object]]
) -> None:
    """Numbers, dates, flags, enums, arrays and bounds come from the question, each where it belongs."""
    _, made = work(question, tuple(kit), lambda _: "done")
    assert [call.arguments for call in made] == expected
    kinds = [[type(value) for value in call.arguments.values()] for call in made]
    assert kinds == [[type(value) for value in one.values()] for one in expected]


def test_a_tool_waits_for_what_another_one_finds() -> None:
    """Coordinates come from the result of the tool that knows them."""
    kit = (
        typed("get_forecast", "Weather forecast for coordinates.", latitude=N, longitude=N, days=INT),
        typed("get_coordinates", "Latitude and longitude of a place.", place=S),
    )
    text, made = work(
        "What's the forecast for Berlin for the next 3 days?",
        kit,
        lambda call: (
            '{"latitude": 52.5, "longitude": 13.4}' if call.name == "get_coordinates" else "sunny, then rain"
        ),
    )
    assert [call.arguments for call in made] == [
        {"place": "Berlin"},
        {"latitude": 52.5, "longitude": 13.4, "days": 3},
    ]
    assert "sunny, then rain" in text


@pytest.mark.parametrize("result", ["0", "false", "No rain.", '{"count": 0}', "[1, 2]", '"x"'])
def test_any_result_of_a_lookup_is_told(result: str) -> None:
    """Zero and "no rain" are results too."""
    text, made = work("How many open tickets are there?", (typed("count_tickets"),), lambda _: result)
    assert len(made) == 1
    assert not text.startswith(NOTHING_FOUND)


@pytest.mark.parametrize("name", ["delete_file", "transfer_money", "shutdown_server", "run_shell"])
def test_what_cannot_be_undone_is_never_started(name: str) -> None:
    """Not even when the user orders it in so many words."""
    words = name.replace("_", " ")
    _, made = work(f"Please {words} now", (typed(name, path=S), typed("get_time")), lambda _: "done")
    assert name not in [call.name for call in made]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["weather", "17 * 3", "Paris", "a.md", "?", "and", "find", "\n", "email", "tomorrow", "'x'", "5"]
        ),
        max_size=12,
    ),
    st.lists(
        st.sampled_from(
            ["get_weather", "list_files", "search_docs", "read_file", "calculator", "send_email"]
        ),
        max_size=6,
        unique=True,
    ),
    st.sampled_from(["", "0", "error: no", "a.md\nb.md", '{"path": "a.md"}', "Paris is far."]),
)
def test_it_always_comes_to_an_end(words: list[str], names: list[str], result: str) -> None:
    """Whatever is asked, offered and returned: within twenty turns, never the same call twice."""
    kit = tuple(typed(name, "", **{name.split("_")[-1]: S, "count": INT}) for name in names)
    _, made = work(" ".join(words), kit, lambda _: result)
    keys = [(call.name, call.arguments_json) for call in made]
    assert len(keys) == len(set(keys))
