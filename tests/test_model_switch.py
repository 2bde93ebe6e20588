"""Another model between two frames: what follows it, and what is told of it."""

from __future__ import annotations

import devices
import pytest
from models_here import PIXELS, SIZE, Here

from edge.device.models import keep_up
from edge.errors import ModelError
from edge.messages.device import RunningModel
from edge.messages.sighting import ModelRef
from edge.model.runtimes.fake import Fault
from edge.system.bell import Rung
from edge.updates.load import load_bundle
from edge.updates.switch import ModelSwitch


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The models of a device."""
    return Here(tmp_path, monkeypatch)


def loaded(here, version="2", **options):
    """Load another bundle."""
    return load_bundle(here.place.bundle(version, **options), here.model)


def test_the_next_frame_is_judged_by_the_model_that_was_offered(here):
    """The one before is still open then; whoever offered it is told."""
    switch, told = here.switch, []
    before, coming = switch.classifier, loaded(here, size=16)
    switch.told.append(lambda: told.append(switch.classifier))
    taken = switch.offer(coming)
    assert (switch.classifier, taken.is_set(), switch.reframed) == (before, False, False)
    found = switch.look(PIXELS, SIZE)
    assert found.alternatives[0].label in coming.labels
    assert (switch.classifier, taken.is_set(), switch.reframed) == (coming, True, True)
    assert told == [coming]
    switch.look(PIXELS, SIZE)
    assert told == [coming]
    before.raw(PIXELS)
    info = coming.model_info
    assert switch.ref == ModelRef(name="colours", version="2", sha256=info.sha256)
    assert switch.title == "colours 2"
    assert switch.running == RunningModel(
        name="colours",
        version="2",
        sha256=info.sha256,
        labels=tuple(devices.COLOURS),
        runtime="fake",
        runtime_version=info.runtime_version,
    )
    switch.offer(loaded(here, "3", size=16))
    switch.look(PIXELS, SIZE)
    assert not switch.reframed


def test_an_offer_is_taken_back_before_it_is_taken(here):
    """Not afterwards."""
    assert not here.switch.withdraw()
    here.switch.offer(loaded(here))
    assert here.switch.withdraw()
    here.see()
    assert here.version == "1"
    here.switch.offer(loaded(here))
    here.see()
    assert not here.switch.withdraw()
    assert here.version == "2"


def test_an_offer_that_is_taken_back_at_the_last_moment_changes_nothing(here):
    """The frame is judged by the model before."""

    class Late(ModelSwitch):
        @property
        def offered(self) -> bool:
            return super().offered and self.withdraw()

    switch = Late(here.switch.classifier, here.place.config, here.clock, lambda last: last.close())
    taken = switch.offer(loaded(here))
    switch.look(PIXELS, SIZE)
    assert (switch.running.version, taken.is_set()) == ("1", False)
    assert not switch.withdraw()


def test_failures_in_a_row_are_counted(here):
    """A frame that goes well ends the row, and so does another model."""
    switch = here.switch
    assert switch.failures == 0
    switch.offer(loaded(here, fault=Fault(kind="error", after=2)))
    for count in (0, 1, 2):
        here.see()
        assert switch.failures == count
    with pytest.raises(ModelError):
        switch.look(PIXELS, SIZE)
    assert switch.failures == 3
    switch.offer(loaded(here, "3", fault=Fault(kind="error", after=1)))
    here.see()
    assert (here.version, switch.failures) == ("3", 1)
    flaky = loaded(here, "5")
    switch.offer(flaky)
    here.see()
    assert switch.failures == 0
    sound = flaky.classify

    def fails(_pixels):
        raise ModelError("once")

    flaky.classify = fails
    here.see()
    assert switch.failures == 1
    flaky.classify = sound
    here.see()
    assert switch.failures == 0


def test_how_long_a_frame_takes_is_seen_while_it_does(here):
    """And not when none is under way, however the last one ended."""
    switch, seen = here.switch, []
    here.clock.forward(3.0)
    assert switch.busy_seconds == 0.0
    sound = switch.classifier.classify

    def slow(pixels):
        here.clock.forward(7.0)
        seen.append(switch.busy_seconds)
        return sound(pixels)

    switch.classifier.classify = slow
    switch.look(PIXELS, SIZE)
    here.clock.forward(5.0)
    assert (seen, switch.busy_seconds) == ([7.0], 0.0)


def test_labels_have_the_thresholds_of_the_model_that_judges(here):
    """The decider is told with each exchange."""
    told, decider = list[object](), here.switch.decider
    decider.exchange = told.append
    here.switch.offer(loaded(here, colours={"mite": (9, 9, 9), "wasp": (90, 9, 9)}))
    here.see()
    assert told == [{"mite": 0.0, "wasp": 0.0}]


def test_the_last_model_is_given_away_at_the_end(here):
    """To whoever keeps it, or closes it."""
    with here.switch as switch:
        assert switch is here.switch
    with pytest.raises(ModelError):
        here.switch.look(PIXELS, SIZE)


def test_all_that_names_the_model_follows_it(here):
    """Sightings, info, what is compared; the camera opens anew where pictures change."""
    with here.followers() as ours:
        keep_up(here.switch, *ours)
        first = here.switch.ref
        coming = loaded(here)
        here.switch.offer(coming)
        here.see()
        assert ours.feedback.models == [coming]
        assert ours.bell.take() == Rung(news=True, topics=frozenset(), everything=True)
        assert ours.frames.count == 0
        assert (ours.identity.model, ours.reporter.model) == (here.switch.ref, here.switch.running)
        assert here.switch.ref != first
        larger = loaded(here, "3", size=16)
        here.switch.offer(larger)
        here.see()
        assert ours.feedback.models == [coming, larger]
        assert ours.bell.take().everything
        assert ours.frames.count == 1
