"""The harness measures what it says, and refuses to time a wrong answer."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import (
    __main__ as command,
    bench_agent_events,
    bench_agent_lifecycle,
    bench_budgets,
    bench_circuit_breaker,
    bench_failures,
    bench_import,
    bench_journal,
    bench_ledger,
    bench_orchestrator,
    bench_pipeline,
    bench_pricing,
    bench_streaming,
    bench_usage,
    breaker_conformance,
    environment,
    peers,
)
from benchmarks.harness import (
    Aim,
    Comparison,
    Effort,
    Figure,
    Pairs,
    Subject,
    Timed,
    WrongAnswerError,
    compare,
)
from benchmarks.report import as_json, as_markdown, table

TINY = Effort(rounds=3, sample_s=1e-5, processes=1)


class Clock:
    """Time that passes only when code spends it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def spend(self, seconds: float) -> int:
        self.now_s += seconds
        return 7


def spender(name: str, clock: Clock, seconds: float, **more: object) -> Subject:
    code = "result = clock.spend(seconds)"
    return Subject(name, code, {"clock": clock, "seconds": seconds}, 7, **more)  # type: ignore[arg-type]


def test_ratio_is_that_of_the_spent_time() -> None:
    """Code that spends three times what its floor spends has the ratio 3, per operation."""
    clock = Clock()
    ours, peer = spender("ours", clock, 3.0), spender("peer", clock, 8.0, operations=2)
    comparison = Comparison("spending", spender("floor", clock, 1.0), [ours, peer], Aim(3))
    first, second = compare(comparison, Effort(rounds=4, sample_s=100.0, clock=clock))
    assert (first.name, first.seconds, first.floor_seconds, first.ratio, first.met) == (
        "ours",
        3.0,
        1.0,
        3.0,
        True,
    )
    assert (second.name, second.seconds, second.ratio, second.met) == ("peer", 4.0, 4.0, None)


def test_interrupted_sample_does_not_decide_the_calibration() -> None:
    """One sample that takes a thousand times too long leaves the number of repetitions as it should be."""
    clock = Clock()
    hiccups = [1000.0]

    def work() -> int:
        return clock.spend(hiccups.pop() if hiccups else 1.0)

    timed = Timed(Subject("ours", "result = work()", {"work": work}, 7), clock)
    timed.calibrate(100.0)
    assert timed.runs == 100


def test_async_code_is_timed_inside_its_loop() -> None:
    """An awaited subject spends the time of its coroutine and nothing for the event loop."""
    clock = Clock()

    async def wait() -> int:
        return clock.spend(5.0)

    subject = Subject("ours", "result = await wait()", {"wait": wait}, 7, awaits=True)
    (figure,) = compare(
        Comparison("waiting", spender("floor", clock, 1.0), [subject]),
        Effort(rounds=2, sample_s=10.0, clock=clock),
    )
    assert (figure.seconds, figure.ratio) == (5.0, 5.0)


def test_ratios_come_from_pairs() -> None:
    """A machine that is ten times slower in some rounds changes the seconds and not the ratio."""
    pairs = Pairs()
    for slowness in (1.0, 1.0, 10.0, 10.0, 10.0):
        pairs.add(lambda by=slowness: 2.0 * by, lambda by=slowness: by, floor_first=True)  # type: ignore[misc]
    figure = pairs.figure("paired", "ours")
    assert (figure.ratio, figure.low, figure.high) == (2.0, 2.0, 2.0)
    assert figure.seconds == 20.0


def test_wrong_answer_of_ours_is_never_timed() -> None:
    """Nothing is timed, not even the floor, when our answer is wrong."""
    clock = Clock()
    wrong = Subject("ours", "result = 8", {}, 7)
    floor = Subject("floor", "result = 7", {}, 7)
    with pytest.raises(WrongAnswerError, match="ours: 8 instead of 7"):
        compare(Comparison("wrong", floor, [wrong, spender("peer", clock, 1.0)]), TINY)
    assert clock.now_s == 0.0


