"""Dead letters while a connection stands: named, and sent once they are released."""

from __future__ import annotations

import pytest
from attempts import NETWORK, Field, Line, ending
from clocks import Hand
from samples import image, sighting
from there import there

from edge.errors import OutboxError
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.rows import Kind, Row


@pytest.fixture
def field(tmp_path):
    """A publisher with waits from one second to sixteen."""
    made = Field(tmp_path)
    yield made
    made.outbox.close()


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
    assert [there(one).startswith("1 set") for one in named[2:]] == [False] * 5 + [True] * 3
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


def test_what_was_released_before_the_disk_refuses_goes_out_at_once(field, monkeypatch):
    """It does not wait for those behind it."""
    letters, append, appended = field.publisher.letters, field.outbox.append, list[Row]()

    def once(row) -> None:
        if appended:
            raise OutboxError("full")
        appended.append(row)
        append(row)

    def watch(_line: Line, number: int) -> None:
        field.clock.forward(2)
        if number == 1:
            letters.release([one.id for one in letters.held()])

    for number in (1, 2):
        letters.add(Row(number, Kind.SIGHTING, "sighting", b"{}", 0), "why", field.clock.now())
    monkeypatch.setattr(field.outbox, "append", once)
    field.attempt(ending(NETWORK, 4, watch))
    assert field.lines[0].topics().count("sighting") == 1


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
    assert there(field.problem("dead letters")).startswith("1 set aside")
    assert field.publisher.letters is letters
    none = DeadLetters(tmp_path / "none", max_bytes=7)
    assert Field(tmp_path / "other", letters=none).publisher.letters is none
