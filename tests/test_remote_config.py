"""A device's configuration, changed from afar: tried out, kept or taken back, never lost."""

from __future__ import annotations

import json
import threading

import devices
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remotes import ALLOW, BASE, changed, started
from there import there

from edge.config import FolderCamera, load_config
from edge.config import Requests as Settings
from edge.device.config_changes import MOST_STARTS, NAME, ChangedConfiguration
from edge.device.log_tail import LogTail
from edge.device.remote import Control, Remote
from edge.errors import ConfigError, RequestDeniedError, StaleRevisionError
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestServer
from edge.system.clock import SystemClock
from edge.system.counters import Counters


@pytest.fixture
def file(tmp_path):
    """A configuration file of a device that may be changed from afar."""
    return devices.config(tmp_path, 1883, ALLOW.format(seconds=60))


def test_a_change_is_in_force_at_the_next_start_and_the_file_is_untouched(file):
    """What a person wrote, comments included, stays as it is."""
    before = file.read_text()
    assert there(changed(file, decision__cooldown_seconds=5).config).decision.cooldown_seconds == 5
    assert file.read_text() == before


def test_a_change_that_is_never_confirmed_is_taken_back(file):
    """After so many starts without proof, what was before is in force again."""
    changed(file, decision__agreeing_frames=1).confirm()
    configuration = changed(file, decision__agreeing_frames=2)
    for _ in range(2):
        assert configuration.trying
        configuration = started(file)
        assert there(configuration.config).decision.agreeing_frames == 2
    configuration = started(file)
    assert not configuration.trying
    assert there(configuration.config).decision.agreeing_frames == 1
    assert "never proved itself" in there(configuration.record.taken_back)
    assert there(started(file).config).decision.agreeing_frames == 1


def test_a_confirmed_change_stays(file):
    """However often the program starts."""
    changed(file, decision__agreeing_frames=1).confirm()
    for _ in range(MOST_STARTS + 2):
        configuration = started(file)
    assert there(configuration.config).decision.agreeing_frames == 1
    assert not configuration.trying


def test_changes_add_up_and_can_be_taken_back_one_by_one(file):
    """A new value replaces an old one; a table replaces what was set inside it; null undoes."""
    changed(file, decision__agreeing_frames=1, report__health_seconds=9).confirm()
    changed(file, decision__thresholds__aphid=0.5).confirm()
    configuration = changed(file, decision__thresholds={"leaf": 0.4}, report__health_seconds=None)
    configuration.confirm()
    assert there(configuration.config).decision.thresholds == {"leaf": 0.4}
    assert there(configuration.config).report.health_seconds == 300.0
    assert list(configuration.record.current.settings) == [
        "decision.agreeing_frames",
        "decision.thresholds",
    ]
    with pytest.raises(ConfigError, match=r"report.health_seconds was not changed from afar"):
        changed(file, report__health_seconds=None)


def test_a_whole_configuration_can_be_sent_and_dropped_again(file):
    """It takes the file's place until the empty text goes back to the file."""
    configuration = started(file)
    whole = file.read_text().replace("state_seconds = 0.2", "state_seconds = 0.7")
    assert configuration.change(configuration.revision(), None, whole)
    configuration = started(file)
    configuration.confirm()
    assert there(configuration.config).report.state_seconds == 0.7
    assert configuration.change(configuration.revision(), None, "")
    assert started(file).config == load_config(file)


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"decision.agreeing_frames": 0}, ConfigError, "decision.agreeing_frames = 0 is refused"),
        ({"decision.agreeing_frame": 1}, ConfigError, "did you mean agreeing_frames?"),
        ({"decision.agreeing_frames": 50}, ConfigError, "more than decision.last_frames"),
        ({"decision": 5}, ConfigError, "decision = 5 is refused"),
        ({"camera.kind.x": 1}, ConfigError, "camera.kind is not a table"),
        ({"": 1}, ConfigError, "is not a setting"),
        ({"nonsense.deep.path": 1}, ConfigError, "nonsense is not a setting"),
        (
            {"requests.allow": ["model/install"]},
            RequestDeniedError,
            "requests.allow can be changed only in",
        ),
        ({"requests.token_file": None}, ConfigError, "was not changed from afar"),
        ({"device.id": "cam-2"}, RequestDeniedError, "device.id"),
        ({"broker.base_topic": "x"}, RequestDeniedError, "broker.base_topic"),
        ({"broker.password_file": "/etc/shadow"}, RequestDeniedError, "broker.password_file"),
        ({"broker.password_env": "HOME"}, RequestDeniedError, "broker.password_env"),
        ({"broker.tls": {}}, RequestDeniedError, "broker.tls"),
        ({"model.bundle": "other.wtr"}, RequestDeniedError, "model.bundle"),
        ({"model.trusted_keys": ["k.pem"]}, RequestDeniedError, "model.trusted_keys can"),
        ({"model.self_test": False}, RequestDeniedError, "model.self_test"),
        ({"outbox.path": "/tmp/o.db"}, RequestDeniedError, "outbox.path"),
        ({"camera": {"kind": "v4l2"}}, RequestDeniedError, "camera.kind"),
        ({"broker.host": "evil.example"}, RequestDeniedError, "who gets the password"),
        ({"images.send": True}, RequestDeniedError, "requests.pictures = true"),
        ({"view.mask": "m.png"}, RequestDeniedError, "view.mask"),
    ],
)
def test_what_is_refused_changes_nothing(file, settings, kind, says):
    """Invalid values are refused by name, and so is what only a person at the device changes."""
    configuration = started(file)
    before = sorted(path.name for path in file.parent.iterdir())
    with pytest.raises(kind) as raised:
        configuration.change(configuration.revision(), settings, None)
    assert says in str(raised.value)
    assert sorted(path.name for path in file.parent.iterdir()) == before
    assert started(file).config == load_config(file)


