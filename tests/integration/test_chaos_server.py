"""The server over real sockets: connections, resets, aborts, bounds, threads, and a clean end."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos import (
    ChaosServer,
    ChaosServerError,
    Fault,
    FaultKind,
    InjectedRecord,
    Outcome,
    Rule,
    Scenario,
    count_tokens,
)

NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"
LONG_S = 3_600.0


def body(**extra: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": NOTES}], **extra}).encode()


def post(
    server: ChaosServer, sent: bytes | None = None, headers: Mapping[str, str] | None = None, path: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", path or "/v1/chat/completions", sent or body(), dict(headers or {}))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def raw(server: ChaosServer, *parts: bytes) -> bytes:
    """Send bytes as they are and read until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        for part in parts:
            client.sendall(part)
        received = b""
        while more := client.recv(65_536):
            received += more
        return received


def request(*headers: str, content: bytes | None = None, version: str = "1.1") -> bytes:
    sent = body() if content is None else content
    lines = [f"POST /v1/chat/completions HTTP/{version}", f"content-length: {len(sent)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent


def content(answer: bytes) -> str:
    text = json.loads(answer)["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def test_both_base_urls_and_the_list_of_models() -> None:
    """The addresses that clients are given, and what a client may look at first."""
    with ChaosServer(models=["one", "two"]) as server:
        assert server.base_url == f"http://127.0.0.1:{server.port}/v1"
        assert server.anthropic_base_url == f"http://127.0.0.1:{server.port}"
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/v1/models")
        listed = json.loads(connection.getresponse().read())
        connection.close()
        assert [one["id"] for one in listed["data"]] == ["one", "two"]
        counted = post(server, path="/v1/messages/count_tokens")[2]
        billed = json.loads(post(server, body(max_tokens=99), path="/v1/messages")[2])["usage"][
            "input_tokens"
        ]
        assert json.loads(counted)["input_tokens"] == billed


def test_connections_are_kept_and_requests_answered_in_order() -> None:
    """Two requests sent at once on one connection get two answers; the second one ends it."""
    with ChaosServer([Fault(FaultKind.SAYS, text="first"), Fault(FaultKind.SAYS, text="second")]) as server:
        received = raw(server, request() + request("connection: close"))
        assert [content(part.split(b"\r\n\r\n")[1]) for part in received.split(b"HTTP/1.1 200 OK")[1:]] == [
            "first",
            "second",
        ]
        assert [one.connection for one in server.injected] == [1, 1]


def test_old_and_slow_clients() -> None:
    """HTTP/1.0 gets a closed connection and no chunks; a body may come byte by byte, or after asking."""
    with ChaosServer() as server:
        received = raw(server, request(content=body(stream=True), version="1.0"))
        assert b"transfer-encoding" not in received
        assert received.endswith(b"data: [DONE]\n\n")
        whole = request("connection: close")
        assert ANSWER.encode() in raw(server, *(whole[index : index + 1] for index in range(len(whole))))
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            head, _, rest = request("expect: 100-continue", "connection: close").partition(b"\r\n\r\n")
            client.sendall(head + b"\r\n\r\n")
            assert client.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(rest)
            assert client.recv(1_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: ten\r\n\r\n",
        b"POST / HTTP/3\r\n\r\n",
        b"GET /" + b"x" * 70_000,
    ],
)
def test_what_is_no_http_gets_a_400_and_a_farewell(sent: bytes) -> None:
    """TLS on the wrong port, nonsense lengths and endless heads do not disturb the server."""
    with ChaosServer() as server:
        assert raw(server, sent).startswith(b"HTTP/1.1 400 ")
        assert post(server)[0] == 200


def test_bodies_are_bounded() -> None:
    """A body over the limit, told or in chunks, gets a whole 413 even while it is still being sent."""
    with ChaosServer(max_body_bytes=10_000) as server:
        status, _, answer = post(server, b"x" * 8_000_000)
        assert status == 413
        assert json.loads(answer)["error"]["code"] == "request_too_large"
        chunked = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2711\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(chunked)
            assert client.recv(1_000).startswith(b"HTTP/1.1 413 ")
        assert post(server)[0] == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["reset", "reset_mid_body", "truncated_body"])
