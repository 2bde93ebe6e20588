"""What connections that end teach: another client, a message, too many at once, silence."""

from __future__ import annotations

import pytest
from attempts import HUNG_UP, NETWORK, Field, Line, ending

from edge.errors import LostError, OutboxError
from edge.mqtt.wire import Limits


@pytest.fixture
def field(tmp_path):
    """A publisher with waits from one second to sixteen."""
    made = Field(tmp_path)
    yield made
    made.outbox.close()


@pytest.mark.parametrize(("busy", "pings"), [(False, [30, 30, 10]), (True, [30, 30, 30])])
def test_quiet_connections_that_end_alike_are_pinged_more_often(field, busy, pings):
    """Where something was under way it was not for want of it."""
    quiet = LostError("x", hung_up=True, quiet_seconds=20.0)
    for _ in range(3):
        field.attempt(ending(quiet, 5, lambda line, _: setattr(line, "answers", not busy)))
    assert field.pings == pings


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
