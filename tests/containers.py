"""A Debian system in a container with its own systemd, over this machine's files, for one test.

An overlay keeps what is installed apart from the machine; systemd-nspawn boots it as PID 1, so that
units run as they do on a device, hardening included. It shares the machine's network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_UNIT = """[Unit]
Requires=basic.target dbus.service
After=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=/bin/bash -e /srv/walk/script
WorkingDirectory=/srv/walk
StandardOutput=file:/srv/walk/log
StandardError=inherit
Environment=DEBIAN_FRONTEND=noninteractive HOME=/root
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
TimeoutStartSec=900
ExecStopPost=/bin/systemctl --no-block --force poweroff
"""
_ABSENT = ("ssh.service", "docker.service", "postgresql.service", "cron.service")


def refuse_without_means() -> None:
    """Skip the test loudly where no such container can be had."""
    if os.geteuid() != 0:
        pytest.skip("NO CONTAINER: needs root")
    for command, package in (("systemd-nspawn", "systemd-container"), ("dpkg-deb", "dpkg")):
        if shutil.which(command) is None:
            pytest.skip(f"NO CONTAINER: {command} is absent (apt-get install {package})")


class Container:
    """An overlay over `base`, by default this machine's own root."""

    def __init__(self, folder: Path, base: Path = Path("/")) -> None:
        self.folder, self.root = folder, folder / "root"
        for part in ("root", "upper", "work"):
            (folder / part).mkdir(parents=True)
        options = f"lowerdir={base},upperdir={folder}/upper,workdir={folder}/work"
        if _call("mount", "-t", "overlay", "overlay", "-o", options, str(self.root)).returncode:
            pytest.skip("NO CONTAINER: no overlay can be mounted here")
        self.walk = self.root / "srv" / "walk"
        shutil.rmtree(self.walk, ignore_errors=True)
        self.walk.mkdir(parents=True)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        _call("umount", "--recursive", str(self.root))

    def run(self, command: str) -> None:
        """Run a shell command in it, without its systemd."""
        done = _call("systemd-nspawn", *self._options(), "--pipe", "/bin/bash", "-ec", command)
        assert done.returncode == 0, done.stdout + done.stderr

    def boot(self, script: str, done: Callable[[], bool], seconds: float = 600) -> str:
        """Boot it, run a script as root under its systemd, shut it down; give what was printed.

        As soon as `done` holds, there is a file ``done`` beside the script.
        """
        (self.walk / "script").write_text(script)
        units = self.root / "etc" / "systemd" / "system"
        (units / "walk.service").write_text(_UNIT)
        for name in _ABSENT:  # the machine's own services are no part of this
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to("/dev/null")
        command = ["systemd-nspawn", *self._options(), "--boot", "--", "--unit=walk.service"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
            try:
                end = time.monotonic() + seconds
                while process.poll() is None and time.monotonic() < end and not done():
                    time.sleep(0.2)
                (self.walk / "done").touch()
                process.wait(max(1.0, end - time.monotonic()))
            finally:
                process.kill()
        return (self.walk / "log").read_text(encoding="utf-8", errors="replace")

    def _options(self) -> list[str]:
        return [
            f"--directory={self.root}",
            f"--machine=wheatear-{os.getpid()}",
            "--quiet",
            "--register=no",
            "--keep-unit",
        ]


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
