"""Why a call cannot be priced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Callable


class UnknownModelError(TechrevatiError, KeyError):
    """No price is known for a model; it is not taken for free.

    Attributes:
        model: The name asked for.
        near: Known names that look like it, the most similar first; searched for when first read, because
            programs that only count the refusal need not wait for it.
    """

    def __init__(self, model: str, near: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()) -> None:
        super().__init__(model)
        self.model = model
        self._near = near

    @property
    def near(self) -> tuple[str, ...]:
        near = getattr(self, "_near", ())
        if not isinstance(near, tuple):
            self._near = near = near()
        return near

    def __str__(self) -> str:
        hint = f"; did you mean {' or '.join(map(repr, self.near))}?" if self.near else ""
        return f"no price for model {self.model!r}{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        self._near = self.near  # a search does not pickle, what it finds does
        return super().__reduce__()


class UnknownPriceError(TechrevatiError, LookupError):
    """The model is known, but not what it costs in the tier, or for the part of the usage, that was asked
    for.

    Attributes:
        model: The model as it was matched.
        wanted: What has no price, such as ``tier 'batch'``.
    """

    def __init__(self, model: str, wanted: str) -> None:
        super().__init__(model, wanted)
        self.model = model
        self.wanted = wanted

    def __str__(self) -> str:
        return f"no price of {self.model!r} for {self.wanted}"
