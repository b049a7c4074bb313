"""A small HTML table for notebooks: everything escaped, readable on light and dark pages.

No colour is set for text or background: a notebook's own theme stays in force, and lines are drawn in the
colour of the text.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CELL = "padding:0.2em 0.8em;border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)"


def html_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    texts: int,
    caption: str = "",
    foot: Sequence[str] = (),
) -> str:
    """A table of texts; the first *texts* columns are names, the others numbers and stand on the right."""
    from html import escape

    def cells(values: Sequence[str], kind: str) -> str:
        sides = ["left"] * texts + ["right"] * (len(values) - texts)
        return "".join(
            f'<{kind} style="text-align:{side};{_CELL}">{escape(value)}</{kind}>'
            for side, value in zip(sides, values, strict=True)
        )

    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    end = f"<tfoot><tr>{cells(foot, 'th')}</tr></tfoot>" if foot else ""
    return (
        '<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
        f"{title}<thead><tr>{cells(heads, 'th')}</tr></thead><tbody>{body}</tbody>{end}</table>"
    )
