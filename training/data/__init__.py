"""Labelled photos: where they come from, what is wrong with them, and honest splits.

::

    dataset = load_dataset(Path("photos"))
    dataset = assign_splits(group_near_duplicates(dataset))
    write_csv(dataset, Path("split.csv"))
"""

from training.data.dataset import SPLITS, Dataset, Example, Finding
from training.data.grouping import group_near_duplicates
from training.data.sources import load_dataset
from training.data.splits import assign_splits, unrepresented
from training.data.tables import read_csv, write_csv

__all__ = [
    "SPLITS",
    "Dataset",
    "Example",
    "Finding",
    "assign_splits",
    "group_near_duplicates",
    "load_dataset",
    "read_csv",
    "unrepresented",
    "write_csv",
]
