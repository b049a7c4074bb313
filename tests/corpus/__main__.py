"""``python -m tests.corpus``: the score by provider; with ``-v`` every miss."""

from __future__ import annotations

import sys

from tests.corpus.endpoint import Endpoint
from tests.corpus.score import all_cases, counted, table

with Endpoint() as endpoint:
    counts = counted(all_cases(endpoint))
sys.stdout.write(table(counts) + "\n")
if "-v" in sys.argv[1:]:
    sys.stdout.write("\n" + "\n".join(counts[""].misses) + "\n")
