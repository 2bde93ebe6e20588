"""Divide photos into train, validation and test so that no group straddles."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from edge.errors import DataError
from training.data.dataset import SPLITS, Dataset

UNSEEN = np.array([[40.0], [20.0], [4.0]])
"""Cost of a class with no photo in train, val, test, in units of one empty cell's squared
shortfall: what cannot be learned is worse than what cannot be tested."""


def assign_splits(
    dataset: Dataset,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Dataset:
    """Assign a split to every example without one, whole groups at a time, classes in proportion.

    Large groups are placed first, each where it leaves the class counts closest to the fractions;
    then single moves and swaps of groups improve the balance. Examples that already have a
    split keep it, and their group follows them, so a split can grow with new photos. The result
    depends on the examples, the fractions and the seed only.

    Raises:
        DataError: Fractions that are no division of 1, or fewer groups than splits.
    """
    wanted = np.asarray(fractions, dtype=np.float64)
    if wanted.shape != (3,) or (wanted < 0).any() or abs(wanted.sum() - 1) > 1e-6:
        raise DataError(f"fractions {fractions}: three numbers >= 0 that sum to 1 are needed")
    if dataset.has_splits:
        return dataset
    names, members = _groups(dataset)
    if len(names) < np.count_nonzero(wanted):
        raise DataError(
            f"{dataset.root}: {len(dataset)} photos form {len(names)} group(s) of related photos, "
            f"too few for {np.count_nonzero(wanted)} splits; add photos of other plants or days"
        )
    order = {label: index for index, label in enumerate(dataset.labels)}
    counts = np.zeros((len(names), len(order)))
    fixed = np.full(len(names), -1)
    for index, rows in enumerate(members):
        for row in rows:
            counts[index, order[dataset.examples[row].label]] += 1
        given = Counter(s for row in rows if (s := dataset.examples[row].split))
        if given:
            fixed[index] = SPLITS.index(max(SPLITS, key=lambda name: given[name]))
    places = _place(counts, fixed, wanted, np.random.default_rng(seed))
    examples = list(dataset.examples)
    for index, rows in enumerate(members):
        for row in rows:
            split = examples[row].split or SPLITS[places[index]]
            examples[row] = replace(examples[row], split=split)
    return dataset.with_examples(examples)


def unrepresented(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """Pairs of (label, split) where a class has no photo in a split that is in use."""
    used = {example.split for example in dataset.examples}
    have = {(example.label, example.split) for example in dataset.examples}
    return tuple(
        (label, split)
        for label in dataset.labels
        for split in SPLITS
        if split in used and (label, split) not in have
    )


def _groups(dataset: Dataset) -> tuple[list[str], list[list[int]]]:
    """Group names in order, and their rows; an example without a group is its own."""
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(dataset.examples):
        # A file name cannot hold NUL, so a lone photo never meets a group of the same name.
        rows.setdefault(example.group or f"\0{example.file}", []).append(row)
    names = sorted(rows)
    return names, [rows[name] for name in names]


def _place(
    counts: np.ndarray, fixed: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The split index of each group. ``counts`` is (groups, labels)."""
    target = np.outer(wanted, counts.sum(0))  # (splits, labels)
    open_splits = np.flatnonzero(wanted > 0)
    places = fixed.copy()
    filled = np.zeros_like(target)
    for split in range(3):
        filled[split] = counts[fixed == split].sum(0)
    free = np.flatnonzero(fixed < 0)
    free = free[rng.permutation(len(free))]
    free = free[np.argsort(-counts[free].sum(1), kind="stable")]
    for group in free:
        # While filling, being short is no fault yet: place where the largest part is still wanted.
        room = [_shortfall(filled, target, int(split), counts[group]) for split in open_splits]
        best = max(room)
        ties = [s for s, r in zip(open_splits, room, strict=True) if r > best - 1e-9]
        places[group] = ties[int(rng.integers(len(ties)))]
        filled[places[group]] += counts[group]
    _improve(places, free, counts, filled, target, open_splits)
    return places


def _shortfall(filled: np.ndarray, target: np.ndarray, split: int, group: np.ndarray) -> float:
    """How much a group's classes are still wanted in a split, per photo, relative to target."""
    relative = (target[split] - filled[split] - group / 2) / np.maximum(target[split], 1.0)
    return float((group * relative).sum() / group.sum())


def _cost(filled: np.ndarray, target: np.ndarray) -> float:
    """Squared deviation relative to target, plus a charge for each class unseen in a split."""
    scale = np.maximum(target, 1.0)
    unseen = (filled == 0) & (target > 0)
    return float(
        (((filled - target) / scale) ** 2 * np.sqrt(scale)).sum() + (UNSEEN * unseen).sum()
    )


def _improve(
    places: np.ndarray,
    free: np.ndarray,
    counts: np.ndarray,
    filled: np.ndarray,
    target: np.ndarray,
    open_splits: np.ndarray,
    rounds: int = 6,
) -> None:
    """Move single groups while that lowers the cost; changes ``places`` and ``filled``."""
    cost = _cost(filled, target)
    for _ in range(rounds):
        before = cost
        for group in free:
            for split in open_splits:
                old = places[group]
                if split == old:
                    continue
                filled[old] -= counts[group]
                filled[split] += counts[group]
                new = _cost(filled, target)
                if new < cost - 1e-9:
                    cost, places[group] = new, split
                else:
                    filled[old] += counts[group]
                    filled[split] -= counts[group]
        if cost >= before - 1e-9:
            return
