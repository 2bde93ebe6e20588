"""What stays open while the device is built anew: a camera or a model that a change of the
configuration does not touch need not start again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary


class Closable(Protocol):
    """Something that is held open."""

    def close(self) -> object:
        """Let it go; doing so twice is fine."""
        ...


Held = TypeVar("Held", bound=Closable)


class Handover:
    """Holds one thing of each kind from one run of the device to the next; `stays` says whether
    there will be a next.
    """

    def __init__(self, stays: Callable[[], bool]) -> None:
        self._stays = stays
        self._made: WeakKeyDictionary[Closable, tuple[str, object]] = WeakKeyDictionary()
        self._left: dict[str, Any] = {}

    def take(self, kind: str, key: object, make: Callable[[], Held]) -> Held:
        """Return what the run before left, if `key`, all that makes it what it is, is the same;
        otherwise close that, and return what `make` opens. Raises as `make` does.
        """
        left: Held | None = self._left.pop(kind, None)
        if left is not None and self._made[left] == (kind, key):
            return left
        if left is not None:
            left.close()
        made = make()
        self._made[made] = kind, key
        return made

    def leave(self, thing: Closable) -> None:
        """Hold what was taken for the next run; where there is none, close it."""
        if not self._stays() or thing not in self._made:
            thing.close()
            return
        kind, _ = self._made[thing]
        if (other := self._left.get(kind)) is not None:
            other.close()
        self._left[kind] = thing

    def close(self) -> None:
        """Let go what nobody took."""
        while self._left:
            self._left.popitem()[1].close()
