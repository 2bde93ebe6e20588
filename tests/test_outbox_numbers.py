"""Numbers of sightings: none is given twice, whatever a start finds, and what is left out is said.

A card that lies acknowledges a flush and keeps the last few writes in memory: after a power cut the
disk is as it was some writes ago. Every sync of a file is at least one write.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from open_files import open_files
from samples import drain, image, sighting

from edge.errors import OutboxError
from edge.outbox import sequence_numbers as outbox_numbers
from edge.outbox.outbox import Outbox
from edge.outbox.sequence_numbers import LOST_WRITES, Numbers


class Card:
    """A folder and its states after each write that was synced, oldest first."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.states: list[dict[str, bytes]] = []
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._keeping(getattr(os, name)))

    def _keeping(self, sync):
        def keep(descriptor: int) -> None:
            sync(descriptor)
            self.keep()

        return keep

    def keep(self) -> None:
        """Remember the state; call it after a commit, which SQLite syncs."""
        files = [one for one in self.folder.iterdir() if one.suffix != ".db-shm"]
        self.states.append({one.name: one.read_bytes() for one in files if one.is_file()})

    def cut(self, writes: int) -> None:
        """Put the state of so many writes ago in place of the present one."""
        state = self.states[-1 - writes]
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        for name, content in state.items():
            (self.folder / name).write_bytes(content)
        self.states = [state] * LOST_WRITES  # it had time to be written


def said(outbox: Outbox) -> dict[str, Any]:
    """The newest sighting."""
    return json.loads(outbox.newest(limit=1)[0].payload)


@pytest.mark.parametrize("seed", range(3))
def test_a_card_that_loses_its_last_writes_makes_no_number_come_twice(tmp_path, monkeypatch, seed):
    """Cut again and again, also in the first moments of a start, between good stops."""
    random, folder = Random(seed), tmp_path / "card"
    folder.mkdir()
    given: set[int] = set()
    card = Card(folder, monkeypatch)
    for _ in range(12):
        outbox = Outbox(folder / "o.db")
        card.keep()
        for _ in range(random.choice((0, 1, 2, 5, 25))):
            new = outbox.append_many([sighting() for _ in range(random.choice((1, 3, 30, 300)))])
            card.keep()
            assert not given & set(new)
            given.update(new)
        if random.random() < 0.4:
            outbox.close()
            card.keep()
        if random.random() < 0.8:
            card.cut(random.randrange(min(LOST_WRITES, len(card.states))))
        with contextlib.suppress(Exception):
            outbox.close()
            if random.random() < 0.5:  # what the process did after the cut never reached the card
                card.cut(0)
    assert len(given) > 100


def test_a_good_stop_leaves_no_number_out(tmp_path):
    """Not with a lot given, not where all was delivered, not where a start gave none."""
    path, following = tmp_path / "o.db", 1
    for count in (1, 700, 0, 0, 3, 1):
        with Outbox(path) as outbox:
            seqs = outbox.append_many([sighting() for _ in range(count)])
            assert seqs == list(range(following, following + count))
            if count:
                assert said(outbox)["skipped"] == 0
            drain(outbox)
        following += count


def test_what_is_left_out_after_a_kill_is_said_by_the_next_sighting(tmp_path):
    """It says how many, the one after it none; a start without a sighting forgets nothing."""
    live, path = tmp_path / "live" / "o.db", tmp_path / "o.db"
    with Outbox(live) as outbox:
        for _ in range(40):
            outbox.append(sighting())
        for one in live.parent.iterdir():
            if not one.name.endswith("-shm"):
                shutil.copy(one, tmp_path)
    for _ in range(2):
        with Outbox(path) as outbox:
            outbox.append(image())
    with Outbox(path) as outbox:
        (seq,) = outbox.append_many([sighting()])
        assert 40 + 512 // 2 <= seq <= 40 + 1 + 512
        assert said(outbox)["skipped"] == seq - 41
        assert outbox.append(sighting()) == seq + 1
        assert said(outbox)["skipped"] == 0
        (first,) = [row for row in outbox.page(limit=100) if f'"seq":{seq},' in str(row.payload)]
        assert json.loads(first.payload)["skipped"] == seq - 41
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) == seq + 2
        assert said(outbox)["skipped"] == 0


