"""Which settings a request may change, over all that there are; and what answers leave out."""

from __future__ import annotations

import json
import logging
import typing
from pathlib import Path

import devices
import msgspec
import pytest
from remotes import started

from edge.config import Config, load_config, parse_config, secrets, settings
from edge.device.changeable_settings import FREE, HELD, PICTURES, check_afar
from edge.device.log_tail import LogTail
from edge.errors import ConfigError, RequestDeniedError
from edge.messages.verbs import LogParams

WHOLE = """[model]
bundle = "model.wtr"
[camera]
kind = "folder"
path = "/srv/photos/*.jpg"
[device.location]
lat = 23.8
lon = 90.4
[broker]
username = "alice"
password_env = "SECRET"
[gps]
host = "gps.example"
device = "/dev/ttyACM0"
"""


def paths(struct: type[msgspec.Struct], path: str = "") -> set[str]:
    """Every setting of the schema, of all kinds of camera, and tables that may be left out."""
    found = set()
    if struct.__struct_config__.tag:
        found.add(f"{path}.kind")
    for name, hint in typing.get_type_hints(struct).items():
        below = f"{path}.{name}".lstrip(".")
        parts = typing.get_args(hint) or (hint,)
        inner = [p for p in parts if isinstance(p, type) and issubclass(p, msgspec.Struct)]
        for one in inner:
            found |= paths(one, below)
        if not inner or type(None) in parts:
            found.add(below)
    return found


def test_every_setting_is_in_one_table_and_the_tables_hold_nothing_else():
    """A new setting has to be put into one, by somebody who has thought of it."""
    tables = [FREE, PICTURES, HELD.keys()]
    assert sorted(one for table in tables for one in table) == sorted(paths(Config))


def test_what_names_a_file_or_says_where_things_go_is_held():
    """By the types of the schema, and by the names of what decides on secrets."""
    free = FREE | PICTURES
    assert not {one for one in paths(Config) if "Path" in str(_hint(one))} & free
    words = {"host", "hosts", "port", "protocol", "tls", "token", "password", "username", "http"}
    words |= {"key", "keys", "prefix", "topic", "url"}
    assert not {one for one in free if words & set(one.replace("_", ".").split("."))}


def _hint(path: str) -> object:
    """The type of a setting."""
    structs: list[type] = [Config]
    for name in path.split("."):
        hints = [typing.get_type_hints(one).get(name) for one in structs]
        structs = [
            part
            for hint in hints
            for part in (typing.get_args(hint) or (hint,))
            if isinstance(part, type) and issubclass(part, msgspec.Struct)
        ]
    return hints


VALUES = {
    "view.mask": "m.png",
    "broker.protocol": "5",
    "requests.allow": ["restart"],
    "model.trusted_keys": ["k"],
    "model.self_test": False,
    "broker.tls.ca": "ca.pem",
    "outbox.max_bytes": 999_000_000,
    "report.prometheus_file": "x.prom",
    "requests.confirm_seconds": 5.0,
    "requests.max_bytes": 5000,
    "requests.per_second": 50.0,
}


def held(config: Config) -> list[tuple[str, object]]:
    """Another value for each setting of this configuration that is held."""
    other = []
    for path, value in settings(config):
        if path not in HELD or path == "camera.kind":
            continue
        if path in VALUES:
            other.append((path, VALUES[path]))
        elif isinstance(value, bool):
            other.append((path, not value))
        elif isinstance(value, tuple):
            other.append((path, ["elsewhere"]))
        elif path == "broker.tls":
            other.append((path, {}))
        elif "port" in path:
            other.append((path, 4000))
        else:
            other.append((path, "elsewhere"))
    return other


@pytest.fixture
def file(tmp_path):
    """A configuration file."""
    return devices.config(tmp_path, 1883)


def test_each_held_setting_is_refused_with_a_reason(file):
    """One after the other, alone; what is in force stays."""
    tried = 0
    for path, value in held(load_config(file)):
        configuration = started(file)
        # Alone, some are no configuration to begin with, such as a second model.
        with pytest.raises((RequestDeniedError, ConfigError)) as raised:
            configuration.change(configuration.revision(), {path: value}, None)
        if raised.type is RequestDeniedError:
            assert str(raised.value).startswith(path)
            assert "can be changed only in the file on the device: " in str(raised.value)
            tried += 1
        assert started(file).config == load_config(file)
    assert tried >= 30


