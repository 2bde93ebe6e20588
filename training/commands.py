"""What ``fit`` and ``evaluate`` do on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training.data import Dataset, assign_splits, group_near_duplicates, load_dataset


def fit(
    data: Path,
    out: Path,
    recipe_name: str,
    changes: Sequence[str],
    split_csv: Path | None,
    seed: int,
    cache: Path | None,
) -> None:
    """Load, divide where that is still to do, train, and say how it went."""
    from training.fit import fit as train
    from training.recipe import load_recipe

    console = Console()
    recipe = load_recipe(recipe_name, changes)
    dataset, rule = divided(load_dataset(data, split_csv), seed)
    console.print(
        f"{len(dataset)} photos, {len(dataset.labels)} classes; splits: {rule}", highlight=False
    )
    run = train(dataset, recipe_name, recipe, out, seed, rule, cache, console)
    result = run.info.result
    assert result is not None
    console.print(
        f"{out}: epoch {result.best_epoch} kept, validation accuracy {result.val_accuracy:.1%}, "
        f"macro-F1 {result.val_macro_f1:.3f}, {result.seconds / 60:.1f} min of training; "
        f"next: python -m training evaluate {out}",
        highlight=False,
    )


def divided(dataset: Dataset, seed: int) -> tuple[Dataset, str]:
    """The data set with splits, and how they came about in words."""
    if dataset.has_splits:
        return dataset, f"as given ({dataset.source})"
    grouped = group_near_duplicates(dataset)
    return assign_splits(grouped, seed=seed), f"grouped and stratified, seed {seed}"
