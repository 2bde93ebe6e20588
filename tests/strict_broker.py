"""A broker that follows a script and notes every breach of the standard, for tests.

It forwards nothing: it takes what a client sends, answers as its :class:`Script` says, and lists in
`findings` each clause that the client broke (see :mod:`mqtt_packets`). What the script makes it do
wrong itself (no acknowledgement, garbage, hanging up) is no finding.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from broker_script import Script
from mqtt_packets import Connect, Publish
from strict_peer import Peer


class StrictBroker:
    """Listens on 127.0.0.1; set `script` at any time."""

    def __init__(
        self,
        script: Script | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        self.script = script or Script()
        self.findings: list[str] = []
        self.published: list[Publish] = []
        """What was taken, in order: with QoS 1 what was acknowledged."""
        self.seen: list[Publish] = []
        """Everything that came, answered or not."""
        self.connects: list[Connect] = []
        self.filters: list[str] = []
        self.most_under_way = 0
        self.pings = 0
        self.goodbyes = 0
        """Connections that the client ended in good order."""
        self._wrap = wrap or (lambda sock: sock)
        self._change = threading.Condition()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        if self.script.bytes_per_second:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port = self._socket.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    def change(self, **fields: Any) -> None:
        """Follow another script from now on."""
        self.script = replace(self.script, **fields)

    def payloads(self, end: str = "/sighting") -> list[bytes]:
        """What was taken on topics that end so."""
        with self._change:
            return [one.payload for one in self.published if one.topic.endswith(end)]

    def came(self, end: str) -> list[Publish]:
        """What came on topics that end so, answered or not."""
        with self._change:
            return [one for one in self.seen if one.topic.endswith(end)]

    def wait(self, condition: Callable[..., object], seconds: float = 60.0) -> bool:
        """Wait until a condition of this broker holds."""
        with self._change:
            return self._change.wait_for(lambda: bool(condition(self)), seconds)

    def notes(self) -> contextlib.AbstractContextManager[None]:
        """Lock, and tell those who wait at the end."""
        return _Notes(self._change)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(self._wrap(sock)) as wrapped:
            Peer(self, wrapped, self._closing).run()


class _Notes:
    def __init__(self, change: threading.Condition) -> None:
        self._change = change

    def __enter__(self) -> None:
        self._change.acquire()

    def __exit__(self, *_: object) -> None:
        self._change.notify_all()
        self._change.release()
