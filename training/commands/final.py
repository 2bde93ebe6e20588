"""The model to ship: a cross-validation has settled how it is trained, so validation photos train.

A quarter of the validation photos stays out of training all the same. Temperature, thresholds and
what is unknown are fitted on them, and on photos that a model was trained on it is far too sure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import msgspec

from edge.errors import TrainingError
from edge.text.refusals import refusal
from training.data.dataset import Dataset
from training.data.splits import assign_splits
from training.recipe import Recipe
from training.report.crossval import CrossValidation
from training.runs import Expectation, Run, load_run
from training.starts.origin import origin

#: Shares of the validation photos that train, and that stay.
_DIVISION = (0.75, 0.25, 0.0)


class Final(NamedTuple):
    """What the last training is made with."""

    dataset: Dataset
    rule: str
    """How the splits came about."""
    estimate: Expectation


def final(
    folder: Path, dataset: Dataset, rule: str, recipe: Recipe, seed: int, taught: bool = False
) -> Final:
    """Move validation photos to training, and take what a cross-validation says of the recipe.

    Args:
        folder: of a finished `crossval` of the same recipe on the same photos.
        dataset: with its splits; test photos stay what they are.
        rule: how those came about, in words.
        recipe: of the training.
        seed: of the division of the validation photos, whole groups at a time.
        taught: whether it has teachers.

    Raises:
        TrainingError: there is no such cross-validation, or it says nothing of this training.
    """
    together, folds = _read(folder)
    _same(folder, folds, dataset, recipe, taught)
    estimate = Expectation(
        path=str(folder.resolve()),
        photos=together.photos,
        accuracy=together.accuracy,
        interval=together.accuracy_interval,
        ece=together.ece,
        keep=_best(folds),
    )
    val = dataset.split("val")
    parts = assign_splits(
        val.with_examples(replace(e, split=None) for e in val.examples), _DIVISION, seed
    )
    rest = [e for e in dataset.examples if e.split != "val"]
    moved = sum(e.split == "train" for e in parts.examples)
    return Final(
        dataset.with_examples([*parts.examples, *rest]),
        f"{moved} of {len(val)} validation photos train, by groups, seed {seed}; else {rule}",
        estimate,
    )


def _read(folder: Path) -> tuple[CrossValidation, list[Run]]:
    path = folder / "crossval.json"
    try:
        together = msgspec.json.decode(path.read_bytes(), type=CrossValidation)
    except FileNotFoundError as error:
        raise TrainingError(
            f"--final {folder}: holds no finished cross-validation; make one with "
            "`python -m training crossval` and the same options"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise TrainingError(f"{path}: cannot be read ({refusal(error)})") from error
    folds = [load_run(folder / f"fold-{n}") for n in range(1, len(together.folds) + 1)]
    return together, folds


def _same(
    folder: Path, folds: Sequence[Run], dataset: Dataset, recipe: Recipe, taught: bool
) -> None:
    """See that the folds were trained as this is to be.

    Raises:
        TrainingError: on other photos, or by another recipe.
    """
    was, now = (msgspec.to_builtins(one) for one in (folds[0].info.recipe, recipe))
    other = [f"{name} was {was[name]}, is {now[name]}" for name in now if was[name] != now[name]]
    if other:
        raise TrainingError(
            f"--final {folder}: cross-validated another recipe ({'; '.join(other)}); give the same "
            "--recipe, --weights, --epochs and --set"
        )
    if folds[0].info.start != origin(recipe):
        raise TrainingError(f"--final {folder}: began with another file of start weights")
    if bool(folds[0].info.teachers) != taught:
        words = ("had teachers", "--teacher") if not taught else ("had none", "no --teacher")
        raise TrainingError(f"--final {folder}: {words[0]}; give {words[1]}, or make another")
    seen = _names(folds[0].dataset)
    fitting = dataset.with_examples(e for e in dataset.examples if e.split != "test")
    # Without given test photos a cross-validation judges those too that a training keeps for it.
    same = next((part for part in (fitting, dataset) if _names(part) == seen), None)
    if same is None or same.fingerprint() != folds[0].info.data_fingerprint:
        raise TrainingError(
            f"--final {folder}: was made with other photos or labels; make it anew on these"
        )


def _names(dataset: Dataset) -> set[tuple[str, str]]:
    return {(example.file, example.label) for example in dataset.examples}


def _best(folds: Sequence[Run]) -> str:
    """What the folds' validation photos liked best on average, by log loss."""
    found = defaultdict(list)
    for run in folds:
        assert run.info.result is not None  # or there would be no crossval.json
        for one in run.info.result.candidates:
            found[one.name].append(one.log_loss)
    return min(found, key=lambda name: mean(found[name]))
