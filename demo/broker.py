"""An MQTT broker for one sitting.

A process of its own (``python -m demo.broker PORT``) that keeps nothing: what it had acknowledged
and not yet handed on is gone when it stops.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

from soak.broker import free_port, listens
from soak.scenario import until

START_SECONDS = 20.0


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
        if not until(lambda: listens(self.port), START_SECONDS):
            raise RuntimeError(f"the embedded broker did not listen on port {self.port} in 20 s")

    def stop(self) -> None:
        """End the process; doing so twice is fine."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


async def _serve(port: int) -> None:
    from amqtt.broker import Broker as Amqtt

    anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    await Amqtt({"listeners": {"default": listener}, "plugins": anonymous}).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
