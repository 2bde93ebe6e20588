"""The way of a bundle into the store, step by step: what is asked, told, kept and left."""

from __future__ import annotations

import hashlib
import os
import shutil

import devices
import msgspec
import proofs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_models import CLOCK, Place, proved_here  # noqa: F401 - a fixture
from there import there

from edge.errors import (
    DowngradeError,
    OtherModelError,
    ProofError,
    SameVersionError,
    StoppedError,
    StoreError,
    UpdateBusyError,
    UpdateError,
)
from edge.messages.updates import ModelEntry, Probation
from edge.updates.install import (
    bring,
    check_free,
    check_hash,
    check_keys,
    current,
    factory,
    install,
    roll_back,
    wanted_name,
)
from edge.updates.record import Record
from edge.updates.store import Store


def opened(place: Place, **options):
    """Install version 2 from where it lies in the store."""
    incoming = place.store.incoming / "file.part"
    shutil.copyfile(place.bundle("2"), incoming)
    with place.store.installing():
        return install(place.store, place.config.model, incoming, **options)


def incoming(place: Place) -> list[str]:
    """The names of the files on their way."""
    return sorted(file.name for file in place.store.incoming.iterdir())


def test_the_configured_bundle_is_what_its_file_says(place):
    """And what runs, until another is in the store; nothing where it cannot be read."""
    data = place.config.model.bundle.read_bytes()
    first = ModelEntry(
        name="colours",
        version="1",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        labels=("aphid", "beetle", "leaf"),
    )
    model = place.config.model
    assert factory(model) == current(place.store, model) == first
    done = opened(place)
    assert current(place.store, model) == done.entry
    assert factory(model) == first
    model.bundle.write_bytes(b"PK")
    assert factory(model) is None


def test_the_name_that_is_taken(place):
    """As configured, of the bundle, of what runs: whichever is known first."""
    model, other = (
        place.config.model,
        ModelEntry(name="b", version="1", sha256="0", bytes=1, labels=()),
    )
    assert wanted_name(msgspec.structs.replace(model, name="a"), other) == "a"
    assert wanted_name(model, other) == "colours"
    model.bundle.unlink()
    assert wanted_name(model, other) == "b"
    assert wanted_name(model, None) is None


def test_a_file_is_brought_whole_whatever_lay_there(place):
    """One that another user left cannot be written to, but removed."""
    (place.store.incoming / "file.part").write_bytes(b"x" * 100)
    os.chmod(place.store.incoming / "file.part", 0)
    with place.bundle("2").open("rb") as file:
        brought = bring(place.store, file)
    assert brought == place.store.incoming / "file.part"
    assert brought.read_bytes() == (place.folder / "new-2.wtr").read_bytes()


def test_a_file_that_cannot_be_brought_leaves_nothing(place):
    """It cannot be read, and what is wrong is said."""
    with (
        open("/proc/self/mem", "rb", buffering=0) as file,
        pytest.raises(StoreError, match=r"cannot copy /proc/self/mem to .*part: Input/output err"),
    ):
        bring(place.store, file)
    assert incoming(place) == []


def test_a_file_larger_than_a_bundle_is_not_brought(place, monkeypatch):
    """Nothing of it is read; one that is as large as the largest is brought."""
    monkeypatch.setattr("edge.updates.install.MAX_BUNDLE_BYTES", 1000)
    (place.folder / "large").write_bytes(bytes(1001))
    said = "large has 1001 bytes or more; a bundle has 1000 at most"
    with (place.folder / "large").open("rb") as file:
        with pytest.raises(UpdateError, match=said):
            bring(place.store, file)
        assert file.tell() == 0
    assert incoming(place) == []
    (place.folder / "large").write_bytes(bytes(1000))
    with (place.folder / "large").open("rb") as file:
        assert bring(place.store, file).stat().st_size == 1000


@pytest.mark.parametrize(("size", "taken"), [(1000, True), (1001, False), (1999, False)])
def test_what_tells_no_size_is_brought_up_to_that_of_a_bundle(place, monkeypatch, size, taken):
    """A pipe: what is too large leaves nothing."""
    monkeypatch.setattr("edge.updates.install.MAX_BUNDLE_BYTES", 1000)
    monkeypatch.setattr("edge.updates.install._PIECE_BYTES", 400)
    reads, writes = os.pipe()
    os.write(writes, bytes(size))
    os.close(writes)
    with open(reads, "rb") as file:
        if taken:
            assert bring(place.store, file).stat().st_size == size
            return
        with pytest.raises(UpdateError, match="a bundle has 1000 at most"):
            bring(place.store, file)
    assert incoming(place) == []


