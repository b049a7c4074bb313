"""Requests out of bytes: however they are cut, with every bound, and against h11 as an oracle."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import h11
import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.chaos.http_reader import HttpRequest, MalformedRequestError, RequestReader


def read(sent: bytes, *, cuts: list[int] | None = None, limit: int = 1_000) -> list[HttpRequest]:
    """All requests in *sent*, given to the reader in pieces that end at *cuts*."""
    reader = RequestReader(limit)
    found: list[HttpRequest] = []
    edges = sorted({0, len(sent), *(cut % (len(sent) + 1) for cut in cuts or [])})
    for start, end in pairwise(edges):
        reader.feed(sent[start:end])
        while (request := reader.taken()) is not None:
            found.append(request)
    return found


def chunked(*lines: str, head: str = "POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n") -> bytes:
    return (head + "\r\n".join(lines)).encode()


@given(
    bodies=st.lists(st.tuples(st.binary(max_size=40), st.booleans()), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 2_000), max_size=30),
    size=st.integers(1, 17),
)
def test_pieces_do_not_matter_and_h11_agrees(
    bodies: list[tuple[bytes, bool]], cuts: list[int], size: int
) -> None:
    """Pipelined requests that h11 wrote, with lengths and in chunks, come out whole and in order."""
    sent = b""
    for body, in_chunks in bodies:
        client = h11.Connection(h11.CLIENT)
        framing = ("transfer-encoding", "chunked") if in_chunks else ("content-length", str(len(body)))
        request = h11.Request(method="POST", target="/v1/x", headers=[("host", "a"), framing])
        sent += client.send(request) or b""
        for start in range(0, len(body), size):
            sent += client.send(h11.Data(data=body[start : start + size])) or b""
        sent += client.send(h11.EndOfMessage()) or b""
    found = read(sent, cuts=cuts)
    assert [one.body for one in found] == [body for body, _ in bodies]
    assert all(
        (one.method, one.target, one.modern, one.too_large) == ("POST", "/v1/x", True, False) for one in found
    )


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_no_bytes_break_the_reader(sent: bytes, cuts: list[int]) -> None:
    """Whatever comes is a request, half of one, or refused by name."""
    for prefix in (b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"):
        with suppress(MalformedRequestError):
            read(prefix + sent, cuts=cuts)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\ncontent-length : 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nfolded: a\r\n b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nno header at all\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: \xc2\xb2\r\n\r\n", 400),
        (b"POST  HTTP/1.1\r\n\r\n", 400),
        (b"PO ST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/2.0\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000, 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 400),
        (chunked("x", ""), 400),
        (chunked("-1", ""), 400),
        (chunked("+5", "abcde", ""), 400),
        (chunked("0x5", "abcde", ""), 400),
        (chunked("", ""), 400),
        (chunked("5", "abcdefg", ""), 400),
        (chunked("1" * 5_000), 400),
        (chunked("0", *["a"] * 40_000), 400),
        (chunked("0", *["t: " + "x" * 1_000] * 70), 400),
        (chunked(*["1;" + "e" * 1_000, "a"] * 70), 400),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(sent: bytes, status: int) -> None:
    """Lengths, chunks, folds and everything without an end."""
    with pytest.raises(MalformedRequestError) as caught:
        read(sent)
    assert caught.value.status == status


def test_bodies_are_bounded_by_what_comes() -> None:
    """A told length, one large chunk or many small ones: over the limit the body is thrown away."""
    for sent in (
        b"POST / HTTP/1.1\r\ncontent-length: 11\r\n\r\n",
        chunked("b", ""),
        chunked("ffffffffffffffff", ""),
        chunked("5", "abcde", "6", "fghijk", "0", "", ""),
    ):
        (request,) = read(sent, limit=10)
        assert (request.too_large, request.body) == (True, b"")
    (request,) = read(chunked("5;a=b", "abcde", "0005 ", "fghij", "0", "trailer: x", "", ""), limit=10)
    assert request.body == b"abcdefghij"


def test_what_a_client_may_do() -> None:
    """Empty lines before a request, a length said twice alike, HTTP/1.0 with and without keep-alive."""
    same = b"\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx"
    assert read(same)[0].body == b"x"
    for version, wish, stays in (
        ("1.1", "", True),
        ("1.1", "connection: close\r\n", False),
        ("1.1", "connection: x-y, Close\r\n", False),
        ("1.0", "", False),
        ("1.0", "connection: keep-alive\r\n", True),
    ):
        assert read(f"GET / HTTP/{version}\r\n{wish}\r\n".encode())[0].keep_open is stays


def test_a_secret_in_a_header_is_in_no_repr() -> None:
    """Neither headers nor bodies are shown."""
    request = read(b"POST / HTTP/1.1\r\nx-api-key: sk-hidden\r\ncontent-length: 2\r\n\r\nab")[0]
    assert "hidden" not in repr(request)
    assert "ab'" not in repr(request)
