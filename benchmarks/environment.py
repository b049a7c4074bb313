"""An environment of their own for the peers, made once and used again.

It lies in ``.venv-bench/`` beside this package and is made anew when ``requirements.txt`` or the interpreter
changes.  A peer that does not install is left out; the report then says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-bench"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def inside(folder: Path = FOLDER) -> bool:
    """Whether this interpreter is the one of the environment."""
    return Path(sys.prefix).resolve() == folder.resolve()


def prepared(folder: Path = FOLDER) -> Path:
    """The interpreter of an environment that has what can be had of the peers.

    Raises:
        OSError, subprocess.CalledProcessError: There is no environment to be had at all.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "made-for"
    wanted = _fingerprint()
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    sys.stderr.write(f"making {folder} for the peers ...\n")
    venv.create(folder, with_pip=True, clear=True)
    if not _installed(python, "--requirement", str(REQUIREMENTS)):
        lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line]
        failed = [line for line in lines if not _installed(python, line)]
        if failed:
            return python  # incomplete, and not marked as made: the next run tries again
    stamp.write_text(wanted, encoding="utf-8")
    return python


def run_inside(python: Path, arguments: Sequence[str]) -> int:
    """Run this package again in that environment; its exit status."""
    return subprocess.run(
        [str(python), "-m", "benchmarks", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    ).returncode


def _installed(python: Path, *what: str) -> bool:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        sys.stderr.write(f"pip install {' '.join(what)} failed: {last}\n")
    return done.returncode == 0


def _fingerprint() -> str:
    return f"{sys.version}\n{sha256(REQUIREMENTS.read_bytes()).hexdigest()}\n"