def test_failing_peer_is_a_line_and_not_a_crash() -> None:
    """A peer that raises or answers wrongly has no figure, and its note says why."""
    good = Subject("ours", "result = 7", {}, 7)
    bad = [Subject("raises", "result = 1 / zero", {"zero": 0}, 7), Subject("lies", "result = 8", {}, 7)]
    ours, raises, lies = compare(Comparison("failing", good, [good, *bad]), TINY)
    assert ours.ratio is not None
    assert raises.ratio is None
    assert "ZeroDivisionError" in raises.note
    assert lies.ratio is None
    assert "8 instead of 7" in lies.note


def test_own_code_answers_rightly() -> None:
    """Every subject of ours, its floor and their checks run without being timed."""
    with ExitStack() as stack:
        everything = [
            *bench_circuit_breaker.comparisons(),
            *bench_agent_lifecycle.comparisons(),
            *bench_agent_events.comparisons(),
            *bench_failures.comparisons(),
            *bench_pricing.comparisons(),
            *bench_usage.comparisons(),
            *bench_budgets.comparisons(),
            *bench_ledger.comparisons(stack),
            *bench_pipeline.comparisons(),
            *bench_journal.comparisons(stack),
            *bench_streaming.comparisons(),
            *bench_orchestrator.comparisons(stack),
            bench_orchestrator.async_comparison(),
        ]
        for comparison in everything:
            for subject in (comparison.floor, *comparison.subjects):
                Timed(subject).checked()
    assert len(everything) == 44


def test_flatness_counts_every_turn() -> None:
    """The old session has had all its turns, and the ratio is of turns against turns."""
    figure = bench_orchestrator.flatness(TINY, young=2, old=50, block=5)
    assert figure.ratio is not None
    assert figure.ratio > 0


def test_processes_on_one_file_are_timed() -> None:
    """Every call of every process is on the books, and the slowest percent is told."""
    figure = bench_budgets.fairness(processes=2, calls=3)
    assert figure.seconds is not None
    assert figure.seconds > 0


def test_reports_are_timed_over_all_records() -> None:
    """A report that lost a record is an error, not a figure."""
    figures = bench_ledger.reports(TINY, 1_500)
    assert [figure.what.partition(" ")[0] for figure in figures] == ["by(project,", "by(day)", "by(session)"]


def test_import_is_timed_in_a_fresh_interpreter() -> None:
    """The breaker alone brings none of the costly modules; a false claim about an import is an error."""
    took_s, brought = bench_import.seconds(bench_import.BREAKER)
    assert took_s > 0
    assert brought == []
    with pytest.raises(WrongAnswerError, match="import nothing_of_that_name"):
        bench_import.seconds(bench_import.Import("missing", "import nothing_of_that_name"))
    assert "json" in bench_import.seconds(bench_import.Import("json", "import json"))[1]


def test_missing_peers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that cannot be imported stays in the report with the reason."""
    missing = peers.BreakerPeer(
        "nowhere", "nothing_of_that_name", "nothing:Error", peers.BREAKERS[0].sync, None
    )
    monkeypatch.setattr(bench_circuit_breaker, "BREAKERS", (missing,))
    closed, async_closed, refused = map(bench_circuit_breaker.with_peers, bench_circuit_breaker.comparisons())
    for _, (absent,) in (closed, refused):
        assert absent.name == "nowhere"
        assert "No module named" in absent.note
    assert async_closed[1][0].note == "asyncio: not supported"


def test_second_caller_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callee behind a lock makes the second caller wait; without one it enters; a refusal is a refusal."""
    monkeypatch.setattr(peers, "PATIENCE_S", 0.05)
    lock = threading.Lock()
    stage = peers.Stage()

    def locked() -> None:
        with lock:
            stage.play()

    busy: list[int] = []

    def one_at_a_time() -> None:
        if busy:
            raise peers.Fault
        busy.append(1)
        try:
            stage.play()
        finally:
            busy.clear()

    assert stage.second_caller(stage.play, peers.Fault) == "enters"
    assert stage.second_caller(one_at_a_time, peers.Fault) == "refused"
    assert stage.second_caller(locked, peers.Fault) == "waits"


