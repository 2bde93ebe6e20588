"""The folder of models: what its record says, what is kept, and who changes it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading

import msgspec
import pytest

from edge.errors import StoreError, UpdateBusyError
from edge.messages.updates import ModelEntry, Outcome, Probation
from edge.system.clock import SystemClock
from edge.updates import record as records
from edge.updates.jobs import Job, Jobs
from edge.updates.proof import Proof
from edge.updates.record import Record
from edge.updates.store import Store, bundle_path


def entry(version: str, size: int = 100) -> ModelEntry:
    """The entry of a bundle."""
    return ModelEntry(name="a", version=version, sha256=version * 64, bytes=size, labels=("x",))


def proof(version: str) -> Proof:
    """The proof of a bundle."""
    return Proof(
        **msgspec.structs.asdict(entry(version)),
        runtime="fake",
        runtime_version="1",
        goldens=1,
        worst_difference=0.0,
    )


@pytest.fixture
def store(tmp_path):
    """A new one, in a folder that is made for it."""
    return Store(tmp_path / "a" / "b", keep=3, max_bytes=1000)


def test_a_record_is_read_as_it_was_written(tmp_path):
    """With all that it holds; a file that is not there is an empty one."""
    path = tmp_path / "models.json"
    assert records.read(path) == Record()
    whole = Record(
        current="a-2",
        previous="a-1",
        probation=Probation(starts=1, frames=2, seconds=3.0, interval_seconds=4.0),
        update="u",
        models={"a-1": entry("1"), "a-2": entry("2")},
        last=Outcome(name="a", version="2", result="expired", reason="r", time=SystemClock().now()),
    )
    records.write(path, whole)
    assert records.read(path) == whole
    now = SystemClock().now()
    back = whole.returned("it hung", now)
    assert (back.current, back.previous, back.probation) == ("a-1", None, None)
    assert back.last == Outcome(
        name="a", version="2", result="returned", reason="it hung", time=now, update="u"
    )
    assert back.models == whole.models


def test_a_trial_begins_with_nothing(tmp_path):
    """And so does a record, in plain JSON for people to read."""
    trial = {"starts": 0, "frames": 0, "seconds": 0.0, "interval_seconds": None}
    assert msgspec.to_builtins(Probation()) == trial
    records.write(tmp_path / "models.json", Record(probation=Probation()))
    assert msgspec.json.decode((tmp_path / "models.json").read_bytes()) == {
        "schema": 1,
        "current": None,
        "previous": None,
        "probation": trial,
        "update": None,
        "models": {},
        "last": None,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b'{"schema": 2}', "has schema 2; 1 is known here"),
        (b'{"current": "gone"}', "names a model that it does not list"),
        (b'{"previous": "gone"}', "names a model that it does not list"),
    ],
)
def test_a_record_that_makes_no_sense_says_so(tmp_path, text, said):
    """And is moved out of the way by the next change, for people to look at."""
    store = Store(tmp_path)
    store.record_path.write_bytes(text)
    with pytest.raises(StoreError, match=said):
        store.read()
    assert store.change(lambda record: record) == Record()
    assert (tmp_path / "models.json.damaged").read_bytes() == text
    assert not store.record_path.exists()


def test_folders_where_files_should_be_are_named_or_put_aside(tmp_path):
    """Read or made: an error; written: the folder is kept under another name."""
    (tmp_path / "models.json").mkdir()
    with pytest.raises(StoreError, match=r"cannot read .*models\.json: it is not a file"):
        records.read(tmp_path / "models.json")
    records.write(tmp_path / "models.json", Record())
    assert records.read(tmp_path / "models.json") == Record()
    assert (tmp_path / "models.json.aside-1").is_dir()
    with pytest.raises(StoreError, match=r"cannot write .*models\.json: No such file"):
        records.write(tmp_path / "none" / "models.json", Record())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot make .*file.*model\.store"):
        Store(tmp_path / "file")


def test_a_change_that_changes_nothing_writes_nothing(store):
    """Disks wear out."""
    store.change(lambda record: record)
    assert not store.record_path.exists()
    store.change(lambda record: msgspec.structs.replace(record, update="u"))
    assert store.read().update == "u"


def test_a_bundle_is_copied_under_its_name_version_and_hash(store, tmp_path, monkeypatch):
    """The file on its way stays; a copy that fails leaves nothing."""
    (tmp_path / "file").write_bytes(b"bundle")
    id = store.add(tmp_path / "file", proof("1"))
    assert id == "a-1-111111111111"
    assert store.path(id) == bundle_path(store.folder, id)
    assert [file.name for file in store.bundles.iterdir()] == [f"{id}.wtr"]
    assert store.path(id).read_bytes() == (tmp_path / "file").read_bytes() == b"bundle"
    with pytest.raises(StoreError, match="cannot keep a-2-"):
        store.add(tmp_path / "none", proof("2"))
    assert len(list(store.bundles.iterdir())) == 1

    def full(_fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot keep a-2-.*: No space left"):
        store.add(tmp_path / "file", proof("2"))
    assert len(list(store.bundles.iterdir())) == 1


@pytest.mark.parametrize(
    ("sizes", "current", "previous", "kept"),
    [
        ([100] * 3, "3", "2", "123"),
        ([100] * 4, "4", "3", "234"),
        ([100] * 5, "1", "2", "125"),
        ([500, 500], "2", None, "12"),
        ([500, 501], "2", None, "2"),
        ([500, 501], "2", "1", "12"),
        ([900, 900, 100], "3", None, "23"),
        ([2000], "1", None, "1"),
    ],
)
def test_the_oldest_go_beyond_the_bounds(store, sizes, current, previous, kept):
    """By number and by bytes; never the current and the previous one."""
    models = {str(i + 1): entry(str(i + 1), size) for i, size in enumerate(sizes)}
    for id in [*models, "stray"]:
        store.path(id).write_bytes(b"")
    record = Record(models=models, current=current, previous=previous)
    store.change(lambda _: record)
    store.prune()
    assert "".join(store.read().models) == kept
    assert {file.stem for file in store.bundles.iterdir()} == set(kept)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [([1] * 5, "2345"), ([100_000_000] * 2, "12"), ([100_000_000, 100_000_001], "2")],
)
def test_unless_it_is_said_four_models_stay_of_200_megabytes_together(tmp_path, sizes, kept):
    """As the configuration has it."""
    store = Store(tmp_path)
    models = {str(i + 1): entry(str(i + 1), size) for i, size in enumerate(sizes)}
    store.change(lambda record: msgspec.structs.replace(record, models=models))
    store.change(lambda record: msgspec.structs.replace(record, current=str(len(sizes))))
    store.prune()
    assert "".join(store.read().models) == kept


def test_what_cannot_be_removed_keeps_nothing_else(store, caplog):
    """A folder among the bundles: it is named, and stays."""
    for name in ("a", "b", "c"):
        (store.bundles / f"{name}.wtr").write_bytes(b"")
    (store.bundles / "b.wtr").unlink()
    (store.bundles / "b.wtr").mkdir()
    store.prune()
    assert [file.name for file in store.bundles.iterdir()] == ["b.wtr"]
    assert "b.wtr cannot be removed: Is a directory" in caplog.text


def test_a_lock_that_the_system_refuses_is_said(store, monkeypatch):
    """As some network disks do."""

    def refuse(_fd, _how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    for lock in (store.installing, store.locked):
        with pytest.raises(StoreError, match=r"cannot lock .*: No locks available"), lock():
            pass


def test_a_record_that_cannot_be_opened_just_now_stays(store, monkeypatch):
    """Nothing is known of it; it is not taken for damaged."""
    store.change(lambda record: msgspec.structs.replace(record, update="u"))
    real = os.open

    def refuse(path, *arguments):
        if os.fspath(path).endswith("models.json"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreError, match="Too many open files"):
            store.change(lambda record: msgspec.structs.replace(record, update="v"))
    assert store.read().update == "u"


def test_locks_are_files_that_others_may_open(store):
    """What else lies under the name is put aside; without a folder there is none."""
    (store.folder / "lock").mkdir()
    before = os.umask(0o022)
    try:
        store.change(lambda record: msgspec.structs.replace(record, update="u"))
    finally:
        os.umask(before)
    assert store.read().update == "u"
    assert (store.folder / "lock.aside-1").is_dir()
    assert (store.folder / "lock").stat().st_mode & 0o777 == 0o644
    shutil.rmtree(store.folder)
    with pytest.raises(StoreError, match=r"cannot open .*lock: No such file"):
        store.change(lambda record: record)


def test_one_update_at_a_time_and_one_change_after_the_other(store):
    """Of all processes: the first is refused, the second waits."""
    with store.installing():
        with (
            pytest.raises(UpdateBusyError, match="another update is under way"),
            store.installing(),
        ):
            pass
        store.change(lambda record: msgspec.structs.replace(record, update="during"))
    with store.installing():
        pass
    changed = threading.Event()

    def change():
        Store(store.folder).change(lambda record: msgspec.structs.replace(record, update="after"))
        changed.set()

    with store.locked():
        thread = threading.Thread(target=change)
        thread.start()
        assert not changed.wait(0.1)
        assert store.read().update == "during"
    thread.join()
    assert store.read().update == "after"


def test_a_damaged_record_is_told_in_the_log(store, caplog):
    """With the name under which it is kept."""
    store.record_path.write_bytes(b"{")
    with caplog.at_level(logging.ERROR):
        store.change(lambda record: record)
    assert "models.json.damaged" in caplog.text


def test_names_are_on_disk_before_anything_builds_on_them(store, tmp_path, monkeypatch):
    """Power that goes right after a change finds the record, the bundle and the job."""
    synced, real = [], os.fsync

    def fsync(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "file").write_bytes(b"bundle")
    store.add(tmp_path / "file", proof("1"))
    assert synced[0].endswith(".wtr.new")
    assert synced[1:] == [str(store.bundles)]
    synced.clear()
    store.change(lambda record: msgspec.structs.replace(record, update="u"))
    assert synced[-1] == str(store.folder)
    job = Job(update="u", source=None, sha256=None, allow_downgrade=False)
    jobs = Jobs(store)
    for step in (lambda: jobs.put(job), jobs.cancel, lambda: jobs.drop(job)):
        synced.clear()
        step()
        assert synced[-1] == str(store.incoming)


def test_a_folder_in_the_place_of_the_record_is_kept_where_the_log_says(store, caplog):
    """Also where another damaged record was set aside before; updates are taken again."""
    store.record_path.mkdir()
    (store.record_path / "file").touch()
    (store.folder / "models.json.damaged").write_bytes(b"{")
    store.change(lambda record: msgspec.structs.replace(record, update="u"))
    assert store.read().update == "u"
    assert (store.folder / "models.json.damaged").read_bytes() == b"{"
    assert (store.folder / "models.json.aside-1" / "file").exists()
    assert f"it is kept as {store.folder}/models.json.aside-1" in caplog.text
