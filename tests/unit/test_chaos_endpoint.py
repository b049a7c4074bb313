"""The endpoint without sockets: wire formats, faults as plans, the bill, the books and the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.chaos import (
    BilledUsage,
    Fault,
    FaultKind,
    InjectedRecord,
    Outcome,
    Rule,
    Scenario,
    VerdictError,
    count_tokens,
)
from techrevati.runtime.chaos.bill import NOTHING
from techrevati.runtime.chaos.endpoint import Endpoint, Request
from techrevati.runtime.chaos.plan import HangUp, Plan, Send, Wait
from techrevati.runtime.chaos.verdict import judged

OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"
NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"


class Desk:
    """An endpoint with a clock that tests move, and a client that reads everything."""

    def __init__(self, scenario: Scenario | list[Fault | None] | None = None, *, speed: float = 1.0) -> None:
        self.now_s = 100.0
        made = Scenario.script(scenario) if isinstance(scenario, list) else scenario or Scenario()
        self.endpoint = Endpoint(
            made,
            seed=1,
            speed=speed,
            clock=lambda: self.now_s,
            wall_clock=lambda: 1_800_000_000.5,
            history=100,
        )

    def ask(
        self, path: str = OPENAI, text: str = NOTES, *, tag: str = "", **extra: object
    ) -> tuple[Plan, bytes]:
        """One request, carried out to its end; the plan and the bytes that were sent."""
        body: dict[str, object] = {"model": "gpt-x", "messages": [{"role": "user", "content": text}], **extra}
        if path == ANTHROPIC:
            body.setdefault("max_tokens", 1000)
        return self.post(path, json.dumps(body).encode(), tag=tag)

    def post(self, path: str, body: bytes, **extra: Any) -> tuple[Plan, bytes]:
        sequence, plan = self.endpoint.answered(Request("POST", path, body, **extra))
        tokens = [step.tokens for step in plan.steps if isinstance(step, Send)]
        if tokens:
            self.endpoint.books.generated(sequence, tokens[-1])
        self.endpoint.books.settled(sequence, plan.outcome, self.endpoint.now_s())
        return plan, b"".join(step.data for step in plan.steps if isinstance(step, Send))

    @property
    def last(self) -> InjectedRecord:
        return self.endpoint.books.records()[-1]

    def names(self, **options: Any) -> tuple[str, ...]:
        """The kinds of findings."""
        cuts = self.endpoint.cuts.known()
        return judged(self.endpoint.books.records(), cut_answers=cuts, **options).names


def split(sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a response."""
    head, _, body = sent.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    if headers.get("transfer-encoding") == "chunked":
        body = dechunked(body)
    return int(lines[0].split(" ")[1]), headers, body


def dechunked(raw: bytes) -> bytes:
    whole = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        whole, raw = whole + raw[:length], raw[length + 2 :]
    return whole


def chunks(sent: bytes) -> list[Any]:
    """The JSON of every OpenAI stream event before the end mark."""
    lines = [line[6:] for line in split(sent)[2].decode().split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def events(sent: bytes) -> list[Any]:
    """The JSON of every Anthropic stream event."""
    return [
        json.loads(part.partition("\ndata: ")[2]) for part in split(sent)[2].decode().split("\n\n") if part
    ]


def test_openai_plain() -> None:
    """The answer, its usage and the bill agree; tokens are counted as documented."""
    desk = Desk()
    status, headers, body = split(desk.ask()[1])
    answer = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert headers["x-request-id"] == desk.last.request_id
    assert answer["choices"][0]["message"]["content"] == ANSWER
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["completion_tokens"] == count_tokens(ANSWER)
    assert usage["prompt_tokens"] == 3 + 4 + count_tokens(NOTES)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert desk.last.billed == BilledUsage(usage["prompt_tokens"], usage["completion_tokens"])


@pytest.mark.parametrize("include", [True, False])
def test_openai_stream_tells_usage_only_when_asked(include: bool) -> None:
    """One token a chunk; the usage chunk has no choices and comes before the end mark."""
    desk = Desk()
    sent = chunks(desk.ask(stream=True, stream_options={"include_usage": include})[1])
    told = [one["usage"] for one in sent if one.get("usage")]
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in sent if one["choices"])
    assert text == ANSWER
    assert len(told) == include
    if include:
        assert sent[-1]["choices"] == []
        assert told[0]["completion_tokens"] == desk.last.billed.output_tokens
    else:
        assert all("usage" not in one for one in sent)
    assert desk.last.billed.output_tokens == count_tokens(ANSWER)


