"""Changes from afar, in their file: through power cuts and damage, and where the disk refuses."""

from __future__ import annotations

import errno
import json
import os

import devices
import pytest
from remotes import ALLOW, changed, started
from there import there

from edge.config import load_config
from edge.device.config_changes import MOST_STARTS, NAME, ChangedConfiguration
from edge.errors import ConfigError


@pytest.fixture
def file(tmp_path):
    """A configuration file of a device that may be changed from afar."""
    return devices.config(tmp_path, 1883, ALLOW.format(seconds=60))


def states(path, act) -> list[dict[str, bytes]]:
    """What may lie in the folder of `path` after the power went during `act`.

    Files are written under another name, synced, and renamed: before the rename any part of the new
    file may be there, or none; after it all of it.
    """
    folder = path.parent
    before = {p.name: p.read_bytes() for p in folder.glob(f"{NAME}*")}
    act()
    after = path.read_bytes()
    cuts = (0, 1, len(after) // 2, len(after) - 1, len(after))
    return [
        before,
        *({**before, f"{NAME}.new": after[:cut]} for cut in cuts),
        {NAME: after},
        {NAME: after, f"{NAME}.new": after[:7]},
    ]


def put(folder, files: dict[str, bytes]) -> None:
    """Make the folder hold these, and no others of their kind."""
    for path in folder.glob(f"{NAME}*"):
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_a_power_cut_at_any_durable_step_ends_in_a_valid_configuration(file):
    """Setting, counting a start, confirming, taking back: the old or the new one is in force."""
    folder, path = file.parent, file.parent / NAME
    changed(file, decision__agreeing_frames=1).confirm()
    base = {p.name: p.read_bytes() for p in folder.glob(f"{NAME}*")}
    configuration = started(file)
    revision = configuration.revision()
    steps = [
        lambda: configuration.change(revision, {"decision.agreeing_frames": 3}, None),
        lambda: configuration.load(),
        lambda: configuration.confirm(),
        lambda: configuration.change(
            configuration.revision(), {"decision.agreeing_frames": 2}, None
        ),
        lambda: configuration.load(),
        lambda: configuration.take_back("a test"),
    ]
    allowed, looked = ({1, 3}, {1, 3}, {1, 3}, {2, 3}, {2, 3}, {2, 3}), 0
    for step, agree in zip(steps, allowed, strict=True):
        possible = states(path, step)
        kept = {p.name: p.read_bytes() for p in folder.glob(f"{NAME}*")}
        for files in possible:
            put(folder, files)
            for _ in range(MOST_STARTS + 1):  # a trial that is started with again and again
                found = started(file)
                assert there(found.config).decision.agreeing_frames in agree
                looked += 1
            assert not found.trying
        put(folder, kept)
    assert looked == 6 * 8 * (MOST_STARTS + 1)
    put(folder, base)
    assert there(started(file).config).decision.agreeing_frames == 1


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff" * 50, b'{"schema": 1, "current": {"settings": {"a.b": 1}}}']
)
def test_a_damaged_file_of_changes_is_set_aside(file, damage):
    """The device starts with the configuration file, and says so; the damaged one is kept."""
    (file.parent / NAME).write_bytes(damage)
    configuration = started(file)
    assert configuration.config == load_config(file)
    assert "set aside" in there(configuration.record.taken_back)
    assert (file.parent / f"{NAME}.refused").read_bytes() == damage


@pytest.mark.parametrize("later", [{"schema": 2}, {"schema": 2, "unheard": 0}, {"schema": 0}])
def test_changes_in_a_form_of_another_version_are_set_aside(file, later):
    """What they mean there is not known here: none is in force, and the file is kept whole."""
    configuration = changed(file, decision__agreeing_frames=1)
    configuration.confirm()
    kept = json.loads((file.parent / NAME).read_text())
    (file.parent / NAME).write_text(json.dumps(kept | later))
    with pytest.raises(ConfigError, match=r"schema.*the next start sets it aside"):
        ChangedConfiguration(file).peek()
    again = started(file)
    assert again.config == load_config(file)
    assert "schema" in there(again.record.taken_back)
    assert json.loads((file.parent / f"{NAME}.refused").read_text()) == kept | later


def test_changes_that_no_longer_fit_the_file_are_set_aside(file):
    """A person at the device edits the file: it has to start, whatever was set from afar."""
    changed(file, decision__agreeing_frames=3).confirm()
    file.write_text(file.read_text().replace("[decision]", "[decision]\nlast_frames = 2"))
    assert started(file).config == load_config(file)
    assert (file.parent / f"{NAME}.refused").exists()


def test_what_was_changed_is_on_disk_for_people_to_read(file, monkeypatch):
    """The name of the file, too, before anybody is told."""
    synced, real = [], os.fsync

    def fsync(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    configuration = started(file)
    monkeypatch.setattr(os, "fsync", fsync)
    assert configuration.change(configuration.revision(), {"decision.agreeing_frames": 1}, None)
    assert synced == [str(file.parent / f"{NAME}.new"), str(file.parent)]
    text = (file.parent / NAME).read_text()
    assert text.startswith('{\n  "schema": 1,\n  "current": {\n    "toml": null,')


def test_changes_that_are_gone_are_in_force_no_more(file):
    """Somebody at the device removed the file."""
    configuration = changed(file, decision__agreeing_frames=1)
    (file.parent / NAME).unlink()
    assert configuration.load() == load_config(file)
    assert not configuration.trying


def test_changes_that_cannot_be_opened_just_now_are_not_set_aside(file, monkeypatch):
    """Whoever asks is told to try again."""
    changed(file, decision__agreeing_frames=1).confirm()
    real = os.open

    def refuse(path, *arguments):
        if os.fspath(path).endswith(NAME):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        for ask in (ChangedConfiguration(file).load, ChangedConfiguration(file).peek):
            with pytest.raises(ConfigError, match=f"{NAME} just now: Too many .*; try again"):
                ask()
    assert there(started(file).config).decision.agreeing_frames == 1


def test_a_disk_that_refuses_takes_a_change_back(file):
    """Its starts could not be counted, so it might be tried for ever; this run goes back."""
    changed(file, decision__agreeing_frames=1).confirm()
    configuration = changed(file, decision__agreeing_frames=3)
    (file.parent / f"{NAME}.new").mkdir()
    again = started(file)
    assert (there(again.config).decision.agreeing_frames, again.trying) == (1, False)
    assert "its starts cannot be counted" in there(again.record.taken_back)
    configuration.take_back("a test")
    assert configuration.record.taken_back == "a test"
