"""How a scripted broker behaves (see :mod:`strict_broker`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """How the broker behaves. Topics are given by their ends; ``""`` is all of them."""

    speaks: tuple[int, ...] = (4, 5)
    """Protocol levels: 4 is MQTT 3.1.1."""
    silent: tuple[int, ...] = ()
    """Levels at whose CONNECT it hangs up without a word."""
    connack: int = 0
    """Its reason code."""
    receive_maximum: int | None = None
    maximum_qos: int | None = None
    retain: bool = True
    maximum_packet_size: int | None = None
    keep_alive: int | None = None
    wildcards: bool = True
    shared: bool = True
    mute: tuple[str, ...] = ()
    """Never acknowledged."""
    late_seconds: float = 0.0
    """Until an acknowledgement."""
    gather: int = 1
    """Acknowledgements are sent in reverse order, so many together."""
    wrong_ids: tuple[str, ...] = ()
    """Acknowledged with another packet identifier."""
    pubrecs: tuple[str, ...] = ()
    """Answered with a PUBREC, and what comes upon that with a PUBCOMP."""
    subacks: tuple[str, ...] = ()
    """Answered with a SUBACK."""
    codes: dict[str, int] = field(default_factory=dict)
    """Acknowledged with this reason code."""
    refuse_payload: tuple[bytes, int] | None = None
    """What is acknowledged with a reason code where it stands in a payload, and the code."""
    hang_up: tuple[str, ...] = ()
    """Topics that make it hang up."""
    hang_up_bytes: int | None = None
    """Packets larger than this make it hang up."""
    hang_up_payload: bytes | None = None
    """What makes it hang up where it stands in a payload."""
    hang_up_after: int | None = None
    """So many publishes, on each connection."""
    goodbyes: dict[str, int] = field(default_factory=dict)
    """Topics that it answers with a DISCONNECT of this reason code."""
    swallow_after: int | None = None
    """After so many publishes it reads and says nothing more, and stays connected."""
    stop_reading: bool = False
    """It does not even read then."""
    half_packet_after: int | None = None
    """The acknowledgement of this publish is cut in its middle, and the connection with it."""
    garbage_after: int | None = None
    """After so many publishes it sends what is no MQTT."""
    trickle: bool = False
    """It sends byte by byte."""
    idle_seconds: float | None = None
    """Nothing for so long makes it hang up, as a load balancer would."""
    bytes_per_second: int | None = None
    """It reads no faster, and holds little in between; from the start on."""
    properties: bytes = b""
    """More properties of its CONNACK, as they stand there."""
    says: tuple[bytes, ...] = ()
    """Packets that it sends once it has answered a subscription."""
    granted: int | None = None
    """What it answers to each filter, if not what was asked for."""
    subscriptions: bool = True
    """It answers SUBSCRIBE."""
    pings: bool = True
    """It answers PINGREQ."""
