"""What ``check`` and ``split`` do on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from training.data import assign_splits, group_near_duplicates, load_dataset, write_csv


def split(data: Path, out: Path, fractions: tuple[float, float, float], seed: int) -> None:
    """Group, divide, write the CSV and show the result."""
    dataset = assign_splits(group_near_duplicates(load_dataset(data)), fractions, seed)
    write_csv(dataset, out)
    Console().print(f"{out}: {len(dataset)} photos", highlight=False)
