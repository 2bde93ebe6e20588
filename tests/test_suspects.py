"""What is known of messages at which connections broke, without any connection."""

from __future__ import annotations

import pytest
from clocks import Hand

from edge.mqtt.denials import Denials
from edge.mqtt.poison_messages import Suspects
from edge.outbox.rows import Kind, Row


def row(number: int, kind: Kind = Kind.SIGHTING, size: int = 100) -> Row:
    """A row of the outbox."""
    return Row(number, kind, "sighting", bytes(size), 0)


@pytest.fixture
def clock():
    """A clock by hand."""
    return Hand()


@pytest.fixture
def suspects(clock):
    """Nobody is suspected yet; rests begin with ten seconds."""
    return Suspects(Denials(10.0, clock.monotonic))


def broken_alone(suspects: Suspects, one: Row, most: int = 20) -> int:
    """Break connections with this one alone under way, until it is set back; give how many."""
    for count in range(1, most):
        suspects.broke([one.row], one, "it hung up")
        if suspects.is_back(one.row):
            return count
    return most


def rest(suspects: Suspects, clock: Hand) -> float:
    """After how many seconds what is set back is due."""
    waited = 0.0
    while suspects.due() is None:
        clock.forward(1)
        waited += 1
    return waited


@pytest.mark.parametrize(("kind", "breaks"), [(Kind.SIGHTING, 5), (Kind.IMAGE, 3)])
def test_sightings_have_five_breaks_and_pictures_three(suspects, kind, breaks):
    """More for what matters more."""
    assert broken_alone(suspects, row(1, kind)) == breaks


@pytest.mark.parametrize(("kind", "breaks"), [(Kind.SIGHTING, 4), (Kind.IMAGE, 2)])
def test_breaks_together_spare_one_alone(suspects, kind, breaks):
    """Two in a row count as one: a picture is sent four times, with others or alone."""
    for _ in range(2):
        suspects.broke([1, 2], row(1, kind), "it hung up")
    assert broken_alone(suspects, row(1, kind)) == breaks
    assert f"({breaks} times with nothing else" in suspects.back[0].why
    suspects.cleared(2)
    assert broken_alone(suspects, row(2, kind)) == breaks + 1, "it was taken meanwhile"


def test_what_the_device_says_of_itself_carries_no_backlog_on(suspects):
    """That it passes between two breaks acquits no message of the outbox."""
    suspects.broke(["info", 1, 2], row(1), "it hung up")
    suspects.cleared("info")
    suspects.broke([1, 2], row(1), "it hung up")
    assert suspects.careful
    assert broken_alone(suspects, row(1)) == 4


def test_one_break_together_is_no_evidence(suspects):
    """While others are looked at, too."""
    suspects.set_back(row(9), "no")
    suspects.broke([1, 2], row(1), "it hung up")
    assert broken_alone(suspects, row(1, Kind.IMAGE)) == 3


def test_after_a_break_alone_it_goes_alone_again(suspects):
    """Until it is taken: with others under way nobody would know who it was."""
    suspects.broke([1], row(1), "it hung up")
    assert suspects.careful
    suspects.cleared(1)
    assert not suspects.careful


def test_what_was_taken_is_counted_anew(suspects):
    """Breaks in between are forgotten, and so are rests and who passed meanwhile."""
    for _ in range(4):
        suspects.broke([1], row(1), "it hung up")
    suspects.cleared(1)
    assert broken_alone(suspects, row(1)) == 5


def test_what_is_set_back_and_taken_after_all_leaves_nothing_behind(suspects, clock):
    """Set back again it rests as at first, and nothing is proved of it."""
    suspects.set_back(row(1), "no")
    assert suspects.found(row(2)) == []
    suspects.set_back(row(1), "no")
    assert suspects.guilty(1)
    suspects.cleared(1)
    assert suspects.back == ()
    assert not suspects.careful
    suspects.set_back(row(1), "no")
    assert not suspects.guilty(1)
    assert rest(suspects, clock) == 10


def test_rests_grow(suspects, clock):
    """Each time it is set back again."""
    for expected in (10, 20, 40):
        suspects.set_back(row(1), "no")
        assert rest(suspects, clock) == expected


def test_two_sightings_in_a_row_acquit_all_messages(suspects, clock):
    """All are in their places again as if nothing had been; pictures blame nobody."""
    suspects.set_back(row(5), "no")
    suspects.set_back(row(7, Kind.IMAGE), "no")
    assert not suspects.blameless
    suspects.found(row(6))
    suspects.set_back(row(3), "no")
    assert suspects.blameless
    assert [one.row.row for one in suspects.back] == [3, 5, 7]
    assert suspects.acquit() == 3
    assert suspects.back == ()
    assert not suspects.careful
    suspects.set_back(row(5), "no")
    assert not suspects.guilty(5)
    suspects.cleared(5)
    suspects.set_back(row(3), "no")
    assert rest(suspects, clock) == 10


def test_what_was_alone_when_it_broke_is_tried_again_alone(suspects, clock):
    """When it has rested it is still the one that is looked at."""
    broken_alone(suspects, row(1))
    clock.forward(11)
    assert suspects.due() == 1
    assert not suspects.back
    assert suspects.careful


def test_of_what_is_not_there_any_more_nobody_waits(suspects):
    """The outbox or the parcels have nothing more of it."""
    for _ in range(2):
        assert not suspects.careful
        suspects.broke(["spare", "info", 1], None, "it hung up")
    suspects.absent("spare")
    suspects.absent("info")
    assert suspects.careful
    suspects.none_waits()
    assert not suspects.careful


def settled_after_breaks(suspects: Suspects, one: Row) -> None:
    """Prove by breaks that this is the one, and put it away."""
    broken_alone(suspects, one)
    for suspect in suspects.found(row(one.row + 1)):
        suspects.settled(suspect)


def test_pictures_as_large_as_one_that_broke_connections_need_one_break(suspects):
    """The smallest that was found out counts; smaller ones, and sightings, need as many as ever."""
    settled_after_breaks(suspects, row(1, Kind.IMAGE, 500))
    assert suspects.back == ()
    assert not suspects.careful
    assert broken_alone(suspects, row(3, Kind.IMAGE, 499)) == 3
    for suspect in suspects.found(row(4)):
        suspects.settled(suspect)
    settled_after_breaks(suspects, row(5, Kind.IMAGE, 600))
    assert broken_alone(suspects, row(7, Kind.IMAGE, 499)) == 1
    assert broken_alone(suspects, row(8, Kind.IMAGE, 498)) == 3
    assert broken_alone(suspects, row(9, Kind.SIGHTING, 700)) == 5


def test_what_was_refused_in_words_teaches_no_size(suspects):
    """Nor does a sighting: only pictures are often large."""
    suspects.set_back(row(1, Kind.IMAGE, 500), "no")
    for suspect in suspects.found(row(2)):
        suspects.settled(suspect)
    broken_alone(suspects, row(3))
    suspects.settled(suspects.back[0])
    assert broken_alone(suspects, row(4, Kind.IMAGE, 600)) == 3


def test_a_picture_that_passes_proves_nothing_of_a_sighting(suspects):
    """Of another picture it does."""
    suspects.set_back(row(1), "no")
    suspects.set_back(row(2, Kind.IMAGE), "no")
    assert [one.row.row for one in suspects.found(row(3, Kind.IMAGE))] == [2]
    suspects.set_back(row(1), "no")
    assert not suspects.guilty(1)
    assert suspects.due() is None
    suspects.found(row(4))
    assert suspects.due() == 1
