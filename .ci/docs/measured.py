"""A hook of mkdocs: docs/benchmarks.md stands in the navigation once the benchmarks have written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = "benchmarks.md"


def on_config(config: Any) -> Any:
    """Put the page beside the other comparison."""
    if (Path(config.docs_dir) / PAGE).exists():
        (compared,) = (
            pages for entry in config.nav if isinstance(entry, dict) and (pages := entry.get("Compared"))
        )
        compared.append({"Speed": PAGE})
    return config
