"""What was asked and answered before, so that nothing is carried out twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import OrderedDict

from edge.errors import MalformedRequestError

_REMEMBERED = 64
_REMEMBERED_BYTES = 1_000_000


class Memory:
    """The last answers by verb and transaction, so that a request that comes twice is carried out
    once; keep it over a restart of the agent.
    """

    def __init__(self, most: int = _REMEMBERED, most_bytes: int = _REMEMBERED_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._answers: OrderedDict[tuple[str, str], tuple[bytes, bytes]] = OrderedDict()
        self._bytes = 0

    def newest(self, verb: str) -> str:
        """Give the newest answer to `verb` as text, for :meth:`learn` in the next process."""
        for (name, transaction), (digest, answer) in reversed(self._answers.items()):
            if name == verb:
                return json.dumps([name, transaction, digest.hex(), answer.decode()])
        return ""

    def learn(self, text: str) -> None:
        """Take what :meth:`newest` gave; anything else is ignored."""
        with contextlib.suppress(ValueError):
            verb, transaction, digest, answer = json.loads(text)
            self._answers[verb, transaction] = bytes.fromhex(digest), answer.encode()
            self._bytes += len(answer.encode())

    def find(self, verb: str, transaction: str, request: bytes) -> bytes | None:
        """Give the answer to a request that was carried out already.

        Raises:
            MalformedRequestError: the transaction was used for another request.
        """
        found = self._answers.get((verb, transaction))
        if found is None:
            return None
        if found[0] != hashlib.sha256(request).digest():
            raise MalformedRequestError(
                f"transaction {transaction!r} was used for another {verb}; give each request its "
                "own"
            )
        return found[1]

    def keep(self, verb: str, transaction: str, request: bytes, answer: bytes) -> None:
        """Remember an answer, forgetting the oldest beyond the bounds."""
        self._answers[verb, transaction] = hashlib.sha256(request).digest(), answer
        self._bytes += len(answer)
        while len(self._answers) > self._most or self._bytes > self._most_bytes:
            if len(self._answers) == 1:
                break
            self._bytes -= len(self._answers.popitem(last=False)[1][1])
