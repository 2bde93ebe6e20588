"""``index.html``: what was collected, to look at. It shows the pictures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.data.report import CSS
from training.inbox.store import Record

MOST = 400
"""Pictures shown of each reason, the newest first; the rest is in labels.csv."""
_WORDS = {
    "random": "Drawn at random: how often is the model right?",
    "unknown": "None of the classes, says the model: something new?",
    "low-confidence": "The model is not sure.",
    "disagreement": "The frames before and after it said something else.",
}


def render(records: Sequence[Record]) -> str:
    """The whole page."""
    cameras = len({record.item.device for record in records})
    body = [
        "<h1>From the field</h1>",
        f"<p class=soft>{len(records)} picture{'s' * (len(records) != 1)} of {cameras} "
        f"camera{'s' * (cameras != 1)}. What stands below each is "
        "the model's proposal, not the truth; label them in labels.csv or Label Studio.</p>",
        *(_section(kept, records) for kept in _WORDS),
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>From the field</title>"
        f"<style>{CSS}figure.l{{width:200px}}figure.l img{{width:200px;height:150px}}</style>"
        f"<main>{''.join(body)}</main></html>\n"
    )


def _section(kept: str, records: Sequence[Record]) -> str:
    chosen = [record for record in records if record.item.kept == kept]
    if not chosen:
        return ""
    chosen.sort(key=lambda record: record.item.time, reverse=True)
    more = f"<p class=soft>{len(chosen) - MOST} more in labels.csv.</p>" if chosen[MOST:] else ""
    shown = "".join(_figure(record) for record in chosen[:MOST])
    return (
        f"<section><h2>{escape(kept)} ({len(chosen)})</h2><p class=soft>{_WORDS[kept]}</p>"
        f"<div class=strip>{shown}</div>{more}</section>"
    )


def _figure(record: Record) -> str:
    item = record.item
    likely = [(name, share) for name, share in item.probabilities.items() if share >= 0.01]
    others = ", ".join(f"{name} {share:.0%}" for name, share in likely[1:3])
    verdict = "" if item.label else f" ({escape(item.reason or '')})"
    return (
        f"<figure class=l><img loading=lazy alt='' src='{escape(record.file, quote=True)}'>"
        f"<figcaption><b><bdi>{escape(record.proposal)}</bdi> {item.confidence:.0%}</b>{verdict}"
        f"<br>{escape(others)}<br>{escape(item.device)}, {item.time:%Y-%m-%d %H:%M}</figcaption>"
        "</figure>"
    )
