"""Cross-validation: every photo is judged once, by a model that saw none of its group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge.errors import DataError
from training.data.dataset import Dataset
from training.data.words import some

FEWEST = 3
"""Folds: one to judge, one to choose by, one to train on."""


def divide(dataset: Dataset, folds: int, seed: int = 0) -> Iterator[Dataset]:
    """The data set once for each fold, with its splits: a fold is the test photos, the next one the
    validation photos, the others train. Whole groups at a time, classes in proportion.

    Raises:
        DataError: Fewer than three folds, or a class with fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.array(dataset.groups)
    labels = np.array([example.label for example in dataset.examples])
    if folds < FEWEST:
        raise DataError(
            f"{folds} folds: give {FEWEST} or more, one to judge, one to choose by, one to train on"
        )
    scenes = {label: len(set(groups[labels == label])) for label in dataset.labels}
    few = [f"{label} ({count})" for label, count in scenes.items() if count < folds]
    if few:
        raise DataError(
            f"{folds} folds: every class needs as many groups of related photos, one for each "
            f"fold; too few have {some(few)}. Take fewer folds, at least {FEWEST}, or more photos"
        )
    rule = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    places = np.zeros(len(labels), int)
    for number, (_, judged) in enumerate(rule.split(labels[:, None], labels, groups)):
        places[judged] = number
    for number in range(folds):
        names = {number: "test", (number + 1) % folds: "val"}
        yield dataset.with_examples(
            replace(example, split=names.get(place, "train"))
            for example, place in zip(dataset.examples, places.tolist(), strict=True)
        )
