"""A real OpenSSH server on 127.0.0.1 for tests, with keys of its own, not the user's."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from brokers import free_port

TREE = Path(__file__).parent.parent
#: Starts this tree's device program from any shell.
DEVICE_PROGRAM = f"env PYTHONPATH={TREE} {sys.executable} -m edge"
SERVER = """\
ListenAddress 127.0.0.1
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel FATAL
"""


def sshd_path() -> str:
    """Find sshd, or skip the test loudly."""
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if found is None or shutil.which("ssh") is None:
        pytest.skip("NO SSH: openssh-server and openssh-client are not both installed")
    return found


class Sshd:
    """The server, and a folder `bin` whose `ssh` reads a configuration of this server alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        server, client = sshd_path(), shutil.which("ssh")
        if os.geteuid() == 0:
            # Where no init system did: sshd drops its rights into this empty folder.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for name in ("host", "mine", "other"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
            )
        shutil.copy(folder / "mine.pub", folder / "authorized")
        self.trust((folder / "host.pub").read_text())
        self.offer("mine")
        self._config = folder / "sshd_config"
        self._config.write_text(
            f"Port {self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            + SERVER
        )
        (folder / "bin").mkdir()
        wrapper = folder / "bin" / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {client} -F {folder}/ssh_config "$@"\n')
        wrapper.chmod(0o755)
        self._process = subprocess.Popen([server, "-D", "-e", "-f", self._config])
        self._wait()

    def _wait(self) -> None:
        for _ in range(200):
            assert self._process.poll() is None, "sshd ended"
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("sshd does not listen")

    @property
    def on(self) -> str:
        """What to connect to."""
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    def trust(self, host_key: str) -> None:
        """Let clients know this host key; empty: none."""
        known = f"[127.0.0.1]:{self.port} {host_key}" if host_key else ""
        (self.folder / "known").write_text(known)

    def offer(self, key: str) -> None:
        """Let clients show this key."""
        (self.folder / "ssh_config").write_text(
            f"Host *\nIdentityFile {self.folder}/{key}\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {self.folder}/known\nGlobalKnownHostsFile none\n"
        )

    def stop(self) -> None:
        """End the server; its sessions are cut off."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        sessions = [int(pid) for pid in children.read_text().split()]
        for pid in sessions:
            os.kill(pid, 9)
        self._process.terminate()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
