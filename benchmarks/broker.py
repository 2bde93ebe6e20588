"""A real mosquitto on the loopback interface for the time of a measurement."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = """listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
log_type error
"""


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Run the broker; gives its port. Raises as :func:`broker_process`."""
    with broker_process(folder) as (port, _):
        yield port


@contextmanager
def broker_process(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the broker; gives its port and process.

    Raises:
        RuntimeError: mosquitto is not installed or does not answer within 10 seconds.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        raise RuntimeError("mosquitto is not installed: apt install mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(CONFIG.format(port=port))
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield port, process
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"mosquitto does not answer on port {port}")
