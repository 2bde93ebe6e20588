"""How good a finished run is, measured exactly as a device will use it.

Photos come through `edge.model.image.preprocessing`, answers leave through `edge.model.scores`.
Temperature and unknown threshold are fitted on the validation photos; the test photos only measure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from edge.model.image.preprocessing import quantise
from edge.model.scores import softmax
from training import metrics
from training.costs import NetworkCost, cost_of
from training.files import write_json
from training.metrics import Interval
from training.runs import Run
from training.unknown.foreign import foreign_pictures
from training.untyped import Model

#: Share of the right validation answers that the unknown threshold must let pass.
KEEP = 0.95


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One class on the judged split."""

    n: int
    precision: float
    recall: float
    recall_interval: Interval
    f1: float
    roc_area: float
    average_precision: float


class UnknownFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule "below this confidence is unknown" would do on the judged split.

    A run has no other. What its bundle tells the unknown by is chosen for the int8 model when that
    is packed: :mod:`training.unknown.choose`.
    """

    by: str = "max-probability"
    """The score, as the decision of a bundle names it."""
    threshold: float
    kept_right: float
    """Share of the right answers that stay."""
    caught_wrong: float
    """Share of the wrong answers that become unknown."""
    accuracy_of_kept: float
    """Share of the answers still given that are right."""
    foreign: int | None = None
    """Photos of none of the classes that were tried."""
    caught_foreign: float | None = None
    """Share of them that become unknown."""


class ProbeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The linear probe on the judged split, and how far the model is ahead of it there."""

    accuracy: float
    ahead: float
    """Accuracy of the model minus that of the probe."""
    ahead_interval: Interval
    """95 % on the same photos (Newcombe 1998, method 10)."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Content of evaluation.json; shares are 0..1, intervals 95 %."""

    split: str
    n: int
    groups: int
    accuracy: float
    accuracy_interval: Interval
    """Wilson: takes every photo as independent."""
    accuracy_group_interval: Interval
    """Bootstrap over whole groups: photos of one group rise and fall together."""
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    """Nats, after temperature."""
    temperature: float
    ece_before: float
    ece: float
    """After temperature."""
    unknown: UnknownFigures
    probe: ProbeFigures | None
    """None where training began without start weights."""
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: truth, columns: answer, in the order of the labels."""
    cost: NetworkCost | None
    """None where the network is no shipped recipe's."""


class Answers(NamedTuple):
    """What the model said about one split."""

    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    """After temperature."""


def answers(run: Run, split: str, model: Model, temperature: float = 1.0) -> Answers:
    """The model's answers to the photos of one split.

    Raises:
        TrainingError: the split is empty or a photo cannot be decoded.
    """
    part = run.dataset.split(split)
    if not part.examples:
        raise TrainingError(f"{run.path}: split {split} has no photos to judge by")
    pixels, labels = run.arrays(split)
    logits = device_logits(run, model, pixels)
    return Answers(
        tuple(e.file for e in part.examples),
        part.groups,
        labels,
        logits,
        softmax(logits, temperature),
    )


