"""A headless Chromium of the system; without one these tests are skipped, and say why."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def installed() -> str | None:
    """The browser, as a Debian package if need be; only root may install one."""
    if found() is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in ("update", "install --yes --no-install-recommends chromium"):
            try:
                subprocess.run(
                    ["apt-get", "-qq", *command.split()], capture_output=True, timeout=240, check=True
                )
            except (OSError, subprocess.SubprocessError):
                return None
    return found()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file; while it is open its event loop keeps others from running."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = installed()
    if path is None:
        pytest.skip("there is no Chromium, and it could not be installed (apt-get install chromium, as root)")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox needs rights that a container and root do not have.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