TOOLS = [
    {
        "name": "read_file",
        "schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    }
]
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": one["name"], "parameters": one["schema"]}} for one in TOOLS
]
ANTHROPIC_TOOLS = [{"name": one["name"], "input_schema": one["schema"]} for one in TOOLS]
FORCED = {"type": "function", "function": {"name": "read_file"}}


def test_openai_tool_calls_plain_and_streamed_are_the_same() -> None:
    """Arguments come in pieces that join to the plain call's; both bill the same output."""
    desk = Desk()
    options: dict[str, object] = {"tools": OPENAI_TOOLS, "tool_choice": FORCED}
    plain = json.loads(split(desk.ask(text="Read the soup file", **options)[1])[2])
    call = plain["choices"][0]["message"]["tool_calls"][0]
    assert plain["choices"][0]["finish_reason"] == "tool_calls"
    assert plain["choices"][0]["message"]["content"] is None
    output = desk.last.billed.output_tokens
    sent = chunks(desk.ask(text="Read the soup file", stream=True, **options)[1])
    parts = [one["choices"][0]["delta"].get("tool_calls", [{}])[0] for one in sent]
    first = next(part for part in parts if part.get("id"))
    assert first["function"]["name"] == call["function"]["name"] == "read_file"
    joined = "".join(part["function"]["arguments"] for part in parts if part)
    assert joined == call["function"]["arguments"]
    assert json.loads(joined) == {"path": "."}
    assert desk.last.billed.output_tokens == output


def test_anthropic_plain_and_stream() -> None:
    """Blocks, stop reason, ping, cumulative usage: the stream says what the plain answer says."""
    desk = Desk()
    plain = json.loads(split(desk.ask(ANTHROPIC)[1])[2])
    assert plain["content"] == [{"type": "text", "text": ANSWER}]
    assert plain["stop_reason"] == "end_turn"
    sent = events(desk.ask(ANTHROPIC, stream=True)[1])
    kinds = [one["type"] for one in sent]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(one["delta"]["text"] for one in sent if one["type"] == "content_block_delta") == ANSWER
    assert sent[0]["message"]["usage"]["input_tokens"] == plain["usage"]["input_tokens"]
    assert sent[-2]["usage"]["output_tokens"] == plain["usage"]["output_tokens"] == count_tokens(ANSWER)
    assert "cache_creation" not in sent[-2]["usage"]


def test_anthropic_tools_round_trip() -> None:
    """A tool call is answered by a tool_result block, and the answer uses it."""
    desk = Desk()
    options = {"tools": ANTHROPIC_TOOLS, "tool_choice": {"type": "tool", "name": "read_file"}}
    plain = json.loads(split(desk.ask(ANTHROPIC, "What does the soup cost?", **options)[1])[2])
    call = plain["content"][0]
    assert plain["stop_reason"] == "tool_use"
    assert call["id"].startswith("toolu_")
    sent = events(desk.ask(ANTHROPIC, "What does the soup cost?", stream=True, **options)[1])
    pieces = [one["delta"]["partial_json"] for one in sent if one["type"] == "content_block_delta"]
    assert json.loads("".join(pieces)) == call["input"]
    messages = [
        {"role": "user", "content": "What does the soup cost?"},
        {"role": "assistant", "content": [{**call, "input": {"path": "lunch.txt"}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call["id"], "content": "The soup costs 4 euros."}
            ],
        },
    ]
    body = {"model": "c", "max_tokens": 99, "messages": messages, "tools": ANTHROPIC_TOOLS}
    final = json.loads(split(desk.post(ANTHROPIC, json.dumps(body).encode())[1])[2])
    assert final["content"][0]["text"] == "The soup costs 4 euros. [lunch.txt]"


