"""A device follows the record of its models, whoever changes it, and judges over a probation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from models_here import PIXELS, SIZE, Here

from edge.errors import ModelError, StoppedError, StoreError, WheatearError
from edge.messages.updates import Probation
from edge.model.runtimes.fake import Fault
from edge.updates.install import roll_back

QUICK = "[model.update]\nunsigned = true\nframes = 10\nseconds = 30.0\nhang_seconds = 5.0"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The models of a device."""
    return Here(tmp_path, monkeypatch, QUICK)


def install(here, version="2", **options):
    """Have the record name a new model; give its id."""
    return here.place.install(here.place.bundle(version, **options), update="u1").id


def test_a_model_that_the_record_names_takes_over(here):
    """It is on trial from its first frame on; the one before is closed."""
    before = here.switch.classifier
    here.see(20, seconds=2.0)
    id = install(here, size=16)
    here.follow()
    assert here.version == "2"
    with pytest.raises(ModelError):
        before.raw(PIXELS)
    record = here.store.read()
    assert record.current == id
    assert record.probation == Probation(starts=1, interval_seconds=2.0)
    assert here.follower.rhythm.frames <= 1
    here.clock.forward(3.0)
    assert here.follower.rhythm.seconds(here.clock.seconds) == 3.0


def test_a_record_is_read_when_it_has_changed(here, monkeypatch):
    """And not otherwise; nothing is told again."""
    install(here)
    here.follow()
    here.place.confirm()
    here.follow()
    told = len(here.payloads)
    assert here.said["phase"] == "idle"
    reads = []
    real = here.store.read

    def read():
        reads.append(1)
        return real()

    monkeypatch.setattr(here.store, "read", read)
    here.follow()
    assert (reads, len(here.payloads)) == ([], told)
    roll_back(here.store, "a test", here.clock.now())
    here.follow()
    assert here.version == "1"
    assert (here.said["result"], here.said["version"]) == ("returned", "2")


def test_without_a_record_the_factory_model_judges_and_says_so(here):
    """One that is gone is an empty one."""
    here.follow()
    assert here.payloads == []
    install(here)
    here.follow()
    here.store.record_path.unlink()
    here.follow()
    assert here.version == "1"
    assert here.said["phase"] == "idle"


def test_how_fast_the_model_before_was_is_kept_over_starts(here):
    """What the trial knows already is not taken from its own frames."""
    install(here)
    here.store.change(
        lambda record: msgspec.structs.replace(record, probation=Probation(interval_seconds=9.0))
    )
    here.see(20, seconds=2.0)
    here.follow()
    assert here.store.read().probation == Probation(starts=1, interval_seconds=9.0)


def test_a_model_that_is_confirmed_by_hand_is_no_longer_counted(here):
    """It takes over all the same."""
    install(here)
    here.place.confirm()
    here.follow()
    assert here.version == "2"
    assert here.store.read().probation is None


def test_a_model_that_cannot_be_loaded_is_returned_from(here):
    """The one before goes on without a break, and why is told."""
    before = here.switch.classifier
    id = install(here)
    here.store.path(id).unlink()
    here.follow()
    here.follow()
    assert here.switch.classifier is before
    last = here.store.read().last
    assert (last.result, last.version, last.update) == ("returned", "2", "u1")
    assert "No such file" in last.reason
    assert (here.said["result"], here.said["reason"]) == ("returned", last.reason)


def test_a_factory_model_that_is_gone_is_an_error(here):
    """There is nothing to go back to: what judges goes on, and it is tried again."""
    install(here)
    here.follow()
    roll_back(here.store, "a test", here.clock.now())
    file = here.model.bundle
    data = file.read_bytes()
    file.unlink()
    for _ in range(2):
        with pytest.raises(WheatearError, match=r"model\.wtr"):
            here.follow()
    assert here.version == "2"
    file.write_bytes(data)
    here.follow()
    assert here.version == "1"


def test_a_device_that_stops_waits_for_no_frame(here):
    """What was offered is closed, and what judges goes on until the end."""
    install(here)
    before = here.switch.classifier
    here.closing.set()
    with pytest.raises(StoppedError):
        here.follower.follow(here.closing.is_set)
    assert here.switch.classifier is before
    before.raw(PIXELS)
    with pytest.raises(ModelError):
        here.loaded[-1].raw(PIXELS)
    assert not here.switch.withdraw()


def test_a_model_taken_at_the_last_moment_stays(here, monkeypatch):
    """The device stops just when a frame came: there is nothing to take back."""
    install(here)
    here.closing.set()
    real = here.switch.withdraw

    def late():
        here.switch.look(PIXELS, SIZE)
        return real()

    monkeypatch.setattr(here.switch, "withdraw", late)
    here.follower.follow(here.closing.is_set)
    assert here.version == "2"
    assert here.switch.look(PIXELS, SIZE)


