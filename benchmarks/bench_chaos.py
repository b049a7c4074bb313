"""The chaos server: from nothing to its first answer, and 200 clients at once.

The first figures are taken inside fresh interpreters, up to the last byte of the answer; the last one is the
time in which 200 clients that ask together get a whole answer each, divided by 200.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys

from benchmarks.environment import ROOT
from benchmarks.harness import Aim, Effort, Figure, WrongAnswerError

CLIENTS = 200
FIRST = Aim(0.2, "s", strictly=True)
_BODY = json.dumps({"model": "chaos-small", "messages": [{"role": "user", "content": "Hello?"}]}).encode()
_REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_SCRIPT = f"""
import sys, socket
sys.path.append({str(ROOT)!r})
from time import perf_counter as clock
start = clock()
from techrevati.runtime.chaos import ChaosServer
imported = clock()
with ChaosServer() as server:
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall({_REQUEST!r})
    answer = b""
    while more := client.recv(65_536):
        answer += more
    answered = clock()
    client.close()
assert answer.startswith(b"HTTP/1.1 200 ") and b'"finish_reason":"stop"' in answer
print(answered - start, answered - imported)
"""


def first_answer() -> tuple[float, float]:
    """Seconds to the first answer in a fresh interpreter: with the import, and from the constructor on."""
    done = subprocess.run([sys.executable, "-I", "-c", _SCRIPT], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongAnswerError(f"first answer: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    whole, started = done.stdout.split()
    return float(whole), float(started)


def together(effort: Effort) -> float:
    """Seconds per answer when all clients ask at once."""
    from techrevati.runtime.chaos import ChaosServer

    with ChaosServer() as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CLIENTS)]
        start = effort.clock()
        for client in clients:
            client.sendall(_REQUEST)
        for client in clients:
            answer = b""
            while more := client.recv(65_536):
                answer += more
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise WrongAnswerError(f"one of {CLIENTS} clients got {answer[:40]!r}")
        took = effort.clock() - start
        for client in clients:
            client.close()
        if server.bill.billed_requests != CLIENTS:
            raise WrongAnswerError(f"{server.bill.billed_requests} of {CLIENTS} requests are on the bill")
    return took / CLIENTS


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun; there are no peers."""
    first_answer()
    taken = [first_answer() for _ in range(effort.processes)]
    crowd = [together(effort) for _ in range(max(3, effort.processes // 5))]
    what = "chaos server, first answer"
    return [
        Figure(what, "ours, with the import", statistics.median(one[0] for one in taken), aim=FIRST),
        Figure(what, "ours, from the constructor", statistics.median(one[1] for one in taken), aim=FIRST),
        Figure(f"chaos server, {CLIENTS} clients at once", "ours, per answer", statistics.median(crowd)),
    ]
