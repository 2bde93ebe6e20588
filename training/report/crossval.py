"""What the folds of a cross-validation say together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from training import metrics
from training.metrics import Interval
from training.report.evaluate import answers, evaluate
from training.runs import Run


class FoldAnswers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the model of one fold answered its test photos; a value for each photo."""

    kept: str
    """What training kept."""
    files: tuple[str, ...]
    groups: tuple[str, ...]
    right: tuple[bool, ...]
    confidence: tuple[float, ...]
    """Top probability, after the temperature of the fold's validation photos."""
    probe_right: tuple[bool, ...] | None
    """Of the linear probe; None where training began without start weights."""


class CrossValidation(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over all folds: each photo counts once. Shares 0..1, intervals 95 %."""

    photos: int
    groups: int
    folds: tuple[float, ...]
    """Accuracy of each."""
    accuracy: float
    accuracy_interval: Interval
    """Bootstrap over whole groups."""
    ece: float
    probe_accuracy: float | None
    ahead: float | None
    """Accuracy minus that of the linear probe."""
    ahead_interval: Interval | None
    """Bootstrap over whole groups."""


def judge_fold(run: Run) -> FoldAnswers:
    """The answers of a finished run to its test photos."""
    _, said = evaluate(run, "test")
    model = run.probe()
    probe = None
    if model is not None:
        logits = answers(run, "test", model).logits
        probe = tuple((logits.argmax(axis=1) == said.labels).tolist())
    assert run.info.result is not None
    return FoldAnswers(
        kept=run.info.result.kept.name,
        files=said.files,
        groups=said.groups,
        right=tuple((said.probabilities.argmax(axis=1) == said.labels).tolist()),
        confidence=tuple(np.round(said.probabilities.max(axis=1), 6).tolist()),
        probe_right=probe,
    )


def pool(folds: Sequence[FoldAnswers]) -> CrossValidation:
    """All folds together."""
    right = np.concatenate([fold.right for fold in folds])
    groups = np.concatenate([fold.groups for fold in folds])
    confidence = np.concatenate([fold.confidence for fold in folds])
    probe = ahead = interval = None
    if all(fold.probe_right is not None for fold in folds):
        of_probe = np.concatenate([fold.probe_right or () for fold in folds])
        probe, ahead = float(of_probe.mean()), float(right.mean() - of_probe.mean())
        gained = right.astype(float) - of_probe
        interval = metrics.group_bootstrap_interval(gained, groups)
    # Two columns tell `ece` how sure an answer was, and whether it was right.
    table = np.stack([confidence, -np.ones_like(confidence)], axis=1)
    return CrossValidation(
        photos=len(right),
        groups=len(set(groups.tolist())),
        folds=tuple(float(np.mean(fold.right)) for fold in folds),
        accuracy=float(right.mean()),
        accuracy_interval=metrics.group_bootstrap_interval(right, groups),
        ece=metrics.ece(table, np.where(right, 0, 1)),
        probe_accuracy=probe,
        ahead=ahead,
        ahead_interval=interval,
    )
