"""Small SVG drawings as text: no plotting library, nothing to load, sharp at any zoom."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape

#: Colours that stay apart for most kinds of colour blindness (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, FAINT = "#444", "#ddd"


class Plot:
    """A square-ish plot with axes over given ranges; draw into it, then take `text()`."""

    def __init__(
        self,
        title: str,
        x: tuple[float, float] = (0, 1),
        y: tuple[float, float] = (0, 1),
        *,
        x_name: str = "",
        y_name: str = "",
        width: int = 306,
        height: int = 270,
        percent: bool = True,
    ) -> None:
        self._x, self._y, self._width, self._height = x, y, width, height
        self._left, self._right, self._top, self._bottom = 50, 20, 26, 38
        self._parts: list[str] = []
        self._title = title
        self._frame(x_name, y_name, percent)

    def line(
        self,
        x: Sequence[float],
        y: Sequence[float],
        colour: str,
        *,
        width: float = 1.6,
        opacity: float = 1.0,
        dashed: bool = False,
        tip: str = "",
    ) -> None:
        """A polyline in data units."""
        points = " ".join(f"{self._u(a):.1f},{self._v(b):.1f}" for a, b in zip(x, y, strict=True))
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'opacity="{opacity}"{dash}>{_tip(tip)}</polyline>'
        )

    def bar(self, x0: float, x1: float, y: float, colour: str, tip: str = "") -> None:
        """A bar from the x axis up to y."""
        self._parts.append(
            f'<rect x="{self._u(x0) + 0.5:.1f}" y="{self._v(y):.1f}" '
            f'width="{max(0.5, self._u(x1) - self._u(x0) - 1):.1f}" '
            f'height="{max(0.0, self._v(self._y[0]) - self._v(y)):.1f}" fill="{colour}">'
            f"{_tip(tip)}</rect>"
        )

    def legend(self, entries: Sequence[tuple[str, str]], corner: str = "bottom") -> None:
        """(name, colour) lines in the right corner, "top" or "bottom"."""
        start = (
            self._top + 12 if corner == "top" else self._height - self._bottom - 14 * len(entries)
        )
        for row, (name, colour) in enumerate(entries):
            self._parts.append(
                _text(self._width - self._right - 6, start + 14 * row, name, "end", colour)
            )

    def text(self) -> str:
        """The finished SVG element."""
        return (
            f'<svg viewBox="0 0 {self._width} {self._height}" width="{self._width}" role="img" '
            f'aria-label="{escape(self._title)}">{"".join(self._parts)}</svg>'
        )

    def _u(self, x: float) -> float:
        share = (x - self._x[0]) / (self._x[1] - self._x[0])
        return self._left + share * (self._width - self._left - self._right)

    def _v(self, y: float) -> float:
        share = (y - self._y[0]) / (self._y[1] - self._y[0])
        return self._height - self._bottom - share * (self._height - self._top - self._bottom)

    def _frame(self, x_name: str, y_name: str, percent: bool) -> None:
        self._parts.append(_text(self._left, 16, self._title, "start", "#111", 13, bold=True))
        for k in range(5):
            y = self._y[0] + (self._y[1] - self._y[0]) * k / 4
            x = self._x[0] + (self._x[1] - self._x[0]) * k / 4
            v, u = self._v(y), self._u(x)
            self._parts.append(
                f'<path d="M{self._left} {v:.1f}H{self._width - self._right}" stroke="{FAINT}"/>'
            )
            self._parts.append(_text(self._left - 5, v + 4, _tick(y, percent), "end"))
            self._parts.append(_text(u, self._height - self._bottom + 14, _tick(x, percent)))
        middle = (self._left + self._width - self._right) / 2
        self._parts.append(_text(middle, self._height - 6, x_name))
        v = (self._top + self._height - self._bottom) / 2
        self._parts.append(f'<g transform="rotate(-90 11 {v})">{_text(11, v, y_name)}</g>')


def heat_map(table: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A confusion matrix: rows are the truth, columns the answers, shade by share of the row."""
    cell = max(22, min(44, 640 // len(names)))
    short = [shortened(name) for name in names]
    longest = max(_units(name) for name in short)
    left, top = 14 + 7.4 * longest, 20 + 4.9 * longest
    side = cell * len(names)
    parts = []
    for i, row in enumerate(table):
        total = max(1, sum(row))
        parts.append(_text(left - 6, top + cell * i + cell * 0.64, short[i], "end", "#111"))
        x = left + cell * (i + 0.6)
        parts.append(
            f'<g transform="rotate(-45 {x:.0f} {top - 6:.0f})">'
            f"{_text(x, top - 6, short[i], 'start', '#111')}</g>"
        )
        for j, count in enumerate(row):
            parts.append(_cell(left + cell * j, top + cell * i, cell, count, total, i == j))
            tip = f"{count} of {total} {names[i]} were called {names[j]}"
            parts[-1] = f"<g>{_tip(tip)}{parts[-1]}</g>"
    width, height = left + side + 5 * longest, top + side + 8
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="confusion matrix">{"".join(parts)}</svg>'
    )


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


def _cell(x: float, y: float, side: int, count: int, total: int, right: bool) -> str:
    share = count / total
    colour = "0,114,178" if right else "213,94,0"
    shade = f"rgba({colour},{0.06 + 0.94 * share**0.7:.3f})" if count else "#f6f6f6"
    box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{side - 1}" height="{side - 1}" fill="{shade}"/>'
    if not count:
        return box
    ink = "#fff" if share > 0.45 else "#222"
    return box + _text(x + side / 2, y + side * 0.64, str(count), "middle", ink, rim=False)


def _tick(value: float, percent: bool) -> str:
    return f"{value:.0%}" if percent else f"{value:.3g}"


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str = "middle",
    colour: str = INK,
    size: int = 11,
    bold: bool = False,
    rim: bool = True,
) -> str:
    weight = ' font-weight="600"' if bold else ""
    # A white rim keeps words readable where a line runs under them.
    halo = ' paint-order="stroke" stroke="#fff" stroke-width="3"' if rim else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}"{weight}{halo}>{escape(text)}</text>'
    )
