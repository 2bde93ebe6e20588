"""How pictures to learn from lie on disk, and how many bytes a day may leave."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import partial
from types import FrameType

import pytest
from pictures import JPEG, item, names, unsent

from edge.errors import PictureStoreError
from edge.feedback.picture_store import PictureStore
from edge.messages.feedback import Kept
from edge.system import files


def test_an_item_is_two_files_that_a_person_can_read(tmp_path):
    """Time, reason and id are the name; JPEG and JSON lie side by side."""
    spool = PictureStore(tmp_path / "inbox", 10**7)
    assert spool.add(item(id="00c0ffee00c0ffee"), JPEG)
    stem = "20260621T090000Z_unknown_00c0ffee00c0ffee"
    assert names(spool) == [f"{stem}.jpg", f"{stem}.json"]
    assert (spool.folder / f"{stem}.jpg").read_bytes() == JPEG
    assert json.loads((spool.folder / f"{stem}.json").read_bytes())["kept"] == "unknown"


def test_the_least_useful_goes_first_when_there_is_no_room(tmp_path):
    """What was sent, then odd frames, unsure ones, unknown ones, random ones; each oldest first."""
    spool = PictureStore(tmp_path, 10**9)
    order: list[Kept] = [
        "random",
        "unknown",
        "low-confidence",
        "disagreement",
        "low-confidence",
        "unknown",
    ]
    for number, why in enumerate(order):
        spool.add(item(why, number, f"{number:016x}"), JPEG)
    spool.mark_sent(f"{5:016x}")
    left, gone = set(range(6)), list[int]()
    while left:
        spool.max_bytes = spool.bytes
        spool.add(item("random", 99, f"{99 - len(gone):016x}"), b"")
        there = {int(path.stem.split("_")[2].split(".")[0], 16) for path in tmp_path.glob("*.json")}
        gone += left - there
        left &= there
    assert gone == [5, 3, 2, 4, 1, 0]
    assert spool.dropped == 6


def test_what_is_worth_less_than_all_that_is_there_is_not_kept(tmp_path):
    """A full folder of random pictures gives none of them up for an unsure one."""
    spool = PictureStore(tmp_path, 10**9)
    spool.add(item("random"), JPEG)
    spool.max_bytes = spool.bytes + 100
    assert not spool.add(item("low-confidence"), JPEG)
    assert [stem.split("_")[1] for stem in unsent(tmp_path)] == ["random"]
    assert spool.dropped == 1


def test_what_a_power_cut_left_half_is_cleared_away_and_nothing_else(tmp_path):
    """Pictures without their JSON, the reverse, and unfinished files go; foreign files stay."""
    spool = PictureStore(tmp_path, 10**7)
    for number in range(4):
        spool.add(item(seconds=number, id=f"{number:016x}"), JPEG)
    spool.mark_sent(f"{3:016x}")
    stems = unsent(tmp_path)
    (tmp_path / f"{stems[0]}.json").unlink()
    (tmp_path / f"{stems[1]}.jpg").unlink()
    (tmp_path / "20260621T090009Z_random_00000000000000ff.jpg.new").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "holiday.jpg").write_bytes(JPEG)
    again = PictureStore(tmp_path, 10**7)
    assert unsent(tmp_path) == [stems[2]]
    assert again.unsent == 1
    assert len(again) == 2
    assert again.bytes == sum(p.stat().st_size for p in tmp_path.glob("2026*"))
    assert {"notes.txt", "holiday.jpg"} < set(names(again))
    assert len(names(again)) == 6


@pytest.mark.parametrize("refused", ["jpg", "json"])
def test_a_disk_that_refuses_leaves_nothing_half(tmp_path, monkeypatch, refused):
    """Neither file stays, the error says so, and the next picture is kept."""
    spool, whole = PictureStore(tmp_path, 10**7), files.write_whole

    def full(path, data):
        if path.suffix == f".{refused}":
            raise OSError(28, "No space left on device")
        whole(path, data)

    monkeypatch.setattr("edge.feedback.picture_store.write_whole", full)
    with pytest.raises(PictureStoreError, match="No space left on device"):
        spool.add(item(), JPEG)
    assert names(spool) == []
    assert (len(spool), spool.bytes) == (0, 0)
    monkeypatch.undo()
    assert spool.add(item(), JPEG)


def test_room_for_sightings_is_left_alone(tmp_path):
    """Below the space that stays free nothing is kept, and the cure is named."""
    spool = PictureStore(tmp_path, 10**7, min_free_bytes=10**18)
    with pytest.raises(PictureStoreError, match=r"inbox\.min_free_bytes"):
        spool.add(item(), JPEG)
    assert names(spool) == []


def test_reasons_are_asked_for_by_their_oldest(tmp_path):
    """Of those that were not sent, in a folder found and in one that is added to."""
    spool = PictureStore(tmp_path, 10**9)
    order: list[Kept] = ["unknown", "random", "unknown", "random"]
    for number, why in enumerate(order):
        spool.add(item(why, number, f"{number:016x}"), JPEG)
    spool.mark_sent(f"{0:016x}")
    spool.drop(f"{1:016x}")
    for one in (spool, PictureStore(tmp_path, 10**9)):
        oldest = [one.oldest_unsent(why) for why in ("unknown", "random", "disagreement")]
        assert [entry and int(entry.id, 16) for entry in oldest] == [2, 3, None]
        assert one.unsent == 2


def count(calls: Counter[str], _frame: FrameType, event: str, _what: object) -> None:
    """Count what the interpreter tells of."""
    calls[event] += 1


def test_what_a_smaller_bound_costs_does_not_grow_with_the_square_of_what_is_there(tmp_path):
    """Counted in calls of functions: twice as many pictures that go cost about twice as much."""
    called = []
    for many in (100, 200):
        spool = PictureStore(tmp_path / str(many), 10**9)
        for number in range(many):
            stem = spool.folder / f"20260621T090000Z_random_{number:016x}"
            for end in ("jpg", "json"):
                stem.with_suffix(f".{end}").touch()
        spool = PictureStore(spool.folder, max_bytes=2 * len(JPEG))
        spool.bytes += 10**6  # files without bytes take no time to make
        calls = Counter[str]()
        sys.setprofile(partial(count, calls))
        try:
            assert not spool.add(item("random"), JPEG)
        finally:
            sys.setprofile(None)
        assert len(spool) == 0
        called.append(calls["call"])
    assert called[1] < 2.5 * called[0]
