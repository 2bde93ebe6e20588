"""``wheatear run``: the device program, until a signal or the end of a replay."""

from __future__ import annotations

import argparse
import logging
import signal
import threading

import msgspec

from edge import app
from edge.classify import Console
from edge.config import Config, FolderCamera, load_config, redacted
from edge.errors import ConfigError

log = logging.getLogger(__name__)


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Run; 0 where nothing was left behind, 1 where something was.

    Raises:
        WheatearError: the configuration, the model, the camera or the outbox cannot be used.
    """
    config = load_config(arguments.config)
    if arguments.once:
        config = _once(config)
    log.debug("configuration: %s", redacted(config))
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        if app.run(config, stop, arguments.drain_timeout):
            return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    console.err(
        f"not everything was delivered; what is on disk stays in {config.outbox.path} and goes out "
        "with the next run"
    )
    return 1


def _once(config: Config) -> Config:
    if not isinstance(config.camera, FolderCamera):
        raise ConfigError('--once goes with camera.kind = "folder": other cameras never end')
    return msgspec.structs.replace(
        config, camera=msgspec.structs.replace(config.camera, loop=False)
    )
