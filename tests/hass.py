"""A real Home Assistant for tests: its own process and folder, spoken to over its REST API.

It needs an environment of its own with `homeassistant` and its MQTT client; WHEATEAR_HASS names the
`hass` command in there. docs/home-assistant.md tells how to make one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest
from brokers import free_port

CONFIGURATION = """\
homeassistant:
  name: Farm
  time_zone: {zone}
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
config:
onboarding:
logger:
  default: warning
"""


def hass_path() -> str:
    """Find the `hass` command, or skip the test loudly."""
    found = os.environ.get("WHEATEAR_HASS")
    if not found:
        pytest.skip("HOME ASSISTANT ABSENT: set WHEATEAR_HASS to the hass command of a venv")
    return found


class Hass:
    """A Home Assistant core that is connected to a broker."""

    def __init__(
        self, folder: Path, broker_port: int, zone: str = "Asia/Dhaka", extra: str = ""
    ) -> None:
        command = hass_path()
        self.port, self.broker_port = free_port(), broker_port
        self._token = ""
        folder.mkdir()
        (folder / "configuration.yaml").write_text(
            CONFIGURATION.format(port=self.port, zone=zone) + extra
        )
        self.log = folder / "home-assistant.log"
        self._process = subprocess.Popen(
            [command, "-c", str(folder), "--skip-pip", "--log-file", str(self.log)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            self._enter(broker_port)
        except BaseException:
            self.__exit__()
            raise

    def _enter(self, broker_port: int) -> None:
        """Make the first user, log in, connect the MQTT integration."""
        client = f"http://127.0.0.1:{self.port}/"
        user = {
            "client_id": client,
            "name": "t",
            "username": "t",
            "password": "t",
            "language": "en",
        }
        code = self.until(lambda: self.call("/api/onboarding/users", user), 90)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": client}
        self._token = self.call("/auth/token", grant, form=True)["access_token"]
        flow = self.call("/api/config/config_entries/flow", {"handler": "mqtt"})
        broker = {"broker": "127.0.0.1", "port": broker_port}
        made = self.call(f"/api/config/config_entries/flow/{flow['flow_id']}", broker)
        assert made["type"] == "create_entry", made

    def call(self, path: str, data: Any = None, form: bool = False) -> Any:
        """Call the REST API; give the JSON it answers, or the bytes where it is none."""
        body = None
        if data is not None:
            body = (urllib.parse.urlencode(data) if form else json.dumps(data)).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        if not form:
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = answer.read()
        try:
            return json.loads(found)
        except ValueError:
            return found

    def until(self, ask: Any, seconds: float = 20.0) -> Any:
        """Ask until the answer is something."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := ask():
                    return found
            except (urllib.error.URLError, ConnectionError):
                if self._process.poll() is not None:
                    raise RuntimeError(f"hass ended: {self.log.read_text()}") from None
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def states(self) -> dict[str, dict[str, Any]]:
        """All entities of the MQTT integration's kinds, by entity id."""
        return {one["entity_id"]: one for one in self.call("/api/states")}

    def state(self, entity: str, expected: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait until an entity is in a state; give it."""

        def ask() -> dict[str, Any] | None:
            found = self.states().get(entity)
            return found if found and found["state"] == expected else None

        return self.until(ask, seconds)

    def complaints(self) -> list[str]:
        """What Home Assistant logged about MQTT."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if "mqtt" in line.lower() or "template" in line.lower()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
