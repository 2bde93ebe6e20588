"""``index.html``: what was collected, to look at. It shows the pictures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.messages.feedback import InboxItem
from training.inbox.store import Record
from training.pages.page import render as fill

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
    return fill(
        "training/inbox/page.html",
        title="From the field",
        n=len(records),
        cameras=len({record.item.device for record in records}),
        reasons=[found for kept in _WORDS if (found := _reason(kept, records))],
        likely=_likely,
    )


def _reason(kept: str, records: Sequence[Record]) -> dict[str, Any] | None:
    chosen = [record for record in records if record.item.kept == kept]
    chosen.sort(key=lambda record: record.item.time, reverse=True)
    if not chosen:
        return None
    return {"kept": kept, "n": len(chosen), "words": _WORDS[kept], "shown": chosen[:MOST]}


def _likely(item: InboxItem) -> list[tuple[str, float]]:
    return [(name, share) for name, share in item.probabilities.items() if share >= 0.01]
