"""A device whose configuration may be changed from afar."""

from __future__ import annotations

from pathlib import Path

from edge.device.config_changes import ChangedConfiguration

BASE = "wheatear/cam-1"
ALLOW = """[requests]
allow = ["status", "config/get", "config/set", "log", "restart"]
per_second = 100.0
confirm_seconds = {seconds}
"""


def started(file: Path) -> ChangedConfiguration:
    """The configuration as the next start of the program finds it."""
    configuration = ChangedConfiguration(file)
    configuration.load()
    return configuration


def changed(file: Path, **settings: object) -> ChangedConfiguration:
    """Change settings (``decision__agreeing_frames=1``) and start with them."""
    configuration = started(file)
    values = {name.replace("__", "."): value for name, value in settings.items()}
    assert configuration.change(configuration.revision(), values, None)
    return started(file)
