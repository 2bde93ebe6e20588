"""``wheatear run``: the device program, until a signal or the end of a replay."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

import msgspec

from edge.commands.console import Console
from edge.config import Config, FolderCamera, load_config, redacted, secrets
from edge.device import app
from edge.device.config_changes import ChangedConfiguration
from edge.device.log_tail import LogTail
from edge.device.remote import Control, Remote
from edge.errors import ConfigError
from edge.system.handover import Handover
from edge.system.resource_limits import ensure_descriptors
from edge.system.state_lock import StateLock, state_folders

log = logging.getLogger(__name__)

_ENDING = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPWR),
    *(signal.SIGALRM, signal.SIGXCPU, signal.SIGUSR1, signal.SIGUSR2),
)


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Run; 0 where nothing was left behind, 1 where something was.

    Raises:
        ShortageError: the process may not open the files or start the threads that a device needs.
        StateBusyError: another program writes to a folder of this device's state.
        WheatearError: the configuration, the model, the camera or the outbox cannot be used; or a
            thread of the device failed.
    """
    ensure_descriptors()
    configuration, control = ChangedConfiguration(arguments.config), Control()
    kept = Handover(lambda: control.wish == "reload")
    with (
        StateLock() as lock,
        _signals(control),
        _log_tail() as log_tail,
        contextlib.closing(kept),
    ):
        remote = Remote(configuration, control, log_tail)
        while True:
            # Before anything is written; no change from afar moves a folder.
            lock.hold(state_folders(load_config(arguments.config)))
            config = configuration.load()
            if arguments.once:
                config = _once(config)
            log.debug("configuration: %s", redacted(config))
            log_tail.hide(secrets(config))
            control.begin()
            seconds = config.requests.confirm_seconds
            try:
                with remote.opening(seconds, lambda: _give_up(configuration)):
                    delivered = app.run(config, control.stop, arguments.drain_timeout, remote, kept)
            except Exception as error:
                if not configuration.trying:
                    raise
                configuration.take_back(f"{type(error).__name__}: {error}")
                continue
            if control.wish == "restart":
                _restart()
            if control.wish == "end":
                break
    if delivered:
        return 0
    console.err(
        f"not everything was delivered; what is on disk stays in {config.outbox.path} and goes out "
        "with the next run"
    )
    return 1


@contextlib.contextmanager
def _signals(control: Control) -> Iterator[None]:
    """End in good order on signals that would end the program at once; ignored ones stay so."""
    before = {
        number: handler
        for number in _ENDING
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, lambda *_: control.end())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _log_tail() -> Iterator[LogTail]:
    """Keep the newest lines of the log."""
    log_tail = LogTail()
    logging.getLogger().addHandler(log_tail)
    try:
        yield log_tail
    finally:
        logging.getLogger().removeHandler(log_tail)


def _give_up(configuration: ChangedConfiguration) -> NoReturn:
    """Take back what hangs; only a new process gets rid of it."""
    configuration.take_back("with it the program did not start in time")
    _restart()


def _restart() -> NoReturn:
    """Become a new process of the same command and number, under systemd as without it."""
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _once(config: Config) -> Config:
    if not isinstance(config.camera, FolderCamera):
        raise ConfigError('--once goes with camera.kind = "folder": other cameras never end')
    return msgspec.structs.replace(
        config, camera=msgspec.structs.replace(config.camera, loop=False)
    )