def test_connections_end_as_scripted(kind: str, stream: bool) -> None:
    """A reset is a reset, a cut is an early end; the part before it arrives."""
    with ChaosServer([Fault(FaultKind(kind))]) as server:
        expected: type[Exception] = ConnectionResetError if "reset" in kind else http.client.IncompleteRead
        with pytest.raises(expected):
            post(server, body(stream=stream))
        assert server.injected[0].outcome is Outcome.DAMAGED
        assert server.injected[0].status == (None if kind == "reset" else 200)


@pytest.mark.parametrize(
    ("fault", "stream", "output"),
    [
        (Fault(FaultKind.STALLED_STREAM, after_tokens=4, delay_s=LONG_S), True, 4),
        (Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=LONG_S), True, 0),
        (Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=LONG_S), False, 0),
        (Fault(FaultKind.STALLED_STREAM, delay_s=LONG_S), False, count_tokens(ANSWER)),
    ],
)
@pytest.mark.parametrize("rudely", [False, True])
def test_an_abort_is_billed_for_what_was_generated(
    fault: Fault, stream: bool, output: int, rudely: bool
) -> None:
    """The client leaves while nothing comes: input and the tokens until then are on the bill."""
    with ChaosServer([fault]) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        client.sendall(request(content=body(stream=stream)))
        if output or stream:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        else:
            wait_until(lambda: len(server.injected) == 1)
        assert server.injected[0].outcome is Outcome.RUNNING
        assert server.bill.output_tokens == output  # running requests count with what they have cost so far
        if rudely:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert server.wait_idle()
        record = server.injected[0]
        assert record.outcome is Outcome.ABORTED
        assert record.billed.output_tokens == server.bill.output_tokens == output
        assert record.billed.input_tokens > 0


def wait_until(true: Callable[[], bool]) -> None:
    """Ask again and again; the server thread runs in between."""
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up, "never happened"


def test_stopping_hangs_up_on_everybody_and_bills_them() -> None:
    """Stalled, idle and half-sent requests end at once, and so does the thread."""
    before = set(threading.enumerate())
    server = ChaosServer([Fault(FaultKind.STALLED_STREAM, delay_s=LONG_S)] * 3).start()
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(5)]
    for client in clients[:3]:
        client.sendall(request(content=body(stream=True)))
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    clients[3].sendall(b"POST /v1/chat")
    server.stop()
    server.stop()
    for client in clients:
        try:
            while client.recv(65_536):
                pass
        except ConnectionResetError:
            pass
        client.close()
    assert set(threading.enumerate()) <= before
    assert [one.outcome for one in server.injected] == [Outcome.ABORTED] * 3
    assert server.bill.billed_requests == 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=60)


def test_two_hundred_clients_at_once_need_one_thread() -> None:
    """All 200 stall together, none waits for another, and no thread is added for them."""
    with ChaosServer(Scenario("x", (Rule(Fault(FaultKind.STALLED_STREAM, delay_s=LONG_S)),))) as server:
        threads = set(threading.enumerate())
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(200)]
        for client in clients:
            client.sendall(request(content=body(stream=True)))
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert set(threading.enumerate()) <= threads
        assert [one.outcome for one in server.injected] == [Outcome.RUNNING] * 200
        for client in clients:
            client.close()
        assert server.wait_idle()
        assert server.bill.billed_requests == 200


