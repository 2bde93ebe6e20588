"""Standard streams that are closed, full or gone, and signals: the device goes on, or ends well."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import devices
import pytest
from brokers import Mosquitto, Subscriber

from edge.commands.log_handler import LineHandler

SIGNALS = ["HUP", "QUIT", "USR1", "USR2", "ALRM", "XCPU", "PWR"]
SET_PIPE_SIZE = 1031
"""fcntl(2), F_SETPIPE_SZ."""


class Heard(NamedTuple):
    """A device that replays in a loop, and who hears it; called with a command, it runs."""

    path: Path
    broker: Mosquitto
    subscriber: Subscriber

    def __call__(self, command: str = 'exec "$0" "$@"', **how) -> subprocess.Popen[str]:
        """Run it by a shell."""
        wheatear = [sys.executable, "-m", "edge", "run", "--config", str(self.path)]
        process = subprocess.Popen(["bash", "-c", command, *wheatear], **how)
        devices.STARTED.append(process)
        return process


@pytest.fixture
def device(tmp_path):
    """A device that replays in a loop."""
    devices.photos(tmp_path / "photos", 3)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        more = '[requests]\nallow = ["restart"]\n'
        path = devices.config(tmp_path, broker.port, more, "loop = true\nframes_per_second = 40")

        yield Heard(path, broker, subscriber)


def more(subscriber, count: int = 5) -> bool:
    """Wait for so many more sightings."""
    wanted = len(subscriber.on("/sighting")) + count
    return subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= wanted)


def test_closed_streams_are_no_ones_and_a_restart_works(device):
    """No file of the device gets their numbers, in the process that takes its place either."""
    process = device('exec "$0" "$@" 0<&- 1>&- 2>&-')
    assert more(device.subscriber)
    answers = len(device.subscriber.on("/availability"))
    request = {"transaction": "1", "sent": 1}
    device.subscriber.publish("wheatear/cam-1/request/restart", json.dumps(request).encode())
    assert device.subscriber.wait(
        lambda _: device.subscriber.on("/availability")[answers:].count(b"online") == 1, 20
    )
    assert more(device.subscriber)
    assert [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)] == [
        os.devnull
    ] * 3
    process.terminate()
    assert process.wait(20) == 0


def test_a_log_that_nobody_reads_holds_nobody_up(device):
    """Its pipe is full: sightings arrive, and a signal ends the program in good order."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, SET_PIPE_SIZE, 4096)
    os.write(writing, bytes(size))
    process = device(stderr=writing)
    os.close(writing)
    assert more(device.subscriber)
    process.terminate()
    assert process.wait(20) == 0
    os.close(reading)


@pytest.fixture
def unignored():
    """Whoever runs the tests may have signals ignored (nohup), which a program inherits."""
    ours = [getattr(signal, f"SIG{name}") for name in SIGNALS]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ours}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("unignored")
@pytest.mark.parametrize("name", SIGNALS)
def test_whatever_signal_ends_the_program_ends_it_in_good_order(device, name):
    """What it has seen is delivered, the status is 0, and it says that it is offline."""
    process = device(stderr=subprocess.PIPE, text=True)
    assert more(device.subscriber)
    process.send_signal(getattr(signal, f"SIG{name}"))
    _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert "0 left behind" in told
    assert device.subscriber.wait(lambda _: device.subscriber.on("/availability")[-1] == b"offline")


def test_a_signal_that_is_ignored_stays_ignored(device):
    """As nohup has it: the terminal may close."""
    process = device('trap "" HUP; exec "$0" "$@"', stderr=subprocess.PIPE, text=True)
    assert more(device.subscriber)
    process.send_signal(signal.SIGHUP)
    assert more(device.subscriber, 20)
    process.terminate()
    assert process.communicate(timeout=20) is not None
    assert process.returncode == 0


@pytest.mark.parametrize("level", ["1", "2"])
def test_the_command_runs_with_optimised_bytecode(level):
    """Without assertions, and without docstrings."""
    for words in (["--help"], ["run", "--help"], ["--version"]):
        subprocess.run(
            [sys.executable, "-m", "edge", *words],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONOPTIMIZE": level, "PYTHONDONTWRITEBYTECODE": "1"},
        )


def test_too_little_memory_is_told_in_one_line(device):
    """As other errors are."""
    process = device('ulimit -d 100000; exec "$0" "$@"', stderr=subprocess.PIPE, text=True)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert told.splitlines()[-1].startswith("wheatear: ")
    assert "Traceback" not in told


def test_lines_that_are_not_taken_are_counted_where_they_would_stand():
    """A line longer than the pipe, more behind it; then somebody reads again."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, SET_PIPE_SIZE, 16_384)
    handler = LineHandler(writing)
    lines = ["x" * 40_000, "second", "third"]

    def log(*texts: str) -> None:
        for text in texts:
            handler.handle(logging.makeLogRecord({"msg": text}))

    thread = threading.Thread(target=log, args=lines)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert os.read(reading, 40_000) == b"x" * size
    log("fourth", "fifth")
    assert os.read(reading, 10_000) == b"\n... 3 lines are left out\nfourth\nfifth\n"
    os.close(reading)
    log("nobody is there")
    os.close(writing)
