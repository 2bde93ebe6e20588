"""The parity report's plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantize.parity.compare import ClassDrop
from quantize.parity.outcome import Outcome
from training import metrics
from training.pages.figures import new_figure, shortened, svg

if TYPE_CHECKING:
    from markupsafe import Markup

_FLOAT, _INT8, _GREY = "#8a97a3", "#c4541c", "#55606a"


def class_drops(classes: tuple[ClassDrop, ...]) -> Markup:
    """Recall of each class before and after, as a line between two dots."""
    figure, axes = new_figure(9.6, 1.2 + 0.3 * len(classes))
    for row, drop in enumerate(reversed(classes)):
        axes.plot(
            [drop.float_recall, drop.int8_recall],
            [row, row],
            color=_INT8 if drop.int8_recall < drop.float_recall else _FLOAT,
            lw=2,
        )
    rows = np.arange(len(classes))[::-1]
    axes.scatter([c.float_recall for c in classes], rows, color=_FLOAT, s=42, label="float")
    axes.scatter([c.int8_recall for c in classes], rows, color=_INT8, s=20, label="int8", zorder=3)
    axes.set_yticks(rows, [f"{shortened(c.label, 48)}  ({c.n})" for c in classes], parse_math=False)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.7, len(classes) - 0.3)
    axes.set_xlabel("recall (photos in brackets)")
    axes.yaxis.grid(visible=False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return svg(figure, "Recall of each class, float and int8.")


def reliability(outcome: Outcome) -> Markup:
    """Confidence against accuracy of int8 on the test photos, before and after the temperature."""
    figure, axes = new_figure(4.8, 4.2)
    logits, truth = outcome.answers["test"].int8, outcome.photos["test"].truth
    calibration = outcome.report.int8_calibration
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=":")
    for temperature, colour, name, error in (
        (1.0, _FLOAT, "as trained", calibration.ece_before),
        (calibration.temperature, _INT8, "with temperature", calibration.ece_after),
    ):
        bins = metrics.reliability(metrics.softmax(logits, temperature), truth, bins=10)
        used = bins.n > 0
        axes.plot(bins.confidence[used], bins.accuracy[used], color=colour, lw=1.5)
        axes.scatter(
            bins.confidence[used],
            bins.accuracy[used],
            color=colour,
            s=12 + 120 * bins.n[used] / bins.n.sum(),
            label=f"{name}: error {error:.3f}",
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence of int8", ylabel="share right")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.set_title("test photos; dots as large as many", fontsize=10, loc="left")
    return svg(figure, "Confidence of the int8 model against the share that is right.")


def confidence(outcome: Outcome) -> Markup:
    """Confidence of both forms in the float model's answer, one dot a photo."""
    figure, axes = new_figure(4.8, 4.2)
    report = outcome.report
    pairs = []
    for answers in outcome.answers.values():
        before = metrics.softmax(answers.keras, report.float_calibration.temperature)
        after = metrics.softmax(answers.int8, report.int8_calibration.temperature)
        top = before.argmax(axis=1)
        rows = np.arange(len(top))
        pairs.append(
            np.stack([before[rows, top], after[rows, top], after.argmax(axis=1) == top], axis=1)
        )
    x, y, same = np.concatenate(pairs).T
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=":")
    agreed = same > 0
    axes.scatter(x[agreed], y[agreed], s=9, color=_FLOAT, alpha=0.5, lw=0, label="same answer")
    axes.scatter(x[~agreed], y[~agreed], s=16, color=_INT8, lw=0, label="another answer")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="float", ylabel="int8")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    axes.set_title("confidence in the float model's answer", fontsize=10, loc="left")
    return svg(figure, "Confidence of the int8 model against that of the float model.")
