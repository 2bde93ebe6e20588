"""Which model a start takes, and what becomes of the record where it is another."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from test_models import CLOCK, Place, proved_here  # noqa: F401 - a fixture
from there import there

from edge.errors import StoreError, WheatearError
from edge.messages.updates import Probation
from edge.model.classifier import Classifier
from edge.system.handover import Handover
from edge.updates.load import kept_bundles, load_bundle, open_classifier
from edge.updates.record import Record
from edge.updates.startup import begin, current_path, open_current, path_of


def refuse(*_arguments):
    """Be a disk that takes nothing."""
    raise StoreError("no space")


def with_two(place: Place) -> Record:
    """Have two models, the second on probation."""
    place.install(place.bundle("2"), update="u2")
    place.confirm()
    place.install(place.bundle("3"), update="u3")
    return place.store.read()


def test_each_start_on_probation_is_counted(place):
    """Up to the last; then it is over, and said so."""
    before = with_two(place)
    for count in (1, 2):
        assert begin(place.store, 2, CLOCK).probation == Probation(starts=count)
    back = begin(place.store, 2, CLOCK)
    assert back == place.store.read()
    assert (back.current, back.previous, back.probation) == (before.previous, None, None)
    last = there(back.last)
    assert (last.result, last.version, last.update) == ("returned", "3", "u3")
    assert last.reason == "it was started 2 times and never confirmed"
    assert begin(place.store, 2, CLOCK) == back


def test_a_start_that_cannot_be_counted_takes_the_model_before(place, monkeypatch):
    """A confirmed one needs no count; nothing is written down."""
    before = with_two(place)
    monkeypatch.setattr("edge.updates.record.write", refuse)
    run = begin(place.store, 3, CLOCK)
    assert (run.current, run.previous, run.probation) == (before.previous, None, None)
    assert run.last == before.last
    assert place.store.read() == before


def test_without_a_lock_a_confirmed_model_runs_on(place, monkeypatch):
    """And the factory model, where the record cannot be read either."""
    with_two(place)
    place.confirm()
    before = place.store.read()
    monkeypatch.setattr(type(place.store), "locked", refuse)
    assert begin(place.store, 3, CLOCK) == before
    place.store.record_path.write_bytes(b"{")
    assert begin(place.store, 3, CLOCK) == Record()


def test_a_model_that_is_no_more_is_written_down(place):
    """What runs in its place, with nothing before it, and why."""
    before = with_two(place)
    place.store.path(before.current).unlink()
    assert place.open() == "2"
    record = place.store.read()
    assert (record.current, record.previous, record.probation) == (before.previous, None, None)
    assert (record.last.version, record.last.result) == ("3", "returned")
    assert "No such file" in record.last.reason


def test_the_factory_model_is_the_last_resort(place):
    """Where both others are gone, and where writing that down fails, too."""
    before = with_two(place)
    for id in before.models:
        place.store.path(id).unlink()
    with pytest.MonkeyPatch.context() as patch:
        place.confirm()
        kept = place.store.read()
        patch.setattr("edge.updates.record.write", refuse)
        assert place.open() == "1"
        assert place.store.read() == kept
    assert place.open() == "1"
    record = place.store.read()
    assert (record.current, record.previous) == (None, None)
    assert record.last.version == "3"


def test_a_record_that_moved_on_meanwhile_is_left_alone(place):
    """Somebody rolled back while the model was loaded."""
    before = with_two(place)
    moved = msgspec.structs.replace(before, current=before.previous, probation=None)

    def load(path):
        if path == place.store.path(before.current):
            place.store.change(lambda _: moved)
            raise StoreError("gone")
        return load_bundle(path, place.config.model)

    classifier, id = open_current(place.store, place.config.model, load, CLOCK)
    classifier.close()
    assert id == before.previous
    assert place.store.read() == moved


def test_the_bundle_that_a_check_looks_at(place):
    """The configured one, or the current one of the store; nothing is counted."""
    model = place.config.model
    assert current_path(model) == path_of(place.store, model, None) == model.bundle
    record = with_two(place)
    assert current_path(model) == path_of(place.store, model, record.current)
    assert current_path(model) == place.store.path(record.current)
    assert place.store.read() == record
    assert current_path(msgspec.structs.replace(model, store=None)) == model.bundle


def test_a_model_never_confirmed_has_only_so_many_starts(place):
    """The fourth start takes the model before, and says why."""
    place.install(place.bundle("2"))
    assert [place.open() for _ in range(5)] == ["2", "2", "2", "1", "1"]
    last = place.store.read().last
    assert (last.version, last.result) == ("2", "returned")
    assert "started 3 times" in last.reason


def test_a_start_is_counted_before_the_model_is_loaded(place):
    """A model that takes the program with it while it loads is counted all the same."""
    place.install(place.bundle("2"))
    seen = []

    def load(_path: Path) -> Classifier:
        seen.append(place.store.read().probation.starts)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_current(place.store, place.config.model, load, CLOCK)
    assert seen == [1]


def test_a_confirmed_model_whose_file_is_lost_gives_way_to_the_one_before(place):
    """The one before, and the factory model at last; the record follows."""
    second = place.install(place.bundle("2")).id
    place.confirm()
    third = place.install(place.bundle("3")).id
    place.confirm()
    place.store.path(third).write_bytes(b"PK")
    assert place.open() == "2"
    assert place.store.read().current == second
    place.store.path(second).unlink()
    assert place.open() == "1"
    assert place.store.read().current is None


@pytest.mark.parametrize("text", [b"", b"{", b"\0" * 200, b'{"schema":9}', b'{"current":"gone"}'])
def test_a_damaged_record_is_set_aside_and_the_factory_model_runs(place, text):
    """Whatever is in the file; it is kept for people to look at."""
    place.install(place.bundle("2"))
    place.store.record_path.write_bytes(text)
    assert place.open() == "1"
    assert place.store.record_path.with_name("models.json.damaged").read_bytes() == text
    place.install(place.bundle("2"))
    assert place.open() == "2"


def test_without_any_usable_model_the_current_ones_error_is_told(place):
    """Nothing to fall back to is said, and the record stays."""
    place.install(place.bundle("2"))
    place.confirm()
    before = place.store.read()
    for file in (place.folder / "model.wtr", place.store.path(before.current)):
        file.unlink()
    with pytest.raises(WheatearError, match="colours-2"):
        place.open()
    assert place.store.read() == before


def test_a_full_disk_starts_no_model_on_probation(place, monkeypatch):
    """Where a start cannot be counted, the model before runs, and nothing is written down."""
    place.install(place.bundle("2"))
    before = place.store.read()

    def refuse(*_arguments):
        raise StoreError("no space")

    monkeypatch.setattr("edge.updates.record.write", refuse)
    assert place.open() == "1"
    assert place.store.read() == before


def test_a_bundle_stays_open_from_run_to_run_until_its_file_is_another(place):
    """Though it has the same name; the configured model is taken where it is open."""
    model = place.config.model
    kept = Handover(lambda: True)
    load = kept_bundles(kept, model)
    first = open_classifier(place.config, load)
    kept.leave(first)
    assert load(model.bundle) is first
    kept.leave(first)
    model.bundle.write_bytes(place.bundle("2").read_bytes())
    with load(model.bundle) as second:
        assert second is not first
        assert second.model_info.version == "2"
    with open_classifier(place.config) as alone:
        assert alone.model_info.version == "2"
