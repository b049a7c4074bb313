"""A stranger on raw sockets: chunks, halves, nonsense, bugs in the server, and stopping in the middle."""

from __future__ import annotations

import http.client
import json
import logging
import random
import socket
import threading
from typing import Any

import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Outcome, endpoint as endpoint_module
from tests.integration.test_chaos_server import ANSWER, LONG_S, body, content, post, raw, request, wait_until


def chunks(payload: bytes, size: int = 7) -> bytes:
    """*payload* in chunks."""
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nx-sum: 1\r\n\r\n"


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n"


def test_a_body_may_come_in_chunks() -> None:
    """From http.client, byte by byte, and with a request behind it on the same connection."""
    with ChaosServer() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request(
            "POST", "/v1/chat/completions", iter([body()[:9], body()[9:]]), encode_chunked=True
        )
        assert content(connection.getresponse().read()) == ANSWER
        connection.close()
        sent = (
            CHUNKED + b"\r\n" + chunks(body()) + CHUNKED + b"connection: close\r\n\r\n" + chunks(body(), 64)
        )
        for parts in ([sent], [sent[index : index + 1] for index in range(len(sent))]):
            assert raw(server, *parts).count(b"HTTP/1.1 200 OK") == 2
        assert len({one.digest for one in server.injected}) == 1


def half_closed(server: ChaosServer, sent: bytes) -> bytes:
    """Send, close the sending half, and read to the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while more := client.recv(65_536):
            received += more
        return received


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "kind", [None, FaultKind.SLOW_FIRST_TOKEN, FaultKind.SLOW_STREAM, FaultKind.STALLED_STREAM]
)
def test_a_client_that_closes_its_half_gets_all_of_its_answers(kind: FaultKind | None, stream: bool) -> None:
    """Two requests, then nothing more to send: both are answered whole, also after a wait."""
    paused = threading.Event()
    waiting = threading.Event()

    def sleep(seconds: float) -> None:
        waiting.set()
        paused.wait(30)

    with ChaosServer([Fault(kind) if kind else None], sleep=sleep) as server:
        answers: list[bytes] = []
        sent = request(content=body(stream=stream))
        client = threading.Thread(target=lambda: answers.append(half_closed(server, sent * 2)))
        client.start()
        if kind:
            assert waiting.wait(30)
            probes = threading.Event()
            assert server._loop is not None
            server._loop.call_soon_threadsafe(
                server._loop.call_later, 0.15, probes.set
            )  # two probes are over
            assert probes.wait(30)
        paused.set()
        client.join()
        assert answers[0].count(b"HTTP/1.1 200 OK") == 2
        assert answers[0].count(b"data: [DONE]" if stream else ANSWER.encode()) == 2
        assert b"\0" not in answers[0]
        assert [one.outcome for one in server.injected] == [Outcome.COMPLETE] * 2


def test_half_a_request_and_half_a_connection_end() -> None:
    """Nobody will send the rest."""
    with ChaosServer() as server:
        for sent in (b"", b"POST /v1/ch", request()[:-5]):
            assert half_closed(server, sent) == b""
        assert server.injected == ()
        wait_until(lambda: "0 connections" in repr(server))


def test_a_bug_in_the_server_is_an_answer_and_a_record(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """500 in the provider's shape with a request id; not billed, logged, and the connection goes on."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with ChaosServer() as server, monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(endpoint_module, "extractive_reply", broken)
        status, headers, answer = post(server)
        assert (status, json.loads(answer)["error"]["type"]) == (500, "server_error")
        assert headers["x-request-id"] == server.injected[0].request_id
        status, headers, answer = post(server, body(max_tokens=5), path="/v1/messages")
        assert (status, json.loads(answer)["error"]["type"]) == (500, "api_error")
        assert json.loads(answer)["request_id"] == headers["request-id"] == server.injected[1].request_id
        received = raw(server, request() + request("connection: close"))
        assert received.count(b"HTTP/1.1 500 ") == 2
        patch.undo()
        assert post(server)[0] == 200
        assert [one.outcome for one in server.injected] == [Outcome.FAILED] * 4 + [Outcome.COMPLETE]
        assert (server.bill.requests, server.bill.billed_requests) == (5, 1)
    assert "ZeroDivisionError: a bug" in caplog.text
    assert capfd.readouterr().err == ""