def test_max_tokens_cuts_the_answer_and_the_bill() -> None:
    """Both APIs say why the answer ends."""
    desk = Desk()
    openai = json.loads(split(desk.ask(max_completion_tokens=3)[1])[2])
    assert openai["choices"][0]["finish_reason"] == "length"
    assert desk.last.billed.output_tokens == 3
    anthropic = json.loads(split(desk.ask(ANTHROPIC, max_tokens=3)[1])[2])
    assert anthropic["stop_reason"] == "max_tokens"


OPENAI_ERRORS = {
    "rate_limit": (429, "requests", "rate_limit_exceeded"),
    "quota_exhausted": (429, "insufficient_quota", "insufficient_quota"),
    "spend_limit": (429, "insufficient_quota", "insufficient_quota"),
    "invalid_key": (401, "invalid_request_error", "invalid_api_key"),
    "forbidden": (403, "invalid_request_error", "model_not_found"),
    "model_not_found": (404, "invalid_request_error", "model_not_found"),
    "context_overflow": (400, "invalid_request_error", "context_length_exceeded"),
    "content_filter": (400, "invalid_request_error", "content_filter"),
    "server_error": (500, "server_error", None),
    "unavailable": (503, "server_error", "service_unavailable"),
    "overloaded": (503, "server_error", None),
}
ANTHROPIC_ERRORS = {
    "rate_limit": (429, "rate_limit_error"),
    "quota_exhausted": (400, "invalid_request_error"),
    "spend_limit": (429, "rate_limit_error"),
    "invalid_key": (401, "authentication_error"),
    "forbidden": (403, "permission_error"),
    "model_not_found": (404, "not_found_error"),
    "context_overflow": (400, "invalid_request_error"),
    "content_filter": (400, "invalid_request_error"),
    "server_error": (500, "api_error"),
    "unavailable": (503, "api_error"),
    "overloaded": (529, "overloaded_error"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", OPENAI_ERRORS)
def test_openai_refusals(kind: str, stream: bool) -> None:
    """Status, type, code and request id as the provider has them; nothing is billed."""
    desk = Desk([Fault(FaultKind(kind))])
    status, headers, body = split(desk.ask(stream=stream)[1])
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == OPENAI_ERRORS[kind]
    assert set(error) >= {"message", "type", "param", "code"}
    assert headers["x-request-id"] == desk.last.request_id
    assert desk.last.billed == NOTHING
    assert desk.last.outcome is Outcome.REFUSED


@pytest.mark.parametrize("kind", ANTHROPIC_ERRORS)
def test_anthropic_refusals(kind: str) -> None:
    """Status, type, request id in header and body, and whether to retry."""
    desk = Desk([Fault(FaultKind(kind))])
    status, headers, body = split(desk.ask(ANTHROPIC)[1])
    held = json.loads(body)
    assert (status, held["error"]["type"]) == ANTHROPIC_ERRORS[kind]
    assert held["request_id"] == headers["request-id"] == desk.last.request_id
    assert headers["x-should-retry"] == ("true" if desk.last.retryable else "false")
    assert (held["error"].get("details") == {"error_code": "enforced_spend_limit_reached"}) == (
        kind == "spend_limit"
    )


def test_a_proxy_answers_in_html() -> None:
    """502 with a page instead of JSON, on both APIs."""
    desk = Desk([Fault(FaultKind.BAD_GATEWAY_HTML)] * 2)
    for path in (OPENAI, ANTHROPIC):
        status, headers, body = split(desk.ask(path)[1])
        assert (status, headers["content-type"]) == (502, "text/html")
        assert body.startswith(b"<html>")


@pytest.mark.parametrize(
    ("form", "path", "speed", "expected"),
    [
        ("default", OPENAI, 1, {"retry-after-ms": "2500", "retry-after": "3"}),
        ("default", ANTHROPIC, 1, {"retry-after": "3"}),
        ("default", OPENAI, 5, {"retry-after-ms": "500", "retry-after": "1"}),
        ("seconds", OPENAI, 1, {"retry-after": "3"}),
        ("ms", OPENAI, 1, {"retry-after-ms": "2500"}),
        ("date", OPENAI, 1, {"retry-after": "Fri, 15 Jan 2027 08:00:03 GMT"}),
        ("none", OPENAI, 1, {}),
    ],
)
def test_retry_after_in_every_form(form: str, path: str, speed: float, expected: dict[str, str]) -> None:
    """Whole seconds are rounded up, milliseconds are exact, and both are real time."""
    desk = Desk([Fault(FaultKind.RATE_LIMIT, retry_after_s=2.5, retry_after_as=form)], speed=speed)
    headers = split(desk.ask(path)[1])[1]
    assert {name: value for name, value in headers.items() if name.startswith("retry-after")} == expected
    assert desk.last.retry_after_s == (None if form == "none" else 2.5)


def streamed(kind: str, path: str = OPENAI, **options: Any) -> tuple[Plan, Desk]:
    desk = Desk([Fault(FaultKind(kind), **options)])
    return desk.ask(path, stream=True)[0], desk


@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("reset_mid_body", HangUp(True)),
        ("truncated_body", HangUp(False)),
        ("truncated_stream", None),
        ("mid_stream_error", None),
        ("wrong_json", None),
    ],
)
def test_a_damaged_stream_is_billed_until_the_damage(path: str, kind: str, end: HangUp | None) -> None:
    """Input and the tokens that came are billed; the client has their text."""
    plan, desk = streamed(kind, path, after_tokens=4)
    assert (plan.steps[-1] if end else None) == end
    assert plan.cut_text == "The breaker opens"
    assert desk.last.billed.output_tokens == 4
    assert desk.last.billed.input_tokens > 0
    assert desk.last.outcome is Outcome.DAMAGED
    text = b"".join(step.data for step in plan.steps if isinstance(step, Send))
    assert b"[DONE]" not in text
    assert b"message_stop" not in text