@contextmanager
def hanging(here: Here, seconds: float) -> Iterator[None]:
    """Have the model be at a frame for so many seconds already."""
    entered, leave = threading.Event(), threading.Event()
    sound = here.switch.classifier.classify

    def hang(pixels):
        here.clock.forward(seconds)
        entered.set()
        leave.wait(60)
        return sound(pixels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(here.switch.classifier, "classify", hang)
        thread = threading.Thread(target=here.switch.look, args=[PIXELS, SIZE])
        thread.start()
        assert entered.wait(60)
        try:
            yield
        finally:
            leave.set()
            thread.join()


@pytest.mark.parametrize(("seconds", "ended"), [(5.0, 0), (5.1, 1)])
def test_a_model_that_hangs_is_not_waited_for(here, seconds, ended):
    """The program ends where the model before never comes back from its frame."""
    install(here)
    looks = iter([False, True])
    with hanging(here, seconds), pytest.raises(StoppedError):
        here.follower.follow(lambda: next(looks))
    assert (here.ended > 0) == bool(ended)


def test_a_trial_ends_with_its_frames_and_seconds(here):
    """How far it is is told until then; the model is confirmed under its update."""
    id = install(here)
    here.follow()
    here.follower.rhythm.begin(here.clock.seconds)
    here.see(5, seconds=3.0)
    here.follower.judge()
    assert (here.said["phase"], here.said["percent"], here.said["update"]) == (
        "probation",
        50.0,
        "u1",
    )
    assert here.store.read().probation is not None
    here.see(5, seconds=3.0)
    now = here.clock.now()
    here.follower.judge()
    record = here.store.read()
    assert (record.current, record.probation) == (id, None)
    last = record.last
    assert (last.name, last.version, last.result, last.reason) == ("colours", "2", "confirmed", "")
    assert (last.time, last.update) == (now, "u1")
    said = here.said
    assert (said["phase"], said["result"], said["update"]) == ("idle", "confirmed", "u1")


def test_a_confirmed_model_is_judged_no_more(here):
    """However it fails."""
    install(here, fault=Fault(kind="error", after=1))
    here.place.confirm()
    here.follow()
    here.see(10)
    before = here.store.read()
    here.follower.judge()
    assert here.store.read() == before
    assert here.payloads[-1]["phase"] == "idle"


def test_a_model_that_fails_is_returned_from(here):
    """The one before judges the next frames; the program goes on."""
    install(here, fault=Fault(kind="error", after=1))
    here.follow()
    here.see(8)
    here.follower.judge()
    last = here.store.read().last
    assert (last.result, last.update) == ("returned", "u1")
    assert "frames in a row" in last.reason
    assert here.ended == 0
    here.follow()
    assert here.version == "1"


@pytest.mark.parametrize(("seconds", "ended"), [(5.0, 0), (5.1, 1)])
def test_a_model_that_hangs_on_probation_ends_the_program(here, seconds, ended):
    """Its return is on disk before."""
    install(here)
    here.follow()
    with hanging(here, seconds):
        here.follower.judge()
    assert here.ended == ended
    assert (here.store.read().current is None) == bool(ended)


def test_a_model_that_failed_within_the_time_of_a_frame_ends_no_program(here):
    """It is returned from; the frame may still come back."""
    install(here)
    here.follow()
    here.switch.failures = 9
    with hanging(here, 5.0):
        here.follower.judge()
    assert here.ended == 0
    assert here.store.read().current is None


def test_a_record_that_moved_on_is_not_judged(here):
    """Somebody rolled back, or brought another, after the last look."""
    for number, moved in enumerate(("confirmed", "failed", "carried")):
        install(here, f"{2 + number}")
        here.follow()
        here.see(20, seconds=3.0)
        roll_back(here.store, "by hand", here.clock.now())
        third = install(here, f"{3 + number}")
        before = here.store.read()
        if moved == "failed":
            here.switch.failures = 9
        if moved == "carried":
            here.follower.carry_over()
        else:
            here.follower.judge()
        assert here.store.read() == before
        assert before.current == third
        roll_back(here.store, "a test", here.clock.now())
        here.follow()


def test_what_is_named_and_does_not_run_yet_is_not_judged(here):
    """A model that waits for its first frame has not failed."""
    install(here)
    here.closing.set()
    with pytest.raises(StoppedError):
        here.follower.follow(here.closing.is_set)
    here.switch.failures = 9
    before = here.store.read()
    here.follower.judge()
    assert here.store.read() == before


def test_a_run_in_good_order_adds_to_the_trial(here):
    """Frames, seconds, and no start against it; a confirmed model has no trial."""
    install(here)
    here.follow()
    here.store.change(
        lambda record: msgspec.structs.replace(
            record, probation=Probation(starts=2, frames=3, seconds=4.0, interval_seconds=5.0)
        )
    )
    here.follower.rhythm.begin(here.clock.seconds)
    here.see(4, seconds=2.0)
    here.follower.carry_over()
    record = here.store.read()
    assert record.probation == Probation(frames=7, seconds=12.0, interval_seconds=5.0)
    here.place.confirm()
    before = here.store.read()
    here.follower.carry_over()
    assert here.store.read() == before


def test_a_disk_that_refuses_costs_what_a_run_would_add(here, monkeypatch):
    """The device ends in good order all the same."""
    install(here)
    here.follow()
    before = here.store.read()

    def refuse(*_arguments):
        raise StoreError("full")

    monkeypatch.setattr("edge.updates.record.write", refuse)
    here.follower.carry_over()
    assert here.store.read() == before
