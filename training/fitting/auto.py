"""Which recipe suits these photos: linear probes on the start weights of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from training import metrics
from training.data.dataset import Dataset
from training.data.folds import FEWEST, divide
from training.input.cache import cached_pixels
from training.metrics import Interval
from training.recipe import Recipe
from training.untyped import Model

Floats = NDArray[np.float32]

#: Parts of the cross-validation; where a class has fewer groups of photos, as many as those.
FOLDS = 5
#: One standard error to either side: the confidence of an interval that wide.
_ONE_ERROR = 0.6827


class StartFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a linear probe on one recipe's start weights tells of the photos."""

    recipe: str
    """Name of the recipe."""
    accuracy: float
    """Share of all photos that were told rightly by a probe that saw none of their group."""
    accuracy_interval: Interval
    """95 %, bootstrap over whole groups."""
    log_loss: float
    """Nats, at the best temperature."""
    behind: Interval
    """Log loss beyond that of the best start, one standard error to either side (groups drawn)."""
    multiply_adds: int
    """Of one picture."""


class StartComparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All starts that could be had, and the one to take."""

    starts: tuple[StartFigures, ...]
    """By log loss, the best first."""
    left_out: dict[str, str]
    """Recipes whose start weights could not be had, with the reason."""
    chosen: str
    photos: int
    groups: int
    recipes: dict[str, Recipe]
    """What was to be chosen from."""
    data_fingerprint: str
    """Of the photos."""

    @property
    def reason(self) -> str:
        """Why that one, in words."""
        best, chosen = self.starts[0].recipe, self.chosen
        if len(self.starts) == 1:
            return f"{chosen} is the only recipe whose start weights can be had"
        if chosen == best:
            return f"a linear probe on the start of {chosen} has the least log loss"
        return (
            f"the start of {chosen} is within one standard error of that of {best}, which has the "
            "least log loss, and takes less work"
        )


class _Answers(NamedTuple):
    """Of the probes on one start, to photos of classes that they had learnt."""

    losses: NDArray[np.float64]
    """(n,) nats, at one temperature."""
    right: NDArray[np.bool_]
    groups: tuple[str, ...]
    multiply_adds: int


def compare_starts(
    dataset: Dataset,
    recipes: Mapping[str, Recipe],
    cache: Path,
    progress: Callable[[str, int], None],
    left_out: Mapping[str, str] | None = None,
) -> StartComparison:
    """Hold the start weights of several recipes against each other on photos of one's own.

    Args:
        dataset: the photos to choose by, all of them labelled and grouped; splits do not matter.
            Classes of fewer than three groups have no part in it.
        recipes: what may be chosen, by name; each names start weights.
        cache: folder for decoded photos.
        progress: told the name of a recipe and how many photos its start has looked at.
        left_out: recipes that were left out before, with the reason.

    Raises:
        TrainingError: no start weights can be had, a photo cannot be decoded, or fewer than two
            classes have three groups.
    """
    dataset, folds = _divisible(dataset)
    found: dict[str, _Answers] = {}
    reasons = dict(left_out or {})
    for name, recipe in recipes.items():
        try:
            model = _body(recipe, len(dataset.labels))
        except TrainingError as error:
            reasons[name] = str(error)
            continue
        features = _features(model, dataset, recipe, cache, partial(progress, name))
        found[name] = _cross_validated(features, dataset, folds, multiply_adds(model))
    if not found:
        raise TrainingError("no recipe's start weights can be had: " + "; ".join(reasons.values()))
    starts, some = _compared(found), next(iter(found.values()))
    return StartComparison(
        starts=starts,
        chosen=_least_work(starts),
        photos=len(some.losses),
        groups=len(set(some.groups)),
        left_out=reasons,
        recipes=dict(recipes),
        data_fingerprint=dataset.fingerprint(),
    )


def _compared(found: Mapping[str, _Answers]) -> tuple[StartFigures, ...]:
    """By log loss, the best first."""
    order = sorted(found, key=lambda name: found[name].losses.mean())
    least, groups = found[order[0]].losses, found[order[0]].groups
    return tuple(
        StartFigures(
            recipe=name,
            accuracy=float(answers.right.mean()),
            accuracy_interval=metrics.group_bootstrap_interval(answers.right, groups),
            log_loss=float(answers.losses.mean()),
            behind=metrics.group_bootstrap_interval(answers.losses - least, groups, _ONE_ERROR),
            multiply_adds=answers.multiply_adds,
        )
        for name, answers in ((name, found[name]) for name in order)
    )


def _least_work(starts: Sequence[StartFigures]) -> str:
    """The recipe of the one-standard-error rule (Breiman et al. 1984): the least work as good."""
    as_good = [start for start in starts if start.behind.low <= 0]
    return min(as_good, key=lambda start: start.multiply_adds).recipe


def _body(recipe: Recipe, classes: int) -> Model:
    """The recipe's network up to its pooled features, with its start weights."""
    from training.models import build_model
    from training.tf import keras

    whole = build_model(recipe, classes)
    return keras.Model(whole.input, whole.get_layer("features").output)


