"""What an unknown rule catches of pictures that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.model.bundle.manifest import UnknownKind, UnknownMetrics
from training import metrics
from training.unknown.fit import Fitted, Quantised, Seen, Way, fit_ways

Floats = NDArray[np.float32]

MADE = "made pictures of a kind left out"
"""Noise, say, judged by a rule that learned from the other kinds."""


class Stranger(NamedTuple):
    """What a model gives for pictures of none of its classes."""

    features: NDArray[Any]
    """Levels (n, d)."""
    logits: Floats
    """Real (n, classes)."""


class SeenSplits(NamedTuple):
    """What a model gives for the photos of each split."""

    train: Seen
    val: Seen
    test: Seen


def judge(
    way: Way,
    rule: Fitted,
    photos: SeenSplits,
    made: Mapping[str, Stranger],
    folders: Mapping[str, Stranger],
    tensor: Quantised,
    temperature: float,
    advance: Callable[[int], None] = lambda _: None,
) -> UnknownMetrics:
    """Figures on test photos, the folders given, and made pictures.

    Args:
        way: the one that was chosen.
        rule: of that way, fitted to `photos` and all of `made`.
        photos: of the model's classes.
        made: pictures of each kind that is made.
        folders: pictures that somebody gave, by a name.
        tensor: how features are quantised.
        temperature: of the model's logits.
        advance: told of each rule that was fitted for judging, one for each kind that is made.
    """
    kinds = {name: figures([trial(rule, photos.test, found)]) for name, found in folders.items()}
    asked = []
    for strangers, rest in _without_a_kind(made):
        other = fit_ways(photos.train, photos.val, rest, tensor, temperature)[way]
        asked.append(trial(other, photos.test, strangers))
        advance(1)
    kinds[MADE] = figures(asked)
    kept = known(rule, photos.test) >= rule.threshold
    right = photos.test.right
    return UnknownMetrics(kept=float(kept[right].mean()) if right.any() else 0.0, kinds=kinds)


class Asked(NamedTuple):
    """Scores of right answers and of strangers by one rule, and its threshold."""

    right: Floats
    strangers: Floats
    threshold: float


def known(rule: Fitted, seen: Seen | Stranger) -> Floats:
    """The rule's score of each picture (n,)."""
    return rule.rule.scores(seen.features, seen.logits)


def trial(rule: Fitted, test: Seen, strangers: Stranger) -> Asked:
    """One rule asked about right answers and about strangers."""
    return Asked(known(rule, test)[test.right], known(rule, strangers), rule.threshold)


def figures(found: Iterable[Asked]) -> UnknownKind:
    """The figures of several rules: areas are averaged, pictures counted together."""
    counted = [one for one in found if len(one.strangers) and len(one.right)]
    n = sum(len(one.strangers) for one in counted)
    caught = sum(int((one.strangers < one.threshold).sum()) for one in counted)
    areas = [
        metrics.area_under_roc(
            np.concatenate([one.right, one.strangers]),
            np.arange(len(one.right) + len(one.strangers)) < len(one.right),
        )
        for one in counted
    ]
    low, high = metrics.wilson_interval(caught, n) if n else (0.0, 1.0)
    return UnknownKind(
        n=n,
        roc_area=float(np.mean(areas)) if areas else 0.0,
        caught=caught / n if n else 0.0,
        caught_low=low,
        caught_high=high,
    )


def _without_a_kind(
    made: Mapping[str, Stranger],
) -> Iterator[tuple[Stranger, NDArray[Any]]]:
    """Made pictures of each kind, and features of all others."""
    for name, strangers in made.items():
        yield (
            strangers,
            np.concatenate([other.features for kind, other in made.items() if kind != name]),
        )
