"""Drift: frames compared with the photos that the model was judged on."""

from __future__ import annotations

import base64
import json
from typing import Any

import devices
import msgspec
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from clocks import Hand
from pictures import frame
from PIL import Image, ImageFilter
from results import found
from there import there

from edge.config import Drift as Settings
from edge.errors import BundleFormatError
from edge.feedback.drift import DriftMeter, Fading
from edge.model import picture_statistics as d
from edge.model.bundle.bundle import read_bundle
from edge.model.bundle.manifest import Reference, encode, parse
from edge.model.classifier import Classifier
from edge.model.image.preprocessing import InputSpec, decode, load
from edge.model.scores import softmax
from edge.model.tflite.foreign import open_tflite
from edge.system.counters import Counters
from quantize.bundle.reference import reference

SPEC = devices.SPEC
RNG = np.random.default_rng


def scene(seed: int, dark: float = 1.0, blur: float = 0.0) -> np.ndarray:
    """A picture with structure, uint8 (32, 32, 3), of varying brightness."""
    rng = RNG(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    picture = small.resize((32, 32), Image.Resampling.BICUBIC).filter(
        ImageFilter.GaussianBlur(blur)
    )
    pixels = np.asarray(picture) * rng.uniform(0.6, 1.0) * dark
    return pixels.astype(np.uint8)


def logits(count: int, seed: int = 0, sure: float = 2.0) -> np.ndarray:
    """Scores of two classes, float32 (count, 2)."""
    return (RNG(seed).normal(0, sure, (count, 2))).astype(np.float32)


PHOTOS = reference(logits(300), np.stack([scene(n) for n in range(300)]), 1.0)


def watching(tmp_path, config=None, model="m", photos=PHOTOS, clock=None) -> DriftMeter:
    """A drift watcher over a file in a folder."""
    settings = config or Settings(half_life_frames=2000, min_frames=400)
    path = tmp_path / "drift.json"
    labels = ("aphid", "other")
    return DriftMeter(settings, photos, SPEC, labels, model, path, Counters(), clock or Hand())


def show(drift: DriftMeter, count: int, first: int = 1000, sure: float = 2.0, **look) -> None:
    """Let it see frames that nobody saw before."""
    for number, scores in enumerate(logits(count, first, sure)):
        shares = softmax(scores)
        label = "aphid" if shares[0] > 0.5 else "other"
        pixels = scene(first + number, **look)
        one = msgspec.structs.replace(found(label), confidence=float(shares.max()))
        picture = frame(number)
        drift.watch(type(picture)(**{**as_dict(picture), "pixels": pixels}), one, None)


def as_dict(one) -> dict[str, Any]:
    """The fields of a frame."""
    return {name: getattr(one, name) for name in one.__slots__}


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_sharpness_are_what_a_textbook_says(channels):
    """A flat picture has its level and no edge; a checkerboard has the Laplacian one expects."""
    flat = np.full((20, 30, channels), 77, np.uint8)
    assert d.look(flat) == (77.0, 0.0)
    board = (np.indices((20, 30)).sum(0) % 2 * 10).astype(np.uint8)
    seen = d.look(np.repeat(board[:, :, None], channels, axis=2))
    assert seen.brightness == 5.0
    assert seen.sharpness == pytest.approx(40.0**2)  # +40 and -40 in turn
    assert d.look(flat[:2, :2]) == (77.0, 0.0)


def test_bins_are_as_documented():
    """Edges belong to the upper bin; the last takes the rest."""
    assert [d.confidence_bin(x) for x in (0, 0.0999, 0.1, 0.95, 1.0)] == [0, 0, 1, 9, 9]
    assert [d.brightness_bin(x) for x in (0, 15.9, 16, 255)] == [0, 0, 1, 15]
    sharp = (0, 0.9, 1, 1.9, 2, 8191, 8192, 16383, 16384, 1e9)
    assert [d.sharpness_bin(x) for x in sharp] == [0, 0, 1, 1, 2, 13, 14, 14, 15, 15]


def test_the_distance_runs_from_alike_to_nothing_in_common():
    """Zero for equal shares, nearly one for disjoint ones, and known in between."""
    assert d.distance([1, 2, 3], [10, 20, 30], 1e9, 1e9) == 0
    assert d.distance([1, 0], [0, 1], 1e9, 1e9) == pytest.approx(1, abs=1e-6)
    # m = (0.75, 0.25): half of (1 log2 4/3) and of (0.5 log2 2/3 + 0.5 log2 2)
    known = (np.log2(4 / 3) + 0.5 * np.log2(2 / 3) + 0.5) / 2
    assert d.distance([1, 0], [1, 1], 1e9, 1e9) == pytest.approx(np.sqrt(known), abs=1e-6)


def test_small_samples_of_one_distribution_are_seldom_told_apart():
    """At the 95 % point about one in twenty pairs is beyond chance, and then by little."""
    rng, shares = RNG(3), np.array([0.05, 0.1, 0.1, 0.15, 0.2, 0.2, 0.1, 0.1])
    found = [
        d.distance([*rng.multinomial(n, shares)], [*rng.multinomial(m, shares)], n, m)
        for n, m in [(100, 60), (200, 1000), (90, 300)] * 200
    ]
    assert np.mean(np.array(found) > 0) < 0.09
    assert max(found) < 0.3


def test_a_fading_histogram_counts_one_half_after_its_half_life():
    """Old frames weigh less, and so does the size of the sample."""
    histogram = Fading(2, 10.0)
    histogram.add(0)
    for _ in range(10):
        histogram.add(1)
    assert histogram.mass[0] == pytest.approx(0.5)
    for _ in range(1000):
        histogram.add(1)
    assert histogram.size == pytest.approx(2 * 10 / np.log(2), rel=0.05)


def test_nothing_is_said_before_enough_was_seen(tmp_path):
    """A fresh start does not alarm; frames like the photos then stay near zero."""
    drift = watching(tmp_path)
    show(drift, 399)
    assert drift.value() is None
    assert drift.report().parts["brightness"].distance is None
    show(drift, 601, first=5000)
    assert there(drift.value()) < 0.15


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"dark": 0.6}, "brightness"),
        ({"blur": 1.2}, "sharpness"),
        ({"sure": 0.2}, "confidence"),
    ],
)
def test_darker_blurred_and_unsure_frames_are_told_by_their_part(tmp_path, change, part):
    """Each change shows most in its own part, and that is the number in `health`."""
    drift = watching(tmp_path)
    show(drift, 1000, **change)
    distances = {name: one.distance for name, one in drift.report().parts.items()}
    assert drift.value() == distances[part]
    assert there(distances[part]) > 0.4
    assert there(distances["labels"]) < 0.15


