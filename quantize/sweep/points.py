"""What came out of the trials: accuracy over runs, time, multiply-adds, bytes and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median

import msgspec

from edge.model.bundle.bundle import read_bundle
from quantize.parity.compare import Comparison
from quantize.sweep.trials import Trial
from quantize.tflite.graph import macs
from quantize.tflite.memory import arena_bytes, deflated
from quantize.timing.timer import Timer
from training.runs import load_run
from training.tflite import read_graph

#: All others are compared with this variant: the same network, int8, nothing taken out.
REFERENCE = "qat"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One variant over all runs; figures of each run in their order."""

    network: str = ""
    """By its recipe, where runs of several were given: only runs of one are averaged."""
    variant: str
    command: str
    runs: tuple[str, ...]
    """Names of the runs that gave a model."""
    float_accuracy: tuple[float, ...]
    """Of the run's own model on the test photos, 0..1."""
    accuracy: tuple[float, ...]
    """Of int8 on the test photos."""
    val_accuracy: tuple[float, ...]
    """Of int8 on the validation photos, to choose by."""
    lost_low: tuple[float, ...]
    lost_high: tuple[float, ...]
    """95 % interval of what int8 loses to the run's own model, validation and test photos."""
    agreement: tuple[float, ...]
    """With the float model that was rounded, validation and test photos."""
    milliseconds: tuple[float, ...]
    """One picture, one thread, median over rounds; all points were timed in turn in one run."""
    time_ratio: tuple[float | None, ...]
    """To the reference variant of the same run, median over rounds; None where that has none."""
    macs: tuple[int, ...]
    zipped: tuple[int, ...]
    """Bytes after deflate."""
    arena: tuple[int, ...]
    """Peak bytes of activations, as TFLite's planner places them."""

    def share(self, cost: str, base: Point) -> float | None:
        """A cost (a field's name) as a share of another point's: the mean over the runs of both.

        None where no run has both.
        """
        theirs = dict(zip(base.runs, getattr(base, cost), strict=True))
        ours = zip(self.runs, getattr(self, cost), strict=True)
        shares = [float(value / theirs[run]) for run, value in ours if run in theirs]
        return mean(shares) if shares else None

    @property
    def name(self) -> str:
        """As it is told to people."""
        return f"{self.network} {self.variant}".strip()

    @property
    def mean_accuracy(self) -> float:
        """Over the runs."""
        return mean(self.accuracy)


def measure(trials: Sequence[Trial], timer: Timer) -> list[Point]:
    """Read and time the models of finished trials, in the order of the trials.

    Every model of one run is timed in turn with the others of it. Runs that differ by more than
    their seed are points of their own.

    Raises:
        WheatearError: the timer's machine cannot be used.
    """
    rows: dict[tuple[str, str], list[dict[str, object]]] = {}
    commands: dict[tuple[str, str], str] = {}
    for run, network in networks(dict.fromkeys(trial.run for trial in trials)).items():
        mine = [trial for trial in trials if trial.run == run and trial.bundle.exists()]
        models = [read_bundle(trial.bundle).model for trial in mine]
        times = timer.milliseconds(models) if models else []
        names = [trial.variant for trial in mine]
        base = times[names.index(REFERENCE)] if REFERENCE in names else None
        for trial, model, each in zip(mine, models, times, strict=True):
            rows.setdefault((network, trial.variant), []).append(_row(trial, model, each, base))
            commands.setdefault((network, trial.variant), trial.command)
    return [
        Point(
            network=network,
            variant=variant,
            command=commands[network, variant],
            **{key: tuple(row[key] for row in found) for key in found[0]},  # type: ignore[arg-type]
        )
        for (network, variant), found in rows.items()
    ]


def networks(runs: Iterable[Path]) -> dict[Path, str]:
    """What the network of each run is called; nothing where all have the same but for the seed.

    By the recipe, and by the first run's folder too where two of one recipe's name differ.
    """
    infos = {run: load_run(run).info for run in runs}
    keys = {
        run: msgspec.json.encode(
            (
                info.recipe,
                info.start,
                [one.recipe_name for one in info.joined],
                [one.recipe_name for one in info.teachers],
            )
        )
        for run, info in infos.items()
    }
    first = {key: run for run, key in reversed(keys.items())}
    if len(first) < 2:
        return dict.fromkeys(infos, "")
    called = {key: infos[run].recipe_name for key, run in first.items()}
    same = Counter(called.values())
    return {
        run: called[key] if same[called[key]] == 1 else f"{called[key]} ({first[key].name})"
        for run, key in keys.items()
    }


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """The points that no other beats in accuracy and a cost (a field's name), cheapest first."""
    ordered = sorted(points, key=lambda p: (mean(getattr(p, cost)), -p.mean_accuracy))
    found: list[Point] = []
    for point in ordered:
        if not found or point.mean_accuracy > found[-1].mean_accuracy:
            found.append(point)
    return found


def _row(
    trial: Trial, model: bytes, times: list[float], base: list[float] | None
) -> dict[str, object]:
    written = msgspec.json.decode(trial.parity.read_bytes())
    report = msgspec.convert(written["report"], Comparison)
    graph = read_graph(model)
    ratio = None
    if base is not None:
        ratio = median(ours / theirs for ours, theirs in zip(times, base, strict=True))
    test, both = report.splits["test"], report.splits["both"]
    return {
        "runs": trial.run.name,
        "float_accuracy": test.keras.accuracy,
        "accuracy": test.int8.accuracy,
        "val_accuracy": report.splits["val"].int8.accuracy,
        "lost_low": both.lost_low,
        "lost_high": both.lost_high,
        "agreement": both.agreement,
        "milliseconds": median(times),
        "time_ratio": ratio,
        "macs": macs(graph),
        "zipped": deflated(model),
        "arena": arena_bytes(graph),
    }
