"""``techrevati run`` with real programs, real SDKs and real processes, against the chaos endpoint."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import threading
import venv
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, ModelPrice
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing.files import write_book

ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, "-m", "techrevati.runtime", "run", "--project", "acme"]
BOUND_S = 120.0
PREAMBLE = """
import asyncio, os, subprocess, sys, threading, uuid
from concurrent.futures import ThreadPoolExecutor
import openai

URL = os.environ["ENDPOINT"]


def body(model="gpt-5-mini"):
    return {"model": model, "max_tokens": 60,
            "messages": [{"role": "user", "content": "Say " + uuid.uuid4().hex}]}


def sync_client(kind=openai.OpenAI):
    return kind(base_url=URL, api_key="sk-test-0123456789abcdef", max_retries=0)


def claude(kind="Anthropic"):
    import anthropic  # takes seconds: only where it is called

    return getattr(anthropic, kind)(base_url=URL.removesuffix("/v1"), api_key="sk-test-0123456789abcdef")
"""


def program(folder: Path, text: str, *, name: str = "agent.py", preamble: str = PREAMBLE) -> str:
    path = folder / name
    path.write_text(preamble + textwrap.dedent(text), encoding="utf-8")
    return str(path)


def surroundings(server: ChaosServer | None = None, **more: str) -> dict[str, str]:
    url = {} if server is None else {"ENDPOINT": server.base_url}
    return {**os.environ, "PYTHONPATH": str(ROOT), **url, **more}


def run(
    *arguments: str, folder: Path | None = None, **more: str | ChaosServer
) -> subprocess.CompletedProcess[str]:
    """The command to its end, with pipes for its streams."""
    return subprocess.run(
        [*RUN, *arguments],
        cwd=folder,
        env=surroundings(**more),  # type: ignore[arg-type]
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def total(done: subprocess.CompletedProcess[str]) -> Decimal:
    """What the report says was spent."""
    found = re.search(r"^total .* ([\d.E-]+)$", done.stderr, re.MULTILINE)
    assert found is not None, done.stderr
    return Decimal(found[1])


EVERYWHERE = """
class Mine(openai.OpenAI):
    def request(self, *args, **options):
        return super().request(*args, **options)


sync_client().chat.completions.create(**body())
sync_client(Mine).with_options(timeout=20).chat.completions.create(**body())
early = sync_client()
thread = threading.Thread(target=lambda: early.chat.completions.with_raw_response.create(**body()))
thread.start()
thread.join()
with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda _: list(sync_client().chat.completions.create(**body(), stream=True)), range(2)))
openai.base_url, openai.api_key = URL + "/", "sk-test-0123456789abcdef"
openai.chat.completions.create(**body())


async def tasks():
    async with sync_client(openai.AsyncOpenAI) as client, claude("AsyncAnthropic") as other:
        await asyncio.gather(
            client.chat.completions.create(**body()),
            client.copy().chat.completions.create(**body()),
            asyncio.to_thread(lambda: claude().messages.create(**body("claude-sonnet-5"))),
            other.messages.create(**body("claude-sonnet-5")),
        )


asyncio.run(tasks())
with claude().messages.stream(**body("claude-sonnet-5")) as stream:
    stream.until_done()
assert type(early) is openai.OpenAI
print("out", sys.argv[1:], flush=True)
print("err", file=sys.stderr, flush=True)
sys.exit(7)
"""


def test_clients_built_anywhere_are_on_the_books(tmp_path: Path) -> None:
    """Subclasses, copies, threads, executors, tasks, the module's own client; streams and status as they
    are."""
    agent = program(tmp_path, EVERYWHERE)
    book = tmp_path / "spend.db"
    with ChaosServer() as server:
        done = run("--budget-usd", "5", "--ledger", str(book), "--", agent, "--flag", "--", server=server)
        server.wait_idle()
        assert done.returncode == 7, done.stderr
        assert done.stdout == "out ['--flag', '--']\n"
        assert done.stderr.startswith("err\n\ntechrevati run: acme, ")
        assert server.bill.requests == 11
        assert total(done) == server.bill.cost_usd
        with SpendLedger(book, read_only=True) as ledger:
            assert ledger.total(project="acme") == server.bill.cost_usd
            assert {record.certainty for record in ledger.records()} == {"measured"}
    assert "11 calls guarded in 1 process; 0 passed through unguarded; 0 without usage" in done.stderr


MANY = """
refused = 0


