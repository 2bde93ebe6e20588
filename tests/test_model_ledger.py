"""How long something took, over runs of the program, by a clock that is set by hand."""

from __future__ import annotations

from edge.errors import StoreError
from edge.updates.elapsed import Ledger


def test_seconds_are_written_down_before_they_pass():
    """A kill at any moment makes them more; a stop in good order sets them right."""
    time, written = [100.0], list[float]()
    ledger = Ledger(written.append, 5.0, 600.0, lambda: time[0])
    ledger.tick()
    assert written == [35.0]
    time[0] += 29.0
    ledger.tick()
    assert written == [35.0]
    time[0] += 1.0
    ledger.tick()
    assert written == [35.0, 65.0]
    ledger.settle()
    assert written[-1] == ledger.seconds == 35.0
    assert not ledger.over
    time[0] += 565.0
    assert ledger.over
    short = Ledger(written.append, 0.0, 2.0, lambda: time[0])
    short.tick()
    assert written[-1] == 0.2


def test_a_disk_that_refuses_costs_a_count_and_nothing_else():
    """The seconds go on."""

    def refuse(_seconds):
        raise StoreError("full")

    time = [0.0]
    ledger = Ledger(refuse, 0.0, 10.0, lambda: time[0])
    ledger.tick()
    time[0] = 10.0
    ledger.settle()
    assert ledger.over