def test_a_sighting_that_is_refused_leaves_what_is_left_out_to_the_next(tmp_path, connections):
    """A start that skips, a disk that refuses, then one that does not."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append(sighting())
    path.with_name("o.db.seq").write_text("below 300\n")
    with Outbox(path) as outbox:
        connections.writer.execute("PRAGMA query_only = 1")
        with pytest.raises(OSError, match="readonly"):
            outbox.append(sighting())
        connections.writer.execute("PRAGMA query_only = 0")
        assert outbox.append_many([image(), sighting(), sighting()]) == [0, 300, 301]
        skipped = [json.loads(row.payload)["skipped"] for row in outbox.newest(limit=2)]
    assert skipped == [0, 298]


@pytest.mark.parametrize(
    ("text", "number", "left_out"),
    [
        ("next 7", 7, 0),
        ("next 3", 5, 0),
        ("below 700", 700, 695),
        ("below 4", 5, 0),
        ("900", 5, 0),
        ("next 1", 5, 0),
        (f"next {2**53 - 1}", 2**53 - 1, 0),
        (f"next {2**53}", 1_000_000_000, None),
        ("next 0", 1_000_000_000, None),
        ("", 1_000_000_000, None),
        ("next", 1_000_000_000, None),
        ("\x00\x00", 1_000_000_000, None),
    ],
)
def test_a_start_goes_on_where_none_was_given(tmp_path, text, number, left_out):
    """By the file, by the database, or, where the file cannot be read, by the seconds since 1970.

    The first version's file, a number alone, counts only where its log is still there.
    """
    (tmp_path / "o.db.seq").write_text(text)
    following, skipped = Numbers(tmp_path / "o.db").begin(5)
    assert following == number or (number == 10**9 < following < 2**40)
    assert skipped == left_out or left_out is None


@pytest.mark.parametrize(("clock", "number"), [(7.5, 1_790_000_000), (2e9, 2_000_000_000)])
def test_numbers_of_a_file_that_cannot_be_read_go_on_at_the_seconds_since_1970(
    tmp_path, monkeypatch, clock, number
):
    """At those of September 2026 where the clock is not set; all below is said to be left out."""
    (tmp_path / "o.db.seq").write_text("torn")
    monkeypatch.setattr(time, "time", lambda: clock)
    assert Numbers(tmp_path / "o.db").begin(5) == (number, number - 5)


def test_a_disk_that_fails_to_read_the_file_is_tried_for_ten_seconds(tmp_path, monkeypatch):
    """Twenty times; then numbers go on at the seconds since 1970, for the file may stay so."""
    file, opened, slept = tmp_path / "o.db.seq", [], list[float]()
    file.write_text("next 41")

    def fails(path, *_):
        opened.append(path)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "open", fails)
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert Numbers(tmp_path / "o.db").begin(5) == (2_000_000_000, 2_000_000_000 - 5)
    assert opened == [file] * 20
    assert slept == [0.5] * 19


def test_what_lies_in_the_place_of_the_file_is_not_waited_for(tmp_path, monkeypatch):
    """It will be no other in a moment."""
    (tmp_path / "o.db.seq").mkdir()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    assert Numbers(tmp_path / "o.db").begin(5)[0] > 10**9


def test_the_first_versions_number_counts_after_a_kill(tmp_path):
    """Its log was not removed."""
    (tmp_path / "o.db.seq").write_text("900\n")
    (tmp_path / "o.db-wal").write_bytes(b"log")
    assert Numbers(tmp_path / "o.db").begin(5) == (900, 895)


def test_a_new_outbox_begins_at_one(tmp_path):
    """There is no file yet, and there is one with the first number."""
    numbers = Numbers(tmp_path / "o.db")
    assert numbers.begin(1) == (1, 0)
    numbers.end(1)
    assert not (tmp_path / "o.db.seq").exists()
    numbers.cover(1, 0)
    assert not (tmp_path / "o.db.seq").exists()
    numbers.cover(1, 1)
    assert (tmp_path / "o.db.seq").read_text().split() == ["below", "514"]


def test_the_file_is_written_when_half_is_used_and_the_one_before_covers_the_rest(
    tmp_path, monkeypatch
):
    """So that losing the newest version, and some commits, still leaves none to be given twice."""
    numbers, file = Numbers(tmp_path / "o.db"), tmp_path / "o.db.seq"
    numbers.begin(1)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    numbers.cover(1, 1)
    assert len(synced) == LOST_WRITES
    below, written = 514, []
    for seq in range(2, 2000):
        numbers.cover(seq, 1)
        numbers.committed()
        kind, now = file.read_text().split()[0], int(file.read_text().split()[1])
        assert kind == "below"
        if now != below:
            assert seq + 1 <= below - 255  # the version before covers 255 more
            written.append(seq)
        below = now
    assert len(synced) == LOST_WRITES  # never again: there were commits enough in between
    assert 6 <= len(written) <= 8
    numbers.cover(2000, 5000)
    assert len(synced) == 2 * LOST_WRITES  # as many as that are covered by the newest alone
    numbers.end(7000)
    assert file.read_text().split() == ["next", "7000"]
    assert len(file.read_bytes()) == 64
    assert Numbers(tmp_path / "o.db").begin(7000) == (7000, 0)


def test_it_takes_as_many_commits_as_a_card_may_lose_to_trust_a_version(tmp_path, monkeypatch):
    """One fewer, and the same is written over."""
    for commits, again in ((LOST_WRITES - 1, True), (LOST_WRITES, False)):
        numbers = Numbers(tmp_path / f"{commits}.db")
        numbers.begin(1)
        numbers.cover(1, 1)
        numbers.cover(300, 1)  # writes a version of which nothing is known yet
        synced: list[int] = []
        monkeypatch.setattr(os, "fdatasync", synced.append)
        for _ in range(commits):
            numbers.committed()
        numbers.cover(520, 1)  # not below the first version's 514
        assert bool(synced) is again
        monkeypatch.undo()


def test_a_card_is_taken_to_lose_fifteen_writes():
    """What was seen of cheap cards."""
    assert outbox_numbers.LOST_WRITES == 16


def below(folder: Path) -> int:
    """The number that stands in the file."""
    kind, number = (folder / "o.db.seq").read_text().split()
    assert kind == "below"
    return int(number)


def test_the_file_is_ahead_by_forty_commits(tmp_path):
    """By 512 numbers at least, and by forty commits of 64 at most; half of that is used before it
    is written again."""
    for count, ahead in ((1, 512), (12, 512), (20, 800), (64, 2560), (100, 2560)):
        numbers = Numbers(tmp_path / "o.db")
        numbers.cover(1, count)
        first = 1 + count + ahead
        assert below(tmp_path) == first
        half = first - ahead // 2
        numbers.cover(half - count, count)
        assert below(tmp_path) == first
        numbers.cover(half - count + 1, count)
        assert below(tmp_path) == half + 1 + ahead


def test_a_version_is_written_over_as_often_as_a_card_may_lose(tmp_path, monkeypatch):
    """Each write is synced before the next, and the name of the file too; a number that the
    version before covers needs none of it."""
    done, opened = [], open_files()

    def note(name):
        whole = getattr(os, name)

        def noted(descriptor, *more):
            done.append((name, os.readlink(f"/proc/self/fd/{descriptor}")))
            return whole(descriptor, *more)

        monkeypatch.setattr(os, name, noted)

    for name in ("fsync", "fdatasync", "pwrite"):
        note(name)
    numbers, file = Numbers(tmp_path / "o.db"), str(tmp_path / "o.db.seq")
    numbers.cover(1, 1)
    assert done[:2] == [("fsync", f"{file}.new"), ("fsync", str(tmp_path))]
    assert done[2:] == [("pwrite", file), ("fdatasync", file)] * LOST_WRITES
    done.clear()
    numbers.cover(300, 1)
    numbers.cover(513, 1)
    assert done == [("fsync", f"{file}.new"), ("fsync", str(tmp_path))]
    numbers.cover(514, 1)
    assert done[2:] == [("pwrite", file), ("fdatasync", file)] * LOST_WRITES
    assert open_files() <= opened


def test_a_file_that_is_gone_covers_nothing(tmp_path, monkeypatch):
    """It is made anew, and written over as the first was."""
    numbers = Numbers(tmp_path / "o.db")
    numbers.cover(1, 1)
    (tmp_path / "o.db.seq").unlink()
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    numbers.forget()
    numbers.cover(2, 1)
    assert below(tmp_path) == 515
    assert len(synced) == LOST_WRITES


def test_a_computer_out_of_descriptors_makes_no_number_of_the_time(tmp_path):
    """Whether there is a file, and what it says, is not known just now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "o.db.seq").write_text("next 7")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OutboxError, match="just now: Too many open files; try again"):
            Numbers(tmp_path / "o.db")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert Numbers(tmp_path / "o.db").begin(5) == (7, 0)
