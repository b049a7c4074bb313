"""The demo, run as it is: with its own endpoint, against other endpoints, and with everything that is wrong.

Waits between attempts only move a clock; requests go over real HTTP on the loopback.
"""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime import AgentEvent, AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.cli import demo, demo_endpoint
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.testing import FakeClock

KEY = "sk-test-0123456789abcdef"
HARBOUR = {
    "tides.md": "# Tides\n\nThe tide turns at noon and at midnight.\n\nBoats wait for the tide.",
    "deep/seals.txt": "Seals sleep on the quay. The harbour master counts the seals every Monday.",
}


class Run:
    """One run of the demo: its status, what it wrote, and its events."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], events: Path, arguments: Sequence[str | Path]
    ) -> None:
        parser = argparse.ArgumentParser()
        demo.add_to(parser.add_subparsers())
        given = ["demo", *map(str, arguments), "--events", str(events)]
        clock = FakeClock()
        self.status = demo.run(parser.parse_args(given), sleep=clock.sleep, clock=clock)
        self.out, self.error = capsys.readouterr()
        lines = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
        self.events = [AgentEvent.from_json(line) for line in lines]
        self.written = self.out + self.error + "\n".join(lines)

    def details(self, name: Name) -> list[str]:
        return [event.detail or "" for event in self.events if event.event is name]


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def harbour(tmp_path: Path) -> Path:
    folder = tmp_path / "harbour"
    for name, text in HARBOUR.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in demo.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_sample_is_answered_and_everything_is_shown(
    capsys: pytest.CaptureFixture[str], events: Path
) -> None:
    """Answered from the files, after each promised kind of trouble has really happened, as events say."""
    run = Run(capsys, events, [])
    assert run.status == 0
    assert run.error == ""
    answer = run.out.partition("\nAnswer\n")[2]
    assert "[incident-march-14.md]" in answer
    assert "new certificate" in " ".join(answer.split())
    failures = " ".join(run.details(Name.RECOVERY_ATTEMPTED))
    for trouble in ("503", "429", "Connection reset", "context_length_exceeded", "'demo-large' is open"):
        assert trouble in failures
    assert "waits 1.5 s, as the endpoint asked" in failures
    assert "context cut from about" in failures
    switches = run.details(Name.RECOVERY_PROVIDER_SWITCHED)
    assert set(switches) == {"asks demo-small instead of demo-large"}
    assert run.details(Name.DEADLINE_STARTED)[0].startswith("30 s for the whole run")
    assert len(run.details(Name.DEADLINE_SHORTENED)) == 4  # one for each role
    (left,) = run.details(Name.DEADLINE_ENDED)
    assert left == "28.4 s of 30 s are left"  # two waits: a short one and the one that was asked for
    assert len(run.details(Name.CIRCUIT_OPENED)) == 1
    assert len(run.details(Name.CIRCUIT_HALF_OPENED)) == 1
    assert len(run.details(Name.CIRCUIT_CLOSED)) == 1
    assert len(run.details(Name.RECOVERY_SUCCEEDED)) == 5
    assert not run.details(Name.RECOVERY_ESCALATED) + run.details(Name.RECOVERY_FAILED)
    assert "FULL_ACCESS" in run.details(Name.AGENT_BLOCKED)[0]
    red = [one for one in run.events if one.event is Name.HOOK_POST_TOOL and one.status is Status.RED]
    assert "API key" in (red[0].detail or "")
    assert "budget exceeded" in run.details(Name.AGENT_FAILED)[0]
    assert [one.role for one in run.events if one.event is Name.AGENT_STARTED] == [
        "researcher",
        "writer",
        "editor",
        "abridger",
    ]
    assert "refused before anything was sent" in " ".join(run.out.split())


def test_the_planted_secret_is_nowhere(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    """What the guardrail withheld is neither shown nor written; it is in the sample, all right."""
    secret = "sk-larkspur-planted"
    assert secret in (demo.SAMPLE / "handover-notes.txt").read_text(encoding="utf-8")
    run = Run(capsys, events, [])
    assert secret not in run.written


def test_there_is_a_line_for_every_event(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    """In a pipe: one line for each written event and for each turn's usage, all plain."""
    run = Run(capsys, events, [])
    live = re.findall(r"^ +\d+\.\d\ds  \w+ +(.{12})", run.out, re.MULTILINE)
    usage = [word for word in live if word.strip() == "usage"]
    assert len(live) - len(usage) == len(run.events)
    assert f"{len(run.events)} events were added to {events}" in run.out
    assert "\x1b" not in run.out
    turns = int(re.findall(r"^all +(\d+)", run.out, re.MULTILINE)[0])
    assert turns == len(usage)


