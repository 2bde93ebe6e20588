"""The table, plots and plain words of a sweep: what bought time, what bytes, what nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

from quantize.sweep.points import REFERENCE, Point, front
from quantize.sweep.trials import Failure
from training.files import write_json, write_shared
from training.pages.figures import name_points, new_figure, svg
from training.pages.page import render

if TYPE_CHECKING:
    from markupsafe import Markup

#: Less than this share of the reference's cost counts as bought.
BOUGHT = 0.95
_COSTS = {
    "milliseconds": "milliseconds a picture",
    "macs": "million multiply-adds",
    "zipped": "kilobytes zipped",
    "arena": "kilobytes of activations at the peak",
}
#: Of fields; all others are shares, shown in per cent.
_UNITS = {"milliseconds": 1.0, "time_ratio": 1.0, "macs": 1e6, "zipped": 1e3, "arena": 1e3}
#: Field and form of each column.
_SHOWN = {
    "float %": ("float_accuracy", ".1f"),
    "int8 %": ("accuracy", ".1f"),
    "agreement %": ("agreement", ".1f"),
    "ms": ("milliseconds", ".2f"),
    f"time / {REFERENCE}": ("time_ratio", ".2f"),
    "M multiply-adds": ("macs", ".1f"),
    "kB zipped": ("zipped", ".0f"),
    "kB arena": ("arena", ".0f"),
}
COLUMNS = ("variant", *_SHOWN)
_ALONE = f"no {REFERENCE}"
"""Stands where there is nothing to compare with."""


def write(
    folder: Path,
    points: Sequence[Point],
    failures: Sequence[Failure],
    machine: str,
    said: Sequence[str],
) -> Path:
    """Write `sweep.json` and `sweep.html`; return the page's path.

    Args:
        folder: the sweep's.
        points: what was measured.
        failures: what gave no model.
        machine: where times were measured.
        said: of the points, in words.
    """
    record = {
        "machine": machine,
        "points": points,
        "failures": [
            {"run": f.trial.run.name, "variant": f.trial.variant, "reason": f.reason}
            for f in failures
        ],
        "in words": said,
    }
    write_json(folder / "sweep.json", record)
    page = folder / "sweep.html"
    write_shared(page, _page(points, failures, machine, said).encode())
    return page


def words(points: Sequence[Point]) -> list[str]:
    """What each variant bought beside the reference, and what it cost, a sentence each."""
    bases = {point.network: point for point in points if point.variant == REFERENCE}
    if not bases:
        return [f"What each variant bought cannot be said: no {REFERENCE} was measured beside it."]
    lines = []
    for point in points:
        if point.variant == REFERENCE:
            continue
        base = bases.get(point.network)
        if base is None:
            lines.append(f"{point.name} has no {REFERENCE} beside it.")
            continue
        size, memory = point.share("zipped", base), point.share("arena", base)
        ratios = [ratio for ratio in point.time_ratio if ratio is not None]
        if size is None or memory is None or not ratios:
            lines.append(f"{point.name} has no run in common with {REFERENCE}.")
            continue
        time = median(ratios)
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
            f"{point.name} bought {' and '.join(bought) or 'nothing'}; "
            f"{points_lost:+.1f} points of accuracy lost to float, {chance}."
        )
    return lines


def chosen(points: Sequence[Point], variant: str) -> str:
    """Which network keeps a budget best, by the validation photos; empty: there is none.

    Test photos do not choose: what they say of the best of several would flatter it.
    """
    found = [point for point in points if point.variant == variant]
    if not found:
        return ""
    best, *others = sorted(found, key=lambda point: -mean(point.val_accuracy))

    def told(point: Point) -> str:
        return (
            f"{point.network or 'the network'} with {mean(point.val_accuracy):.1%} "
            f"(test {point.mean_accuracy:.1%}, {mean(point.milliseconds):.2f} ms)"
        )

    rest = f"; then {', '.join(map(told, others))}" if others else ""
    return f"Within {variant} the validation photos choose {told(best)}{rest}."


def rows(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """The table: a row each; means over the runs, smallest to largest where there are several."""
    return [(p.name, *(_spread(p, *shown) for shown in _SHOWN.values())) for p in points]


def _spread(point: Point, field: str, form: str) -> str:
    unit = _UNITS.get(field)
    found = [value for value in getattr(point, field) if value is not None]
    if not found:
        return _ALONE
    values = [value / unit if unit else 100 * value for value in found]
    low, middle, high = (f"{f(values):{form}}" for f in (min, mean, max))
    return middle if low == high else f"{middle} ({low}–{high})"


def plot(points: Sequence[Point], cost: str) -> Markup:
    """Accuracy against one cost (a field's name), the best points joined."""
    figure, axes = new_figure(5.0, 4.2)
    unit = _UNITS[cost]

    def x(point: Point) -> float:
        return float(mean(getattr(point, cost))) / unit

    for point in points:
        low, high = (100 * f(point.accuracy) for f in (min, max))
        axes.plot([x(point)] * 2, [low, high], color="#c4541c", lw=1, alpha=0.5)
    axes.scatter(
        [x(p) for p in points], [100 * p.mean_accuracy for p in points], color="#c4541c", s=28
    )
    best = front(points, cost)
    axes.plot([x(p) for p in best], [100 * p.mean_accuracy for p in best], color="#8a97a3", lw=1.2)
    axes.set_xlim(left=0)
    axes.margins(x=0.1, y=0.15)
    axes.set(xlabel=_COSTS[cost], ylabel="accuracy on test photos, %")
    name_points(axes, [(p.name, x(p), 100 * p.mean_accuracy) for p in points])
    return svg(figure, f"Accuracy on test photos against {_COSTS[cost]}.")


def _page(
    points: Sequence[Point], failures: Sequence[Failure], machine: str, said: Sequence[str]
) -> str:
    return render(
        "quantize/sweep/report.html",
        title="What compression bought",
        words=said,
        failures=failures,
        columns=COLUMNS,
        rows=rows(points),
        runs=max((len(p.accuracy) for p in points), default=0),
        machine=machine,
        plots=[plot(points, cost) for cost in _COSTS] if points else [],
        points=points,
    )
