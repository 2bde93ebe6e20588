"""The power is cut: what was promised is there, in order, and no number is used twice."""

from __future__ import annotations

from random import Random

import pytest

from soak.cut_loads import LOADS
from soak.cut_verdicts import judge
from soak.filesystems import impossible
from soak.log_cuts import cut, recorded_log, stretches
from soak.powercuts import Task, in_memory, main, record_and_cut
from soak.promises import Appended, Deleted, Journal

KINDS = ("lost", "used twice", "out of order", "set aside", "half", "unopened", "untold gaps")


def need_disks() -> None:
    """Skip where no power can be cut."""
    if reason := impossible():
        pytest.skip(f"POWER CUTS ABSENT: {reason}")


@pytest.mark.parametrize("load", LOADS)
def test_what_was_synced_survives_a_power_cut(tmp_path, load):
    """Whatever becomes of the writes that no flush followed, and on a card that lies."""
    need_disks()
    cuts = 100 if load == "outbox" else 20
    found = record_and_cut(Task("ext4", load, "short", cuts), tmp_path, Random(load), 0.2, 1)
    assert found.problems == ()
    assert found.counts["cuts"] == cuts * 4 // 5
    assert found.counts["lying: cuts"] == cuts // 5
    assert not any(found.counts.get(kind) for kind in KINDS)


def test_blocks_of_the_log_that_were_not_synced_cost_nothing(tmp_path):
    """Where any of those are missing that were written since: nothing synced is lost."""
    random = Random(11)
    with in_memory(tmp_path) as folder:
        journal, copies = recorded_log(folder / "live", random, 0.3)
        places = stretches(journal, copies)
        assert len(places) > 30
        for _ in range(100):
            found = cut(folder / "cut", journal, copies, random.choice(places), random)
            assert found.problems == []
            assert not found.counts["control lost"]


def test_a_cut_can_be_done_again(tmp_path, capsys, monkeypatch):
    """What was recorded is kept, with all that the same cut needs."""
    need_disks()
    record_and_cut(Task("ext4", "settings", "again", 5), tmp_path, Random(1), 0.1, 1)
    monkeypatch.setattr("sys.argv", ["powercuts", str(tmp_path), "--cut", "3"])
    assert main() == 0
    assert "all as promised" in capsys.readouterr().out
    assert (tmp_path / "cut-3" / "device" / "config.toml").exists()


def test_a_broken_promise_is_noticed(tmp_path):
    """Sightings that are missing, and numbers that are given again, are named."""
    journal = Journal(
        opened=0,
        ended=9,
        promises=[
            Appended(0, 1, {"a": 1, "b": 2}, ("a",)),
            Deleted(3, ("a",)),
            Appended(4, 6, {"c": 3}),
        ],
    )

    def said(after: int, lying: bool = False) -> str:
        folder = tmp_path / f"{after}-{lying}"
        folder.mkdir()
        return "; ".join(judge("outbox", folder, journal, after, lying).problems)

    assert said(0) == ""
    assert "2 sightings and 1 pictures are lost: a (1), b (2)" in said(1)
    assert "1 sightings and 1 pictures are lost: b (2)" in said(5)
    assert "1 is given, 3 was the highest before" in said(7)
    assert said(7, lying=True) == "1 is given, 3 was the highest before"
