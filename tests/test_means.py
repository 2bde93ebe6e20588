"""A computer with too few descriptors, threads or too little memory: by the kernel's limits."""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import devices
import pytest
from brokers import Mosquitto, Subscriber, free_port
from patience import wait_for
from there import there

from edge.errors import ShortageError
from edge.system.resource_limits import DESCRIPTORS, ensure_descriptors, larger_files

ALL = """
prometheus_seconds = 1.0
health_seconds = 1.0
[inbox]
keep = true
[requests]
allow = ["status"]
[gps]
enabled = true
port = 1
"""
"""Everything of a device that has a thread of its own."""


def run_once(path: Path, limits: dict[int, tuple[int, int]], seconds=60):
    """Replay the photos of a configuration under limits; give exit status and stderr."""

    def limit() -> None:
        for what, values in limits.items():
            resource.setrlimit(what, values)

    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--once", "--drain-timeout", "0.1", "--config", path],
        capture_output=True,
        text=True,
        timeout=seconds,
        preexec_fn=limit,
    )
    return done.returncode, done.stderr


def told_of_bugs(log: str) -> bool:
    """Whether a thread met what it takes for a bug, several of which end it."""
    return "the publisher failed" in log or "the camera failed unexpectedly" in log


def everything(folder: Path, port: int) -> Path:
    """Write the configuration of a device with all there is."""
    path = devices.config(folder, port, extra=f'prometheus_file = "{folder}/w.prom"' + ALL)
    path.write_text(path.read_text().replace('"fake"', '"fake"\nstore = "models"'))
    return path


def test_a_start_with_too_few_descriptors_says_so_and_writes_nothing(tmp_path):
    """How many there are, how many it takes, and where to allow more."""
    devices.photos(tmp_path / "photos", 1)
    path = devices.config(tmp_path, free_port())
    status, told = run_once(path, {resource.RLIMIT_NOFILE: (20, 20)})
    assert status == 1
    assert re.fullmatch(
        r"wheatear: this process may hold 20 files open, and a device needs \d+; allow more "
        r"\(LimitNOFILE=1024 in the service, or ulimit -n\)\n",
        told,
    )
    assert not list(tmp_path.glob("outbox*"))


def test_a_start_with_just_enough_descriptors_works(tmp_path):
    """With every part of a device; and the limit that may be raised is raised."""
    devices.photos(tmp_path / "photos", 3)
    with Mosquitto(tmp_path) as broker:
        path = everything(tmp_path, broker.port)
        least = DESCRIPTORS + 4  # stdin, stdout, stderr, and the one that counts them
        for limits in ((8, least), (least, least)):
            status, told = run_once(path, {resource.RLIMIT_NOFILE: limits})
            assert "Too many open files" not in told
            assert "3 frames classified (0 bad" in told
            assert status in (0, 1), told  # acknowledged in time, or goes out with the next run


def test_the_limit_is_only_touched_where_it_is_too_low(monkeypatch):
    """Whoever set it wider knows why."""
    asked = []
    monkeypatch.setattr(resource, "setrlimit", lambda *all: asked.append(all))
    gc.collect()
    held = len(os.listdir("/proc/self/fd"))
    for soft, hard in ((held + 9, held + 9), (resource.RLIM_INFINITY,) * 2):
        monkeypatch.setattr(resource, "getrlimit", lambda _, pair=(soft, hard): pair)
        ensure_descriptors(9)
    assert not asked
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3, resource.RLIM_INFINITY))
    ensure_descriptors(9)
    assert asked == [(resource.RLIMIT_NOFILE, (held + 9, resource.RLIM_INFINITY))]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (held + 8, held + 8))
    with pytest.raises(ShortageError, match=f"may hold {held + 8} files open"):
        ensure_descriptors(9)


def test_a_device_runs_where_there_is_no_proc(tmp_path):
    """As in a bare chroot: what is open is counted in another way, and a limit told as well."""
    devices.photos(tmp_path / "photos", 3)
    path = devices.config(tmp_path, free_port())
    run = f"{sys.executable} -m edge run --once --drain-timeout 0.1 --config {path}"

    def bare(limit: int) -> str:
        script = f"umount -l /proc && ulimit -n {limit} && exec {run}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True
        )
        if "unshare" in done.stderr or "umount" in done.stderr:
            pytest.skip(f"NO NAMESPACE of mounts: {done.stderr}")
        return done.stderr

    assert "3 frames classified (0 bad" in bare(200)
    assert f"may hold 20 files open, and a device needs {DESCRIPTORS + 4}; allow" in bare(20)