def test_a_key_or_a_word_is_needed_for_the_network(place):
    """Either is enough."""
    model = place.config.model
    with pytest.raises(UpdateError, match=r"model\.trusted_keys is empty"):
        check_keys(model)
    check_keys(msgspec.structs.replace(model, trusted_keys=("key.pem",)))
    unsigned = msgspec.structs.replace(model.update, unsigned=True)
    check_keys(msgspec.structs.replace(model, update=unsigned))


def test_a_model_on_probation_holds_up_the_next(place):
    """It is named."""
    check_free(place.store)
    done = opened(place)
    with pytest.raises(UpdateBusyError, match=f"{done.id} is on probation; wait until it is conf"):
        check_free(place.store)


def test_an_installed_model_is_kept_and_named(place):
    """With its phases told, the update that brought it, and the labels that change."""
    told = []
    done = opened(
        place,
        sha256=hashlib.sha256(place.bundle("2").read_bytes()).hexdigest(),
        update="u1",
        announce=lambda phase, proof: told.append((phase, proof and proof.version)),
    )
    assert told == [("proving", None), ("proving", "2"), ("switching", "2")]
    record = place.store.read()
    assert record == Record(
        current=done.id, probation=Probation(), update="u1", models={done.id: done.entry}
    )
    file = place.folder / "new-2.wtr"
    assert place.store.path(done.id).read_bytes() == file.read_bytes()
    assert done.entry == msgspec.structs.replace(
        there(factory(place.config.model)),
        version="2",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        bytes=file.stat().st_size,
    )
    assert (done.labels_added, done.labels_removed) == ((), ())
    assert incoming(place) == []


def test_labels_that_come_and_go_are_told(place):
    """New ones as the model has them, lost ones by name; all are new where nothing ran."""
    grey = (90, 90, 90)
    colours = {"wasp": grey, "leaf": (90, 90, 200), "mite": (250, 250, 250)}
    done = place.install(place.bundle("2", colours=colours))
    assert (done.labels_added, done.labels_removed) == (("wasp", "mite"), ("aphid", "beetle"))
    roll_back(place.store, "a test", CLOCK.now())
    place.config.model.bundle.unlink()
    assert place.install(place.bundle("3")).labels_added == ("aphid", "beetle", "leaf")


def test_a_model_that_comes_again_is_the_newest(place):
    """It goes last of those that are kept, and the one that ran is the one before it."""
    for version in ("2", "3"):
        place.install(place.bundle(version))
        place.confirm()
    third = place.store.read().current
    again = place.install(place.folder / "new-2.wtr", allow_downgrade=True).id
    record = place.store.read()
    assert list(record.models) == [third, again]
    assert (record.current, record.previous) == (again, third)


def test_what_is_refused_is_gone_and_what_is_stopped_stays(place):
    """A stop comes from a device that ends, which goes on later."""
    with pytest.raises(UpdateError, match=f"SHA-256 .*, not {'0' * 64} as asked for"):
        opened(place, sha256="0" * 64)
    assert incoming(place) == []
    with pytest.raises(StoppedError):
        opened(place, stop=lambda: True)
    assert incoming(place) == ["file.part"]
    assert place.store.read() == Record()


def test_the_way_back_is_written_down(place):
    """What is returned from, why, when, and which update brought it."""
    done = opened(place, update="u1")
    now = CLOCK.now()
    record = roll_back(place.store, "a test", now)
    assert record == place.store.read()
    assert (record.current, record.previous, record.probation) == (None, None, None)
    assert list(record.models) == [done.id]
    last = there(record.last)
    assert (last.name, last.version, last.result) == ("colours", "2", "returned")
    assert (last.reason, last.time, last.update) == ("a test", now, "u1")


@pytest.mark.parametrize("version", ["1", "0.9", "1-rc1", "1.0"])
def test_an_older_or_equal_version_is_refused_unless_asked_for(place, version):
    """No silent downgrade."""
    file = place.bundle(version, size=16)
    with pytest.raises(DowngradeError, match=r"not newer than 1"):
        place.install(file)
    assert place.store.read() == Record()
    assert not list(place.store.bundles.iterdir())
    place.install(file, allow_downgrade=True)
    assert place.open() == version


