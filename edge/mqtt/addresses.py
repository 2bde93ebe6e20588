"""The addresses of a broker's name: each is tried, for one of several servers may be dead."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

from edge.errors import PublishError
from edge.mqtt.connection_errors import unreachable

T = TypeVar("T")


def addresses(host: str, port: int) -> list[str]:
    """Look up the addresses of a name, in the order in which the system prefers them.

    Raises PublishError: the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PublishError(unreachable(f"{host}:{port}", error)) from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class KnownAddresses:
    """Where a broker answered last; of several addresses that one is tried first, so that dead ones
    cost their time once and not with every connection.
    """

    def __init__(self) -> None:
        self._last: str | None = None

    def first(self, where: Sequence[str]) -> list[str]:
        """The addresses, beginning with the one that answered last."""
        return sorted(where, key=lambda at: at != self._last)

    def answered(self, at: str) -> None:
        """Note where a broker answered."""
        self._last = at


def first_that_answers(where: Sequence[str], attempt: Callable[[str], T]) -> T:
    """Return the result of `attempt` for the first address with which it succeeds.

    A server that takes connections and says nothing, or has the wrong certificate, is passed over
    like one that is gone. Raises PublishError: why the last address failed.
    """
    for at in where[:-1]:
        with contextlib.suppress(PublishError):
            return attempt(at)
    return attempt(where[-1])
