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

    console = Console(highlight=False, soft_wrap=True)
    recipe = load_recipe(recipe_name, changes)
    dataset, rule = divided(load_dataset(data, split_csv), seed)
    console.print(f"{len(dataset)} photos, {len(dataset.labels)} classes; splits: {rule}")
    run = train(dataset, recipe_name, recipe, out, seed, rule, cache, console)
    result = run.info.result
    assert result is not None
    console.print(
        f"{out}: epoch {result.best_epoch} kept, validation accuracy {result.val_accuracy:.1%}, "
        f"macro-F1 {result.val_macro_f1:.3f}, {result.seconds / 60:.1f} min of training; "
        f"next: python -m training evaluate {out}",
    )


def evaluate(path: Path, split: str, unknown: Path | None) -> None:
    """Judge, write both files, and say the figures that matter."""
    from training.evaluate import evaluate as judge
    from training.evaluate import save
    from training.report import write_report
    from training.runs import load_run

    run = load_run(path)
    e, answers = judge(run, split, unknown)
    files = save(run, e), write_report(run, e, answers)
    low, high = e.accuracy_group_interval
    foreign = ""
    if e.unknown.caught_foreign is not None:
        foreign = f", {e.unknown.caught_foreign:.0%} of {e.unknown.foreign} foreign photos"
    Console(highlight=False).print(
        f"{split}: {e.n} photos in {e.groups} groups\n"
        f"accuracy {e.accuracy:.1%} ({low:.1%} to {high:.1%}), balanced {e.balanced_accuracy:.1%}, "
        f"macro-F1 {e.macro_f1:.3f}\n"
        f"calibration error {e.ece:.3f} at temperature {e.temperature:.2f} "
        f"({e.ece_before:.3f} without)\n"
        f"unknown below {e.unknown.threshold:.2f}: keeps {e.unknown.kept_right:.0%} of the right, "
        f"catches {e.unknown.caught_wrong:.0%} of the wrong answers{foreign}\n"
        f"{files[0]}\n{files[1]}",
        soft_wrap=True,
    )


def divided(dataset: Dataset, seed: int) -> tuple[Dataset, str]:
    """The data set with splits, and how they came about in words."""
    if dataset.has_splits:
        return dataset, f"as given ({dataset.source})"
    grouped = group_near_duplicates(dataset)
    return assign_splits(grouped, seed=seed), f"grouped and stratified, seed {seed}"
