"""``wheatear run`` as a process against a real broker."""

from __future__ import annotations

import json

import devices
import pytest
from brokers import Mosquitto, Subscriber


@pytest.fixture
def broker(tmp_path):
    """A mosquitto."""
    with Mosquitto(tmp_path) as running:
        yield running


def finish(process, seconds=30.0):
    """Wait for the end; give exit status and stderr."""
    _, told = process.communicate(timeout=seconds)
    return process.returncode, told


def test_every_photo_of_a_folder_arrives_as_a_sighting(tmp_path, broker):
    """Replayed photos arrive in order, numbered from 1 without gaps, with the right label."""
    labels = devices.photos(tmp_path / "photos", 30)
    with Subscriber(broker.port) as subscriber:
        status, told = finish(
            devices.start("run", "--once", "--config", str(devices.config(tmp_path, broker.port)))
        )
        assert status == 0, told
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 30)
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
    assert [one["label"] for one in found] == labels
    assert [one["seq"] for one in found] == list(range(1, 31))
    assert len({one["id"] for one in found}) == 30
    assert found[0]["frame"] == {
        "width": 160,
        "height": 120,
        "region": None,
        "source": "00000-aphid.jpg",
    }
