"""What a load was promised, and at which request to the disk: what must be there after a cut."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Appended(msgspec.Struct, tag=True, frozen=True):
    """Messages were written; from request `done` on they are promised."""

    began: int
    done: int
    numbers: dict[str, int]
    """Of sightings, by id."""
    pictures: tuple[str, ...] = ()
    """Ids of their sightings."""


class Deleted(msgspec.Struct, tag=True, frozen=True):
    """Messages were delivered; from request `began` on they may be gone."""

    began: int
    sightings: tuple[str, ...]
    pictures: tuple[str, ...] = ()


class Became(msgspec.Struct, tag=True, frozen=True):
    """A file was given another content; from request `done` on it must have that, or a later."""

    done: int
    state: str


class Journal(msgspec.Struct):
    """All of a load, in order."""

    opened: int = 0
    """The request from which on it may be cut."""
    ended: int = 0
    promises: list[Appended | Deleted | Became] = []

    def write(self, folder: Path) -> None:
        """Put it beside what was recorded."""
        (folder / "journal.json").write_bytes(msgspec.json.encode(self))

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read what :meth:`write` wrote."""
        return msgspec.json.decode((folder / "journal.json").read_bytes(), type=cls)

    def states(self, after: int) -> set[str]:
        """The states possible after `after` requests: what was last promised, or the next."""
        became = [one for one in self.promises if isinstance(one, Became)]
        done = [one.state for one in became if one.done <= after]
        coming = [one.state for one in became if one.done > after]
        return {*done[-1:], *coming[:1]}

    def due(self, after: int) -> Due:
        """What an outbox must hold after `after` requests."""
        gone: set[str] = set()
        gone_pictures: set[str] = set()
        for one in self.promises:
            if isinstance(one, Deleted) and one.began <= after:
                gone.update(one.sightings)
                gone_pictures.update(one.pictures)
        due = Due()
        for one in self.promises:
            if isinstance(one, Appended) and one.began <= after:
                if one.done > after:
                    due.under_way += len(one.numbers)
                    continue
                due.known.update(one.numbers)
                due.pictures.update(set(one.pictures) - gone_pictures)
        due.sightings = {id: seq for id, seq in due.known.items() if id not in gone}
        due.highest = max(due.known.values(), default=0)
        return due


class Due(msgspec.Struct):
    """What was promised by some request."""

    sightings: dict[str, int] = {}
    """Numbers by id, of those that must be there."""
    pictures: set[str] = set()
    known: dict[str, int] = {}
    """Of those that were delivered too."""
    highest: int = 0
    under_way: int = 0
    """Sightings that may be there or not."""
