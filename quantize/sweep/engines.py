"""Where trials run: processes on this machine, or a Ray cluster; chosen by `--engine`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from edge.errors import QuantizeError

#: CPUs that Ray sets aside for a trial where nothing else is asked for.
RAY_CPUS = 2


class Job(NamedTuple):
    """A trial to run."""

    name: str
    arguments: tuple[str, ...]
    """Of `quantize.commands.trial`; paths are absolute."""
    log: Path
    """What the process says is added to it."""
    results: tuple[Path, ...]
    """What is there when it has ended well."""


class Event(NamedTuple):
    """Something happened to a job."""

    job: Job
    kind: Literal["begun", "ended"]
    text: str = ""
    """Begun: where; ended: why it failed, empty if it did not."""


class Engine(Protocol):
    """Runs jobs."""

    here: bool
    """On this machine only, so that a trial may measure time."""

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Run all, one failing or not, and tell; when closed, what still runs is ended.

        Raises:
            QuantizeError: none can run.
        """
        ...


class Processes:
    """So many processes at once on this machine."""

    here = True

    def __init__(self, at_once: int) -> None:
        if at_once < 1:
            raise QuantizeError(f"--jobs {at_once}: give 1 or more")
        self.at_once = at_once

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `Engine`."""
        waiting, running = deque(jobs), dict[Job, subprocess.Popen[bytes]]()
        try:
            while waiting or running:
                while waiting and len(running) < self.at_once:
                    job = waiting.popleft()
                    running[job] = start(job)
                    yield Event(job, "begun")
                for job, process in list(running.items()):
                    if (code := process.poll()) is not None:
                        yield Event(job, "ended", reason(job, code))
                        end(running.pop(job))
                time.sleep(0.1)
        finally:
            for process in running.values():
                end(process)


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start a job's process; it ends when we do, as it reads from us."""
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quantize.commands.trial", *job.arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches us alone
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process at once; phases are written whole, so nothing has to be put in order."""
    process.kill()
    process.communicate()


def reason(job: Job, code: int) -> str:
    """Why a process failed, from its exit code and log; empty if it did not."""
    if code == 0:
        return ""
    if code < 0:
        return killed(code)
    text = job.log.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit code {code}"])[-1].removeprefix("error: ")


def killed(code: int) -> str:
    """A negative exit code in words."""
    return f"ended by signal {-code} ({signal.strsignal(-code)}); repeat the command to go on"


def choose(name: str, jobs: int | None, ray_address: str, cpus_per_trial: int | None) -> Engine:
    """The engine of that name with its options; None or empty: not given.

    Raises:
        QuantizeError: unknown, an option of the other engine, or Ray is not installed.
    """
    if name == "processes":
        if ray_address or cpus_per_trial is not None:
            raise QuantizeError("--ray-address and --cpus-per-trial want --engine ray")
        return Processes(1 if jobs is None else jobs)
    if name == "ray":
        from quantize.sweep.ray import Cluster

        if jobs is not None:
            raise QuantizeError(
                "--jobs wants --engine processes: Ray runs as many trials at once as there are "
                "CPUs for, see --cpus-per-trial"
            )
        return Cluster(ray_address, RAY_CPUS if cpus_per_trial is None else cpus_per_trial)
    raise QuantizeError(f"--engine {name!r} is unknown: choose from processes, ray")