def test_what_no_table_knows_is_refused(file, monkeypatch):
    """A setting that was forgotten."""
    monkeypatch.setattr("edge.device.changeable_settings.FREE", FREE - {"decision.agreeing_frames"})
    configuration = started(file)
    with pytest.raises(RequestDeniedError, match=r"decision\.agreeing_frames .* not among those"):
        configuration.change(configuration.revision(), {"decision.agreeing_frames": 1}, None)


def test_tls_that_is_taken_away_by_a_whole_configuration_is_refused(file):
    """The difference counts, not how it is asked for."""
    text = file.read_text()
    file.write_text(text.replace("[broker]", "[broker.tls]\n[broker]"))
    configuration = started(file)
    with pytest.raises(RequestDeniedError, match=r"broker\.tls"):
        configuration.change(configuration.revision(), None, text)


@pytest.mark.parametrize("name", ["images.send", "inbox.keep"])
def test_pictures_are_switched_on_from_afar_only_where_the_file_lets_them(file, name):
    """Off always."""
    section, setting = name.split(".")
    base = load_config(file)
    part = getattr(base, section)
    on = msgspec.structs.replace(
        base, **{section: msgspec.structs.replace(part, **{setting: True})}
    )
    with pytest.raises(RequestDeniedError, match=rf"{name} lets pictures leave the device"):
        check_afar(base, on)
    check_afar(on, base)
    check_afar(allowed(base), allowed(on))


def allowed(config: Config) -> Config:
    """Let pictures go."""
    requests = msgspec.structs.replace(config.requests, pictures=True)
    return msgspec.structs.replace(config, requests=requests)


def test_the_configuration_is_told_without_place_user_and_folders(tmp_path):
    """Unless `requests.details` says so; a secret's user name never."""
    told = {}
    for extra in ("", "[requests]\ndetails = true\n"):
        file = tmp_path / "config.toml"
        file.write_text(WHOLE + extra)
        told[extra] = json.dumps(started(file).plain())
    short, full = told.values()
    for hidden in ("23.8", "alice", "SECRET", "gps.example", "ttyACM0", str(tmp_path), "/srv"):
        assert hidden not in short
    assert '"bundle": "model.wtr"' in short
    for shown in ("23.8", "SECRET", "gps.example", "ttyACM0", str(tmp_path / "model.wtr")):
        assert shown in full
    assert "alice" not in full


def test_the_log_shows_no_secrets(tmp_path):
    """The broker's password, the token, and what stands in addresses, whenever it was logged."""
    for name in ("mqtt", "token"):
        (tmp_path / name).write_text(f"pass-of-{name}\n")
    raw = {
        "model": {"bundle": "m.wtr"},
        "camera": {"kind": "folder", "path": "p"},
        "broker": {"username": "u", "password_file": "mqtt"},
        "requests": {"token_file": "token"},
    }
    config = parse_config(raw, tmp_path)
    journal, log = LogTail(), logging.getLogger("test-secrets")
    log.addHandler(journal)
    try:
        log.error("refused: pass-of-mqtt and pass-of-token")
        journal.hide(secrets(config))
        log.error("get https://me:pw@models.example/a.wtr?key=abc&x=1, then %s", Path("/a"))
        log.error("x" * 990 + "pass-of-token")
        log.error("did you mean agree? known: of")
        lines = [line.text for line in journal.log(LogParams()).lines]
    finally:
        log.removeHandler(journal)
    assert lines[0] == "refused: *** and ***"
    assert lines[1] == "get https://***@models.example/a.wtr?*** then /a"
    assert lines[2] == "x" * 990 + "***"
    assert lines[3] == "did you mean agree? known: of"


def test_a_secret_that_cannot_be_read_hides_nothing(tmp_path):
    """The start tells of it; here it is no error."""
    raw = {
        "model": {"bundle": "m.wtr"},
        "camera": {"kind": "folder", "path": "p"},
        "broker": {"username": "u", "password_file": "none"},
    }
    assert secrets(parse_config(raw, tmp_path)) == ()