def test_a_field_with_one_pest_is_no_drift(tmp_path):
    """Only one class comes: its part shows it, the number does not."""
    drift = watching(tmp_path)
    for number in range(800):
        confidence = float(softmax(logits(1, 1000 + number)[0]).max())
        picture = frame(number)
        drift.watch(
            type(picture)(**{**as_dict(picture), "pixels": scene(9000 + number)}),
            msgspec.structs.replace(found("aphid"), confidence=confidence),
            None,
        )
    report = drift.report()
    assert there(report.parts["labels"].distance) > 0.4
    assert there(report.value) < 0.15


def test_drift_comes_and_goes(tmp_path):
    """A dirty lens that was wiped is forgotten after some half-lives."""
    drift = watching(tmp_path, Settings(half_life_frames=200, min_frames=100))
    show(drift, 600, blur=1.2)
    assert there(drift.value()) > 0.5
    show(drift, 1400, first=20_000)
    assert there(drift.value()) < 0.3


def test_what_was_counted_outlives_a_restart_but_not_the_model(tmp_path):
    """The same numbers after a restart; another model, or a damaged file, begins anew."""
    drift = watching(tmp_path)
    show(drift, 500, dark=0.6)
    drift.close()
    again = watching(tmp_path)
    assert again.report() == drift.report()
    assert watching(tmp_path, model="other").value() is None
    nothing = watching(tmp_path / "elsewhere").report()
    saved = json.loads((tmp_path / "drift.json").read_bytes())
    short = saved | {"parts": saved["parts"] | {"labels": {"mass": [1.0], "squares": 1.0}}}
    lacking = saved | {"parts": {"confidence": saved["parts"]["confidence"]}}
    for damaged in (dict[str, object](), short, lacking):
        (tmp_path / "drift.json").write_text(json.dumps(damaged))
        assert watching(tmp_path).report() == nothing