def device_logits(run: Run, model: Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (n, classes) of fitted photos, through the device's own scaling."""
    spec, logits = run.info.input, []
    for start in range(0, len(pixels), 64):
        batch = np.concatenate([quantise(p, spec) for p in pixels[start : start + 64]])
        logits.append(model(batch, training=False).numpy())
    return np.concatenate(logits)


def evaluate(run: Run, split: str = "test", unknown: Path | None = None) -> tuple[Evaluation, Any]:
    """Judge a run; see `save` for where it goes.

    Args:
        run: a finished run.
        split: which photos judge; temperature and threshold always come from "val".
        unknown: a folder of photos of none of the classes.

    Returns:
        The figures, and the `Answers` they were made of.

    Raises:
        TrainingError: the run is unfinished, a split is empty, or photos cannot be decoded.
    """
    model = run.model()
    val = answers(run, "val", model)
    temperature = metrics.fit_temperature(val.logits, val.labels, val.groups)
    calibrated = softmax(val.logits, temperature)
    threshold = metrics.fit_unknown_threshold(
        calibrated.max(axis=1), calibrated.argmax(axis=1) == val.labels, KEEP
    )
    judged = answers(run, split, model, temperature)
    foreign = None if unknown is None else _foreign(run, model, unknown, temperature)
    probe = _probe(run, split, judged)
    return _figures(run, split, judged, temperature, threshold, foreign, probe), judged


def save(run: Run, evaluation: Evaluation) -> Path:
    """Write RUN/evaluation.json and return its path."""
    path = run.path / "evaluation.json"
    write_json(path, evaluation)
    return path


def _figures(
    run: Run,
    split: str,
    judged: Answers,
    temperature: float,
    threshold: float,
    foreign: NDArray[np.float32] | None,
    probe: ProbeFigures | None,
) -> Evaluation:
    labels, table = judged.labels, judged.probabilities
    said, n = table.argmax(axis=1), len(judged.labels)
    right = said == labels
    confusion = metrics.confusion_matrix(labels, said, len(run.info.labels))
    return Evaluation(
        split=split,
        n=n,
        groups=len(set(judged.groups)),
        accuracy=metrics.accuracy(labels, said),
        accuracy_interval=metrics.wilson_interval(int(right.sum()), n),
        accuracy_group_interval=metrics.group_bootstrap_interval(right, np.array(judged.groups)),
        balanced_accuracy=metrics.balanced_accuracy(labels, said),
        macro_f1=metrics.macro_f1(labels, said),
        log_loss=metrics.negative_log_likelihood(judged.logits, labels, temperature),
        temperature=temperature,
        ece_before=metrics.ece(softmax(judged.logits), labels),
        ece=metrics.ece(table, labels),
        unknown=_unknown(table.max(axis=1), right, threshold, foreign),
        probe=probe,
        per_class=_per_class(run.info.labels, judged, confusion),
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        cost=cost_of(run.info.recipe),
    )


def _probe(run: Run, split: str, judged: Answers) -> ProbeFigures | None:
    model = run.probe()
    if model is None:
        return None
    probe = answers(run, split, model).logits.argmax(axis=1) == judged.labels
    ours = judged.logits.argmax(axis=1) == judged.labels
    return ProbeFigures(
        accuracy=float(probe.mean()),
        ahead=float(ours.mean() - probe.mean()),
        ahead_interval=metrics.paired_difference_interval(ours, probe),
    )


def _unknown(
    scores: NDArray[np.float32],
    right: NDArray[np.bool_],
    threshold: float,
    foreign: NDArray[np.float32] | None,
) -> UnknownFigures:
    kept = scores >= threshold

    def share(part: NDArray[np.bool_]) -> float:
        return float(part.mean()) if len(part) else 0.0

    return UnknownFigures(
        threshold=threshold,
        kept_right=share(kept[right]),
        caught_wrong=share(~kept[~right]),
        accuracy_of_kept=share(right[kept]),
        foreign=None if foreign is None else len(foreign),
        caught_foreign=None if foreign is None else share(foreign < threshold),
    )


def _per_class(
    labels: tuple[str, ...], judged: Answers, confusion: NDArray[np.int64]
) -> dict[str, ClassFigures]:
    said = judged.probabilities.argmax(axis=1)
    scores = metrics.class_scores(judged.labels, said, len(labels))
    figures = {}
    for i, label in enumerate(labels):
        of_class, column = judged.labels == i, judged.probabilities[:, i]
        n = int(scores.n[i])
        both = 0 < n < len(of_class)
        figures[label] = ClassFigures(
            **scores.of(i),
            recall_interval=metrics.wilson_interval(int(confusion[i, i]), n)
            if n
            else Interval(0.0, 1.0),
            roc_area=metrics.area_under_roc(column, of_class) if both else 0.0,
            average_precision=metrics.average_precision(column, of_class) if n else 0.0,
        )
    return figures


def _foreign(run: Run, model: Model, folder: Path, temperature: float) -> NDArray[np.float32]:
    """Top probability of every picture below a folder."""
    logits = device_logits(run, model, foreign_pictures(folder, run.info.input))
    top: NDArray[np.float32] = softmax(logits, temperature).max(axis=1)
    return top
