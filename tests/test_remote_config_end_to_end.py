"""A device process whose configuration is changed from afar."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from typing import Any

import devices
import msgspec
import pytest
from brokers import Mosquitto, Subscriber, free_port
from patience import PATIENCE, wait_for
from remotes import ALLOW, BASE, changed

from edge.commands.request import ask
from edge.config import Broker
from edge.device.config_changes import NAME
from edge.errors import PublishError


class Field:
    """A device process that replays photos for ever, and a broker."""

    def __init__(self, folder, broker, seconds=60.0, **environment):
        self.environment = environment
        devices.photos(folder / "photos", 3)
        camera = "loop = true\nframes_per_second = 20.0"
        self.file = devices.config(folder, broker.port, ALLOW.format(seconds=seconds), camera)
        self.broker = Broker(host="127.0.0.1", port=broker.port, protocol="5")
        self.start()

    def start(self) -> None:
        """Start the program."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", "--config", str(self.file)],
            stderr=subprocess.DEVNULL,
            env=os.environ | self.environment,
        )

    def ask(self, verb: str, seconds=PATIENCE, **parameters) -> dict[str, Any]:
        """Ask the device; give the whole answer."""
        request = {"transaction": f"t{random.getrandbits(60)}", **parameters}
        return ask(self.broker, BASE, verb, request, seconds)

    def set(self, **settings) -> dict[str, Any]:
        """Change settings."""
        now = self.ask("config/get")["data"]
        values = {name.replace("__", "."): value for name, value in settings.items()}
        return self.ask("config/set", revision=now["revision"], changes=values)

    def started_after(self, before: str) -> str:
        """Wait until the device has started anew; give when."""
        for _ in range(200):
            with contextlib.suppress(PublishError):
                found = self.ask("status", seconds=0.8)["data"]["info"]["started"]
                if found > before:
                    return found
            time.sleep(0.1)
        raise AssertionError("no new start")

    def settled(self) -> dict[str, Any]:
        """Wait until nothing is on trial; give what ``config/get`` says."""
        for _ in range(200):
            with contextlib.suppress(PublishError):
                found = self.ask("config/get", seconds=0.8)["data"]
                if not found["state"]["trying"]:
                    return found
            time.sleep(0.1)
        raise AssertionError("still on trial")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def broker(tmp_path):
    """A mosquitto."""
    with Mosquitto(tmp_path) as running:
        yield running


def test_a_change_proves_itself_and_is_confirmed(tmp_path, broker):
    """The answer comes first; then the device starts anew with it, and `info` says so."""
    with Field(tmp_path, broker) as field, Subscriber(broker.port, f"{BASE}/info") as subscriber:
        answer = field.set(report__state_seconds=0.3)
        assert answer["data"]["state"] == "trying"
        found = field.settled()
        assert found["config"]["report"]["state_seconds"] == 0.3
        assert found["state"]["changed"] == ["report.state_seconds"]

        def confirmed(messages):
            config = json.loads(messages[-1].payload)["config"] if messages else {}
            return config.get("revision") == found["revision"] and not config["trying"]

        assert subscriber.wait(confirmed)


def test_a_change_that_does_not_touch_the_model_does_not_load_it_anew(tmp_path, broker):
    """A threshold is in force in a moment; another number of threads needs another interpreter."""

    def loaded(field) -> int:
        lines = field.ask("log")["data"]["lines"]
        return sum("is loaded" in line["text"] for line in lines)

    with Field(tmp_path, broker) as field:
        field.settled()
        assert loaded(field) == 1
        field.set(decision__thresholds={"aphid": 0.7})
        assert field.settled()["config"]["decision"]["thresholds"] == {"aphid": 0.7}
        assert loaded(field) == 1
        field.set(model__threads=2)
        assert field.settled()["config"]["model"]["threads"] == 2
        assert loaded(field) == 2


