"""Attempt after attempt to carry messages: scripted connections, a clock by hand, no thread."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta

import pytest
from attempts import NETWORK, Field, Line, ending

from edge.errors import ConfigError, PublishError, StalledError


@pytest.fixture
def field(tmp_path):
    """A publisher with waits from one second to sixteen."""
    made = Field(tmp_path)
    yield made
    made.outbox.close()


def test_waits_between_attempts_double_and_are_spread(field):
    """Between half and whole, up to the longest; the failures are counted and named."""
    refused = PublishError("nobody listens")
    assert [field.attempt(refused) for _ in range(6)] == [1, 2, 4, 8, 16, 16]
    assert field.attempt(refused, spread=0.0) == 8
    assert field.counters["broker_failures"] == 7
    assert field.counters["connects"] == 0
    assert field.problem("broker") == "nobody listens"


@pytest.mark.parametrize(("seconds", "wait"), [(10.0, 4), (10.1, 1)])
def test_a_connection_that_lasted_starts_the_waits_over(field, seconds, wait):
    """Longer than ten seconds, counted from when it was there, not from when it was dialled."""
    for _ in range(2):
        field.attempt(PublishError("no"))
    field.dialling_seconds = 60.0
    lasting = ending(NETWORK, 1, lambda _, number: field.clock.forward(seconds * (number == 1)))
    assert field.attempt(lasting) == wait
    assert field.lines[0].closed == 1


def test_a_connection_that_delivered_starts_the_waits_over(field):
    """However short it was."""
    field.sight()
    assert [field.attempt(PublishError("no")) for _ in range(3)] == [1, 2, 4]
    assert field.attempt(ending(NETWORK, 2)) == 1
    assert field.counters["delivered"] == 1
    assert field.outbox.depth().waiting == 0


def test_a_connection_that_stalled_does_not(field):
    """It lasted only because nobody answered; it is an episode of its own, not of the broker."""

    def still(line: Line, _number: int) -> None:
        line.answers = False
        field.clock.forward(20)

    assert [field.attempt(ending(NETWORK, 10, still)) for _ in range(2)] == [1, 2]
    assert field.counters["broker_failures"] == 2
    assert field.problem("broker") is None
    assert "is not acknowledged" in field.problem("acknowledgements")


def test_a_standstill_is_named_after_half_the_time_to_acknowledge(tmp_path):
    """Here half of ten seconds; after ten the connection ends."""
    field = Field(tmp_path, {"acknowledge_seconds": 10.0})
    named = []

    def still(line: Line, _number: int) -> None:
        line.answers = False
        named.append(field.problem("acknowledgements") is not None)
        field.clock.forward(1)

    field.attempt(ending(NETWORK, 100, still))
    assert named == [False] * 6 + [True] * 5
    assert field.counters.errors() == {"StalledError": 2}


def test_a_setting_that_cannot_be_used_is_named_and_tried_again(field):
    """Such as a certificate that is not there yet."""
    assert field.attempt(ConfigError("broker.tls.ca: no such file")) == 1
    assert field.problem("broker") == "broker.tls.ca: no such file"
    assert field.counters["broker_failures"] == 1


def test_a_fault_is_logged_and_gone_on_after_ten_in_a_row_end_the_thread(field, caplog):
    """Bad luck is gone on after."""
    for _ in range(9):
        field.attempt(ValueError("bad luck"))
    assert field.problem("broker") == "bad luck"
    assert caplog.text.count("the publisher failed") == 9
    assert field.counters["broker_failures"] == 0
    with pytest.raises(ValueError, match="bad luck"):
        field.attempt(ValueError("bad luck"))


@pytest.mark.parametrize(("seconds", "goes_on"), [(10.0, False), (10.1, True)])
def test_a_fault_after_a_time_that_went_well_begins_a_new_row(field, seconds, goes_on):
    """Longer than ten seconds."""

    def lasting(_line: Line) -> None:
        field.clock.forward(seconds)
        raise ValueError("bad luck")

    faults = [*[ValueError("bad luck")] * 9, lasting, *[ValueError("bad luck")] * 8]
    gone_on = 0
    with contextlib.suppress(ValueError):
        for gone_on, fault in enumerate(faults, 1):  # noqa: B007
            field.attempt(fault)
    assert gone_on == (18 if goes_on else 10)


def test_a_connection_is_woken_while_it_stands_and_never_after(field):
    """By news, and by what is to be sent though not in the outbox."""
    field.bell.ring()
    field.attempt(ending(NETWORK, 1, lambda _, n: field.bell.ring() if n == 1 else None))
    (line,) = field.lines
    assert line.woken == 1
    field.bell.ring()
    field.bell.news()
    assert line.woken == 1


def test_news_is_looked_for_when_it_is_told(field):
    """A sighting that comes up while the connection stands goes out over it; the state follows."""

    def news(_line: Line, number: int) -> None:
        field.clock.forward(6)
        if number == 4:
            field.sight()

    field.attempt(ending(NETWORK, 12, news))
    (line,) = field.lines
    assert line.topics() == ["availability", "info", "state", "sighting", "state"]
    assert line.woken == 1


def test_settings_reach_the_delivery(tmp_path):
    """The window, the age from which a sighting is historical, and what holds it back."""
    held = [True]
    field = Field(tmp_path, {"window": 3, "historical_after_seconds": 2.0}, hold=lambda: held[0])
    field.sight(1)
    field.clock.time += timedelta(milliseconds=1)
    field.sight(4)
    field.clock.time += timedelta(milliseconds=1999)
    said: list[int] = []

    def watch(line: Line, number: int) -> None:
        line.answers = number != 1
        said.append(line.topics().count("sighting"))
        held[0] = number < 1
        field.bell.news()

    field.attempt(ending(NETWORK, 3, watch))
    assert said == [0, 0, 3, 5]
    sent = [one for one in field.lines[0].said if one.topic.endswith("/sighting")]
    assert [b'"historical":true' in one.payload for one in sent] == [True] + [False] * 4


def test_what_is_under_way_is_settled_when_the_connection_ends(field):
    """What was acknowledged leaves the disk, though the tenth of a second had not passed."""
    field.sight(2)

    def half(line: Line, number: int) -> None:
        line.answers = False
        if number == 0:
            line.acknowledge(*line.mids[:-1])

    field.attempt(ending(NETWORK, 1, half))
    assert field.outbox.depth().waiting == 1


def test_closing_says_goodbye_in_the_time_it_is_given(field):
    """All that waits goes out first; the attempt ends as one that went well."""
    field.sight(2)
    field.attempt(lambda _: field.publisher.close(2.0))
    (line,) = field.lines
    assert line.topics()[:4] == ["availability", "info", "sighting", "sighting"]
    assert line.said[-1].payload == b"offline"
    assert line.goodbyes == 1
    assert line.closed == 1
    assert line.woken > 0
    assert field.counters["broker_failures"] == 0
    assert field.outbox.depth().waiting == 0


def test_closing_waits_for_no_broker_longer_than_it_was_given(field):
    """Two seconds for what waits, and two for goodbye."""
    field.sight()

    def mute(line: Line) -> None:
        line.answers = False
        if field.clock.seconds == 1000:
            field.publisher.close(2.0)
        field.clock.forward(0.5)

    field.attempt(mute)
    assert 1004 <= field.clock.seconds <= 1005.5
    assert field.outbox.depth().waiting == 1


def test_the_thread_tries_again_until_it_is_told_to_end(tmp_path):
    """Each time with the wait it was given; then it ends, and is joined."""
    before = threading.active_count()
    field = Field(tmp_path, {"retry_min_seconds": 0.05, "retry_max_seconds": 0.05})
    there, begun = threading.Event(), threading.Event()

    def stand(_line: Line) -> None:
        there.set()
        begun.wait(10)

    field.plan = [PublishError("no"), ending(NETWORK), stand]
    field.publisher.start()
    assert there.wait(10)
    threading.Timer(0.01, begun.set).start()
    field.publisher.close()
    assert not field.counters.crew.ended
    assert threading.active_count() == before
    assert field.plan == []
    assert field.counters["connects"] == 2


def test_a_stall_is_an_error_of_its_own(field):
    """Counted, though not named as the broker's."""
    field.attempt(ending(StalledError("slow"), 0))
    assert field.counters.errors() == {"StalledError": 1}
    assert field.problem("broker") is None