def test_it_is_written_about_once_an_hour(tmp_path):
    """No write per frame, none when nothing is new."""
    clock = Hand()
    drift = watching(tmp_path, clock=clock)
    show(drift, 50)
    assert not (tmp_path / "drift.json").exists()
    clock.seconds = 3601
    show(drift, 1)
    drift.close()
    written = (tmp_path / "drift.json").stat().st_mtime_ns
    drift.close()
    assert (tmp_path / "drift.json").stat().st_mtime_ns == written


def test_a_reference_is_part_of_the_bundle_and_checked(tmp_path):
    """It is read back as written; counts that do not add up are refused by name."""
    shades = Reference(
        split="val",
        n=3,
        labels=(1, 1, 1),
        confidence=(0,) * 9 + (3,),
        brightness=(3,) + (0,) * 15,
        sharpness=(3,) + (0,) * 15,
    )
    path = devices.bundle(tmp_path / "a.wtr", shades)
    assert read_bundle(path).manifest.reference == shades
    assert devices.bundle(tmp_path / "b.wtr", shades).read_bytes() == path.read_bytes()
    text = encode(read_bundle(path).manifest)
    with pytest.raises(BundleFormatError, match="must add up to n = 4"):
        parse(text.replace(b'"n": 3', b'"n": 4'))
    two = json.loads(text)
    two["reference"]["labels"] = [1, 2]
    with pytest.raises(BundleFormatError, match="has counts of 2 labels of 3"):
        parse(json.dumps(two).encode())


def ask(subscriber, port: int, verb: str, **parameters) -> dict[str, Any]:
    """Send a request; give the answer."""
    from test_inbox_collect import send

    transaction = f"{verb}-{len(subscriber.messages)}"
    body = json.dumps({"transaction": transaction, **parameters}).encode()
    send(port, [(f"wheatear/cam-1/request/{verb}", body)])

    def answers():
        found = [json.loads(payload) for payload in subscriber.on(f"response/{verb}")]
        return [one for one in found if one["transaction"] == transaction]

    assert subscriber.wait(lambda _: answers())
    return answers()[0]


