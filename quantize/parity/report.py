"""The parity report: NAME.parity.json for programs, NAME.parity.html for people, self-contained."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantize.parity import plots
from quantize.parity.compare import Comparison, Split
from quantize.parity.outcome import Outcome
from training import metrics
from training.runs import write_whole

#: Photos shown of those on which the two forms differ.
MOST_PHOTOS = 24
_THUMBNAIL = 132
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
        "disagreements": [item for item, _ in found],
    }
    text = msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"
    write_whole(out.with_name(f"{out.stem}.parity.json"), text)
    path = out.with_name(f"{out.stem}.parity.html")
    write_whole(path, page(out.stem, outcome, found, root).encode())
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
    passed = not report.failures
    verdict = (
        "The int8 model is as good as the float one."
        if passed
        else "The int8 model is not as good as the float one. No bundle was written."
    )
    reasons = "".join(f"<li>{html.escape(line)}</li>" for line in report.failures)
    limits = report.limits
    return _PAGE.format(
        title=html.escape(name),
        mark="passed" if passed else "failed",
        verdict=verdict,
        reasons=f"<ul>{reasons}</ul>" if reasons else "",
        rule=(
            f"Allowed: {points(limits.tolerance)} of accuracy lost beyond what the paired "
            f"95&nbsp;% interval explains, and the same answer on at least "
            f"{limits.min_agreement:.0%} of the photos as before rounding."
        ),
        table=_table(report),
        calibration=_calibration(report),
        classes=plots.class_drops(report.classes),
        reliability=plots.reliability(outcome),
        confidence=plots.confidence(outcome),
        count=len(found),
        total=report.splits["both"].n,
        about=(
            f"The {min(len(found), MOST_PHOTOS)} on which the float model was surest; files are "
            f"below <code>{html.escape(root.name)}</code>."
            if found
            else "Every photo gets the same answer."
        ),
        photos="".join(_photo(item, pixels) for item, pixels in found[:MOST_PHOTOS]),
    )


def points(share: float) -> str:
    """A share of accuracy in percentage points: 0.01 -> "1 point"."""
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"


def _table(report: Comparison) -> str:
    rows = "".join(
        _row(_NAMES.get(name, name), split, report.pruned) for name, split in report.splits.items()
    )
    cells = ["", "photos", "float", "float TFLite", "int8", "points lost", "same answer"]
    if report.pruned:
        cells[3:4] = ["pruned float", "its TFLite"]
        cells[-1:] = ["same answer as pruned", "as float"]
    head = "".join(f"<th>{cell}</th>" for cell in cells)
    return f"<table><tr>{head}</tr>{rows}</table>"


def _row(name: str, split: Split, pruned: bool) -> str:
    def form(part: Any) -> str:  # noqa: ANN401
        low, high = 100 * part.accuracy_low, 100 * part.accuracy_high
        return f"{part.accuracy:.1%}<small>{low:.1f} to {high:.1f}</small>"

    lost = (
        f"{100 * split.lost:+.1f}<small>{100 * split.lost_low:+.1f} to "
        f"{100 * split.lost_high:+.1f}</small>"
    )
    cells = (
        name,
        str(split.n),
        form(split.keras),
        *([form(split.source)] if pruned else []),
        form(split.float_tflite),
        form(split.int8),
        lost,
        f"{split.agreement:.1%}",
        *([f"{split.run_agreement:.1%}"] if pruned else []),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _calibration(report: Comparison) -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td>{part.temperature:.2f}</td><td>{part.ece_before:.3f}</td>"
        f"<td>{part.ece_after:.3f}</td></tr>"
        for name, part in (
            ("float", report.float_calibration),
            ("int8", report.int8_calibration),
        )
    )
    head = "<tr><th></th><th>temperature</th><th>error before</th><th>error after</th></tr>"
    return f"<table>{head}{rows}</table>"


def _photo(item: Disagreement, pixels: NDArray[np.uint8]) -> str:
    def said(form: str, label: str, confidence: float) -> str:
        kind = "right" if label == item.truth else "wrong"
        return f'<span class="{kind}">{form}: {html.escape(label)} {confidence:.0%}</span>'

    return (
        f'<figure><img src="data:image/jpeg;base64,{_thumbnail(pixels)}" alt="">'
        f"<figcaption>{said('float', item.float_label, item.float_confidence)}"
        f"{said('int8', item.int8_label, item.int8_confidence)}"
        f"<span>truth: {html.escape(item.truth)}</span>"
        f"<small>{html.escape(item.file)}</small></figcaption></figure>"
    )


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    image.thumbnail((2 * _THUMBNAIL, 2 * _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return base64.b64encode(stream.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: float and int8</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #20262c; margin: 0 auto; max-width: 1040px;
  padding: 24px; }}
h1 {{ font-size: 24px; margin: 0 0 12px; }}
h2 {{ font-size: 18px; margin: 32px 0 8px; }}
.passed, .failed {{ border-left: 6px solid; padding: 10px 16px; margin: 0 0 16px; }}
.passed {{ border-color: #2d7d46; background: #eef7f0; }}
.failed {{ border-color: #b3261e; background: #fdf0ef; }}
.passed b, .failed b {{ font-size: 17px; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: right; padding: 6px 10px; border-bottom: 1px solid #dde2e6;
  vertical-align: top; font-variant-numeric: tabular-nums; }}
th:first-child, td:first-child {{ text-align: left; overflow-wrap: anywhere; min-width: 8em; }}
figcaption, h1 {{ overflow-wrap: anywhere; }}
th {{ font-weight: 600; color: #55606a; }}
small {{ display: block; color: #6b7681; font-size: 12px; overflow-wrap: anywhere; }}
.pair, .photos {{ display: grid; gap: 16px; }}
.pair {{ grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); }}
svg {{ max-width: 100%; height: auto; }}
.photos {{ grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); }}
figure {{ margin: 0; }}
figure img {{ width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 4px; }}
figcaption span {{ display: block; font-size: 13px; }}
.right {{ color: #2d7d46; }}
.wrong {{ color: #b3261e; }}
</style></head><body>
<h1>{title}: float and int8 on the same photos</h1>
<div class="{mark}"><b>{verdict}</b>{reasons}<div>{rule}</div></div>
{table}
<h2>Recall of each class</h2>
{classes}
<h2>How sure, and how right</h2>
<p>Expected calibration error on the test photos; temperatures come from the validation photos.</p>
{calibration}
<div class="pair"><div>{reliability}</div><div>{confidence}</div></div>
<h2>Answered differently: {count} of {total} photos</h2>
<p>{about}</p>
<div class="photos">{photos}</div>
</body></html>
"""
