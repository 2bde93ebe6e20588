"""Trials: `python -m quantize run` with other options, each a process of its own.

A trial that was killed goes on where its phases end; one that failed keeps its message, and the
others run on. The gate is open here, as the point is to see what a technique costs; a chosen point
goes through it when its command is given without these limits.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from msgspec.structs import replace

from edge.errors import QuantizeError
from quantize.options import Options
from quantize.sweep import record
from quantize.sweep.asked import SweepOptions
from quantize.sweep.jobs import Engine, Job
from quantize.workbench import Watcher

#: What is compared where nothing else is asked for, by name.
VARIANTS = {
    "ptq": Options(method="ptq"),
    "qat": Options(),
    "zeros-50": Options(pruning=0.5),
    "zeros-50-constant": Options(pruning=0.5, pruning_schedule="constant"),
    "zeros-2of4": Options(pruning_pattern="2:4"),
    "zeros-75": Options(pruning=0.75),
    "clusters-16": Options(clusters=16),
    "zeros-50-clusters-16": Options(pruning=0.5, clusters=16),
    "macs-70": Options(budget="macs=0.7"),
    "macs-50": Options(budget="macs=0.5"),
    "macs-35": Options(budget="macs=0.35"),
    "macs-50-zeros-50-clusters-16": Options(budget="macs=0.5", pruning=0.5, clusters=16),
}
_OPEN_GATE = {"tolerance": 1.0, "min_agreement": 0.0}


class Trial(NamedTuple):
    """One variant of one run."""

    run: Path
    variant: str
    options: Options
    bundle: Path

    @property
    def log(self) -> Path:
        """What the process said."""
        return self.bundle.with_suffix(".log")

    @property
    def parity(self) -> Path:
        """The figures of the comparison with the float model."""
        return self.bundle.with_suffix(".parity.json")

    @property
    def record(self) -> Path:
        """What made it, see `quantize.sweep.record`."""
        return self.bundle.with_suffix(".trial.json")

    @property
    def name(self) -> str:
        """As it is told to people."""
        return f"{self.run.name} {self.variant}"

    @property
    def command(self) -> str:
        """What makes a bundle of this point, gate and all."""
        options = shlex.join(self.options.words())
        return f"python -m quantize run {self.run} --out {self.variant}.wtr {options}".rstrip()


class Failure(NamedTuple):
    """A trial that gave no model, and why."""

    trial: Trial
    reason: str


def plan(runs: Sequence[Path], folder: Path, asked: SweepOptions) -> list[Trial]:
    """All trials: every variant of every run.

    Args:
        runs: finished training runs.
        folder: the sweep's.
        asked: which variants, and the options of every trial.

    Raises:
        QuantizeError: a variant is unknown, two runs have the same name, or options make no sense.
    """
    variants, usual = VARIANTS, list(VARIANTS)
    if asked.budget:
        variants, usual = {**VARIANTS, asked.budget: Options(budget=asked.budget)}, ["qat"]
    names = list(dict.fromkeys(filter(None, asked.variants.split(",")))) or usual
    if asked.budget and asked.budget not in names:
        names.append(asked.budget)
    shared = {"epochs": asked.epochs, "pruning_epochs": asked.pruning_epochs}
    timing = {"on": asked.on, "on_command": asked.on_command}
    unknown = [name for name in names if name not in variants]
    if unknown:
        raise QuantizeError(f"variant {unknown[0]!r} is unknown: choose from {', '.join(VARIANTS)}")
    if len({run.name for run in runs}) < len(runs):
        raise QuantizeError("two runs have the same folder name: rename one of them")
    return [
        Trial(
            run,
            name,
            replace(variants[name], **shared, **(timing if variants[name].budget else {})),
            folder / run.name / f"{name}.wtr",
        )
        for run in runs
        for name in names
    ]


def carry_out(trials: Sequence[Trial], engine: Engine, watcher: Watcher) -> list[Failure]:
    """Run what has not been run as asked for; return what failed.

    Args:
        trials: from `plan`.
        engine: where they run.
        watcher: told about each trial, and how many are done.

    Raises:
        QuantizeError: a run is not finished, a trial would measure time on an unknown machine, or
            the engine can run nothing.
    """
    if not engine.here:
        refuse_timed(trials)
    begun = time.monotonic()
    asked = {trial: record.facts(trial.run, trial.options.words()) for trial in trials}
    watcher.phase("trials", len(trials))
    jobs: dict[Job, Trial] = {}
    for trial in trials:
        if _done_before(trial, asked[trial], watcher.say):
            watcher.advance(1)
        else:
            jobs[_prepare(trial, asked[trial])] = trial
    ended = len(trials) - len(jobs)
    running: dict[Trial, float] = {}
    reasons: dict[Trial, str] = {}
    with closing(engine.run(list(jobs))) as events:
        for job, kind, text in events:
            trial, now = jobs[job], time.monotonic()
            if kind == "begun":
                where = f" on {text}" if text else ""
                again = " again" if trial in running else ""
                watcher.say(f"{trial.name}: begun{again}{where}, see {trial.log}")
                running[trial] = now
            else:
                ended += 1
                took = _clock(now - running.pop(trial, now))
                if text:
                    reasons[trial] = text
                else:
                    record.write(trial.record, record.TrialRecord(facts=asked[trial], done=True))
                watcher.say(
                    f"{trial.name}: {f'failed: {text}' if text else 'done'} (took {took}; "
                    f"{ended} of {len(trials)} after {_clock(now - begun)})"
                )
            names = ", ".join(each.name for each in running)
            watcher.advance(int(kind == "ended"), f"running: {names}" if names else " ")
    return [Failure(trial, reasons[trial]) for trial in trials if trial in reasons]


def refuse_timed(trials: Sequence[Trial]) -> None:
    """Keep budgets of time on this machine.

    Raises:
        QuantizeError: a variant has one.
    """
    for trial in trials:
        if trial.options.timed:
            raise QuantizeError(
                f"variant {trial.variant!r} measures time, and a cluster's machines are not this "
                "one: leave it out, or use --engine processes"
            )


def _done_before(trial: Trial, asked: record.Facts, say: Callable[[str], None]) -> bool:
    """Whether the bundle is there and is what is asked for; says so, or why not."""
    results = (trial.bundle, trial.parity)
    found = record.read(trial.record)
    changed = record.differences(found.facts, asked) if found else "what made it is not known"
    if found and not changed:
        if found.done and all(path.exists() for path in results):
            say(f"{trial.name}: done before")
            return True
        say(f"{trial.name}: not finished before, goes on")
    elif found or any(path.exists() for path in results):
        say(f"{trial.name}: not as before ({changed}), done again")
    return False


def _prepare(trial: Trial, asked: record.Facts) -> Job:
    ticket = uuid4().hex
    trial.bundle.parent.mkdir(parents=True, exist_ok=True)
    for old in (trial.bundle, trial.parity, trial.log):
        old.unlink(missing_ok=True)
    record.write(trial.record, record.TrialRecord(facts=asked, ticket=ticket))
    run, bundle = trial.run.resolve(), trial.bundle.resolve()
    words = replace(trial.options, **_OPEN_GATE).words()
    command = ("run", str(run), "--out", str(bundle), *words)
    return Job(
        name=trial.name,
        arguments=(str(trial.record.resolve()), ticket, *command),
        log=trial.log.resolve(),
        results=(bundle, trial.parity.resolve()),
    )


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