@pytest.mark.parametrize(("stream", "output"), [(True, 0), (False, count_tokens(ANSWER))])
def test_a_reset_before_the_first_byte(stream: bool, output: int) -> None:
    """A plain answer was computed in full by then, a stream had not begun."""
    desk = Desk([Fault(FaultKind.RESET)])
    plan, sent = desk.ask(stream=stream)
    assert plan.steps[-1] == HangUp(True)
    assert sent == b""
    assert desk.last.status is None
    assert desk.last.billed.output_tokens == output
    assert desk.last.billed.input_tokens > 0


@given(after=st.integers(0, 200))
def test_damage_never_comes_after_the_last_token(after: int) -> None:
    """However late it is asked for, at least one token is missing."""
    plan, desk = streamed("truncated_stream", after_tokens=after)
    assert desk.last.billed.output_tokens == min(after, count_tokens(ANSWER) - 1)
    assert plan.cut_text != ANSWER


def test_slow_and_stalled_streams_wait_where_they_should() -> None:
    """Before the first token, before every token, and after some; the whole answer comes in the end."""
    plan, _ = streamed("slow_first_token", delay_s=3.0)
    assert [step for step in plan.steps if isinstance(step, Wait)] == [Wait(3.0)]
    assert plan.steps.index(Wait(3.0)) == 2  # headers and the role come at once
    plan, _ = streamed("slow_stream", delay_s=0.5)
    assert sum(step.seconds for step in plan.steps if isinstance(step, Wait)) == 0.5 * count_tokens(ANSWER)
    plan, desk = streamed("stalled_stream", delay_s=60.0, after_tokens=2)
    index = plan.steps.index(Wait(60.0))
    before = plan.steps[index - 1]
    assert isinstance(before, Send)
    assert before.tokens == 2
    assert plan.outcome is Outcome.COMPLETE
    assert desk.last.billed.output_tokens == count_tokens(ANSWER)


