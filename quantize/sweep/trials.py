"""Trials: `python -m quantize run` with other options, each a process of its own.

A trial that was killed goes on where its phases end; one that failed keeps its message, and the
others run on. The gate is open here, as the point is to see what a technique costs; a chosen point
goes through it when its command is given without these limits.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from edge.errors import QuantizeError

#: What is compared where nothing else is asked for: options of `quantize run`, by name.
VARIANTS: dict[str, tuple[str, ...]] = {
    "ptq": ("--method", "ptq"),
    "qat": (),
    "zeros-50": ("--pruning", "0.5"),
    "zeros-50-constant": ("--pruning", "0.5", "--pruning-schedule", "constant"),
    "zeros-2of4": ("--pruning-pattern", "2:4"),
    "zeros-75": ("--pruning", "0.75"),
    "clusters-16": ("--clusters", "16"),
    "zeros-50-clusters-16": ("--pruning", "0.5", "--clusters", "16"),
    "macs-70": ("--budget", "macs=0.7"),
    "macs-50": ("--budget", "macs=0.5"),
    "macs-35": ("--budget", "macs=0.35"),
}
_OPEN_GATE = ("--tolerance", "1", "--min-agreement", "0")


class Trial(NamedTuple):
    """One variant of one run."""

    run: Path
    variant: str
    options: tuple[str, ...]
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
    def command(self) -> str:
        """What makes a bundle of this point, gate and all."""
        options = shlex.join(self.options)
        return f"python -m quantize run {self.run} --out {self.variant}.wtr {options}".rstrip()


class Failure(NamedTuple):
    """A trial that gave no model, and why."""

    trial: Trial
    reason: str


def plan(
    runs: Sequence[Path], variants: Iterable[str], folder: Path, on: Sequence[str] = ()
) -> list[Trial]:
    """All trials: every variant of every run.

    Args:
        runs: finished ones.
        variants: names of `VARIANTS`.
        folder: for bundles and logs.
        on: the options that say where budgets are timed, e.g. ("--on", "pi@host").

    Raises:
        QuantizeError: a variant is unknown, or two runs have the same name.
    """
    names = list(variants)
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise QuantizeError(f"variant {unknown[0]!r} is unknown: choose from {', '.join(VARIANTS)}")
    if len({run.name for run in runs}) < len(runs):
        raise QuantizeError("two runs have the same folder name: rename one of them")
    return [
        Trial(
            run,
            name,
            (*VARIANTS[name], *(on if "--budget" in VARIANTS[name] else ())),
            folder / run.name / f"{name}.wtr",
        )
        for run in runs
        for name in names
    ]


def carry_out(
    trials: Sequence[Trial], jobs: int, extra: Sequence[str], say: Callable[[str], None]
) -> list[Failure]:
    """Run what has not been run; return what failed.

    Args:
        trials: from `plan`.
        jobs: how many at once; each uses all cores where it can.
        extra: further options for every trial, e.g. ("--epochs", "2").
        say: told about each trial.
    """
    reasons: dict[Trial, str] = {}
    running = _Running()
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        waiting = {
            pool.submit(_carry_out, trial, (*trial.options, *extra), running, say): trial
            for trial in trials
        }
        try:
            for done in as_completed(waiting):
                reasons[waiting[done]] = done.result()
        except BaseException:
            running.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return [Failure(trial, reasons[trial]) for trial in trials if reasons[trial]]


class _Running:
    """The processes that must not outlive us."""

    def __init__(self) -> None:
        self._lock, self._stopped = Lock(), False
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes] | None:
        with self._lock, log.open("wb") as output:
            if self._stopped:
                return None
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            self._processes.append(process)
            return process

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._processes:
                if process.poll() is None:
                    process.terminate()


def _carry_out(
    trial: Trial, options: Sequence[str], running: _Running, say: Callable[[str], None]
) -> str:
    name = f"{trial.run.name} {trial.variant}"
    if trial.bundle.exists() and trial.parity.exists():
        say(f"{name}: done before")
        return ""
    trial.bundle.parent.mkdir(parents=True, exist_ok=True)
    say(f"{name}: begun, see {trial.log}")
    command = [sys.executable, "-m", "quantize", "run", str(trial.run)]
    process = running.start(
        [*command, "--out", str(trial.bundle), *options, *_OPEN_GATE], trial.log
    )
    if process is None or process.wait() != 0:
        reason = _reason(trial.log)
        say(f"{name}: failed: {reason}")
        return reason
    say(f"{name}: done")
    return ""


def _reason(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["stopped"])[-1].removeprefix("error: ")
