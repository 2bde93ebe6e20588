"""Every topic of a device: what is published there, and how."""

from __future__ import annotations

from typing import NamedTuple

from edge.messages.payloads import PAYLOADS


class Topic(NamedTuple):
    """One line of the table of topics."""

    suffix: str
    retained: bool
    qos: int
    payload: str
    what: str
    root: str = "<base>/<device>/"
    """What stands before the suffix."""

    @property
    def address(self) -> str:
        """The whole topic."""
        return self.root + self.suffix

    @property
    def described(self) -> bool:
        """The payload is one of the structs."""
        return self.payload in {struct.__name__ for struct in PAYLOADS}

    @property
    def by_verb(self) -> bool:
        """Its payload is another for each verb."""
        return self.asks or self.answers

    @property
    def asks(self) -> bool:
        """It is sent to the device, not by it."""
        return self.suffix.startswith("request/")

    @property
    def answers(self) -> bool:
        """It is the answer to a request."""
        return self.suffix.startswith("response/")


TOPICS = (
    Topic("availability", True, 1, "text", "`online`, or `offline` (also said by the last will)"),
    Topic("info", True, 1, "Info", "what the device is; on every connection"),
    Topic("state", True, 1, "State", "the newest sighting, what is there now, counts per hour"),
    Topic("sighting", False, 1, "Sighting", "what was decided: a visit's begin, update or end"),
    Topic(
        "sighting/<id>/image", False, 1, "JPEG", "the picture behind it, where `[images]` says so"
    ),
    Topic("health", False, 0, "Health", "temperature, memory, disk, counters"),
    Topic(
        "inbox/<id>/meta", False, 1, "InboxItem", "a picture to learn from, where `[inbox]` says so"
    ),
    Topic("inbox/<id>", False, 1, "JPEG", "its thumbnail"),
    Topic("update", True, 1, "ModelUpdate", "how far a new model is, where `model.store` is set"),
    Topic(
        "request/<verb>",
        False,
        1,
        "JSON",
        "to the device: what it is asked for",
    ),
    Topic("response/<verb>", False, 1, "Response", "its answer"),
    Topic(
        "<prefix>/device/<name>/config",
        True,
        1,
        "JSON",
        "what [Home Assistant](home-assistant.md) shows, where `[homeassistant]` says so",
        root="",
    ),
    Topic("check", False, 1, "text", "sent by `wheatear check`, to see that the broker takes it"),
)
