"""``check.html``: the findings with the pictures in question, in one file without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.errors import DataError, ImageError
from edge.model.image.preprocessing import decode
from training.data.check import Report, as_json
from training.data.dataset import Finding
from training.files import write_json, write_shared
from training.pages.page import render as fill
from training.pages.photos import data_address

CASES, PHOTOS = 40, 8
"""Most cases shown per finding, and photos per case; the rest is in check.json."""
SIDE = 132


def write_report(report: Report, out: Path) -> tuple[Path, Path]:
    """Write ``check.json`` and ``check.html`` into a folder; give their paths.

    Raises:
        DataError: The folder cannot be made or written.
    """
    data, page = out / "check.json", out / "check.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(data, as_json(report))
        write_shared(page, render(report).encode())
        return data, page
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from error


def render(report: Report) -> str:
    """The whole page."""
    leakage, scores = report.leakage, []
    if leakage:
        scores = [
            ("random split", leakage.random),
            ("related photos kept together", leakage.grouped),
            *([("the splits given", leakage.given)] if leakage.given else []),
        ]
    return fill(
        "training/data/check.html",
        title=f"Check of {report.dataset.root.resolve().name}",
        report=report,
        scores=scores,
        found=[_finding(report, finding) for finding in report.findings if finding.cases],
    )


def _finding(report: Report, finding: Finding) -> dict[str, Any]:
    """What is shown of it: single photos side by side, or case by case."""
    single = all(len(case.photos) == 1 for case in finding.cases)
    most = 2 * CASES if single else CASES
    cases = finding.cases[:most]
    return {
        "of": finding,
        "photos": [_photo(report, case.photos[0], case.text) for case in cases] if single else [],
        "cases": []
        if single
        else [
            {
                "text": case.text,
                "photos": [_photo(report, index) for index in case.photos[:PHOTOS]],
                "hidden": max(0, len(case.photos) - PHOTOS),
            }
            for case in cases
        ],
        "left": len(finding.cases) - most,
    }


def _photo(report: Report, index: int, text: str = "") -> dict[str, Any]:
    example = report.dataset.examples[index]
    if index not in report.thumbs:
        try:
            pixels = decode(report.dataset.path(example), at_least=(SIDE, SIDE))
            report.thumbs[index] = data_address(pixels, SIDE, quality=72)
        except (ImageError, OSError):
            report.thumbs[index] = ""
    return {"example": example, "picture": report.thumbs[index], "text": text}
