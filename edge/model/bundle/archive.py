"""Read the one form of zip archive that bundles have; refuse every other.

Stricter than a general zip reader: members lie one after the other from the first byte, followed
by the directory and its end, and nothing else; both headers of a member agree; sizes are checked
before anything is decompressed. So no two readers can see different members, and no member can
grow beyond what its directory entry says. (It also starts faster than ``zipfile``, which loads
modules for all that it can do.)

Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.16 (end).
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from edge.errors import BundleFormatError, BundleIntegrityError, BundleMembersError

STORED, DEFLATED = 0, 8
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
#: General purpose bit 11: the name is UTF-8. Every other bit asks for what no bundle needs.
_UTF8 = 0x0800


class Member(msgspec.Struct, frozen=True):
    """A member that the directory lists; its data is not read yet."""

    name: str
    method: int
    crc: int
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes once decompressed."""
    start: int
    """Position of the packed bytes."""


def directory(data: bytes) -> dict[str, Member]:
    """List the members of the archive ``data`` in their order, by name.

    Raises:
        BundleFormatError: not an archive, damaged, or not in the form of a bundle.
        BundleMembersError: two members have the same name.
    """
    try:
        return _directory(data)
    except (struct.error, UnicodeDecodeError) as error:
        raise BundleFormatError(f"not a readable bundle: {error}") from error


def read(data: bytes, member: Member) -> bytes:
    """Return the decompressed bytes of a member, exactly ``member.size`` of them.

    Raises:
        BundleIntegrityError: damaged, or of another size than the directory says.
    """
    packed = memoryview(data)[member.start : member.start + member.packed]
    if member.method == STORED:
        content = bytes(packed)
    else:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than said: a member that has it is refused below, unread.
            content = inflater.decompress(packed, member.size + 1)
        except zlib.error as error:
            raise BundleIntegrityError(f"{member.name} is damaged: {error}") from error
        if not inflater.eof or inflater.unused_data:
            raise BundleIntegrityError(f"{member.name} is damaged or larger than it says")
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise BundleIntegrityError(f"{member.name} is damaged (CRC-32 or size differs)")
    return content


def _directory(data: bytes) -> dict[str, Member]:
    end_at = len(data) - _END.size
    if end_at < 0 or not data.startswith(b"PK\x03\x04"):
        raise BundleFormatError("not a model bundle (not a zip archive)")
    mark, disk, first_disk, here, count, length, at, comment = _END.unpack_from(data, end_at)
    if mark != b"PK\x05\x06" or (disk, first_disk, here, comment) != (0, 0, count, 0):
        raise BundleFormatError("cut short, or bytes follow the end of the archive")
    if at + length != end_at:
        raise BundleFormatError("the archive's directory is not where it should be")
    members: dict[str, Member] = {}
    position = 0
    for _ in range(count):
        member, at, position = _member(data, at, position)
        if member.name in members:
            raise BundleMembersError(f"two members have the name {member.name!r}")
        members[member.name] = member
    if at != end_at or position != end_at - length:
        raise BundleFormatError("the archive holds bytes that belong to no member")
    return members


def _member(data: bytes, at: int, position: int) -> tuple[Member, int, int]:
    """Read the directory entry at ``at`` and the local header at ``position``.

    Gives the member, where the next entry and where the next local header must be.
    """
    (mark, _made_by, needed, flags, method, time, date, crc, packed, size, name_length, extra,
     comment, disk, _internal, _external, offset) = _ENTRY.unpack_from(data, at)  # fmt: skip
    name_at = at + _ENTRY.size
    name = data[name_at : name_at + name_length]
    if mark != b"PK\x01\x02" or offset != position or (extra, comment, disk) != (0, 0, 0):
        raise BundleFormatError(
            "an entry of the archive's directory does not have the form that bundles use"
        )
    if flags & ~_UTF8 or method not in (STORED, DEFLATED):
        raise BundleFormatError(f"{name!r} is encrypted or of an unknown compression")
    local = (b"PK\x03\x04", needed, flags, method, time, date, crc, packed, size, name_length, 0)
    start = position + _LOCAL.size + name_length
    if _LOCAL.unpack_from(data, position) != local or data[start - name_length : start] != name:
        raise BundleFormatError(f"{name!r} is described differently in two places")
    if start + packed > len(data) or (method == STORED and packed != size):
        raise BundleFormatError(f"{name!r} has impossible sizes")
    member = Member(name.decode("utf-8"), method, crc, packed, size, start)
    return member, name_at + name_length, start + packed
