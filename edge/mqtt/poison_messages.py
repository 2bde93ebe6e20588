"""Finds the message at which connections break, or which alone the broker refuses.

A message that makes the broker hang up would otherwise be sent again with every connection, for
ever, and everything behind it would wait. So after two breaks in a row, with nothing taken in
between of what was under way at the first, each message under way is sent alone; a link that breaks
every few seconds, yet carries messages, blames none of them. One that breaks the connection a few
times is *set back*: it is left out, and what comes after it is tried. When that passes it was the
message (a sighting is tried once more even then, for the broker may have changed its mind), and it
becomes a dead letter (:mod:`edge.outbox.dead_letters`); where the next sighting fares no better no
message is to blame, and all of them wait in their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edge.mqtt.denials import Denials
from edge.mqtt.in_flight import Key
from edge.outbox.rows import Kind, Row

STRIKES = {Kind.SIGHTING: 5, Kind.IMAGE: 3, Kind.HEALTH: 3}
"""So many breaks with a message alone under way set it back: more for what matters more. One less
where it was under way at the two that made it suspect: a picture is sent four times at most."""
TOPIC_STRIKES = 3
"""The same for what is not in the outbox."""


class Suspect(NamedTuple):
    """A message that was set back."""

    row: Row
    why: str


class Suspects:
    """What is known of messages at which connections broke; outlives connections."""

    def __init__(self, denials: Denials) -> None:
        """Take how long what is set back rests: its own, not those of whole topics."""
        self._denials = denials
        self._open: set[Key] = set()
        self._strikes: dict[Key, int] = {}
        self._together: set[Key] = set()
        """Under way at two breaks in a row, with others."""
        self._back: dict[int, Suspect] = {}
        self._others_pass: set[int] = set()
        self._breaking_bytes: int | None = None
        self._at_last_break: set[Key] = set()
        self._moved = True
        """Something of that was taken since."""

    @property
    def careful(self) -> bool:
        """Only one message may be under way."""
        return bool(self._open or self._back)

    @property
    def back(self) -> tuple[Suspect, ...]:
        """What is set back now, in the order of the outbox."""
        return tuple(self._back[row] for row in sorted(self._back))

    def is_back(self, row: int) -> bool:
        """Whether to leave this row out."""
        return row in self._back

    def broke(self, keys: Iterable[Key], row: Row | None, why: str) -> str | None:
        """Note that a connection broke with these under way; `row`: the one that was alone.

        Give the topic that broke it too often, which is not from the outbox and is to be left
        alone for a while.
        """
        keys = tuple(keys)
        stuck, self._moved = not self._moved, False
        # What the device says of itself is small: that it passes does not carry the backlog on.
        self._at_last_break = {key for key in keys if isinstance(key, int)} or set(keys)
        if len(keys) != 1:
            if stuck or self.careful:
                self._open.update(keys)
            if stuck:
                self._together.update(keys)
            return None
        key = keys[0]
        self._open.add(key)
        strikes = self._strikes[key] = self._strikes.get(key, 0) + 1
        if isinstance(key, str):
            if strikes < TOPIC_STRIKES:
                return None
            self.cleared(key)
            return key
        if row is not None and strikes >= self._needed(row):
            times = "once" if strikes == 1 else f"{strikes} times"
            self.set_back(row, f"{why} ({times} with nothing else under way)")
        return None

    def _needed(self, row: Row) -> int:
        found_out = self._breaking_bytes
        if row.kind is Kind.IMAGE and found_out is not None and len(row.payload) >= found_out:
            return 1
        return STRIKES[row.kind] - (row.row in self._together)

    def set_back(self, row: Row, why: str) -> None:
        """Leave a message out for now."""
        self._back[row.row] = Suspect(row, why)
        self._denials.deny(_name(row.row))

    def guilty(self, row: int) -> bool:
        """Whether this row was set back again after others had passed."""
        return row in self._back and row in self._others_pass

    @property
    def blameless(self) -> bool:
        """Two sightings are set back and none passed in between: it is not the messages."""
        return sum(one.row.kind is Kind.SIGHTING for one in self._back.values()) > 1

    def acquit(self) -> int:
        """Take everything set back into its place again; give the first row."""
        first = min(self._back)
        self._others_pass.clear()
        for row in self._back:
            self._denials.allow(_name(row))
        self._back.clear()
        return first

    def due(self) -> int | None:
        """The first row that was set back long enough to be tried again."""
        for row in sorted(self._back):
            if not self._denials.resting(_name(row)):
                del self._back[row]
                return row
        return None

    def cleared(self, key: Key) -> None:
        """Note that this one is not, or no longer, to be looked at: it was taken."""
        self._moved = self._moved or key in self._at_last_break
        self.forget(key)

    def forget(self, key: Key) -> None:
        """Note that this one is gone, taken or not."""
        self._open.discard(key)
        self._together.discard(key)
        self._strikes.pop(key, None)
        if isinstance(key, int):
            self._back.pop(key, None)
            self._others_pass.discard(key)
            self._denials.allow(_name(key))

    def absent(self, key: Key) -> None:
        """Note that there is nothing to send of this one: nothing waits for it to be cleared."""
        self._open.discard(key)

    def none_waits(self) -> None:
        """Note that the outbox holds nothing more but what is set back."""
        self._open = {key for key in self._open if isinstance(key, str)}

    def found(self, passed: Row) -> list[Suspect]:
        """Return the pictures of which it is proved that the broker does not take them, because
        `passed` did pass. A sighting is to be tried once more, and at once, where `passed` is one:
        by anything else it is not proved, for its topic may be the trouble.
        """
        if passed.kind is Kind.SIGHTING:
            for one in self.back:
                if one.row.kind is Kind.SIGHTING:
                    self._others_pass.add(one.row.row)
                    self._denials.allow(_name(one.row.row))
        return [one for one in self.back if one.row.kind is not Kind.SIGHTING]

    def settled(self, suspect: Suspect) -> None:
        """Note that a suspect is put away."""
        row = suspect.row
        if row.kind is Kind.IMAGE and row.row in self._strikes:
            size = len(row.payload)
            self._breaking_bytes = min(size, self._breaking_bytes or size)
        self.cleared(row.row)


def _name(row: int) -> str:
    return f"row {row}"
