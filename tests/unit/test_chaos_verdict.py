"""The verdict: what is one call, and each finding on clients that deserve it and on clients that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.chaos import Fault, FaultKind, Outcome, Verdict, count_tokens
from techrevati.runtime.chaos.calls import MAX_CALLS, MAX_REQUESTS, Calls, Claim
from techrevati.runtime.chaos.credentials import MAX_CREDENTIALS, Credentials, key_in
from techrevati.runtime.chaos.endpoint import Request
from techrevati.runtime.chaos.verdict import judged
from tests.unit.test_chaos_endpoint import ANSWER, ANTHROPIC, NOTES, OPENAI, Desk

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": NOTES}]}).encode()
QUOTA = Fault(FaultKind.QUOTA_EXHAUSTED)
DOWN = Fault(FaultKind.UNAVAILABLE)
LIMITED = Fault(FaultKind.RATE_LIMIT, retry_after_s=2.0)


def body(number: int) -> bytes:
    return BODY.replace(b"opens?", f"opens {number}?".encode(), 1)


def sent(desk: Desk, *requests: dict[str, Any], gap_s: float = 0.5, payload: bytes = BODY) -> None:
    """Requests one after the other, each *gap_s* after the end of the last."""
    for options in requests:
        desk.post(OPENAI, options.pop("body", payload), **options)
        desk.now_s += gap_s


def calls(desk: Desk) -> list[str]:
    """The calls of all requests as letters in the order of their first one."""
    names: dict[str, str] = {}
    records = desk.endpoint.books.records()
    return [names.setdefault(one.call, "abcdefghij"[len(names)]) for one in records]


# What is one call.


@pytest.mark.parametrize(
    ("faults", "requests", "expected"),
    [
        ([DOWN, DOWN], [{}, {}, {}], "aaa"),  # a client that says nothing tries again after a failure
        ([], [{}, {}], "ab"),  # a success ends a call
        ([DOWN, None], [{}, {}, {}], "aab"),
        ([DOWN] * 3, [{"retry": 0}, {"retry": 0}, {"retry": 0}], "abc"),  # the SDK says: a new call
        ([DOWN] * 4, [{"retry": 0}, {"retry": 1}, {"retry": 2}, {"retry": 0}], "aaab"),
        ([DOWN] * 2, [{"credential": 1}, {"credential": 2}], "ab"),  # another key after a refusal
        ([DOWN] * 4, [{"tag": "x"}, {"tag": "y"}, {"tag": "x"}, {"tag": "y"}], "abab"),
        ([DOWN] * 2, [{"tag": "x", "retry": 0}, {"tag": "x", "retry": 0}], "aa"),  # its own name counts more
        ([DOWN] * 2, [{"retry": 0}, {}], "ab"),  # another client
    ],
)
def test_attempts_are_told_by_the_clients_own_words(
    faults: list[Fault | None], requests: list[dict[str, Any]], expected: str
) -> None:
    """Its id, its count of retries, its key; a success always ends a call."""
    desk = Desk(faults)
    sent(desk, *[dict(one) for one in requests])
    assert "".join(calls(desk)) == expected


def test_equal_requests_under_way_together_are_calls_of_their_own() -> None:
    """And each retry goes to the one whose wait is over."""
    desk = Desk([Fault(FaultKind.RATE_LIMIT, retry_after_s=wait) for wait in (10.0, 1.0, 5.0)])
    started = [desk.endpoint.answered(Request("POST", OPENAI, BODY, retry=0)) for _ in range(3)]
    for sequence, plan in started:
        desk.endpoint.books.settled(sequence, plan.outcome, desk.endpoint.now_s())
    start_s = desk.now_s
    for after_s in (1.0, 5.0, 10.0):
        desk.now_s = start_s + after_s
        desk.post(OPENAI, BODY, retry=1)
    assert "".join(calls(desk)) == "abcbca"
    assert desk.names(attempts_per_call=2) == ()


def test_a_retry_may_come_before_the_abort_is_seen() -> None:
    """A client knows of its timeout first; a client that says nothing is then taken for two calls."""
    for retry, expected in ((0, "aa"), (None, "ab")):
        desk = Desk([Fault(FaultKind.SLOW_FIRST_TOKEN)])
        desk.endpoint.answered(Request("POST", OPENAI, BODY, retry=retry))
        desk.now_s += 1
        desk.post(OPENAI, BODY, retry=None if retry is None else 1)
        assert "".join(calls(desk)) == expected


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 2),
            st.sampled_from([None, 0, 1, 2]),
            st.sampled_from(["", "x"]),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_calls_never_mix_requests_or_credentials(plan: list[tuple[int, int, int | None, str, bool]]) -> None:
    """Attempts of a call are of one request, one key and one id, counted from 1; none follows a success."""
    desk = Desk()
    seen: dict[str, tuple[object, ...]] = {}
    counts: dict[str, int] = {}
    over: set[str] = set()
    for number, credential, retry, tag, ok in plan:
        desk.post(
            OPENAI, body(number) if ok else b"[]" * (number + 1), credential=credential, retry=retry, tag=tag
        )
        one = desk.last
        facts = (one.digest, one.credential, tag)
        assert seen.setdefault(one.call, facts) == facts
        counts[one.call] = counts.get(one.call, 0) + 1
        assert one.attempt == counts[one.call]
        assert one.call not in over
        if one.outcome is Outcome.COMPLETE:
            over.add(one.call)
        if retry == 0 and not tag:
            assert one.attempt == 1
        desk.now_s += 1
    assert not desk.endpoint._calls._by_request


def test_open_calls_are_bounded() -> None:
    """Neither different requests nor one that fails for ever fill the memory."""
    desk = Desk()
    desk.ask()
    record = desk.last
    calls = Calls()
    for number in range(MAX_REQUESTS + 10):
        calls.attempt(number, Claim(str(number)), 0.0)
        calls.ended(type(record)(**{**facts(record), "sequence": number, "outcome": Outcome.REFUSED}))
    assert len(calls._open) == MAX_REQUESTS
    for number in range(MAX_CALLS + 10):
        calls.attempt(number, Claim("same", retry=0), 0.0)
        calls.ended(type(record)(**{**facts(record), "sequence": number, "outcome": Outcome.REFUSED}))
    assert max(map(len, calls._open.values())) == MAX_CALLS
    assert not calls._by_request


def facts(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def test_keys_become_numbers() -> None:
    """The same key has the same number on any header, the bound holds, and nobody has number 0."""
    known = Credentials()
    bearer = key_in({"authorization": "Bearer sk-one"})
    assert bearer == key_in({"x-api-key": "sk-one"}) == key_in({"api-key": "sk-one"}) == "sk-one"
    assert [known.number(one) for one in (bearer, "sk-two", "sk-one", "", key_in({}))] == [1, 2, 1, 0, 0]
    for number in range(MAX_CREDENTIALS):
        known.number(f"k{number}")
    assert len(known._numbers) == MAX_CREDENTIALS
    assert "sk-one" not in repr(known._numbers)


# Retried what cannot succeed, and told waits.


def test_new_calls_after_a_refusal_for_good_are_chance_once_and_a_loop_twice() -> None:
    """An SDK says "new call" each time; the third equal one in a row is no chance."""
    desk = Desk([QUOTA] * 3)
    sent(desk, {"retry": 0}, {"retry": 0})
    assert desk.names() == ()
    sent(desk, {"retry": 0})
    verdict = judged(desk.endpoint.books.records())
    assert verdict.names == ("retried-non-retryable",)
    assert verdict.findings[0].requests == (2, 3)


@pytest.mark.parametrize(
    "requests",
    [
        [{"retry": 0, "tag": name} for name in "abcd"],  # named calls are what they say
        [{"retry": 0, "credential": number} for number in range(4)],  # other keys
        [{"retry": 0, "body": body(number)} for number in range(4)],  # other prompts
    ],
)
def test_calls_that_can_be_independent_are(requests: list[dict[str, Any]]) -> None:
    """Refused for good and refused with a wait, one after the other: nothing to object to."""
    for fault in (QUOTA, LIMITED):
        desk = Desk([fault] * 4)
        sent(desk, *[dict(one) for one in requests])
        assert desk.names(attempts_per_call=1) == ()


def test_equal_calls_side_by_side_say_nothing_of_each_other() -> None:
    """Workers with the same prompt start a little later than others of them were refused."""
    for fault in (QUOTA, LIMITED):
        desk = Desk([fault] * 6)
        first = desk.endpoint.answered(Request("POST", OPENAI, BODY, retry=0))
        second = desk.endpoint.answered(Request("POST", OPENAI, BODY, retry=0))
        for sequence, plan in (first, second):
            desk.now_s += 0.01
            desk.endpoint.books.settled(sequence, plan.outcome, desk.endpoint.now_s())
        desk.now_s += 0.3
        sent(desk, {"retry": 0}, {"retry": 0}, {"retry": 0}, {"retry": 0})
        assert desk.names() == ()


def test_a_told_wait_binds_the_client_whatever_it_calls_its_request() -> None:
    """The same request comes back as a "new call" too early; later is fine, much later is its own affair."""
    for waited_s, names in ((0.5, ("ignored-retry-after",)), (2.0, ()), (60.0, ())):
        desk = Desk([LIMITED])
        sent(desk, {"retry": 0}, {"retry": 0}, gap_s=waited_s)
        assert desk.names() == names
    desk = Desk([LIMITED])
    sent(desk, {"retry": 0}, {"retry": 1}, gap_s=60.0)
    assert desk.names() == ("multiplied-retry-after",)


# Hammering.


@pytest.mark.parametrize(
    "kind", ["rate_limit", "quota_exhausted", "server_error", "overloaded", "invalid_key", "reset"]
)
@pytest.mark.parametrize("how", ["other prompts", "new connections", "both"])
def test_coming_back_at_once_is_found_whatever_is_sent(kind: str, how: str) -> None:
    """Six in a row, 10 ms after a refusal, a reset or a 500, as the SDKs would without their retries."""
    options = {"retry_after_s": 1.0} if kind == "rate_limit" else {}
    desk = Desk([Fault(FaultKind(kind), **options)] * 6)  # type: ignore[arg-type]
    for number in range(6):
        payload = BODY if how == "new connections" else body(number)
        connection = 1 if how == "other prompts" else number
        sent(desk, {"retry": 0, "credential": 1, "connection": connection}, payload=payload, gap_s=0.01)
    assert "hammered-while-refused" in desk.names()


@pytest.mark.parametrize(
    ("change", "gap_s"),
    [
        ({}, 0.2),  # it pauses
        ({"credential": True}, 0.01),  # each another client
        ({"model": True}, 0.01),  # each another model
    ],
)
def test_what_is_no_hammering(change: dict[str, bool], gap_s: float) -> None:
    """Pauses, other credentials, other models on connections of their own."""
    desk = Desk([DOWN] * 12)
    for number in range(12):
        payload = body(number).replace(b'"m"', f'"m{number}"'.encode()) if "model" in change else body(number)
        credential = number if "credential" in change else 1
        sent(desk, {"credential": credential, "connection": number, "retry": 0}, payload=payload, gap_s=gap_s)
    assert desk.names() == ()


@pytest.mark.parametrize("kind", ["context_overflow", "content_filter"])
def test_refused_prompts_say_nothing_of_the_next_prompt(kind: str) -> None:
    """A batch of documents, each too long or filtered, is worked through at once."""
    desk = Desk([Fault(FaultKind(kind))] * 12)
    sent(desk, *[{"body": body(number), "retry": 0, "connection": 1} for number in range(12)], gap_s=0.01)
    assert desk.names() == ()


def test_agents_that_start_side_by_side_do_not_hammer() -> None:
    """Thirty start 10 ms apart, are all refused, and each waits before its own retry."""
    desk = Desk([DOWN] * 60)
    start_s = desk.now_s
    for retry in (0, 1):
        for number in range(30):
            desk.now_s = start_s + retry + number * 0.01
            desk.post(OPENAI, body(number), retry=retry, credential=1, connection=number)
            desk.now_s += 0.001
    assert desk.names(attempts_per_call=2) == ()


def test_a_kept_wait_is_no_hammering_however_short() -> None:
    """Told 20 ms, six times, and six times it waited."""
    desk = Desk([Fault(FaultKind.RATE_LIMIT, retry_after_s=0.02)] * 6)
    sent(desk, *[{"retry": number} for number in range(7)], gap_s=0.02)
    assert desk.names() == ()


def test_one_who_hammers_is_found_among_many_who_do_not() -> None:
    """Well-behaved clients in between do not break the row."""
    desk = Desk([DOWN] * 40)
    for number in range(12):
        sent(desk, {"credential": 1, "connection": 1, "body": body(number), "retry": 0}, gap_s=0.01)
        sent(desk, {"credential": 2 + number, "connection": 2 + number, "retry": 0}, gap_s=0.01)
    found = judged(desk.endpoint.books.records()).findings
    assert [one.name for one in found] == ["hammered-while-refused"]
    assert found[0].requests == tuple(range(3, 24, 2))


# Cut answers.


def cut_then(
    desk: Desk, partial: str, *after: dict[str, str], path: str = OPENAI, **options: Any
) -> tuple[str, ...]:
    """The names after a stream that was cut off and a request that goes on with *partial*."""
    desk.ask(path, stream=True)
    messages = [{"role": "user", "content": NOTES}, {"role": "assistant", "content": partial}, *after]
    desk.post(path, json.dumps({"model": "gpt-x", "max_tokens": 99, "messages": messages}).encode())
    return desk.names(**options)


MORE = {"role": "user", "content": "Thanks. And then?"}


@pytest.mark.parametrize(
    ("path", "tokens"),
    # Anthropic refuses an empty answer in the middle of a conversation, so nobody can take one for complete.
    [(OPENAI, 0), *((path, tokens) for path in (OPENAI, ANTHROPIC) for tokens in (1, 2, 8))],
)
def test_a_cut_of_any_length_is_known_in_its_place(path: str, tokens: int) -> None:
    """After the very same messages one token, or none, is enough; the whole answer, or another, is fine."""
    scripted: list[Fault | None] = [Fault(FaultKind.TRUNCATED_STREAM, after_tokens=tokens)]
    desk = Desk(scripted)
    desk.ask(path, stream=True)
    partial = desk.endpoint.cuts.known()[0][1]
    assert count_tokens(partial) == tokens
    assert cut_then(Desk(scripted), partial, MORE, path=path) == ("accepted-truncated-stream",)
    assert Desk(scripted).names(answers=[partial]) == ()
    assert cut_then(Desk(scripted), ANSWER, MORE, path=path) == ()
    assert cut_then(Desk(scripted), "Sorry, no answer came.", MORE, path=path) == ()


def test_a_short_cut_in_another_place_proves_nothing() -> None:
    """ "The" stands in many texts."""
    desk = Desk([Fault(FaultKind.TRUNCATED_STREAM, after_tokens=1)])
    desk.ask(stream=True)
    desk.ask(text="The soup. The end.")
    assert desk.names(answers=["The end."]) == ()
    assert desk.names(answers=["The"]) == ("accepted-truncated-stream",)


def test_who_says_that_the_answer_broke_off_is_honest() -> None:
    """Asking the model to go on, by a message or by ending with the part, accepts nothing."""
    cut = [Fault(FaultKind.TRUNCATED_STREAM, after_tokens=8)]
    partial = "The breaker opens after five failures"
    assert cut_then(Desk(list(cut)), partial, MORE) == ("accepted-truncated-stream",)
    honest = {"role": "user", "content": "Your answer was cut off. Go on where you stopped."}
    assert cut_then(Desk(list(cut)), partial, honest) == ()
    assert cut_then(Desk(list(cut)), partial) == ()


@pytest.mark.parametrize("kind", [FaultKind.STALLED_STREAM, FaultKind.SLOW_STREAM])
def test_what_a_client_has_when_it_gives_up_waiting_is_a_cut_too(kind: FaultKind) -> None:
    """Five tokens came and the client left; if it had waited for the rest, all would be well."""
    for outcome, names in ((Outcome.ABORTED, ("accepted-truncated-stream",)), (Outcome.COMPLETE, ())):
        desk = Desk([Fault(kind)])
        request = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": NOTES}]})
        sequence, _ = desk.endpoint.answered(Request("POST", OPENAI, request.encode()))
        desk.endpoint.books.generated(sequence, 5)
        desk.endpoint.books.settled(sequence, outcome, desk.endpoint.now_s())
        desk.now_s += 1
        desk.ask(text=f"Question: what opens?\nDraft: {ANSWER[:23]}\nImprove it.")
        assert desk.names() == names
        assert desk.names(answers=[ANSWER[:23]]) == names


def test_a_client_that_leaves_a_healthy_stream_has_what_it_wanted() -> None:
    """Stopping early is its own decision."""
    desk = Desk()
    request = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": NOTES}]})
    sequence, _ = desk.endpoint.answered(Request("POST", OPENAI, request.encode()))
    desk.endpoint.books.generated(sequence, 5)
    desk.endpoint.books.settled(sequence, Outcome.ABORTED, desk.endpoint.now_s())
    desk.ask(text=f"Draft: {ANSWER[:23]}")
    assert desk.names(answers=[ANSWER[:23]]) == ()


# What is missing.


def test_a_verdict_says_what_it_could_not_look_at() -> None:
    """Without findings it is not ok when records are missing; what was declared is compared with all."""
    verdict = judged([], dropped=3, dropped_chats=2, declared_requests=2)
    assert not verdict.complete
    assert not verdict.ok
    assert str(verdict) == "incomplete: 3 older requests are no longer in the records\nno findings"
    with pytest.raises(AssertionError, match="incomplete: 3 older requests"):
        verdict.raise_for_findings()
    assert judged([], dropped=3, dropped_chats=2, declared_requests=1).names == ("undeclared-requests",)
    assert "answers that were cut off" in str(judged([], dropped_cuts=1))
    assert Verdict().ok
    assert Verdict().complete
