"""SQLite's log, written here by the rules of its format, frame by frame."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from random import Random

import pytest

from edge.outbox.sqlite_wal import Log, checksum, damage, read_at

MASK = 0xFFFFFFFF
SALTS = struct.pack(">II", 0x01020304, 0xF5F6F7F8)
OTHER = struct.pack(">II", 0x01020303, 0xF5F6F7F8)
"""Of the use of the log before."""


def by_the_rule(data: bytes, state: tuple[int, int], order: str) -> tuple[int, int]:
    """A checksum word by word, as the format's description has it."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    s0, s1 = state
    for x, y in zip(words[::2], words[1::2], strict=True):
        s0 = (s0 + x + s1) & MASK
        s1 = (s1 + y + s0) & MASK
    return s0, s1


class Written:
    """A log as SQLite writes it."""

    def __init__(self, order: str = "<", page_bytes: int = 1024) -> None:
        self.order, self.page_bytes = order, page_bytes
        magic = 0x377F0682 + (order == ">")
        header = struct.pack(">IIII", magic, 3007000, page_bytes, 0) + SALTS
        self._state = by_the_rule(header, (0, 0), order)
        self.data = bytearray(header + struct.pack(">II", *self._state))

    def frame(
        self, number: int, size: int = 0, salts: bytes = SALTS, page: bytes | None = None
    ) -> int:
        """Add a page, with a size that of a commit; give where the page begins."""
        at = len(self.data)
        page = Random(at).randbytes(self.page_bytes) if page is None else page
        front = struct.pack(">II", number, size)
        self._state = by_the_rule(front + page, self._state, self.order)
        self.data += front + salts + struct.pack(">II", *self._state) + page
        return at + 24

    def log(self, page_bytes: int | None = None) -> Log:
        """Read it."""
        return Log(io.BytesIO(bytes(self.data)), page_bytes)


@pytest.mark.parametrize(("words", "order"), [("<u4", "<"), (">u4", ">")])
@pytest.mark.parametrize("pairs", [1, 2, 3, 128, 515])
def test_a_checksum_is_that_of_the_format(words, order, pairs):
    """From any state on, for any number of pairs of words."""
    random = Random(pairs)
    data = random.randbytes(8 * pairs)
    for state in ((0, 0), (1, 0), (0, 1), (random.getrandbits(32), random.getrandbits(32))):
        assert checksum(data, state, words) == by_the_rule(data, state, order)
    half = 8 * (pairs // 2)
    if half:
        first = checksum(data[:half], (5, 6), words)
        assert checksum(data[half:], first, words) == checksum(data, (5, 6), words)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("page_bytes", [1024, 4096])
def test_the_newest_version_of_each_committed_page_is_found(order, page_bytes):
    """What is behind the last commit does not count; the file may end in the middle of a frame."""
    written = Written(order, page_bytes)
    written.frame(1)
    two = written.frame(2, 2)
    one = written.frame(1, 2)
    for uncommitted in (False, True):
        if uncommitted:
            written.frame(2)
            written.data += bytes(24 + page_bytes - 1)
        log = written.log()
        assert log.page_bytes == page_bytes
        assert (log.committed, log.sound) == (3, 3)
        assert log.places == log.taken == {1: one, 2: two}
        assert log.behind == {}


def test_a_frame_without_its_last_byte_is_none():
    """Though that byte was a zero: it was not written whole."""
    written = Written()
    one = written.frame(1, 1)
    two = written.frame(2, 2, page=bytes(1024))
    assert written.log().places == {1: one, 2: two}
    del written.data[-1]
    log = written.log()
    assert (log.committed, log.sound, log.places) == (1, 1, {1: one})


@pytest.mark.parametrize("order", ["<", ">"])
def test_behind_a_spoilt_frame_nothing_is_taken_and_the_rest_is_named(order):
    """What is committed there, and sound by itself, can be read all the same."""
    written = Written(order)
    one = written.frame(1, 1)
    two, three = written.frame(2), written.frame(3, 3)
    four, five = written.frame(4), written.frame(5, 5)
    written.data[two + 100] ^= 1
    log = written.log()
    assert (log.committed, log.sound) == (5, 1)
    assert log.taken == {1: one}
    assert log.places == {1: one, 2: two, 3: three, 4: four, 5: five}
    assert log.behind == {3: three, 4: four, 5: five}


def test_frames_of_an_earlier_use_and_of_no_page_do_not_count():
    """Nor is anything taken behind them."""
    for spoilt in ({"salts": OTHER}, {"number": 0}, {"salts": SALTS[:4] + OTHER[:4]}):
        written = Written()
        one = written.frame(1, 1)
        written.frame(**{"number": 2, "size": 2} | spoilt)
        three = written.frame(3, 3)
        log = written.log()
        assert (log.committed, log.sound) == (3, 1)
        assert log.taken == {1: one}
        assert log.places == {1: one, 3: three}
        assert log.behind == {3: three}


@pytest.mark.parametrize("page_bytes", [1024, 4096])
def test_a_log_whose_header_is_lost_goes_by_its_first_frame(page_bytes):
    """Its pages have the size that the database says; SQLite takes none of them."""
    written = Written(page_bytes=page_bytes)
    one, two = written.frame(1), written.frame(2, 2)
    written.data[:32] = bytes(32)
    log = written.log(page_bytes)
    assert log.page_bytes == page_bytes
    assert (log.committed, log.sound) == (2, 0)
    assert log.places == {1: one, 2: two}
    assert log.behind == {2: two}  # the first one's checksum began with the header's
    assert written.log().page_bytes == 1024


@pytest.mark.parametrize("at", [1, 9, 13, 17, 23, 24, 31])
def test_a_header_with_any_wrong_byte_is_no_header(at):
    """Its salts are taken from the first frame."""
    written = Written()
    one, two = written.frame(1), written.frame(2, 2)
    written.data[at] ^= 0x80
    log = written.log(1024)
    assert (log.committed, log.sound) == (2, 0)
    assert log.places == {1: one, 2: two}
    assert log.taken == {}


def test_a_log_that_was_just_begun_holds_nothing():
    """No frame, not even a header, or a header that is the only thing."""
    for data in (b"", bytes(20), bytes(Written().data)):
        log = Log(io.BytesIO(data))
        assert (log.committed, log.sound, log.places) == (0, 0, {})


def test_damage_is_told_in_pages(tmp_path):
    """None where there is no log, or one that is sound."""
    path = tmp_path / "o.db"
    assert damage(path) is None
    written = Written()
    for number in range(1, 6):
        at = written.frame(number, number)
    Path(f"{path}-wal").write_bytes(written.data)
    assert damage(path) is None
    written.data[at - 24 - 1024 + 30] ^= 1
    Path(f"{path}-wal").write_bytes(written.data)
    assert damage(path) == "of the 5 pages in its log, 2 cannot be used"


def test_what_a_disk_cannot_read_is_zeros(tmp_path):
    """So is what lies behind the end of the file."""
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file:
        assert read_at(file, 3, 4) == b"3456"
        assert read_at(file, 8, 4) == b"89\0\0"
        assert read_at(file, 2, 2) == b"23"

    class Bad(io.BytesIO):
        def read(self, _size=-1):
            raise OSError(5, "Input/output error")

    assert read_at(Bad(b"0123"), 0, 4) == bytes(4)
