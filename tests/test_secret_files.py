"""Files of secrets and certificates in whose place a pipe lies: read, they would hold a thread."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import devices
import pytest
from brokers import Mosquitto, Subscriber
from patience import PATIENCE
from there import there

from edge.config import Broker, Tls
from edge.errors import ConfigError
from edge.mqtt.tls import tls_context
from edge.text.pipes import refuse_pipe
from edge.updates.http_get import https_context


@pytest.fixture
def pipe(tmp_path):
    """A pipe into which nobody writes."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_password_is_not_waited_for(pipe):
    """It is named with its setting, as one that is not there."""
    with pytest.raises(ConfigError, match=r"broker\.password_file: cannot read .*it is not a file"):
        Broker(password_file=pipe, username="x").password()


@pytest.mark.parametrize("part", ["ca", "certificate", "key"])
def test_a_certificate_is_not_waited_for(tmp_path, pipe, part):
    """Whichever of the three it is."""
    (tmp_path / "file").touch()
    files = dict.fromkeys(("certificate", "key"), tmp_path / "file") if part != "ca" else {}
    with pytest.raises(ConfigError, match=r"broker\.tls\..*it is not a file"):
        tls_context(Tls(**(files | {part: pipe})))


def test_an_authority_for_models_is_not_waited_for(pipe):
    """The download is refused instead."""
    with pytest.raises(ConfigError, match=r"model\.update\.ca: .*it is not a file"):
        https_context(pipe)


def test_what_a_shell_writes_is_read():
    """`--password-file <(command)` gives a pipe that has no name."""
    program = "import sys; from pathlib import Path; from edge.config.section import first_line; "
    program += "print(first_line(Path(sys.argv[1]), 'x'))"
    command = ["bash", "-c", '"$0" -c "$1" <(sleep 0.1; echo secret)', sys.executable, program]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"secret\n"
    with pytest.raises(FileNotFoundError):
        refuse_pipe(Path("/nowhere"))


def test_a_device_delivers_again_once_its_password_is_a_file_again(tmp_path):
    """Meanwhile `state` could not say it, but the log does, and nothing is lost."""
    devices.photos(tmp_path / "photos", 3)
    secret = tmp_path / "secret"
    os.mkfifo(secret)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        config = devices.config(
            tmp_path, broker.port, broker='username = "x"\npassword_file = "secret"'
        )
        device = devices.start("run", "--drain-timeout", "30", "--config", str(config))
        deadline = time.monotonic() + PATIENCE
        for line in there(device.stderr):
            if "secret" in line or time.monotonic() > deadline:
                break
        secret.unlink()
        secret.write_text("anything\n")
        device.communicate(timeout=30)
        assert device.returncode == 0
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 3)
    assert "broker.password_file: cannot read" in line
