"""From a file, or plain values, to a configuration that was checked, and back for printing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from edge.config.broker import Broker
from edge.config.checks import check_broker, check_together, check_trigger
from edge.config.explain import explain
from edge.config.whole import Config
from edge.errors import ConfigError


def load_config(path: Path | str) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    file = Path(path)
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML file: {error}") from error
    return parse_config(raw, base=file.resolve().parent, name=str(file))


def parse_broker(raw: dict[str, Any], name: str = "broker") -> Broker:
    """Check settings of a broker alone; paths are as they are. Raises ConfigError."""
    try:
        broker = msgspec.convert(raw, Broker, dec_hook=lambda _, value: Path(value))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(str(error), raw, Broker)}") from error
    check_broker(broker, name)
    return broker


def parse_config(raw: dict[str, Any], base: Path, name: str = "configuration") -> Config:
    """Check `raw`; relative paths are taken from the folder `base`. Raises ConfigError."""

    def hook(kind: type, value: object) -> object:
        if kind is Path and isinstance(value, str) and value:
            try:
                return base / Path(value).expanduser()
            except RuntimeError as error:
                raise ValueError("Expected a path, or the ~ of a user that there is") from error
        raise ValueError("Expected a path in quotes")

    if isinstance(raw.get("outbox", {}), dict):
        raw = {**raw, "outbox": {"path": "outbox.db", **raw.get("outbox", {})}}
    try:
        config = msgspec.convert(raw, Config, dec_hook=hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(str(error), raw, Config)}") from error
    check_together(config, name)
    check_trigger(config, name)
    return config


def redacted(config: Config) -> dict[str, Any]:
    """Give the configuration as plain values for printing, without anything secret.

    Secrets are never in it to begin with: only the names of the file or variable that hold them.
    The user name is hidden too.
    """
    plain: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    if plain["broker"]["username"]:
        plain["broker"]["username"] = "***"
    return plain