def test_what_runs_already_is_nothing_new(place):
    """The same file is refused with a word, also where a downgrade is asked for."""
    with pytest.raises(UpdateError, match="runs already"):
        place.install(place.folder / "model.wtr", allow_downgrade=True)


def test_a_device_takes_models_of_its_own_name_only(place):
    """That of its bundle, whatever version another one has, and whatever is asked for."""
    for version in ("0.1", "9"):
        with pytest.raises(OtherModelError, match=r"it is other .* models named colours only"):
            place.install(place.bundle(version, name="other"), allow_downgrade=True)
    assert place.store.read() == Record()
    assert not list(place.store.incoming.iterdir())


def test_a_device_goes_over_to_another_model_by_its_configuration(tmp_path, monkeypatch):
    """`model.name` says so; only versions of the same name are compared."""
    proofs.in_this_process(monkeypatch)
    place = Place(tmp_path, 'name = "other"')
    with pytest.raises(OtherModelError, match="named other only"):
        place.install(place.bundle("2"))
    place.install(place.bundle("0.2", name="other"))
    place.confirm()
    with pytest.raises(DowngradeError, match=r"not newer than 0\.2"):
        place.install(place.bundle("0.1", name="other"))
    assert place.open() == "0.2"


def test_without_a_readable_bundle_the_name_that_runs_is_taken(place):
    """And any, where nothing runs either: the device needs one."""
    place.install(place.bundle("2"))
    place.confirm()
    (place.folder / "model.wtr").write_bytes(b"")
    with pytest.raises(OtherModelError, match="named colours only"):
        place.install(place.bundle("3", name="other"))
    roll_back(place.store, "a test", CLOCK.now())
    place.install(place.bundle("3", name="other"))
    assert place.open() == "3"


def test_other_contents_under_the_version_that_runs_are_refused(place):
    """In words of their own: nobody could tell the two apart by what sightings say."""
    for version in ("1", "1.0", "1+b"):
        with pytest.raises(SameVersionError, match="has other contents"):
            place.install(place.bundle(version, size=16))
    assert place.store.read() == Record()
    with pytest.raises(DowngradeError) as older:
        place.install(place.bundle("0.9"))
    assert "other contents" not in str(older.value)


def test_a_second_update_waits_for_the_first(place):
    """Neither while one is under way, nor while one is on probation."""
    with place.store.installing(), pytest.raises(UpdateBusyError):
        place.install(place.bundle("2"))
    place.install(place.bundle("2"))
    with pytest.raises(UpdateBusyError, match="on probation"):
        place.install(place.bundle("3"))


def test_only_what_a_trusted_key_signed_is_taken(tmp_path, monkeypatch):
    """Unsigned and signed by another are refused."""
    proofs.in_this_process(monkeypatch)
    trusted, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    pem = trusted.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    place = Place(tmp_path, 'trusted_keys = ["key.pem"]')
    devices.bundle(tmp_path / "model.wtr", key=trusted)
    for key in (None, other):
        with pytest.raises(ProofError, match="BundleSignatureError"):
            place.install(place.bundle("2", key=key))
    place.install(place.bundle("3", key=trusted))
    assert place.open() == "3"


def test_a_roll_back_goes_one_model_back_and_then_to_the_factorys(place):
    """And not further."""
    for version in ("2", "3"):
        place.install(place.bundle(version))
        place.confirm()
    for expected in ("2", "1"):
        roll_back(place.store, "a test", CLOCK.now())
        assert place.open() == expected
    with pytest.raises(UpdateError, match="factory"):
        roll_back(place.store, "a test", CLOCK.now())


def test_old_models_go_and_the_current_and_previous_stay(place):
    """Four bundles at most, and none that the record does not know."""
    (place.store.bundles / "stray.wtr").write_bytes(b"x")
    for version in range(2, 8):
        place.install(place.bundle(str(version)))
        place.confirm()
    record = place.store.read()
    assert [entry.version for entry in record.models.values()] == ["4", "5", "6", "7"]
    names = {file.name for file in place.store.bundles.iterdir()}
    assert names == {f"{id}.wtr" for id in record.models}
    Store(place.store.folder, max_bytes=1).prune()
    assert [entry.version for entry in place.store.read().models.values()] == ["6", "7"]


def test_a_file_that_is_gone_has_no_hash(tmp_path):
    """That is an error of the disk; without a hash to hold it against it is not looked at."""
    check_hash(tmp_path / "none", None)
    with pytest.raises(StoreError, match=r"cannot read .*none: No such file"):
        check_hash(tmp_path / "none", "0" * 64)
