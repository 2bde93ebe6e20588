"""The drawings of a report, from figures and answers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.model.scores import softmax
from training import metrics
from training.report.evaluate import Answers
from training.report.svg import COLOURS, Plot


def history_plots(path: Path) -> list[str]:
    """Accuracy and loss over epochs, from history.csv; nothing where there are too few epochs."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["member"]) > 0]
    if len(rows) < 2:
        return []
    plots = []
    for title, names, percent in (
        ("Accuracy by epoch", ("train_accuracy", "val_accuracy", "val_macro_f1"), True),
        ("Loss by epoch", ("train_loss", "val_loss"), False),
    ):
        series = {name: [float(row[name]) for row in rows] for name in names}
        top = 1.0 if percent else max(map(max, series.values()))
        plot = Plot(title, (1, len(rows)), (0, top), x_name="epoch", percent=False, width=380)
        entries = []
        for (name, values), colour in zip(series.items(), COLOURS, strict=False):
            plot.line(list(range(1, len(rows) + 1)), values, colour)
            entries.append((name.replace("_", " "), colour))
        plot.legend(entries, "bottom" if percent else "top")
        plots.append(plot.text())
    return plots


def reliability_plots(answers: Answers, before: float, after: float) -> list[str]:
    """Confidence against the share that is right, without and with temperature."""
    plots = []
    for title, table in (
        (f"Before temperature: ECE {before:.3f}", softmax(answers.logits)),
        (f"After temperature: ECE {after:.3f}", answers.probabilities),
    ):
        bins = metrics.reliability(table, answers.labels, 10)
        plot = Plot(title, x_name="confidence", y_name="share right")
        for i in np.flatnonzero(bins.n):
            right = float(bins.accuracy[i])
            tip = f"{bins.n[i]} answers, confidence {bins.confidence[i]:.0%}, right {right:.0%}"
            plot.bar(bins.edges[i], bins.edges[i + 1], right, "#56b4e9", tip)
        plot.line([0, 1], [0, 1], "#d55e00", dashed=True)
        plots.append(plot.text())
    return plots


def curve_plots(answers: Answers, labels: tuple[str, ...]) -> list[str]:
    """ROC and precision-recall: every class faint, their mean bold."""
    roc = Plot("ROC, one class against the rest", x_name="false alarms", y_name="found")
    pr = Plot("Precision and recall", x_name="recall", y_name="precision")
    grid = np.linspace(0, 1, 101)
    means: dict[str, list[NDArray[np.float64]]] = {"roc": [], "pr": []}
    for i, label in enumerate(labels):
        positive, scores = answers.labels == i, answers.probabilities[:, i]
        if not 0 < positive.sum() < len(positive):
            continue
        curve = metrics.roc_curve(scores, positive)
        area = metrics.area_under_roc(scores, positive)
        roc.line(*_lists(curve), COLOURS[5], width=1, opacity=0.6, tip=f"{label}: area {area:.3f}")
        means["roc"].append(np.interp(grid, curve.x, curve.y))
        curve = metrics.pr_curve(scores, positive)
        area = metrics.average_precision(scores, positive)
        pr.line(*_lists(curve), COLOURS[5], width=1, opacity=0.6, tip=f"{label}: mean {area:.3f}")
        means["pr"].append(np.interp(grid, curve.x, curve.y))
    for plot, name in ((roc, "roc"), (pr, "pr")):
        if means[name]:
            plot.line(grid.tolist(), np.mean(means[name], axis=0).tolist(), COLOURS[0], width=2.5)
            plot.legend([("mean of the classes", COLOURS[0]), ("one class", COLOURS[5])])
    return [roc.text(), pr.text()]


def coverage_plot(answers: Answers, threshold: float) -> str:
    """How right the answers are if only the surest share of photos is answered."""
    top = answers.probabilities.max(axis=1)
    right = answers.probabilities.argmax(axis=1) == answers.labels
    order = np.argsort(-top, kind="stable")
    share = np.arange(1, len(top) + 1) / len(top)
    running = np.cumsum(right[order]) / np.arange(1, len(top) + 1)
    begin = max(1, len(top) // 50)
    plot = Plot("Answering only the surest", x_name="share of photos answered", y_name="right")
    plot.line(share[begin:].tolist(), running[begin:].tolist(), COLOURS[0], width=2)
    kept = float(np.mean(top >= threshold))
    plot.line([kept, kept], [0, 1], COLOURS[1], dashed=True, tip=f"threshold {threshold:.2f}")
    plot.legend([(f"unknown below {threshold:.2f}", COLOURS[1])])
    return plot.text()


def _lists(curve: metrics.Curve) -> tuple[list[float], list[float]]:
    return curve.x.tolist(), curve.y.tolist()
