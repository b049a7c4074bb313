"""What type checkers conclude about the package: asked of mypy and pyright themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASSERTIONS = "tests/contract/typing_assertions.py"


def checked(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a checker of this environment in the repository.

    ``--verifytypes`` finds the package with the first ``python`` on the path, whatever else it is told.
    """
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_mypy_agrees(tmp_path: Path) -> None:
    """``mypy --strict`` accepts every assertion and finds every deliberate mistake."""
    done = checked("mypy", "--strict", "--cache-dir", str(tmp_path), ASSERTIONS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_agrees(tmp_path: Path) -> None:
    """pyright accepts every assertion and finds every deliberate mistake by itself.

    ``type: ignore`` is mypy's word here, so pyright must not listen to it.
    """
    settings = {
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    shutil.copy(ROOT / ASSERTIONS, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = checked("pyright", "--project", str(tmp_path), "--pythonpath", sys.executable, "--outputjson")
    report = json.loads(done.stdout)
    found = [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in report["generalDiagnostics"]]
    assert not found, "\n".join(found)
    assert report["summary"]["filesAnalyzed"] == 1


def test_every_public_symbol_has_a_known_type() -> None:
    """``pyright --ignoreexternal --verifytypes`` reports 100 % completeness."""
    done = checked("pyright", "--ignoreexternal", "--verifytypes", "techrevati.runtime", "--outputjson")
    report = json.loads(done.stdout)
    completeness = report["typeCompleteness"]
    assert completeness.get("pyTypedPath"), report["generalDiagnostics"]
    assert completeness["exportedSymbolCounts"]["withKnownType"] > 0
    unknown = [
        f"{symbol['name']}: {diagnostic['message'].splitlines()[0]}"
        for symbol in completeness["symbols"]
        for diagnostic in symbol["diagnostics"]
        if diagnostic["severity"] == "error"
    ]
    score = completeness["completenessScore"]
    assert score == 1.0, f"{score:.1%} complete\n" + "\n".join(unknown)
