"""The thread of a device's models: it looks at the record, goes on after errors, and ends."""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import queue
import threading
import time

import pytest
from models_here import Here
from test_model_updater import fetched
from threads_here import runs

from edge.errors import StoppedError, StoreError, UpdateBusyError
from edge.messages.updates import Probation
from edge.updates import service
from edge.updates.service import UpdateService, end_program

QUICK = "[model.update]\nunsigned = true\nframes = 10\nseconds = 30.0"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The models of a device."""
    return Here(tmp_path, monkeypatch, QUICK)


def passes(here, times=1):
    """Have an event that is set when the thread has looked so often."""
    seen, left = threading.Event(), [times]
    real = here.updater.work

    def work(closing):
        real(closing)
        left[0] -= 1
        if left[0] <= 0:
            seen.set()

    here.updater.work = work
    return seen


def test_a_change_is_seen_when_somebody_tells_of_it(here):
    """The thread goes on until the end, and no further."""
    with here.models as models:
        assert models is here.models
        assert passes(here).wait(60)
        seen = passes(here)
        here.place.install(here.place.bundle("2"))
        models.wake()
        taken = threading.Event()
        here.switch.told.append(taken.set)
        for _ in range(500):
            if taken.wait(0.01):
                break
            here.see()
        assert seen.wait(60)
    assert not runs("models")
    assert here.version == "2"
    assert here.counters.crew.ended is None


class News(threading.Event):
    """Reports each rest: for how long, and whether there is something to do already."""

    def __init__(self):
        super().__init__()
        self.rests: queue.Queue[tuple[float | None, bool]] = queue.Queue()

    def wait(self, timeout=None):
        """Rest."""
        self.rests.put((timeout, self.is_set()))
        return super().wait(timeout)


def test_the_thread_rests_until_it_is_told(here, monkeypatch):
    """Of something to do, once each time, or of the end."""
    monkeypatch.setattr(service, "_LOOK_SECONDS", 3600.0)
    here.models.news = news = News()
    with here.models as models:
        assert news.rests.get(timeout=60) == (3600.0, False)
        models.wake()
        assert news.rests.get(timeout=60) == (3600.0, False)
    assert not runs("models")


def test_a_run_in_good_order_is_carried_over(here):
    """Its frames and seconds; one that ends with an error is a start against the model."""
    here.place.install(here.place.bundle("2"))
    here.start()
    here.clock.forward(100.0)  # the camera opens; that counts for nothing
    with here.models:
        here.see(3, seconds=2.0)
    assert here.store.read().probation == Probation(frames=3, seconds=6.0)
    here.start()
    with contextlib.suppress(ZeroDivisionError), here.models:
        here.see(3, seconds=2.0)
        raise ZeroDivisionError
    assert here.store.read().probation == Probation(starts=1, frames=3, seconds=6.0)


@pytest.mark.parametrize("error", [StoreError("full"), ValueError("a bug")])
def test_the_thread_goes_on_after_an_error(here, error):
    """It is told as failing meanwhile, and as working again afterwards."""
    fails, failing = threading.Event(), threading.Event()
    fails.set()

    def judge():
        if fails.is_set():
            failing.set()
            raise error

    here.follower.judge = judge
    with here.models as models:
        assert failing.wait(60)
        failing.clear()
        models.wake()
        assert failing.wait(60)
        assert here.counters.is_failing("models")
        fails.clear()
        seen = passes(here)
        models.wake()
        assert seen.wait(60)
    assert not here.counters.is_failing("models")
    assert here.counters.errors()[type(error).__name__] >= 2


def test_a_device_that_ends_ends_an_update_under_way(here):
    """It is not told as trouble, and goes on with the next start."""
    here.models.jobs.put(fetched("http://127.0.0.1:1/a.wtr"))
    begun = threading.Event()

    def work(closing):
        begun.set()
        for _ in range(500):
            if closing():
                break
            time.sleep(0.01)
        raise StoppedError

    here.updater.work = work
    with here.models:
        assert begun.wait(60)
    assert not runs("models")
    assert here.counters.errors() == {}
    assert here.counters.crew.ended is None


def test_a_program_whose_model_hangs_ends_with_the_status_of_a_fault():
    """70, EX_SOFTWARE, whatever its other threads are at."""
    assert inspect.signature(UpdateService).parameters["end"].default is end_program
    child = multiprocessing.get_context("fork").Process(target=end_program)
    child.start()
    child.join(60)
    assert child.exitcode == 70


def test_nothing_is_accepted_while_a_model_is_on_probation(here):
    """What is accepted wakes the thread."""
    here.models.accept(fetched("http://127.0.0.1:1/a.wtr"))
    assert here.models.news.is_set()
    here.models.jobs.drop(here.models.jobs.read())
    here.place.install(here.place.bundle("2"))
    with pytest.raises(UpdateBusyError, match="is on probation"):
        here.models.accept(fetched("http://127.0.0.1:1/a.wtr"))
    assert here.models.jobs.read() is None
