"""An append of which nobody knows yet whether the file has it.

Memory may run out in the very moment behind a commit, and an error may be that of what comes after
it. So what a commit changes is noted before it, and looked up in the file when it was no success.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from edge.messages.sighting import Sighting
from edge.outbox import sql as schema
from edge.outbox.counts import OutboxCounts
from edge.outbox.rows import Kind, Outgoing, Stored


class Attempt(msgspec.Struct, frozen=True):
    """What an append is to write."""

    messages: Sequence[Outgoing]
    """As they were handed in."""
    numbered: Sequence[Outgoing]
    """With their numbers."""
    rows: Sequence[Stored]
    count: int
    """How many of them are sightings."""
    dropped: Mapping[Kind, tuple[int, int]] | None
    """Messages and bytes of each kind that made room for them; None: there was room."""

    @property
    def seqs(self) -> list[int]:
        """The numbers of the messages, 0 for what has none."""
        return [one.seq if isinstance(one, Sighting) else 0 for one in self.numbered]

    def add_to(self, tally: OutboxCounts) -> None:
        """Count what was appended."""
        for row, message in zip(self.rows, self.numbered, strict=True):
            tally.add(row[0], row[5], row[4], message if isinstance(message, Sighting) else None)

    def is_in(self, db: sqlite3.Connection) -> bool:
        """Whether the file has it: one commit writes all or nothing, and no row comes twice.

        Raises sqlite3.Error.
        """
        return bool(self.rows) and schema.has_row(db, self.rows[0][0])

    def begins(self, messages: Sequence[Outgoing]) -> bool:
        """Whether `messages` begin with those of this attempt."""
        return len(messages) >= len(self.messages) and all(
            one is other for one, other in zip(self.messages, messages, strict=False)
        )

    def ended(self) -> set[str]:
        """The events that end with it."""
        return {
            one.event for one in self.numbered if isinstance(one, Sighting) and one.phase == "end"
        }
