"""Makes a connection to a broker, in the newest MQTT version that it speaks."""

from __future__ import annotations

import msgspec

from edge.config import Broker
from edge.errors import LostError
from edge.mqtt import Connection, Limits, ProtocolRefusedError, Will
from edge.reasons import QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED


def connect(
    broker: Broker,
    client_id: str,
    will: Will | None,
    speaks_5: bool = False,
    most_bytes: int | None = None,
) -> Connection:
    """Connect, with MQTT 5 where the broker speaks it and ``protocol = "auto"``.

    Unless the broker spoke 5 the last time (`speaks_5`) and does so again, a first connection
    without a last will finds out: a broker of 3.1.1 may read a will in the layout of 5 as nonsense
    and say nothing at all, where it plainly refuses a connection without one. Under MQTT 5 the
    broker keeps back what is larger than `most_bytes`.

    Raises:
        PublishError: the name is unknown, nobody listens, or the broker refuses.
        ConfigError: the password or a TLS file cannot be read.
    """
    if broker.protocol != "auto":
        return _with_will(broker, client_id, will, broker.protocol, most_bytes)
    if speaks_5:
        try:
            return _with_will(broker, client_id, will, "5", most_bytes)
        except ProtocolRefusedError:
            pass  # it may be another broker by now, or an older one
    limits = _speaks_5(broker, client_id)
    if limits is None:
        return Connection(broker, client_id, will, "3.1.1")
    if will:
        qos, retain = min(will.qos, limits.maximum_qos), will.retain and limits.retain
        will = msgspec.structs.replace(will, qos=qos, retain=retain)
    return _with_will(broker, client_id, will, "5", most_bytes)


def _speaks_5(broker: Broker, client_id: str) -> Limits | None:
    """Find out what the broker takes under MQTT 5; None: it speaks 3.1.1 only.

    Under 3.1.1 it could deny a message unnoticed, so a connection that was only cut is no answer:
    a network does that too, and a server without a broker behind it. Such a broker must take 3.1.1
    and hang up on 5 again, twice.
    """
    for doubts in (2, 1, 0):
        try:
            with Connection(broker, client_id, None, "5") as probe:
                probe.disconnect()
                return probe.limits
        except ProtocolRefusedError as error:
            if error.plainly or not doubts:
                return None
        with Connection(broker, client_id, None, "3.1.1") as probe:
            probe.disconnect()
    return None


def _with_will(
    broker: Broker, client_id: str, will: Will | None, protocol: str, most_bytes: int | None
) -> Connection:
    """Connect; with a lesser will where the broker takes no better one."""
    for _ in range(2):
        try:
            return Connection(broker, client_id, will, protocol, most_bytes)
        except LostError as error:
            if will and will.qos and error.code == QOS_NOT_SUPPORTED:
                will = msgspec.structs.replace(will, qos=0)
            elif will and will.retain and error.code == RETAIN_NOT_SUPPORTED:
                will = msgspec.structs.replace(will, retain=False)
            else:
                raise
    return Connection(broker, client_id, will, protocol, most_bytes)
