"""How a message lies in the outbox: a sighting's JSON is deflated to a third of its size.

What a card wears by is the blocks that are written; small messages make small pages.
"""

from __future__ import annotations

import zlib

from edge.errors import OutboxDamagedError

_PLAIN, _DEFLATED = 0x7B, 1
"""First bytes: that of a JSON object, and of what was deflated with the first dictionary."""

# What a sighting mostly says, what is said most often last: a whole one as a device sends it that
# follows no lives. Never to be changed: what was written with it waits on devices. Another one gets
# a first byte of its own.
DICTIONARY = (
    b'"reason":"below-threshold","reason":"background","phase":"single","ended":"gone","ended":'
    b'"blind","ended":"stop","ended":"cut","clock":"retimed","clock":"holdover","clock":"rtc",'
    b'"clock":"unsynced","reason":"unknown","location":{"lat":-0.0,"lon":0.0,"alt":null,'
    b'"accuracy_metres":null,"source":"gps"},"historical":true,"region":null,"region":'
    b'[0,0,640,480],"source":".jpg","regions":[{"box":[0,0,640,480],"confidence":0.9,"tiles":1},'
    b'{"box":[,"phase":"begin","phase":"update","phase":"end","location":{"lat":51.,"lon":4.,'
    b'"alt":2.0,"accuracy_metres":null,"source":"config"},{"schema":1,"device":"cam-",'
    b'"installation":"","boot":"","seq":1,"id":"","time":"2026-06-01T00:00:00.000000Z","clock":'
    b'"synced","boot_seconds":null,"label":"","reason":null,"confidence":0.9,"alternatives":['
    b'{"label":"","confidence":0.99999},{"label":"","confidence":0.0},{"label":"","confidence":'
    b'0.0}],"votes":{"agree":1,"of":1},"model":{"name":"","version":"1","sha256":""},"frame":{'
    b'"width":1920,"height":1080,"region":null,"source":".jpg","regions":[]},"location":null,'
    b'"phase":"single","event":"","since":"2026-06-01T00:00:00.000000Z","duration_seconds":0.0,'
    b'"best_time":"2026-06-01T00:00:00.000000Z","ended":null,"skipped":0,"historical":false}'
)


def pack(payload: bytes) -> bytes:
    """Return JSON as it is stored."""
    deflate = zlib.compressobj(9, wbits=-15, zdict=DICTIONARY)
    small = deflate.compress(payload) + deflate.flush()
    return bytes((_DEFLATED,)) + small + zlib.adler32(payload).to_bytes(4, "big")


def unpack(stored: bytes) -> bytes:
    """Return what was packed; also JSON that was stored plain. Raises OutboxDamagedError."""
    kind = stored[:1]
    if kind == bytes((_PLAIN,)):
        return stored
    if kind != bytes((_DEFLATED,)):
        raise OutboxDamagedError(f"a message begins with {kind!r}")
    try:
        payload = zlib.decompressobj(-15, zdict=DICTIONARY).decompress(stored[1:-4], _MOST_BYTES)
    except zlib.error as error:
        raise OutboxDamagedError(f"a message cannot be inflated ({error})") from None
    if zlib.adler32(payload).to_bytes(4, "big") != stored[-4:]:
        raise OutboxDamagedError("a message has another checksum than when it was written")
    return payload


_MOST_BYTES = 16_000_000
"""No more than this is made of damaged bytes."""
