"""A real mosquitto that can be killed, and the application that subscribes to it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from soak.ledger import Ledger
from soak.scenario import until

CONFIG = """per_listener_settings false
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_queued_bytes 0
{more}log_type error
"""
_UNBOUNDED = "max_inflight_messages 0\n"
"""Hand every message to the subscriber at once, so that a killed broker holds none it took."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now.

    It is below those that Linux gives to outgoing connections, so none of them takes it meanwhile.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listens(port: int) -> bool:
    """Whether anybody takes connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """A mosquitto process on 127.0.0.1; not `lasting`, it keeps nothing on disk.

    Raises:
        RuntimeError: mosquitto is not installed or does not listen within 10 seconds.
    """

    def __init__(self, folder: Path, unbounded: bool = False, lasting: bool = True) -> None:
        path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if path is None:
            raise RuntimeError("mosquitto is not installed: apt install mosquitto")
        self.port = free_port()
        store = folder / "broker"
        more = _UNBOUNDED if unbounded else ""
        if lasting:
            store.mkdir()
            more += f"persistence true\npersistence_location {store}/\n"
            more += "user root\n" if os.geteuid() == 0 else ""
        config = folder / "mosquitto.conf"
        config.write_text(CONFIG.format(port=self.port, more=more))
        self._command = [path, "-c", str(config)]
        self._store = store / "mosquitto.db"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it on the same port and wait until it listens."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        if not until(lambda: listens(self.port), 10, 0.02):
            raise RuntimeError(f"mosquitto does not listen on port {self.port}")

    def save(self) -> None:
        """Make it write its sessions to disk now, so that a kill does not forget who subscribed.

        Raises:
            RuntimeError: it does not.
        """
        self.send_signal(signal.SIGUSR1)
        if not until(self._store.exists, 10, 0.01):
            raise RuntimeError("mosquitto did not write its sessions to disk within 10 seconds")
        time.sleep(0.05)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, which must run."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, kill: bool = False) -> None:
        """End it, in good order or not; twice is fine."""
        process, self._process = self._process, None
        if process is not None:
            process.kill() if kill else process.terminate()
            process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Application:
    """Keeps a ledger of all sightings, in a session that the broker keeps while it is away."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self.ledger = ledger
        self.states: list[bytes] = []
        """Payloads of the retained state, the latest last."""
        self.healths: list[bytes] = []
        """Payloads of health, the latest last."""
        self._change = threading.Condition()
        self._failure: Exception | None = None
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="application", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not subscribed.wait(10):
            raise RuntimeError("the application was not let in within 10 seconds")

    def wait(self, condition: Callable[[Ledger], bool], seconds: float = 30.0) -> bool:
        """Wait until the ledger fulfils a condition. Raises what went wrong in entering."""
        with self._change:
            met = self._change.wait_for(
                lambda: self._failure is not None or condition(self.ledger), seconds
            )
            if self._failure is not None:
                raise self._failure
            return met

    def more(self, seconds: float = 30.0) -> bool:
        """Wait until a sighting comes that is new to the application."""
        before = self.ledger.taken
        return self.wait(lambda now: now.taken > before, seconds)

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe("wheatear/#", qos=1)

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._change:
            try:
                if message.topic.endswith("/state"):
                    self.states = [*self.states[-9:], bytes(message.payload)]
                elif message.topic.endswith("/health"):
                    self.healths = [*self.healths[-9:], bytes(message.payload)]
                else:
                    self.ledger.take(message.topic, bytes(message.payload))
            except Exception as error:  # must not vanish in the client's thread
                self._failure = error
            self._change.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # A cycle through the callbacks would keep the sockets open.
        self._client.on_message = self._client.on_connect = self._client.on_subscribe = None
