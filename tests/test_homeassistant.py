"""Showing up in Home Assistant: the announcement, its removal, and a real Home Assistant."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import devices
import msgspec
import pytest
from brokers import Mosquitto, Subscriber, retained
from hass import Hass, hass_path
from there import there

from edge.config import parse_config
from edge.messages.device import RunningModel
from edge.messages.payloads import PAYLOADS
from edge.messages.topics import TOPICS
from edge.mqtt.homeassistant.discovery import Announced, introductions
from edge.mqtt.homeassistant.entities import CameraFacts, components

LEAST = {
    "device": {"id": "c"},
    "model": {"bundle": "m.wtr"},
    "camera": {"kind": "folder", "path": "p"},
}
TOPIC = "homeassistant/device/wheatear_cam-1/config"
ON = "[homeassistant]\nenabled = true\n"


def settings(folder: Path, raw: dict[str, Any]):
    """A configuration whose outbox lies in `folder`."""
    return parse_config(LEAST | raw, folder)


def model(*labels: str) -> RunningModel:
    """A running model with these classes."""
    return RunningModel(
        name="m", version="1", sha256="", labels=labels, runtime="fake", runtime_version="1"
    )


def payload(folder: Path, labels=("aphid", "beetle"), **raw) -> dict[str, Any]:
    """The announcement, decoded."""
    raw["homeassistant"] = {"enabled": True}
    (folder / "outbox.db.homeassistant").unlink(missing_ok=True)
    *_, one = introductions(settings(folder, raw), lambda: model(*labels))
    return json.loads(there(one.payload()))


def test_every_topic_and_field_that_is_shown_exists(tmp_path):
    """Components name topics of ours only, and templates fields of their messages only."""
    found = payload(tmp_path, device={"id": "c", "location": {"lat": 1, "lon": 2}})
    payloads = {one.__name__: one for one in PAYLOADS}
    structs = {one.suffix: one.payload for one in TOPICS} | {"response/capture": "Response"}
    for key, part in found["components"].items():
        for topic, template in (
            ("state_topic", "value"),
            ("json_attributes_topic", "json_attributes"),
        ):
            if topic not in part:
                continue
            suffix = part[topic].removeprefix("wheatear/c/")
            struct = payloads[structs[suffix]]
            for path in re.findall(r"value_json\.([a-z_.]+)", part[f"{template}_template"]):
                assert has(struct, path.split(".")), (key, path)


def test_a_class_called_as_no_value_is_shown_as_a_class(tmp_path):
    """Home Assistant takes these words for a sensor that says nothing, and cuts no long state."""
    found = payload(tmp_path)["components"]
    for key in ("latest", "present"):
        template = found[key]["value_template"]
        assert "('class ' ~ " in template
        assert "in ['unknown', 'unavailable', 'None'] else" in template
    assert "[:255]" in found["present"]["value_template"]


def has(kind, path: list[str]) -> bool:
    """Whether a message has a field, given by its path; methods of values do not count."""
    if kind is Any:
        return True
    kinds = getattr(kind, "__args__", ()) if not hasattr(kind, "__struct_fields__") else (kind,)
    structs = [one for one in kinds if hasattr(one, "__struct_fields__")]
    if not path or not structs:
        return not path or path == ["items"]
    fields = msgspec.structs.fields(structs[0])
    types = {one.name: one.type for one in fields}
    inner = types.get(path[0])
    return inner is not None and (len(path) == 1 or has(plain(inner), path[1:]))


def plain(kind):
    """Take ``Annotated`` away."""
    return getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind


def test_names_stay_the_same_and_differ_from_each_other(tmp_path):
    """Unique ids hold only what Home Assistant allows, for the oddest labels and ids too."""
    odd = ("aphid", "a phid", "a.phid", "Käfer", "🐛", "", "today", 'say "hi" \\ {{ x }} {% y %}')
    found = payload(tmp_path, odd, device={"id": "cam.1"}, broker={"base_topic": "farm/two"})
    keys = list(found["components"])
    ids = [part["unique_id"] for part in found["components"].values()]
    assert len(set(ids)) == len(ids) == len(keys)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in [*ids, *keys])
    assert len([key for key in keys if key.startswith("today_")]) == len(odd)
    again = payload(tmp_path, odd[::-1], device={"id": "cam.1"}, broker={"base_topic": "farm/two"})
    assert set(again["components"]) == set(keys)
    other = payload(tmp_path, odd, device={"id": "cam_1"}, broker={"base_topic": "farm/two"})
    assert not set(ids) & {part["unique_id"] for part in other["components"].values()}


def test_only_what_this_device_does_is_shown(tmp_path):
    """No picture without pictures, no place without a place, no counter of the background."""
    bare = payload(tmp_path, decision={"background": ["beetle"]})["components"]
    assert not {"picture", "position", "today_beetle"} & set(bare)
    assert "today_aphid" in bare
    full = payload(
        tmp_path, images={"send": True}, device={"id": "c", "location": {"lat": 1, "lon": 2}}
    )["components"]
    assert {"picture", "position", "today_beetle"} <= set(full)
    assert "capture" in full
    assert "restart" not in full
    quiet = payload(tmp_path, requests={"allow": ["capture"], "token_file": "t"})["components"]
    assert not {"capture", "captured"} & set(quiet)
    many = payload(tmp_path, tuple(f"class_{i}" for i in range(1000)))["components"]
    assert "today" in many
    assert not [key for key in many if key.startswith("today_")]


def run(path: Path) -> None:
    """Replay the photos once, to the end."""
    process = devices.start("run", "--once", "--config", str(path))
    _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told


def test_switching_it_off_or_moving_it_takes_the_old_away(tmp_path):
    """Announced, moved to another prefix, switched off: what is retained follows, once."""
    devices.photos(tmp_path / "photos", 2)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        run(devices.config(tmp_path, broker.port, ON))
        assert json.loads(there(retained(broker.port, TOPIC)))["device"]["name"] == "cam-1"
        moved = TOPIC.replace("homeassistant", "ha")
        run(devices.config(tmp_path, broker.port, ON + 'discovery_prefix = "ha"\n'))
        assert retained(broker.port, TOPIC) is None
        assert json.loads(there(retained(broker.port, moved)))["origin"]["name"] == "wheatear"
        run(devices.config(tmp_path, broker.port))
        assert retained(broker.port, moved) is None
        run(devices.config(tmp_path, broker.port))
        assert [one for one in subscriber.on("/config") if not one] == [b"", b""]
    assert not (tmp_path / "outbox.db.homeassistant").exists()


def test_what_was_announced_is_known_after_a_cut_of_the_power(tmp_path, monkeypatch):
    """The folder is synced behind each change of the note, or nobody would take the old away."""
    real, seen = os.fsync, []

    def fsync(fd: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{fd}")) == tmp_path:
            seen.append([json.loads(path.read_bytes()) for path in tmp_path.iterdir()])
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    announced = Announced(tmp_path / "outbox.db")
    announced.note("topic", {"part": "sensor"})
    announced.note("topic", {"part": "sensor"})
    announced.forget("topic")
    assert seen == [[{"topic": {"part": "sensor"}}], []]


def test_a_removal_that_was_not_acknowledged_is_tried_again(tmp_path):
    """What is announced is forgotten only when the broker has taken the removal."""
    payload(tmp_path)
    (removal,) = introductions(settings(tmp_path, {}), model)
    assert removal.payload() == b""
    (again,) = introductions(settings(tmp_path, {}), model)
    again.acknowledged()
    assert again.payload() is None
    assert introductions(settings(tmp_path, {}), model) == []


def test_classes_of_an_earlier_model_are_taken_away(tmp_path):
    """A component that is no more is named with its platform alone, also after a restart."""
    on = {"homeassistant": {"enabled": True}}
    labels = ["aphid", "beetle"]
    for _ in range(2):
        (one,) = introductions(settings(tmp_path, on), lambda: model(*labels))
        parts = json.loads(there(one.payload()))["components"]
        assert parts["today_aphid"]["unique_id"] == "wheatear_c_today_aphid"
    labels[1] = "weevil"
    for _ in range(2):
        parts = json.loads(there(one.payload()))["components"]
        assert parts["today_beetle"] == {"platform": "sensor"}
        assert "unique_id" in parts["today_weevil"]
        (one,) = introductions(settings(tmp_path, on), lambda: model(*labels))


def test_a_damaged_note_of_what_was_announced_is_said_and_replaced(tmp_path, caplog):
    """The device announces itself all the same."""
    note = tmp_path / "outbox.db.homeassistant"
    note.write_text("{half")
    (one,) = introductions(settings(tmp_path, {"homeassistant": {"enabled": True}}), model)
    assert json.loads(there(one.payload()))["components"]
    assert "old announcements stay" in caplog.text
    assert json.loads(note.read_text())


@pytest.fixture
def hass(tmp_path):
    """A real Home Assistant on a real broker."""
    hass_path()
    with Mosquitto(tmp_path) as broker, Hass(tmp_path / "hass", broker.port) as running:
        yield running


def test_a_real_home_assistant_shows_the_camera(tmp_path, hass):
    """Entities appear by themselves with the right values; nothing is complained of; off is off."""
    devices.photos(tmp_path / "photos", 7)
    more = "\n".join(
        [ON, "[images]\nsend = true\n", "[device.location]\nlat = 23.81\nlon = 90.41\n"]
    )
    path = devices.config(tmp_path, hass.broker_port, more)
    path.write_text(path.read_text().replace("state_seconds", "health_seconds = 1\nstate_seconds"))
    run(path)
    hass.state("event.cam_1_sighting", "unavailable")
    stored = path.read_text().replace("[camera]", 'store = "store"\n[camera]')
    path.write_text(stored)
    slow = '"photos"\nframes_per_second = 1.0\nloop = true'
    path.write_text(path.read_text().replace('"photos"', slow))
    process = devices.start("run", "--config", str(path))
    try:
        check_sightings(hass)
        check_values(hass)
        check_presses(hass)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    hass.state("sensor.cam_1_last_sighting", "unavailable")
    assert hass.complaints() == []
    check_counts(hass)
    background = path.read_text().replace("[decision]", '[decision]\nbackground = ["beetle"]')
    path.write_text(background.replace("loop = true", "").replace("= 1.0", "= 100.0"))
    run(path)
    hass.until(lambda: "sensor.cam_1_beetle_today" not in hass.states())
    assert "sensor.cam_1_aphid_today" in hass.states()
    assert hass.complaints() == []
    run(devices.config(tmp_path, hass.broker_port))
    hass.until(lambda: "sensor.cam_1_last_sighting" not in hass.states())


def check_sightings(hass: Hass) -> None:
    """Sightings come in as events, and counts and the last one agree with them."""
    hass.state("binary_sensor.cam_1_problem", "off")
    hass.state("sensor.cam_1_there_now", "nothing")
    hass.until(lambda: hass.states()["event.cam_1_sighting"]["attributes"].get("seq", 0) > 7)
    event = hass.states()["event.cam_1_sighting"]["attributes"]
    assert event["label"] in devices.COLOURS
    assert event["event_type"] == "single"

    def counted() -> bool:
        """Numbers of one state message: what was seen since midnight, in all and by class."""
        found = hass.states()
        each = [
            int(found[f"sensor.cam_1_{name}_today"]["state"])
            for name in ("sightings", "not_recognised", *devices.COLOURS)
        ]
        latest = found["sensor.cam_1_last_sighting"]
        return each[0] == sum(each[1:]) == latest["attributes"].get("seq", 0) > 7 and not each[1]

    hass.until(counted)


def check_values(hass: Hass) -> None:
    """Model, position, health and picture are there; only what cannot be known is unknown."""
    update = hass.state("update.cam_1_model_update", "off")["attributes"]
    assert (update["title"], update["installed_version"]) == ("colours", "1")
    position = hass.states()["device_tracker.cam_1_position"]["attributes"]
    assert (position["latitude"], position["longitude"]) == (23.81, 90.41)
    hass.until(lambda: hass.states()["sensor.cam_1_disk_free"]["state"] != "unknown")
    ours = {key: one for key, one in hass.states().items() if ".cam_1_" in key}
    unknown = {key for key, one in ours.items() if one["state"] == "unknown"}
    # What this machine may not measure, and a position outside of any zone.
    assert unknown <= {
        "sensor.cam_1_temperature",
        "binary_sensor.cam_1_power_or_heat",
        "device_tracker.cam_1_position",
        "sensor.cam_1_last_look",
        "button.cam_1_look_now",
        "sensor.cam_1_drift",
        "sensor.cam_1_signal",
    }
    shown = hass.states()["image.cam_1_picture"]["attributes"]["entity_picture"]
    assert hass.call(shown)[:3] == b"\xff\xd8\xff"


def check_presses(hass: Hass) -> None:
    """Each press of the button is a request of its own, and shows what was seen."""
    for _ in range(2):
        before = hass.states()["sensor.cam_1_last_look"]
        hass.call("/api/services/button/press", {"entity_id": "button.cam_1_look_now"})
        hass.until(lambda: hass.states()["sensor.cam_1_last_look"] != before)  # noqa: B023
    seen = hass.states()["sensor.cam_1_last_look"]
    assert seen["state"] in devices.COLOURS
    assert seen["attributes"]["sighting"] in (True, False)


def check_counts(hass: Hass) -> None:
    """Home Assistant's own templates count today's hours only, for the oddest label too."""
    odd = 'say "hi" it\'s \\ {{ x }} {% y %} {# z #} \N{BUG} K\xe4fer'
    about = CameraFacts(
        base="b", labels=(odd, "a"), pictures=False, located=False, health_seconds=1
    )
    parts = components(about)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [
        {"hour": (now - timedelta(days=1)).isoformat(), "labels": {odd: 7, "a": 1, "": 1}},
        {"hour": now.isoformat(), "labels": {odd: 5, "": 2}},
    ]

    def render(key: str, field: str = "value_template") -> object:
        variables = {"value_json": {"hours": hours}}
        return hass.call("/api/template", {"template": parts[key][field], "variables": variables})

    assert [render(key) for key in ("today", f"today_{odd}", "today_a", "today_")] == [7, 5, 0, 2]
    assert render("today", "json_attributes_template") == {odd: 5, "": 2}