def _features(
    model: Model, dataset: Dataset, recipe: Recipe, cache: Path, progress: Callable[[int], None]
) -> Floats:
    """Pooled features (n, d) of all photos."""
    from training.fitting.train import predict_logits

    files = [dataset.path(example) for example in dataset.examples]
    pixels = cached_pixels(files, recipe.input, dataset.fingerprint(), cache)
    parts = []
    for first in range(0, len(pixels), 64):
        parts.append(predict_logits(model, pixels[first : first + 64]))
        progress(min(first + 64, len(pixels)))
    return np.concatenate(parts)


def _divisible(dataset: Dataset) -> tuple[Dataset, int]:
    """The photos of classes that can be divided into folds, and into how many."""
    found = set(zip((e.label for e in dataset.examples), dataset.groups, strict=True))
    scenes = Counter(label for label, _ in found)
    enough = {label: count for label, count in scenes.items() if count >= FEWEST}
    if len(enough) < 2:
        raise TrainingError(
            f"{dataset.root}: fewer than two classes have photos of {FEWEST} groups or more, too "
            "few to choose a recipe by; name one with --recipe"
        )
    kept = dataset.with_examples(e for e in dataset.examples if e.label in enough)
    return kept, min(FOLDS, *enough.values())


def _cross_validated(features: Floats, dataset: Dataset, folds: int, work: int) -> _Answers:
    from training.fitting.probe import fit_probe

    index = {label: place for place, label in enumerate(dataset.labels)}
    labels = np.array([index[example.label] for example in dataset.examples], np.int64)
    logits = np.zeros((len(labels), len(index)), np.float32)
    judged = np.zeros(len(labels), bool)
    for part in divide(dataset, folds):
        split = np.array([example.split for example in part.examples])
        train, val, test = split == "train", split == "val", split == "test"
        equal = np.ones(len(index), np.float32)
        probe = fit_probe(features[train], labels[train], features[val], labels[val], equal)
        logits[test] = features[test] @ probe.kernel + probe.bias
        judged |= test & np.isin(labels, labels[train])
    logits, labels = logits[judged].astype(np.float64), labels[judged]
    logits /= metrics.fit_temperature(logits, labels)
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    groups = tuple(compress(dataset.groups, judged))
    return _Answers(losses, logits.argmax(axis=1) == labels, groups, work)


def multiply_adds(model: Model) -> int:
    """Multiply-adds of convolutions and dense layers for one picture."""
    total = 0
    for layer in model.layers:
        kernels = [w for w in layer.weights if len(w.shape) in (2, 4)]
        places = math.prod(layer.output_shape[1:3]) if len(layer.output_shape) == 4 else 1
        total += sum(places * math.prod(kernel.shape) for kernel in kernels)
    return total
