"""The README's steps on a device, as written, on a system of its own with systemd."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import camera_packages
import containers
import pytest
import tiny
from brokers import Mosquitto, Subscriber

TREE = Path(__file__).parent.parent
UNIT = TREE / "firmware-config" / "wheatear.service"
_BLOCK = re.compile(r"^```(?:sh|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def block(page: str, word: str) -> str:
    """The block of a page that has this word."""
    (found,) = [one for one in _BLOCK.findall((TREE / page).read_text("utf-8")) if word in one]
    return found


def steps() -> list[str]:
    """The commands of the README for a Raspberry Pi."""
    if not (TREE / "README.md").is_file():
        pytest.skip("only the wheel is here")
    return block("README.md", "python3-picamera2").splitlines()


def prepare(container: containers.Container, tmp_path: Path, port: int) -> None:
    """Put beside each other what the README starts from, and the configuration as it is edited."""
    walk = container.walk
    camera_packages.write_sources(walk)
    container.run("apt-get update -qq; " + camera_packages.BUILD)
    camera_packages.write_index(walk, container.root / "etc")
    (container.root / "etc" / "apt" / "apt.conf.d" / "90yes").write_text(
        'APT::Get::Assume-Yes "true";\n'
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(walk), str(TREE)]
    subprocess.run(command, check=True, cwd=tmp_path)
    subprocess.run(["cp", "-r", str(TREE / "firmware-config"), str(walk)], check=True)
    tiny.write(walk / "pests-1.0.0.wtr")
    edited = block("docs/device/install.md", "the unit lets the program").replace(
        "broker.example", "127.0.0.1"
    )
    edited += f"port = {port}\n"
    (walk / "edited.toml").write_text(edited)


def script() -> str:
    """The README's lines as they are, with what its comment leaves to the reader filled in."""
    lines = ["set -x", "apt-get update -qq"]
    for line in steps():
        lines.append(line)
        if "then edit it" in line:
            lines.append("cat edited.toml > /etc/wheatear/config.toml")
    lines += [
        "set +x; until [ -e done ]; do sleep 0.2; done; set -x",
        "systemctl is-active wheatear",
    ]
    lines += ["systemctl show wheatear -p User,MainPID,NRestarts,MemoryMax"]
    numpy = "-c 'import numpy; print(\"NumPy\", numpy.__version__)'"
    lines += [f"{python} {numpy}" for python in ("/usr/bin/python3", "/opt/wheatear/bin/python")]
    lines += ["journalctl -u wheatear --no-pager -o cat"]
    return "\n".join(lines) + "\n"


def test_the_steps_of_the_readme_end_in_a_camera_that_sends(tmp_path, pytestconfig):
    """`apt`, `pip`, `useradd`, `check`, `systemctl enable --now`: as written, under the shipped
    unit, with camera packages built for the system's NumPy; its sightings arrive.
    """
    steps()
    containers.refuse_without_means()
    base = Path(pytestconfig.getoption("--system") or "/")
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        with containers.Container(tmp_path / "container", base) as container:
            prepare(container, tmp_path, broker.port)
            log = container.boot(script(), lambda: bool(subscriber.on("/sighting")))
        assert "all is well" in log, log
        assert "\nactive\n" in log, log
        assert "NRestarts=0" in log, log
        system, ours = re.findall(r"^NumPy .*$", log, re.MULTILINE)
        assert ours == system, log
        assert "Created TensorFlow Lite XNNPACK delegate" in log, log  # the hardening left it
        assert not re.search("cpuinfo|Traceback|not permitted", log), log
        sightings, infos = subscriber.on("cam-07/sighting"), subscriber.on("cam-07/info")
    assert json.loads(sightings[0])["label"] == "red"
    assert json.loads(infos[0])["model"]["name"] == "tiny"
