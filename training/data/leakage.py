"""How much a random split flatters: one probe, judged on random and on grouped splits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.model.image.preprocessing import InputSpec, load
from training.data.dataset import Dataset
from training.data.photos import Photo, Progress
from training.data.splits import assign_splits

SEEDS = 5
"""Splits of each kind that are averaged."""


@dataclass(frozen=True)
class Score:
    """Test accuracy over several splits of one kind."""

    mean: float
    low: float
    """Of the 95 % Wilson interval for one test split of the size used."""
    high: float
    spread: float
    """Standard deviation between the splits."""


@dataclass(frozen=True)
class Leakage:
    """The same probe, with related photos in training and test, and without."""

    probe: str
    random: Score
    grouped: Score
    given: Score | None
    """On the splits that came with the data, if any."""


def measure(
    dataset: Dataset, grouped: Dataset, features: np.ndarray, probe: str, seeds: int = SEEDS
) -> Leakage:
    """Fit logistic regression on features (n, d), float32, for random and grouped splits."""
    truth = np.array([dataset.labels.index(e.label) for e in dataset.examples])
    bare = dataset.with_examples(replace(e, split=None, group=None) for e in dataset.examples)
    ours = grouped.with_examples(replace(e, split=None) for e in grouped.examples)

    def judge(splits: Sequence[Dataset]) -> Score:
        values, tested = [], 0
        for divided in splits:
            split = np.array([e.split for e in divided.examples])
            values.append(_probe(features, truth, split))
            tested = int((split == "test").sum())
        return _score(values, tested)

    return Leakage(
        probe,
        judge([assign_splits(bare, seed=seed) for seed in range(seeds)]),
        judge([assign_splits(ours, seed=seed) for seed in range(seeds)]),
        judge([dataset]) if dataset.has_splits else None,
    )


def deep_features(dataset: Dataset, weights: str, progress: Progress | None = None) -> np.ndarray:
    """Pooled features of the network that the weights are of at 224 x 224, float32 (n, d).

    Raises:
        TrainingError: the weights fit no network.
        ImageError: A photo cannot be decoded.
    """
    from training.models import build_model, owner
    from training.tf import keras

    whole = build_model(owner(weights), 2)
    model = keras.Model(whole.input, whole.get_layer("features").output)
    spec = InputSpec(width=224, height=224)
    parts = []
    for begin in range(0, len(dataset), 32):
        batch = dataset.examples[begin : begin + 32]
        pixels = np.stack([load(dataset.path(e), spec) for e in batch]).astype(np.float32)
        parts.append(np.asarray(model(pixels / 127.5 - 1, training=False)))
        if progress:
            progress("computing features", begin + len(batch), len(dataset))
    return np.concatenate(parts)


def plain_features(photos: Sequence[Photo]) -> np.ndarray:
    """Colours, and which local patterns occur how often: float32 (n, 472); needs no network."""
    rows = []
    rng = np.random.default_rng(0)
    pool = np.concatenate([p.keypoints.descriptors for p in photos if p.keypoints is not None])
    words = pool[rng.choice(len(pool), min(256, len(pool)), replace=False)].astype(np.float32)
    for photo in photos:
        thumb, keypoints = photo.thumb, photo.keypoints
        if thumb is None or keypoints is None:
            rows.append(np.zeros(216 + len(words), np.float32))
            continue
        level = (thumb.reshape(-1, 3).astype(int) * 6) // 256
        colours = np.bincount(level @ [36, 6, 1], minlength=216) / len(level)
        patterns = np.zeros(len(words))
        if len(keypoints.descriptors):
            nearest = (keypoints.descriptors.astype(np.float32) @ words.T).argmax(1)
            patterns = np.bincount(nearest, minlength=len(words)) / len(nearest)
        rows.append(np.sqrt(np.concatenate([colours, patterns])).astype(np.float32) * 10)
    return np.stack(rows)


def _probe(features: np.ndarray, truth: np.ndarray, split: np.ndarray) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    train, test = split == "train", split == "test"
    with warnings.catch_warnings():
        # A probe need not be the exact optimum.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=0.3, max_iter=60, tol=1e-2).fit(features[train], truth[train])
    return float(model.score(features[test], truth[test]))


def _score(values: Sequence[float], tested: int) -> Score:
    from training.metrics import wilson_interval

    mean = float(np.mean(values))
    interval = wilson_interval(round(mean * tested), tested)
    return Score(mean, interval.low, interval.high, float(np.std(values)))
