"""An engine for sweeps that runs trials in this process: what they do, without a process each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from edge.errors import WheatearError
from quantize.commands.cli import app
from quantize.commands.trial import check
from quantize.sweep.jobs import Event, Job


class Here:
    """One trial after the other; their logs are theirs."""

    here = True

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `quantize.sweep.jobs.Engine`."""
        for job in jobs:
            yield Event(job, "begun")
            yield Event(job, "ended", self._why_not(job))

    def _why_not(self, job: Job) -> str:
        record, ticket, *command = job.arguments
        with job.log.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                check(Path(record), ticket, Path(command[1]))
                app(args=command, prog_name="python -m quantize", standalone_mode=False)
            except WheatearError as error:
                return str(error)
        return ""
