"""Which single act a human allowed: pure moves over a record, and the store that makes them atomic."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments as check
from techrevati.runtime._core.canonical import argument_hash
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime.approvals.vocabulary import (
    CONSUMED,
    DENIED,
    GRANTED,
    PENDING,
    Approval,
    ApprovalConsumedError,
    ApprovalDeniedError,
    ApprovalExpiredError,
    ApprovalMismatchError,
    ApprovalPendingError,
    UnknownApprovalError,
)
from techrevati.runtime.stores.protocol import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techrevati.runtime.stores.protocol import Store

PREFIX = "approval/"
KEPT_AFTER_EXPIRY_S = 30 * 86_400.0
_SHOWN_CHARACTERS = 500


# --- what is decided ---------------------------------------------------------------------------------------


def decided(approval: Approval, yes: bool, by: str, now_s: float) -> Approval:
    """The approval after a human spoke; the same answer twice changes nothing, another one is refused."""
    target = GRANTED if yes else DENIED
    if approval.state == target:
        return approval
    if approval.state == CONSUMED:
        raise ApprovalConsumedError(approval.id, approval.tool, "it was used already")
    if now_s >= approval.expires_at:
        raise ApprovalExpiredError(approval.id, approval.tool, "it has expired; the program must ask again")
    if approval.state == DENIED:  # a no is final; a yes may be taken back until it is used
        raise ApprovalDeniedError(approval.id, approval.tool, f"{approval.decided_by} has denied it")
    return replace(approval, state=target, decided_by=by)


def holds_still(approval: Approval, policy_version: str, now_s: float) -> bool:
    """Whether asking again changes nothing.

    What was used or denied stays so; what nobody decided or used in time, or under this policy, is a new
    question.
    """
    if approval.policy_version != policy_version:
        return False
    return approval.state in (CONSUMED, DENIED) or now_s < approval.expires_at


def consumed(
    approval: Approval, tool: str, hashed: str, policy_version: str, by: str | None, now_s: float
) -> Approval:
    """The approval after its one use; raises when it does not hold for this act, now."""
    name = approval.id
    for what, wanted, given in (
        ("another tool", approval.tool, tool),
        ("other arguments", approval.argument_hash, hashed),
        ("another policy version", approval.policy_version, policy_version),
    ):
        if wanted != given:
            raise ApprovalMismatchError(name, approval.tool, f"it is for {what}")
    if approval.state == CONSUMED:
        if by is not None and approval.consumed_by == by:
            return approval
        raise ApprovalConsumedError(name, tool, "it was used already")
    if approval.state == DENIED:
        raise ApprovalDeniedError(name, tool, f"{approval.decided_by} has denied it")
    if now_s >= approval.expires_at:
        raise ApprovalExpiredError(name, tool, "it has expired")
    if approval.state != GRANTED:
        raise ApprovalPendingError(name, tool, "nobody has decided yet")
    return replace(approval, state=CONSUMED, consumed_by=by or "")


# --- where it is kept --------------------------------------------------------------------------------------


class Approvals:
    """Asks humans for single acts and remembers their answers.  Safe for threads and, over a shared store,
    for processes.

    Whatever was not granted is not allowed: no answer, no callback and an expired request mean no.

    Args:
        store: Where they live; may also hold the ledger, the journal and breakers.
        policy_version: Changes when the rules change; older approvals then hold no longer.
        redactor: Goes over what people are shown.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        *,
        policy_version: str = "1",
        redactor: Redactor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self.policy_version: str = check.text("policy_version", policy_version)
        self._redactor = Redactor() if redactor is None else redactor
        self._clock = clock

    def request(
        self,
        tool: str,
        arguments: Mapping[str, object] | None = None,
        *,
        reason: str = "",
        expires: float = 3600.0,
        id: str | None = None,
    ) -> str:
        """Ask for one act.

        Args:
            tool, arguments: The act.
            reason: Why, for people.
            expires: Seconds until the request, and a grant of it, hold no longer; > 0.
            id: A name of yours.  Asking again under it changes nothing, unless the request, or a grant that
                was not used, has expired or was under another policy: then people are asked anew.

        Returns:
            The id.

        Raises:
            ApprovalMismatchError: *id* names another act.
        """
        check.text("tool", tool)
        check.positive("expires", expires)
        now_s = self._clock()
        shown = self._redactor.text(repr(self._redactor.mapping(dict(arguments or {}))))
        asked = Approval(
            os.urandom(8).hex() if id is None else check.text("id", id),
            tool,
            argument_hash(arguments or {}),
            self.policy_version,
            self._redactor.text(reason),
            shown[:_SHOWN_CHARACTERS],
            PENDING,
            now_s,
            now_s + expires,
        )
        key = PREFIX + asked.id

        def decide(records: Mapping[str, bytes | None]) -> Change[None]:
            raw = records[key]
            if raw is not None:
                there = _from(raw)
                if (there.tool, there.argument_hash) != (asked.tool, asked.argument_hash):
                    raise ApprovalMismatchError(asked.id, there.tool, "the id is that of another act")
                if holds_still(there, asked.policy_version, now_s):
                    return Change(None)
            return Change(None, {key: _bytes(asked)}, (), {key: asked.expires_at + KEPT_AFTER_EXPIRY_S})

        self._store.update([key], decide)
        return asked.id

    def grant(self, id: str, by: str) -> Approval:
        """Allow it; *by* says who.

        Raises:
            UnknownApprovalError, ApprovalExpiredError, ApprovalConsumedError, ApprovalDeniedError: Too late.
        """
        return self._move(id, lambda approval: decided(approval, True, check.text("by", by), self._clock()))

    def deny(self, id: str, by: str) -> Approval:
        """Refuse it, also after a grant that was not used yet; *by* says who.  A no is final."""
        return self._move(id, lambda approval: decided(approval, False, check.text("by", by), self._clock()))

    def consume(
        self, id: str, tool: str, arguments: Mapping[str, object] | None = None, *, by: str | None = None
    ) -> Approval:
        """Use it for this act; succeeds once, in whatever process.

        Args:
            id: The approval.
            tool, arguments: The act; must be the one that was asked for.
            by: Who uses it.  The same one may ask again, after a crash between the use and the act: give it
                only where something else, like a journal, sees to it that the act runs once.

        Raises:
            ApprovalPendingError: Nobody has decided yet.
            ApprovalDeniedError, ApprovalExpiredError, ApprovalConsumedError, ApprovalMismatchError,
                UnknownApprovalError: It allows nothing.
        """
        hashed = argument_hash(arguments or {})
        return self._move(
            id, lambda approval: consumed(approval, tool, hashed, self.policy_version, by, self._clock())
        )

    def get(self, id: str) -> Approval:
        """The approval as it is now.

        Raises:
            UnknownApprovalError: There is none.
        """
        found = self._store.load(PREFIX + id)
        if found is None:
            raise UnknownApprovalError(id, None, "there is none of that id")
        return _from(found.value)

    def list(self, *, state: str | None = None, limit: int = 1000) -> tuple[Approval, ...]:
        """Those in *state*, or all, oldest first; at most *limit* are looked at."""
        loaded = (self._store.load(key) for key in self._store.keys(PREFIX, limit=limit))
        found = [_from(record.value) for record in loaded if record is not None]
        kept = (one for one in found if state is None or one.state == state)
        return tuple(sorted(kept, key=lambda one: (one.requested_at, one.id)))

    def _move(self, id: str, move: Callable[[Approval], Approval]) -> Approval:
        key = PREFIX + id

        def decide(records: Mapping[str, bytes | None]) -> Change[Approval]:
            raw = records[key]
            if raw is None:
                raise UnknownApprovalError(id, None, "there is none of that id")
            before = _from(raw)
            after = move(before)
            return Change(after) if after is before else Change(after, {key: _bytes(after)})

        return self._store.update([key], decide)


def _bytes(approval: Approval) -> bytes:
    import json

    return json.dumps(asdict(approval), ensure_ascii=False).encode(errors="backslashreplace")


def _from(raw: bytes) -> Approval:
    import json

    return Approval(**json.loads(raw))
