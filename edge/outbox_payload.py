"""How a message lies in the outbox: a sighting's JSON is deflated to a third of its size.

What a card wears by is the blocks that are written; small messages make small pages.
"""

from __future__ import annotations

import zlib

from edge.errors import OutboxDamagedError

_PLAIN, _DEFLATED = 0x7B, 1
"""First bytes: that of a JSON object, and of what was deflated with the first dictionary."""

# What a sighting mostly says, what is said most often last. Never to be changed: what was written
# with it waits on devices. Another one gets a first byte of its own.
_DICTIONARY = (
    b'"reason":"below-threshold","reason":"background","phase":"single","ended":"gone","ended":'
    b'"blind","ended":"stop","ended":"cut","clock":"retimed","clock":"holdover","clock":"rtc",'
    b'"clock":"unsynced","reason":"unknown","location":{"lat":-0.0,"lon":0.0,"alt":null,'
    b'"accuracy_metres":null,"source":"gps"},"historical":true,"region":null,"regions":[],'
    b'"tiles":1},{"box":[,"phase":"update","phase":"end","location":{"lat":51.,"lon":4.,"alt":2.0,'
    b'"accuracy_metres":null,"source":"config"},{"schema":1,"device":"cam-","boot":"","seq":1,'
    b'"id":"","time":"2026-06-01T00:00:00.000000Z","clock":"synced","boot_seconds":null,"label":"",'
    b'"reason":null,"confidence":0.9,"alternatives":[{"label":"","confidence":0.9},{"label":"",'
    b'"confidence":0.0}],"votes":{"agree":2,"of":3},"model":{"name":"","version":"1","sha256":""},'
    b'"frame":{"width":1920,"height":1080,"region":[0,0,640,480],"source":".jpg","regions":[{"box":'
    b'[0,0,640,480],"confidence":0.9,"tiles":1}]},"location":null,"phase":"begin","event":"",'
    b'"since":"2026-06-01T00:00:00.000000Z","duration_seconds":0.0,"best_time":'
    b'"2026-06-01T00:00:00.000000Z","ended":null,"historical":false,"skipped":0}'
)


def pack(payload: bytes) -> bytes:
    """Give JSON as it is stored."""
    deflate = zlib.compressobj(9, wbits=-15, zdict=_DICTIONARY)
    small = deflate.compress(payload) + deflate.flush()
    return bytes((_DEFLATED,)) + small + zlib.adler32(payload).to_bytes(4, "big")


def unpack(stored: bytes) -> bytes:
    """Give what was packed; also JSON that was stored plain. Raises OutboxDamagedError."""
    kind = stored[:1]
    if kind == bytes((_PLAIN,)):
        return stored
    if kind != bytes((_DEFLATED,)):
        raise OutboxDamagedError(f"a message begins with {kind!r}")
    try:
        payload = zlib.decompressobj(-15, zdict=_DICTIONARY).decompress(stored[1:-4], _MOST_BYTES)
    except zlib.error as error:
        raise OutboxDamagedError(f"a message cannot be inflated ({error})") from None
    if zlib.adler32(payload).to_bytes(4, "big") != stored[-4:]:
        raise OutboxDamagedError("a message has another checksum than when it was written")
    return payload


_MOST_BYTES = 16_000_000
"""No more than this is made of damaged bytes."""
