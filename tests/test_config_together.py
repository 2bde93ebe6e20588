"""Settings that do not go together, each beside the nearest that do; and what is told of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from there import there

from edge.config import Config, View, check_view, parse_config, redacted, secrets, settings
from edge.config.explain import as_options
from edge.config.hosts import pattern
from edge.config.load import parse_broker
from edge.errors import ConfigError, PublishError
from edge.system.identity import device_id, own_id
from edge.text.url import parse

V4L2 = {"kind": "v4l2"}
LEAST = {"model": {"bundle": "m.wtr"}, "camera": V4L2}
FOREIGN = {"tflite": "m.tflite"}
VOTES = {"mode": "votes", "blind_seconds": 10}
TIMES = {"windows": ["06:00-10:00"]}
SUN = {"windows": ["sunrise..sunset"]}


def parsed(raw: dict[str, Any]) -> Config:
    """A configuration of a device in /etc/wheatear."""
    return parse_config(LEAST | raw, Path("/etc/wheatear"), "c.toml")


@pytest.mark.parametrize(
    "raw",
    [
        {"model": FOREIGN | {"labels": "l.txt", "mean": [1.0], "std": [1.0], "crop": "pad"}},
        {"model": FOREIGN | {"background": "add", "output": "logits"}},
        {"model": {"bundle": "m.wtr", "store": "models"}},
        *(
            {"model": {"bundle": "m.wtr", "update": {hosts: ["h.example"], **login}}}
            for hosts in ("hosts", "login_hosts")
            for login in ({"token_file": "t"}, {"username": "u", "password_file": "p"})
        ),
        {"decision": {"agreeing_frames": 3, "last_frames": 3}},
        {"camera": V4L2 | {"interval_seconds": 9.9}, "decision": {"blind_seconds": 10}},
        {"camera": V4L2 | {"interval_seconds": 10}, "decision": VOTES},
        {"camera": {"kind": "folder", "path": "p"}, "decision": {"blind_seconds": 1}},
        {"report": {"prometheus_file": "wheatear.prom"}},
        {"outbox": {"max_bytes": 1_000_000}, "images": {"max_bytes": 100_000, "send": True}},
        {"outbox": {"max_bytes": 1_000_000}, "images": {"max_bytes": 100_001, "send": False}},
        {"inbox": {"keep": True, "send": True}},
        {"inbox": {"keep": True}},
        {"broker": {"retry_min_seconds": 5, "retry_max_seconds": 5}},
        {"broker": {"host": "2001:db8::1"}},
        {"broker": {"password_file": "p"}},
        {"broker": {"password_env": "P"}},
        {"broker": {"tls": {}}},
        {"broker": {"tls": {"certificate": "c.pem", "key": "k.pem"}}},
        {"trigger": TIMES | {"time_zone": "Asia/Dhaka"}},
        {"trigger": SUN, "device": {"location": {"lat": 1, "lon": 2}}},
        {"trigger": SUN, "gps": {"enabled": True}},
        {"trigger": {"motion": {"min_area": 0.1, "max_area": 0.2}}},
        {"trigger": {"duty": {"burst_seconds": 9.9, "every_seconds": 10}}},
        {"view": {"regions": [[0.1, 0.2, 0.3, 0.4]]}},
        {"view": {"mask_polygons": [[[0, 0], [0.5, 0.5], [1, 1], [1, 0.999]]]}},
        {"view": {"mask_polygons": [[[0.5, 0.5], [0.6, 0.5], [0.5, 0.6]]]}},
        # The first corner once more, wherever the others are:
        *(
            {"view": {"mask_polygons": [[corners[0], *corners]]}}
            for corners in [
                [[0.5, 0.5], [0.9, 0.5], [0.5, 0.9]],
                [[0.5, 0.5], [0.5, 0.9], [0.6, 0.9]],
                [[0.9, 0.1], [0.1, 0.1], [0.1, 0.3]],
                [[0.1, 0.9], [0.1, 0.1], [0.3, 0.1]],
                [[0.0, 1.0], [0.5, 1.0], [0.5, 0.5]],
                [[1.0, 0.0], [1.0, 0.5], [0.5, 0.5]],
            ]
        ),
    ],
)
def test_what_goes_together_is_taken(raw):
    """Up to the last value that does."""
    assert parsed(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"model": FOREIGN | {"bundle": "m.wtr"}}, "model from elsewhere), not both"),
        ({"model": {}}, "model from elsewhere), not neither"),
        *(
            ({"model": {"bundle": "m.wtr", name: value}}, f"c.toml: model.{name} goes with")
            for name, value in [
                ("labels", "l.txt"),
                ("mean", [1.0]),
                ("std", [1.0]),
                ("crop", "pad"),
                ("background", "add"),
                ("output", "logits"),
            ]
        ),
        ({"model": FOREIGN | {"mean": [1.0]}}, "model.mean and model.std belong together"),
        ({"model": FOREIGN | {"std": [1.0]}}, "model.mean and model.std belong together"),
        ({"model": FOREIGN | {"store": "models"}}, "model.store needs model.bundle"),
        (
            {"decision": {"agreeing_frames": 4, "last_frames": 3}},
            "decision.agreeing_frames = 4 is more than decision.last_frames = 3",
        ),
        (
            {"camera": V4L2 | {"interval_seconds": 10}, "decision": {"blind_seconds": 10}},
            "camera.interval_seconds = 10 is not less than decision.blind_seconds = 10",
        ),
        ({"report": {"prometheus_file": "wheatear.txt"}}, "does not end in .prom"),
        (
            {"outbox": {"max_bytes": 1_000_000}, "images": {"max_bytes": 100_001, "send": True}},
            "outbox.max_bytes = 1000000 holds fewer than ten pictures",
        ),
        ({"inbox": {"keep": False, "send": True}}, "inbox.send needs inbox.keep"),
        (
            {"broker": {"retry_min_seconds": 5.1, "retry_max_seconds": 5}},
            "broker.retry_min_seconds = 5.1 is more than broker.retry_max_seconds = 5",
        ),
        ({"broker": {"host": "[::1]"}}, "broker.host = '[::1]' is not a name or address alone"),
        ({"broker": {"host": "a/b"}}, "broker.host = 'a/b' is not a name or address alone"),
        ({"broker": {"password_file": "p", "password_env": "P"}}, "are both set; keep one"),
        ({"broker": {"tls": {"certificate": "c.pem"}}}, "broker.tls.key belong together"),
        ({"broker": {"tls": {"key": "k.pem"}}}, "broker.tls.key belong together"),
        ({"trigger": TIMES}, "trigger.windows has times of day: set trigger.time_zone"),
        ({"trigger": TIMES | {"time_zone": "../UTC"}}, '"../UTC" is not known here'),
        ({"trigger": SUN}, "has sunrise or sunset: set device.location"),
        (
            {"trigger": {"motion": {"min_area": 0.2, "max_area": 0.2}}},
            "trigger.motion.min_area = 0.2 is not below trigger.motion.max_area = 0.2",
        ),
        (
            {"trigger": {"duty": {"burst_seconds": 10, "every_seconds": 10}}},
            "trigger.duty.burst_seconds = 10.0 leaves no rest",
        ),
        ({"view": {"regions": [[0.1, 0.2, 0.3, 0.2]]}}, "view.regions[0] = "),
        ({"view": {"regions": [[0, 0, 1, 1], [0.3, 0, 0.3, 1]]}}, "view.regions[1] = "),
        (
            {"view": {"mask_polygons": [[[0.1, 0.1], [0.4, 0.4], [0.2, 0.2], [0.3, 0.3]]]}},
            "view.mask_polygons[0] has no area",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(raw, said):
    """With what is wrong, where."""
    with pytest.raises(ConfigError) as refused:
        parsed(raw)
    assert str(refused.value).startswith("c.toml: ")
    assert said in str(refused.value)


def test_a_broker_is_checked_alone():
    """As the inbox of a desktop knows one; paths are as they are."""
    broker = parse_broker({"host": "b.example", "tls": {"ca": "ca.pem"}})
    assert (broker.host, there(broker.tls).ca) == ("b.example", Path("ca.pem"))
    with pytest.raises(ConfigError, match=r"broker: port = 0 is refused: .*allowed: 1 to 65535"):
        parse_broker({"port": 0})
    with pytest.raises(ConfigError, match=r"broker: broker\.host = 'a/b' is not a name"):
        parse_broker({"host": "a/b"})
    number: Any = 5  # as JSON may hold
    with pytest.raises(ConfigError, match=r"the file = 5 is refused: it must be a table"):
        parse_broker(number)


@pytest.mark.parametrize(
    ("listed", "servers"),
    [
        ("models.example", ["http://models.example/a", "https://models.example/a"]),
        ("2001:db8::1", ["http://[2001:db8::1]/a", "https://[2001:db8::1]/a"]),
        ("[2001:db8::1]:8443", ["https://[2001:db8::1]:8443/a"]),
        ("models.example:8443", ["http://models.example:8443/a"]),
    ],
)
def test_a_listed_host_has_the_usual_port_unless_it_says_one(listed, servers):
    """That of the scheme that is asked with; no other."""
    found = pattern(listed)
    assert all(found.fits(parse(server)) for server in servers)
    assert not found.fits(parse("https://models.example:81/a"))


def test_a_device_has_the_id_that_it_was_given():
    """Else one of its own."""
    assert device_id(parsed({"device": {"id": "cam-07"}})) == "cam-07"
    assert device_id(parsed({})) == own_id()


def test_requests_may_have_to_carry_a_token(tmp_path):
    """The first line of a file, which has to have one."""
    assert parsed({}).requests.token() is None
    file = tmp_path / "token"
    requests = parsed({"requests": {"token_file": str(file)}}).requests
    file.write_text("open sesame\nmore\n")
    assert requests.token() == "open sesame"
    file.write_text("\nmore\n")
    with pytest.raises(ConfigError, match=r"token has no token in its first line"):
        requests.token()


@pytest.mark.parametrize(("tls", "port"), [(None, 1883), ({}, 8883)])
def test_a_port_that_is_not_set_is_the_usual_one(tls, port):
    """1883, and with TLS 8883."""
    broker = {} if tls is None else {"tls": tls}
    assert parsed({"broker": broker}).broker.address == ("localhost", port)
    assert parsed({"broker": broker | {"port": 5}}).broker.address == ("localhost", 5)


def test_a_broker_may_need_no_password():
    """And a file that is missing is named."""
    assert parsed({}).broker.password() is None
    broker = parsed({"broker": {"password_file": "none"}}).broker
    with pytest.raises(ConfigError, match=r"broker\.password_file: cannot read /etc/wheatear/none"):
        broker.password()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"outbox": 5}, "c.toml: outbox = 5 is refused: it must be a table"),
        ({"model": {"bundle": 5}}, "model.bundle = 5 is refused: it must be a path in quotes"),
        ({"model": {"bundle": ""}}, "model.bundle = '' is refused: it must be a path in quotes"),
        ({"model": {"bundle": "~nobody-has-this/m"}}, "its ~ names no user that exists"),
    ],
)
def test_what_is_no_path_is_refused(raw, said):
    """A table may be something else altogether."""
    with pytest.raises(ConfigError) as refused:
        parsed(raw)
    assert said in str(refused.value)


def test_paths_are_taken_from_the_folder_of_the_file():
    """The outbox is there, unless it is said; other settings of it are kept."""
    assert parsed({}).outbox.path == Path("/etc/wheatear/outbox.db")
    outbox = parsed({"outbox": {"max_bytes": 2_000_000}}).outbox
    assert (outbox.path, outbox.max_bytes) == (Path("/etc/wheatear/outbox.db"), 2_000_000)
    assert parsed({"outbox": {"path": "/a/b.db"}}).outbox.path == Path("/a/b.db")
    bundle = parsed({"model": {"bundle": "~/m.wtr"}}).model.bundle
    assert bundle == Path(os.path.expanduser("~/m.wtr"))


SECRET = {
    "model": {
        "bundle": "folder/m.wtr",
        "update": {"username": "bob", "password_file": "a/secret", "hosts": ["h.example"]},
    },
    "broker": {"username": "alice", "password_env": "FIELD_PW"},
    "device": {"location": {"lat": 1.0, "lon": 2.0}},
    "gps": {"host": "gps.example", "device": "/dev/gps"},
}


def test_what_is_printed_hides_who_and_on_wish_where():
    """Users never; places, folders and hosts only with details."""
    config = parsed(SECRET)
    plain = redacted(config)
    assert (plain["broker"]["username"], plain["model"]["update"]["username"]) == ("***", "***")
    assert plain["model"]["bundle"] == "/etc/wheatear/folder/m.wtr"
    assert plain["device"]["location"]["lat"] == 1.0
    assert (plain["broker"]["password_env"], plain["gps"]["host"]) == ("FIELD_PW", "gps.example")
    less = redacted(config, details=False)
    assert (less["broker"]["username"], less["model"]["update"]["username"]) == ("***", "***")
    assert (less["model"]["bundle"], less["model"]["update"]["password_file"]) == (
        "m.wtr",
        "secret",
    )
    assert (less["device"]["location"], less["broker"]["password_env"]) == ("***", "***")
    assert (less["gps"]["host"], less["gps"]["device"]) == ("***", "***")
    bare = redacted(parsed({}), details=False)
    assert (bare["broker"]["username"], bare["device"]["location"]) == (None, None)


def test_the_secrets_of_a_device_are_known_to_what_keeps_them_in(tmp_path, monkeypatch):
    """Of all files that hold one; what cannot be read is none."""
    for name in ("broker", "web", "requests"):
        (tmp_path / name).write_text(f"secret-{name}\nmore\n")
    (tmp_path / "empty").write_text("\n")
    update = {"username": "bob", "password_file": "web", "hosts": ["h.example"]}
    raw = LEAST | {
        "model": {"bundle": "m.wtr", "update": update},
        "broker": {"password_file": "broker"},
        "requests": {"token_file": "requests"},
    }
    found = secrets(parse_config(raw, tmp_path))
    assert set(found) == {"secret-broker", "secret-web", "secret-requests"}
    monkeypatch.setenv("FIELD_PW", "in the air")
    raw["broker"] = {"password_env": "FIELD_PW"}
    raw["requests"] = {"token_file": "empty"}
    assert set(secrets(parse_config(raw, tmp_path))) == {"in the air", "secret-web"}
    monkeypatch.delenv("FIELD_PW")
    (tmp_path / "web").unlink()
    assert secrets(parse_config(raw, tmp_path)) == ()


def test_settings_are_known_by_path():
    """Kinds among them; a table that is left out is nothing."""
    found = dict(settings(parsed({"trigger": {"motion": {}}})))
    assert found["camera.kind"] == "v4l2"
    assert found["trigger.motion.hold_seconds"] == 5.0
    assert found["trigger.duty"] is None
    assert found["device.name"] == ""
    assert not any(path.startswith(".") for path in found)


def test_advice_names_what_a_person_typed_in_place_of_settings():
    """Settings without an option stay; an error that names none is passed on as it is."""
    options = {"broker.port": "--broker", "broker.tls.ca": "--ca"}
    told = r"^check --broker, --ca or broker\.window$"
    with pytest.raises(PublishError, match=told), as_options(options):
        raise PublishError("check broker.port, broker.tls.ca or broker.window")
    plain = ConfigError("no such file")
    with pytest.raises(ConfigError) as raised, as_options(options):
        raise plain
    assert raised.value is plain


def test_a_view_and_a_broker_alone_are_checked_too():
    """As options name them, not as a file does."""
    with pytest.raises(ConfigError, match=r"^--region: view\.regions\[0\] = .* is empty"):
        check_view(View(regions=((0.5, 0.0, 0.5, 1.0),)), "--region")
    with pytest.raises(ConfigError, match=r"^broker: broker\.host = 'a:1' is not a name"):
        parse_broker({"host": "a:1"})
