"""JPEG files that are damaged inside: a lost sector decodes, into a picture shifted or half grey.

Damage puts the decoder out of step, so that the pixels end before the data or the data before the
pixels. libjpeg only warns of that, and Pillow hears no warning; but it shows:

- *data missing*: bytes added behind the data of a scan are used, and change the picture;
- *data left over*: bytes taken from their end are not missed. (Where data end early, libjpeg
  leaves the rest grey, so that in a sound file the last block changes, whatever it shows.)

The same is tried at each restart marker; their numbers must also follow each other. A sector full
of zeros may by chance leave the decoder in step, and is looked for.
"""

from __future__ import annotations

import io
import re
import struct

import numpy as np
from PIL import Image

_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""Ends the data of a scan: any marker but a restart; FF 00 is a byte of data."""
_RESTART = re.compile(rb"\xff+([\xd0-\xd7])")
_SOS, _EOI, _FIRST_AC_TABLE = 0xDA, 0xD9, 0x10
_ADDED = bytes((0x5A, 0xA5, 0x3C, 0x96)) * 16
_TAKEN = 12
"""Bytes. A sound scan ends with a few bits to spare, or blocks that lie outside the picture."""
_ZEROS = bytes(64)
"""No photo holds as many: by the usual code tables, one block full of the same tiny ripples after
the other. (Of 3,577 photos seen, none held more than 7 zeros.)"""


def damage(data: bytes) -> str | None:
    """How the pixels of a JPEG that Pillow decodes are damaged; None where they seem sound.

    Decodes the picture three times. Of a progressive JPEG, and of one with restart markers, only
    missing data are found. Bytes that are no JPEG seem sound.
    """
    scans = _scans(data)
    if not scans:
        return None
    pieces = [piece for scan in scans for piece in _pieces(data, *scan)]
    for scan in scans:
        numbers = [found[1][0] - 0xD0 for found in _RESTART.finditer(data, *scan)]
        if any(number != i % 8 for i, number in enumerate(numbers)):
            return "restart markers are missing or out of order"
    progressive = len(scans) > 1
    if not progressive and _ZEROS in data[slice(*scans[0])] and _zeros_are_ripples(data):
        return "zeros in place of data; the picture is shifted"
    whole = _decoded(data)
    if not np.array_equal(whole, _decoded(_with(data, pieces, added=_ADDED))):
        return "data are missing; the picture is shifted, or ends in grey"
    grey_end = bool((whole[-16:, -16:] == 128).all())  # as where data are missing
    if (
        len(pieces) == 1
        and not grey_end
        and np.array_equal(whole, _decoded(_with(data, pieces, taken=_TAKEN)))
    ):
        return "data are left over; the picture is shifted"
    return None


def _zeros_are_ripples(data: bytes) -> bool:
    """Whether zeros mean other values than "nothing more in this block" for brightness."""
    at = data.find(b"\xff\xc4")
    while 0 <= at < len(data) - 21:
        length = struct.unpack_from(">H", data, at + 2)[0]
        table, end = at + 4, at + 2 + length
        while table < end:
            if data[table] == _FIRST_AC_TABLE:
                return data[table + 17] != 0
            table += 17 + sum(data[table + 1 : table + 17])
        at = data.find(b"\xff\xc4", end)
    return False


def _scans(data: bytes) -> list[tuple[int, int]]:
    """Where the data of each scan begin and end, before the marker that follows."""
    scans = []
    at = 2 if data.startswith(b"\xff\xd8") else len(data)
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xFF:
            at += 1
            continue
        if kind == _EOI:
            break
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
        if kind == _SOS:
            end = _MARKER.search(data, at)
            scans.append((at, end.start() if end else len(data)))
            at = scans[-1][1]
    return scans


def _pieces(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Divide a scan at its restart markers."""
    pieces = []
    for found in _RESTART.finditer(data, start, end):
        pieces.append((start, found.start()))
        start = found.end()
    return [*pieces, (start, end)]


def _with(data: bytes, pieces: list[tuple[int, int]], added: bytes = b"", taken: int = 0) -> bytes:
    """The file with bytes added to, or taken from, the end of each piece."""
    parts, at = [], 0
    for start, end in pieces:
        cut = max(start, end - taken)
        if data[cut - 1 : cut] == b"\xff":  # no half of FF 00
            cut -= 1
        parts += [data[at:cut], added]
        at = end
    return b"".join((*parts, data[at:]))


def _decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
