"""`wheatear check`."""

from __future__ import annotations

import subprocess
import sys

import devices
import pytest
from brokers import Mosquitto, free_port


def check(path):
    """Run the command; give its status and the lines by step name."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "check", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = [line for line in done.stdout.splitlines() if "  " in line]
    return done.returncode, {line[:20].strip(): line[21:] for line in lines}


@pytest.fixture
def device(tmp_path):
    """A folder with a model and photos."""
    devices.photos(tmp_path / "photos", 2)
    return tmp_path


def test_all_steps_pass_on_a_sound_device(device):
    """Each step is named, from the configuration to the broker's acknowledgement."""
    with Mosquitto(device) as broker:
        status, steps = check(devices.config(device, broker.port))
    assert status == 0, steps
    assert list(steps) == [
        "config",
        "model",
        "camera",
        "outbox",
        "clock",
        "requests",
        "broker name",
        "broker TCP",
        "broker connect",
        "broker subscription",
        "broker acknowledges",
    ]
    assert all(found.startswith("ok ") for found in steps.values())
    assert "golden" in steps["model"]
    assert "160 x 120" in steps["camera"]
    assert "MQTT 5" in steps["broker connect"]


def test_windows_are_told_where_there_are_any(device):
    """Open or closed now, and until when."""
    trigger = '[trigger]\nwindows = ["00:00-24:00"]\ntime_zone = "UTC"\n'
    _, steps = check(devices.config(device, free_port(), trigger))
    assert steps["windows"].startswith("ok      open until ")


def test_a_broker_that_is_not_there_fails_that_step_and_no_other(device):
    """Steps that need a failed one are left out; the cure is in the line."""
    status, steps = check(devices.config(device, free_port()))
    assert status == 1
    assert "check broker.port, and that the broker runs" in steps["broker TCP"]
    assert "broker connect" not in steps
    assert steps["camera"].startswith("ok ")


def test_a_broken_model_and_an_empty_camera_are_both_told(device):
    """One failure does not hide the next."""
    path = devices.config(device, free_port(), camera='order = "time"')
    (device / "model.wtr").write_bytes(b"nonsense")
    for photo in (device / "photos").iterdir():
        photo.write_bytes(b"no picture")
    status, steps = check(path)
    assert status == 1
    assert steps["model"].startswith("FAILED")
    assert steps["camera"].startswith("FAILED")
    assert "00000-aphid.jpg" in steps["camera"]


def test_labels_that_the_model_does_not_have_are_told(device):
    """A threshold or a background by a misspelt name would never come to anything."""
    path = devices.config(device, free_port())
    decision = 'mode = "always"\nbackground = ["Leaf"]\nthresholds = { aphids = 0.9, leaf = 0.5 }'
    path.write_text(path.read_text().replace('mode = "always"', decision))
    status, steps = check(path)
    assert status == 1
    assert steps["model"].startswith(
        "FAILED  decision.background names 'Leaf' and decision.thresholds names 'aphids', which "
        "the model does not have; its labels are 'aphid', "
    )


def test_a_broken_configuration_is_one_line(device):
    """Nothing else can be checked then."""
    (device / "config.toml").write_text("[camera]\nkind = 'folder'\n")
    status, steps = check(device / "config.toml")
    assert status == 1
    assert list(steps) == ["config"]


def test_tls_towards_a_plain_port_is_named(device):
    """The TLS step has a line of its own."""
    with Mosquitto(device) as broker:
        path = devices.config(device, broker.port)
        path.write_text(path.read_text() + "[broker.tls]\n")
        status, steps = check(path)
    assert status == 1
    assert steps["broker TCP"].startswith("ok ")
    assert "check broker.port and broker.tls" in steps["broker TLS"]


def test_a_denied_publish_fails_the_last_step(device):
    """With MQTT 5 the broker's access list shows."""
    (device / "acl").write_text("topic read #\n")
    (device / "acl").chmod(0o600)
    with Mosquitto(device, f"allow_anonymous true\nacl_file {device}/acl") as broker:
        status, steps = check(devices.config(device, broker.port))
    assert status == 1
    assert "denies wheatear/cam-1/check (Not authorized)" in steps["broker acknowledges"]


MORE = """[trigger]
wake_file = "run/wake.json"
[inbox]
keep = true
min_free_bytes = 0
"""


def test_every_folder_that_is_written_to_is_tried_and_none_is_made(device):
    """What root makes while it checks, the device's own user could not write to."""
    path = devices.config(device, free_port(), 'prometheus_file = "prom/w.prom"\n' + MORE)
    path.write_text(path.read_text().replace("[camera]", 'store = "models"\n[camera]'))
    for folder in ("run", "prom"):
        (device / folder).mkdir()
    before = sorted(device.rglob("*"))
    _, steps = check(path)
    for name in ("outbox", "models", "wake file", "prometheus file", "inbox"):
        assert steps[name].startswith("ok "), steps
    assert "the factory model is used" in steps["models"]
    assert sorted(device.rglob("*")) == before


def test_folders_of_others_that_nobody_makes_have_to_be_there(device):
    """The device writes no Prometheus or wake file where there is no folder; so check says so."""
    path = devices.config(device, free_port(), 'prometheus_file = "prom/w.prom"\n' + MORE)
    _, steps = check(path)
    for name, folder in (("wake file", "run"), ("prometheus file", "prom")):
        assert (
            steps[name] == f"FAILED  there is no folder {device}/{folder}; make it, or name another"
        )


def test_a_folder_that_cannot_be_written_to_is_named(device):
    """A file in the place of a folder stops even root."""
    (device / "run").write_bytes(b"")
    _, steps = check(devices.config(device, free_port(), MORE))
    assert f"cannot write to {device}/run" in steps["wake file"]
    assert steps["inbox"].startswith("ok ")
