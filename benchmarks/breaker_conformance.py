"""What circuit breakers do where it matters, ours and others': ``python -m benchmarks.breaker_conformance``.

Each behaviour is tried on a fresh breaker, in real time with short waits, through the plainest call that
the breaker offers.  Nothing is read from its source or its documentation.  Writes
``docs/breaker-conformance.md``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import environment, peers
from benchmarks.harness import Timed
from benchmarks.peers import BREAKERS, FAILURES, FOREVER_S, PATIENCE_S, BreakerPeer, Face, Fault, trip
from benchmarks.report import say
from techrevati.runtime import __version__

PAGE = Path(__file__).parents[1] / "docs" / "breaker-conformance.md"
WAIT_S = 0.15  # until a breaker lets somebody try; long enough for what has to happen before
HANGS_S = 15.0
CROWD, INSIDE = 20, 8

OURS = BreakerPeer(
    "techrevati-runtime",
    "techrevati.runtime.circuit_breaker",
    "techrevati.runtime.circuit_breaker:CircuitOpenError",
    Face(
        "result = breaker.call(fn)",
        lambda m, s: m.CircuitBreaker("bench", FAILURES, s, probe_lease_seconds=2 * WAIT_S),
    ),
    Face(
        "result = await breaker.call(fn)",
        lambda m, s: m.AsyncCircuitBreaker("bench", FAILURES, s, probe_lease_seconds=2 * WAIT_S),
    ),
)


class Rig:
    """One breaker, and callers whose calls end when they are told to."""

    def __init__(self, peer: BreakerPeer, recovery_s: float = WAIT_S, *, awaits: bool | None = None) -> None:
        self._awaits = peer.sync is None if awaits is None else awaits
        self._local = threading.local()
        fn = self._aplay if self._awaits else self._play
        self._call = peer.face(awaits=self._awaits).subject(
            peer.distribution, peer.load(), fn, recovery_s, self._awaits
        )
        self.refusal = peer.refuses_with()
        self._plan: Callable[[], None] = lambda: None
        self.threads: list[threading.Thread] = []

    def _play(self) -> int:
        plan = getattr(self._local, "plan", None)
        if plan is not None:
            plan()
        return 1

    async def _aplay(self) -> int:
        return self._play()

    def run(self, plan: Callable[[], None] | None = None) -> str:
        """Call now; what came of it: "passes", "refused", or the name of what was raised."""
        self._local.plan = plan
        try:
            Timed(self._call).once()
        except self.refusal:
            return "refused"
        except BaseException as error:
            return type(error).__name__
        finally:
            self._local.plan = None
        return "passes"

    def fails(self) -> str:
        """A call that fails."""
        return self.run(_fail)

    def trip(self) -> None:
        """Let it open."""
        self._local.plan = _fail
        try:
            trip(self._call, self.refusal)
        finally:
            self._local.plan = None

    def start(self, plan: Callable[[], None] | None = None) -> Held:
        """A call in a thread that stays inside until it is let go."""
        return Held(self, plan)

    def asks(self) -> str:
        """What a caller meets that others may keep waiting: also "waits"."""
        said: list[str] = []
        caller = threading.Thread(target=lambda: said.append(self.run()), daemon=True)
        caller.start()
        caller.join(PATIENCE_S)
        return said[0] if said else "waits"


class Held:
    """A call under way."""

    def __init__(self, rig: Rig, plan: Callable[[], None] | None) -> None:
        self._go, self.inside = threading.Event(), threading.Event()
        self.outcome = ""

        def stay() -> None:
            self.inside.set()
            self._go.wait(HANGS_S)
            if plan is not None:
                plan()

        def work() -> None:
            self.outcome = rig.run(stay)
            self.inside.set()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        self.inside.wait(HANGS_S)

    def end(self) -> str:
        """Let it go on, to its end."""
        self._go.set()
        self._thread.join(HANGS_S)
        return self.outcome


def _fail() -> None:
    raise Fault


def _interrupt() -> None:
    raise KeyboardInterrupt


def refuses_when_open(peer: BreakerPeer) -> bool:
    rig, called = Rig(peer, FOREVER_S), []
    rig.trip()
    return rig.run(lambda: called.append(1)) == "refused" and not called


def refusal_says_when(peer: BreakerPeer) -> bool:
    rig = Rig(peer, FOREVER_S)
    rig.trip()
    try:
        Timed(rig._call).once()
    except rig.refusal as refusal:
        names = [name for name in dir(refusal) if not name.startswith("_")]
        return any(_is_a_time(getattr(refusal, name, None)) for name in names)
    return False


def _is_a_time(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, (timedelta, datetime)) or (number and FOREVER_S / 2 < value <= FOREVER_S)


def lets_calls_run_together(peer: BreakerPeer) -> bool:
    rig = Rig(peer)
    meeting = threading.Barrier(INSIDE, timeout=2)
    outcomes: list[str] = []
    callers = [
        threading.Thread(target=lambda: outcomes.append(rig.run(lambda: _meet(meeting))), daemon=True)
        for _ in range(INSIDE)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(HANGS_S)
    return outcomes == ["passes"] * INSIDE


def _meet(meeting: threading.Barrier) -> None:
    meeting.wait()


def admits_one_probe(peer: BreakerPeer) -> bool:
    rig, inside = Rig(peer), []
    rig.trip()
    time.sleep(WAIT_S * 1.3)
    go, ready = threading.Event(), threading.Barrier(CROWD + 1)

    def stay() -> None:
        inside.append(1)
        go.wait(HANGS_S)

    def come() -> None:
        ready.wait(HANGS_S)
        rig.run(stay)

    callers = [threading.Thread(target=come, daemon=True) for _ in range(CROWD)]
    for caller in callers:
        caller.start()
    ready.wait(HANGS_S)
    time.sleep(WAIT_S)
    found = len(inside)
    go.set()
    for caller in callers:
        caller.join(HANGS_S)
    return found == 1


def refuses_beside_a_probe(peer: BreakerPeer) -> bool:
    rig = Rig(peer)
    rig.trip()
    time.sleep(WAIT_S * 1.3)
    probe = rig.start()
    met = rig.asks()
    probe.end()
    return met == "refused"


def a_failed_probe_opens_for_the_whole_wait(peer: BreakerPeer) -> bool:
    rig = Rig(peer)
    rig.trip()
    time.sleep(WAIT_S * 1.3)
    failed_s = time.monotonic()
    rig.fails()
    met = rig.asks()
    in_time = time.monotonic() - failed_s < WAIT_S / 2  # else nothing can be said
    time.sleep(WAIT_S * 1.3)
    return in_time and met == "refused" and rig.run() == "passes"


def a_late_success_does_not_close(peer: BreakerPeer) -> bool:
    rig = Rig(peer, FOREVER_S)
    early = rig.start()
    rig.trip()
    early.end()
    return rig.run() == "refused"


def a_late_failure_does_not_restart_the_wait(peer: BreakerPeer) -> bool:
    rig = Rig(peer, 4 * WAIT_S)
    early = rig.start(_fail)
    rig.trip()
    time.sleep(3 * WAIT_S)
    early.end()
    time.sleep(1.5 * WAIT_S)  # now the wait is over, unless it began anew
    return rig.run() == "passes"


def an_old_success_does_not_decide_a_probe(peer: BreakerPeer) -> bool:
    rig = Rig(peer)
    early = rig.start()
    rig.trip()
    time.sleep(WAIT_S * 1.3)
    probe = rig.start(_fail)
    early.end()  # from before the trip: proves nothing about now
    probe.end()
    return rig.run() == "refused"


def an_interrupted_probe_proves_nothing(peer: BreakerPeer) -> bool:
    rig = Rig(peer)
    rig.trip()
    time.sleep(WAIT_S * 1.3)
    return rig.run(_interrupt) == "KeyboardInterrupt" and rig.asks() == "passes"


def a_cancelled_probe_proves_nothing(peer: BreakerPeer) -> bool | None:
    if peer.asynchronous is None:
        return None

    async def stay() -> None:
        await asyncio.sleep(HANGS_S)

    plan: list[Callable[[], Any]] = [_fail]

    async def fn() -> int:
        made = plan[0]()
        if made is not None:
            await made
        return 1

    face = peer.asynchronous
    call = face.subject(peer.distribution, peer.load(), fn, WAIT_S, True)
    kind = peer.refuses_with()
    names = {**call.names}
    source = "async def _call():\n" + "".join(f"    {line}\n" for line in call.code.splitlines())

    async def scene() -> bool:
        exec(source, names)  # noqa: S102
        once = names["_call"]
        for _ in range(peers.MOST_FAILURES):
            try:
                await once()
            except kind:
                break
            except Fault:
                continue
        await asyncio.sleep(WAIT_S * 1.3)
        plan[0] = stay
        probe = asyncio.ensure_future(once())
        await asyncio.sleep(0.02)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        plan[0] = lambda: None
        try:
            await asyncio.wait_for(once(), PATIENCE_S)
        except Exception:
            return False
        return True

    return asyncio.run(scene())


def a_probe_that_hangs_is_given_up(peer: BreakerPeer) -> bool | None:
    rig = Rig(peer)
    rig.trip()
    time.sleep(WAIT_S * 1.3)
    probe = rig.start()
    if rig.asks() != "refused":
        probe.end()
        return None  # it never was the only one
    time.sleep(3 * WAIT_S)
    met = rig.asks()
    probe.end()
    return met == "passes"


BEHAVIOURS: tuple[tuple[str, Callable[[BreakerPeer], bool | None]], ...] = (
    ("open, it refuses without calling", refuses_when_open),
    ("the refusal says when to come back", refusal_says_when),
    (f"{INSIDE} calls run at the same time: no lock around your code", lets_calls_run_together),
    ("beside a probe the next caller is refused, neither let in nor kept waiting", refuses_beside_a_probe),
    (f"of {CROWD} callers that come at once when the wait is over, one gets in", admits_one_probe),
    ("a failed probe opens it again, for the whole wait", a_failed_probe_opens_for_the_whole_wait),
    ("a success from before the trip does not close it", a_late_success_does_not_close),
    ("a failure from before the trip does not begin the wait anew", a_late_failure_does_not_restart_the_wait),
    ("a success from before the trip does not decide a probe", an_old_success_does_not_decide_a_probe),
    ("Ctrl-C in a probe proves nothing, and the next caller may try", an_interrupted_probe_proves_nothing),
    ("a cancelled task in a probe proves nothing, and the next may try", a_cancelled_probe_proves_nothing),
    ("a probe that hangs is given up after a while", a_probe_that_hangs_is_given_up),
)


INTRODUCTION = """\
# How circuit breakers behave

