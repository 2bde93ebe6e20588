"""An MQTT broker for one sitting, and the door through which the camera reaches it.

The broker is a process of its own (``python -m demo.broker PORT``) that keeps nothing: what it had
acknowledged and not yet handed on is gone when it stops. The door is a port in front of it that
the camera connects to; closing it first, then stopping the broker, and opening it only when the
dashboard has subscribed again, is what lets the demo count every sighting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

START_SECONDS = 20.0


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """The embedded broker (amqtt, MQTT 3.1.1) as a child process on 127.0.0.1."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            RuntimeError: it does not listen within 20 seconds.
        """
        command = [sys.executable, "-m", "demo.broker", str(self.port)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the embedded broker did not listen on port {self.port} within 20 s")

    def stop(self) -> None:
        """End the process; doing so twice is fine."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Door:
    """A TCP port that forwards to the broker while it is open."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self._broker_port = broker_port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def open(self) -> None:
        """Let connections through."""
        self._call(self._open())

    def close(self) -> None:
        """Refuse new connections and cut the present ones."""
        self._call(self._close())

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for stream in list(self._streams):
            stream.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._streams |= pair
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            self._streams -= pair


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await source.read(65536):
            target.write(block)
            await target.drain()
    target.close()


async def _serve(port: int) -> None:
    from amqtt.broker import Broker as Amqtt

    anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    await Amqtt({"listeners": {"default": listener}, "plugins": anonymous}).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