@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
def test_wrong_json_is_no_json(path: str) -> None:
    """A plain body that does not parse, and a stream with one event that does not."""
    desk = Desk([Fault(FaultKind.WRONG_JSON)] * 2)
    with pytest.raises(json.JSONDecodeError):
        json.loads(split(desk.ask(path)[1])[2])
    body = split(desk.ask(path, stream=True)[1])[2].decode()
    last = body.rstrip("\n").split("\n\n")[-1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(last.partition("data: ")[2])


def test_truncated_plain_bodies() -> None:
    """One is shorter than announced, the other is announced short."""
    desk = Desk([Fault(FaultKind.TRUNCATED_BODY), Fault(FaultKind.TRUNCATED_STREAM)])
    plan, sent = desk.ask()
    _, headers, body = split(sent)
    assert int(headers["content-length"]) > len(body)
    assert plan.steps[-1] == HangUp(False)
    _, headers, body = split(desk.ask()[1])
    assert int(headers["content-length"]) == len(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_the_model_can_be_made_to_misbehave() -> None:
    """A tool call or a text of the scenario's choice, and an answer that a filter ends."""
    faults = [
        Fault(FaultKind.TOOL_CALL, tool="delete_file", arguments={"path": "x"}),
        Fault(FaultKind.SAYS, text="the secret"),
        Fault(FaultKind.CONTENT_FILTER_STOP, after_tokens=2),
    ]
    desk = Desk([*faults])
    answers = [json.loads(split(desk.ask()[1])[2])["choices"][0] for _ in faults]
    assert answers[0]["message"]["tool_calls"][0]["function"] == {
        "name": "delete_file",
        "arguments": '{"path":"x"}',
    }
    assert answers[1]["message"]["content"] == "the secret"
    assert (answers[2]["message"]["content"], answers[2]["finish_reason"]) == ("The breake", "content_filter")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (OPENAI, {"messages": []}, 400),
        (OPENAI, {"model": "m", "messages": []}, 400),
        (OPENAI, {"model": "m", "messages": [{"role": "robot", "content": "x"}]}, 400),
        (OPENAI, {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2}, 400),
        (OPENAI, {"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "call_1"}]}]}, 400),
        (ANTHROPIC, {"model": "m", "messages": [{"role": "user", "content": "x"}]}, 400),
        (ANTHROPIC, {"model": "m", "max_tokens": 0, "messages": [{"role": "user", "content": "x"}]}, 400),
        (ANTHROPIC, {"model": "m", "max_tokens": 9, "messages": [{"role": "system", "content": "x"}]}, 400),
        (ANTHROPIC, {"model": "m", "max_tokens": 9, "messages": []}, 400),
        ("/v1/images/generations", {}, 404),
        (OPENAI, [], 400),
    ],
)
def test_wrong_requests_are_refused_as_the_provider_would(path: str, body: object, status: int) -> None:
    """An error body with a message; not billed, not retryable, and in the books."""
    desk = Desk()
    found, _, sent = split(desk.post(path, json.dumps(body).encode())[1])
    assert found == status
    assert json.loads(sent)["error"]["message"]
    assert (desk.last.outcome, desk.last.billed, desk.last.retryable) == (Outcome.INVALID, NOTHING, False)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_broken_bodies_are_refused(body: bytes) -> None:
    """What is no JSON gets a 400."""
    assert split(Desk().post(OPENAI, body)[1])[0] == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    messages=st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": JSON},
            optional={"tool_calls": JSON, "tool_call_id": JSON},
        ),
        max_size=4,
    ),
    tools=JSON,
    choice=JSON,
    stream=st.booleans(),
    path=st.sampled_from([OPENAI, ANTHROPIC]),
)
def test_no_request_breaks_the_endpoint(
    messages: list[Mapping[str, object]], tools: object, choice: object, stream: bool, path: str
) -> None:
    """Whatever JSON comes, the answer is 200 or 400 and the books are closed."""
    desk = Desk()
    body = {"model": "m", "max_tokens": 50, "messages": messages, "tools": tools, "tool_choice": choice}
    status = split(desk.post(path, json.dumps({**body, "stream": stream}).encode())[1])[0]
    assert status in (200, 400)
    assert desk.endpoint.books.idle(0.0)


