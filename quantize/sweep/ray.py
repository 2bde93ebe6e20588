"""Trials on a Ray cluster, or on a Ray that is started here for the time of a sweep."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Sequence
from typing import Any

from edge.errors import QuantizeError
from quantize.sweep.jobs import BEGUN, Event, Job, end, killed, reason, start
from quantize.sweep.record import PATIENCE, SHARED, comes_true

#: How often a trial is begun anew after it, its worker or its machine was lost.
RETRIES = 3


class Cluster:
    """Ray's workers, each trial with some CPUs set aside."""

    here = False

    def __init__(self, address: str, cpus: int) -> None:
        """Check what can be checked before the work.

        Args:
            address: "auto", "HOST:PORT", or empty: a Ray of this machine, started if there is none.
            cpus: set aside for each trial.

        Raises:
            QuantizeError: Ray is not installed, or no CPU is asked for.
        """
        if cpus < 1:
            raise QuantizeError(f"--cpus-per-trial {cpus}: give 1 or more")
        try:
            import ray
        except ImportError as error:
            raise QuantizeError(
                f"--engine ray needs the packages of the group `cluster` ({error}): `make cluster`,"
                " or `python -m pip install --require-hashes -r requirements/cluster.txt`"
            ) from error
        self.ray: Any = ray
        self.address, self.cpus = address, cpus

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `Engine`; a trial that was killed is begun anew where there is room."""
        if not jobs:
            return
        ray = self.ray
        try:
            self._connect()
            asks = {"num_cpus": self.cpus, "max_retries": RETRIES}
            task = ray.remote(**asks, retry_exceptions=[ChildProcessError])(carry)
            waiting = {task.options(name=job.name).remote(job): job for job in jobs}
            begun = dict.fromkeys(jobs, 0)
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=1)
                for job in waiting.values():
                    places = _places(job)
                    yield from (Event(job, "begun", place) for place in places[begun[job] :])
                    begun[job] = len(places)
                for task_result in ended:
                    job = waiting.pop(task_result)
                    yield Event(job, "ended", self._outcome(job, task_result))
        finally:
            ray.shutdown()  # ends our workers, and with them what they started

    def _connect(self) -> None:
        # A Ray that we start tells nobody that it is used.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = self.address or None
        try:
            if address not in (None, "auto"):
                _knock(self.address)
            self.ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError, self.ray.exceptions.RayError) as error:
            raise QuantizeError(
                f"--ray-address {address or '(none)'}: no Ray cluster can be used ({error}); give "
                "auto or HOST:PORT of one that this machine has joined with `ray start`"
            ) from error
        sizes = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
        if max(sizes, default=0) < self.cpus:
            raise QuantizeError(
                f"--cpus-per-trial {self.cpus}: the largest machine of the cluster has "
                f"{max(sizes, default=0):.0f}; give no more"
            )

    def _outcome(self, job: Job, task_result: Any) -> str:  # noqa: ANN401
        try:
            why: str = self.ray.get(task_result)
        except self.ray.exceptions.RayError as error:
            lines = str(getattr(error, "cause", None) or error).strip().splitlines()
            last = lines[-1] if lines else type(error).__name__
            if "No module named" in last:
                return f"{last}: install Wheatear and its packages on every machine of the cluster"
            return last
        if not why and not comes_true(lambda: all(r.exists() for r in job.results), PATIENCE):
            return f"ended well, but {job.results[0]} is not visible here: {SHARED}"
        return why


def carry(job: Job) -> str:
    """Run a job where Ray put us; give why it failed, empty if it did not.

    Raises:
        ChildProcessError: it was killed; Ray begins it anew.
    """
    if not job.log.parent.is_dir():
        return f"{socket.gethostname()} does not see {job.log.parent}: {SHARED}"
    process = start(job)
    try:
        code = process.wait()
    finally:
        end(process)
    if code < 0:
        raise ChildProcessError(killed(code))
    return reason(job, code)


def _knock(address: str) -> None:
    """Ask whether anybody is there: Ray itself goes on asking for many minutes.

    Raises:
        OSError: nobody is.
        ValueError: it is not HOST:PORT.
    """
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in host:
        raise ValueError(f"{address!r} is not HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _places(job: Job) -> list[str]:
    """Where a job was begun, each time that it was."""
    if not job.log.exists():
        return []
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.removeprefix(BEGUN) for line in lines if line.startswith(BEGUN)]
