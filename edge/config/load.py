"""From a file, or plain values, to a configuration that was checked, and back for printing."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge.config.broker import Broker
from edge.config.checks import check_broker, check_together
from edge.config.explain import explain
from edge.config.section import first_line
from edge.config.whole import Config
from edge.config.windows import Window
from edge.errors import ConfigError
from edge.text.encodings import read_text


def load_config(path: Path | str) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    file = Path(path)
    try:
        raw = tomllib.loads(read_text(file))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not a TOML file: {error}") from error
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
                raise ValueError("it must be a path; its ~ names no user that exists") from error
        if kind is Window:
            if isinstance(value, str):
                return Window(value)
            raise ValueError("it must be a window in quotes")
        raise ValueError("it must be a path in quotes")

    if isinstance(raw.get("outbox", {}), dict):
        raw = {**raw, "outbox": {"path": "outbox.db", **raw.get("outbox", {})}}
    try:
        config = msgspec.convert(raw, Config, dec_hook=hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {explain(str(error), raw, Config)}") from error
    check_together(config, name)
    return config


def redacted(config: Config, details: bool = True) -> dict[str, Any]:
    """The configuration as plain values for printing, without anything secret.

    Secrets are never in it to begin with: only the names of the file or variable that hold them.
    The user name is hidden too. Without `details` so is the place, and of files only the name is
    told, not the folder.
    """
    plain: dict[str, Any] = msgspec.to_builtins(
        config,
        enc_hook=lambda one: one.name if isinstance(one, Path) and not details else str(one),
    )
    hidden = [(plain["broker"], "username"), (plain["model"]["update"], "username")]
    if not details:
        hidden += [(plain["broker"], "password_env"), (plain["device"], "location")]
        hidden += [(plain["gps"], "host"), (plain["gps"], "device")]
    for section, name in hidden:
        if section[name]:
            section[name] = "***"
    return plain


def secrets(config: Config) -> tuple[str, ...]:
    """The secrets that the program holds, so that they can be kept out of its output."""
    found = []
    with contextlib.suppress(ConfigError):
        found.append(config.broker.password() or "")
    for path, value in settings(config):
        if isinstance(value, Path) and path.endswith(("password_file", "token_file")):
            with contextlib.suppress(ConfigError):
                found.append(first_line(value, path))
    return tuple(secret for secret in found if secret)


def settings(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield all settings by path, with their values; a table that is left out is None."""
    if not isinstance(value, msgspec.Struct):
        yield path, value
        return
    if tag := value.__struct_config__.tag:
        yield f"{path}.kind", tag
    for name in value.__struct_fields__:
        yield from settings(getattr(value, name), f"{path}.{name}".lstrip("."))
