"""Motion: what moves is seen, what always moves or only gets lighter is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import devices
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from PIL import Image

from edge.cameras import Frame
from edge.cameras.triggers.motion import MotionTrigger, open_motion, shrink
from edge.cameras.triggers.regions import largest_region
from edge.config import Motion as Settings
from edge.config import parse_config
from edge.system.counters import Counters
from edge.system.token_bucket import Bucket

START = datetime(2026, 6, 21, 6, tzinfo=UTC)
SIZE = (90, 160)


def scene(number: int, light: float = 1.0, insect: tuple[int, int] | None = None) -> np.ndarray:
    """A textured grey frame with fresh sensor noise, and an insect of 3 x 4 cells in it."""
    still = np.random.default_rng(1).uniform(70, 150, (23, 40)).repeat(4, 0).repeat(4, 1)[:90]
    frame = still * light
    if insect:
        frame[insect[0] : insect[0] + 3, insect[1] : insect[1] + 4] *= 0.4
    return (frame + np.random.default_rng([2, number]).normal(0, 2, SIZE)).astype(np.float32)


def trigger(**settings) -> MotionTrigger:
    """Make a trigger that has seen a quiet scene for a while."""
    motion = MotionTrigger(Settings(**settings), Counters())
    for number in range(60):
        motion.moving(scene(number))
    return motion


def test_a_still_scene_does_not_move_and_an_insect_does():
    """Sensor noise is no motion; three cells by four in one piece are."""
    motion = trigger()
    assert [motion.moving(scene(number)) for number in range(100, 200)] == [False] * 100
    assert [motion.moving(scene(n, insect=(40, 40 + 8 * (n - 200)))) for n in range(200, 206)] == (
        [True] * 6
    )


def test_what_is_smaller_than_the_least_area_does_not_count():
    """Twelve cells are 0.08 % of the picture."""
    assert trigger(min_area=0.0007).moving(scene(100, insect=(40, 40)))
    assert not trigger(min_area=0.0010).moving(scene(100, insect=(40, 40)))


def test_light_that_changes_is_no_motion():
    """Dusk, a cloud within a frame, a cloud on one side, another exposure."""
    motion = trigger()
    for number in range(60):
        assert not motion.moving(scene(300 + number, light=1 - number / 100))
    assert not motion.moving(scene(400, light=0.8))
    slope = np.linspace(0.6, 1.0, SIZE[1], dtype=np.float32)
    assert not motion.moving(scene(401) * slope)


def test_a_lamp_or_a_turned_camera_is_a_new_background():
    """A change of more than half the picture is none, and what follows is held against it."""
    motion = trigger()
    other = scene(0)[::-1, ::-1]
    assert not motion.moving(other)
    assert not motion.moving(other)
    assert motion.moving(scene(0, insect=(40, 40))[::-1, ::-1])


def test_what_comes_back_and_back_is_learned_and_what_passed_once_is_seen_again():
    """A waving blade is motion a few times only; an insect on the trail of another still is."""
    motion = trigger()
    waves = [motion.moving(scene(n, insect=(40, 40) if n % 2 else None)) for n in range(100, 200)]
    assert any(waves[:6])
    assert not any(waves[20:])
    assert motion.moving(scene(200, insect=(60, 100)))
    for number in range(201, 211):
        motion.moving(scene(number))
    assert motion.moving(scene(211, insect=(60, 100)))


def test_what_stays_becomes_background():
    """A fallen leaf is motion when it falls, and not a minute later."""
    motion = trigger()
    seen = [motion.moving(scene(n, insect=(40, 40))) for n in range(100, 200)]
    assert seen[0]
    assert not any(seen[30:])


def frames(motion: MotionTrigger, moving: set[int], count: int, step: float = 1.0) -> list[int]:
    """Show frames a `step` of seconds apart, an insect elsewhere in each of `moving`."""
    admitted = []
    for number in range(count):
        place = (10 + number * 7 % 60, 10 + number * 31 % 130) if number in moving else None
        grey = scene(1000 + number, insect=place)
        pixels = np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
        taken = START + timedelta(seconds=number * step)
        if motion.admits(Frame(pixels, taken, "", 160, 90, bytes)):
            admitted.append(number)
    return admitted


def test_frames_after_a_motion_pass_too():
    """The first frame, for want of a background, and what lands is looked at while it sits."""
    motion = MotionTrigger(Settings(hold_seconds=2), Counters())
    assert frames(motion, {60, 61}, 80) == [0, 1, 2, 60, 61, 62, 63]


def test_a_storm_is_held_to_its_allowance():
    """Ten frames a minute and no more, however much moves; the others are counted."""
    counters = Counters()
    motion = MotionTrigger(Settings(hold_seconds=5, max_per_minute=10), counters)
    admitted = frames(motion, set(range(30, 150)), 150)
    for start in range(90):
        assert sum(start <= one < start + 60 for one in admitted) <= 20
    assert sum(90 <= one < 150 for one in admitted) == 10
    assert counters["frames_limited"] > 80


def test_a_clock_that_is_set_breaks_nothing():
    """Set back by a day: no endless hold, and no frame more than the allowance."""
    motion = trigger(max_per_minute=3)
    pixels = scene(0).clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    moved = scene(1, insect=(20, 20)).clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert motion.admits(Frame(moved, START, "", 160, 90, bytes))
    for hours in (-24, -23, 24):
        taken = START + timedelta(hours=hours)
        assert not motion.admits(Frame(pixels, taken, "", 160, 90, bytes))


def test_what_the_view_leaves_out_does_not_trigger(tmp_path):
    """Motion in a masked corner or outside the regions is nobody's."""
    raw = {
        "model": {"bundle": "m.wtr"},
        "camera": {"kind": "folder", "path": "p"},
        "trigger": {"motion": {}},
        "view": {
            "regions": [[0.0, 0.0, 0.75, 1.0]],
            "mask_polygons": [[[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]],
        },
    }
    motion = open_motion(parse_config(raw, tmp_path), Counters())
    for number in range(60):
        motion.moving(scene(number))
    assert not motion.moving(scene(100, insect=(20, 20)))  # masked
    assert not motion.moving(scene(101, insect=(60, 140)))  # outside the region
    assert motion.moving(scene(102, insect=(60, 20)))


@pytest.mark.parametrize("shape", [(224, 400), (1080, 1920), (720, 1280), (96, 96), (3, 400)])
def test_pictures_of_any_size_become_small_and_keep_their_shape(shape):
    """14,400 cells, the brightness of the green channel."""
    pixels = np.full((*shape, 3), (10, 77, 200), np.uint8)
    found = shrink(pixels)
    assert abs(found.size / 14_400 - 1) < 0.05
    assert abs(found.shape[1] / found.shape[0] / (shape[1] / shape[0]) - 1) < 0.05
    assert (found == 77).all()


def test_the_largest_region_is_that_of_a_flood_fill():
    """Area and box of the largest 8-connected region, on random masks of every density."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 24, 2)) < rng.random()
        left, areas = {tuple(cell) for cell in np.argwhere(mask)}, {}
        while left:
            edge, region = [left.pop()], []
            while edge:
                y, x = edge.pop()
                region.append((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                edge += near
            ys, xs = [y for y, _ in region], [x for _, x in region]
            areas[min(xs), min(ys), max(xs) + 1, max(ys) + 1] = len(region)
        found = largest_region(mask)
        assert (found.area if found else 0) == max(areas.values(), default=0)
        if found:
            assert areas[found.box] == found.area


def test_only_moving_frames_of_a_replay_reach_the_model(tmp_path):
    """Sixty quiet pictures and two with a beetle: the run says how many were idle."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(5)
    leaf = np.array(devices.COLOURS["aphid"]) + rng.integers(-12, 13, (45, 80, 1))
    leaf = leaf.repeat(4, 0).repeat(4, 1)
    for number in range(62):
        shown = leaf + rng.normal(0, 2, leaf.shape)
        if number in (40, 41):
            shown[60:84, 100 + 40 * (number - 40) :][:, :30] = devices.COLOURS["beetle"]
        picture = Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8))
        picture.save(tmp_path / "photos" / f"{number:02}.jpg", quality=92)
    extra = "[trigger.motion]\nhold_seconds = 0\nmax_per_minute = 100\n"
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(tmp_path, broker.port, extra)
        process = devices.start("run", "--once", "--config", str(path))
        _, told = process.communicate(timeout=30)
        assert process.returncode == 0, told
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 3)
        found = [json.loads(one)["frame"]["source"] for one in subscriber.on("/sighting")]
    assert found == ["00.jpg", "40.jpg", "41.jpg"]
    assert "3 frames classified (0 bad, 0 skipped, 59 idle)" in told


def test_an_allowance_grows_back_evenly_whatever_the_clock_does():
    """Never beyond the whole, and by nothing where the clock is set back."""
    bucket = Bucket(0.5, 2)
    moments = (10.0, 10.0, 10.0, 12.0, 4.0, 6.0, 1000.0, 1000.0, 1000.0)
    taken = [True, True, False, True, False, True, True, True, False]
    assert [bucket.take(moment) for moment in moments] == taken
