"""``techrevati runs`` and ``techrevati approvals``."""

from __future__ import annotations

from pathlib import Path

import pytest

from techrevati.runtime.approvals import Approvals
from techrevati.runtime.cli import main
from techrevati.runtime.journal import Journal
from techrevati.runtime.stores import SqliteStore


def interrupted() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def test_runs_and_approvals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs show state and doubt; a pending approval is granted once and then denied to latecomers."""
    file = tmp_path / "one.db"
    with SqliteStore(file) as store:
        with pytest.raises(KeyboardInterrupt), Journal(store).open("letter") as run:
            run.step("send", interrupted)
        name = Approvals(store).request("send", {"to": "Ann"})
    assert main(["runs", str(file)]) == 0
    assert capsys.readouterr().out == "letter  interrupted  1 steps  $0.000000  in doubt: send\n"
    assert main(["approvals", "list", str(file)]) == 0
    assert f"{name}  pending  send" in capsys.readouterr().out
    assert main(["approvals", "grant", str(file), name, "--by", "Bea"]) == 0
    assert main(["approvals", "deny", str(file), name, "--by", "Cy"]) == 0
    assert main(["approvals", "grant", str(file), name]) == 1
    assert main(["approvals", "grant", str(file)]) == 2
    assert main(["runs", str(tmp_path / "none.db")]) == 2
