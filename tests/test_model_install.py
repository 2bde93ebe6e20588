"""The way of a bundle into the store, step by step: what is asked, told, kept and left."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil

import msgspec
import pytest
from test_models import CLOCK, Place, place  # noqa: F401 - a fixture

from edge.errors import StoppedError, StoreError, UpdateBusyError, UpdateError
from edge.models.install import (
    bring,
    check_free,
    check_keys,
    current,
    factory,
    install,
    roll_back,
    wanted_name,
)
from edge.models.record import Entry, Probation, Record


def opened(place: Place, **options):  # noqa: F811
    """Install version 2 from where it lies in the store."""
    incoming = place.store.incoming / "file.part"
    shutil.copyfile(place.bundle("2"), incoming)
    with place.store.installing():
        return install(place.store, place.config.model, incoming, **options)


def incoming(place: Place) -> list[str]:  # noqa: F811
    """Give the names of what is on its way."""
    return sorted(file.name for file in place.store.incoming.iterdir())


def test_the_configured_bundle_is_what_its_file_says(place):  # noqa: F811
    """And what runs, until another is in the store; nothing where it cannot be read."""
    data = place.config.model.bundle.read_bytes()
    first = Entry(
        name="colours",
        version="1",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        labels=("aphid", "beetle", "leaf"),
    )
    model = place.config.model
    assert factory(model) == current(place.store, model) == first
    done = opened(place)
    assert current(place.store, model) == done.entry
    assert factory(model) == first
    model.bundle.write_bytes(b"PK")
    assert factory(model) is None


def test_the_name_that_is_taken(place):  # noqa: F811
    """As configured, of the bundle, of what runs: whichever is known first."""
    model, other = place.config.model, Entry(name="b", version="1", sha256="0", bytes=1, labels=())
    assert wanted_name(msgspec.structs.replace(model, name="a"), other) == "a"
    assert wanted_name(model, other) == "colours"
    model.bundle.unlink()
    assert wanted_name(model, other) == "b"
    assert wanted_name(model, None) is None


def test_a_file_is_brought_whole_whatever_lay_there(place):  # noqa: F811
    """One that another user left cannot be written to, but removed."""
    (place.store.incoming / "file.part").write_bytes(b"x" * 100)
    os.chmod(place.store.incoming / "file.part", 0)
    with place.bundle("2").open("rb") as file:
        brought = bring(place.store, file)
    assert brought == place.store.incoming / "file.part"
    assert brought.read_bytes() == (place.folder / "new-2.wtr").read_bytes()


def test_a_file_that_cannot_be_brought_leaves_nothing(place, monkeypatch):  # noqa: F811
    """The disk is full in the middle, and what is wrong is said."""

    def full(_file, copied):
        copied.write(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with (
        place.bundle("2").open("rb") as file,
        pytest.raises(StoreError, match=r"cannot copy .*new-2\.wtr to .*part: No space left"),
    ):
        bring(place.store, file)
    assert incoming(place) == []


def test_a_file_larger_than_a_bundle_is_not_brought(place, monkeypatch):  # noqa: F811
    """One that is as large as the largest is."""
    monkeypatch.setattr("edge.models.install.MAX_BUNDLE_BYTES", 1000)
    (place.folder / "large").write_bytes(bytes(1001))
    with (
        (place.folder / "large").open("rb") as file,
        pytest.raises(UpdateError, match="large has 1001 bytes; a bundle has 1000 at most"),
    ):
        bring(place.store, file)
    (place.folder / "large").write_bytes(bytes(1000))
    with (place.folder / "large").open("rb") as file:
        assert bring(place.store, file).stat().st_size == 1000


def test_a_key_or_a_word_is_needed_for_the_network(place):  # noqa: F811
    """Either is enough."""
    model = place.config.model
    with pytest.raises(UpdateError, match=r"model\.trusted_keys is empty"):
        check_keys(model)
    check_keys(msgspec.structs.replace(model, trusted_keys=("key.pem",)))
    unsigned = msgspec.structs.replace(model.update, unsigned=True)
    check_keys(msgspec.structs.replace(model, update=unsigned))


def test_a_model_on_probation_holds_up_the_next(place):  # noqa: F811
    """It is named."""
    check_free(place.store)
    done = opened(place)
    with pytest.raises(UpdateBusyError, match=f"{done.id} is on probation; wait until it is conf"):
        check_free(place.store)


def test_an_installed_model_is_kept_and_named(place):  # noqa: F811
    """With its phases told, the update that brought it, and the labels that change."""
    told = []
    done = opened(
        place,
        sha256=hashlib.sha256(place.bundle("2").read_bytes()).hexdigest(),
        update="u1",
        announce=lambda phase, proof: told.append((phase, proof and proof.version)),
    )
    assert told == [("proving", None), ("proving", "2"), ("switching", "2")]
    record = place.store.read()
    assert record == Record(
        current=done.id, probation=Probation(), update="u1", models={done.id: done.entry}
    )
    file = place.folder / "new-2.wtr"
    assert place.store.path(done.id).read_bytes() == file.read_bytes()
    assert done.entry == msgspec.structs.replace(
        factory(place.config.model),
        version="2",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        bytes=file.stat().st_size,
    )
    assert (done.labels_added, done.labels_removed) == ((), ())
    assert incoming(place) == []


def test_labels_that_come_and_go_are_told(place):  # noqa: F811
    """New ones as the model has them, lost ones by name; all are new where nothing ran."""
    grey = (90, 90, 90)
    colours = {"wasp": grey, "leaf": (90, 90, 200), "mite": (250, 250, 250)}
    done = place.install(place.bundle("2", colours=colours))
    assert (done.labels_added, done.labels_removed) == (("wasp", "mite"), ("aphid", "beetle"))
    roll_back(place.store, "a test", CLOCK.now())
    place.config.model.bundle.unlink()
    assert place.install(place.bundle("3")).labels_added == ("aphid", "beetle", "leaf")


def test_a_model_that_comes_again_is_the_newest(place):  # noqa: F811
    """It goes last of those that are kept, and the one that ran is the one before it."""
    for version in ("2", "3"):
        place.install(place.bundle(version))
        place.confirm()
    third = place.store.read().current
    again = place.install(place.folder / "new-2.wtr", allow_downgrade=True).id
    record = place.store.read()
    assert list(record.models) == [third, again]
    assert (record.current, record.previous) == (again, third)


def test_what_is_refused_is_gone_and_what_is_stopped_stays(place):  # noqa: F811
    """A stop comes from a device that ends, which goes on later."""
    with pytest.raises(UpdateError, match=f"SHA-256 .*, not {'0' * 64} as asked for"):
        opened(place, sha256="0" * 64)
    assert incoming(place) == []
    with pytest.raises(StoppedError):
        opened(place, stop=lambda: True)
    assert incoming(place) == ["file.part"]
    assert place.store.read() == Record()


def test_the_way_back_is_written_down(place):  # noqa: F811
    """What is returned from, why, when, and which update brought it."""
    done = opened(place, update="u1")
    now = CLOCK.now()
    record = roll_back(place.store, "a test", now)
    assert record == place.store.read()
    assert (record.current, record.previous, record.probation) == (None, None, None)
    assert list(record.models) == [done.id]
    last = record.last
    assert (last.name, last.version, last.result) == ("colours", "2", "returned")
    assert (last.reason, last.time, last.update) == ("a test", now, "u1")
