"""Where a person looks at dead letters: the requests ``outbox/...``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.errors import OutboxError
from edge.messages.base import Params
from edge.messages.requests import OUTBOX_DISCARD, OUTBOX_LETTERS, OUTBOX_RELEASE
from edge.messages.verbs import MOST_LETTERS, LetterList, LettersDone, WhichLetters
from edge.outbox.dead_letters import DeadLetters

if TYPE_CHECKING:
    from edge.mqtt.requests import RequestServer

_WHICH = "name ids, or all of them (--all; a request: all=true)"


class LetterVerbs:
    """Carries out the verbs that list, release and discard dead letters. Those raise OutboxError.

    `tell` is called when some were released.
    """

    def __init__(self, letters: DeadLetters, tell: Callable[[], None] = lambda: None) -> None:
        self._letters, self._tell = letters, tell

    def serve(self, requests: RequestServer) -> None:
        """Take the verbs."""
        requests.on(OUTBOX_LETTERS, self.listed)
        requests.on(OUTBOX_RELEASE, self.release)
        requests.on(OUTBOX_DISCARD, self.discard)

    def listed(self, _: Params) -> LetterList:
        """List what is set aside, the oldest first."""
        held = self._letters.held()
        return LetterList(count=len(held), letters=held[:MOST_LETTERS])

    def release(self, which: WhichLetters) -> LettersDone:
        """Send letters again."""
        count = self._do(self._letters.release, which)
        self._tell()
        return LettersDone(count=count)

    def discard(self, which: WhichLetters) -> LettersDone:
        """Delete letters for good."""
        count = self._do(self._letters.discard, which)
        self._tell()
        return LettersDone(count=count)

    def _do(self, act: Callable[[list[str]], int], which: WhichLetters) -> int:
        known = [letter.id for letter in self._letters.held()]
        unknown = [id for id in which.ids if id not in known]
        if unknown or bool(which.ids) == which.all:
            there = ", ".join(known[:MOST_LETTERS]) or "none"
            problem = f"no dead letter {unknown[0]!r}" if unknown else _WHICH
            raise OutboxError(f"{problem}; there are: {there}")
        try:
            return act(known if which.all else list(which.ids))
        except OSError as error:
            raise OutboxError(f"cannot change {self._letters.folder}: {error}") from error
