"""The configuration file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import devices
import msgspec
import pytest
from brokers import Mosquitto

from edge.config import Config, FolderCamera, load_config, parse_config, redacted
from edge.config.explain import docstrings
from edge.config.reference import markdown
from edge.config.section import Section
from edge.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "firmware-config" / "config.toml"
LEAST = {"model": {"bundle": "m.wtr"}, "camera": {"kind": "folder", "path": "p"}}


def refusal(raw: dict[str, Any]) -> str:
    """The message with which a configuration is refused."""
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


def shipped(kind: str, examples: bool) -> dict[str, Any]:
    """Read the shipped file with its commented settings in force, for one kind of camera."""
    text = SHIPPED.read_text()
    if not examples:
        text = re.sub(r"^# .*example.*\n", "", text, flags=re.M)
    text = re.sub(r"^# (?=[a-z_]+ = |\[)", "", text, flags=re.M)
    text = re.sub(r'^\[camera\]\nkind = "(?!' + kind + r'").*?(?=^\n)', "", text, flags=re.M | re.S)
    # In place of the bundle:
    text = re.sub(r"^(tflite|labels|mean|std|output) = .*\n", "", text, flags=re.M)
    text = re.sub(r'^(crop = "stretch"|background = "none").*\n', "", text, flags=re.M)
    return tomllib.loads(text)


@pytest.mark.parametrize("kind", ["folder", "picamera2", "v4l2"])
def test_every_setting_stands_in_the_shipped_file(kind):
    """All sections and settings are there, and all of them are accepted together."""
    found = shipped(kind, examples=True)
    config = parse_config(found, SHIPPED.parent)
    assert set(found) == set(Config.__struct_fields__)
    for section in found:
        settings = set(getattr(config, section).__struct_fields__)
        others = {"tflite", "labels", "mean", "std", "crop", "background", "output"}
        others = others if section == "model" else {"password_env"}
        assert settings - set(found[section]) <= others, section


@pytest.mark.parametrize("kind", ["folder", "picamera2", "v4l2"])
def test_the_shipped_file_shows_true_defaults(kind):
    """What is commented out, and no example, changes nothing when it is put in force."""
    shown = shipped(kind, examples=False)
    for lost in ("location", "tls"):
        shown["device"].pop(lost, None), shown["broker"].pop(lost, None)
    bare: dict[str, Any] = {"device": {"id": "cam-07"}, "model": {"bundle": "model.wtr"}}
    bare["trigger"] = {name: {} for name in shown["trigger"]}
    bare["camera"] = {"kind": kind} | ({"path": "photos"} if kind == "folder" else {})
    expected = parse_config(bare, SHIPPED.parent)
    shown["broker"].pop("port", None)  # depends on TLS
    assert parse_config(shown, SHIPPED.parent) == expected


def test_every_setting_has_a_docstring():
    """The docstring under each setting is what an error message quotes."""
    structs = Section.__subclasses__()
    assert len(structs) > 10
    for struct in structs:
        assert set(struct.__struct_fields__) == set(docstrings(struct)), struct


def test_relative_paths_are_taken_from_the_file(tmp_path):
    """A configuration works from whatever folder the program is started in."""
    path = devices.config(tmp_path, 1883)
    config = load_config(path)
    assert config.model.bundle == tmp_path / "model.wtr"
    assert config.outbox.path == tmp_path / "outbox.db"
    assert isinstance(config.camera, FolderCamera)
    assert config.camera.path == tmp_path / "photos"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"camera": {"kind": "v4l2", "interval_seconds": -3}},
            "c.toml: camera.interval_seconds = -3 is refused: it must be 0 or more (allowed: 0 to "
            "86400). Seconds from one frame to the next; 0: as fast as they are classified.",
        ),
        (
            {"camera": {"kind": "v4l2", "intervall_seconds": 3}},
            "c.toml: camera.intervall_seconds is not a setting; did you mean interval_seconds? "
            "known: device, width, height, interval_seconds, format, timeout_seconds",
        ),
        (
            {"camera": {"kind": "webcam"}},
            "c.toml: camera.kind = 'webcam' is refused: known kinds are folder, picamera2, v4l2",
        ),
        ({"camera": {"kind": "folder"}}, "c.toml: camera.path is missing; set it."),
        ({"broker": {"password": "hunter2"}}, "c.toml: broker.password is not a setting;"),
        ({"broker": {"host": "mqtt://b"}}, "broker.host = 'mqtt://b' is not a name or address"),
        ({"broker": {"host": "b.example:1883"}}, "alone; the port goes into broker.port"),
        (
            {"broker": {"port": 0}},
            "c.toml: broker.port = 0 is refused: it must be 1 or more (allowed",
        ),
        ({"broker": {"protocol": "4"}}, "(allowed: 'auto', '5', '3.1.1')"),
        ({"device": {"id": "a/b"}}, "c.toml: device.id = 'a/b' is refused"),
        (
            {"decision": {"of": 3}},
            "decision.of is no longer a setting; it is called decision.last_frames",
        ),
        (
            {"inbox": {"below": 0.5}},
            "inbox.below is no longer a setting; it is called inbox.below_con",
        ),
        (
            {"decision": {"mode": "life"}},
            "'life' is refused: it is not one of the choices (allowed: 'vi",
        ),
        ({"outbox": {"kind": "x"}}, "c.toml: outbox.kind is not a setting; known: path,"),
        (
            {"decision": {"agreeing_frames": 4, "last_frames": 3}},
            "decision.agreeing_frames = 4 is more than decision.last_frames = 3",
        ),
        (
            {"trigger": {"windows": ["06:00-10:00", "6-10"], "time_zone": "UTC"}},
            "c.toml: trigger.windows[1] = '6-10' is refused: it is not a window; write ",
        ),
        (
            {"trigger": {"windows": [6]}},
            "windows[0] = 6 is refused: it must be a window in quotes. When",
        ),
        ({"trigger": {"windows": ["25:00-26:00"]}}, "it has no such time as 25:00; times go from"),
        ({"trigger": {"windows": ["06:00-06:00"]}}, 'the whole day is "00:00-24:00"'),
        (
            {"trigger": {"windows": ["sunset..sunset-00:10"]}},
            "it ends before it begins",
        ),
        ({"trigger": {"windows": ["06:00-10:00"]}}, "set trigger.time_zone, such as"),
        ({"trigger": {"time_zone": "Asia/Dacca2"}}, 'trigger.time_zone = "Asia/Dacca2" is not'),
        ({"trigger": {"windows": ["sunrise..sunset"]}}, "where the camera stands, or gps.enabled"),
        ({"trigger": {"duty": {"burst_seconds": 900}}}, "burst_seconds = 900.0 leaves no rest"),
        (
            {"trigger": {"duty": {"every_second": 9}}},
            "trigger.duty.every_second is not a setting; did",
        ),
        ({"model": {"bundle": "~nobody-has-this/m.wtr"}}, "its ~ names no user that exists"),
        ({"model": {}}, "set one of model.bundle (a .wtr file) and model.tflite"),
        ({"broker": {"tls": {"key": "k.pem"}}}, "broker.tls.certificate and broker.tls.key belong"),
    ],
)
def test_a_refusal_names_path_value_and_cure(raw, expected):
    """Unknown keys and values out of range are refused by name, and never clamped."""
    assert expected in refusal(raw)


def test_what_has_no_range_is_told_without_one():
    """Nor is anything told of a setting where the program has no source with it."""
    assert "allowed" not in refusal({"device": {"id": "a/b"}})
    assert docstrings(msgspec.defstruct("Bare", ["setting"])) == {}


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
    with pytest.raises(ConfigError, match=r"bad.toml is not a TOML file"):
        load_config(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ({"tiles": 8}, "view.tiles = 8 is refused: it must be 16 or more"),
        ({"tiles": [4]}, "view.tiles = [4] is refused: it must have at least 2 entries"),
        ({"tiles": [0, 3]}, "view.tiles[0] = 0 is refused: it must be 1 or more"),
        ({"tile": 640}, "view.tile is not a setting; did you mean tiles?"),
        ({"regions": [[0, 0, 2, 1]]}, "view.regions[0][2] = 2 is refused: it must be at most 1"),
        ({"regions": [[0.5, 0, 0.5, 1]]}, "view.regions[0] = [0.5, 0.0, 0.5, 1.0] is empty"),
        ({"mask_polygons": [[[0, 0], [0, 0], [0, 0]]]}, "view.mask_polygons[0] has no area"),
        (
            {"mask_polygons": [[[0, 0], [1, 0], [0, 1]], [[0, 0], [0.25, 0.5], [0.5, 1]]]},
            "view.mask_polygons[1] has no area",
        ),
        ({"mask_polygons": [[[0, 0], [1, 1]]]}, "it must have at least 3 entries"),
        ({"overlap": 1.0}, "view.overlap = 1.0 is refused: it must be at most 0.9"),
    ],
)
def test_a_wrong_view_is_refused_by_name(view, expected):
    """Path, value and what is allowed."""
    assert expected in refusal({"view": view})


def test_an_interval_that_leaves_every_frame_alone_is_refused():
    """With hours between frames no two would ever count together."""
    camera = {"kind": "v4l2", "interval_seconds": 7200}
    assert "decision.blind_seconds = 7200; no two frames" in refusal({"camera": camera})


@pytest.mark.parametrize("setting", ["broker.base_topic", "homeassistant.discovery_prefix"])
@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/a",
        "a/",
        "a/#",
        "+/a",
        "a b",
        "a\n",
        "a\x00b",
        "a\x7fb",
        "a\x85b",
        "a\ufffeb",
        "$S",
        "a" * 201,
    ],
)
def test_a_topic_at_which_brokers_hang_up_is_refused(setting, topic):
    """With one the device would never be connected, and could not know why."""
    section, name = setting.split(".")
    assert f"{setting} = " in refusal({section: {name: topic}})


@pytest.mark.parametrize("topic", ["a", "a//b", "farm/two", "é/$b", "a" * 200])
def test_topics_that_brokers_take_are_taken(topic):
    """Also with empty levels, which are levels like others."""
    config = parse_config(LEAST | {"broker": {"base_topic": topic}}, Path("/"), "c.toml")
    assert config.broker.base_topic == topic


@pytest.mark.parametrize("name", ["cam\n", "cam 1", "cam+", "\U0001f41b", "a" * 65])
def test_an_id_that_is_no_part_of_a_topic_is_refused(name):
    """It stands in each of them; so does what ends a line."""
    assert "device.id = " in refusal({"device": {"id": name}})


@pytest.mark.parametrize("name", ["cam\x00", "cam\n", "a" * 1001])
def test_a_user_name_that_no_broker_reads_is_refused(name):
    """MQTT has no control characters in a text."""
    assert "broker.username = " in refusal({"broker": {"username": name}})


def test_the_reference_of_settings_is_up_to_date():
    """docs/device/settings.md is what `wheatear schema --settings` prints."""
    page = Path(__file__).parents[1] / "docs" / "device" / "settings.md"
    if not page.exists():
        pytest.skip("the documentation does not travel with the wheel")
    assert page.read_text(encoding="utf-8") == markdown()


def test_the_reference_tells_every_setting_with_its_default_and_bounds():
    """A line for each, below the heading of its table; code is marked as such."""
    text = markdown()
    tables = re.split(r"(?m)^## ", text)[1:]
    found = {
        (re.match(r"`\[(\S+)\]`", table)[1], name)  # type: ignore[index]
        for table in tables
        for name in re.findall(r"(?m)^\| `(\w+)` \|", table)
    }
    known = {
        tuple(path.rsplit(".", 1))
        for kind in ("folder", "v4l2", "picamera2")
        for path in paths(kind)
    }
    assert found >= known
    assert "| `port` | *unset* | 1 to 65535 |" in text
    assert "| `lat` | *needed* | -90 to 90 |" in text
    assert "| `alt` | *unset* | -1000 to 20000 |" in text
    assert "| `tiles` | *unset* | 16 to 8192 or list of 1 to 32 |" in text
    assert '| `crop` | `"stretch"` | `stretch`, `centre`, `pad` | Of `tflite`: ' in text


def paths(kind: str) -> set[str]:
    """The settings of the shipped file for one kind of camera, by table and name."""

    def inside(table: dict[str, Any], path: str) -> set[str]:
        return {
            one
            for name, value in table.items()
            for one in (
                inside(value, f"{path}{name}.")
                if isinstance(value, dict) and name != "thresholds"
                else [f"{path}{name}"]
            )
        }

    return inside(shipped(kind, examples=True), "") - {"camera.kind"}
