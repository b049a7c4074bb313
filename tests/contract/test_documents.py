"""Every block in the README and the docs runs as it is written, and every example."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import NamedTuple

import pytest

from techrevati.runtime.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NO_CODE = ("text", "")  # what a program prints, and drawings
INSTALLS = (
    "python3 -m venv ",
    ".venv/bin/",
)  # run by .ci/run and .ci/newcomer, which make these environments

# What the commands in the documents are about.
AGENT = """
import openai
from techrevati.runtime.chaos import ChaosServer

with ChaosServer() as endpoint, openai.OpenAI(base_url=endpoint.base_url, api_key="any") as client:
    said = [{"role": "user", "content": "Hi"}]
    client.chat.completions.create(model="gpt-5-mini", messages=said, max_completion_tokens=20)
"""
LITELLM_PRICES = {
    "gpt-4o": {
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "litellm_provider": "openai",
        "mode": "chat",
    }
}


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    """All of a document, indented ones included."""
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"^( *)(```+|~~~+)([^\n]*)\n(.*?)^\1\2 *$", text, re.M | re.S)
    assert len(re.findall(r"^ *(?:```|~~~)", text, re.M)) == 2 * len(found), "a fence without its other half"
    return [Block(language.strip(), block) for _, _, language, block in found]


def commands(document: Path) -> list[str]:
    """The lines of its shell blocks that no other piece of CI runs."""
    lines = []
    for block in blocks(document):
        if block.language in ("sh", "console"):
            text = block.text.replace(
                "\ntechrevati demo --resume", " || techrevati demo --resume"
            )  # after a kill
            lines += [line.removeprefix("$ ") for line in text.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(INSTALLS)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_block_is_of_a_kind_that_nothing_runs(document: Path) -> None:
    """Python and shell run here or in another piece of CI; everything else is no code."""
    kinds = {block.language for block in blocks(document)}
    assert kinds <= {"python", "sh", "console", *NO_CODE}
    if any(line.startswith(INSTALLS) for block in blocks(document) for line in block.text.splitlines()):
        assert document.name in ("README.md", "getting-started.md")


@pytest.mark.parametrize(
    ("document", "command"),
    [pytest.param(doc, line, id=f"{doc.name}: {line[:40]}") for doc in DOCUMENTS for line in commands(doc)],
)
def test_commands_run(document: Path, command: str, tmp_path: Path) -> None:
    """Each line of shell ends well; a server is ended as its line says, with Ctrl-C."""
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    prices = json.dumps(LITELLM_PRICES)
    (tmp_path / "model_prices_and_context_window.json").write_text(prices, encoding="utf-8")
    ours = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["bash", "-euc", command if " || " in command else f"exec {command}"],
        cwd=tmp_path,
        env={**os.environ, **ours, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = ""
    if "Ctrl-C" in command:
        first = process.stdout.readline()  # it serves
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert first + out + err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document: Path, tmp_path: Path) -> None:
    """The blocks of one document run one after the other, in a process and folder of their own."""
    program = tmp_path / "document.py"
    code = [block.text for block in blocks(document) if block.language == "python"]
    program.write_text("\n\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not (ROOT / ".git").exists() or which("git") is None, reason="no checkout")
def test_the_top_level_holds_what_belongs_there() -> None:
    """What somebody tried out in the root is not committed with the rest."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {path.split("/")[0] for path in listed.splitlines()} == {
        *(".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "benchmarks", "docs", "examples"),
        *("pyproject.toml", "techrevati", "tests"),
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    """Every relative link points to a file or folder of the repository."""
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    """Each example ends well, without a server, a key or a network, and says what it needs."""
    lines = example.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert sum("``pip install " in line and "techrevati-runtime" in line for line in lines) == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", example], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if example.name == "durable_workflow.py":  # it kills its first life itself
        assert "a life ended with -9; requests so far: 2" in done.stdout
        assert "a life ended with 0; requests so far: 3" in done.stdout
        bill, ledger = (float(part.split()[1]) for part in done.stdout.splitlines()[-1].split(", "))
        assert bill == ledger > 0


def test_the_picture_shows_the_report_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.ci/docs/picture`` makes it, and leaves a fingerprint of the page in it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    picture = runpy.run_path(str(ROOT / ".ci/docs/picture"))
    shown = re.search(rb"tEXtComment\0([0-9a-f]{64})", (ROOT / "docs/images/report.png").read_bytes())
    assert shown is not None
    now = picture["fingerprint"](picture["page"](tmp_path))
    assert shown[1].decode() == now, "the report looks otherwise now: run .ci/docs/picture"


def claims() -> list[str]:
    """The commands of the README's table of claims."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Each claim has a command")[2]
    rows = [line for line in table.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    found = [re.findall(r"`([^`]+)`", row.split(" | ")[-1]) for row in rows]
    assert all(found), "a claim without a command"
    return [command for row in found for command in row]


@pytest.mark.parametrize("command", claims())
def test_the_command_of_a_claim_is_there(command: str) -> None:
    """What takes minutes is only looked up; other tests and CI run all of them."""
    first, *rest = command.split()
    if first == "python":
        assert rest[0] == "-m"
        assert find_spec(rest[1]) is not None
    elif first == "techrevati":
        assert main([rest[0], "--help"]) == 0
    else:
        assert os.access(ROOT / first, os.X_OK)


@pytest.mark.parametrize("name", ["main-job", "tests"])
def test_the_readme_holds_the_two_commands(name: str) -> None:
    """CI finds each command under its mark, as one line of shell."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", text)
    assert command.startswith("python3 -m venv .venv && ")