def test_prompt_caching_is_billed_as_each_provider_does() -> None:
    """OpenAI finds a common beginning by itself, Anthropic caches what is marked; both say so in usage."""
    desk = Desk()
    long = {"role": "system", "content": "word " * 3_000}

    def openai(text: str) -> Any:
        body = {"model": "m", "messages": [long, {"role": "user", "content": text}]}
        return json.loads(split(desk.post(OPENAI, json.dumps(body).encode())[1])[2])["usage"]

    first, second = openai("one"), openai("two")
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert cached == 2_944  # 3,007 in steps of 128
    assert desk.last.billed.cache_read_tokens == cached
    assert desk.last.billed.input_tokens == second["prompt_tokens"] - cached

    def anthropic(text: str) -> Any:
        mark = {"type": "text", "text": long["content"], "cache_control": {"type": "ephemeral"}}
        body = {
            "model": "m",
            "max_tokens": 9,
            "system": [mark],
            "messages": [{"role": "user", "content": text}],
        }
        return json.loads(split(desk.post(ANTHROPIC, json.dumps(body).encode())[1])[2])["usage"]

    first, second = anthropic("one"), anthropic("two")
    assert (first["cache_creation_input_tokens"], first["cache_read_input_tokens"]) == (3_007, 0)
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (0, 3_007)
    assert first["input_tokens"] == second["input_tokens"]
    assert desk.endpoint.books.bill().cached_tokens == cached + 3_007


