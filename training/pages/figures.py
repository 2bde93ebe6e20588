"""Drawings of pages, by matplotlib: SVG that is the same bytes each time."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

#: Colours that stay apart for most kinds of colour blindness (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GRID = "#e4e8eb"
READABLE = 0.6
"""A drawing is shown no smaller than this share of its size."""


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """Figure and axes in the pages' style.

    Sizes are inches: a page has room for 10.6 of them side by side, a phone for 3.3.
    """
    # Not pyplot: it keeps global state and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=GRID)
    return figure, axes


def name_points(axes: Any, points: Iterable[tuple[str, float, float]]) -> None:  # noqa: ANN401
    """Write names beside points, none over another or a point: they move up or down for that.

    Args:
        axes: matplotlib's; their limits and labels are set already.
        points: Name, x and y of each.
    """
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()
    middle = sum(axes.get_xlim()) / 2
    points = sorted(points, key=lambda point: -point[2])
    dots = axes.transData.transform([point[1:] for point in points])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in dots]
    for name, x, y in points:
        aside, to = (-8, "right") if x > middle else (8, "left")
        text = axes.annotate(
            name,
            (x, y),
            textcoords="offset points",
            xytext=(aside, 0),
            ha=to,
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#9aa5a0", "lw": 0.6, "shrinkA": 1},
        )
        text.set_in_layout(False)  # else the axes shrink, and names meet after all
        text.get_window_extent()  # which puts it where it belongs; its own extent has the line too
        box = Text.get_window_extent(text).padded(1)
        up = next(
            step
            for step in sorted(range(-400, 400), key=abs)
            if not any(box.translated(0, step).overlaps(other) for other in taken)
        )
        text.set_position((aside, up * 72 / axes.figure.dpi))
        taken.append(box.translated(0, up))


_SAID_OF_FIGURES = ("Date", "Creator", "Format", "Type")
_NAMESPACES = (
    ' xmlns="http://www.w3.org/2000/svg"',
    ' xmlns:xlink="http://www.w3.org/1999/xlink"',
)
"""Within a page they are known."""


def svg(figure: Any, about: str, tips: Mapping[str, str] | None = None) -> Markup:  # noqa: ANN401
    """The figure as SVG text for a page, the same bytes each time.

    It gets smaller with the screen as long as its letters can be read.

    Args:
        figure: matplotlib's.
        about: What it shows, for whoever cannot see it.
        tips: What to say where a pointer rests, by the ``gid`` of what is drawn.
    """
    import matplotlib
    from markupsafe import Markup

    stream = io.StringIO()
    # Without date and random ids the same figures give the same bytes.
    with (
        matplotlib.rc_context({"svg.hashsalt": "wheatear", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # Letters stay text: the page's reader has fonts for those that are missing here.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(_SAID_OF_FIGURES))
    text = stream.getvalue()
    for name in _NAMESPACES:
        text = text.replace(name, "", 1)
    for gid, tip in (tips or {}).items():
        begin = f'<g id="{gid}">'
        text = text.replace(begin, f"{begin}<title>{escape(tip)}</title>", 1)
    least = READABLE * 72 * figure.get_figwidth()
    said = f'<svg role="img" aria-label="{escape(about)}" style="min-width: {least:.0f}pt" '
    return Markup(text[text.index("<svg ") :].replace("<svg ", said, 1))


def side_by_side(drawings: Iterable[Markup]) -> Markup:
    """Several drawings for one row of a page; on a phone they stand below each other."""
    from markupsafe import Markup

    return Markup("").join(drawings)


def shortened(name: str, units: int = 34) -> str:
    """The name, cut with an ellipsis where it is wider than so many Latin letters."""
    kept = ""
    for letter in name:
        if _units(kept + letter) > units:
            return f"{kept.rstrip()}…"
        kept += letter
    return name


def _units(text: str) -> float:
    """Width in Latin letters: Chinese, Japanese and Korean letters are twice as wide."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + 0.8 * wide