def test_health_and_requests_tell_of_drift_and_give_whole_pictures(tmp_path):
    """The whole program over a real broker: dark frames, `health`, `drift`, `inbox/get`."""
    devices.photos(tmp_path / "photos", 6)
    names = sorted((tmp_path / "photos").iterdir())
    with Classifier.from_bundle(devices.bundle(tmp_path / "plain.wtr"), "fake") as model:
        bright = [np.minimum(load(name, SPEC).astype(int) + 90, 255) for name in names] * 20
        pixels = np.stack(bright).astype(np.uint8)
        raw = np.stack([model.raw(one) for one in pixels]).astype(np.float32)
    devices.bundle(tmp_path / "model.wtr", reference(raw, pixels, 1.0))
    extra = (
        "health_seconds = 1.0\n[drift]\nmin_frames = 50\n[inbox]\nkeep = true\nrandom_share = 1.0\n"
        'min_free_bytes = 0\n[requests]\nallow = ["drift", "inbox/get"]'
    )
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        camera = "loop = true\nframes_per_second = 100"
        path = devices.config(tmp_path, broker.port, extra, camera)
        process = devices.start("run", "--config", str(path))
        try:
            assert subscriber.wait(lambda _: any(healths(subscriber)))
            answer = ask(subscriber, broker.port, "drift")["data"]
            (kept,) = (tmp_path / "inbox").glob("*.jpg")
            id, whole = kept.stem.split("_")[2], b""
            while part := ask(subscriber, broker.port, "inbox/get", id=id, offset=len(whole)):
                chunk = base64.b64decode(part["data"]["jpeg"])
                whole += chunk
                if not chunk:
                    break
            missing = ask(subscriber, broker.port, "inbox/get", id="0" * 16)
        finally:
            process.terminate()
            process.communicate(timeout=20)
    assert whole == kept.read_bytes()
    assert missing["status"] == "error"
    assert "no picture 0000000000000000 is kept" in missing["error"]["message"]
    assert answer["value"] > 0.8
    assert answer["parts"]["brightness"]["distance"] == answer["value"]
    assert sum(answer["parts"]["brightness"]["seen"]) == pytest.approx(1, abs=0.01)
    assert (tmp_path / "drift.json").exists()


def healths(subscriber) -> list[float]:
    """The drift in the health messages that say one."""
    found = [json.loads(payload)["drift"] for payload in subscriber.on("/health")]
    return [one for one in found if one is not None]


def test_a_bundle_without_reference_says_nothing_of_drift(tmp_path):
    """Old bundles work as before; health has null."""
    devices.photos(tmp_path / "photos", 3)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(
            tmp_path, broker.port, "health_seconds = 1.0\n[drift]\nmin_frames = 1"
        )
        process = devices.start("run", "--config", str(path))
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert healths(subscriber) == []
    assert not (tmp_path / "drift.json").exists()


def test_real_photos_of_the_same_set_are_near_and_changed_ones_far(data):
    """A real model on real photos: others of the set < 0.2; darker, blurred, another set > 0.3."""
    leaves = sorted(data("bean_leaf").rglob("*.jpg"))
    others = sorted(data("jute_pest").rglob("*.jpg"))[::18]
    tflite = data("coral_models") / "mobilenet_v1_0.25_128_quant.tflite"
    labels = data("coral_models") / "imagenet_labels.txt"
    with open_tflite(tflite, labels) as model:
        spec = model.input

        def distances(pictures) -> float:
            found = [(model.classify(one).confidence, d.look(one)) for one in pictures]
            counts = {
                "confidence": [d.confidence_bin(sure) for sure, _ in found],
                "brightness": [d.brightness_bin(seen.brightness) for _, seen in found],
                "sharpness": [d.sharpness_bin(seen.sharpness) for _, seen in found],
            }
            return max(
                d.distance(
                    getattr(photos, name),
                    [*np.bincount(bins, minlength=len(getattr(photos, name)))],
                    photos.n,
                    len(found),
                )
                for name, bins in counts.items()
            )

        known = np.stack([load(path, spec) for path in leaves[::2]])
        shares = np.stack([model.classify(one).probabilities for one in known])
        photos = reference(np.log(shares + 1e-9), known, 1.0)
        fresh = leaves[1::2][::2]
        assert distances([load(path, spec) for path in fresh]) < 0.2
        assert distances([(load(path, spec) * 0.7).astype(np.uint8) for path in fresh]) > 0.3
        assert distances([blurred(path, spec) for path in fresh]) > 0.3
        assert distances([load(path, spec) for path in others]) > 0.25


def blurred(path, spec: InputSpec) -> np.ndarray:
    """A photo out of focus, as the model sees it."""
    picture = Image.fromarray(decode(path, at_least=(spec.width, spec.height)))
    soft = picture.filter(ImageFilter.GaussianBlur(picture.width / 128))
    return np.asarray(soft.resize((spec.width, spec.height), Image.Resampling.BILINEAR))
