"""Where trials run: processes on this machine, or a Ray cluster; chosen by `--engine`."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Generator, Sequence

from edge.errors import QuantizeError
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


def choose(name: str, jobs: int | None, ray_address: str, cpus_per_trial: int | None) -> Engine:
    """The engine of that name with its options; None or empty: not given.

    Raises:
        QuantizeError: unknown, an option of the other engine, or Ray is not installed.
    """
    if name == "processes":
        if ray_address or cpus_per_trial is not None:
            raise QuantizeError("--ray-address and --cpus-per-trial need --engine ray")
        return Processes(1 if jobs is None else jobs)
    if name == "ray":
        if jobs is not None:
            raise QuantizeError(
                "--jobs needs --engine processes: Ray runs as many trials at once as there are "
                "CPUs for, see --cpus-per-trial"
            )
        return Cluster(ray_address, RAY_CPUS if cpus_per_trial is None else cpus_per_trial)
    raise QuantizeError(f"--engine {name!r} is unknown: choose from processes, ray")