def test_every_refusal_of_http_has_a_request_id_and_a_body() -> None:
    """400 and 501 are JSON; other methods get 405; HEAD gets no body and keeps the connection in order."""
    with ChaosServer() as server:
        for sent, status in (
            (b"nonsense\r\n\r\n", 400),
            (CHUNKED + b"\r\nzz\r\n", 400),
            (CHUNKED.replace(b"chunked", b"br") + b"\r\n", 501),
        ):
            head, _, answer = raw(server, sent).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"x-request-id: req_" in head
            assert json.loads(answer)["error"]["type"] == "invalid_request_error"
        for path, header in (("/v1/chat/completions", "x-request-id"), ("/v1/messages", "request-id")):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            for method in ("HEAD", "PUT", "DELETE", "HEAD"):
                connection.request(method, path)
                response = connection.getresponse()
                assert response.status == 405
                assert str(response.getheader(header)).startswith("req_")
                assert bool(response.read()) is (method != "HEAD")
            connection.close()
        assert [one.outcome for one in server.injected] == [Outcome.INVALID] * 8


def test_random_bytes_never_disturb_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    """Pieces of requests, cut, doubled and left in the middle; then it still serves, and is idle."""
    rng = random.Random(7)
    pieces = [
        request(),
        request(content=body(stream=True)),
        CHUNKED + b"\r\n" + chunks(body()),
        b"\r\n",
        b"0\r\n\r\n",
        b"\x00\xff" * 9,
        b"expect: 100-continue\r\n",
        request(version="1.0"),
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nconnection: keep-alive\r\n\r\n",
    ]
    kinds = (FaultKind.RESET, FaultKind.TRUNCATED_BODY, FaultKind.WRONG_JSON, FaultKind.UNAVAILABLE, None)
    script = [Fault(kind) if kind else None for kind in (rng.choice(kinds) for _ in range(200))]
    with ChaosServer(script) as server:
        for _ in range(150):
            sent = b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 5)))
            if rng.random() < 0.5:
                sent = sent[: rng.randrange(len(sent) + 1)]
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
                try:
                    for start in range(0, len(sent), 97):
                        client.sendall(sent[start : start + 97])
                    if rng.random() < 0.5:
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(65_536):
                            pass
                except OSError:
                    pass
        assert server.wait_idle()
        assert all(one.outcome is not Outcome.FAILED for one in server.injected)
        with_answer = [one for one in server.injected if one.billed.input_tokens]
        assert server.bill.billed_requests == len(with_answer)
    assert capfd.readouterr().err == ""


def test_stopping_while_hundreds_stream_is_clean(capfd: pytest.CaptureFixture[str]) -> None:
    """200 slow streams, then stop from two threads: all are billed for what they got, and nothing is left."""
    before = set(threading.enumerate())
    fault: Any = Fault(FaultKind.STALLED_STREAM, delay_s=LONG_S, after_tokens=3)
    server = ChaosServer([fault] * 200).start()
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(200)]
    for client in clients:
        client.sendall(request(content=body(stream=True)))
    for client in clients:
        assert client.recv(100)
    stoppers = [threading.Thread(target=server.stop) for _ in range(2)]
    for one in stoppers:
        one.start()
    for one in stoppers:
        one.join()
    for client in clients:
        client.close()
    assert set(threading.enumerate()) <= before
    assert {(one.outcome, one.billed.output_tokens) for one in server.injected} == {(Outcome.ABORTED, 3)}
    assert server.bill.output_tokens == 600
    assert capfd.readouterr().err == ""


def test_an_abort_in_the_middle_of_a_pipeline_spares_what_was_answered() -> None:
    """The first is complete and billed whole; the second was under way; the third was never begun."""
    faults = [None, Fault(FaultKind.STALLED_STREAM, after_tokens=2, delay_s=LONG_S)]
    with ChaosServer(faults) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        client.sendall(request() + request(content=body(stream=True)) + request())
        wait_until(lambda: len(server.injected) == 2 and server.bill.output_tokens > 2)
        received = b""
        while received.count(b"data: ") < 3:
            received += client.recv(65_536)
        client.close()
        assert server.wait_idle()
        assert [one.outcome for one in server.injected] == [Outcome.COMPLETE, Outcome.ABORTED]
        assert server.injected[1].billed.output_tokens == 2
