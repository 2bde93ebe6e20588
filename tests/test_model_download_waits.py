"""A download, attempt by attempt: how long is waited for the next, and when it is given up."""

from __future__ import annotations

import itertools
from functools import partial

import msgspec
import pytest
from downloads import BUSY, DATA, LIMITS, REST, START, get, names
from servers import Scripted, answer

from edge.errors import DownloadError, StoppedError, UnreachableError
from edge.updates.download_pace import Pace
from edge.updates.fetch import forget


class Waits:
    """Called, it notes how long to wait, and does not."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, step: float) -> None:
        """Note a step."""
        assert 0 < step <= 0.2
        self.seconds.append(step)


@pytest.fixture
def waits(monkeypatch):
    """What notes the waits, always the longest."""
    monkeypatch.setattr("random.random", lambda: 1.0)
    return Waits()


def test_each_failure_doubles_the_wait(waits, tmp_path):
    """In steps, so that a stop is seen; after the last attempt there is none."""
    limits = msgspec.structs.replace(LIMITS, attempts=4)
    with Scripted(lambda _: [BUSY]) as server, pytest.raises(UnreachableError) as told:
        get(server, tmp_path, limits, waits)
    assert str(told.value) == f"{server.url}: 503 Busy; 4 attempts in a row brought nothing"
    assert sum(waits.seconds) == pytest.approx(1 + 2 + 4)
    assert len(server.asked) == 4


def test_an_attempt_that_brings_something_begins_the_count_anew(waits, tmp_path):
    """And the waits; one that brings nothing counts from there."""
    answers = itertools.chain([BUSY, BUSY, START, BUSY, BUSY], itertools.repeat(None))

    def script(_):
        given = next(answers)
        if given is not None:
            return [given]
        return [answer(DATA[1000:], "206 Part", Content_Range=REST, ETag='"a"')]

    with Scripted(script) as server:
        assert get(server, tmp_path, LIMITS, waits) == DATA
    assert sum(waits.seconds) == pytest.approx(1 + 2 + 1 + 2 + 4)


def test_waits_grow_up_to_a_minute(waits, tmp_path):
    """Then they stay there."""
    limits = msgspec.structs.replace(LIMITS, attempts=9)
    with Scripted(lambda _: [BUSY]) as server, pytest.raises(UnreachableError):
        get(server, tmp_path, limits, waits)
    assert sum(waits.seconds) == pytest.approx(1 + 2 + 4 + 8 + 16 + 32 + 60 + 60)


def test_a_server_may_ask_for_a_longer_wait(waits, tmp_path):
    """The longer of the two counts; what is no number of seconds says nothing."""
    answers = iter(
        [
            answer(b"", "503 Busy", Retry_After="7"),
            answer(b"", "503 Busy", Retry_After="1"),
            answer(b"", "503 Busy", Retry_After="-7"),
            answer(DATA),
        ]
    )
    limits = msgspec.structs.replace(LIMITS, attempts=9)
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path, limits, waits) == DATA
    assert sum(waits.seconds) == pytest.approx(7 + 2 + 4)


def test_a_server_may_not_ask_for_more_than_five_minutes(waits, tmp_path):
    """It is asked again then."""
    answers = iter([answer(b"", "503 Busy", Retry_After="301"), answer(DATA)])
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path, LIMITS, waits) == DATA
    assert sum(waits.seconds) == pytest.approx(300)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 599])
def test_refusals_that_may_pass_are_tried_again(status, tmp_path):
    """Those of the server's own trouble, and three that say so."""
    answers = iter([answer(b"", f"{status} Later"), answer(DATA)])
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path) == DATA


@pytest.mark.parametrize("status", [204, 400, 404, 410, 424, 499])
def test_other_refusals_are_final_and_leave_nothing(status, tmp_path):
    """They are told with the address and the status."""
    with Scripted(lambda _: [answer(b"", f"{status} No")]) as server:
        with pytest.raises(UnreachableError, match=rf"/new\.wtr: {status} No$"):
            get(server, tmp_path)
        assert len(server.asked) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize(("begins", "error"), [(START, DownloadError), (b"", UnreachableError)])
def test_an_attempt_that_is_too_slow_is_told_as_that(begins, error, tmp_path, monkeypatch):
    """Where something came it is no secret that the server was reached."""
    slow = msgspec.structs.replace(LIMITS, attempts=1, timeout_seconds=1000.0)
    seconds = [0.0]
    monkeypatch.setattr("edge.updates.fetch.Pace", partial(Pace, now=lambda: seconds[0]))

    def script(_):
        seconds[0] += 0.0 if begins else slow.least_window_seconds
        yield begins
        yield from server.silence()

    def progress(*_):
        seconds[0] += slow.least_window_seconds

    with Scripted(script) as server, pytest.raises(DownloadError) as told:
        get(server, tmp_path, slow, progress=progress)
    assert type(told.value) is error
    assert "1 attempts in a row" in str(told.value)
    assert sum(file.stat().st_size for file in tmp_path.glob("url.part")) == (1000 if begins else 0)


def test_a_wait_is_half_as_long_at_the_least(monkeypatch, tmp_path):
    """So that a field of cameras does not come all at once; a stop ends it."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    waited, answers = list[float](), iter([BUSY, answer(DATA)])
    with Scripted(lambda _: [next(answers)]) as server:
        assert get(server, tmp_path, wait=waited.append) == DATA
    assert sum(waited) == pytest.approx(0.5)
    waited.clear()
    forget(tmp_path)
    with Scripted(lambda _: [BUSY]) as server, pytest.raises(StoppedError):
        get(server, tmp_path, wait=waited.append, stop=lambda: bool(waited))
    assert len(waited) == 1


def test_a_download_has_all_of_its_seconds(tmp_path, monkeypatch):
    """Where no earlier run is told of."""
    spent = []

    class Noted(Pace):
        def __init__(self, limits, stop, seconds):
            spent.append(seconds)
            super().__init__(limits, stop, seconds)

    monkeypatch.setattr("edge.updates.fetch.Pace", Noted)
    with Scripted(lambda _: [answer(DATA)]) as server:
        assert get(server, tmp_path) == DATA
    assert spent == [0.0]
