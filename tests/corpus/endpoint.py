"""A loopback server that answers every request with what was put into it last."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What may happen to a connection instead of an answer.
RESET, CLOSED, CUT, SILENT, GARBAGE = "reset", "closed", "cut", "silent", "garbage"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        endpoint: Endpoint = self.server.endpoint  # type: ignore[attr-defined]
        if endpoint.accident:
            return self._accident(endpoint)
        self.send_response_only(endpoint.status)
        self.close_connection = True  # the next case must not meet what is left of this one
        headers = {
            "content-type": "application/json",
            "content-length": str(len(endpoint.body)),
            "connection": "close",
        }
        for name, value in {**headers, **endpoint.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(endpoint.body)
        return None

    def _accident(self, endpoint: Endpoint) -> None:
        self.close_connection = True
        if endpoint.accident == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif endpoint.accident == CUT:
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"
            )
        elif endpoint.accident == GARBAGE:
            self.wfile.write(b"\x00\x01 what is this\r\n\r\n")
        elif endpoint.accident == SILENT:
            endpoint.released.wait(5)

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *args: Any) -> None:
        pass  # clients of this server go away in the middle; that is what it is for


class Endpoint:
    """Use as a context; ``answer`` or ``fail`` before each request."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"{}"
        self.headers: Mapping[str, str] = {}
        self.accident = ""
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.endpoint = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Endpoint:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers, self.accident = status, body, headers or {}, ""

    def fail(self, accident: str) -> None:
        self.released.set()
        self.released = threading.Event()
        self.accident = accident


def closed_url() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def moment(seconds: float) -> str:
    """An HTTP date, *seconds* since 1970."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
