"""Makes a connection to a broker, in the newest MQTT version that it speaks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from edge.config import Broker
from edge.errors import LostError
from edge.mqtt.addresses import KnownAddresses, addresses, first_that_answers
from edge.mqtt.connection import Connection, ProtocolRefusedError
from edge.mqtt.reason_codes import QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED
from edge.mqtt.wire import Limits, Will

Addresses = Callable[[str, int], list[str]]
"""How a name is resolved: :func:`edge.mqtt.addresses.addresses`."""


def connect(
    broker: Broker,
    client_id: str,
    will: Will | None,
    speaks_5: bool = False,
    most_bytes: int | None = None,
    resolve: Addresses = addresses,
    known: KnownAddresses | None = None,
) -> Connection:
    """Connect, with MQTT 5 where the broker speaks it and ``protocol = "auto"``.

    Of several addresses the first at which a broker answers is taken, beginning with the one that
    `known` has from the last time. Unless the broker spoke 5 the
    last time (`speaks_5`) and does so again, a first connection without a last will finds out: a
    broker of 3.1.1 may read a will in the layout of 5 as nonsense and say nothing at all, where it
    plainly refuses a connection without one. Under MQTT 5 the broker keeps back what is larger than
    `most_bytes`.

    Raises:
        PublishError: the name is unknown, nobody listens, or the broker refuses.
        ConfigError: the password or a TLS file cannot be read.
    """

    def attempt(at: str) -> Connection:
        connection = _Caller(broker, client_id, most_bytes, at).connect(will, speaks_5)
        last.answered(at)
        return connection

    last = known or KnownAddresses()
    return first_that_answers(last.first(resolve(*broker.address)), attempt)


class _Caller:
    """Whom to call, and as whom."""

    def __init__(self, broker: Broker, client_id: str, most_bytes: int | None, at: str) -> None:
        self._broker, self._client_id, self._most_bytes = broker, client_id, most_bytes
        self._at = at

    def connect(self, will: Will | None, speaks_5: bool) -> Connection:
        """Agree on a version, and connect."""
        if self._broker.protocol != "auto":
            return self._with_will(will, self._broker.protocol)
        if speaks_5:
            try:
                return self._with_will(will, "5")
            except ProtocolRefusedError:
                pass  # it may be another broker by now, or an older one
        limits = self._speaks_5()
        if limits is None:
            return self._open(will, "3.1.1")
        if will:
            qos, retain = min(will.qos, limits.maximum_qos), will.retain and limits.retain
            will = msgspec.structs.replace(will, qos=qos, retain=retain)
        return self._with_will(will, "5")

    def _open(self, will: Will | None, protocol: str, most_bytes: int | None = None) -> Connection:
        return Connection(self._broker, self._client_id, will, protocol, most_bytes, self._at)

    def _speaks_5(self) -> Limits | None:
        """Find out what the broker takes under MQTT 5; None: it speaks 3.1.1 only.

        Under 3.1.1 it could deny a message unnoticed, so a connection that was only cut is no
        answer: a network does that too, and a server without a broker behind it. Such a broker must
        take 3.1.1 and hang up on 5 again, twice.
        """
        for last in (False, False, True):
            try:
                with self._open(None, "5") as probe:
                    probe.disconnect()
                    return probe.limits
            except ProtocolRefusedError as error:
                if error.plainly or last:
                    return None
            with self._open(None, "3.1.1") as probe:
                probe.disconnect()
        return None

    def _with_will(self, will: Will | None, protocol: str) -> Connection:
        """Connect; with a lesser will where the broker takes no better one."""
        while True:
            try:
                return self._open(will, protocol, self._most_bytes)
            except LostError as error:
                if will and will.qos and error.code == QOS_NOT_SUPPORTED:
                    will = msgspec.structs.replace(will, qos=0)
                elif will and will.retain and error.code == RETAIN_NOT_SUPPORTED:
                    will = msgspec.structs.replace(will, retain=False)
                else:
                    raise
