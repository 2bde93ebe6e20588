"""What the publisher knows beyond a connection: what was denied, set back and set aside."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.errors import StalledError
from edge.mqtt.denials import Denials
from edge.mqtt.in_flight import Key, Sent
from edge.mqtt.poison_messages import Suspects
from edge.outbox.dead_letters import DeadLetters
from edge.system.counters import Counters, Episode

_LETTERS = "dead letters"


class DeniedError(ConnectionRefusedError):
    """The broker answered a publish with no."""


class SetBackError(ConnectionAbortedError):
    """The broker does not take a message from the outbox."""


class Stall:
    """A message that stays under way without an answer, remembered beyond its connection. Messages
    from the outbox stand for each other.
    """

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self._sender: str | None = None

    def is_on(self, key: Key) -> bool:
        """Whether this message is known to stand still."""
        return self._sender == _sender(key)

    def stands(self, oldest: Sent) -> None:
        """Note that this message is under way, and nothing moves."""
        self._sender = _sender(oldest.key)
        self._episode.failed(
            StalledError(
                f"connected, but {oldest.topic} is not acknowledged; look at the broker and its log"
            )
        )

    def answered(self, key: Key) -> bool:
        """Note an answer; True where it ends a standstill."""
        if not self.is_on(key):
            return False
        self._sender = None
        return self._episode.recovered()


def _sender(key: Key) -> str:
    return "outbox" if isinstance(key, int) else key


class Standing:
    """Shared by all who send over the connections of one publisher.

    Nothing is denied at first; what was set aside earlier is named again.
    """

    def __init__(
        self,
        counters: Counters,
        letters: DeadLetters,
        log: logging.Logger,
        denied_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.counters, self.letters = counters, letters
        self.denials = Denials(denied_seconds, monotonic)
        self.suspects = Suspects(Denials(denied_seconds, monotonic))
        self.broken = Episode("broker", counters, log)
        """There is no connection, or it carries nothing."""
        self.access = Episode("broker access", counters, log)
        """The broker denies something."""
        self.held = Episode("delivery", counters, log)
        """A message is set back, or sightings wait because none passes."""
        self.stall = Stall(Episode("acknowledgements", counters, log))
        self.count_letters()

    def count_letters(self) -> None:
        """Report in ``problems`` what is set aside."""
        self.counters.failing(_LETTERS, self.letters.summary())

    def taken(self, kind: str) -> None:
        """Note that the broker took something of this kind."""
        if self.denials.allow(kind) and not self.denials.any():
            self.access.recovered()

    def denied(self, kind: str, why: str) -> None:
        """Note that the broker takes nothing of this kind: it rests; log why."""
        self.denials.deny(kind)
        self.refused(why)

    def refused(self, why: str) -> None:
        """Count a message that the broker does not take, and log why."""
        self.counters.add("denied")
        self.access.failed(DeniedError(why))

    def set_back(self, why: str) -> None:
        """Log why a message, or all sightings, stay on disk."""
        self.held.failed(SetBackError(why))
