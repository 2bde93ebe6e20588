"""The configuration file."""

from __future__ import annotations

import re
from pathlib import Path

import devices
import msgspec
import pytest
from brokers import Mosquitto

from edge import config as module
from edge.config import Config, load_config, parse_config, redacted
from edge.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "firmware-config" / "config.toml"
LEAST = {"model": {"bundle": "m.wtr"}, "camera": {"kind": "folder", "path": "p"}}


def refusal(raw: dict) -> str:
    """Give the message with which a configuration is refused."""
    with pytest.raises(ConfigError) as error:
        parse_config(LEAST | raw, Path("/etc/wheatear"), "c.toml")
    return str(error.value)


def test_the_shipped_file_runs_as_it_is(tmp_path):
    """The annotated file, beside a model and photos, passes every check but for the port."""
    devices.bundle(tmp_path / "model.wtr")
    devices.photos(tmp_path / "photos", 3)
    text = SHIPPED.read_text()
    with Mosquitto(tmp_path) as broker:
        text = text.replace("# port = 1883 ", f"port = {broker.port} ", 1)
        text = text.replace('# runtime = "litert"', 'runtime = "fake"  #', 1)
        (tmp_path / "config.toml").write_text(text)
        process = devices.start("check", "--config", str(tmp_path / "config.toml"))
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told


def test_every_setting_stands_in_the_shipped_file_with_its_default():
    """Settings commented out in the shipped file show the true default, unless marked example."""
    text = SHIPPED.read_text()
    bare = re.sub(r"^# (?=[a-z_]+ = |\[)", "", text, flags=re.M)
    for kind in ("folder", "picamera2", "v4l2"):
        chosen = re.sub(
            r'^\[camera\]\nkind = "(?!' + kind + r'").*?(?=^\n)', "", bare, flags=re.M | re.S
        )
        chosen = re.sub(r"^(tflite|labels|password_env) = .*\n", "", chosen, flags=re.M)
        found = module.tomllib.loads(chosen)
        config = parse_config(found, SHIPPED.parent)
        sections = {f.name for f in msgspec.structs.fields(Config)}
        assert sections == set(found), kind
        for section in sections:
            struct = getattr(config, section)
            missing = {f.name for f in msgspec.structs.fields(struct)} - set(found[section])
            assert missing <= {"tflite", "labels", "password_env"}, section
    shown = [
        line
        for line in text.splitlines()
        if re.match(r"# [a-z_]+ = ", line) and "example" not in line
    ]
    assert len(shown) > 30


def test_every_setting_has_a_docstring():
    """The docstring under each setting is what an error message quotes."""
    from edge.config_errors import _docstrings

    structs = [s for s in vars(module).values() if isinstance(s, type)]
    structs = [s for s in structs if issubclass(s, msgspec.Struct) and s.__struct_fields__]
    assert len(structs) > 10
    for struct in structs:
        assert set(struct.__struct_fields__) == set(_docstrings(struct)), struct


def test_relative_paths_are_taken_from_the_file(tmp_path):
    """A configuration works from whatever folder the program is started in."""
    path = devices.config(tmp_path, 1883)
    config = load_config(path)
    assert config.model.bundle == tmp_path / "model.wtr"
    assert config.outbox.path == tmp_path / "outbox.db"
    assert config.camera.path == tmp_path / "photos"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"camera": {"kind": "v4l2", "interval_seconds": -3}},
            "c.toml: camera.interval_seconds = -3 is refused: expected float >= 0.0 (allowed: 0 to "
            "86400). Seconds from one frame to the next; 0: as fast as they are classified.",
        ),
        (
            {"camera": {"kind": "v4l2", "intervall_seconds": 3}},
            "c.toml: camera.intervall_seconds is no setting; did you mean interval_seconds? known: "
            "device, width, height, interval_seconds, format, timeout_seconds",
        ),
        (
            {"camera": {"kind": "webcam"}},
            "c.toml: camera.kind = 'webcam' is refused: known kinds are folder, picamera2, v4l2",
        ),
        ({"camera": {"kind": "folder"}}, "c.toml: camera.path is missing; set it."),
        ({"broker": {"password": "hunter2"}}, "c.toml: broker.password is no setting;"),
        ({"broker": {"port": 0}}, "c.toml: broker.port = 0 is refused: expected int >= 1 (allowed"),
        ({"broker": {"protocol": "4"}}, "(allowed: 'auto', '5', '3.1.1')"),
        ({"device": {"id": "a/b"}}, "c.toml: device.id = 'a/b' is refused"),
        ({"decision": {"agree": 4, "of": 3}}, "decision.agree = 4 is more than decision.of = 3"),
        ({"model": {}}, "set one of model.bundle (a .wtr file) and model.tflite"),
        ({"broker": {"tls": {"key": "k.pem"}}}, "broker.tls.certificate and broker.tls.key belong"),
    ],
)
def test_a_refusal_names_path_value_and_cure(raw, expected):
    """Unknown keys and values out of range are refused by name, and never clamped."""
    assert expected in refusal(raw)


def test_a_secret_written_inline_is_not_repeated():
    """A password put where it does not belong does not end up in a log."""
    assert "hunter2" not in refusal({"broker": {"password": "hunter2"}})


def test_passwords_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    """The first line of the file counts; a missing source is named."""
    (tmp_path / "secret").write_text("päss word\nsecond line\n")
    broker = parse_config(LEAST | {"broker": {"password_file": "secret"}}, tmp_path).broker
    assert broker.password() == "päss word"
    broker = parse_config(LEAST | {"broker": {"password_env": "FIELD_PW"}}, tmp_path).broker
    with pytest.raises(ConfigError, match="FIELD_PW is not set"):
        broker.password()
    monkeypatch.setenv("FIELD_PW", "x")
    assert broker.password() == "x"


def test_printing_a_configuration_shows_no_user():
    """What is logged names the sources of secrets only."""
    config = parse_config(LEAST | {"broker": {"username": "alice"}}, Path("/"))
    assert "alice" not in str(redacted(config))


def test_a_broken_file_is_one_error_with_its_name(tmp_path):
    """Missing files and TOML errors name the file."""
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[broker\n")
    with pytest.raises(ConfigError, match=r"bad.toml is no TOML file"):
        load_config(tmp_path / "bad.toml")
