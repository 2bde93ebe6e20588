"""The drawings of a report, from figures and answers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.model.scores import softmax
from training import metrics
from training.pages.figures import COLOURS, new_figure, side_by_side, svg
from training.report.evaluate import Answers

if TYPE_CHECKING:
    from markupsafe import Markup

_ROC = ("ROC, one class against the rest", "false alarms", "found")
_PRECISION = ("Precision and recall", "recall", "precision")


def history(path: Path, probe: float | None = None) -> Markup | str:
    """Accuracy and loss over epochs, a line for each member; nothing where there are too few.

    Args:
        path: history.csv; a joined run has none.
        probe: validation accuracy of the linear probe, drawn as a level.
    """
    if not path.exists():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    members = [
        [row for row in rows if row["member"] in ("0", number)]
        for number in dict.fromkeys(row["member"] for row in rows if row["member"] != "0")
    ]
    if not members or len(members[0]) < 2:
        return ""
    drawings = []
    for title, top, names in (
        ("Accuracy by epoch", 1, ("train_accuracy", "val_accuracy", "val_macro_f1")),
        ("Loss by epoch", None, ("train_loss", "val_loss")),
    ):
        figure, axes = new_figure(5.2, 3.6)
        for name, colour in zip(names, COLOURS, strict=False):
            for i, member in enumerate(members):
                there = [row for row in member if row[name]]
                axes.plot(
                    [float(row["epoch"]) for row in there],
                    [float(row[name]) for row in there],
                    color=colour,
                    alpha=1 if len(members) == 1 else 0.55,
                    marker="o" if len(there) == 1 else None,
                    ms=4,
                    label=name.replace("_", " ") if i == 0 else None,
                )
        if top and probe is not None:
            axes.axhline(probe, color="#5f6d65", ls="--", lw=1.2, label="linear probe, val")
        axes.set(xlabel="epoch" if len(members) == 1 else "epoch of each member")
        axes.set_ylim(0, top)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(title, loc="left", fontsize=11)
        axes.legend(frameon=False)
        drawings.append(svg(figure, title))
    return side_by_side(drawings)


def reliability(answers: Answers, before: float, after: float) -> Markup:
    """Confidence against the share that is right, without and with temperature."""
    drawings: list[Markup] = []
    tips: dict[str, str] = {}
    for title, table in (
        (f"Before temperature: ECE {before:.3f}", softmax(answers.logits)),
        (f"After temperature: ECE {after:.3f}", answers.probabilities),
    ):
        figure, axes = new_figure(3.4, 3.6)
        bins = metrics.reliability(table, answers.labels, 10)
        for i in np.flatnonzero(bins.n):
            gid, right = f"bin-{len(tips)}", bins.accuracy[i]
            left, width = bins.edges[i], bins.edges[i + 1] - bins.edges[i]
            axes.bar(left, right, 0.94 * width, align="edge", color=COLOURS[5], gid=gid)
            tips[gid] = (
                f"{bins.n[i]} answers, confidence {bins.confidence[i]:.0%}, right {right:.0%}"
            )
        axes.plot([0, 1], [0, 1], color=COLOURS[1], ls="--", lw=1.5)
        _shares(axes, title, "confidence", "share right")
        drawings.append(svg(figure, f"Confidence against the share that is right. {title}", tips))
    return side_by_side(drawings)


def curves(answers: Answers, labels: tuple[str, ...]) -> Markup:
    """ROC and precision-recall: every class faint, their mean bold."""
    drawings: list[Markup] = []
    tips: dict[str, str] = {}
    for kind, curve, area, said in (
        ("area", metrics.roc_curve, metrics.area_under_roc, _ROC),
        ("mean", metrics.pr_curve, metrics.average_precision, _PRECISION),
    ):
        figure, axes = new_figure(5.2, 4.6)
        grid, means = np.linspace(0, 1, 101), []
        for i, label in enumerate(labels):
            positive, scores = answers.labels == i, answers.probabilities[:, i]
            if not 0 < positive.sum() < len(positive):
                continue
            x, y = curve(scores, positive)
            gid = f"{kind}-{i}"
            axes.plot(x, y, color=COLOURS[5], lw=1, alpha=0.6, gid=gid)
            tips[gid] = f"{label}: {kind} {area(scores, positive):.3f}"
            means.append(np.interp(grid, x, y))
        if means:
            axes.plot(grid, np.mean(means, axis=0), color=COLOURS[0], lw=2.5, label="mean")
            axes.plot([], [], color=COLOURS[5], lw=1, label="one class")
            axes.legend(loc="lower right" if kind == "area" else "lower left", frameon=False)
        _shares(axes, *said)
        drawings.append(svg(figure, said[0], tips))
    return side_by_side(drawings)


def coverage(answers: Answers, threshold: float) -> Markup:
    """How right the answers are if only the surest share of photos is answered."""
    top = answers.probabilities.max(axis=1)
    right = answers.probabilities.argmax(axis=1) == answers.labels
    order = np.argsort(-top, kind="stable")
    share = np.arange(1, len(top) + 1) / len(top)
    running = np.cumsum(right[order]) / np.arange(1, len(top) + 1)
    begin = max(1, len(top) // 50)
    kept = float(np.mean(top >= threshold))
    figure, axes = new_figure(3.4, 3.6)
    axes.plot(share[begin:], running[begin:], color=COLOURS[0], lw=2)
    axes.axvline(kept, color=COLOURS[1], ls="--", lw=1.5, label=f"unknown below {threshold:.2f}")
    axes.legend(loc="lower left", edgecolor="none")
    _shares(axes, "Answering only the surest", "share of photos answered", "right")
    return svg(figure, "Share of right answers if only the surest are given.")


def _shares(axes: Any, title: str, x: str, y: str) -> None:  # noqa: ANN401
    """Both axes from 0 to 100 %."""
    from matplotlib.ticker import PercentFormatter

    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=11)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
