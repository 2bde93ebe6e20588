"""Power that goes at any step of an update: a working model runs afterwards."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from brokers import Mosquitto
from test_model_updates import Field, send
from test_models import Place


def test_a_kill_at_every_durable_step_leaves_a_model_that_works(tmp_path):
    """Before and after each fsync, rename and removal: the next start runs 1 or 2, proved."""
    place = Place(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("killed_install.py")),
            *map(str, (place.path, place.bundle("2"), tmp_path / "killed")),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) >= 20
    assert [one for one in kills if one["wrong"]] == []
    versions = [one["version"] for one in kills]
    assert set(versions) == {"1", "2"}
    assert (versions[0], versions[-1]) == ("1", "1")


def test_kills_at_random_times_of_an_update_strand_no_camera(tmp_path):
    """After each, sightings come again; the update ends one way or the other."""
    dice = random.Random(11)
    with Mosquitto(tmp_path) as broker:
        camera = Field(tmp_path, broker)
        try:
            camera.start()
            camera.sees_with("1")
            digest = send(camera, camera.place.bundle("2"))
            assert camera.ask("model/install", sha256=digest)["status"] == "ok"
            for _ in range(5):
                time.sleep(dice.uniform(0.05, 1.2))
                camera.kill()
                camera.start()
            before = len(camera.seen())
            assert camera.subscriber.wait(lambda _: len(camera.seen()) > before + 5, 20)
            assert camera.subscriber.wait(
                lambda _: camera.updates()[-1]["result"] in ("confirmed", "returned"), 20
            )
            listed = camera.ask("models")["data"]
            assert listed["probation"] is None
            runs = camera.seen()[-1]["model"]["version"]
            assert runs == ("2" if listed["current"] else "1")
        finally:
            camera.kill()
            camera.subscriber.__exit__()