def test_the_table_adds_up(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    """Rows sum to the last line; requests are as many as the endpoint counted; calls = turns + retries."""
    run = Run(capsys, events, [])
    rows = [
        line.split()
        for line in run.out.splitlines()
        if re.match(r"(researcher|writer|editor|abridger) +demo-", line)
    ]
    total = re.findall(r"^all +(.*)$", run.out, re.MULTILINE)[0].replace(",", "").split()
    for column in range(5):
        assert sum(int(row[2 + column].replace(",", "")) for row in rows) == int(total[column])
    assert sum(float(row[-1]) for row in rows) == pytest.approx(float(total[-1]), abs=1e-5)
    turns, calls, retries = map(int, total[:3])
    assert calls == turns + retries
    assert f"own bill: {calls} requests" in run.out


def test_the_books_agree_with_the_endpoints_bill(capsys: pytest.CaptureFixture[str], events: Path) -> None:
    """Every request is there; what is measured and what was lost add up to the bill, to the last digit;
    of the lost answer we know what was sent."""
    run = Run(capsys, events, [])
    said = " ".join(run.out.split())
    bill = re.search(r"own bill: (\d+) requests, (\S+) tokens in, (\S+) out, \$([\d.]+)\. ", said)
    ours = re.search(r"On our books: (\d+) requests\. (\d+) are measured: (\S+) tokens in, (\S+) out", said)
    lost = re.search(r"taken for (\S+) tokens in, \S+ where the endpoint bills (\S+) in and (\S+) out", said)
    assert bill
    assert ours
    assert lost
    requests, read, written = (number(text) for text in bill.groups()[:3])
    assert (number(ours[1]), number(ours[2])) == (requests, requests - 1)
    assert (number(ours[3]) + number(lost[2]), number(ours[4]) + number(lost[3])) == (read, written)
    assert number(lost[1]) >= number(lost[2]) > 0
    with SpendLedger(events.with_name("spend.db")) as ledger:
        records = list(ledger.records())
    assert len(records) == requests
    (estimate,) = (one for one in records if one.certainty == "estimated")
    assert (estimate.user, estimate.usage.input_tokens) == ("writer", number(lost[1]))
    table = run.out.partition("Spend per project")[2]
    total = re.search(r"^total +(\d+) +(\d+) +([\d.]+)$", table, re.MULTILINE)
    assert total
    assert number(total[1]) == requests
    assert Decimal(total[3]) == sum(one.cost or 0 for one in records)
    measured = sum((one.cost or Decimal(0)) for one in records if one.certainty == "measured")
    lost_usd = Decimal(number(lost[2])) * Decimal("0.4e-6") + Decimal(number(lost[3])) * Decimal("1.6e-6")
    assert measured + lost_usd == Decimal(bill[4])


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_run_that_has_no_time_left_ends(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """A wait that would outlast the deadline is not begun; one line says so, and the table is still shown."""
    with ChaosServer([None, Fault(FaultKind.RATE_LIMIT, retry_after_s=20.0)]) as server:
        asked = ["--base-url", server.base_url, "--model", "any", "--deadline", "15"]
        run = Run(capsys, events, [harbour, *asked])
    assert run.status == 1
    assert "the wait would outlast the deadline" in run.out
    assert "429" in run.error
    assert run.error.count("\n") == 1
    assert "What it took" in run.out


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_deadline_that_is_none_is_2(capsys: pytest.CaptureFixture[str], events: Path, seconds: str) -> None:
    """One line that names the argument and what is allowed."""
    run = Run(capsys, events, ["--deadline", seconds])
    assert run.status == 2
    assert "--deadline must be a number > 0" in run.error


def test_two_runs_say_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Only times, ids and the path of the log differ."""

    def said(run: Run) -> str:
        return re.sub(r"\d+\.\d+ ?s|\S+\.jsonl|retry in \S+ s", "", run.out)

    folders = tmp_path / "a", tmp_path / "b"  # of their own, as runs in one folder share a ledger
    for folder in folders:
        folder.mkdir()
    first, second = (
        said(Run(capsys, folder / "events.jsonl", [])).replace(str(folder), "") for folder in folders
    )
    assert second == first


def test_any_folder_is_answered_about(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """Another folder, with a question and without one, is answered with its own words."""
    run = Run(capsys, events, [harbour, "--question", "Who counts the seals?"])
    assert run.status == 0
    assert "harbour master counts the seals" in " ".join(run.out.split())
    assert "[deep/seals.txt]" in run.out
    run = Run(capsys, events, [harbour])
    assert run.status == 0
    assert "What is this folder about: " in run.out


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (
            "The invoice service runs on port 8443.\nBackups are taken every night.\n",
            "When are backups taken?",
        ),
        ("The invoice service runs on port 8443.\nBackups are taken every night.\n", None),
        ("The director is Zoë.\r\nShe lives in Łódź.", None),
        ("name,age\nAnna,34\nBob,27", None),
    ],
)
def test_tiny_folders_are_answered_about(
    capsys: pytest.CaptureFixture[str], events: Path, tmp_path: Path, text: str, question: str | None
) -> None:
    """The file that was read survives the overflow, and the demo's own question can be answered."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "ops.txt").write_text(text, encoding="utf-8", newline="")
    (folder / "other.txt").write_text("Lunch is at noon.\n", encoding="utf-8")
    assert Run(capsys, events, [folder, *(["--question", question] if question else [])]).status == 0


@pytest.mark.parametrize("count", [1, 60])
def test_small_and_large_folders_survive_the_script(
    count: int, capsys: pytest.CaptureFixture[str], events: Path, tmp_path: Path
) -> None:
    """Wherever the script's faults fall, one file or many, the question is answered."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(count):
        text = (
            f"# Lighthouse {number}\n\nLighthouse {number} blinks {number + 2} times.\n\n"
            + "Waves roll. " * 200
        )
        (folder / f"{number:02}.md").write_text(text, encoding="utf-8")
    run = Run(capsys, events, [folder, "--question", "How many times does lighthouse 0 blink?"])
    assert run.status == 0
    assert "blinks 2 times" in run.out


def test_a_question_that_the_files_do_not_answer_is_1(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """Nothing is claimed to be answered that is not."""
    run = Run(capsys, events, [harbour, "--question", "Who won the chess tournament in Lisbon?"])
    assert run.status == 1
    assert "Not answered" in run.out
    assert "Answered from the folder" not in run.out


def test_the_log_is_no_part_of_the_folder(capsys: pytest.CaptureFixture[str], harbour: Path) -> None:
    """A log that an earlier run left in the folder is not read as one of its texts."""
    log = harbour / "events.jsonl"
    for _ in range(2):
        run = Run(capsys, log, [harbour, "--question", "When does the tide turn?"])
        assert run.status == 0
        assert ": 2 text files" in run.out


def test_another_endpoint_is_asked_with_the_key(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``--base-url`` the run recovers from trouble there, prices nothing it cannot, and shows no key;
    our own variable comes first."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-0123456789abcdef")
    monkeypatch.setenv("TECHREVATI_API_KEY", f" {KEY}\n")
    faults = [
        None,
        Fault(FaultKind.UNAVAILABLE),
        Fault(FaultKind.SAYS, text=f"I know {KEY}"),
        None,
        Fault(FaultKind.RESET),
    ]
    with ChaosServer(faults, api_key=KEY) as server:
        asked = ["--question", "When does the tide turn?", "--base-url", server.base_url, "--model", "any"]
        run = Run(capsys, events, [harbour, *asked])
        bill = server.bill
    assert run.status in (0, 1)  # the model was made to say something else than its notes
    assert "no price" in run.out
    assert f"{bill.requests:,}" in re.findall(r"^all +\d+ +(\d+)", run.out, re.MULTILINE)
    assert KEY not in run.written
    assert "abridger" not in run.out


def test_another_endpoint_answers(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A well-behaved endpoint without a key gives status 0."""
    with ChaosServer([None, Fault(FaultKind.RATE_LIMIT, retry_after_s=20.0)]) as server:
        asked = ["--question", "When does the tide turn?", "--base-url", server.base_url, "--model", "any"]
        run = Run(capsys, events, [harbour, *asked])
    assert run.status == 0
    assert "waits 20.0 s, as the endpoint asked" in run.out


@pytest.mark.parametrize(
    ("kind", "told"), [("invalid_key", "refused the key"), ("forbidden", "refused the key")]
)
def test_a_refused_key_is_2_and_shown_nowhere(
    kind: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
    events: Path,
    harbour: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line, even where the endpoint repeats the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    fault = Fault(FaultKind(kind), message=f"Bad key {KEY} ({KEY!r})")
    with ChaosServer(Scenario("s", (Rule(fault),))) as server:
        run = Run(capsys, events, [harbour, "--base-url", server.base_url, "--model", "any"])
        assert server.bill.requests == 1
    assert run.status == 2
    assert run.error.count("\n") == 1
    assert told in run.error
    assert KEY not in run.written


def test_a_missing_key_is_2_and_says_what_to_set(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """Without a key the line names the variable."""
    with ChaosServer(api_key=KEY) as server:
        run = Run(capsys, events, [harbour, "--base-url", server.base_url, "--model", "any"])
    assert run.status == 2
    assert "OPENAI_API_KEY" in run.error


def test_an_unreachable_endpoint_is_2(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """A closed port: one line, and no log is begun."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = Run(capsys, events, [harbour, "--base-url", f"http://127.0.0.1:{port}/v1", "--model", "any"])
    assert run.status == 2
    assert run.error == f"techrevati demo: cannot reach http://127.0.0.1:{port}/v1: Connection refused\n"
    assert run.out == ""
    assert not events.exists()


@pytest.mark.parametrize("fault", ["wrong_json", "model_not_found"])
def test_a_wrong_address_or_model_is_2(
    fault: str, capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """Whatever answers there is no chat endpoint, or does not know the model."""
    rules = (Rule(Fault(FaultKind(fault))),)
    with ChaosServer(Scenario("s", rules)) as server:
        run = Run(capsys, events, [harbour, "--base-url", server.base_url, "--model", "any"])
    assert run.status == 2
    assert run.error.count("\n") == 1


def test_an_endpoint_that_stays_down_is_1(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """The recipes end, the table is still shown, and the line says why."""
    rules = (Rule(Fault(FaultKind.UNAVAILABLE), calls=((2, None),)),)
    with ChaosServer(Scenario("s", rules)) as server:
        run = Run(capsys, events, [harbour, "--base-url", server.base_url, "--model", "any"])
    assert run.status == 1
    assert "503" in run.error
    assert run.error.count("\n") == 1
    assert "What it took" in run.out
    assert re.search(r"any +open +opened once", run.out)


def test_the_model_cannot_leave_the_folder(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """A model that asks for files outside gets an error instead of their text."""
    secret = harbour.parent / "secret.txt"
    secret.write_text("the walrus is paul", encoding="utf-8")
    asks = [
        Fault(FaultKind.TOOL_CALL, tool="read_file", arguments={"path": path})
        for path in ("../secret.txt", str(secret))
    ]
    with ChaosServer(asks) as server:
        run = Run(capsys, events, [harbour, "--base-url", server.base_url, "--model", "any"])
    assert "walrus" not in run.written
    refused = [detail for detail in run.details(Name.AGENT_TOOL_COMPLETED) if "outside the folder" in detail]
    assert len(refused) == 2


def test_the_victim_of_the_script_survives(
    capsys: pytest.CaptureFixture[str], events: Path, harbour: Path
) -> None:
    """The model's attempt to delete a file was refused, and the file is there."""
    before = {path: path.read_bytes() for path in harbour.rglob("*") if path.is_file()}
    Run(capsys, events, [harbour])
    assert {path: path.read_bytes() for path in harbour.rglob("*") if path.is_file()} == before


def test_the_demo_needs_little_patience() -> None:
    """All that the script makes us wait stays far below five seconds."""
    patience = demo_endpoint.PATIENCE
    assert patience.open_s + 4 * patience.longest_backoff_s + 0.3 < 3.0