@given(
    kinds=st.lists(st.sampled_from([None, *FaultKind]), min_size=1, max_size=12),
    streams=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_the_bill_is_the_sum_of_its_records(kinds: list[FaultKind | None], streams: list[bool]) -> None:
    """Whatever happens, totals and records agree, and refused requests cost nothing."""
    extra: dict[FaultKind, dict[str, Any]] = {
        FaultKind.SAYS: {"text": "x"},
        FaultKind.TOOL_CALL: {"tool": "x"},
    }
    desk = Desk([Fault(kind, **extra.get(kind, {})) if kind else None for kind in kinds])
    for stream, _ in zip(streams, kinds, strict=False):
        desk.ask(stream=stream)
    records = desk.endpoint.books.records()
    bill = desk.endpoint.books.bill()
    assert bill.usage == sum((one.billed for one in records), NOTHING)
    assert bill.requests == len(records) == len(kinds)
    assert bill.billed_requests == sum(one.billed != NOTHING for one in records)
    assert all(one.billed == NOTHING for one in records if one.outcome is Outcome.REFUSED)
    assert all(one.billed.input_tokens > 0 for one in records if one.outcome is not Outcome.REFUSED)


def test_history_is_bounded_and_totals_are_not() -> None:
    """250 requests, 100 kept, 150 dropped, all billed."""
    desk = Desk()
    for _ in range(250):
        desk.ask()
    assert len(desk.endpoint.books.records()) == 100
    assert desk.endpoint.books.dropped == 150
    assert desk.endpoint.books.bill().requests == 250
    assert desk.endpoint.books.bill().output_tokens == 250 * count_tokens(ANSWER)


def test_windows_follow_the_scenario_clock() -> None:
    """At 60 times the speed a ten-minute window is ten seconds long."""
    desk = Desk(Scenario("x", (Rule(Fault(FaultKind.UNAVAILABLE), from_s=60.0, until_s=660.0),)), speed=60.0)
    seen: list[int] = []
    for after_s in (0.9, 1.0, 10.9, 11.0):
        desk.now_s = 100.0 + after_s
        seen.append(split(desk.ask()[1])[0])
    assert seen == [200, 503, 503, 200]
    assert desk.last.arrived_s == pytest.approx(660.0)


# The verdict.


def test_a_good_client_has_no_findings() -> None:
    """It waits as told, does not repeat what cannot help, and uses whole answers only."""
    desk = Desk([Fault(FaultKind.RATE_LIMIT, retry_after_s=2.0), None])
    desk.ask()
    desk.now_s += 2.1
    desk.ask()
    desk.ask(text=f"{NOTES}\nDraft: {ANSWER}")
    assert desk.names(declared_requests=3, attempts_per_call=2, answers=[ANSWER]) == ()


@pytest.mark.parametrize("kind", ["quota_exhausted", "context_overflow", "invalid_key", "content_filter"])
def test_retrying_what_cannot_succeed_is_found(kind: str) -> None:
    """The finding names the fault and the requests."""
    desk = Desk([Fault(FaultKind(kind))] * 2)
    desk.ask()
    desk.now_s += 5
    desk.ask()
    found = judged(desk.endpoint.books.records()).findings
    assert [one.name for one in found] == ["retried-non-retryable"]
    assert found[0].requests == (2,)
    assert kind in found[0].message


@pytest.mark.parametrize(
    ("waited_s", "names"),
    [(1.0, ("ignored-retry-after",)), (2.0, ()), (5.9, ()), (7.0, ("multiplied-retry-after",))],
)
def test_a_told_wait_is_kept_neither_less_nor_many_times(waited_s: float, names: tuple[str, ...]) -> None:
    """Two seconds were told; up to twice that and two more of one's own are fine."""
    desk = Desk([Fault(FaultKind.OVERLOADED, retry_after_s=2.0)])
    desk.ask()
    desk.now_s += waited_s
    desk.ask()
    assert desk.names() == names


@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
def test_going_on_with_a_cut_off_answer_is_found(path: str) -> None:
    """The next request brings the first half back as if it were all."""
    desk = Desk([Fault(FaultKind.TRUNCATED_STREAM, after_tokens=8)])
    plan, _ = desk.ask(path, stream=True)
    assert plan.cut_text is not None
    desk.ask(path, text=f"Question: what opens?\nDraft: {plan.cut_text}\nImprove it.")
    assert desk.last.carries == (1,)
    assert desk.names() == ("accepted-truncated-stream",)


def test_running_a_cut_off_tool_call_is_found() -> None:
    """The call comes back with arguments that were never sent in full; whole ones are fine."""
    scripted = Fault(FaultKind.TRUNCATED_STREAM, after_tokens=3)
    desk = Desk([scripted])
    desk.ask(text="Read the soup file", stream=True, tools=OPENAI_TOOLS, tool_choice=FORCED)
    number, _, whole = desk.endpoint.cuts.known()[0]
    assert (number, whole) == (1, "")
    call_id = Desk().ask(text="Read the soup file", tools=OPENAI_TOOLS, tool_choice=FORCED)[1]
    known = json.loads(split(call_id)[2])["choices"][0]["message"]["tool_calls"][0]
    for arguments, names in (('{"path":"."}', ()), ('{"pa', ("accepted-truncated-stream",))):
        function = {"name": "read_file", "arguments": arguments}
        messages = [
            {"role": "user", "content": "Read the soup file"},
            {"role": "assistant", "tool_calls": [{**known, "function": function}]},
            {"role": "tool", "tool_call_id": known["id"], "content": "Error: no such file"},
        ]
        desk.post(OPENAI, json.dumps({"model": "m", "messages": messages, "tools": OPENAI_TOOLS}).encode())
        assert desk.names() == names


def test_declaring_a_cut_off_answer_complete_is_found() -> None:
    """The client's own list of answers convicts it; the whole answer does not."""
    desk = Desk([Fault(FaultKind.TRUNCATED_STREAM, after_tokens=8)])
    plan, _ = desk.ask(stream=True)
    assert desk.names(answers=[str(plan.cut_text)]) == ("accepted-truncated-stream",)
    assert desk.names(answers=[ANSWER]) == ()


def test_hammering_is_found() -> None:
    """Six requests on one connection, each a moment after a refusal; with pauses it is none."""
    for gap_s, names in ((0.01, ("hammered-while-refused",)), (0.5, ())):
        desk = Desk([Fault(FaultKind.UNAVAILABLE)] * 7)
        for number in range(7):
            desk.ask(text=f"{NOTES} {number}")
            desk.now_s += gap_s
        assert desk.names() == names


def test_many_clients_at_once_are_not_one_that_hammers() -> None:
    """Different calls on different connections had no refusal to learn from."""
    desk = Desk([Fault(FaultKind.UNAVAILABLE)] * 50)
    for number in range(50):
        text = f"{NOTES} {number}"
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        desk.post(OPENAI, json.dumps(body).encode(), connection=number)
    assert desk.names() == ()


def test_requests_that_overlap_a_refusal_are_no_retries() -> None:
    """Eight equal requests under way at once are all refused; none came after a refusal."""
    desk = Desk([Fault(FaultKind.QUOTA_EXHAUSTED)] * 8)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": NOTES}]}).encode()
    under_way = [desk.endpoint.answered(Request("POST", OPENAI, body)) for _ in range(8)]
    for sequence, plan in under_way:
        desk.now_s += 0.01
        desk.endpoint.books.settled(sequence, plan.outcome, desk.endpoint.now_s())
    assert desk.names() == ()


def test_more_requests_than_declared_are_found() -> None:
    """In all, and for one call; a client's own call id keeps equal requests apart."""
    desk = Desk([Fault(FaultKind.SERVER_ERROR)] * 3)
    for _ in range(4):
        desk.ask()
        desk.now_s += 1
    assert desk.names(declared_requests=4, attempts_per_call=4) == ()
    assert desk.names(declared_requests=3) == ("undeclared-requests",)
    assert desk.names(attempts_per_call=3) == ("undeclared-requests",)
    desk = Desk()
    for number in range(4):
        desk.ask(tag=f"call-{number}")
    assert desk.names(attempts_per_call=1) == ()


def test_a_verdict_can_be_raised() -> None:
    """It is an AssertionError that says everything and carries the findings."""
    desk = Desk()
    desk.ask()
    verdict = judged(desk.endpoint.books.records(), declared_requests=0)
    assert not verdict.ok
    with pytest.raises(
        AssertionError, match="undeclared-requests: 1 physical requests came, 0 were declared"
    ) as caught:
        verdict.raise_for_findings()
    assert isinstance(caught.value, VerdictError)
    assert caught.value.findings == verdict.findings
    judged(desk.endpoint.books.records()).raise_for_findings()


@pytest.mark.parametrize("content", [" " * 40_000, "Hi" + "\n" * 20_000 + "there?", "`" * 50_000, "\ud800?"])
def test_prompts_of_nothing_but_space_or_marks_are_answered(content: str) -> None:
    """The model's reading does not grow with the square of a run; these took minutes, or broke it."""
    from techrevati.runtime.chaos.conversation import Conversation, Message
    from techrevati.runtime.chaos.extractive import extractive_reply
    from techrevati.runtime.chaos.tokens import count_tokens, pieces

    talk = Conversation(model="m", messages=(Message(role="user", text=content),))
    assert extractive_reply(talk).text
    assert "".join(pieces(content)) == content
    assert count_tokens(content) >= 1
