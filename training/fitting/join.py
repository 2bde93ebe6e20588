"""``python -m training join``: finished runs become one whose model is all of theirs.

Networks that began with other weights err on other photos, so their mean answer is right more
often than any of them (deep ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474); here all of
them are one model, which takes the time of all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from edge.model.bundle.manifest import StartWeights
from training import metrics
from training.data.dataset import Dataset
from training.data.tables import write_csv
from training.fitting.fit import begin_in, save_model
from training.fitting.train import choice_of, predict_logits
from training.models.joined import joined
from training.recipe import Recipe
from training.runs import (
    PROBE,
    PROBE_FILE,
    Choice,
    Result,
    Run,
    RunInfo,
    UsedRun,
    finished_model,
    load_run,
    package_versions,
    save_info,
)
from training.starts.origin import sha256
from training.untyped import Model

JOINED = "joined"
"""Name of the model, and of the recipe's architecture."""

_WORTH = 0.99
"""Log loss of the whole as a share of the best part's, above which it is not worth its time."""


def join(paths: Sequence[Path], out: Path) -> Run:
    """Make a run of the models of finished runs, which counts each as sure as it may be.

    Args:
        paths: run folders.
        out: folder of the new one.

    Raises:
        TrainingError: fewer than two, one is unfinished or of other photos, splits or another way
            to make photos square; `out` is in use; or all together tell hardly more of the
            validation photos than one alone.
    """
    runs = [load_run(path) for path in paths]
    _joinable(runs)
    if (out / "run.json").exists():
        raise TrainingError(f"{out}: holds a run; choose another --out")
    begin_in(out)
    largest = max(runs, key=lambda run: run.info.input.width)
    info = RunInfo(
        labels=largest.info.labels,
        input=largest.info.input,
        recipe_name=" + ".join(run.info.recipe_name for run in runs),
        recipe=_recipe(largest.info.recipe),
        seed=largest.info.seed,
        data=largest.info.data,
        data_fingerprint=largest.info.data_fingerprint,
        split_rule=largest.info.split_rule,
        packages=package_versions(),
        start=_starts(runs),
        teachers=tuple(dict.fromkeys(one for run in runs for one in run.info.teachers)),
        joined=tuple(
            UsedRun(
                path=str(run.path.resolve()),
                recipe_name=run.info.recipe_name,
                sha256=sha256(finished_model(run.path)),
            )
            for run in runs
        ),
        cache=largest.info.cache,
    )
    out.mkdir(parents=True, exist_ok=True)
    try:
        _make(Run(out, info), runs, largest.dataset)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)  # it was not there, or empty
        raise
    return load_run(out)


def _make(made: Run, runs: Sequence[Run], dataset: Dataset) -> None:
    """Fill the folder of the run that all of them are.

    Raises:
        TrainingError: they tell hardly more together than one alone.
    """
    write_csv(dataset, made.path / "split.csv")
    models = [run.model() for run in runs]
    answers = [_answers(run, model) for run, model in zip(runs, models, strict=True)]
    whole = joined(models, [metrics.fit_temperature(*one) for one in answers])
    candidates = (
        choice_of(f"mean of {len(runs)} networks", *_answers(made, whole)),
        *(choice_of(run.info.recipe_name, *one) for run, one in zip(runs, answers, strict=True)),
        *_probe(runs, made),
    )
    best = min(candidates[1:], key=lambda one: one.log_loss)
    if candidates[0].log_loss > _WORTH * best.log_loss:
        raise TrainingError(
            f"the {candidates[0].name} tells hardly more of the validation photos than {best.name} "
            f"alone (log loss {candidates[0].log_loss:.3f} and {best.log_loss:.3f}) and takes "
            "longer: take that"
        )
    save_model(whole, made.path / "model.keras")
    result = Result(candidates=candidates, epochs=0, seconds=0.0)
    save_info(made.path, msgspec.structs.replace(made.info, result=result))


def _joinable(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise TrainingError("join: give two runs or more")
    first = runs[0]
    for run in runs:
        finished_model(run.path)
        if run.info.joined:
            raise TrainingError(f"{run.path}: is joined already; give the runs that it is of")
        if (run.info.data_fingerprint, run.dataset.examples, run.info.labels) != (
            first.info.data_fingerprint,
            first.dataset.examples,
            first.info.labels,
        ):
            raise TrainingError(
                f"{run.path}: was trained on other photos, labels or splits than {first.path}; one "
                "would be judged by photos that the other was trained on"
            )
        if run.info.recipe.crop != first.info.recipe.crop:
            raise TrainingError(
                f"{run.path}: makes photos square by {run.info.recipe.crop}, {first.path} by "
                f"{first.info.recipe.crop}; train both with the same crop"
            )


def _recipe(recipe: Recipe) -> Recipe:
    """How the photos of the joined run are varied where it is trained on (`quantize`)."""
    return msgspec.structs.replace(recipe, model=JOINED, alpha=None, variant=None, weights=None)


def _starts(runs: Sequence[Run]) -> tuple[StartWeights, ...]:
    """All start weights, each once."""
    found: list[StartWeights] = []
    for run in runs:
        found += [one for one in run.info.starts if one not in found]
    return tuple(found)


def _answers(run: Run, model: Model) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and truth of the validation photos."""
    pixels, truth = run.arrays("val")
    return predict_logits(model, pixels), truth


def _probe(runs: Sequence[Run], made: Run) -> tuple[Choice, ...]:
    """The linear probes joined in the same way, where all have one: kept for the report."""
    probes = [probe for run in runs if (probe := run.probe()) is not None]
    if len(probes) < len(runs):
        return ()
    answers = [_answers(run, probe) for run, probe in zip(runs, probes, strict=True)]
    probe = joined(probes, [metrics.fit_temperature(*one) for one in answers])
    save_model(probe, made.path / PROBE_FILE)
    return (choice_of(PROBE, *_answers(made, probe)),)
