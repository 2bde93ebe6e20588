"""Settings changed from afar on disks that refuse, and power that goes at any step of that."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from itertools import groupby

import devices
import pytest
from remotes import ALLOW, started
from steps import NAMES, Refusing, moments
from there import there

from edge.errors import ConfigError


@pytest.fixture
def file(tmp_path):
    """A configuration file of a device that may be changed from afar, in a folder of its own."""
    (tmp_path / "device").mkdir()
    return devices.config(tmp_path / "device", 1883, ALLOW.format(seconds=60))


def change(file):
    """Change a setting, start on trial with it, keep it, change again, take that back."""
    configuration = started(file)
    configuration.change(configuration.revision(), {"decision.cooldown_seconds": 2}, None)
    started(file).confirm()
    configuration = started(file)
    configuration.change(configuration.revision(), {"decision.cooldown_seconds": 3}, None)
    started(file).take_back("a test")
    return started(file)


def in_force(file):
    """Start, and say what is in force; nothing was set aside."""
    found = there(started(file).config).decision.cooldown_seconds
    assert not list(file.parent.glob("*.refused"))
    assert not list(file.parent.glob("*.aside-*"))
    return found


def test_power_may_go_at_any_step_of_a_change(file, tmp_path):
    """Killed, or cut with what was not synced: what is in force is what was there before, or after;
    never the file alone, once a change was kept.
    """
    first = in_force(file)
    found = moments(file.parent, lambda: change(file), tmp_path / "moments")
    seen = [in_force(folder / file.name) for _, folder in found]
    assert [one for one, _ in groupby(seen)] == [first, 2, 3, 2]
    assert len(found) >= 40


@pytest.mark.parametrize("stays", [True, False], ids=["for good", "once"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_at_any_step_of_a_change_leaves_one_that_is_whole(
    file, tmp_path, error, stays
):
    """Where it was refused an error says so; when the disk is well again, changes are taken."""
    only = ("open", "write", "fsync") if error == errno.ENOSPC else NAMES
    before = tmp_path / "before"
    shutil.copytree(file.parent, before)
    first = in_force(file)
    for number in range(1000):
        disk, last = Refusing(number, error, stays, only), None
        with disk.on(file.parent):
            with suppress(ConfigError):
                last = change(file).config.decision.cooldown_seconds
            started(file)  # a device starts whatever its disk says
        assert in_force(file) in (first, 2, 3)
        if not disk.refused:
            break
        configuration = started(file)
        if configuration.trying:
            configuration.confirm()
        configuration = started(file)
        configuration.change(configuration.revision(), {"decision.cooldown_seconds": 7}, None)
        started(file).confirm()
        assert in_force(file) == 7
        shutil.rmtree(file.parent)
        shutil.copytree(before, file.parent)
    assert number >= 10
    assert last == 2