def test_two_hundred_threads_get_their_answers() -> None:
    """A barrier lets 200 clients go together; every answer is whole and billed once."""
    barrier = threading.Barrier(200)
    answers: deque[str] = deque()

    def client(server: ChaosServer) -> None:
        barrier.wait()
        answers.append(content(post(server)[2]))

    with ChaosServer() as server:
        threads = [threading.Thread(target=client, args=(server,)) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(answers) == [ANSWER] * 200
        assert (server.bill.requests, server.bill.billed_requests) == (200, 200)
        assert [one.sequence for one in server.injected] == list(range(1, 201))


def test_connections_are_bounded() -> None:
    """The third of two allowed connections is hung up on; when one ends there is room again."""
    with ChaosServer(max_connections=2) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(2)]
        for client in held:
            client.sendall(request())
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert raw(server) == b""
        held.pop().close()
        wait_until(lambda: "1 connection" in repr(server))
        assert post(server)[0] == 200
        held.pop().close()


def test_a_key_can_be_asked_for_and_is_never_kept() -> None:
    """A wrong key gets a 401; no part of the server holds a key that a client sent."""
    secret = "sk-very-secret-key"
    with ChaosServer(api_key="sk-right") as server:
        assert post(server, headers={"authorization": f"Bearer {secret}"})[0] == 401
        assert post(server, headers={"x-api-key": "sk-right"}, path="/v1/messages")[0] == 400  # no max_tokens
        assert post(server, headers={"authorization": "Bearer sk-right"})[0] == 200
        with_query = "/v1/chat/completions?api-version=2026-01-01"
        assert post(server, headers={"x-api-key": "sk-right"}, path=with_query)[0] == 200
        assert server.injected[-1].path == "/v1/chat/completions"
        assert post(server, headers={"x-api-key": secret}, path=f"/v1/messages?key={secret}")[0] == 401
        assert secret not in server.report()
        assert secret not in held_text(server)


def held_text(thing: object, seen: set[int] | None = None) -> str:
    """All text that an object of this package holds, at any depth."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return ""
    seen.add(id(thing))
    if isinstance(thing, str):
        return thing + "\n"
    if isinstance(thing, (bytes, bytearray)):
        return thing.decode("latin-1") + "\n"
    inner: list[object] = []
    if isinstance(thing, Mapping):
        inner = [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset, deque)):
        inner = list(thing)
    elif type(thing).__module__.startswith("techrevati."):
        names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
        inner = [getattr(thing, name, None) for name in names]
    return "".join(held_text(one, seen) for one in inner)


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_a_sleep_of_your_own(colour: str) -> None:
    """It gets real seconds, scenario time divided by speed, and nothing really waits."""
    slept: list[float] = []

    async def asleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    before = set(threading.enumerate())
    fault = Fault(FaultKind.STALLED_STREAM, delay_s=600.0)
    sleep = slept.append if colour == "plain" else asleep
    with ChaosServer([fault], speed=60.0, sleep=sleep) as server:
        assert post(server, body(stream=True))[2].endswith(b"data: [DONE]\n\n")
        assert server.injected[0].outcome is Outcome.COMPLETE
    assert slept == [10.0]
    assert set(threading.enumerate()) <= before


def test_a_clock_of_your_own() -> None:
    """Windows open and close when that clock says so."""
    now_s = [50.0]
    scenario = Scenario("x", (Rule(Fault(FaultKind.UNAVAILABLE), from_s=10.0, until_s=20.0),))
    with ChaosServer(scenario, clock=lambda: now_s[0]) as server:
        seen: list[int] = []
        for after_s in (0.0, 10.0, 19.0, 20.0):
            now_s[0] = 50.0 + after_s
            seen.append(post(server)[0])
        assert seen == [200, 503, 503, 200]
        assert [one.arrived_s for one in server.injected] == [0.0, 10.0, 19.0, 20.0]


def test_a_failing_sleep_ends_the_connection_only() -> None:
    """The request is billed as aborted and the server goes on."""

    def fails(seconds: float) -> None:
        raise OSError(seconds)

    with ChaosServer([Fault(FaultKind.SLOW_FIRST_TOKEN)], sleep=fails) as server:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            post(server)
        assert server.injected[0].outcome is Outcome.ABORTED
        assert post(server)[0] == 200


def test_scenarios_by_name_path_and_list(tmp_path: Path) -> None:
    """All three ways, and what is none of them."""
    (tmp_path / "mine.toml").write_text('[[rule]]\nfault = "server_error"\n')
    with ChaosServer(tmp_path / "mine.toml") as server:
        assert post(server)[0] == 500
    with ChaosServer("quota-exhausted") as server:
        assert [post(server)[0] for _ in range(6)] == [200] * 5 + [429]
        assert "insufficient_quota" in post(server)[2].decode()
        assert server.verdict().names == ("retried-non-retryable",)
    with pytest.raises(TypeError, match="scenario must be"):
        ChaosServer(["reset"])  # type: ignore[list-item]


def test_a_server_starts_once_and_only_where_it_can() -> None:
    """Mistakes are named; a port that is taken says so."""
    with ChaosServer() as server:
        with pytest.raises(
            ChaosServerError, match=f"cannot listen on 127.0.0.1:{server.port}: Address already"
        ):
            ChaosServer(port=server.port).start()
        with pytest.raises(ChaosServerError, match="starts once"):
            server.start()
        assert f":{server.port}" in repr(server)
    assert "not running" in repr(server)
    with pytest.raises(ChaosServerError, match="before start") as caught:
        ChaosServer().base_url  # noqa: B018
    assert isinstance(caught.value, TechrevatiError)
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 0}, "speed must be a number > 0, got 0"),
        ({"speed": float("nan")}, "speed"),
        ({"port": 70_000}, "port must be an integer from 0 to 65535, got 70000"),
        ({"host": ""}, "host must be a non-empty string"),
        ({"history": 0}, "history must be an integer >= 1, got 0"),
        ({"max_body_bytes": 0}, "max_body_bytes must be an integer >= 1"),
        ({"scenario": "nightmare"}, "no such scenario"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], words: str) -> None:
    """At once, before anything is started."""
    with pytest.raises(ValueError, match=words):
        ChaosServer(**options)  # type: ignore[arg-type]


def test_the_report_has_requests_bill_and_verdict() -> None:
    """What was injected, what it cost, and what the client did wrong."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=30.0), None, None], history=2) as server:
        for _ in range(3):
            post(server)
        text = server.report()
    assert "complete" in text
    assert "(1 older requests are no longer listed; the bill has them)" in text
    total = next(line for line in text.splitlines() if line.startswith("total"))
    assert total.split()[:3] == ["total", "3", "2"]
    assert text.endswith("no findings")


