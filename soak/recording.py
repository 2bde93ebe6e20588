"""What a load wrote to a disk, in order, and what the disk holds when the power goes in between."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from soak.device import ENVIRONMENT
from soak.filesystems import FILE_SYSTEMS, make
from soak.loopback import loop_device, mounted, unmount
from soak.recorder import ENTRY, FLUSH, WRITE

MODES = ("all", "none", "blocks", "blocks", "torn", "sectors")
"""What becomes of the writes that no flush followed. As often as they stand here."""
LYING = "lying"
"""The card said that it was flushed, and lost its last writes all the same."""
LYING_WRITES = 15


class Entry(NamedTuple):
    """One request of the kernel."""

    kind: int
    start: int
    size: int
    at: int
    """Where its bytes stand in the log."""


@contextlib.contextmanager
def recorded(name: str, folder: Path) -> Iterator[tuple[Path, Callable[[], int]]]:
    """Mount an empty file system whose writes are kept; give it, and the count of them so far.

    What was recorded is in `folder`, for :class:`Recording`. Raises OSError, CalledProcessError.
    """
    image, log, file = folder / "empty.img", folder / "log", folder / "disk"
    make(name, image)
    file.touch()
    command = [sys.executable, "-m", "soak.recorder", str(file), str(image), str(log)]
    recorder = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        assert recorder.stdout is not None
        if recorder.stdout.readline() != b"ready\n":
            raise OSError("the recording disk did not start")
        with Path(f"{log}.count").open("rb") as counted:
            count = mmap.mmap(counted.fileno(), 8, access=mmap.ACCESS_READ)
        try:
            one = FILE_SYSTEMS[name]
            with (
                loop_device(file) as device,
                mounted(device, folder / "mount", one.kind, one.options) as disk,
            ):
                yield disk, lambda: int(struct.unpack("<Q", count[:])[0])
        finally:
            count.close()
            unmount(file)
    finally:
        # All of it is on disk when the recorded file system is unmounted; see `unmount` for why the
        # recorder may be asked further.
        try:
            recorder.wait(5)
        except subprocess.TimeoutExpired:
            recorder.terminate()
            recorder.wait(30)
        recorder.stdout.close() if recorder.stdout else None


class Recording:
    """A recorded load, from which disks can be made as a power cut leaves them."""

    def __init__(self, folder: Path) -> None:
        self.empty = folder / "empty.img"
        self._log = (folder / "log").read_bytes()
        self.entries: list[Entry] = []
        at = 0
        while at < len(self._log):
            kind, start, size = ENTRY.unpack_from(self._log, at)
            at += ENTRY.size
            self.entries.append(Entry(kind, start, size, at))
            at += size

    def written(self, first: int, last: int) -> tuple[int, int, int]:
        """Count the bytes, writes and flushes of the entries `first` to below `last`."""
        some = self.entries[first:last]
        writes = [entry for entry in some if entry.kind == WRITE]
        return sum(entry.size for entry in writes), len(writes), len(some) - len(writes)

    def bytes_of(self, entry: Entry) -> memoryview:
        """What an entry wrote."""
        return memoryview(self._log)[entry.at : entry.at + entry.size]


class Cutter:
    """Makes disks of rising points of a recording, in a file of their own."""

    def __init__(self, recording: Recording, image: Path) -> None:
        self._recording, self._image = recording, image
        self._whole = image.with_suffix(".flushed")
        _copy(recording.empty, self._whole)
        self._done = 0

    def cut(self, after: int, random: Random, mode: str) -> int:
        """Make the disk as it is when only `after` entries came; give how many were in doubt.

        `after` must not be smaller than the time before.
        """
        entries = self._recording.entries
        flushed = next(
            (n + 1 for n in range(after - 1, self._done - 1, -1) if entries[n].kind == FLUSH),
            self._done,
        )
        if mode == LYING:
            flushed = min(flushed, max(self._done, after - random.randint(1, LYING_WRITES)))
        with self._whole.open("r+b") as whole:
            for entry in entries[self._done : flushed]:
                self._write(whole.fileno(), entry, 0, entry.size)
        self._done = flushed
        _copy(self._whole, self._image)
        pending = [entry for entry in entries[flushed:after] if entry.kind == WRITE]
        with self._image.open("r+b") as image:
            self._some(image.fileno(), pending, random, mode)
        return len(pending)

    def _some(self, image: int, pending: list[Entry], random: Random, mode: str) -> None:
        """Write what reached the disk of that which no flush followed."""
        if mode == "all":
            for entry in pending:
                self._write(image, entry, 0, entry.size)
        elif mode == "torn":
            count = random.randint(0, len(pending))
            for entry in pending[:count]:
                self._write(image, entry, 0, entry.size)
            for entry in pending[count : count + 1]:
                self._write(image, entry, 0, 512 * random.randint(0, entry.size // 512))
        elif mode in ("blocks", "sectors"):
            step, share = 4096 if mode == "blocks" else 512, random.random()
            for entry in pending:
                for start in range(0, entry.size, step):
                    if random.random() < share:
                        self._write(image, entry, start, min(step, entry.size - start))

    def _write(self, image: int, entry: Entry, start: int, size: int) -> None:
        if entry.kind == WRITE:
            data = self._recording.bytes_of(entry)[start : start + size]
            os.pwrite(image, data, entry.start + start)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, but not the holes in it."""
    with source.open("rb") as old, target.open("wb") as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while at < size:
            try:
                start = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:  # no more data
                return
            at = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            os.lseek(new.fileno(), start, os.SEEK_SET)
            done = start
            while done < at:
                done += os.sendfile(new.fileno(), old.fileno(), done, at - done)
