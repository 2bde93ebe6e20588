"""Files of the device's state that are not what they should be: it starts all the same."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import devices
import pytest
from brokers import Mosquitto, Subscriber
from samples import drain, sighting

from edge.errors import OutboxError
from edge.outbox.outbox import Outbox
from edge.system.files import put_aside, read_whole, write_whole

FILES = (
    *(f"outbox.db.{end}" for end in ("seq", "starts", "room", "homeassistant")),
    *("installation.json", "requests.json", "config-changes.json", "images.json", "drift.json"),
    *("wheatear.lock", "models/models.json", "models/wheatear.lock", "models/lock"),
    *("dead-letters/a.letter", "dead-letters/a.release"),
)
NOBODY = 65534
DATABASE = ("outbox.db", "outbox.db-wal", "outbox.db.salvaged")


def sparse(file: Path) -> None:
    """Make a file of 4 GB that takes no room."""
    file.touch()
    os.truncate(file, 4_000_000_000)


STRANGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(5000)),
    "no UTF-8": lambda file: file.write_bytes(b'{"boot": "\xff\xfe", "id": "\xff"}'),
    "nested": lambda file: file.write_bytes(b'{"current": {"settings": {"a":' + b"[" * 100_000),
    "huge": sparse,
    "huge numbers": lambda file: file.write_text("below " + "9" * 40),
    "a folder": lambda file: file.mkdir(),
    "a full folder": lambda file: (file / "in" / "it").mkdir(parents=True),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_device_starts_and_delivers_whatever_lies_where_its_files_belong(tmp_path, kind):
    """All of its files at once, and what a cut left of them; twice."""
    devices.photos(tmp_path / "photos", 3)
    state = tmp_path / "state"
    for folder in ("models", "dead-letters"):
        (state / folder).mkdir(parents=True)
    folders = kind in ("a folder", "a full folder", "a pipe")
    for name in (*FILES, *(DATABASE if folders else ())):
        STRANGE[kind](state / name)
        if "folder" not in kind:
            STRANGE[kind](state / f"{name}.new")
    more = (
        '[outbox]\npath = "state/outbox.db"\n[images]\nsend = true\n[homeassistant]\nenabled = true'
    )
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(tmp_path, broker.port, more)
        text = path.read_text().replace("[model]", '[model]\nstore = "state/models"')
        path.write_text(text)
        for run in (1, 2):
            process = devices.start("run", "--once", "--config", str(path))
            _, told = process.communicate(timeout=60)
            assert process.returncode == 0, told
            assert subscriber.wait(lambda _, n=3 * run: len(subscriber.on("/sighting")) == n)
        numbers = [json.loads(one)["seq"] for one in subscriber.on("/sighting")]
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_files_that_appear_in_the_way_of_a_running_outbox_do_not_hold_it_up(tmp_path):
    """The files that it writes anew from time to time."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append(sighting())
        for name in ("o.db.seq", "o.db.room"):
            (tmp_path / name).unlink()
            (tmp_path / name / "in it").mkdir(parents=True)
        for _ in range(3):
            outbox.append_many([sighting() for _ in range(400)])
        assert drain(outbox) == list(range(1, 1202))
    assert (tmp_path / "o.db.seq").read_text().split() == ["next", "1202"]


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path):
    """The disk that it leads to may come back."""
    (tmp_path / "o.db").symlink_to(tmp_path / "stick" / "o.db")
    with pytest.raises(OutboxError):
        Outbox(tmp_path / "o.db")
    (tmp_path / "stick").mkdir()
    with Outbox(tmp_path / "o.db") as outbox:
        assert outbox.append(sighting()) == 1
    assert (tmp_path / "stick" / "o.db").is_file()


def test_what_is_put_aside_replaces_nothing(tmp_path):
    """Each gets a name of its own."""
    for content in ("a", "b"):
        (tmp_path / "x").write_text(content)
        put_aside(tmp_path / "x")
    assert (tmp_path / "x.aside-1").read_text() == "a"
    assert (tmp_path / "x.aside-2").read_text() == "b"


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path):
    """Its first part would take room on a full disk, which messages lack then."""
    write_whole(tmp_path / "x", b"before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(tmp_path / "x", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x": b"before"}


def test_a_file_is_read_up_to_a_bound(tmp_path):
    """To the byte."""
    file = tmp_path / "x"
    write_whole(file, b"12345")
    assert read_whole(file, 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_whole(file, 4)
    with pytest.raises(OSError, match="it is not a file"):
        read_whole(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: no file of another user can be made")
def test_room_that_another_user_holds_keeps_nothing_from_being_written():
    """As after a start as root: the file holds nothing, so it is made anew."""
    with tempfile.TemporaryDirectory() as name:  # where another user may go
        os.chown(name, NOBODY, NOBODY)
        room = Path(name) / "o.db.room"
        room.touch(0o600)
        os.seteuid(NOBODY)
        try:
            with Outbox(Path(name) / "o.db") as outbox:
                assert outbox.append(sighting()) == 1
        finally:
            os.seteuid(0)
        assert room.stat().st_uid == NOBODY