def call(client):
    global refused
    try:
        client.chat.completions.create(**body())
    except Exception as error:
        assert type(error).__name__ == "BudgetExceededError", error
        refused += 1


async def tasks():
    async with sync_client(openai.AsyncOpenAI) as client:
        async def one():
            global refused
            try:
                await client.chat.completions.create(**body())
            except Exception as error:
                assert type(error).__name__ == "BudgetExceededError", error
                refused += 1
        await asyncio.gather(*(one() for _ in range(8)))


def work():
    client = sync_client()
    threads = [threading.Thread(target=lambda: [call(client) for _ in range(4)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: call(sync_client()), range(6)))
    asyncio.run(tasks())
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    others = [] if sys.argv[1:] else [subprocess.Popen([sys.executable, __file__, "child"])]
    work()
    if not sys.argv[1:]:
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert all(other.wait() == 0 for other in others)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_one_budget_holds_in_every_process_thread_task_and_executor(tmp_path: Path) -> None:
    """Three processes, one of them forked, spend together what one budget allows, and no more."""
    agent = program(tmp_path, MANY)
    with ChaosServer() as server:
        done = run("--budget-usd", "0.0025", "--", sys.executable, agent, server=server)
        assert done.returncode == 0, done.stderr
        server.wait_idle()
        spent = server.bill.cost_usd
        assert spent is not None
        assert Decimal("0.001") < spent <= Decimal("0.0025")
        assert total(done) == spent
        requests = server.bill.requests
    assert "78 calls guarded in 3 processes" in done.stderr
    assert f"{78 - requests} refused" in done.stderr
    assert requests < 78


@pytest.mark.parametrize("per", ["run", "month", "total"])
def test_observing_refuses_nothing(per: str, tmp_path: Path) -> None:
    """What would have been refused is counted, and sent; and it is spent."""
    agent = program(tmp_path, "sync_client().chat.completions.create(**body())")
    of = ("--budget-usd", "0", "--per", per, "--ledger", str(tmp_path / "o.db"))
    with ChaosServer() as server:
        done = run(*of, "--observe-only", "--strict", "--", agent, server=server)
        server.wait_idle()
        assert server.bill.requests == 1
        assert total(done) == server.bill.cost_usd
    assert done.returncode == 3
    assert "1 would have been refused" in done.stderr
    spent = re.search(r"Budget of [^:]+: \$(\S+) of \$0\n", done.stderr)
    assert spent is not None
    assert Decimal(spent[1]) == total(done) > 0


def test_a_refusal_is_an_error_of_the_program_and_nothing_is_sent(tmp_path: Path) -> None:
    """The traceback is the program's own, and so is its status; --per needs its ledger."""
    agent = program(tmp_path, "sync_client().chat.completions.create(**body())")
    with ChaosServer() as server:
        done = run(
            *("--budget-usd", "0.0001", "--per", "day", "--ledger", str(tmp_path / "b.db")),
            *("--", agent),
            server=server,
        )
        assert server.bill.requests == 0
    assert done.returncode == 1
    assert "BudgetExceededError" in done.stderr
    assert (
        "1 call guarded in 1 process; 0 passed through unguarded; 0 without usage (estimated); 1 refused"
        in (done.stderr)
    )


DEPLOYED = """
client = openai.AzureOpenAI(
    azure_endpoint=URL.removesuffix("/v1"), api_version="2024-10-21", api_key="any", max_retries=0
)
client.chat.completions.create(**body("prod-chat"))
subprocess.run([sys.executable, sys.argv[0], "child"], check=True) if len(sys.argv) == 1 else None
"""


@pytest.mark.parametrize("form", ["models", "book"])
def test_a_deployment_is_priced_by_a_file(form: str, tmp_path: Path) -> None:
    """Azure's names are the deployments': without a price a budget refuses them, with one they are priced."""
    agent = program(tmp_path, DEPLOYED)
    prices = tmp_path / "prices"
    if form == "models":
        said = {"models": {"prod-chat": {"input_per_million": 2.5, "output_per_million": 10}}}
        prices.write_text(json.dumps(said), encoding="utf-8")
    else:
        written = {"prices": [[{"input": 2.5, "output": 10}]]}
        prices.write_text(write_book({"azure/prod-chat": written}, {"version": "mine"}), encoding="utf-8")
    with ChaosServer(prices={"prod-chat": ModelPrice("2.5", "10")}) as server:
        done = run("--budget-usd", "1", "--", agent, server=server)
        assert done.returncode == 1
        assert "UnknownModelError" in done.stderr
        assert server.bill.requests == 0
        done = run("--budget-usd", "1", "--prices", str(prices), "--", agent, server=server)
        server.wait_idle()
        assert done.returncode == 0, done.stderr
        assert server.bill.requests == 2
        assert total(done) == server.bill.cost_usd


@pytest.mark.parametrize("said", [None, "{}", '{"models": {"x": {"input_per_million": -1}}}', "no prices"])
def test_a_file_that_holds_no_prices_is_told_before(said: str | None, tmp_path: Path) -> None:
    """The program is not begun."""
    prices = tmp_path / "prices.json"
    if said is not None:
        prices.write_text(said, encoding="utf-8")
    done = run("--prices", str(prices), "--", sys.executable, "-c", "print('begun')")
    assert (done.returncode, done.stdout) == (2, "")
    assert "prices.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_guarded_is_said(tmp_path: Path) -> None:
    """Calls that pass through, and SDKs whose calls nobody sees; --strict makes a status of it."""
    (tmp_path / "ollama.py").write_text("", encoding="utf-8")
    agent = program(
        tmp_path,
        """
        import ollama
        try:
            sync_client().images.generate(prompt="a house")
        except openai.APIStatusError:
            pass
        """,
    )
    with ChaosServer() as server:
        done = run("--strict", "--", agent, server=server)
    assert done.returncode == 4, done.stderr
    assert "1 passed through unguarded" in done.stderr
    assert "calls of ollama are not seen" in done.stderr


def test_groq_has_the_same_surface(tmp_path: Path) -> None:
    """An SDK that is generated like openai's is guarded like it."""
    pytest.importorskip("groq")
    agent = program(
        tmp_path,
        """
        import os, groq
        client = groq.Groq(base_url=os.environ["ENDPOINT"].removesuffix("/v1"), api_key="any", max_retries=0)
        try:
            client.chat.completions.create(model="llama-3.3-70b-versatile", max_tokens=9,
                                           messages=[{"role": "user", "content": "Hi"}])
        except groq.NotFoundError:
            pass
        """,
        preamble="",
    )
    with ChaosServer() as server:
        done = run("--", agent, server=server)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^groq +chat.completions.create +guarded +1 +1", done.stderr, re.MULTILINE), done.stderr


def test_a_client_that_the_program_guards_is_charged_to_both(tmp_path: Path) -> None:
    """Its own budget and that of the run; the calls are counted once."""
    agent = program(
        tmp_path,
        """
        from techrevati.runtime import SpendLedger
        from techrevati.runtime.integrations import guard
        with SpendLedger(sys.argv[1]) as ledger:
            client = guard(sync_client(), project="mine", ledger=ledger)
            client.chat.completions.create(**body())
            for chunk in client.chat.completions.create(**body(), stream=True):
                assert chunk.choices
        """,
    )
    with ChaosServer() as server:
        done = run("--budget-usd", "1", "--", agent, str(tmp_path / "mine.db"), server=server)
        server.wait_idle()
        assert done.returncode == 0, done.stderr
        assert total(done) == server.bill.cost_usd
        with SpendLedger(tmp_path / "mine.db", read_only=True) as mine:
            assert mine.total(project="mine") == server.bill.cost_usd
    assert "2 calls guarded" in done.stderr


def test_what_a_killed_process_spent_is_told(tmp_path: Path) -> None:
    """SIGKILL between two calls; the status is a shell's."""
    agent = program(
        tmp_path,
        """
        import signal
        sync_client().chat.completions.create(**body())
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    with ChaosServer() as server:
        done = run("--budget-usd", "1", "--", agent, server=server)
        server.wait_idle()
        assert done.returncode == 128 + signal.SIGKILL
        assert total(done) == server.bill.cost_usd
    assert "1 call guarded in 1 process" in done.stderr


# --- the program does not notice ---------------------------------------------------------------------------

PLAIN = """
import json, os, sys
try:
    import mine
except ImportError:
    mine = None
print(json.dumps([sys.path, [n for n in sys.modules if n.startswith("techrevati")],
                  getattr(mine, "seen", None), sys.modules["sitecustomize"].__file__]))
"""


def test_a_program_without_sdks_loads_nothing_of_ours(tmp_path: Path) -> None:
    """The same ``sys.path``, its own ``sitecustomize``, and not one module of this package."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import mine\nmine.seen = 'yes'\n", encoding="utf-8")
    (own / "mine.py").write_text("", encoding="utf-8")
    agent = program(tmp_path, PLAIN, preamble="")
    paths = f"{ROOT}{os.pathsep}{own}"
    bare = subprocess.run(
        [sys.executable, agent],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=BOUND_S,
    )
    done = run("--", sys.executable, agent, PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout == bare.stdout
    assert '[], "yes"' in done.stdout
    assert "No call was seen" in done.stderr


def test_a_module_and_what_is_missing(tmp_path: Path) -> None:
    """``python -m``; no such command; not executable; no command; a bad amount; a run inside a run."""
    assert run("--", sys.executable, "-m", "json.tool", "--help").returncode == 0
    assert run("--", "no-such-command-here").returncode == 127
    text = tmp_path / "text"
    text.write_text("no database\n" * 500, encoding="utf-8")
    assert run("--", str(text)).returncode == 126
    for arguments, said in (
        ((), "a command is missing"),
        (("--budget-usd", "much", "--", "true"), "--budget-usd must be a number >= 0, got 'much'"),
        (("--per", "day", "--", "true"), "--per day needs --budget-usd and a --ledger"),
        (("--ledger", str(text), "--", "true"), "text"),
        (("--project", " ", "--", "true"), "--project is empty"),
    ):
        done = run(*arguments)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert done.stderr.startswith("techrevati run: ")
        assert "Traceback" not in done.stderr
    assert run("--", "true", TECHREVATI_RUN="{}").returncode == 2
    assert run("--strict", "--", "true").returncode == 4
    assert run("--strict", "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7


def test_a_python_that_cannot_be_guarded_lets_no_sdk_in(tmp_path: Path) -> None:
    """Silence is never free: the import fails and says why."""
    agent = program(tmp_path, "import openai", preamble="")
    hook = ROOT / "techrevati" / "runtime" / "integrations" / "run_hook"
    done = subprocess.run(
        [sys.executable, agent],
        env={**os.environ, "PYTHONPATH": f"{hook}{os.pathsep}{ROOT}", "TECHREVATI_RUN": "{}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND_S,
    )
    assert done.returncode == 1
    assert "techrevati run cannot guard openai in this Python, so it is not let in" in done.stderr


OTHER = """
import sys
before = list(sys.path)
import openai
assert sys.path == before, sys.path
try:
    openai.OpenAI().request(object, openai.Options())
except ValueError as error:
    print(error)
"""
FAKE_SDK = """
class Options:
    method, url, json_data, extra_json = "post", "/chat/completions", {"model": "gpt-5-mini"}, None
    headers, idempotency_key, timeout, max_retries = {}, None, None, None


class OpenAI:
    max_retries, base_url, api_key = 0, None, "any"

    def request(self, cast_to, options, *, stream=False, stream_cls=None):
        raise ValueError(type(self).request.__wrapped__.__name__ + " was wrapped")

    copy = post = request
"""


def test_another_environment_is_guarded_and_sees_nothing_else(tmp_path: Path) -> None:
    """A Python that this package is not installed in: it is found, and what stands beside it is not."""
    (tmp_path / "openai.py").write_text(FAKE_SDK, encoding="utf-8")
    agent = program(tmp_path, OTHER, preamble="")
    python = getattr(sys, "_base_executable", sys.executable)
    probe = [python, "-c", "import techrevati.runtime"]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run(probe, env=bare, capture_output=True, check=False, cwd=tmp_path).returncode == 0:
        pytest.skip("every Python here has this package")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from techrevati.runtime.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(sys.argv[1:]))", *RUN[3:], "--", python, agent],
        env=bare,
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND_S,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "request was wrapped\n"
    assert "1 call guarded in 1 process" in done.stderr


def test_an_sdk_that_the_environment_imports_at_its_start_is_guarded(tmp_path: Path) -> None:
    """A .pth file comes before everything that can be put in front of a program."""
    venv.create(tmp_path / "venv", symlinks=os.name != "nt", with_pip=False)
    (packages,) = (tmp_path / "venv").glob("[Ll]ib/**/site-packages")
    (packages / "openai.py").write_text(FAKE_SDK, encoding="utf-8")
    (packages / "early.pth").write_text("import openai\n", encoding="utf-8")
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    agent = program(tmp_path, OTHER, preamble="")
    done = run("--", str(python), agent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "request was wrapped\n"
    assert "1 call guarded in 1 process" in done.stderr


# --- signals -----------------------------------------------------------------------------------------------

COUNTING = """
import signal, sys, time
seen = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda n, frame: seen.append(signal.Signals(n).name))
print("ready", flush=True)
for _ in range(3000):
    if seen:
        break
    time.sleep(0.01)
time.sleep(0.5)  # a second one would come now
print(*seen, flush=True)
sys.exit(5)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_to_the_command_is_passed_on_once(name: str, tmp_path: Path) -> None:
    """And the status of the program that handled it is kept."""
    agent = program(tmp_path, COUNTING, preamble="")
    with subprocess.Popen(
        [*RUN, "--", agent], env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        started.send_signal(getattr(signal, name))
        out, err = started.communicate(timeout=BOUND_S)
    assert out == f"{name}\n"
    assert started.returncode == 5
    assert "exit status 5" in err


def test_signals_are_passed_on_where_nobody_says_who_sent_them(tmp_path: Path) -> None:
    """The way of systems without ``sigtimedwait``; without a terminal SIGINT is passed on, too."""
    agent = program(tmp_path, COUNTING, preamble="")
    code = (
        "import os, signal, sys; del signal.sigtimedwait; "
        "from techrevati.runtime.cli.child_process import run_child; "
        "sys.exit(run_child(sys.argv[1:], os.environ))"
    )
    for name in ("SIGINT", "SIGTERM"):
        with subprocess.Popen(
            [sys.executable, "-c", code, sys.executable, agent],
            env=surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            started.send_signal(getattr(signal, name))
            out, err = started.communicate(timeout=BOUND_S)
        assert (out, err, started.returncode) == (f"{name}\n", "", 5)


def test_ctrl_c_reaches_the_program_once(tmp_path: Path) -> None:
    """On a terminal the whole group has it already."""
    agent = program(tmp_path, COUNTING, preamble="")
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execve(sys.executable, [*RUN, "--", agent], surroundings())
        finally:
            os._exit(99)
    read = b""
    killer = threading.Timer(BOUND_S, os.kill, (pid, signal.SIGKILL))
    killer.start()
    try:
        while b"ready" not in read:
            read += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        while True:
            try:
                more = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            read += more
        _, status = os.waitpid(pid, 0)
    finally:
        killer.cancel()
        os.close(terminal)
    text = read.decode()
    assert os.waitstatus_to_exitcode(status) == 5, text
    assert text.count("SIGINT") == 1, text
    assert "exit status 5" in text


def test_a_stalled_call_ended_by_a_signal_stays_on_the_budget(tmp_path: Path) -> None:
    """SIGTERM kills the program in the middle of a request: its reservation is held, and told."""
    agent = program(
        tmp_path,
        """
        print("ready", flush=True)
        sync_client().chat.completions.create(**body())
        """,
    )
    with (
        ChaosServer([Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=60)]) as server,
        subprocess.Popen(
            [*RUN, "--budget-usd", "1", "--", agent],
            env=surroundings(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as started,
    ):
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        for _ in range(3000):
            if server.injected:
                break
            threading.Event().wait(0.01)
        started.terminate()
        _, err = started.communicate(timeout=BOUND_S)
    assert started.returncode == 128 + signal.SIGTERM
    assert "is held for calls whose process ended before their answer" in err


def test_a_stream_that_is_open_at_the_end_is_told_once_and_quietly(tmp_path: Path) -> None:
    """Nobody closed it: it is on the books, and the program's last words are its own."""
    agent = program(
        tmp_path,
        """
        stream = claude().messages.create(**body("claude-sonnet-5"), stream=True)
        next(iter(stream))
        kept = [stream]
        kept.append(kept)
        """,
    )
    with ChaosServer() as server:
        done = run("--", agent, server=server)
    assert done.returncode == 0
    assert "Exception ignored" not in done.stderr
    assert "1 call guarded in 1 process" in done.stderr
    assert "1 without usage (estimated)" in done.stderr


def test_importing_an_sdk_imports_nothing_more(tmp_path: Path) -> None:
    """Openai's lazy attributes stay lazy: looking for its clients does not load all it has."""
    loaded = "import openai, sys\nprint(*sorted(name for name in sys.modules if name.startswith('openai')))\n"
    agent = program(tmp_path, loaded, preamble="")
    plain = subprocess.run(
        [sys.executable, agent], capture_output=True, text=True, timeout=BOUND_S, check=True
    )
    assert run("--", sys.executable, agent).stdout.split() == plain.stdout.split() != []


COPIED = """
import copy, importlib

first = sync_client()
first.chat.completions.create(**body())
second = copy.copy(first)
del second.__dict__["chat"]
second.base_url = os.environ["OTHER"] + "/"
second.chat.completions.create(**body())
importlib.reload(openai)
sync_client(openai.OpenAI).chat.completions.create(**body())
"""


def test_copies_by_hand_and_reloads_are_guarded_once(tmp_path: Path) -> None:
    """Each client sends by its own way, and an SDK that is imported again is not charged twice."""
    agent = program(tmp_path, COPIED)
    with ChaosServer() as server, ChaosServer() as other:
        done = run("--budget-usd", "1", "--", agent, server=server, OTHER=other.base_url)
        server.wait_idle()
        other.wait_idle()
        assert done.returncode == 0, done.stderr
        assert (server.bill.requests, other.bill.requests) == (2, 1)
        assert total(done) == (server.bill.cost_usd or 0) + (other.bill.cost_usd or 0)
    assert "3 calls guarded in 1 process" in done.stderr


def test_a_budget_in_total_holds_over_runs(tmp_path: Path) -> None:
    """The same ledger, from wherever it is named; each report shows its own run; --strict tells refusals."""
    agent = program(
        tmp_path,
        """
        os.chdir("/")
        try:
            sync_client().chat.completions.create(**body())
        except Exception as error:
            assert type(error).__name__ == "BudgetExceededError", error
        """,
    )
    with ChaosServer() as server:
        limit = ("--budget-usd", "0.0004", "--per", "total", "--ledger", "spend.db", "--strict", "--", agent)
        spent = Decimal(0)
        statuses = []
        for _ in range(9):
            done = run(*limit, server=server, folder=tmp_path)
            statuses.append(done.returncode)
            if done.returncode:
                break
            spent += total(done)
        server.wait_idle()
        assert statuses[-1] == 3, done.stderr
        assert len(statuses) > 1
        assert spent == server.bill.cost_usd
        with SpendLedger(tmp_path / "spend.db", read_only=True) as ledger:
            assert ledger.total(project="acme") == spent


def test_a_process_that_outlives_the_command_goes_on(tmp_path: Path) -> None:
    """With a ledger of its own to write to; that nobody reads its notes any more is no trouble."""
    book, mark = tmp_path / "spend.db", tmp_path / "done"
    agent = program(
        tmp_path,
        """
        import shutil, time
        sync_client().chat.completions.create(**body())
        if os.fork() == 0:
            os.setsid()
            for stream in (0, 1, 2):
                os.close(stream)
            notes = json.loads(os.environ["TECHREVATI_RUN"])["notes"]
            while os.path.exists(notes):
                time.sleep(0.01)
            sync_client().chat.completions.create(**body())
            open(sys.argv[1], "w").close()
            os._exit(0)
        """,
        preamble="import json\n" + PREAMBLE,
    )
    with ChaosServer() as server:
        done = run("--ledger", str(book), "--", agent, str(mark), server=server)
        assert done.returncode == 0, done.stderr
        for _ in range(6_000):
            if mark.exists():
                break
            threading.Event().wait(0.01)
        assert mark.exists()
        server.wait_idle()
        with SpendLedger(book, read_only=True) as ledger:
            assert ledger.total() == server.bill.cost_usd
            assert len(list(ledger.records())) == 2
