"""Planted secrets are in nothing that is kept or shown; what goes to the model is as the user wrote it.

Two runs leave everything there is to leave: the demo, killed and gone on with, and a session that uses
ledger, budget, journal, approvals, guardrails, sinks, traces and a guarded client.  Then every byte is looked
at.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from techrevati.runtime import (
    AgentEventName,
    AgentEventStatus,
    Approvals,
    Budget,
    CircuitBreaker,
    FanOutEventSink,
    Journal,
    JsonlEventSink,
    LoggingSink,
    LoopDetection,
    Orchestrator,
    Recorder,
    Recovery,
    Replayer,
    Retry,
    RingBufferEventSink,
    SecretsGuardrail,
    SpendLedger,
    SqliteStore,
    ToolCall,
)
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.cli import main
from techrevati.runtime.failures import classify
from techrevati.runtime.integrations import coverage, guard
from techrevati.runtime.otel import OpenTelemetryRunSink

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 120.0
# What is looked for, and how it is written down where it is planted.
PLANTED = {
    "openai": ("sk-proj-Pl4ntedOpenAi0123456789abcdefghijklmnopqrstuv", "{}"),
    "anthropic": ("sk-ant-api03-Pl4ntedAnthropic0123456789abcdefghij-AA", "{}"),
    "bearer": ("Pl4ntedBearer.0123456789abcdefghij", "Authorization: Bearer {}"),
    "x-api-key": ("Pl4ntedHeaderKey0123456789abcdef", "x-api-key: {}"),
}
WRITTEN = {name: frame.format(secret) for name, (secret, frame) in PLANTED.items()}
ALL = "; ".join(WRITTEN.values())
ENVIRONMENT = {
    "OPENAI_API_KEY": "Pl4ntedEnvironmentOpenAi01234567",
    "DEPLOY_TOKEN": "Pl4ntedEnvironmentToken0123456789",
}
PASSWORD = "Pl4ntedPassword0123"
MARK = "Pl4nted"  # in each of them


def found(name: str, text: str | bytes) -> list[str]:
    """Where a planted secret is in *text*, with what stands around it."""
    raw = text.encode() if isinstance(text, str) else text
    return [
        f"{name}: …{raw[max(0, hit.start() - 90) : hit.end() + 30]!r}…"
        for hit in re.finditer(MARK.encode(), raw)
    ]


def in_files(folder: Path) -> list[str]:
    """Every file as bytes, and of every database each row, as pages may cut a text in two."""
    leaks: list[str] = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        leaks += found(path.name, path.read_bytes())
        if path.suffix == ".db":
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                tables = [
                    row[0]
                    for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                ]
                for table in tables:
                    for row in connection.execute(f'SELECT * FROM "{table}"'):
                        for cell in row:
                            leaks += found(
                                f"{path.name}:{table}", cell if isinstance(cell, bytes) else str(cell)
                            )
            finally:
                connection.close()
    return leaks


@pytest.fixture
def planted_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


# --- the demo ----------------------------------------------------------------------------------------------


def test_a_demo_leaves_no_secret(tmp_path: Path) -> None:
    """In its environment, its question and the files it reads; killed and gone on with."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "tides.md").write_text("# Tides\n\nThe tide turns at noon.\n\nBoats wait.", encoding="utf-8")
    (texts / "notes.md").write_text(
        "# Notes about the tide\n\n"
        + "\n".join(f"The tide needs {one} to turn." for one in WRITTEN.values()),
        encoding="utf-8",
    )
    out = tmp_path / "out"
    out.mkdir()
    question = f"When does the tide turn? We use {ALL}"
    environment = {**os.environ, **ENVIRONMENT, "TECHREVATI_API_KEY": WRITTEN["openai"]}
    shown = b""
    for arguments in (
        ["../texts", "--question", question, "--kill-at", "12"],
        ["--resume"],
        ["--resume", "--question", question],
        [
            "../texts",
            "--question",
            question,
            "--base-url",
            f"http://user:{PASSWORD}@127.0.0.1:9/v1",
            "--model",
            "m",
        ],
        [
            "../texts",
            "--question",
            question,
            "--base-url",
            f"http://127.0.0.1:9/v1?key={PASSWORD}",
            "--model",
            "m",
        ],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "techrevati.runtime", "demo", *arguments],
            cwd=out,
            env=environment,
            capture_output=True,
            timeout=BOUND_S,
            check=False,
        )
        shown += done.stdout + done.stderr
    assert b"the question held a secret, which was not kept; give --question once more" in shown
    assert b"2 lives" in shown
    assert shown.count(b"in doubt") >= 1
    assert {"runs.db", "spend.db", "events.jsonl", "report.html", "demo-answers.md", "demo-bill.jsonl"} <= {
        one.name for one in out.iterdir()
    }
    assert [*found("output", shown), *in_files(out)] == []


# --- a session that uses everything ------------------------------------------------------------------------


