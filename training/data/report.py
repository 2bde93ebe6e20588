"""``check.html``: the findings with the pictures in question, in one file without a network."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from edge.errors import DataError, ImageError
from edge.model.image.preprocessing import decode
from training.data.check import Report, as_json
from training.data.dataset import Case, Finding

CASES, PHOTOS = 40, 8
"""Most cases shown per finding, and photos per case; the rest is in check.json."""
SIDE = 132

CSS = """
:root{--ink:#1f2a24;--soft:#66756c;--line:#dfe5e0;--paper:#fff;--ground:#f5f7f4;
--error:#b3261e;--warning:#a15c00;--note:#3d6b8a;--good:#2d6a3e}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;margin:0}h2{font-size:18px;margin:0}p{margin:4px 0}
.soft{color:var(--soft)}code{font-size:.92em;word-break:break-all}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:18px 20px;
margin-top:18px}
table{border-collapse:collapse;width:100%;margin-top:10px}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);
vertical-align:top}
table.found td:nth-child(2){width:58%;overflow-wrap:anywhere}
table.classes td:first-child{overflow-wrap:anywhere;min-width:9em}h1,h2,p{overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.tag{display:inline-block;border-radius:5px;padding:1px 8px;font-size:12.5px;font-weight:600;
color:#fff;margin-right:8px;vertical-align:2px}
.error{background:var(--error)}.warning{background:var(--warning)}.note{background:var(--note)}
.good{background:var(--good)}
.case{border-top:1px solid var(--line);margin-top:12px;padding-top:8px}
.strip{display:flex;flex-wrap:wrap;gap:8px;margin-top:6px}
figure{margin:0;width:132px}
figure img{width:132px;height:132px;object-fit:contain;background:#e9ede9;border-radius:6px}
figure .none{height:132px;display:grid;place-items:center;background:#f3e3e1;border-radius:6px;
color:var(--error);font-size:13px}
figcaption{font-size:11.5px;line-height:1.3;color:var(--soft);overflow-wrap:anywhere}
figcaption b{color:var(--ink)}
.bar{height:10px;background:#8fb89a;border-radius:3px}
summary{cursor:pointer;margin-top:8px;color:var(--note)}
.two{display:flex;gap:36px;flex-wrap:wrap;margin-top:8px}.big{font-size:34px;font-weight:650}
"""


def write_report(report: Report, out: Path) -> tuple[Path, Path]:
    """Write ``check.json`` and ``check.html`` into a folder; give their paths.

    Raises:
        DataError: The folder cannot be made or written.
    """
    text = json.dumps(as_json(report), indent=1, ensure_ascii=False) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _whole(out / "check.json", text), _whole(out / "check.html", render(report))
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from error


def render(report: Report) -> str:
    """The whole page."""
    dataset = report.dataset
    body = [
        f"<h1>Check of {escape(dataset.root.resolve().name)}</h1>",
        f"<p class=soft>{len(dataset)} photos, {len(dataset.classes)} classes, "
        f"{report.groups} independent scenes; {escape(dataset.source)}</p>",
        _overview(report.findings),
        _leakage(report),
        _classes(report),
        *(_finding(report, finding) for finding in report.findings if finding.cases),
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>Check of {escape(dataset.root.resolve().name)}</title><style>{CSS}</style>"
        f"<main>{''.join(body)}</main></html>\n"
    )


def _tag(severity: str) -> str:
    return f"<span class='tag {severity}'>{severity}</span>"


def _overview(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<section><span class='tag good'>good</span>No problem found.</section>"
    rows = []
    for finding in findings:
        title = escape(finding.title)
        if finding.cases:
            title = f"<a href='#{finding.kind}'>{title}</a>"
        advice = escape(finding.advice)
        rows.append(f"<tr><td>{_tag(finding.severity)}<td>{title}<td class=soft>{advice}")
    return f"<section><h2>Found</h2><table class=found>{''.join(rows)}</table></section>"


def _leakage(report: Report) -> str:
    leakage = report.leakage
    if leakage is None:
        return ""
    scores = [("random split", leakage.random), ("related photos kept together", leakage.grouped)]
    if leakage.given:
        scores.append(("the splits given", leakage.given))
    cells = [
        f"<div><div class=big>{score.mean:.1%}</div><div>{name}</div>"
        f"<div class=soft>{score.low:.1%} to {score.high:.1%}</div></div>"
        for name, score in scores
    ]
    gap = leakage.random.mean - leakage.grouped.mean
    return (
        "<section><h2>What a random split would claim</h2>"
        f"<div class=two>{''.join(cells)}</div>"
        f"<p>A random split of these photos overstates test accuracy by {100 * gap:.1f} points: "
        "photos related to the test photos are in training.</p>"
        f"<p class=soft>Probe: {escape(leakage.probe)}; mean of several splits, 95 % Wilson "
        "interval for one test split.</p></section>"
    )


def _classes(report: Report) -> str:
    counts = report.dataset.counts()
    most = max(counts.values())
    head = "<tr><th>class<th class=n>photos<th class=n>scenes<th>"
    rows = [
        f"<tr><td dir=auto>{escape(label)}<td class=n>{count}<td class=n>{report.scenes[label]}"
        f"<td style='width:40%'><div class=bar style='width:{100 * count / most:.1f}%'></div>"
        for label, count in counts.items()
    ]
    return f"<section><h2>Classes</h2><table class=classes>{head}{''.join(rows)}</table></section>"


def _finding(report: Report, finding: Finding) -> str:
    cases = finding.cases
    if all(len(case.photos) == 1 for case in cases):
        shown = "<div class=strip>" + "".join(
            _figure(report, case.photos[0], case.text) for case in cases[: 2 * CASES]
        )
        shown += "</div>"
        left = len(cases) - 2 * CASES
    else:
        parts = [_case(report, case) for case in cases[:CASES]]
        shown = "".join(parts[:10])
        if len(parts) > 10:
            shown += f"<details><summary>{len(parts) - 10} more</summary>{''.join(parts[10:])}"
            shown += "</details>"
        left = len(cases) - CASES
    more = f"<p class=soft>{left} more in check.json.</p>" if left > 0 else ""
    return (
        f"<section id='{finding.kind}'><h2>{_tag(finding.severity)}{escape(finding.title)}</h2>"
        f"<p class=soft>{escape(finding.advice)}</p>{shown}{more}</section>"
    )


def _case(report: Report, case: Case) -> str:
    shown = "".join(_figure(report, index) for index in case.photos[:PHOTOS])
    hidden = len(case.photos) - PHOTOS
    more = f", {hidden} not shown" if hidden > 0 else ""
    return (
        f"<div class=case><div>{escape(case.text)}{more}</div><div class=strip>{shown}</div></div>"
    )


def _figure(report: Report, index: int, text: str = "") -> str:
    example = report.dataset.examples[index]
    picture = _thumb(report, index)
    words = [f"<b><bdi>{escape(example.label)}</bdi></b>"]
    if example.split:
        words.append(example.split)
    name = f"{escape(example.file.rsplit('/', 1)[-1])}"
    told = f"<br>{escape(text)}" if text else ""
    return (
        f"<figure title='{escape(example.file, quote=True)}'>{picture}"
        f"<figcaption>{' '.join(words)}<br>{name}{told}</figcaption></figure>"
    )


def _thumb(report: Report, index: int) -> str:
    path = report.dataset.path(report.dataset.examples[index])
    if index not in report.thumbs:
        try:
            report.thumbs[index] = _encode(decode(path, at_least=(SIDE, SIDE)))
        except (ImageError, OSError):
            report.thumbs[index] = ""
    if not report.thumbs[index]:
        return "<div class=none>no picture</div>"
    return f"<img loading=lazy alt='' src='data:image/jpeg;base64,{report.thumbs[index]}'>"


def _encode(pixels: np.ndarray) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=72)
    return base64.b64encode(out.getvalue()).decode()


def _whole(path: Path, text: str) -> Path:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path
