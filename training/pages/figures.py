"""Drawings of pages, by matplotlib: SVG that is the same bytes each time."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

#: Colours that stay apart for most kinds of colour blindness (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GRID = "#e4e8eb"


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """Figure and axes in the pages' style; an array of axes where there are several columns.

    Sizes are inches: a page has room for 10.6 of them side by side.
    """
    # Not pyplot: it keeps global state and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    found = figure.subplots(1, columns, squeeze=False)[0]
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(visible=True, color=GRID)
    return figure, found if columns > 1 else found[0]


_SAID_OF_FIGURES = ("Date", "Creator", "Format", "Type")
_NAMESPACES = (
    ' xmlns="http://www.w3.org/2000/svg"',
    ' xmlns:xlink="http://www.w3.org/1999/xlink"',
)
"""Within a page they are known."""


def svg(figure: Any, tips: Mapping[str, str] | None = None) -> Markup:  # noqa: ANN401
    """The figure as SVG text for a page, the same bytes each time.

    Args:
        figure: matplotlib's.
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
    return Markup(text[text.index("<svg") :])


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