def test_a_change_with_which_the_broker_is_not_reached_is_taken_back(tmp_path, broker):
    """Cut off with its new configuration, the device goes back by itself and says why."""
    field, path = Field(tmp_path, broker, seconds=1.0), tmp_path / NAME
    changed(field.file, decision__cooldown_seconds=7)
    broker.stop()
    with field:
        wait_for(lambda: json.loads(path.read_text())["taken_back"])
        broker.start()
        found = field.settled()
        assert found["config"]["decision"]["cooldown_seconds"] == 60
        assert "the broker acknowledged nothing" in found["state"]["taken_back"]
        assert "nobody listens on" in found["state"]["taken_back"]
        assert field.process.poll() is None


def test_a_configuration_that_cannot_start_is_taken_back(tmp_path, broker):
    """A runtime that is not installed: the device runs on with what was before."""
    with Field(tmp_path, broker) as field:
        assert field.set(model__runtime="edgetpu")["status"] == "ok"
        found = field.settled()
        assert found["config"]["model"]["runtime"] == "fake"
        assert "Error: " in found["state"]["taken_back"]


def test_a_start_that_hangs_with_a_change_is_taken_back(tmp_path):
    """A file that never ends in place of a driver that never answers: the program begins anew."""
    file = devices.config(tmp_path, free_port(), ALLOW.format(seconds=1))
    changed(file, decision__cooldown_seconds=5)
    (tmp_path / "model.wtr").unlink()
    os.mkfifo(tmp_path / "model.wtr")
    process = devices.start("run", "--config", str(file))
    wait_for(lambda: json.loads((tmp_path / NAME).read_text())["starts"] is None)
    record = json.loads((tmp_path / NAME).read_text())
    process.kill()
    assert "did not start in time" in process.communicate(timeout=10)[1]
    assert record["current"]["settings"] == {}
    assert record["taken_back"] == "with it the program did not start in time"


def test_a_restart_answers_before_it_goes(tmp_path, broker):
    """The same process number, a new start; asked twice, it restarts once. systemd is told that the
    program is ready again, and not that it stops: it would kill it.
    """
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    systemd.setblocking(False)
    with Field(tmp_path, broker, NOTIFY_SOCKET=str(tmp_path / "notify")) as field:
        before = field.ask("status")["data"]["info"]["started"]
        request = {"transaction": "again"}
        first = ask(field.broker, BASE, "restart", request, 20)
        assert first["status"] == "ok"
        after = field.started_after(before)
        assert ask(field.broker, BASE, "restart", request, 20) == first
        lines = field.ask("log", lines=500)["data"]["lines"]
        assert [line["text"] for line in lines if "restart" in line["text"]] == []
        assert field.ask("status")["data"]["info"]["started"] == after
        assert field.process.poll() is None
        told = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                told += systemd.recv(4096) + b"\n"
        assert told.count(b"READY=1") == 2
        assert b"STOPPING" not in told
    systemd.close()


def test_kill_9_at_any_moment_of_a_change_leaves_a_device_that_works(tmp_path, broker):
    """Killed at random moments after a change was asked for: old or new, and it answers."""
    draw, values = random.Random(7), [0.3, 0.4]
    with Field(tmp_path, broker) as field:
        known = {0.2}
        for round_ in range(3):
            value = values[round_ % 2]
            request = {
                "transaction": f"k{round_}",
                "revision": field.settled()["revision"],
                "changes": {"report.state_seconds": value},
            }
            killer = subprocess.Popen(
                ["sh", "-c", f"sleep {draw.uniform(0, 0.6)}; kill -9 {field.process.pid}"]
            )
            with contextlib.suppress(PublishError):
                ask(field.broker, BASE, "config/set", request, 1.0)
            killer.wait()
            assert field.process.wait(10) == -9
            field.start()
            found = field.settled()["config"]["report"]["state_seconds"]
            assert found in known | {value}
            known = {found}
            record = tmp_path / NAME
            if record.exists():
                assert msgspec.json.decode(record.read_bytes())["starts"] is None
