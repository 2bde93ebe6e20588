"""Labels that settings name and a model does not have: what they are for would never happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config.decision import Decision

_SHOWN = 12
"""Labels of a model that are listed."""


def by_decision(decision: Decision, labels: Sequence[str]) -> str:
    """A sentence on the labels of ``[decision]`` that a model with `labels` lacks; empty: none."""
    named = {
        "decision.background": decision.background,
        "decision.thresholds": tuple(decision.thresholds),
    }
    return unknown(named, labels)


def unknown(named: Mapping[str, Iterable[str]], labels: Sequence[str]) -> str:
    """A sentence on the labels in settings that are none of `labels`; empty: none."""
    lost = [
        f"{setting} names {', '.join(map(repr, absent))}"
        for setting, wanted in named.items()
        if (absent := [one for one in wanted if one not in labels])
    ]
    if not lost:
        return ""
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    known = ", ".join(map(repr, labels[:_SHOWN])) + more
    return f"{' and '.join(lost)}, which the model does not have; its labels are {known}"
