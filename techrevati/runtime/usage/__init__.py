"""Say what a model call used, in disjoint token counts.

Providers disagree about what "input tokens" includes: some count cached tokens inside, some beside.  Here a
token is counted once: ``input_tokens`` never includes cached ones.  ``UsageSnapshot.from_response`` reads the
responses of the common APIs by their shape, without importing any SDK, and never guesses.
"""

from __future__ import annotations

from techrevati.runtime.usage.snapshot import UsageNotFoundError, UsageSnapshot
from techrevati.runtime.usage.stream import UsageAccumulator

__all__ = ["UsageAccumulator", "UsageNotFoundError", "UsageSnapshot"]
