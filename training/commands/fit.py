"""What ``fit`` and ``evaluate`` do on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from edge.errors import TrainingError
from training.commands.asked import FitOptions, PhotoOptions
from training.commands.auto import AUTO, choices, settle
from training.commands.data import COLOURS, bars, say_findings
from training.commands.weights import ready
from training.costs import summary
from training.data.check import check
from training.data.judgement import obstacles, refuse
from training.runs import Expectation, Result

if TYPE_CHECKING:
    from training.report.evaluate import Evaluation

#: An interval of accuracy wider than this says too little to choose by.
WIDE = 0.2


def fit(photos: PhotoOptions, asked: FitOptions, crossval: Path | None = None) -> None:
    """See that everything can be used, check and divide the photos, train, and say how it went.

    With the folder of a `crossval` of the same recipe most validation photos train too.
    """
    from training.commands.final import final
    from training.fitting.fit import CHOICE, begin_in, try_out
    from training.fitting.fit import fit as train

    console = Console(highlight=False, soft_wrap=True)
    out, seed = asked.out, asked.seed
    if crossval is not None and asked.recipe == AUTO:
        raise TrainingError("--final: give the --recipe that was cross-validated, not auto")
    recipes = choices(asked)
    begin_in(out, asked.cache, CHOICE if asked.recipe == AUTO else ())
    dataset = photos.load()
    if asked.recipe != AUTO:
        ready(recipes[asked.recipe].weights, console)
        try_out(recipes[asked.recipe])
    with bars(console) as progress:
        report = check(dataset, seed=seed, accept=photos.accept or (), progress=progress)
    say_findings(console, report.findings)
    refuse(report.findings, str(photos.data))
    used, rule = report.judgement.dataset, report.judgement.rule
    estimate, teachers = None, asked.teacher or ()
    if crossval is not None:
        recipe = next(iter(recipes.values()))
        used, rule, estimate = final(crossval, used, rule, recipe, seed, bool(teachers))
        refuse(obstacles(used), str(photos.data))
        console.print(_estimated(estimate), markup=False)
    console.print(f"{len(used)} photos, {len(used.labels)} classes; splits: {rule}", markup=False)
    name, recipe = asked.recipe, next(iter(recipes.values()))
    if name == AUTO:
        name, recipe = settle(used, recipes, asked, rule, console)
    run = train(used, name, recipe, out, seed, rule, asked.cache, console, teachers, estimate)
    result = run.info.result
    assert result is not None
    if result.falling:
        words = _still_falling(result.falling, result.epochs // recipe.members)
        console.print(words, style=COLOURS["warning"], markup=False)
    console.print(
        f"{out}: kept the {result.kept.name}, validation accuracy {result.kept.accuracy:.1%}, "
        f"macro-F1 {result.kept.macro_f1:.3f}{_beside_probe(result)}, "
        f"{result.seconds / 60:.1f} min of training; next: python -m training evaluate {out}",
        markup=False,
    )


def _estimated(estimate: Expectation) -> str:
    low, high = estimate.interval
    return (
        f"cross-validated on {estimate.photos} photos: accuracy {estimate.accuracy:.1%} ({low:.1%} "
        f"to {high:.1%} over other groups), calibration error {estimate.ece:.3f}; kept will be the "
        f"{estimate.keep}, which its folds liked best"
    )


def _still_falling(falling: tuple[float, float], epochs: int) -> str:
    before, end = falling
    return (
        f"warning: the validation loss was still falling at the end ({before:.3f} to {end:.3f} "
        f"over the last epochs): a longer training may be better, as --set epochs={2 * epochs}"
    )


def _beside_probe(result: Result) -> str:
    """How the linear probe did; nothing where there is none or it is what was kept."""
    probe = result.probe
    if probe is None:
        return ""
    if probe is result.kept:
        return " (training did not beat it)"
    return f" (linear probe {probe.accuracy:.1%}, {probe.macro_f1:.3f})"


def join(paths: Sequence[Path], out: Path) -> None:
    """Join, and say what that gives beside each alone."""
    from training.fitting.join import join as make

    result = make(paths, out).info.result
    assert result is not None
    console = Console(highlight=False, soft_wrap=True)
    for one in result.candidates:
        console.print(
            f"{one.name}: validation accuracy {one.accuracy:.1%}, macro-F1 {one.macro_f1:.3f}, "
            f"log loss {one.log_loss:.3f}",
            markup=False,
        )
    console.print(f"{out}: next: python -m training evaluate {out}", markup=False)


def evaluate(path: Path, split: str | None, unknown: Path | None) -> None:
    """Judge, write both files, and say the figures that matter."""
    from training.report.evaluate import evaluate as judge
    from training.report.evaluate import save
    from training.report.page import write_report
    from training.runs import load_run

    run = load_run(path)
    console = Console(highlight=False)
    if split is None:
        split = "test" if run.dataset.split("test").examples else "val"
        if split == "val":
            words = "warning: no test photos; the validation photos, which chose the model, flatter"
            console.print(words, style=COLOURS["warning"], soft_wrap=True)
    e, answers = judge(run, split, unknown)
    files = save(run, e), write_report(run, e, answers)
    low, high = e.accuracy_group_interval
    if high - low > WIDE:
        words = f"warning: {e.n} photos in {e.groups} groups are too few to say how good it is: "
        words += f"other groups might give anything from {low:.0%} to {high:.0%}"
        console.print(words, style=COLOURS["warning"], soft_wrap=True)
    foreign = ""
    if e.unknown.caught_foreign is not None:
        foreign = f", {e.unknown.caught_foreign:.0%} of {e.unknown.foreign} foreign photos"
    console.print(
        f"{split}: {e.n} photos in {e.groups} groups\n"
        f"accuracy {e.accuracy:.1%} ({low:.1%} to {high:.1%}), balanced {e.balanced_accuracy:.1%}, "
        f"macro-F1 {e.macro_f1:.3f}\n"
        f"{_probe_line(e)}"
        f"network: {summary(e.cost)}\n"
        f"calibration error {e.ece:.3f} at temperature {e.temperature:.2f} "
        f"({e.ece_before:.3f} without)\n"
        f"unknown by confidence alone, below {e.unknown.threshold:.2f}: keeps "
        f"{e.unknown.kept_right:.0%} of the right, catches {e.unknown.caught_wrong:.0%} of the "
        f"wrong answers{foreign}\n"
        f"{files[0]}\n{files[1]}",
        soft_wrap=True,
        markup=False,
    )


def _probe_line(e: Evaluation) -> str:
    """How the linear probe does on the same photos; nothing where there is none."""
    if e.probe is None:
        return ""
    low, high = e.probe.ahead_interval
    return (
        f"{100 * e.probe.ahead:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}) ahead of the "
        f"linear probe, which has {e.probe.accuracy:.1%}\n"
    )