def test_a_change_decided_on_an_old_revision_is_refused(file):
    """Two people at once do not overwrite each other; nor is a trial overtaken."""
    configuration = started(file)
    old = configuration.revision()
    configuration = changed(file, decision__agreeing_frames=1)
    with pytest.raises(StaleRevisionError, match="on trial"):
        configuration.change(configuration.revision(), {"decision.agreeing_frames": 3}, None)
    configuration.confirm()
    with pytest.raises(StaleRevisionError, match=f"'{old}' is not in force"):
        configuration.change(old, {"decision.agreeing_frames": 3}, None)
    assert there(started(file).config).decision.agreeing_frames == 1


def test_the_same_values_again_change_nothing(file):
    """No trial, no restart."""
    changed(file, decision__agreeing_frames=1).confirm()
    configuration = started(file)
    assert not configuration.change(configuration.revision(), {"decision.agreeing_frames": 1}, None)
    assert not configuration.trying


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


PATHS = st.sampled_from(
    [
        "decision",
        "decision.agreeing_frames",
        "view.tiles",
        "camera",
        "camera.kind",
        "broker.tls.ca",
        "requests",
    ]
) | st.text(max_size=20)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    values=st.dictionaries(PATHS, JSON, max_size=3) | JSON,
    toml=st.none() | st.text(max_size=30),
    known=st.booleans(),
)
def test_arbitrary_requests_change_settings_whole_or_not_at_all(file, values, toml, known):
    """Whatever is sent, an error has a name and leaves no file, the next start has a valid
    configuration, and what is held is held.
    """
    (file.parent / NAME).unlink(missing_ok=True)
    configuration = started(file)
    counters = Counters()
    requests = RequestServer(
        there(configuration.config).requests, BASE, counters, SystemClock(), lambda: None
    )
    Remote(configuration, Control(), LogTail()).serve(requests, 60.0)
    revision = configuration.revision() if known else "0" * 16
    asked = {"transaction": "t", "revision": revision, "changes": values, "toml": toml}
    requests.carry_out(Incoming(f"{BASE}/request/config/set", json.dumps(asked).encode()))
    answer = json.loads(requests.answers()[0].payload)
    if answer["status"] == "error":
        assert answer["error"]["kind"] in {
            "ConfigError",
            "MalformedRequestError",
            "RequestDeniedError",
            "StaleRevisionError",
        }
        assert not (file.parent / NAME).exists()
    found, base = there(started(file).config), load_config(file)
    assert (found.requests, found.device.id) == (base.requests, base.device.id)
    assert isinstance(found.camera, FolderCamera)
    assert isinstance(base.camera, FolderCamera)
    assert found.camera.path == base.camera.path


def test_a_camera_that_rests_is_asked_for_a_picture_to_prove_a_change(file):
    """By night, outside its windows, a change is confirmed all the same."""
    configuration, counters, told = (
        changed(file, decision__agreeing_frames=1),
        Counters(),
        threading.Event(),
    )
    remote = Remote(configuration, Control(), LogTail())
    remote.serve(RequestServer(Settings(), BASE, counters, SystemClock(), print), 60.0)
    counters.add("introduced")
    counters.add("subscribed")
    with remote.trial(counters, SystemClock(), lambda: counters.add("frames_classified"), told.set):
        assert told.wait(10)
    assert counters["frames_classified"] == 1
    assert not configuration.trying
    assert not remote.stays()


def test_what_would_be_in_force_is_told_without_writing_anything(file):
    """As `wheatear check` looks at it; a damaged file of changes is refused by name."""
    assert ChangedConfiguration(file).peek() == load_config(file)
    changed(file, decision__agreeing_frames=1)
    before = (file.parent / NAME).read_bytes()
    assert ChangedConfiguration(file).peek().decision.agreeing_frames == 1
    assert (file.parent / NAME).read_bytes() == before
    (file.parent / NAME).write_bytes(b"{")
    with pytest.raises(ConfigError, match="the next start sets it aside"):
        ChangedConfiguration(file).peek()


def test_a_configuration_is_known_by_sixteen_digits(file):
    """Whatever the order in which things are written."""
    seen = []
    for order in ('aphid = 0.5, "leaf" = 0.6', '"leaf" = 0.6, aphid = 0.5'):
        text = devices.config(file.parent, 1883, ALLOW.format(seconds=60)).read_text()
        file.write_text(text.replace("[decision]", f"[decision]\nthresholds = {{ {order} }}"))
        seen.append(started(file).revision())
    assert seen[0] == seen[1]
    assert len(seen[0]) == 16


def test_what_is_no_toml_is_refused(file):
    """And nothing is written down."""
    configuration = started(file)
    with pytest.raises(ConfigError, match="not TOML: "):
        configuration.change(configuration.revision(), None, "[broker\n")
    assert not (file.parent / NAME).exists()


def test_the_log_names_what_was_changed_from_afar(file, caplog):
    """At each start; nothing where nothing was."""
    caplog.set_level("INFO")
    configuration = started(file)
    assert configuration.load() == configuration.config
    assert "changed from afar" not in caplog.text
    assert configuration.change(configuration.revision(), None, file.read_text() + "\n")
    started(file).confirm()
    changed(file, decision__agreeing_frames=1)
    assert caplog.messages[-1].endswith(
        "changed from afar: a whole configuration, decision.agreeing_frames"
    )
