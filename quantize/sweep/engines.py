"""Where trials run: processes on this machine, or a Ray cluster; chosen by `--engine`."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Generator, Sequence

from edge.errors import QuantizeError
from quantize.sweep.asked import EngineOptions
from quantize.sweep.jobs import Engine, Event, Job, end, reason, start
from quantize.sweep.ray import Cluster

#: CPUs that Ray sets aside for a trial where nothing else is asked for.
RAY_CPUS = 2


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


def choose(asked: EngineOptions) -> Engine:
    """The engine that is named, with its options.

    Raises:
        QuantizeError: unknown, an option of the other engine, or Ray is not installed.
    """
    if asked.engine == "processes":
        if asked.ray_address or asked.cpus_per_trial is not None:
            raise QuantizeError("--ray-address and --cpus-per-trial need --engine ray")
        return Processes(1 if asked.jobs is None else asked.jobs)
    if asked.engine == "ray":
        if asked.jobs is not None:
            raise QuantizeError(
                "--jobs needs --engine processes: Ray runs as many trials at once as there are "
                "CPUs for, see --cpus-per-trial"
            )
        cpus = RAY_CPUS if asked.cpus_per_trial is None else asked.cpus_per_trial
        return Cluster(asked.ray_address, cpus)
    raise QuantizeError(f"--engine {asked.engine!r} is unknown: choose from processes, ray")
