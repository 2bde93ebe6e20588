"""What engines run and tell: jobs, what happens to them, the process that one is."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

#: The module that a job's process runs.
TRIAL = "quantize.commands.trial"
#: The first words in a job's log.
BEGUN = "trial on "


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


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start a job's process; it ends when we do, as it reads from us."""
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", TRIAL, *job.arguments],
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
