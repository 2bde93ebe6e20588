"""Attempt after attempt to carry messages: scripted connections, a clock by hand, no thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from clocks import Hand
from msgspec.structs import replace
from samples import image, sighting
from senders import publisher
from wires import ScriptedWire

from edge.config import Broker
from edge.errors import ConfigError, LostError, OutboxError, PublishError, StalledError
from edge.mqtt.introduction import Introduction
from edge.mqtt.wire import Limits
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.system.bell import Bell
from edge.system.counters import Counters

BASE = "wheatear/cam-1"
HUNG_UP = LostError("lost", "it hung up", hung_up=True)
NETWORK = LostError("the network is gone")


class Line(ScriptedWire):
    """A connection on which each poll first does what a test wants; all is answered at once."""

    def __init__(self, does: Callable[[Line], object], limits: Limits, protocol: str) -> None:
        super().__init__(limits=limits, protocol=protocol)
        self.does, self.answers, self.closed, self.woken = does, True, 0, 0
        self.left: set[int] = set()

    def poll(self, timeout_seconds: float):
        """Do that, then answer."""
        self.does(self)
        if self.answers:
            self.acknowledge(*(mid for mid in self.mids if mid not in self.left))
            self.left = set(self.mids)
        return super().poll(timeout_seconds)

    def wake(self) -> None:
        """Count it."""
        self.woken += 1

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class Field:
    """A publisher, and the connections that a test gives it, one after the other."""

    def __init__(self, folder, broker: dict | None = None, **more) -> None:
        self.clock, self.counters, self.bell = Hand(), Counters(), Bell()
        self.clock.forward(1000)  # of no meaning, as those of a computer
        self.outbox = Outbox(folder / "o.db")
        self.limits, self.protocol, self.lines, self.dialled = Limits(), "5", [], []
        self.plan: list[object] = []
        self.dialling_seconds, self.pings = 0.0, []
        self.publisher = publisher(
            Broker(**{"retry_min_seconds": 1.0, "retry_max_seconds": 16.0, **(broker or {})}),
            self.outbox,
            self.counters,
            self.bell,
            clock=self.clock,
            dial=self.dial,
            **more,
        )

    def dial(self, broker, client_id, will, speaks_5, most_bytes):
        """Give the next connection, or the error that a test put there."""
        self.dialled.append(SimpleNamespace(id=client_id, will=will, v5=speaks_5, most=most_bytes))
        self.pings.append(broker.keepalive_seconds)
        self.clock.forward(self.dialling_seconds)
        does = self.plan.pop(0)
        if isinstance(does, Exception):
            raise does
        line = Line(does, self.limits, self.protocol)
        self.lines.append(line)
        return line

    def attempt(self, does: object, spread: float = 1.0) -> float:
        """Make one attempt that goes like this."""
        self.plan.append(does)
        return self.publisher.attempt(spread)

    def sight(self, count: int = 1) -> None:
        """Write sightings, and say so."""
        self.outbox.append_many([replace(sighting(), time=self.clock.now()) for _ in range(count)])
        self.bell.news()

    def problem(self, what: str) -> str | None:
        """What is failing now, in words."""
        found = [one for one in self.counters.problems() if one.startswith(f"{what}: ")]
        return found[0].removeprefix(f"{what}: ") if found else None


def ending(error: Exception, polls: int = 0, does: Callable[[Line, int], object] | None = None):
    """Give a script: so many polls go well, then the connection ends like this."""
    count = iter(range(10**6))

    def step(line: Line) -> None:
        number = next(count)
        if does is not None:
            does(line, number)
        if number >= polls:
            line.breaks = error

    return step


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


def test_who_we_are_and_what_the_broker_says_when_we_break(tmp_path):
    """The id, the last will, the version once it is known, and how large a request may be."""
    inlet = SimpleNamespace(topics=None, verbs=(), most_bytes=77, answers=list)
    field = Field(tmp_path, requests=inlet)
    for _ in range(2):
        field.attempt(ending(NETWORK))
    first, second = field.dialled
    assert (first.id, first.most) == ("wheatear-cam-1", 77)
    assert (first.will.topic, first.will.payload) == (f"{BASE}/availability", b"offline")
    assert first.will.retain
    assert [first.v5, second.v5] == [False, True]


def test_without_requests_nothing_is_said_of_their_size(field):
    """And a broker of 3.1.1 is not taken for one of 5."""
    field.protocol = "3.1.1"
    for _ in range(2):
        field.attempt(ending(NETWORK))
    assert [one.most for one in field.dialled] == [None, None]
    assert [one.v5 for one in field.dialled] == [False, False]


def test_every_connection_begins_with_who_we_are(field):
    """Online, and the description for the version agreed; what is renewed is said once more."""
    others = []
    for _ in range(2):
        field.attempt(ending(NETWORK, 3))
    first, second = ({one.topic: one.payload for one in line.said} for line in field.lines)
    assert first == second
    assert first[f"{BASE}/availability"] == b"online"
    assert first[f"{BASE}/info"] == b'{"protocol": "5"}'
    assert field.counters["connects"] == 2

    def renewed(line: Line, number: int) -> None:
        others.append(line.topics())
        if number == 2:
            field.bell.renew(f"{BASE}/info")
        if number == 4:
            field.bell.renew()

    field.attempt(ending(NETWORK, 6, renewed))
    topics = [one for one in field.lines[2].topics() if one != "state"]
    assert topics == ["availability", "info", "info", "availability", "info"]
    assert field.lines[2].woken == 2


def test_what_is_renewed_does_not_wait_for_a_backlog(field):
    """What the broker knows already does."""
    field.limits = Limits(receive_maximum=1)
    field.attempt(ending(NETWORK, 5))
    field.sight(20)
    field.attempt(ending(NETWORK, 5))
    assert "info" not in field.lines[1].topics()
    field.bell.renew(f"{BASE}/info")
    field.attempt(ending(NETWORK, 5))
    assert "info" in field.lines[2].topics()
    assert field.outbox.depth().waiting > 0


@pytest.mark.parametrize(("busy", "pings"), [(False, [30, 30, 10]), (True, [30, 30, 30])])
def test_quiet_connections_that_end_alike_are_pinged_more_often(field, busy, pings):
    """Where something was under way it was not for want of it."""
    quiet = LostError("x", hung_up=True, quiet_seconds=20.0)
    for _ in range(3):
        field.attempt(ending(quiet, 5, lambda line, _: setattr(line, "answers", not busy)))
    assert field.pings == pings


def test_others_introductions_are_said_too_and_told_when_taken(tmp_path):
    """Such as what a dashboard is told of the device."""
    taken: list[int] = []
    one = Introduction("dashboards/x", lambda: b"x", lambda: taken.append(1))
    field = Field(tmp_path, introductions=[one])
    field.attempt(ending(NETWORK, 2))
    assert field.lines[0].topics()[:3] == ["availability", "info", "dashboards/x"]
    assert taken == [1]


def test_what_a_broker_lacks_is_in_the_log_once(field, caplog):
    """Version 5, where any would do, and retained messages."""
    field.protocol, field.limits = "3.1.1", Limits(retain=False)
    for _ in range(3):
        field.attempt(ending(NETWORK))
        assert caplog.text.count("does not speak MQTT 5") == 1
    assert caplog.text.count("retains nothing") == 1
    assert field.publisher.protocol == "3.1.1"


@pytest.mark.parametrize(("asked", "spoken"), [("3.1.1", "3.1.1"), ("auto", "5"), ("5", "5")])
def test_a_version_that_was_asked_for_is_no_surprise(tmp_path, caplog, asked, spoken):
    """Nor is a broker that has all we want."""
    field = Field(tmp_path, {"protocol": asked})
    field.protocol = spoken
    field.attempt(ending(NETWORK))
    assert "does not speak MQTT 5" not in caplog.text
    assert "retains nothing" not in caplog.text


def test_another_program_with_our_id_is_left_the_longest_wait(field):
    """After three connections that it ended soon, with nothing of ours to blame."""
    assert [field.attempt(ending(HUNG_UP, 9)) for _ in range(3)] == [1, 2, 16]
    assert "another client seems to use wheatear-cam-1" in field.problem("device id")
    quiet = ending(NETWORK, 3, lambda _, n: field.clock.forward(81 * (n == 2)))
    assert field.attempt(quiet) == 1
    assert field.problem("device id") is None


def test_who_is_gone_is_known_while_the_connection_stands(field):
    """The problem does not stay until the connection ends."""
    seen = []
    for _ in range(3):
        field.attempt(ending(HUNG_UP, 9))

    def look(_line: Line, number: int) -> None:
        field.clock.forward(81 * (number == 1))
        seen.append(field.problem("device id") is None)

    field.attempt(ending(NETWORK, 3, look))
    assert seen == [False, False, True, True]


@pytest.mark.parametrize("waiting", [True, False])
def test_with_messages_that_wait_and_do_not_pass_nobody_else_is_suspected(field, waiting):
    """One of them may be to blame, unless some were delivered."""
    for _ in range(3):
        if waiting:
            field.sight()
        field.attempt(ending(HUNG_UP, 0, lambda line, _: setattr(line, "answers", False)))
    assert (field.problem("device id") is None) is waiting


def test_a_link_that_carries_a_backlog_bit_by_bit_is_no_rival(field):
    """Though each connection is soon ended."""
    field.limits = Limits(receive_maximum=1)
    field.sight(9)
    for _ in range(4):
        taken = field.counters["delivered"]

        def step(line: Line, taken=taken) -> None:
            if field.counters["delivered"] > taken:
                line.breaks = HUNG_UP

        field.attempt(step)
    assert 0 < field.outbox.depth().waiting < 9
    assert field.problem("device id") is None


def test_an_outbox_that_cannot_be_read_ends_the_connection_and_is_named(field, monkeypatch):
    """Nobody else is suspected: nothing is known of what waits."""

    def refuse(*_):
        raise OutboxError("the disk is gone")

    monkeypatch.setattr(field.outbox, "depth", refuse)
    for _ in range(2):
        field.attempt(ending(HUNG_UP, 9))
    assert field.problem("broker") == "lost"
    field.attempt(ending(HUNG_UP, 9))
    assert field.problem("device id") is None
    monkeypatch.setattr(field.outbox, "page", refuse)
    field.attempt(ending(HUNG_UP, 9))
    assert field.problem("broker") == "the disk is gone"
    assert field.problem("device id") is None
    assert [line.closed for line in field.lines] == [1, 1, 1, 1]


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


def test_what_a_loss_teaches_holds_for_the_next_connection(field, caplog):
    """Of eight under way the broker thought too many: four then."""
    field.sight(6)
    many = LostError("too many", "too many", code=0x93, hung_up=True)
    mute = lambda line, _: setattr(line, "answers", False)  # noqa: E731
    field.attempt(ending(many, 0, mute))
    assert len(field.lines[0].said) == 8
    assert [one.getMessage() for one in caplog.records].count("too many") == 1
    field.attempt(ending(NETWORK, 1, mute))
    assert [one.getMessage() for one in caplog.records].count("the network is gone") == 0
    assert len(field.lines[1].said) == 4


def test_a_loss_that_teaches_nothing_goes_to_who_looks_for_the_message(field):
    """After two with several under way each goes alone."""
    field.sight(3)
    mute = lambda line, _: setattr(line, "answers", False)  # noqa: E731
    for _ in range(2):
        field.attempt(ending(HUNG_UP, 0, mute))
    field.attempt(ending(NETWORK, 0, mute))
    assert [len(line.said) for line in field.lines] == [5, 5, 1]
    assert field.problem("broker") == "the network is gone"


def test_what_is_under_way_is_settled_when_the_connection_ends(field):
    """What was acknowledged leaves the disk, though the tenth of a second had not passed."""
    field.sight(2)

    def half(line: Line, number: int) -> None:
        line.answers = False
        if number == 0:
            line.acknowledge(*line.mids[:-1])

    field.attempt(ending(NETWORK, 1, half))
    assert field.outbox.depth().waiting == 1


def test_dead_letters_that_are_released_go_out_and_others_are_named(tmp_path):
    """Looked for at most once a second; the default is a folder beside the outbox."""
    field = Field(tmp_path)
    letters = DeadLetters(tmp_path / "dead-letters")
    counts: list[int] = []

    def release(_line: Line, number: int) -> None:
        if number == 1:
            field.outbox.append_many([sighting(), image()])
            for row in field.outbox.page():
                letters.add(row, "why", field.clock.now())
            field.outbox.delete(row.row for row in field.outbox.page())
            field.clock.forward(1.0)
        if number == 3:
            letters.release([one.id for one in letters.held() if one.kind == "sighting"])
        if number in (4, 6):
            field.clock.forward(0.6)
        counts.append(len(letters.held()))
        named.append(field.problem("dead letters"))

    named: list[str | None] = []
    field.attempt(ending(NETWORK, 9, release))
    assert [one is None for one in named] == [True, True] + [False] * 8
    assert [one.startswith("1 set") for one in named[2:]] == [False] * 5 + [True] * 3
    assert field.lines[0].topics().count("sighting") == 1
    assert field.outbox.depth().waiting == 0


def test_letters_that_cannot_be_read_are_named_until_they_can(field, monkeypatch):
    """Messages go out meanwhile."""
    named: list[str | None] = []

    def refuse(*_):
        raise OSError("unreadable")

    real = field.publisher.letters.collect
    field.publisher.letters.folder.mkdir()

    def watch(_line: Line, number: int) -> None:
        named.append(field.problem("releasing dead letters"))
        field.clock.forward(2)
        if number == 1:
            monkeypatch.setattr(field.publisher.letters, "collect", real)
            (field.publisher.letters.folder / "x").touch()

    monkeypatch.setattr(field.publisher.letters, "collect", refuse)
    field.sight()
    field.attempt(ending(NETWORK, 4, watch))
    assert named == ["unreadable", "unreadable", None, None, None]
    assert field.outbox.depth().waiting == 0


def test_a_letter_that_the_disk_refuses_is_released_once_it_takes_it(field, monkeypatch):
    """Also over another connection, though nobody changes the folder meanwhile."""
    letters, append = field.publisher.letters, field.outbox.append
    collect, looks = letters.collect, []
    named: list[str | None] = []

    def refuse(_row):
        raise OutboxError("full")

    def look(put) -> int:
        looks.append(round(field.clock.monotonic()))
        return collect(put)

    def watch(_line: Line, _number: int) -> None:
        named.append(field.problem("releasing dead letters"))
        field.clock.forward(2)

    letters.add(Row(1, Kind.SIGHTING, "sighting", b"{}", 0), "why", field.clock.now())
    letters.release([letters.held()[0].id])
    monkeypatch.setattr(letters, "collect", look)
    monkeypatch.setattr(field.outbox, "append", refuse)
    field.attempt(ending(NETWORK, 4, watch))
    monkeypatch.setattr(field.outbox, "append", append)
    field.attempt(ending(NETWORK, 8, watch))
    assert [one is None for one in named] == [False] * 5 + [True] * 9
    assert field.lines[1].topics().count("sighting") == 1
    assert [one - looks[0] for one in looks] == [0, 10, 12]  # the last for what was taken away


def test_the_folder_of_letters_is_looked_at_once_a_second(field, monkeypatch):
    """Not with every turn: there are hundreds a second of them where much is to be sent."""
    letters, real, looks = field.publisher.letters, field.publisher.letters.changed, []

    def changed() -> bool:
        looks.append(field.clock.monotonic())
        return real()

    monkeypatch.setattr(letters, "changed", changed)
    field.attempt(ending(NETWORK, 20, lambda _line, _number: field.clock.forward(0.25)))
    assert len(looks) == 6


def test_letters_of_an_earlier_start_are_named_from_the_beginning(tmp_path):
    """And those given by hand stand in for the folder beside the outbox."""
    letters = DeadLetters(tmp_path / "elsewhere")
    letters.keep("x", "why", Hand().now())
    field = Field(tmp_path, letters=letters)
    assert field.problem("dead letters").startswith("1 set aside")
    assert field.publisher.letters is letters
    none = DeadLetters(tmp_path / "none", max_bytes=7)
    assert Field(tmp_path / "other", letters=none).publisher.letters is none


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