def test_report_says_met_and_missed() -> None:
    """Every aim has its verdict, as text and as JSON; a missing figure is not a met aim."""
    figures = [
        Figure("a", "ours", 1e-6, 5e-7, 2.0, 1.9, 2.1, Aim(2.2)),
        Figure("b", "ours", 9e-6, 1e-6, 9.0, 9.0, 9.0, Aim(8e-6, "s"), "noted"),
        Figure("c", "ours", aim=Aim(1.0, strictly=True)),
        Figure("d", "ours", 1.0, 1.0, 1.0, 1.0, 1.0, Aim(1.0, strictly=True)),
    ]
    lines = [line for line in table(figures) if line.startswith("  ours")]
    assert [line.split("  ")[-1] for line in lines] == ["met", "MISSED, noted", "not measured", "MISSED"]
    written = json.loads(json.dumps(as_json(figures, {"us": "1"}, {"cpus": 2})))
    assert [figure["met"] for figure in written["figures"]] == [True, False, None, False]
    assert written["figures"][1]["aim"] == "<= 8 us"


def test_command_writes_json_and_fails_only_for_wrong_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0 with figures in the file, even when an aim is missed; status 1 when an answer is wrong."""
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr(bench_agent_events, "AIM", Aim(0.001))
    file = tmp_path / "figures.json"
    asked = ["agent_events", "--no-peers", "--quick", "--json", str(file)]
    assert command.main(asked) == 0
    (figure,) = json.loads(file.read_text())["figures"]
    assert figure["met"] is False
    assert "MISSED" in capsys.readouterr().out
    monkeypatch.setattr(bench_agent_events, "DEFAULT_RING_CAPACITY", 1)  # fills too little: none is dropped
    assert command.main(asked) == 1
    assert "WRONG ANSWER" in capsys.readouterr().out


def test_a_whole_run_writes_the_page_and_marks_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One benchmark that fails does not keep the others from being measured; a part writes no page."""

    def broken(effort: Effort, *, peers: bool) -> list[Figure]:
        raise OSError("no space <left>")

    page = tmp_path / "benchmarks.md"
    monkeypatch.setattr(command, "FULL", TINY)
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "NOUNS", ("usage", "agent_events"))
    monkeypatch.setattr(command.environment, "inside", lambda: True)
    monkeypatch.setattr(bench_usage, "run", broken)
    for part in (["agent_events"], ["--quick"], ["--no-peers"]):
        command.main(part)
    assert not page.exists()
    assert command.main([]) == 1
    written = page.read_text()
    assert "- **not measured**: usage: FAILED: OSError: no space &lt;left>" in written
    assert "## Event made" in written
    assert "usage: FAILED" in capsys.readouterr().out


def test_requirements_name_every_peer() -> None:
    """What the environment installs is what the report looks for, pinned."""
    lines = environment.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert pinned == set(peers.DISTRIBUTIONS)


def test_the_page_about_breakers_has_every_behaviour() -> None:
    """Ours are tested where they belong, in virtual time; the page is made with real waits."""
    lines = breaker_conformance.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1:3] for line in lines if "|" in line][2:]
    assert [name.strip() for name, _ in rows] == [name for name, _ in breaker_conformance.BEHAVIOURS]
    assert {ours.strip() for _, ours in rows} == {"yes"}


def test_the_page_of_figures_says_where_and_when_they_were_made() -> None:
    """And marks what must not be compared."""
    missed = Figure("a call", "ours", 3e-6, 1e-6, 3.0, 2.9, 3.1, Aim(2.0))
    peer = Figure("a call", "theirs", 9e-6, 1e-6, 9.0, 8.0, 10.0, note="half-open: a second caller enters")
    page = as_markdown([missed, peer], {"theirs": "1.0"}, {"python": "CPython 3.11.7"}, "2026-11-26")
    assert "2026-11-26" in page
    assert "python: CPython 3.11.7" in page
    assert "theirs 1.0" in page
    assert "| ours | 3.000 | 1.000 | 3.000 | 2.900 - 3.100 | <= 2x | MISSED |" in page
    assert "| theirs | 9.000 | 1.000 | 9.000 | 8.000 - 10.0 |  | half-open: a second caller enters |" in page
