"""One failure with its label, and rows of provider answers that make failures.

Labels are written from what the provider documents, before ``classify`` sees the case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from techrevati.runtime.failures import KINDS, FailureKind, FailureOrigin

NOW = 1_795_000_000.0  # what dates in headers are measured from


@dataclass(frozen=True)
class Case:
    """How to make a failure, and what it means.

    ``make`` raises or returns it.  ``retryable`` None is what follows from the kind; ``retry_after`` None
    means that nobody asked to wait; ``also`` are kinds that a reader of the documentation may defend too;
    ``origin`` None asks for none.
    """

    group: str
    name: str
    make: Callable[[], BaseException | None]
    kind: FailureKind
    retryable: bool | None = None
    retry_after: float | None = None
    also: tuple[FailureKind, ...] = ()
    origin: FailureOrigin | None = None

    @property
    def may_be_retried(self) -> bool:
        return KINDS[self.kind][1] if self.retryable is None else self.retryable

    def failure(self) -> BaseException:
        try:
            made = self.make()
        except BaseException as error:
            return error
        if made is None:
            raise RuntimeError(f"{self.group}: {self.name}: nothing failed")
        return made


@dataclass(frozen=True)
class Row:
    """What a provider answers: status, body, headers; and what that means."""

    name: str
    status: int
    body: object
    kind: FailureKind
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retryable: bool | None = None
    also: tuple[FailureKind, ...] = ()

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    def case(self, group: str, make: Callable[[], BaseException | None]) -> Case:
        return Case(group, self.name, make, self.kind, self.retryable, self.retry_after, self.also)


def raised(error: BaseException, cause: BaseException | None = None, *, hide: bool = False) -> BaseException:
    """*error* as it is once raised from *cause*; *hide* is ``from None`` inside the handler of *cause*."""
    try:
        if cause is None:
            raise error
        if not hide:
            raise error from cause
        try:
            raise cause
        except BaseException:
            raise error from None
    except BaseException as caught:
        return caught


def during(cause: BaseException, error: BaseException) -> BaseException:
    """*error* as it is once raised while *cause* was being handled."""
    try:
        try:
            raise cause
        except BaseException:
            raise error  # noqa: B904 - that is what this makes
    except BaseException as caught:
        return caught


Cases = Iterable[Case]
