"""Why a call cannot be priced."""

from __future__ import annotations

from techrevati.runtime._core.errors import TechrevatiError


class UnknownModelError(TechrevatiError, KeyError):
    """No price is known for a model; it is not taken for free.

    Attributes:
        model: The name asked for.
        near: Known names that look like it, the most similar first.
    """

    def __init__(self, model: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(model, near)
        self.model = model
        self.near = near

    def __str__(self) -> str:
        hint = f"; did you mean {' or '.join(map(repr, self.near))}?" if self.near else ""
        return f"no price for model {self.model!r}{hint}"


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
