"""The parity report: NAME.parity.json for programs, NAME.parity.html for people, self-contained."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantize.parity import plots
from quantize.parity.compare import points
from quantize.parity.outcome import Outcome
from training import metrics
from training.files import write_json, write_shared
from training.pages.page import render
from training.pages.photos import data_address

#: Photos shown of those on which the two forms differ.
MOST_PHOTOS = 24
#: Longest side, in pixels, of those photos.
SIDE = 264
_NAMES = {"val": "validation", "test": "test", "both": "both together (the gate)"}


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """One photo that the two forms answer differently."""

    file: str
    split: str
    truth: str
    float_label: str
    float_confidence: float
    int8_label: str
    int8_confidence: float


def write(out: Path, outcome: Outcome, labels: tuple[str, ...], root: Path) -> Path:
    """Write both files beside the bundle's path; return the page's.

    `root` is the photos' folder, named on the page so that files can be found.
    """
    found = disagreements(outcome, labels)
    shown = {
        "report": outcome.report,
        "passed": not outcome.report.failures,
        "verdict": outcome.report.verdict,
        "disagreements": [item for item, _ in found],
    }
    write_json(out.with_name(f"{out.stem}.parity.json"), shown)
    path = out.with_name(f"{out.stem}.parity.html")
    write_shared(path, page(out.stem, outcome, found, root).encode())
    return path


def disagreements(
    outcome: Outcome, labels: tuple[str, ...]
) -> list[tuple[Disagreement, NDArray[np.uint8]]]:
    """Photos answered differently, the surest float answers first, with their pixels."""
    found = []
    report = outcome.report
    for split, part in outcome.photos.items():
        answers = outcome.answers[split]
        before = metrics.softmax(answers.keras, report.float_calibration.temperature)
        after = metrics.softmax(answers.int8, report.int8_calibration.temperature)
        for i in np.flatnonzero(before.argmax(axis=1) != after.argmax(axis=1)):
            item = Disagreement(
                file=part.files[i],
                split=split,
                truth=labels[part.truth[i]],
                float_label=labels[before[i].argmax()],
                float_confidence=round(float(before[i].max()), 4),
                int8_label=labels[after[i].argmax()],
                int8_confidence=round(float(after[i].max()), 4),
            )
            found.append((item, part.pixels[i]))
    return sorted(found, key=lambda pair: -pair[0].float_confidence)


def page(
    name: str,
    outcome: Outcome,
    found: list[tuple[Disagreement, NDArray[np.uint8]]],
    root: Path,
) -> str:
    """The HTML page, everything inside it."""
    report = outcome.report
    return render(
        "quantize/parity/report.html",
        title=f"{name}: float and int8 on the same photos",
        report=report,
        names=_NAMES,
        allowed=points(report.limits.tolerance),
        classes=plots.class_drops(report.classes),
        reliability=plots.reliability(outcome),
        confidence=plots.confidence(outcome),
        differing=len(found),
        photos=[(item, data_address(pixels, SIDE)) for item, pixels in found[:MOST_PHOTOS]],
        root=root.name,
    )
