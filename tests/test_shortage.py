"""What cannot be opened for want of a descriptor is not known to be damaged: it stays as it is."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path

import devices
import msgspec
import pytest
from brokers import free_port
from samples import sighting
from steps import descriptors
from there import there

from edge.device.config_changes import ChangedConfiguration
from edge.errors import WheatearError
from edge.messages.updates import Chunk
from edge.outbox.outbox import Outbox
from edge.system.identity import installation
from edge.updates.jobs import Job, Jobs
from edge.updates.store import Store
from edge.updates.upload import Upload


def record(folder):
    """The record of a store of models."""
    store = Store(folder)
    store.change(lambda record: msgspec.structs.replace(record, update="u"))
    return lambda: store.change(lambda record: record).update


def job(folder):
    """An update that was accepted."""
    jobs = Jobs(Store(folder))
    jobs.put(Job(update="u", source=None, sha256=None, allow_downgrade=False))
    return lambda: there(jobs.read()).update


def changes(folder):
    """Settings that were changed from afar."""
    devices.photos(folder / "photos", 1)
    devices.bundle(folder / "model.wtr")
    file = devices.config(folder, free_port())
    first = ChangedConfiguration(file)
    first.load()
    first.change(first.revision(), {"decision.agreeing_frames": 4, "decision.last_frames": 7}, None)
    first.load()
    first.confirm()
    return lambda: ChangedConfiguration(file).load().decision.agreeing_frames


def identity(folder):
    """Which installation it is."""
    installation(folder)
    return lambda: installation(folder)


def numbers(folder):
    """Which numbers sightings were given."""

    def next_number():
        with Outbox(folder / "outbox.db") as outbox:
            return outbox.append(sighting()) < 1000

    next_number()
    return next_number


def upload(folder):
    """A model that came half, in pieces that cost somebody's mobile data."""
    begun = Chunk(sha256=hashlib.sha256(b"whole").hexdigest(), size=5, data=b"who")
    Upload(folder, 1e6).take(begun)

    def half():
        found = Upload(folder, 1e6)
        found.expire()
        return found.take(msgspec.structs.replace(begun, data=b"")).next

    return half


FILES = {
    record: "models.json",
    job: "job.json",
    changes: "config-changes.json",
    identity: "installation.json",
    numbers: "outbox.db.seq",
    upload: "upload.json",
}
"""What each keeps, and where."""


@pytest.mark.parametrize("make", FILES)
def test_what_cannot_be_opened_just_now_is_not_given_up(tmp_path, make):
    """However few descriptors there are: an error of ours at the worst, and all as before."""
    ask = make(tmp_path)
    expected = ask()
    answers = []
    for left in range(40):
        with descriptors(left):
            try:
                answers.append(ask())
            except WheatearError as error:
                answers.append(type(error))
        assert ask() == expected, left
    assert answers[-1] == expected
    assert isinstance(answers[0], type)
    assert {one for one in answers if not isinstance(one, type)} == {expected}
    assert not [*tmp_path.rglob("*.damaged*"), *tmp_path.rglob("*.refused")]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("make", FILES)
def test_what_could_not_be_opened_once_is_not_given_up(tmp_path, monkeypatch, make, number):
    """Another thread, or program, had the last one, and lets it go."""
    ask = make(tmp_path)
    expected, real, refused = ask(), os.open, list[object]()

    def refuse(path, *arguments, **options):
        if Path(path).name == FILES[make] and not refused:
            refused.append(path)
            raise OSError(number, os.strerror(number), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with contextlib.suppress(WheatearError):
        assert ask() == expected
    assert refused
    assert ask() == expected
