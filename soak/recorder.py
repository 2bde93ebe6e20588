"""A disk that writes down what the kernel asks of it: ``python -m soak.recorder FILE IMAGE LOG``.

A FUSE file system of a single file, which is mounted over FILE and holds what IMAGE held. A loop
device on it turns each write of a block device and each flush of its cache into a request, and all
of them are kept in LOG in order. How many there were stands in ``LOG.count``, for other processes
to read at any time. It speaks the kernel's protocol itself, so that nothing needs to be installed.
Needs root. It ends when FILE is unmounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import stat
import struct
import sys
from pathlib import Path

WRITE, FLUSH = 1, 2
ENTRY = struct.Struct("<BQI")
"""Of the log: what it was, where, how many bytes; those of a write follow."""

_MAX_WRITE = 131_072
_ASYNC_READ, _BIG_WRITES = 1, 1 << 5
_GETATTR, _OPEN, _READ, _WRITE, _RELEASE, _FSYNC = 3, 14, 15, 16, 18, 20
_FLUSH, _INIT, _DESTROY = 25, 26, 38
_WRITE_HEAD = 40
_UNANSWERED = (2, 36, 42)
"""FORGET, INTERRUPT and BATCH_FORGET."""
_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")


class Disk:
    """Answers what the kernel asks about the file, and keeps its log. See the module."""

    def __init__(self, image: Path, log: Path) -> None:
        self._bytes = bytearray(image.read_bytes())
        self._log = log.open("wb", 1 << 20)
        count = Path(f"{log}.count")
        count.write_bytes(bytes(8))
        with count.open("r+b") as file:
            self._count = mmap.mmap(file.fileno(), 8)
        self._entries = 0

    def answer(self, asked: int, body: memoryview) -> bytes | int:
        """Carry out a request; return its answer, or the number of an error."""
        if asked == _INIT:
            return self._init(body)
        if asked == _GETATTR:
            return struct.pack("<QII", 3600, 0, 0) + self._attributes()
        if asked == _OPEN:
            return struct.pack("<QII", 0, 0, 0)
        if asked in (_READ, _WRITE):
            _, start, size = struct.unpack_from("<QQI", body)
            if asked == _READ:
                return bytes(self._bytes[start : start + size])
            return self._write(start, body[_WRITE_HEAD : _WRITE_HEAD + size])
        if asked == _FSYNC:
            self._enter(ENTRY.pack(FLUSH, 0, 0))
        if asked in (_FSYNC, _RELEASE, _FLUSH, _DESTROY):
            self._log.flush()
            return b""
        return errno.ENOSYS

    def _init(self, body: memoryview) -> bytes:
        _, minor, read_ahead = struct.unpack_from("<III", body)
        flags = _ASYNC_READ | _BIG_WRITES
        start = struct.pack(
            "<IIIIHHII", 7, min(minor, 31), read_ahead, flags, 16, 12, _MAX_WRITE, 1
        )
        return start.ljust(64, b"\0")

    def _attributes(self) -> bytes:
        size = len(self._bytes)
        mode = stat.S_IFREG | 0o600
        times = (0, 0, 0, 0, 0, 0)
        return struct.pack("<6Q10I", 1, size, size // 512, *times, mode, 1, 0, 0, 0, 4096, 0)

    def _write(self, start: int, data: memoryview) -> bytes:
        self._bytes[start : start + len(data)] = data
        self._enter(ENTRY.pack(WRITE, start, len(data)), data)
        return struct.pack("<II", len(data), 0)

    def _enter(self, head: bytes, data: memoryview | bytes = b"") -> None:
        self._log.write(head)
        self._log.write(data)
        self._entries += 1
        self._count[:] = struct.pack("<Q", self._entries)


def serve(device: int, disk: Disk) -> None:
    """Answer until the file is unmounted."""
    while True:
        try:
            request = os.read(device, _MAX_WRITE + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                continue
            raise
        _, asked, unique, *_ = _IN.unpack_from(request)
        if asked in _UNANSWERED:
            continue
        found = disk.answer(asked, memoryview(request)[_IN.size :])
        body, number = (b"", found) if isinstance(found, int) else (found, 0)
        with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
            os.write(device, _OUT.pack(_OUT.size + len(body), -number, unique) + body)


def main(file: Path, image: Path, log: Path) -> None:
    """Mount, say so, and serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=100000,user_id=0,group_id=0,max_read={_MAX_WRITE}"
    libc = ctypes.CDLL(None, use_errno=True)
    disk = Disk(image, log)
    if libc.mount(b"recorder", os.fsencode(file), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "cannot mount a FUSE file system", str(file))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serve(device, disk)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
