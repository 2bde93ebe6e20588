"""The table, plots and plain words of a sweep: what bought time, what bytes, what nothing."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import msgspec

from quantize.parity.plots import new_figure, svg
from quantize.sweep.points import REFERENCE, Point, front
from quantize.sweep.trials import Failure
from training.runs import write_whole

#: Less than this share of the reference's cost counts as bought.
BOUGHT = 0.95
_COSTS = {
    "milliseconds": "milliseconds a picture",
    "macs": "million multiply-adds",
    "zipped": "kilobytes zipped",
    "arena": "kilobytes of activations at the peak",
}
_UNITS = {"milliseconds": 1.0, "macs": 1e6, "zipped": 1e3, "arena": 1e3}


def write(folder: Path, points: Sequence[Point], failures: Sequence[Failure], machine: str) -> Path:
    """Write `sweep.json` and `sweep.html`; return the page's path.

    Args:
        folder: the sweep's.
        points: what was measured.
        failures: what gave no model.
        machine: where times were measured.
    """
    record = {
        "machine": machine,
        "points": points,
        "failures": [
            {"run": f.trial.run.name, "variant": f.trial.variant, "reason": f.reason}
            for f in failures
        ],
        "in words": words(points),
    }
    text = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
    write_whole(folder / "sweep.json", text)
    page = folder / "sweep.html"
    write_whole(page, _page(points, failures, machine).encode())
    return page


def words(points: Sequence[Point]) -> list[str]:
    """What each variant bought beside the reference, and what it cost, a sentence each."""
    found = {point.variant: point for point in points}
    base = found.get(REFERENCE)
    if base is None:
        return []
    lines = []
    for point in points:
        if point is base:
            continue
        time = median(point.time_ratio)
        size, memory = point.share("zipped", base), point.share("arena", base)
        bought = [
            f"{name} ({share:.2f} of {REFERENCE}'s)"
            for name, share in (("time", time), ("bytes", size), ("memory", memory))
            if share <= BOUGHT
        ]
        points_lost = 100 * (mean(point.float_accuracy) - point.mean_accuracy)
        surely = sum(low > 0 for low in point.lost_low)
        chance = (
            f"beyond chance in {surely} of {len(point.lost_low)} runs"
            if surely
            else "within chance in every run"
        )
        lines.append(
            f"{point.variant} bought {' and '.join(bought) or 'nothing'}; "
            f"{points_lost:+.1f} points of accuracy lost to float, {chance}."
        )
    return lines


def rows(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """The table: a row each; means over the runs, smallest to largest where there are several."""
    return [
        (
            point.variant,
            _spread([100 * a for a in point.float_accuracy], ".1f"),
            _spread([100 * a for a in point.accuracy], ".1f"),
            _spread([100 * a for a in point.agreement], ".1f"),
            _spread(point.milliseconds, ".2f"),
            _spread(point.time_ratio, ".2f"),
            _spread([m / 1e6 for m in point.macs], ".1f"),
            _spread([z / 1e3 for z in point.zipped], ".0f"),
            _spread([a / 1e3 for a in point.arena], ".0f"),
        )
        for point in points
    ]


COLUMNS = (
    "variant",
    "float %",
    "int8 %",
    "agreement %",
    "ms",
    f"time / {REFERENCE}",
    "M multiply-adds",
    "kB zipped",
    "kB arena",
)


def _spread(values: Sequence[float], form: str) -> str:
    low, middle, high = (f"{f(values):{form}}" for f in (min, mean, max))
    return middle if low == high else f"{middle} ({low}–{high})"


def plot(points: Sequence[Point], cost: str) -> str:
    """Accuracy against one cost (a field's name), the best points joined; SVG text."""
    figure, axes = new_figure(5.0, 4.2)
    unit = _UNITS[cost]

    def x(point: Point) -> float:
        return float(mean(getattr(point, cost))) / unit

    for point in points:
        low, high = (100 * f(point.accuracy) for f in (min, max))
        axes.plot([x(point)] * 2, [low, high], color="#c4541c", lw=1, alpha=0.5)
        axes.annotate(
            point.variant,
            (x(point), 100 * point.mean_accuracy),
            textcoords="offset points",
            xytext=(6, 4),
            fontsize=8,
        )
    axes.scatter(
        [x(p) for p in points], [100 * p.mean_accuracy for p in points], color="#c4541c", s=28
    )
    best = front(points, cost)
    axes.plot([x(p) for p in best], [100 * p.mean_accuracy for p in best], color="#8a97a3", lw=1.2)
    axes.set_xlim(left=0)
    axes.margins(x=0.2, y=0.15)
    axes.grid(visible=True, color="#e4e8eb")
    axes.set(xlabel=_COSTS[cost], ylabel="accuracy on test photos, %")
    return svg(figure)


def _page(points: Sequence[Point], failures: Sequence[Failure], machine: str) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in COLUMNS)
    table = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(points)
    )
    failed = "".join(
        f"<li><b>{html.escape(f.trial.run.name)} {html.escape(f.trial.variant)}</b> gave no model: "
        f"{html.escape(f.reason)}</li>"
        for f in failures
    )
    plots = "".join(f"<div>{plot(points, cost)}</div>" for cost in _COSTS) if points else ""
    commands = "".join(
        f"<tr><td>{html.escape(p.variant)}</td><td><code>{html.escape(p.command)}</code></td></tr>"
        for p in points
    )
    return _PAGE.format(
        words="".join(f"<li>{html.escape(line)}</li>" for line in words(points)),
        failed=f"<ul class=failed>{failed}</ul>" if failed else "",
        table=f"<div class=scroll><table><tr>{head}</tr>{table}</table></div>",
        plots=plots,
        commands=f"<table class=commands>{commands}</table>",
        machine=html.escape(machine),
        runs=max((len(p.accuracy) for p in points), default=0),
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>what compression bought</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #20262c; margin: 0 auto; max-width: 1080px;
  padding: 24px; }}
h1 {{ font-size: 24px; }}
h2 {{ font-size: 18px; margin-top: 32px; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; }}
th, td {{ text-align: right; padding: 6px 8px; border-bottom: 1px solid #dde2e6;
  font-variant-numeric: tabular-nums; }}
th {{ color: #55606a; font-weight: 600; }}
th:first-child, td:first-child, .commands td {{ text-align: left; }}
.scroll {{ overflow-x: auto; }}
code, li {{ overflow-wrap: anywhere; }}
.failed {{ border-left: 6px solid #b3261e; background: #fdf0ef; padding: 10px 28px; }}
.plots {{ display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); }}
svg {{ max-width: 100%; height: auto; }}
</style></head><body>
<h1>What compression bought</h1>
<ul>{words}</ul>
{failed}
{table}
<p>Test photos, {runs} run(s): means, smallest to largest in brackets. Every point is an int8 file
run through the device's own code. Times: {machine}; one thread, all files of a run in turn.
Arena: activations as TFLite's planner places them; what XNNPACK takes beside them is not in it.</p>
<h2>Accuracy against what it costs</h2>
<p>The grey line joins the points that no other beats in both. Bars: smallest to largest run.</p>
<div class="plots">{plots}</div>
<h2>From a point to a bundle</h2>
<p>Phases done here are not done again; the parity gate decides.</p>
{commands}
</body></html>
"""
