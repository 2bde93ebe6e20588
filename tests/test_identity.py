"""Who a device is: by its board, by its first start; copied cards are told apart."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import devices
import pytest
from brokers import free_port
from there import there

from edge.config import parse_config
from edge.outbox.outbox import Outbox
from edge.system.identity import NAME, board, boot_id, device_id, installation, own_id

MACHINE = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture
def computer(tmp_path):
    """A function that makes the root of a computer's files."""
    made: list[Path] = []

    def make(serial=None, cpuinfo=None, machine=None, second=None):
        root = tmp_path / f"root-{len(made)}"
        made.append(root)
        files = {
            "proc/device-tree/serial-number": serial and f"{serial}\0",
            "sys/firmware/devicetree/base/serial-number": second and f"{second}\0",
            "proc/cpuinfo": f"processor\t: 0\nSerial\t\t: {cpuinfo or ''}\nModel\t: Pi\n",
            "etc/machine-id": machine and f"{machine}\n",
        }
        for name, text in files.items():
            if text:
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return root

    return make


def test_the_default_id_is_short_and_the_same_at_every_start(computer):
    """It is made of the serial number, wherever the kernel shows that."""
    ids = {
        own_id(computer(serial="10000000abcdef01", machine=MACHINE)),
        own_id(computer(serial="10000000ABCDEF01", machine=OTHER)),
        own_id(computer(second="10000000abcdef01")),
        own_id(computer(cpuinfo="10000000abcdef01")),
    }
    (only,) = ids
    assert only == "cam-631997"


def test_cloned_cards_in_two_boards_are_two_devices(computer):
    """The machine id and the host name are copied, the serial number is not."""
    one = own_id(computer(serial="10000000abcdef01", machine=MACHINE))
    two = own_id(computer(serial="10000000abcdef02", machine=MACHINE))
    assert one != two


@pytest.mark.parametrize("serial", [None, "0000000000000000"])
def test_without_a_serial_number_the_machine_id_counts(computer, serial):
    """Virtual boards say zeros. The machine id itself is not told."""
    one = own_id(computer(serial=serial, cpuinfo=serial, machine=MACHINE))
    assert one != own_id(computer(serial=serial, machine=OTHER))
    assert one == own_id(computer(machine=MACHINE))
    assert one.removeprefix("cam-") not in MACHINE


@pytest.mark.parametrize("machine", [None, "uninitialized", "", "0" * 32, "xyz"])
def test_without_anything_the_host_name_counts(computer, monkeypatch, machine):
    """It is better than nothing."""
    monkeypatch.setattr(socket, "gethostname", lambda: "north")
    one = own_id(computer(machine=machine))
    monkeypatch.setattr(socket, "gethostname", lambda: "south")
    assert one != own_id(computer(machine=machine))


def test_a_configured_id_stays_as_it_is(tmp_path):
    """Whatever the board says."""
    raw = {"model": {"bundle": "m.wtr"}, "camera": {"kind": "folder", "path": "p"}}
    assert device_id(parse_config({**raw, "device": {"id": "north-7"}}, tmp_path)) == "north-7"
    assert device_id(parse_config(raw, tmp_path)) == own_id()


def test_a_start_of_the_computer_is_twelve_digits_of_the_kernels(tmp_path):
    """Where the kernel does not say, one is drawn."""
    file = tmp_path / "proc/sys/kernel/random/boot_id"
    file.parent.mkdir(parents=True)
    file.write_text("0123abcd-4567-89ef-0123-456789abcdef\n")
    assert boot_id(tmp_path) == "0123abcd4567"
    drawn = boot_id(tmp_path / "elsewhere")
    assert len(bytes.fromhex(drawn)) == 6
    assert boot_id(tmp_path / "elsewhere") == drawn


@pytest.mark.parametrize("text", ["0", "\0", " 000 "])
def test_a_serial_number_of_nothing_is_none(computer, text):
    """Wherever it stands."""
    nothing = board(computer(serial=text, second=text, cpuinfo=text))
    assert nothing.serial is None
    assert len(bytes.fromhex(there(board(computer(serial="1")).serial))) == 16


def test_an_installation_is_drawn_once(tmp_path, computer):
    """16 digits, kept over starts; another folder is another installation."""
    root = computer(serial="1", machine=MACHINE)
    first = installation(tmp_path, root)
    assert len(bytes.fromhex(first)) == 8
    assert installation(tmp_path, root) == first
    (tmp_path / "other").mkdir()
    assert installation(tmp_path / "other", root) != first
    assert MACHINE not in (tmp_path / NAME).read_text()


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ({"serial": "1", "machine": MACHINE}, {"serial": "2", "machine": MACHINE}, False),
        ({"serial": "1", "machine": MACHINE}, {"serial": "1", "machine": OTHER}, True),
        ({"machine": MACHINE}, {"machine": OTHER}, False),
        ({"machine": MACHINE}, {"serial": "1", "machine": MACHINE}, True),
        ({"serial": "1", "machine": MACHINE}, {"machine": MACHINE}, True),
        ({"serial": "1"}, {"machine": MACHINE}, True),
        ({}, {}, True),
    ],
)
def test_a_card_in_another_board_is_another_installation(
    tmp_path, computer, caplog, before, now, same
):
    """Where a serial number can be compared it counts, else the machine id."""
    first = installation(tmp_path, computer(**before))
    second = installation(tmp_path, computer(**now))
    assert (second == first) == same
    assert ("come from another board" in caplog.text) == (not same)
    assert installation(tmp_path, computer(**now)) == second


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"id": 5}'])
def test_a_damaged_file_begins_a_new_installation(tmp_path, computer, caplog, damage):
    """It says so, and the new one is kept."""
    (tmp_path / NAME).write_bytes(damage)
    first = installation(tmp_path, computer(serial="1"))
    assert "is damaged" in caplog.text
    assert installation(tmp_path, computer(serial="1")) == first


def test_a_folder_that_cannot_be_written_is_no_hindrance(tmp_path, computer, caplog):
    """The program runs, and says what follows."""
    assert len(installation(tmp_path / "missing", computer(serial="1"))) == 16
    assert "the next start is another installation" in caplog.text


def test_the_program_says_in_each_sighting_which_installation_it_is(tmp_path):
    """What lies in the outbox carries it."""
    devices.photos(tmp_path / "photos", 2)
    path = devices.config(tmp_path, free_port())
    process = devices.start("run", "--once", "--drain-timeout", "0", "--config", str(path))
    process.communicate(timeout=60)
    known = json.loads((tmp_path / NAME).read_text())["id"]
    with Outbox(tmp_path / "outbox.db") as outbox:
        payloads = [json.loads(r.payload) for r in outbox.page() if b'"seq"' in r.payload]
    assert payloads
    assert {one["installation"] for one in payloads} == {known}
