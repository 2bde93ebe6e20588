"""The contents of a bundle file, within limits, not yet believed.

Needs neither NumPy nor Pillow, so that a program can unpack while it still imports them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from edge.errors import BundleFormatError, BundleMembersError, BundleTooLargeError, os_errors_as
from edge.messages.base import MAX_BUNDLE_BYTES
from edge.model.bundle import archive

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL = "model.tflite"
EDGETPU_MODEL = "model_edgetpu.tflite"
UNKNOWN_RULE = "unknown.bin"

#: Limits, in bytes where not said otherwise. The models meant are 0.1 to 10 MB.
MAX_MEMBER_BYTES = 64 << 20
MAX_TOTAL_BYTES = 128 << 20
MAX_MANIFEST_BYTES = 1 << 20
MAX_MEMBERS = 64

_GOLDEN = re.compile(r"golden/[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.png")


class Content(msgspec.Struct, frozen=True):
    """A member's bytes and their hash."""

    data: bytes
    sha256: str


class Unpacked(msgspec.Struct, frozen=True):
    """A bundle's members by name; nothing is verified yet."""

    members: dict[str, Content]
    sha256: str
    """Of the bundle file."""
    size: int
    """Of the bundle file, bytes."""


def unpack(path: Path | str) -> Unpacked:
    """Read a bundle file and all its members, names and sizes checked before contents.

    Raises:
        BundleFormatError: unreadable, or no zip archive in the form of a bundle.
        BundleMembersError: members doubled, with unexpected names, or no manifest.
        BundleTooLargeError: beyond the size limits.
        BundleIntegrityError: a member is damaged.
    """
    data = _read_file(path)
    members = archive.directory(data)
    if len(members) > MAX_MEMBERS:
        raise BundleTooLargeError(f"{len(members)} members; at most {MAX_MEMBERS} are allowed")
    for name in members:
        if not is_member_name(name):
            raise BundleMembersError(f"unexpected member {name!r}")
    if MANIFEST not in members:
        raise BundleMembersError(f"{MANIFEST} is missing")
    check_sizes({name: member.size for name, member in members.items()})
    contents = {name: archive.read(data, member) for name, member in members.items()}
    return Unpacked(
        {name: Content(content, _sha256(content)) for name, content in contents.items()},
        _sha256(data),
        len(data),
    )


def is_member_name(name: str) -> bool:
    """Whether a bundle can have a member of this name."""
    known = (MANIFEST, SIGNATURE, MODEL, EDGETPU_MODEL, UNKNOWN_RULE)
    return name in known or bool(_GOLDEN.fullmatch(name))


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Hold the sizes of all members, in bytes, against the limits.

    Raises:
        BundleTooLargeError: one of them, or all together, are beyond.
    """
    for name, size in sizes.items():
        limit = MAX_MANIFEST_BYTES if name in (MANIFEST, SIGNATURE) else MAX_MEMBER_BYTES
        if size > limit:
            raise BundleTooLargeError(f"{name} has {size} bytes; the limit is {limit}")
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise BundleTooLargeError(f"members of more than {MAX_TOTAL_BYTES} bytes together")


def _read_file(path: Path | str) -> bytes:
    cure = "; give the file that `python -m quantize run` wrote"
    with os_errors_as(BundleFormatError, f"{path}", cure), open(path, "rb") as file:
        data = file.read(MAX_BUNDLE_BYTES + 1)
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleTooLargeError(f"{path}: more than {MAX_BUNDLE_BYTES} bytes")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
