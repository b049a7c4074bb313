"""The tables of ``docs/chaos.md``: what the installed SDKs raise for each fault.

``python -m tests.contract.exception_tables`` drives the SDKs that are installed and writes their table; run
it in an environment of each generation.  A test compares the table of the generation that it runs with.
"""

from __future__ import annotations

import contextlib
import io
import re
from importlib.metadata import version
from pathlib import Path

from techrevati.runtime.chaos.exception_table import main

PAGE = Path(__file__).parents[2] / "docs" / "chaos.md"


def generation() -> str:
    """The majors of the installed SDKs, as the page names them."""
    return ", ".join(f"{name} {version(name).split('.')[0]}" for name in ("openai", "anthropic"))


def with_table(text: str) -> str:
    """The page with the table of the installed SDKs as it is."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        main()
    begin, end = f"<!-- {generation()}: begin -->", f"<!-- {generation()}: end -->"
    assert begin in text, f"docs/chaos.md has no place for {generation()}"
    return re.sub(
        f"{begin}.*{end}", lambda _: f"{begin}\n{written.getvalue().strip()}\n{end}", text, flags=re.S
    )


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
