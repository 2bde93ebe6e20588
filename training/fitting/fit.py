"""``python -m training fit``: from photos and a recipe to a finished run folder."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from edge.errors import TrainingError
from training.data.dataset import Dataset
from training.data.judgement import obstacles, refuse
from training.data.tables import as_csv, write_csv
from training.files import write_shared
from training.recipe import Recipe
from training.runs import (
    PROBE_FILE,
    Expectation,
    Result,
    Run,
    RunInfo,
    load_run,
    package_versions,
    save_info,
)
from training.starts.origin import origin
from training.untyped import Model

if TYPE_CHECKING:
    from training.fitting.progress import Progress
    from training.fitting.train import FitPhotos, Trained


CHOICE = ("auto", "cache")
"""What lies in a folder when its recipe was chosen by the photos."""


def fit(
    dataset: Dataset,
    recipe_name: str,
    recipe: Recipe,
    out: Path,
    seed: int = 0,
    split_rule: str = "",
    cache: Path | None = None,
    console: Console | None = None,
    teachers: Sequence[Path] = (),
    estimate: Expectation | None = None,
) -> Run:
    """Train into `out`, or go on with what is there unfinished.

    `teachers` are finished runs; with an `estimate` that is kept which it names.

    Raises:
        TrainingError: `out` holds a finished run or one with other settings, or photos or weights
            or teachers cannot be used.
        DataError: no model can be made of these classes and splits.
    """
    from training.fitting.progress import Progress
    from training.fitting.teachers import Committee, taught_by
    from training.fitting.train import train
    from training.models import build_model
    from training.tf import keras, tf

    console = console or Console()
    refuse((*dataset.notes, *obstacles(dataset)), str(dataset.root))
    taught = taught_by(teachers, dataset, recipe)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = build_model(recipe, len(dataset.labels))
    info = RunInfo(
        labels=dataset.labels,
        input=recipe.input,
        recipe_name=recipe_name,
        recipe=recipe,
        seed=seed,
        data=str(dataset.root.resolve()),
        data_fingerprint=dataset.fingerprint(),
        split_rule=split_rule or dataset.source,
        packages=package_versions(),
        start=origin(recipe),
        teachers=taught,
        cache=str(cache.resolve()) if cache else "",
        estimate=estimate,
    )
    run = _begin(out, info, dataset)
    with Progress(console, run.path / "tensorboard") as progress:
        photos = _photos(run, progress)
        committee = Committee(taught, run) if taught else None
        keep = estimate.keep if estimate else ""
        state = run.path / "state"
        trained = train(model, photos, recipe, seed, state, progress, committee, keep)
    _keep(run, model, trained)
    result = Result(
        candidates=trained.candidates,
        epochs=_epochs(trained.history),
        seconds=round(sum(row["seconds"] for row in trained.history), 1),
        falling=still_falling(trained.history),
    )
    save_info(run.path, msgspec.structs.replace(info, result=result))
    shutil.rmtree(run.path / "state")
    return load_run(run.path)


def _epochs(history: Sequence[dict[str, float]]) -> int:
    """Epochs of all members: the last one of each."""
    return int(sum({row["member"]: row["epoch"] for row in history}.values()))


def _keep(run: Run, model: Model, trained: Trained) -> None:
    """Write the history, the model with the linear probe, if there is one, and the kept model."""
    from training.fitting.state import assign, values_of

    _write_history(run.path / "history.csv", trained.history)
    if trained.probe:
        kept = values_of(model.weights)
        assign(model.weights, trained.probe)
        save_model(model, run.path / PROBE_FILE)
        assign(model.weights, kept)
    save_model(model, run.path / "model.keras")


def save_model(model: Model, path: Path) -> None:
    """Keep a model so that no half of it is ever found."""
    partial = path.with_suffix(".partial.keras")
    model.save(partial)
    partial.replace(path)


def begin_in(out: Path, cache: Path | None = None, known: Collection[str] = ()) -> None:
    """See that a run can be begun or gone on with in a folder; leaves nothing there.

    Args:
        out: the folder.
        cache: that for decoded photos, if it is another.
        known: names that may be in a folder without a run.

    Raises:
        TrainingError: it is a file, cannot be written, or holds a finished run or other things.
    """
    for option, folder in (("--out", out), ("--cache", cache)):
        if folder is not None:
            writable(option, folder)
    if (out / "run.json").exists():
        if load_run(out).info.result is not None:
            raise TrainingError(f"{out}: holds a finished run; choose another --out or delete it")
    elif out.is_dir() and any(path.name not in known for path in out.iterdir()):
        raise TrainingError(f"{out}: not empty and no run; choose another --out")


def writable(option: str, folder: Path) -> None:
    """See that a folder can be written to, or made; leaves nothing there.

    Raises:
        TrainingError: it cannot.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise TrainingError(
            f"{option} {folder}: {there} cannot be written to ({error.strerror}); choose another"
        ) from error