class Kept:
    """What a run leaves outside its folder: texts by where they were found."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def keep(self, name: str, *values: object) -> None:
        """The str, the repr and, of errors, the chain, the traceback and the pickle."""
        for value in values:
            self.texts += [(f"str of {name}", str(value)), (f"repr of {name}", repr(value))]
            if isinstance(value, BaseException):
                self.texts.append((f"facts of {name}", repr(getattr(value, "__dict__", None))))

    def refused(self, name: str, call: Callable[[], object]) -> BaseException:
        """What *call* raises, kept."""
        try:
            call()
        except Exception as error:
            self.keep(name, error)
            return error
        raise AssertionError(f"{name}: nothing was raised")


def _interrupted() -> None:
    raise KeyboardInterrupt(ALL)


def everything(folder: Path, kept: Kept, sent: list[str]) -> None:
    """One life of a run, with what can go wrong."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = OpenTelemetryRunSink(provider.get_tracer("t"), error_texts=True)
    ring = RingBufferEventSink(1000)
    jsonl = JsonlEventSink(folder / "events.jsonl")
    log = logging.getLogger("planted")
    handler = logging.FileHandler(folder / "log.txt")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    library = logging.getLogger("techrevati")
    for one in (log, library):
        one.addHandler(handler)
        one.setLevel(logging.DEBUG)
    sink = FanOutEventSink(jsonl, ring, traces, LoggingSink(log))
    store = SqliteStore(folder / "runs.db")
    ledger = SpendLedger(folder / "spend.db")
    budget = Budget("all", 1.0, ledger=ledger)
    approvals = Approvals(store)
    faults = [
        None,
        Fault(FaultKind.SERVER_ERROR, message=f"upstream said {ALL}"),
        Fault(FaultKind.RESET),
        Fault(FaultKind.INVALID_KEY, message=f"Incorrect API key provided: {WRITTEN['openai']}"),
    ]

    def record(request: Any) -> None:
        sent.append(request.content.decode())

    with ChaosServer(faults, models=("gpt-4o",)) as server:
        base_url = f"http://user:{PASSWORD}@127.0.0.1:{server.port}/v1"
        plain = openai.OpenAI(api_key=PLANTED["openai"][0], base_url=base_url, max_retries=0)
        plain._client.event_hooks["request"].append(record)
        client = guard(
            plain,
            project="p",
            user="u",
            ledger=ledger,
            budget=budget,
            event_sink=sink,
            retry=Retry(1),
            breaker=CircuitBreaker("provider", failure_threshold=100),
        )

        def ask(prompt: str) -> Any:
            messages: Any = [{"role": "user", "content": prompt}]
            return client.chat.completions.create(model="gpt-4o", messages=messages, max_completion_tokens=50)

        agent = Orchestrator(
            "clerk",
            "billing",
            project_id="p",
            journal=Journal(store),
            run_id="run-1",
            ledger=ledger,
            budget=budget,
            event_sink=sink,
            loop_detection=LoopDetection(),
            max_iterations=50,
        )

        def fail(**given: object) -> object:
            raise RuntimeError(f"the tool said {ALL} for {given}")

        def echo(**given: object) -> dict[str, object]:
            return {"seen": given, "headers": {"Authorization": f"Bearer {PLANTED['bearer'][0]}"}}

        with suppress(ZeroDivisionError), agent.session() as session:
            session.run_turn(ask, "gpt-4o", prompt=f"Look: {ALL}", input_tokens=200, max_output_tokens=50)
            for _ in ("server error", "reset", "refused key"):
                with suppress(openai.OpenAIError):
                    session.run_turn(
                        ask, "gpt-4o", prompt=f"Again: {ALL}", input_tokens=200, max_output_tokens=50
                    )
            session.run_tool("echo", echo, {"note": ALL, "api_key": PLANTED["x-api-key"][0]}, key="echo")
            with suppress(RuntimeError):
                session.run_tool("fail", fail, {"note": ALL}, key="fail")
            kept.refused(
                "pending", lambda: session.run_tool("pay", echo, {"note": ALL}, approval=approvals, key="pay")
            )
            results = session.run_tools(
                [ToolCall("fail", fail, {"note": ALL, "n": n}, key=f"p{n}") for n in (1, 2)]
            )
            assert [one.error is not None for one in results] == [True, True]
            session.step("step", lambda: {"text": ALL, "password": PLANTED["x-api-key"][0]})
            with suppress(ValueError):
                session.step("bad step", lambda: (_ for _ in ()).throw(ValueError(ALL)))
            session.emit(
                AgentEventName.AGENT_READY,
                AgentEventStatus.READY,
                None,
                f"ready with {ALL}",
                {"headers": {"x-api-key": PLANTED["x-api-key"][0]}, "note": ALL},
            )
            for _ in session.run_stream(
                lambda: iter([f"chunk {ALL}", "end"]),
                "gpt-4o",
                key="stream",
                input_tokens=9,
                max_output_tokens=9,
            ):
                pass
            kept.keep("session", session, session.worker, session.events, session.run, session.summary())
            raise ZeroDivisionError(f"ended by {ALL}")
        with suppress(ZeroDivisionError), agent.session() as session:  # from the record
            session.run_turn(ask, "gpt-4o", prompt=f"Look: {ALL}", input_tokens=200, max_output_tokens=50)
            kept.refused("mismatch", lambda: session.run_tool("x", echo, {"note": ALL}, key="echo"))
            raise ZeroDivisionError(ALL)
        with suppress(KeyboardInterrupt), Journal(store).open("run-2") as run:
            with suppress(RuntimeError):
                run.step("fail", fail, arguments={"note": ALL})
            kept.refused("not storable", lambda: run.step("object", object, arguments={"note": ALL}))
            run.step("doubt", _interrupted)
        with Journal(store).open("run-2") as run:
            kept.refused("recorded failure", lambda: run.step("fail", fail, arguments={"note": ALL}))
            kept.refused("lost", lambda: run.step("object", object, arguments={"note": ALL}))
            kept.refused("in doubt", lambda: run.step("doubt", object))

        recorder = Recorder(folder / "record.jsonl")
        with (
            suppress(RuntimeError),
            Orchestrator("clerk", "p", journal=recorder, event_sink=sink).session() as session,
        ):
            session.run_turn(lambda: {"text": ALL}, "gpt-4o")
            session.run_tool("fail", fail, {"note": ALL})
        with (
            suppress(Exception),
            Orchestrator("clerk", "p", journal=Replayer(folder / "record.jsonl")).session() as session,
        ):
            kept.keep("replayed", session.run)
            session.run_turn(lambda: {"text": ALL}, "gpt-4o")
            kept.refused("replayed failure", lambda: session.run_tool("fail", fail, {"note": ALL}))

        guarded = Orchestrator("clerk", "guarded", guardrails=[SecretsGuardrail()], event_sink=sink)
        with guarded.session() as session:
            kept.refused("guardrail before", lambda: session.run_tool("echo", echo, {"note": ALL}))
            kept.refused("guardrail after", lambda: session.run_tool("echo", lambda: ALL))
            kept.refused(
                "guardrail prompt", lambda: session.run_turn(lambda prompt: prompt, "gpt-4o", prompt=ALL)
            )
            session.handoff_to("other", f"because {ALL}", {"note": ALL})
        recovering = Orchestrator(
            "clerk", "recovering", recovery=Recovery(sleep=lambda _: None), event_sink=sink
        )
        with suppress(Exception), recovering.session() as session:
            session.run_turn(lambda: (_ for _ in ()).throw(ConnectionError(ALL)), "gpt-4o")

        kept.keep("failure", classify(RuntimeError(f"it said {ALL}")), classify(openai.OpenAIError(ALL)))
        kept.keep("client", client, agent, budget, ledger, approvals, store, coverage())
        kept.keep("approval", *approvals.list())
        kept.keep("chaos", server, *server.injected, server.report(), server.verdict(), server.bill)
        plain.close()
    kept.keep("journal", *Journal(store).runs(), *Journal(store).history("run-1"))
    traces.close()
    for span in exporter.get_finished_spans():
        kept.texts.append(("span", span.to_json()))
    kept.keep("ring", *ring.events)
    kept.keep("records", *ledger.records())
    ledger.export(folder / "spend.csv")
    ledger.export(folder / "spend.jsonl")
    jsonl.close()
    ledger.close()
    store.close()
    for one in (log, library):
        one.removeHandler(handler)
    handler.close()


