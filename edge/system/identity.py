"""Who this device is: by its board, by its first start, and by this start of the computer."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import socket
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.errors import RecordError
from edge.system.board import read
from edge.system.record_file import RecordFile
from edge.system.state_origin import Keeping, keeping
from edge.system.volatile_storage import Storage, storage

if TYPE_CHECKING:
    from edge.config import Config

log = logging.getLogger(__name__)

NAME = "installation.json"
"""Beside the outbox."""
_APPLICATION = bytes.fromhex("9d0f6b7a5a1e4c0b8f42a4b6e1c37d58")
"""Neither a serial number nor a machine id is told to anybody, only this, hashed with it as the
key: as machine-id(5) asks and sd_id128_get_machine_app_specific(3) does."""
_SERIALS = (
    "proc/device-tree/serial-number",
    "sys/firmware/devicetree/base/serial-number",
)
_ID_DIGITS = 6


@cache
def boot_id(root: Path = Path("/")) -> str:
    """12 hexadecimal digits that change with every start of the computer.

    Linux draws a random UUID at boot; where it cannot be read, the program draws one at its start.
    """
    try:
        text = (root / "proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        text = uuid.uuid4().hex
    return text.strip().replace("-", "")[:12]


class BoardIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hashes that tell one computer from another; None: it does not say."""

    serial: str | None = None
    """Of the board's serial number: the same whatever card is in it."""
    machine: str | None = None
    """Of the machine id, which is on the card, and copied with it where nobody removes it."""


@cache
def board(root: Path = Path("/")) -> BoardIds:
    """Ask the computer."""
    found = [read(root / path, _serial) for path in _SERIALS]
    found.append(read(root / "proc/cpuinfo", _cpuinfo))
    machine = read(root / "etc/machine-id", _machine_id)
    return BoardIds(next((_hash(one) for one in found if one), None), machine and _hash(machine))


@cache
def own_id(root: Path = Path("/")) -> str:
    """Make an id for a device that was given none, the same at every start: ``cam-3f9a1c``.

    From the board's serial number, else the machine id, else the host name.
    """
    here = board(root)
    known = here.serial or here.machine or _hash(socket.gethostname())
    return f"cam-{known[:_ID_DIGITS]}"


def device_id(config: Config) -> str:
    """The id in topics: as configured, else made from what the board says about itself."""
    return config.device.id or own_id()


class _Installation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of the file on disk."""

    id: str
    board: BoardIds
    keeping: Keeping = Keeping()


def installation(folder: Path, root: Path = Path("/"), on: Storage | None = None) -> str:
    """The id of this installation: 16 hexadecimal digits, drawn at the first start and kept in
    `folder`; drawn anew where the folder was copied to another board or card, or was put back from
    a copy, as far as that can be noticed. Raises ShortageError.
    """
    file, here = RecordFile(folder / NAME, _Installation), board(root)
    kept, now = _read(file), keeping(folder, on or storage(folder, root), boot_id(root), _hash)
    if kept is None:
        new = _Installation(secrets.token_hex(8), here, now)
    elif why := _another(kept, here, now):
        log.warning("the data in %s %s: a new installation begins", folder, why)
        new = _Installation(secrets.token_hex(8), here, now)
    else:
        new = _Installation(kept.id, kept.board, kept.keeping.along(now))
    if new != kept:
        try:
            file.replace(new)
        except RecordError as error:
            log.error("%s: the next start is another installation", error)
    return new.id


def _another(kept: _Installation, here: BoardIds, now: Keeping) -> str | None:
    """In words, why this is another installation than the one before; None: it is the same."""
    if _other_board(kept.board, here):
        return "come from another board"
    if kept.keeping.another(now):
        return "lie on another card or were put back from a copy"
    return None


def _other_board(before: BoardIds, now: BoardIds) -> bool:
    """Whether a computer is another one; by its serial number where both have one."""
    if before.serial and now.serial:
        return before.serial != now.serial
    if before.machine and now.machine:
        return before.machine != now.machine
    return False


def _read(file: RecordFile[_Installation]) -> _Installation | None:
    try:
        return file.read()
    except RecordError as error:
        log.error("%s: a new installation begins", error)
        return None


def _serial(text: str) -> str:
    """Read a serial number; all zeros is none."""
    number = text.strip("\0\n ")
    if not number.strip("0"):
        raise ValueError("no serial number")
    return number.lower()


def _cpuinfo(text: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Serial":
            return _serial(value)
    raise ValueError("no serial number")


def _machine_id(text: str) -> str:
    """Read a machine id; systemd writes ``uninitialized`` into an image that is to be copied."""
    number = text.strip()
    if not re.fullmatch(r"[0-9a-f]{32}", number) or not number.strip("0"):
        raise ValueError("no machine id")
    return number


def _hash(known: str) -> str:
    return hmac.new(known.encode(), _APPLICATION, "sha256").hexdigest()[:32]