def try_out(recipe: Recipe) -> None:
    """See that the recipe's model can be built, with its start weights.

    Raises:
        TrainingError: the model is unknown, too small a resolution, or weights that cannot be had.
    """
    from training.fitting.step import take_apart
    from training.models import build_model

    take_apart(build_model(recipe, 2), recipe.freeze_blocks)


def _begin(out: Path, info: RunInfo, dataset: Dataset) -> Run:
    """A new run folder, or the unfinished one that was begun with the same settings."""
    begin_in(out, known=CHOICE)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "run.json").exists():
        write_csv(dataset, out / "split.csv")
        save_info(out, info)
        return Run(out, info)
    found = load_run(out).info
    same = ("labels", "recipe", "seed", "data_fingerprint", "packages", "start", "teachers")
    for name in (*same, "estimate"):
        if getattr(found, name) != getattr(info, name):
            other = "other" if name.endswith("s") else "another"
            raise TrainingError(
                f"{out}: was begun with {other} {name.replace('_', ' ')}; repeat its command to go "
                "on with it, or choose another --out"
            )
    _same_splits(out, dataset)
    return Run(out, found)


def _same_splits(out: Path, dataset: Dataset) -> None:
    """See that a run goes on with the splits that it was begun with.

    Raises:
        TrainingError: the photos' names, splits or groups are others, or cannot be read.
    """
    path = out / "split.csv"
    try:
        begun = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); choose another --out") from error
    if begun != as_csv(dataset):
        lines = zip_longest(begun.splitlines(), as_csv(dataset).splitlines(), fillvalue="(none)")
        was, now = next((one, other) for one, other in lines if one != other)
        raise TrainingError(
            f"{out}: was begun with other names, splits or groups of photos ({was}, now {now}); "
            "put them back to go on with it, or choose another --out"
        )


def _photos(run: Run, progress: Progress) -> FitPhotos:
    from training.fitting.train import FitPhotos

    recipe, dataset = run.info.recipe, run.dataset
    parts = {name: dataset.split(name) for name in ("train", "val")}
    progress.phase("decode", sum(len(part) for part in parts.values()))
    pixels = run.pixels(parts["train"], recipe.source, progress.advance)
    seen = run.pixels(parts["val"], run.info.input, progress.advance)
    return FitPhotos(
        pixels,
        run.labels_of(parts["train"]),
        parts["train"].groups,
        seen,
        run.labels_of(parts["val"]),
    )


def still_falling(history: Sequence[dict[str, float]]) -> tuple[float, float] | None:
    """Validation loss of the last member a quarter of its epochs before its end, and at its end.

    None unless the last is its lowest and 3 % lower than that: then it ended too early.
    """
    last = max((row["member"] for row in history), default=0.0)
    losses = [row["val_loss"] for row in history if row["member"] == last]
    if not last or len(losses) < 2:
        return None
    before = losses[-1 - max(1, len(losses) // 4)]
    return (before, losses[-1]) if losses[-1] == min(losses) < 0.97 * before else None


def _write_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in history)
    write_shared(path, text.getvalue().encode())