Made by `python -m benchmarks.breaker_conformance`, which tries each behaviour on a fresh breaker through
its plainest call; {made}. The columns are versions in an environment of their own
(`benchmarks/requirements.txt`). `-`: the question does not arise, as there is no async call, or more than
one probe gets in anyway. interlock-cb and nopanic judge by failure rates, and may want several probes
where a row speaks of one. Speed without a behaviour that you need is not comparable.

"""


def judged(behaviour: Callable[[BreakerPeer], bool | None], peer: BreakerPeer) -> str:
    """One cell of the table."""
    found: list[str] = []

    def judge() -> None:
        try:
            held = behaviour(peer)
        except Exception as error:
            found.append(f"fails: {type(error).__name__}")
        else:
            found.append("-" if held is None else "yes" if held else "no")

    judge_thread = threading.Thread(target=judge, daemon=True)
    judge_thread.start()
    judge_thread.join(2 * HANGS_S)
    return found[0] if found else "hangs"


def page(columns: Sequence[tuple[BreakerPeer, str]]) -> str:
    """The document."""
    made = f"CPython {sys.version.split()[0]}, {date.today().isoformat()}"
    lines = [
        *INTRODUCTION.format(made=made).splitlines(),
        "| behaviour | " + " | ".join(f"{peer.distribution} {number}" for peer, number in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, behaviour in BEHAVIOURS:
        cells = [judged(behaviour, peer) for peer, _ in columns]
        say(f"{name}: {', '.join(cells)}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Try all of them and write the page."""
    if not environment.inside():
        python = environment.prepared()
        return subprocess.run(
            [python, "-m", "benchmarks.breaker_conformance"], cwd=PAGE.parents[1]
        ).returncode
    versions = peers.versions()
    columns = [(OURS, __version__), *((peer, versions[peer.distribution]) for peer in BREAKERS)]
    PAGE.write_text(page([one for one in columns if one[1] != "not installed"]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
