"""An error at every call that a thread of the device makes: nothing is lost silently.

Which calls there are is found by replays, on a good day and on one on which what a device knows of
goes wrong: every call in the classes that work on its threads, on each thread that makes it. Each
is made to fail, once or always, by a bug, by want of memory, descriptors or room, or by text that
cannot be written, in turn; WHEATEAR_FAULTS=all tries once and always for each. Then either all
pictures become sightings and the fault is named, or the program ends with an error.

What builds the classes is left out (it fails before anything runs, on the main thread), and so are
the counts and the crew itself, with which a device tells of faults.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import faults
import pytest

import edge

THREADS = {
    "MainThread",
    "writer",
    "publisher",
    "camera",
    "requests",
    "inbox",
    "prometheus",
    "clock",
    "notify",
    "models",
    "gps",
}
"""Threads that live as long as the device."""
ELSEWHERE = {
    "trial": "edge/device/remote.py: a configuration on trial; tested in test_remote_config",
    "later": "edge/system/background.py: its error is raised in result()",
    "names": "edge/updates/http_get.py: a name is looked up; its error is the fetch's",
    "more time": "edge/system/systemd.py: asks systemd for it; tested in test_notify",
    "Timer": "edge/device/remote.py: restarts a program that hangs while it opens",
}
PROCESSES = 6
"""A replay mostly waits."""


def begin(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the program that makes calls fail; what it tells goes to a file."""
    log = folder / f"{'-'.join(arguments)}.jsonl"
    with open(log, "w") as out, open(log.with_suffix(".err"), "w") as err:
        return subprocess.Popen(
            [sys.executable, faults.__file__, folder, *arguments], stdout=out, stderr=err
        )


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What came of the replays: those without a fault, and those with one at each point."""
    folder = tmp_path_factory.mktemp("faults")
    whole = ["all"] if os.environ.get("WHEATEAR_FAULTS") == "all" else []
    assert begin(folder, "find").wait(60) == 0, (folder / "find.err").read_text()
    workers = [
        begin(folder, "try", str(number), str(PROCESSES), *whole) for number in range(PROCESSES)
    ]
    try:
        for number, worker in enumerate(workers):
            said = next(folder.glob(f"try-{number}-*.err"))
            assert worker.wait(300) == 0, said.read_text()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    found = [json.loads(one) for one in (folder / "find.jsonl").read_text().splitlines()]
    points = json.loads((folder / "points.json").read_text())
    results = [
        json.loads(line)
        for file in folder.glob("try-*.jsonl")
        for line in file.read_text().splitlines()
    ]
    return found, points, results


def test_every_thread_of_the_device_is_known():
    """A new thread is added here, or nobody knows what becomes of its errors."""
    named = set()
    for file in Path(edge.__file__).parent.rglob("*.py"):
        text = file.read_text()
        named |= set(re.findall(r'crew\.worker\(\s*"([^"]+)"', text))
        named |= set(re.findall(r'Thread\([^)]*name="([^"]+)"', text))
        if re.search(r"threading\.Timer\(", text):
            named.add("Timer")
        started, known = r"\bThread\((?!\))", r'\bThread\([^)]*name="'
        assert len(re.findall(started, text)) == len(re.findall(known, text)), file
    assert named | {"MainThread"} == THREADS | set(ELSEWHERE)


def test_without_a_fault_all_arrives(tried):
    """The device of the other tests on a good day, as it should be."""
    found, _, _ = tried
    for day in found[:2]:
        assert (day["outcome"], day["arrived"]) == ("all is well", faults.PHOTOS)


def test_a_bad_day_is_survived(tried):
    """Nothing that a device knows of, once each, ends the program."""
    found, _, _ = tried
    assert [day["outcome"] for day in found[2:]] == ["all is well"] * 2
    assert [day["no such call"] for day in found[2:]] == [[], []]


def test_every_call_of_every_thread_is_tried(tried):
    """The rest would prove nothing if replays made few of the calls, or other ones each time."""
    _, points, results = tried
    assert {thread for _, thread, _ in points} == THREADS
    assert len(points) >= 500
    assert {(one["place"], one["thread"]) for one in results} == {
        (place, thread) for place, thread, _ in points
    }
    never = Counter(bool(one["fired"]) for one in results)[False]
    assert never <= len(results) // 20


@pytest.mark.parametrize("thread", sorted(THREADS))
def test_a_fault_at_any_call_is_never_silent(tried, thread):
    """All pictures arrive and the fault is named, or the program says that it failed; in time."""
    bad = [one for one in tried[2] if one["thread"] == thread and one["wrong"]]
    assert not bad, "\n\n".join(
        "{wrong}: {place} on a {day} day, always: {always}, {error}: {outcome}\n{log}".format(**one)
        for one in bad[:3]
    )
