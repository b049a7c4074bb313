"""Where the providers answer 400, so does the endpoint; what they honour is honoured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from techrevati.runtime.chaos import Outcome, Scenario
from techrevati.runtime.chaos.endpoint import Endpoint, Request
from techrevati.runtime.chaos.plan import Send

OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"
NOTES = "Question: what opens?\nNotes:\n- The breaker opens after 5 failures, then it waits. [a.md]"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CUSTOM = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
ORPHAN = [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "c", "content": "y"}]
BARE = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "y"}]}]


def ask(path: str, **extra: Any) -> tuple[int | None, dict[str, Any], str]:
    """Status, JSON body and text of the answer to one request; None leaves a field out."""
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": NOTES}]}
    if path == ANTHROPIC:
        body["max_tokens"] = 1_000
    body = {key: value for key, value in {**body, **extra}.items() if value != "LEFT OUT"}
    endpoint = Endpoint(Scenario(), seed=1, speed=1.0, clock=lambda: 0.0, wall_clock=lambda: 0.0)
    sequence, plan = endpoint.answered(Request("POST", path, json.dumps(body).encode()))
    sent = b"".join(step.data for step in plan.steps if isinstance(step, Send)).partition(b"\r\n\r\n")[2]
    endpoint.books.settled(sequence, plan.outcome, 0.0)
    if plan.status != 200:
        assert plan.outcome is Outcome.INVALID
        assert endpoint.books.bill().billed_requests == 0
    return plan.status, json.loads(sent) if sent[:1] == b"{" else {}, sent.decode()


@pytest.mark.parametrize(
    ("extra", "words", "param", "code"),
    [
        ({"model": "LEFT OUT"}, "you must provide a model parameter", None, None),
        (
            {"messages": "LEFT OUT"},
            "Missing required parameter: 'messages'",
            "messages",
            "missing_required_parameter",
        ),
        ({"messages": []}, "empty array", "messages", "empty_array"),
        ({"messages": [{"content": "x"}]}, "Missing", "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "'robot'", "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "expected a string, got null", "messages.[0].content", None),
        (
            {"messages": [{"role": "user", "content": []}]},
            "empty array",
            "messages[0].content",
            "empty_array",
        ),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "got an integer",
            "messages[0].content",
            "invalid_type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "'smell'",
            "messages[0].content[0].type",
            "invalid_value",
        ),
        ({"messages": ORPHAN}, "preceeding message", "messages.[1].role", None),
        ({"colour": 1}, "Unrecognized request argument supplied: colour", None, None),
        ({"temperature": 3}, "<= 2, but got 3", "temperature", "decimal_above_max_value"),
        ({"temperature": -1}, ">= 0, but got -1", "temperature", "decimal_below_min_value"),
        ({"temperature": "hot"}, "expected a decimal, but got a string", "temperature", "invalid_type"),
        ({"top_p": 1.5}, "<= 1", "top_p", "decimal_above_max_value"),
        ({"max_tokens": 0}, "integer below minimum", "max_tokens", "integer_below_min_value"),
        ({"max_tokens": "9"}, "expected an integer", "max_tokens", "invalid_type"),
        ({"max_completion_tokens": True}, "got a boolean", "max_completion_tokens", "invalid_type"),
        (
            {"max_tokens": 5, "max_completion_tokens": 5},
            "same time",
            "max_tokens",
            "invalid_parameter_combination",
        ),
        ({"stop": list("abcde")}, "maximum length 4", "stop", "array_above_max_length"),
        ({"stop": [1]}, "array of strings", "stop", "invalid_type"),
        ({"n": 0}, "integer below minimum", "n", "integer_below_min_value"),
        ({"n": 2}, "n = 1", "n", "unsupported_value"),
        ({"logprobs": True}, "not allowed to request logprobs", None, None),
        ({"functions": [{}]}, "Unsupported parameter: 'functions'", "functions", "unsupported_parameter"),
        ({"modalities": ["audio"]}, "Unsupported parameter", "modalities", "unsupported_parameter"),
        ({"stream": "yes"}, "expected a boolean", "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream'", "stream_options", None),
        ({"tool_choice": "auto"}, "only allowed when 'tools'", "tool_choice", None),
        ({"parallel_tool_calls": True}, "only allowed when 'tools'", "parallel_tool_calls", None),
        ({"tools": []}, "empty array", "tools", "empty_array"),
        ({"tools": [{"type": "magic"}]}, "'magic'", "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "name", "tools[0].function.name", "missing_required_parameter"),
        ({"tools": [TOOL], "tool_choice": "some"}, "'some'", "tool_choice", "invalid_value"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "not found in 'tools'",
            "tool_choice",
            None,
        ),
        ({"response_format": {"type": "xml"}}, "'xml'", "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_object"}}, "must contain the word 'json'", "messages", None),
        (
            {"response_format": {"type": "json_schema"}},
            "Missing",
            "response_format.json_schema",
            "missing_required_parameter",
        ),
    ],
)
def test_openai_refuses_with_its_own_words(
    extra: Any, words: str, param: str | None, code: str | None
) -> None:
    """Status 400, type, param and code as the provider has them; nothing is billed."""
    status, body, _ = ask(OPENAI, **extra)
    assert status == 400
    assert body["error"]["type"] == "invalid_request_error"
    assert words in body["error"]["message"]
    assert (body["error"]["param"], body["error"]["code"]) == (param, code)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"model": "LEFT OUT"}, "model: Field required"),
        ({"max_tokens": "LEFT OUT"}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        (
            {"messages": [{"role": "user", "content": ""}]},
            "messages.0: all messages must have non-empty content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "blocks must be non-empty",
        ),
        ({"messages": BARE}, "unexpected `tool_use_id`"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"top_p": "x"}, "top_p: Input should be a valid number"),
        ({"top_k": -1}, "top_k: Input should be greater"),
        ({"stop_sequences": [" "]}, "must contain non-whitespace"),
        ({"stop_sequences": "x"}, "valid list"),
        ({"stream": 1}, "stream: Input should be a valid boolean"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: may only be specified while providing tools"),
        ({"tools": [CUSTOM], "tool_choice": {"type": "tool", "name": "g"}}, "Tool 'g' not found"),
        ({"tools": [CUSTOM], "tool_choice": {"type": "x"}}, "Input tag 'x'"),
        ({"tools": [CUSTOM, CUSTOM]}, "Tool names must be unique"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "does not support tool types"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
    ],
)
def test_anthropic_refuses_with_its_own_words(extra: Any, words: str) -> None:
    """Status 400, ``invalid_request_error``, and a message that names the field."""
    status, body, _ = ask(ANTHROPIC, **extra)
    assert status == 400
    assert body["error"]["type"] == "invalid_request_error"
    assert words in body["error"]["message"]


def test_stop_sequences_end_the_answer() -> None:
    """Plain and streamed, the text ends before the first of them, and Anthropic says which it was."""
    _, body, _ = ask(OPENAI, stop=["never", " then", " opens after"])
    assert body["choices"][0]["message"]["content"] == "The breaker"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == 3
    assert ask(OPENAI, stop="The")[1]["choices"][0]["message"]["content"] == ""
    _, body, _ = ask(ANTHROPIC, stop_sequences=[" then"])
    assert body["content"][0]["text"] == "The breaker opens after 5 failures,"
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", " then")
    text = ask(ANTHROPIC, stop_sequences=[" then"], stream=True)[2]
    assert '"stop_reason":"stop_sequence","stop_sequence":" then"' in text


def test_max_tokens_wins_over_a_later_stop() -> None:
    """Whichever comes first ends the answer and is the reason given."""
    _, body, _ = ask(ANTHROPIC, stop_sequences=["waits"], max_tokens=2)
    assert (body["stop_reason"], body["stop_sequence"]) == ("max_tokens", None)
    assert ask(OPENAI, max_tokens=2)[1]["choices"][0]["finish_reason"] == "length"


SCHEMA = {
    "type": "object",
    "properties": {
        "verdict": {"enum": ["closes", "opens"]},
        "failures": {"type": "integer", "maximum": 4},
        "quotes": {"type": "array", "items": {"$ref": "#/$defs/quote"}, "minItems": 2},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "sure": {"type": "boolean"},
    },
    "required": ["verdict", "failures", "quotes", "note", "sure"],
    "additionalProperties": False,
    "$defs": {"quote": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}},
}


def test_json_answers_fit_their_schema() -> None:
    """Both providers' structured outputs, and OpenAI's JSON mode."""
    whole = "The breaker opens after 5 failures, then it waits. [a.md]"
    expected = {
        "verdict": "opens",
        "failures": 4,
        "quotes": [{"text": whole}] * 2,
        "note": whole,
        "sure": True,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    _, body, _ = ask(OPENAI, response_format=form)
    assert json.loads(body["choices"][0]["message"]["content"]) == expected
    _, body, _ = ask(ANTHROPIC, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert json.loads(body["content"][0]["text"]) == expected
    messages = [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": NOTES}]
    _, body, _ = ask(OPENAI, response_format={"type": "json_object"}, messages=messages)
    assert json.loads(body["choices"][0]["message"]["content"]) == {"answer": whole}


def test_what_changes_nothing_is_welcome() -> None:
    """Parameters at their neutral values, and those that only steer a real model."""
    status, _, text = ask(
        OPENAI,
        n=1,
        logprobs=False,
        temperature=0,
        seed=3,
        user="u",
        stop=None,
        response_format={"type": "text"},
    )
    assert status == 200, text
    status, _, text = ask(
        ANTHROPIC, temperature=1, top_k=0, metadata={"user_id": "u"}, thinking={"type": "disabled"}
    )
    assert status == 200, text
