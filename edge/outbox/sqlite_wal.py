"""Reads SQLite's write-ahead log: where each page's newest version is, and which SQLite takes.

SQLite takes a frame with a wrong checksum for the end of the log. After a power cut that is what it
is: what was not synced is there in part, in any order. After damage in its middle, committed pages
stand behind it; they are looked at before SQLite opens the log, and writes over them
(https://www.sqlite.org/fileformat2.html, section 4).
"""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_SIZES = (1024, 4096)
"""Bytes of a page in the outbox's files, as they are made now, and as they were once."""

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC = 0x377F0682
"""Its lowest bit says how checksums read words: 0 little-endian, 1 big-endian."""

State = tuple[int, ...]


class Log:
    """The frames of a log, up to its last commit.

    Frames of an earlier use of the log bear other salts and do not count; nor do frames behind the
    last commit. `page_bytes` is what the database's own header says, where that of the log does
    not.
    """

    def __init__(self, file: BinaryIO, page_bytes: int | None = None) -> None:
        self.places: dict[int, int] = {}
        """Where in the file the newest version of a page begins, by its number."""
        self.taken: dict[int, int] = {}
        """The same, of the frames that SQLite takes."""
        self.committed = 0
        """Frames up to the last commit, sound or not."""
        self.sound = 0
        """Frames up to the last commit that SQLite takes: all before it have right checksums."""
        self.behind: dict[int, int] = {}
        """The same as `places`, of committed frames behind those that are sound themselves."""
        header = read_at(file, 0, _HEADER)
        (magic,) = struct.unpack_from(">I", header)
        words = ">u4" if magic == _MAGIC + 1 else "<u4"  # as most machines write, if it is lost
        following: tuple[int, ...] = checksum(header[:24], (0, 0), words)
        chained = magic & ~1 == _MAGIC and following == struct.unpack_from(">II", header, 24)
        if not chained:
            header = header[:16] + read_at(file, _HEADER + 8, 8)  # the first frame's salts
        (self.page_bytes,) = struct.unpack_from(">I", header, 8)
        if self.page_bytes not in PAGE_SIZES:
            self.page_bytes = page_bytes or PAGE_SIZES[0]
        end, step = file.seek(0, os.SEEK_END), _FRAME_HEADER + self.page_bytes
        since: dict[int, int] = {}
        sound_since: dict[int, int] = {}
        for index, at in enumerate(range(_HEADER, end - step + 1, step), 1):
            frame = read_at(file, at, step)
            number, size = struct.unpack_from(">II", frame)
            before, following = following, struct.unpack_from(">II", frame, 16)
            if frame[8:16] != header[16:24] or not number:
                chained = False
                continue
            state = checksum(frame[_FRAME_HEADER:], checksum(frame[:8], before, words), words)
            sound = state == following
            chained = chained and sound
            since[number] = at + _FRAME_HEADER
            if sound:
                sound_since[number] = at + _FRAME_HEADER
            if size:
                self.places |= since
                if chained:
                    self.sound = index
                    self.taken |= since
                else:
                    self.behind |= sound_since
                since, sound_since, self.committed = {}, {}, index


def damage(path: Path) -> str | None:
    """In words, how much of a database's log SQLite will not take; None: it takes all. Raises
    OSError.
    """
    try:
        with Path(f"{path}-wal").open("rb") as file:
            log = Log(file)
    except FileNotFoundError:
        return None
    if log.sound == log.committed:
        return None
    return f"of the {log.committed} pages in its log, {log.committed - log.sound} cannot be used"


def checksum(data: bytes, state: State, words: str) -> State:
    """Continue a log's checksum over `data`, a multiple of 8 bytes.

    For each pair of words x, y: ``s0 += x + s1; s1 += y + s0``, modulo 2**32. That is linear, so
    n pairs at once are sums weighted with Fibonacci numbers.
    """
    pairs = np.frombuffer(data, words).reshape(-1, 2).astype(np.uint32)
    weights = _fibonacci(2 * len(pairs) + 2)
    x, y = pairs[::-1, 0], pairs[::-1, 1]  # the last pair weighs least
    even, odd, beyond = weights[0:-2:2], weights[1:-1:2], weights[2::2]
    first = int((odd * x + even * y).sum(dtype=np.uint32))
    second = int((beyond * x + odd * y).sum(dtype=np.uint32))
    n = 2 * len(pairs)
    before, here, after = int(weights[n - 1]), int(weights[n]), int(weights[n + 1])
    s0, s1 = state
    mask = 0xFFFFFFFF
    return (before * s0 + here * s1 + first) & mask, (here * s0 + after * s1 + second) & mask


@cache
def _fibonacci(count: int) -> NDArray[np.uint32]:
    """Fibonacci numbers from F(0) = 0, modulo 2**32: uint32 (count,)."""
    numbers = [0, 1]
    for _ in range(count - 2):
        numbers.append((numbers[-1] + numbers[-2]) & 0xFFFFFFFF)
    return np.array(numbers, np.uint32)


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Read bytes; zeros where the disk cannot, or the file has ended."""
    try:
        file.seek(at)
        return file.read(size).ljust(size, b"\0")
    except OSError:  # a bad spot of the disk
        return bytes(size)
