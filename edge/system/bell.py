"""How all parts of the program call the one that sends: made before any of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Rung(NamedTuple):
    """What the bell was rung for since it was last asked."""

    news: bool
    """Something new waits on disk, or is to be said again."""
    topics: frozenset[str]
    """What is said there has changed."""
    everything: bool
    """What is said anywhere has changed."""


class Bell:
    """Rung by any thread, heard by one; what it was rung for is remembered until it is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news, self._everything = False, False
        self._topics: set[str] = set()
        self._wake: Callable[[], object] | None = None

    def ring(self) -> None:
        """Wake whoever listens: there is something to send, though not on disk."""
        if (wake := self._wake) is not None:
            wake()

    def news(self) -> None:
        """Ring: something new waits on disk."""
        self._news = True
        self.ring()

    def renew(self, topic: str | None = None) -> None:
        """Ring: what is retained on a topic, or on all of them, has changed."""
        with self._lock:
            if topic is None:
                self._everything = True
            else:
                self._topics.add(topic)
        self.news()

    def take(self) -> Rung:
        """Return what it was rung for, and forget it; for the listener."""
        if not self._news:
            return _SILENCE
        with self._lock:
            self._news = False
            rung = Rung(True, frozenset(self._topics), self._everything)
            self._topics, self._everything = set(), False
        return rung

    @contextmanager
    def heard(self, wake: Callable[[], object]) -> Iterator[None]:
        """Have `wake` called, on whatever thread, when it is rung meanwhile."""
        self._wake = wake
        try:
            yield
        finally:
            self._wake = None


_SILENCE = Rung(False, frozenset(), False)