@pytest.mark.parametrize("most", [0, 1024, 5000, 200_000])
def test_a_limit_on_the_size_of_files_is_told_as_what_it_is(tmp_path, most):
    """However far it lets the outbox come: no disk is to blame for it."""
    code = "import sys; from pathlib import Path; from samples import sighting\n"
    code += "from edge.outbox.outbox import Outbox\nOutbox(Path(sys.argv[1])).append(sighting())"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "o.db"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    told = done.stderr.splitlines()[-1]
    assert told.startswith("edge.errors.OutboxError: ")
    assert f"files of {most:,} bytes at most; allow more (LimitFSIZE= in the service" in told
    assert "dmesg" not in told
    assert "writable" not in told


def test_a_limit_on_the_size_of_files_counts_where_a_file_comes_near_it(tmp_path, monkeypatch):
    """Of several the largest; one that is not there yet begins with nothing."""
    large, absent = tmp_path / "large", tmp_path / "absent"
    large.write_bytes(bytes(5000))
    for most, told in (
        (4_005_000, False),
        (4_004_999, True),
        (resource.RLIM_INFINITY, False),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (most, most))
        assert (larger_files(absent, large) is not None) == told
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4_000_000, 4_000_000))
    assert larger_files(absent) is None


def test_descriptors_that_run_out_later_cost_no_sighting(tmp_path):
    """None can be opened while the broker is away; when there are some again all goes on."""
    devices.photos(tmp_path / "photos", 3)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = everything(tmp_path, broker.port)
        path.write_text(
            path.read_text().replace('"photos"', '"photos"\nloop = true\nframes_per_second = 20')
        )
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", path], stderr=log
            )
        devices.STARTED.append(process)

        def told(text: str) -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return text in (tmp_path / "log").read_text()

        assert subscriber.wait(lambda _: subscriber.on("/sighting"))
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        broker.stop()
        wait_for(lambda: told("cannot connect to") and told("camera: ShortageError"))
        broker.start()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
        wait_for(lambda: told("camera works again") and told("broker works again"))
        process.terminate()
        assert process.wait(20) == 0
        assert not told_of_bugs((tmp_path / "log").read_text())
        seen = {one["seq"] for one in map(json.loads, subscriber.on("/sighting"))}
        assert seen == set(range(1, max(seen) + 1))


@pytest.mark.parametrize("stack", [3_000_000_000, 900_000_000, 400_000_000])
def test_a_computer_that_starts_no_more_threads_is_named(tmp_path, stack):
    """Which thread it was, and where to allow more; the program ends, and hangs in none of those
    that were started. (Each thread takes so much room for its stack, of 3 GB in all.)
    """
    devices.photos(tmp_path / "photos", 1)
    path = everything(tmp_path, free_port())
    limits = {resource.RLIMIT_STACK: (stack,) * 2, resource.RLIMIT_AS: (3_000_000_000,) * 2}
    status, told = run_once(path, limits)
    assert status == 1
    assert "Traceback" not in told
    assert re.search(
        r"wheatear: the \w+ thread cannot be started \(can't start new thread\); allow more "
        r"\(TasksMax= in the service, or ulimit -u\), or free memory\n$",
        told,
    )


def test_a_picture_that_takes_all_memory_costs_itself_only(tmp_path):
    """It is counted as bad and named; all others become sightings."""
    devices.photos(tmp_path / "photos", 6)
    huge = tmp_path / "photos" / "00002-huge.jpg"
    huge.touch()
    os.truncate(huge, 599_000_000)  # of more it is not even read
    path = devices.config(tmp_path, free_port())
    status, told = run_once(path, {resource.RLIMIT_AS: (900_000_000,) * 2})
    assert status == 1, told  # nobody took the sightings
    assert "6 frames classified (1 bad, 0 skipped, 0 idle), 6 sightings" in told
    assert f"{huge}: MemoryError" in told


@pytest.mark.parametrize("spare", [0, 10_000_000])
def test_memory_that_runs_out_in_the_middle_is_never_told_as_success(tmp_path, spare):
    """From one picture on the process gets no more; what it could not judge it says."""
    count, size = 12, (1600, 1200)
    devices.photos(tmp_path / "photos", count, size)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(tmp_path, broker.port, camera="frames_per_second = 20")
        process = devices.start("run", "--once", "--config", str(path))
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 3)
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + spare
        resource.prlimit(process.pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        _, told = process.communicate(timeout=60)
        seen = {json.loads(one)["frame"]["source"] for one in subscriber.on("/sighting")}
    if process.returncode == 0:
        judged, bad = map(
            int, there(re.search(r"(\d+) frames classified \((\d+) bad", told)).groups()
        )
        assert (judged + bad, len(seen)) == (count, judged), told
    else:
        assert "MemoryError" in told or "memory" in told, told