def test_a_listener_hears_of_every_request() -> None:
    """In the order of their ends, before the client has the last byte; one that raises disturbs nobody."""
    heard: list[int] = []

    def listen(record: InjectedRecord) -> None:
        heard.append(record.sequence)
        raise ValueError(record)

    with ChaosServer([Fault(FaultKind.UNAVAILABLE)], on_request=listen) as server:
        for number in (1, 2):
            post(server)
            assert heard == list(range(1, number + 1))


def test_ids_repeat_with_their_seed_and_run_only() -> None:
    """Two servers share ids when they are given both; of themselves no two servers do."""

    def ids(seed: int, run_id: str | None) -> list[str]:
        with ChaosServer(seed=seed, run_id=run_id) as server:
            answer = post(server)
            return [json.loads(answer[2])["id"], answer[1]["x-request-id"]]

    assert ids(1, "nightly") == ids(1, "nightly")
    assert not set(ids(1, "nightly")) & set(ids(2, "nightly"))
    assert not set(ids(1, "nightly")) & set(ids(1, "weekly"))
    assert not set(ids(1, None)) & set(ids(1, None))


def test_clients_that_hang_up_while_it_stops_leave_no_socket() -> None:
    """A connection that is just being accepted when the server stops is closed with it."""
    script = """
import gc, socket, warnings
warnings.simplefilter("error")
from techrevati.runtime.chaos import ChaosServer
for _ in range(40):
    with ChaosServer() as server:
        socket.create_connection(("127.0.0.1", server.port)).close()
gc.collect()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
