"""What ``crossval`` does on the terminal."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from edge.errors import TrainingError
from edge.text.refusals import refusal
from training.commands.asked import FitOptions, PhotoOptions
from training.commands.data import bars, say_findings
from training.commands.weights import ready
from training.data.check import check
from training.data.dataset import Dataset
from training.data.folds import divide
from training.data.judgement import obstacles, refuse
from training.data.words import plural
from training.files import write_json, write_shared
from training.recipe import Recipe
from training.report.crossval import CrossValidation, FoldAnswers, judge_fold, pool
from training.starts.origin import origin


def crossval(photos: PhotoOptions, asked: FitOptions, folds: int) -> None:
    """Train and judge once for each fold, then say what they give together."""
    from training.fitting.fit import try_out, writable
    from training.recipes import load_recipe

    console = Console(highlight=False, soft_wrap=True)
    recipe = load_recipe(asked.recipe, asked.changes)
    writable("--out", asked.out)
    dataset = photos.load()
    ready(recipe.weights, console)
    try_out(recipe)
    with bars(console) as progress:
        report = check(dataset, seed=asked.seed, accept=photos.accept or (), progress=progress)
    say_findings(console, report.findings)
    refuse(report.findings, str(photos.data))
    labelled = report.grouped.labelled()
    used = labelled.with_examples(e for e in labelled.examples if e.split != "test")
    if left := len(labelled) - len(used):
        console.print(f"{plural(left, 'test photo')} left out", markup=False)
    parts = list(divide(used, folds, asked.seed))
    for number, part in enumerate(parts, 1):  # not hours later, in its turn
        refuse(obstacles(part), f"{photos.data}: fold {number} of {folds}")
    found = [_fold(asked, recipe, part, number, console) for number, part in enumerate(parts, 1)]
    together = pool(found)
    write_json(asked.out / "crossval.json", together)
    console.print(_table(found, together))
    console.print(_sentence(together), markup=False)
    console.print(str(asked.out / "crossval.json"), markup=False)


def _fold(
    asked: FitOptions, recipe: Recipe, part: Dataset, number: int, console: Console
) -> FoldAnswers:
    """Train and judge one fold, or take what was found of it before."""
    from training.fitting.fit import fit
    from training.fitting.teachers import taught_by
    from training.runs import load_run

    teachers = [_of_fold(path, number) for path in asked.teacher or ()]
    out = asked.out / f"fold-{number}"
    answers = out / "answers.json"
    console.print(f"fold {number}", style="bold")
    if (out / "run.json").exists() and (run := load_run(out)).info.result is not None:
        was, examples = run.info, run.dataset.examples
        begun = was.recipe, was.seed, was.start, was.teachers, examples, was.data_fingerprint
        now = recipe, asked.seed, origin(recipe), taught_by(teachers, part, recipe)
        if begun != (*now, part.examples, part.fingerprint()):
            raise TrainingError(
                f"{out}: holds a fold of another recipe, seed, start or teacher, or of other "
                "photos; choose another --out"
            )
    else:
        rule = f"fold {number}"
        run = fit(part, asked.recipe, recipe, out, asked.seed, rule, asked.cache, console, teachers)
    if not answers.exists():
        write_shared(answers, msgspec.json.encode(judge_fold(run)))
        shutil.rmtree(out / "cache", ignore_errors=True)  # a copy of all photos for each fold
    try:
        return msgspec.json.decode(answers.read_bytes(), type=FoldAnswers)
    except msgspec.DecodeError as error:
        raise TrainingError(
            f"{answers} is damaged ({refusal(error)}); delete it, and the fold is judged again"
        ) from error


def _of_fold(teacher: Path, number: int) -> Path:
    """The teacher that saw nothing of what a fold is judged by: of a cross-validation on the same
    photos, with the same seed, in as many folds.
    """
    fold = f"fold-{number}"
    if teacher.suffix == ".keras":
        return teacher.parent / fold / teacher.name
    return teacher / fold


def _table(folds: list[FoldAnswers], together: CrossValidation) -> Table:
    shown = Table("fold", "kept", title="cross-validation", title_justify="left")
    for name in ("photos", "accuracy", "linear probe"):
        shown.add_column(name, justify="right")
    for number, fold in enumerate(folds, 1):
        probe = fold.probe_right
        shown.add_row(
            str(number),
            fold.kept,
            str(len(fold.right)),
            f"{sum(fold.right) / len(fold.right):.1%}",
            "" if probe is None else f"{sum(probe) / len(probe):.1%}",
        )
    probe_accuracy = together.probe_accuracy
    shown.add_section()
    shown.add_row(
        "all",
        "",
        str(together.photos),
        f"{together.accuracy:.1%}",
        "" if probe_accuracy is None else f"{probe_accuracy:.1%}",
    )
    return shown


def _sentence(together: CrossValidation) -> str:
    low, high = together.accuracy_interval
    words = (
        f"accuracy {together.accuracy:.1%} ({low:.1%} to {high:.1%} over other groups), "
        f"calibration error {together.ece:.3f}"
    )
    if together.ahead is not None and together.ahead_interval is not None:
        low, high = together.ahead_interval
        words += (
            f"; {100 * together.ahead:+.1f} points ahead of the linear probe "
            f"({100 * low:+.1f} to {100 * high:+.1f} over other groups)"
        )
    return words