def commands(folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What the commands say about all that."""
    for arguments in (
        ["runs", "runs.db"],
        ["runs", "runs.db", "--json"],
        ["replay", "run-1", "runs.db"],
        ["replay", "run-1", "runs.db", "--json"],
        ["replay", "record.jsonl"],
        ["approvals", "list", "runs.db"],
        ["events", "events.jsonl"],
        ["events", "events.jsonl", "--json"],
        ["spend", "--ledger", "spend.db"],
        ["doubts", "list", "--ledger", "spend.db"],
        ["report", "spend.db", "--events", "events.jsonl", "--output", "report.html"],
    ):
        words = [
            str(folder / word) if (folder / word).exists() or word == "report.html" else word
            for word in arguments
        ]
        assert main(words) in (0, 1), arguments
    out, error = capfd.readouterr()
    return out + error


@pytest.mark.usefixtures("planted_environment")
def test_a_session_that_uses_everything_leaves_no_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Files, rows, spans, logs, error texts and their facts, reprs, and what commands print; the model got
    each prompt unchanged."""
    kept, sent = Kept(), list[str]()
    everything(tmp_path, kept, sent)
    prompts = [json.loads(body)["messages"][0]["content"] for body in sent]
    assert prompts == [f"Look: {ALL}"] + [f"Again: {ALL}"] * 3
    shown = commands(tmp_path, capfd)
    assert {"runs.db", "spend.db", "events.jsonl", "record.jsonl", "log.txt", "spend.csv", "report.html"} <= {
        one.name for one in tmp_path.iterdir()
    }
    assert {"span", "str of mismatch", "str of recorded failure"} <= {name for name, _ in kept.texts}
    leaks = [*in_files(tmp_path), *found("output", shown), *found("caplog", caplog.text)]
    for name, text in kept.texts:
        leaks += found(name, text)
    assert leaks == [], "\n".join(leaks)
