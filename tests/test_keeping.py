"""Numbers get a new name where what keeps them knows nothing of those given since."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import devices
import msgspec
import pytest
from brokers import free_port
from computers import booted, card, computer

from edge.outbox.outbox import Outbox
from edge.system.identity import NAME, installation
from edge.system.state_lock import NAME as LOCK
from edge.system.state_lock import StateLock
from edge.system.state_origin import keeping
from edge.system.volatile_storage import Storage


@pytest.fixture
def state(tmp_path):
    """A folder of state on a disk that draws a number for each file."""
    folder = tmp_path / "state"
    with StateLock() as lock:
        lock.hold([folder])
    if keeping(folder, Storage(), "", str).file is None:
        pytest.skip("NO NUMBERS: the file system of the temporary folder draws none for its files")
    return folder


def test_files_put_back_from_a_copy_are_another_installation(tmp_path, state, caplog):
    """A backup of last week would give this week's numbers once more, under the same name."""
    first = installation(state)
    shutil.copytree(state, tmp_path / "backup")
    assert installation(state) == first
    state.rename(tmp_path / "spoilt")
    shutil.copytree(tmp_path / "backup", state)
    second = installation(state)
    assert second != first
    assert "put back from a copy" in caplog.text
    assert installation(state) == second


def test_a_copy_of_only_what_changed_is_noticed_too(tmp_path, state):
    """As rsync does it: the file of the installation is the same, and stays."""
    first = installation(state)
    (state / LOCK).rename(tmp_path / "later")
    shutil.copy(tmp_path / "later", state / LOCK)
    assert installation(state) != first


def test_a_start_looks_once_at_what_is_mounted(tmp_path):
    """It is a long list on some computers, and stays the same meanwhile."""
    devices.photos(tmp_path / "photos", 1)
    path = devices.config(tmp_path, free_port())
    program = (
        "import sys; from edge.commands.cli import main\n"
        "def told(event, of):\n"
        "    if event == 'open' and str(of[0]).endswith('/mountinfo'): print('looked')\n"
        "sys.addaudithook(told)\n"
        "main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "run", "--drain-timeout", "0", "--config", str(path)]
    device = subprocess.run(command, capture_output=True, text=True, check=False)
    assert device.stdout.split() == ["looked"], device.stderr
    assert (tmp_path / NAME).exists()


def test_a_start_more_is_the_same_installation(state):
    """Who holds the folder is written into the same file each time."""
    first = installation(state)
    with StateLock() as lock:
        lock.hold([state])
        assert installation(state) == first


def test_a_folder_that_is_moved_or_given_to_another_user_is_the_same(tmp_path, state):
    """Its files are those that were there before."""
    first = installation(state)
    moved = state.rename(tmp_path / "elsewhere")
    (moved / LOCK).chmod(0o640)
    assert installation(moved) == first


def test_an_image_of_a_card_in_another_card_is_another_installation(tmp_path):
    """The card died, and its image of last week went on a new one: the board is the same."""
    root = computer(tmp_path)
    card(root, "275048534433324760")
    first = installation(tmp_path, root)
    assert installation(tmp_path, root) == first
    assert "275048534433324760" not in (tmp_path / NAME).read_text()
    card(root, "035344534c333247")
    second = installation(tmp_path, root)
    assert second != first
    assert installation(tmp_path, root) == second


def test_what_lies_in_memory_is_another_installation_with_each_start(tmp_path):
    """A read-only system shows what its card held before, each time anew."""
    root = booted(computer(tmp_path), "11111111-1111-1111")
    on_card = installation(tmp_path, root)
    kept = (tmp_path / NAME).read_bytes()
    assert installation(tmp_path, booted(root, "22222222-2222-2222")) == on_card, (
        "on a disk it stays"
    )
    computer(tmp_path, "tmpfs")
    found = {on_card}
    for boot in ("33333333-3333-3333", "44444444-4444-4444"):
        (tmp_path / NAME).write_bytes(kept)
        found.add(drawn := installation(tmp_path, booted(root, boot)))
        assert installation(tmp_path, root) == drawn, "another start of the program alone"
    assert len(found) == 3


def test_an_installation_of_before_goes_on_and_is_bound_from_now_on(tmp_path):
    """What a version of the program wrote that looked at the board alone."""
    root = computer(tmp_path)
    first = installation(tmp_path, root)
    old = json.loads((tmp_path / NAME).read_text())
    del old["keeping"]
    (tmp_path / NAME).write_text(json.dumps(old))
    card(root, "1")
    assert installation(tmp_path, root) == first
    card(root, "2")
    assert installation(tmp_path, root) != first


def test_what_is_not_told_any_more_is_remembered(tmp_path):
    """A reader without numbers in between changes nothing; the other card is noticed behind it."""
    root = computer(tmp_path)
    card(root, "1")
    first = installation(tmp_path, root)
    card(root, "")
    assert installation(tmp_path, root) == first
    card(root, "2")
    assert installation(tmp_path, root) != first


def test_a_device_put_back_from_a_copy_gives_no_number_twice(tmp_path, state):
    """A copy of what was before the second of three starts: name and number are never alike."""
    folder = state
    devices.photos(folder / "photos", 3)
    path = devices.config(folder, free_port())

    def run() -> list[tuple[str, int]]:
        process = devices.start("run", "--once", "--drain-timeout", "0", "--config", str(path))
        process.communicate(timeout=60)
        with Outbox(folder / "outbox.db") as outbox:
            rows = [msgspec.json.decode(row.payload) for row in outbox.page()]
        return [(one["installation"], one["seq"]) for one in rows if "seq" in one]

    before = run()
    shutil.copytree(folder, tmp_path / "backup")
    given = set(run())
    folder.rename(tmp_path / "spoilt")
    shutil.copytree(tmp_path / "backup", folder)
    again = run()
    assert len(again) == 6
    assert given & set(again) == set(before), "what waited in the copy is the same"
