"""Dead letters: a folder that is bounded, whole after a power cut, and open to other programs."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import devices
import msgspec
import pytest
from brokers import Mosquitto, Subscriber
from samples import health, image, sighting
from there import there

from edge.commands.cli import main
from edge.device.dead_letter_verbs import LetterVerbs
from edge.errors import OutboxError, ShortageError
from edge.messages.base import Params, encode
from edge.messages.verbs import WhichLetters
from edge.outbox.dead_letters import FOLDER, DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.sightings.builder import SightingBuilder

NOW = datetime(2026, 6, 21, 9, 30, tzinfo=UTC)


def row(number: int, kind: Kind = Kind.IMAGE, payload: bytes = b"x" * 100) -> Row:
    """A row of the outbox."""
    topic = "sighting" if kind is Kind.SIGHTING else f"sighting/{number}/image"
    return Row(number, kind, topic, payload, 1_750_000_000_000 + number)


def test_letters_outlive_the_program_and_say_what_they_are(tmp_path):
    """Topic, seq, size, times and why are there again, oldest first."""
    letters = DeadLetters(tmp_path / "letters")
    assert letters.held() == ()
    assert letters.summary() is None
    said = encode(sighting())
    letters.add(row(7, Kind.SIGHTING, said), "it hung up", NOW)
    letters.add(row(3), "too large", NOW)
    letters.add(row(3), "too large", NOW)  # the same again
    first, second = DeadLetters(tmp_path / "letters").held()
    assert (first.kind, first.bytes, first.why) == ("image", 100, "too large")
    assert (second.kind, second.topic, second.seq) == ("sighting", "sighting", 0)
    assert (second.bytes, second.set_aside) == (len(said), NOW)
    assert second.time == datetime.fromtimestamp(1_750_000_000.007, UTC)
    summary = there(letters.summary())
    assert summary.startswith(
        "2 set aside because the broker does not take them: sighting/3/image (1"
    )
    assert f"sighting seq 0 ({len(said)} bytes): it hung up. Look" in summary


def test_beyond_the_bound_pictures_go_first_and_all_is_counted(tmp_path, caplog):
    """The oldest picture, then health, and sightings last; what is dropped is in the log."""
    letters = DeadLetters(tmp_path, max_bytes=350)
    for number, kind in enumerate((Kind.SIGHTING, Kind.HEALTH, Kind.IMAGE, Kind.IMAGE)):
        letters.add(row(number, kind), "why", NOW)
    assert [one.id[:12] for one in letters.held()] == [f"{n:012d}" for n in (0, 1, 3)]
    letters.add(row(4, Kind.SIGHTING), "why", NOW)
    letters.add(row(5, Kind.SIGHTING), "why", NOW)
    assert [one.kind for one in letters.held()] == ["sighting"] * 3
    assert letters.dropped == 3
    assert sum(letter.bytes for letter in letters.held()) == 300
    letters.add(row(6, Kind.SIGHTING), "why", NOW)
    assert [one.id[:12] for one in letters.held()] == [f"{n:012d}" for n in (4, 5, 6)]
    assert caplog.text.count("no room for this dead letter") == 4


def test_what_just_fits_is_kept(tmp_path):
    """The bound is how much there may be."""
    letters = DeadLetters(tmp_path, max_bytes=300)
    for number in range(3):
        letters.add(row(number), "why", NOW)
    assert len(letters) == 3
    assert letters.dropped == 0


@pytest.mark.parametrize(
    ("count", "named", "more"), [(1, 1, None), (3, 3, None), (4, 3, 1), (6, 3, 3)]
)
def test_a_summary_names_three_and_counts_the_others(tmp_path, count, named, more):
    """The oldest three."""
    letters = DeadLetters(tmp_path)
    for number in range(count):
        letters.add(row(number), "why", NOW)
    summary = there(letters.summary())
    assert summary.count("/image (100 bytes): why") == named
    assert (f"; and {more} more. Look" in summary) is (more is not None)
    assert ("more" in summary) is (more is not None)
    assert (" take it: " in summary) is (count == 1)


def test_every_change_of_the_folder_is_on_the_disk_before_it_is_told(tmp_path, monkeypatch):
    """The folder is synced after a letter has appeared in it, was released or discarded."""
    folder, real = tmp_path / "not" / "there yet", os.fsync
    seen: list[list[str]] = []

    def fsync(fd: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{fd}")) == folder:
            seen.append(sorted(path.suffix for path in folder.iterdir()))
        real(fd)

    letters = DeadLetters(folder)
    assert letters.discard(["nobody"]) == 0
    monkeypatch.setattr(os, "fsync", fsync)
    letters.add(row(1), "why", NOW)
    assert seen[-1:] == [[".letter"]]
    letters.release([letters.held()[0].id])
    assert seen[-1:] == [[".release"]]
    letters.collect(lambda _: None)
    letters.add(row(2), "why", NOW)
    letters.discard([letters.held()[0].id])
    assert seen[-1:] == [[]]


def test_what_was_released_goes_back_as_it_was(tmp_path):
    """Kind, topic, payload and time are the same; no number is given out for it."""
    letters = DeadLetters(tmp_path / "letters")
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.append_many([sighting(), image(), health()])
        rows = outbox.page()
        for one in rows:
            letters.add(one, "why", NOW)
        outbox.delete(one.row for one in rows)
        assert letters.release(one.id for one in letters.held()) == 3
        assert letters.held() == ()
        assert letters.collect(outbox.append) == 3
        again = outbox.page()
        assert [(o.kind, o.topic, o.payload, o.time_ms) for o in again] == [
            (o.kind, o.topic, o.payload, o.time_ms) for o in rows
        ]
        assert outbox.append(sighting()) == 2
        assert letters.collect(outbox.append) == 0
    with Outbox(tmp_path / "outbox.db") as outbox:
        assert outbox.append(sighting()) == 3


def test_a_disk_that_refuses_keeps_a_released_letter(tmp_path):
    """Nothing is removed before it is in the outbox."""
    letters = DeadLetters(tmp_path)
    letters.add(row(1), "why", NOW)
    letters.release([letters.held()[0].id])

    def refuse(_: Row) -> None:
        raise OutboxError("full")

    with pytest.raises(OutboxError):
        letters.collect(refuse)
    got: list[Row] = []
    assert letters.collect(got.append) == 1
    assert got[0].payload == b"x" * 100


def test_a_letter_that_cannot_be_opened_just_now_holds_no_other_up(tmp_path, monkeypatch, caplog):
    """It stays what it is, nobody is told to remove it, and whoever collects tries again."""
    letters, got = DeadLetters(tmp_path), list[Row]()
    for number in (1, 2, 3):
        letters.add(row(number), "why", NOW)
    letters.release([one.id for one in letters.held()[:2]])
    real = os.open

    def refuse(path, *arguments, **options):
        if "000000000002" not in str(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, *arguments, **options)

    with monkeypatch.context() as short:
        short.setattr(os, "open", refuse)
        assert len(DeadLetters(tmp_path)) == 0
        with pytest.raises(ShortageError):
            letters.collect(got.append)
    assert len(got) == 1
    assert len(letters) == len(DeadLetters(tmp_path)) == 1
    assert letters.collect(got.append) == 1
    assert "no dead letter" not in caplog.text


def test_files_that_hold_no_letter_are_left_alone_and_named_once(tmp_path, caplog):
    """Cut off, of another version, or something else."""
    letters = DeadLetters(tmp_path)
    letters.add(row(1), "why", NOW)
    whole = next(tmp_path.glob("*.letter")).read_bytes()
    (tmp_path / "cut.letter").write_bytes(whole[:-1])
    (tmp_path / "kind.letter").write_bytes(whole.replace(b'"image"', b'"other"'))
    (tmp_path / "strange.letter").write_bytes(b"\xff\x00")
    (tmp_path / "strange.release").write_bytes(b"")
    for _ in range(2):
        assert len(letters) == 1
        assert letters.collect(lambda _: None) == 0
    assert caplog.text.count("is not a dead letter") == 4
    assert len(list(tmp_path.iterdir())) == 5


def test_what_never_became_a_message_can_be_looked_at_and_not_sent(tmp_path):
    """It is shown as Python shows it."""
    letters = DeadLetters(tmp_path)
    letters.keep({"label": "\ud800"}, "cannot be encoded", NOW)
    letters.add(row(1), "why", NOW)
    first, second = letters.held()
    assert (first.sendable, second.sendable) == (False, True)
    assert first.why == "cannot be encoded"
    assert letters.release([first.id, second.id]) == 1
    assert letters.held() == (first,)
    assert letters.discard([first.id]) == 1


def test_what_cannot_even_be_shown_is_kept_by_its_kind(tmp_path):
    """With the error that showing it makes."""
    DeadLetters(tmp_path).keep(10**5000, "cannot be encoded", NOW)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().endswith(b"\n<int: ValueError>")


def test_a_change_by_another_program_is_seen(tmp_path):
    """Once for each change, and also where the folder is not there yet."""
    letters, other = DeadLetters(tmp_path / "x"), DeadLetters(tmp_path / "x")
    assert not letters.changed()
    other.add(row(1), "why", NOW)
    assert letters.changed()
    assert not letters.changed()
    other.discard([other.held()[0].id])
    assert letters.changed()
    assert letters.held() == ()


def test_requests_list_release_and_discard(tmp_path):
    """Ids that are not there, or none, are refused by name; afterwards the publisher is told."""
    told: list[int] = []
    letters = DeadLetters(tmp_path)
    desk = LetterVerbs(letters, lambda: told.append(1))
    for number in (1, 2, 3):
        letters.add(row(number), "why", NOW)
    listed = desk.listed(Params())
    assert listed.count == 3
    ids = [one.id for one in listed.letters]
    for which in (
        WhichLetters(),
        WhichLetters(ids=(ids[0],), all=True),
        WhichLetters(ids=("nobody",)),
    ):
        with pytest.raises(OutboxError, match=f"there are: {', '.join(ids)}"):
            desk.release(which)
    assert desk.discard(WhichLetters(ids=(ids[0],))).count == 1
    assert desk.release(WhichLetters(all=True)).count == 2
    assert len(told) == 2
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".release"] * 2


def test_the_command_shows_releases_and_discards(tmp_path, capsys):
    """`wheatear outbox` works on the folder beside the outbox, with the device running or not."""
    config = devices.config(tmp_path, 1)
    letters = DeadLetters(tmp_path / "dead-letters")
    for number in (1, 2):
        letters.add(row(number), "it hung up", NOW)
    assert main(["outbox", "list", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("2026-06-21 09:30Z  sighting/1/image (100 bytes): it hung up")
    assert main(["outbox", "release", lines[0].split()[0], "--config", str(config)]) == 0
    assert "1 released" in capsys.readouterr().out
    assert main(["outbox", "discard", "--all", "--config", str(config)]) == 0
    assert "1 discarded" in capsys.readouterr().out
    assert letters.held() == ()
    assert main(["outbox", "list", "--config", str(config)]) == 0
    assert capsys.readouterr() == ("", "wheatear: nothing is set aside\n")
    assert main(["outbox", "release", "--config", str(config)]) == 1
    assert "name ids, or all of them (--all; " in capsys.readouterr().err
    assert main(["outbox", "release", "x", "--config", str(config)]) == 1
    assert "no dead letter 'x'; there are: none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil",
    [{"confidence": 10**5000}, {"label": object()}, {"time": None}],
    ids=lambda one: next(iter(one)),
)
def test_a_sighting_that_cannot_be_encoded_becomes_a_dead_letter(tmp_path, monkeypatch, spoil):
    """In a whole device: the others arrive, it is kept to be looked at, and the run says so."""
    devices.photos(tmp_path / "photos", 3)
    real = SightingBuilder.messages

    def messages(self, frame, *arguments):
        found = real(self, frame, *arguments)
        bad = frame.source.startswith("00001")
        return [msgspec.structs.replace(one, **spoil) if bad else one for one in found]

    monkeypatch.setattr(SightingBuilder, "messages", messages)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(tmp_path, broker.port)
        assert main(["run", "--once", "--drain-timeout", "10", "--config", str(path)]) == 1
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 2)
    found = [json.loads(one) for one in subscriber.on("/sighting")]
    assert [one["frame"]["source"][:5] for one in found] == ["00000", "00002"]
    (letter,) = DeadLetters(tmp_path / FOLDER).held()
    assert "cannot be encoded" in letter.why
    assert not letter.sendable
    (file,) = (tmp_path / FOLDER).glob("*.letter")
    assert b"00001-beetle.jpg" in file.read_bytes()
