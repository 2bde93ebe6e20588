"""Real MQTT brokers for tests: mosquitto where it is installed; always on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from patience import PATIENCE, Found
from there import there


def mosquitto_path() -> str:
    """Find mosquitto, or skip the test loudly."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("NO BROKER: mosquitto is not installed")
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now.

    It is below those that Linux gives to outgoing connections, so none of them takes it meanwhile.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


_PORTS = 5


class _PortTaken(RuntimeError):
    """Another program took the port between the choice and the start."""


class Mosquitto:
    """A mosquitto process that keeps sessions and retained messages over a restart."""

    def __init__(
        self,
        folder: Path,
        extra: str = "allow_anonymous true",
        listener: str = "",
        port: int | None = None,
    ) -> None:
        self._path = mosquitto_path()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder, self._settings = folder, f"{listener}\n{extra}\n"
        self.port = port or free_port()
        self._configure()
        for _ in range(_PORTS if port is None else 0):
            with contextlib.suppress(_PortTaken):
                return self.start()
            self.port = free_port()  # another test's program was faster
            self._configure()
        self.start()

    def _configure(self) -> None:
        """Write the configuration for the port."""
        self._file = self._folder / f"mosquitto-{self.port}.conf"
        store = self._folder / f"store-{self.port}"
        store.mkdir()
        user = "user root\n" if os.geteuid() == 0 else ""
        self._file.write_text(
            f"per_listener_settings false\npersistence true\npersistence_location {store}/\n{user}"
            "max_queued_messages 0\n"
            f"log_type error\nlog_type warning\nlistener {self.port} 127.0.0.1\n{self._settings}"
        )

    def start(self) -> None:
        """Start it on the same port, and wait until it listens."""
        self._process = subprocess.Popen(
            [self._path, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                said = there(self._process.stderr).read().decode()
                kind = _PortTaken if "Address already in use" in said else RuntimeError
                raise kind(f"mosquitto ended: {said}")
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("mosquitto does not listen")

    def reload(self) -> None:
        """Make it read its password and access lists again."""
        there(self._process).send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it in good order; its sessions are kept."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(PATIENCE)
        if self._process and self._process.stderr:
            self._process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def end(client: paho.Client) -> None:
    """Stop a client, and take away its callbacks: a cycle through them keeps its sockets open."""
    client.disconnect()
    client.loop_stop()
    client.on_message = client.on_connect = client.on_subscribe = None


class Subscriber:
    """Collects everything below a topic in a session the broker keeps while it is away."""

    def __init__(
        self,
        port: int,
        topic: str = "#",
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self._change = threading.Condition()
        self._topic = topic
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"test-{port}", clean_session=False
        )
        self._client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]  # takes any number
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        if username:
            self._client.username_pw_set(username, password)
        if tls:
            self._client.tls_set_context(tls)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._change:
            self.messages.append(message)
            self._change.notify_all()

    def wait(self, condition: Callable[..., Found], seconds: float = PATIENCE) -> Found:
        """Wait until `condition(messages)` holds."""
        with self._change:
            return self._change.wait_for(lambda: condition(self.messages), seconds)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a message, at QoS 1."""
        self._client.publish(topic, payload, qos=1).wait_for_publish(PATIENCE)

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(self._topic, qos=1)

    def on(self, suffix: str) -> list[bytes]:
        """The payloads on topics that end so."""
        with self._change:
            return [bytes(m.payload) for m in self.messages if m.topic.endswith(suffix)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._client)


class Embedded:
    """The broker that comes as a Python package (amqtt), on a thread of its own."""

    def __init__(self, _folder: Path) -> None:
        amqtt = pytest.importorskip("amqtt.broker")
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        started = threading.Event()

        async def serve() -> None:
            broker = amqtt.Broker(
                {
                    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
                    "plugins": {
                        "amqtt.plugins.authentication.AnonymousAuthPlugin": {
                            "allow_anonymous": True
                        }
                    },
                }
            )
            await broker.start()
            started.set()
            await self._stop.wait()
            await broker.shutdown()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()))
        self._thread.start()
        assert started.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()


def retained(port: int, topic: str) -> bytes | None:
    """Ask, as a newcomer does, for the retained message of a topic.

    A broker answers in order: with its word on a second subscription, all of the first is here.
    """
    got, told = [], threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    then = iter((lambda: client.subscribe("nothing/here"), told.set))

    def subscribe(*_: object) -> None:
        client.subscribe(topic)

    def subscribed(*_: object) -> None:
        next(then)()

    client.on_message = lambda *a: got.append(a[2].payload)
    client.on_subscribe = subscribed
    client.on_connect = subscribe
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert told.wait(PATIENCE)
    end(client)
    return got[0] if got else None


ACL = """user camera
topic write wheatear/cam-1/availability
topic write wheatear/cam-1/info
topic write wheatear/cam-1/{allowed}
user reader
topic read #
"""


def locked(folder: Path, allowed: str, extra: str = "") -> Mosquitto:
    """Start a mosquitto with users, passwords and an access list."""
    passwd = folder / "passwd"
    passwd.write_text("camera:secret\nreader:other\n")
    tool = "mosquitto_passwd"
    subprocess.run([tool, "-U", str(passwd)], check=True, env={"PATH": "/usr/bin:/usr/local/bin"})
    (folder / "acl").write_text(ACL.format(allowed=allowed))
    for file in (passwd, folder / "acl"):
        file.chmod(0o600)
    return Mosquitto(
        folder, f"allow_anonymous false\npassword_file {passwd}\nacl_file {folder}/acl\n{extra}"
    )
