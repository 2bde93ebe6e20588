"""TIFF files of kinds that Pillow reads and does not write."""

from __future__ import annotations

import struct

_FORMS = {1: "B", 3: "H", 4: "I", 11: "f"}
Tag = tuple[int, int, tuple[float, ...]]
"""Number, type (TIFF 6.0, section 2: 1 byte, 3 short, 4 long, 11 float), values."""


def tiff(
    width: int,
    height: int,
    data: bytes,
    *,
    bits: tuple[int, ...] = (16,),
    photometric: int = 1,
    sample_format: int = 1,
    more: tuple[Tag, ...] = (),
) -> bytes:
    """Make a little-endian TIFF of one uncompressed strip."""
    tags: list[Tag] = [
        *((256, 4, (width,)), (257, 4, (height,)), (258, 3, bits), (259, 3, (1,))),
        *((262, 3, (photometric,)), (273, 4, (8,)), (277, 3, (len(bits),))),
        *((278, 4, (height,)), (279, 4, (len(data),)), (339, 3, (sample_format,) * len(bits))),
        *more,
    ]
    body = data + bytes(len(data) % 2)
    entries, beside = b"", b""
    start = 8 + len(body) + 2 + 12 * len(tags) + 4
    for number, kind, values in sorted(tags):
        packed = struct.pack(f"<{len(values)}{_FORMS[kind]}", *values)
        if len(packed) > 4:
            value = struct.pack("<I", start + len(beside))
            beside += packed
        else:
            value = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", number, kind, len(values)) + value
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    return head + body + struct.pack("<H", len(tags)) + entries + bytes(4) + beside
