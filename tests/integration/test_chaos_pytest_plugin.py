"""The ``chaos_server`` fixture in a test suite of its own, run by a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SUITE = """
import http.client, json, sys, threading
import pytest


def status(server, text="hello"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    found = connection.getresponse().status
    connection.close()
    return found


def test_nothing_is_loaded_before_it_is_used():
    assert "techrevati.runtime.chaos.server" not in sys.modules


def test_calm(chaos_server):
    assert status(chaos_server) == 200
    chaos_server.verdict(declared_requests=1).raise_for_findings()


@pytest.mark.chaos("outage", speed=60)
def test_marked(chaos_server):
    assert (chaos_server.scenario.name, chaos_server.speed) == ("outage", 60)


def test_several(chaos_server):
    from techrevati.runtime.chaos import Fault
    other = chaos_server([Fault("unavailable")], seed=3)
    assert (status(chaos_server), status(other), other.seed) == (200, 503, 3)
    with chaos_server([Fault("unavailable")]) as third:
        assert status(third) == 503
    with pytest.raises(Exception, match="starts once"), third:
        pass


def test_all_have_stopped():
    assert [one.name for one in threading.enumerate() if one.name.startswith("chaos")] == []


def test_a_client_that_misbehaves_fails(chaos_server):
    from techrevati.runtime.chaos import Fault
    other = chaos_server([Fault("quota_exhausted")] * 2)
    status(other), status(other)
    other.verdict().raise_for_findings()
"""


def test_the_fixture(tmp_path: Path) -> None:
    """A running server, marked options, further servers, and findings that fail a test."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        "-W",
        "error",
    ]
    loaded = ["-p", "techrevati.runtime.chaos.pytest_plugin"]
    done = subprocess.run(
        [*command, *loaded, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 failed, 5 passed" in done.stdout, done.stdout + done.stderr
    assert "VerdictError: retried-non-retryable: quota_exhausted was tried again" in done.stdout
