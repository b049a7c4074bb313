"""Ordinary agents on the real SDKs: the right tool, typed arguments, results in the answer, an end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

from techrevati.runtime.chaos import ChaosServer

Calls = list[tuple[str, dict[str, Any]]]
MAX_TURNS = 8
S, INT, N, B = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))


def enum(*choices: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(choices)}


def spec(name: str, description: str, required: str = "", **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": required.split() if required else list(properties),
    }
    return {"name": name, "description": description, "schema": schema}


TOOLS = [
    spec(
        "get_weather",
        "Current weather of a city.",
        "location",
        location=S,
        unit=enum("celsius", "fahrenheit"),
    ),
    spec("calculator", "Evaluate an arithmetic expression.", expression=S),
    spec("read_file", "Read a file.", path=S),
    spec("search_web", "Search the web.", "query", query=S, max_results=INT),
    spec("run_sql", "Run a read-only SQL query. Tables: users(id, name), orders(id, total).", query=S),
    spec("list_events", "List calendar events of a day.", date={**S, "format": "date"}),
    spec(
        "create_event",
        "Create a calendar event.",
        "title date time",
        title=S,
        date=S,
        time=S,
        duration_minutes=INT,
        attendees={"type": "array", "items": S},
    ),
    spec("convert_units", "Convert a value between units.", value=N, from_unit=S, to_unit=S),
    spec("get_stock_price", "Price of a stock.", ticker=S),
    spec("translate_text", "Translate text into a language.", text=S, target_language=S),
    spec("get_order_status", "Status of an order.", order_id=S),
    spec("send_email", "Send an email.", to=S, subject=S, body=S),
    spec("delete_file", "Delete a file.", path=S),
]


class Shape(NamedTuple):
    """One everyday request: the calls that it needs, what each returns, and what the answer must hold."""

    asks: str
    calls: Calls
    results: tuple[str, ...]
    holds: tuple[str, ...]


SHAPES = {
    "weather": Shape(
        "Is it warm in New York, in fahrenheit?",
        [("get_weather", {"location": "New York", "unit": "fahrenheit"})],
        ('{"temperature": 64, "conditions": "cloudy"}',),
        ("64", "cloudy"),
    ),
    "two cities at once": Shape(
        "What is the weather in Paris and London?",
        [("get_weather", {"location": "Paris"}), ("get_weather", {"location": "London"})],
        ("18C", "rain"),
        ("18C", "rain"),
    ),
    "calculator": Shape("What is 17 * 23?", [("calculator", {"expression": "17 * 23"})], ("391",), ("391",)),
    "two tools at once": Shape(
        "What's the weather in Oslo, and what is (3+4)*2?",
        [("get_weather", {"location": "Oslo"}), ("calculator", {"expression": "(3+4)*2"})],
        ("snow", "0"),
        ("snow", "(3+4)*2 = 0"),
    ),
    "file reader": Shape(
        "Read notes/todo.txt and tell me what is due.",
        [("read_file", {"path": "notes/todo.txt"})],
        ("Deadline is Friday.\nBuy milk.",),
        ("Deadline is Friday", "notes/todo.txt"),
    ),
    "search": Shape(
        "Find the top 3 articles about Hamlet",
        [("search_web", {"query": "top 3 articles Hamlet", "max_results": 3})],
        ('[{"title": "A", "snippet": "A prince hesitates."}]',),
        ("A prince hesitates",),
    ),
    "SQL": Shape(
        "How many users are in the database?",
        [("run_sql", {"query": "SELECT COUNT(*) FROM users"})],
        ('[{"count": 42}]',),
        ("42",),
    ),
    "calendar": Shape(
        "What meetings do I have tomorrow?",
        [("list_events", {"date": "2026-11-26"})],
        ("10:00 standup\n12:00 lunch with Bob",),
        ("10:00 standup", "lunch with Bob"),
    ),
    "calendar entry": Shape(
        "Schedule a meeting called 'Budget review' on Friday at 3pm with Alice and Bob for 30 minutes",
        [
            (
                "create_event",
                {
                    "title": "Budget review",
                    "date": "2026-11-27",
                    "time": "3pm",
                    "duration_minutes": 30,
                    "attendees": ["Alice", "Bob"],
                },
            )
        ],
        ('{"id": "evt_1", "status": "created"}',),
        ("created",),
    ),
    "unit conversion": Shape(
        "Convert 10.5 miles to kilometers",
        [("convert_units", {"value": 10.5, "from_unit": "miles", "to_unit": "kilometers"})],
        ("16.9",),
        ("16.9",),
    ),
    "stock": Shape(
        "What is the stock price of AAPL?", [("get_stock_price", {"ticker": "AAPL"})], ("201.5",), ("201.5",)
    ),
    "translation": Shape(
        'Translate "good morning" to French',
        [("translate_text", {"text": "good morning", "target_language": "French"})],
        ("bonjour",),
        ("bonjour",),
    ),
    "order": Shape(
        "Where is my order A-1042?",
        [("get_order_status", {"order_id": "A-1042"})],
        ('{"status": "shipped", "eta": null}',),
        ("shipped",),
    ),
    "mail": Shape(
        "Send an email to bob@example.com with subject 'Hi' saying see you at noon",
        [("send_email", {"to": "bob@example.com", "subject": "Hi", "body": "see you at noon"})],
        ("sent",),
        ("sent",),
    ),
    "nothing to do": Shape("Hello!", [], (), ()),
}
SYSTEM = "You are a helpful assistant. Today is 2026-11-25."


class Runner:
    """Executes tools: the n-th call gets the n-th result."""

    def __init__(self, shape: Shape) -> None:
        self.made: Calls = []
        self._results = shape.results

    def run(self, name: str, arguments: Mapping[str, Any]) -> str:
        self.made.append((name, dict(arguments)))
        return self._results[len(self.made) - 1]


def openai_agent(
    server: ChaosServer, asks: str, runner: Runner, *, stream: bool, parallel: bool = True
) -> str:
    tools: Any = [
        {
            "type": "function",
            "function": {"name": t["name"], "description": t["description"], "parameters": t["schema"]},
        }
        for t in TOOLS
    ]
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asks}]
    with openai.OpenAI(api_key="x", base_url=server.base_url, max_retries=0, timeout=30) as client:
        for _ in range(MAX_TURNS):
            given: Any = {"model": "m", "messages": messages, "tools": tools, "parallel_tool_calls": parallel}
            if stream:
                with client.chat.completions.stream(**given) as events:
                    message: Any = events.get_final_completion().choices[0].message
            else:
                message = client.chat.completions.create(**given).choices[0].message
            if not message.tool_calls:
                return str(message.content)
            assert parallel or len(message.tool_calls) == 1
            messages.append(message.to_dict())
            for call in message.tool_calls:
                result = runner.run(call.function.name, json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise AssertionError("the agent never came to an end")


def anthropic_agent(server: ChaosServer, asks: str, runner: Runner, *, stream: bool) -> str:
    tools: Any = [
        {"name": t["name"], "description": t["description"], "input_schema": t["schema"]} for t in TOOLS
    ]
    messages: list[Any] = [{"role": "user", "content": asks}]
    url = server.anthropic_base_url
    with anthropic.Anthropic(api_key="x", base_url=url, max_retries=0, timeout=30) as client:
        for _ in range(MAX_TURNS):
            given: Any = {
                "model": "m",
                "max_tokens": 1_000,
                "system": SYSTEM,
                "messages": messages,
                "tools": tools,
            }
            if stream:
                with client.messages.stream(**given) as events:
                    message: Any = events.get_final_message()
            else:
                message = client.messages.create(**given)
            if message.stop_reason != "tool_use":
                return "".join(block.text for block in message.content)
            messages.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
            results = [
                {
                    "type": "tool_result",
                    "tool_use_id": block.id,
                    "content": runner.run(block.name, block.input),
                }
                for block in message.content
                if block.type == "tool_use"
            ]
            messages.append({"role": "user", "content": results})
    raise AssertionError("the agent never came to an end")


@pytest.fixture(scope="module")
def server() -> Any:
    with ChaosServer() as running:
        yield running


@pytest.mark.parametrize("sdk", ["openai", "openai stream", "anthropic", "anthropic stream"])
@pytest.mark.parametrize("name", SHAPES)
def test_everyday_agents_get_their_work_done(server: ChaosServer, name: str, sdk: str) -> None:
    """Among thirteen tools the right ones are called with typed arguments, and the results are told."""
    shape = SHAPES[name]
    runner = Runner(shape)
    agent: Any = openai_agent if sdk.startswith("openai") else anthropic_agent
    text = agent(server, shape.asks, runner, stream=sdk.endswith("stream"))
    assert runner.made == shape.calls
    for words in shape.holds:
        assert words in text


def test_one_call_at_a_time_makes_the_same_calls(server: ChaosServer) -> None:
    """Without parallel calls the second tool follows the first, and both results are told."""
    shape = SHAPES["two tools at once"]
    runner = Runner(shape)
    text = openai_agent(server, shape.asks, runner, stream=False, parallel=False)
    assert runner.made == shape.calls
    assert "snow" in text
    assert "= 0" in text
