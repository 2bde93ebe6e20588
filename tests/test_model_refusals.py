"""What is not taken, and in which words: by request and on the command line."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import devices
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from downloads import DATA
from servers import Scripted, answer
from test_model_updates import QUICK, broker, field, send  # noqa: F401 - fixtures
from test_models import Place, command

from edge.updates.record import Record

TRUSTED, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
SIGNED = 'trusted_keys = ["key.pem"]'
REFUSED = {
    "tampered": "BundleIntegrityError",
    "signed by another": "BundleSignatureError: ",
    "unsigned": "BundleSignatureError: ",
    "older": "colours 0.9 is not newer than 1, which runs",
    "of another name": "takes models named colours only",
    "other contents": "colours 1 is not newer than 1, which runs, and has other contents",
    "the same": "runs already",
    "no bundle": "BundleFormatError",
}


@pytest.fixture
def key(tmp_path):
    """The key that the device trusts, in its file."""
    pem = TRUSTED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)


def bundles(place: Place) -> dict[str, Path]:
    """Write a bundle of each kind."""
    devices.bundle(place.folder / "model.wtr", key=TRUSTED)
    made = {
        "signed by another": place.bundle("2", key=OTHER),
        "unsigned": place.bundle("3"),
        "older": place.bundle("0.9", key=TRUSTED),
        "of another name": place.bundle("4", key=TRUSTED, name="other"),
        "other contents": place.bundle("1", key=TRUSTED, size=16),
        "the same": place.folder / "model.wtr",
    }
    whole = bytearray(place.bundle("5", key=TRUSTED).read_bytes())
    at = whole.index(b"\x89PNG") + 60
    whole[at] ^= 1
    made["tampered"] = place.folder / "tampered.wtr"
    made["tampered"].write_bytes(whole)
    made["no bundle"] = place.folder / "none.wtr"
    made["no bundle"].write_bytes(b"PK\x03\x04" + bytes(100))
    return made


def test_the_command_says_why_a_bundle_is_refused(tmp_path, key):  # noqa: ARG001
    """Each in its own words; nothing is left behind, and the next sound one is taken."""
    place = Place(tmp_path, SIGNED)
    for kind, file in bundles(place).items():
        told = command("install", file, "--config", place.path)
        assert told.returncode == 1, kind
        assert REFUSED[kind] in told.stderr, kind
    assert place.store.read() == Record()
    assert not list(place.store.bundles.iterdir()) + list(place.store.incoming.iterdir())
    sound = place.bundle("1.1", key=TRUSTED)
    wrong = command("install", sound, "--config", place.path, "--sha256", "0" * 64)
    assert f"not {'0' * 64} as asked for" in wrong.stderr
    assert command("install", sound, "--config", place.path).returncode == 0


def test_a_request_is_told_why_a_bundle_is_refused(field, key):  # noqa: F811, ARG001
    """The same words on `update` and in `models`; the model goes on, and a sound one is taken."""
    camera = field(model=f"{SIGNED}\n{QUICK}")
    made = bundles(camera.place)
    camera.start()
    camera.sees_with("1")
    reasons = set()
    for kind, file in made.items():
        digest = send(camera, file, 100_000)
        update = camera.ask("model/install", sha256=digest)["data"]["update"]

        def told(update=update):
            return [one for one in camera.updates() if one["update"] == update and one["result"]]

        assert camera.subscriber.wait(lambda _, told=told: told()), kind
        assert told()[0]["result"] == "refused"
        assert REFUSED[kind] in told()[0]["reason"], kind
        reasons.add(told()[0]["reason"])
        assert camera.ask("models")["data"]["last"]["reason"] == told()[0]["reason"]
    assert len(reasons) == len(made)
    assert not list(camera.place.store.incoming.iterdir())
    digest = send(camera, camera.place.bundle("1.1", key=TRUSTED), 100_000)
    camera.ask("model/install", sha256=digest)
    camera.ends("confirmed", "1.1")


def test_a_disk_that_fills_up_during_a_download_is_told_and_harms_nothing(field, tmp_path):  # noqa: F811
    """The running model stays, what came is gone, the next update is taken."""
    if os.geteuid() != 0:
        pytest.skip("NO ROOT: a small disk cannot be made")
    disk = tmp_path / "models"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], check=False
    ).returncode:
        pytest.skip("NO MOUNT: a small disk cannot be made")
    try:
        camera = field()
        camera.start()
        camera.sees_with("1")
        with Scripted(lambda _: [answer(DATA)]) as server:
            assert camera.ask("model/install", url=server.url)["status"] == "ok"
            assert "No space left" in camera.ends("refused", None)["reason"]
            assert len(server.asked) == 1
        assert not list(camera.place.store.incoming.iterdir())
        data = camera.place.bundle("2").read_bytes()
        with Scripted(lambda _: [answer(data)]) as server:
            digest = hashlib.sha256(data).hexdigest()
            camera.ask("model/install", url=server.url, sha256=digest, size=len(data))
            camera.ends("confirmed", "2")
        camera.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
