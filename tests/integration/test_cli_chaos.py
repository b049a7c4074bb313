"""``techrevati chaos`` as a process: it serves, tells, judges and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from techrevati.runtime.cli import main


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and the base URL that it names."""
    process = subprocess.Popen(
        [sys.executable, "-m", "techrevati.runtime", "chaos", "--seconds", "60", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"base_url=(\S+/v1)", line)
            if found:
                yield process, found[1]
                break
    finally:
        process.kill()
        process.communicate()


def ask(base_url: str, key: str = "sk-of-a-client-1234567890") -> int:
    """The status of one chat completion."""
    body = json.dumps({"model": "chaos-small", "messages": [{"role": "user", "content": "Hello?"}]})
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{base_url}/chat/completions", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended_and_then_reports(ending: signal.Signals) -> None:
    """Each request is a line; the end shows the bill and the verdict, and no key anywhere."""
    with serving("--scenario", "quota-exhausted") as (process, base_url):
        assert [ask(base_url) for _ in range(6)] == [200] * 5 + [429]
        process.send_signal(ending)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors == ""
    assert "quota_exhausted" in output
    assert "Bill (tokens)" in output
    assert "no findings" in output
    assert "sk-of-a-client" not in output


def test_judge_makes_a_finding_the_exit_status() -> None:
    """Asking again what cannot succeed is a finding."""
    with serving("--scenario", "quota-exhausted", "--judge") as (process, base_url):
        for _ in range(8):
            ask(base_url)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "retried-non-retryable" in output


def test_only_the_key_of_the_environment_is_let_in() -> None:
    """Others get 401, and the key is not shown."""
    with serving(TECHREVATI_CHAOS_KEY="sk-the-right-one-12345") as (process, base_url):
        assert ask(base_url) == 401
        assert ask(base_url, "sk-the-right-one-12345") == 200
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert "sk-the-right-one" not in output


def test_it_names_the_bundled_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, the name first."""
    assert main(["chaos", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    bundled = {"brownout", "outage", "rate-limited", "quota-exhausted", "flaky-stream", "context-overflow"}
    assert set(names) == bundled


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--scenario", "nowhere"], "nowhere: no such scenario"),
        (["--speed", "0"], "speed"),
        (["--port", "70000"], "70000"),
        (["--seconds", "nan"], "--seconds"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
    ],
)
def test_what_cannot_begin_is_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and one line that names the argument."""
    assert main(["chaos", "--seconds", "0.01", *arguments]) == 2
    written = capsys.readouterr()
    assert reason in written.err
    assert written.err.count("\n") == 1
