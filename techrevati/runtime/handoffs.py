"""Record that one agent passed its work on to another."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from time import time

from techrevati.runtime._core import arguments
from techrevati.runtime._core.clock import iso_utc


@dataclass(frozen=True, slots=True)
class Handoff:
    """Work passed from one role to another.  Immutable.

    Attributes:
        source_role, target_role: Who passes to whom; not empty.
        phase: Where.
        reason: Why, for people.
        context: What the target needs to know; copied.
        project_id: For whom.
        target_worker_id: The worker that was created for the target, if any.
        created_at: ISO-8601 in UTC; the time of construction by default.
        source_run_id: The session that passed it on, if one did.
    """

    source_role: str
    target_role: str
    phase: str
    reason: str
    context: Mapping[str, object] = field(default_factory=dict)
    project_id: str | None = None
    target_worker_id: str = ""
    created_at: str = field(default_factory=lambda: iso_utc(time()))
    source_run_id: str | None = None

    def __post_init__(self) -> None:
        arguments.text("source_role", self.source_role)
        arguments.text("target_role", self.target_role)
        if not isinstance(self.context, Mapping):
            raise TypeError(f"context must be a mapping, got {self.context!r}")
        object.__setattr__(self, "context", deepcopy(dict(self.context)))

    def to_dict(self) -> dict[str, object]:
        """Every field as a plain value; ``source_run_id`` only if there is one."""
        run = {} if self.source_run_id is None else {"source_run_id": self.source_run_id}
        return {
            "source_role": self.source_role,
            "target_role": self.target_role,
            "phase": self.phase,
            "reason": self.reason,
            "context": deepcopy(dict(self.context)),
            "project_id": self.project_id,
            "target_worker_id": self.target_worker_id,
            "created_at": self.created_at,
            **run,
        }
