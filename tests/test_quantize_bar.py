"""What a quantization shows while it works."""

import io

import pytest
from rich.console import Console

from quantize.commands import bar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [100.0]
    monkeypatch.setattr(bar, "monotonic", lambda: now[0])
    return now


def shown(clock, terminal):
    """A phase of four steps of 40 seconds each, on a console."""
    stream = io.StringIO()
    console = Console(file=stream, width=140, force_terminal=terminal, get_time=lambda: clock[0])
    with bar.Bar(console) as bars:
        bars.phase("candidate 1 of 3", 4)
        for step in range(4):
            clock[0] += 40
            bars.advance(1, f"loss {step}")
        lines = stream.getvalue().splitlines()
    return lines, stream.getvalue()


def test_a_log_is_told_once_a_minute_where_a_phase_is(clock):
    """Steps, rate, time left and the note; no line where a minute has not passed."""
    lines, _ = shown(clock, terminal=False)
    assert lines == [
        "candidate 1 of 3, 4 steps",
        "  2 of 4, 40.0 s each, 80 s left, loss 1",
        "  4 of 4, 40.0 s each, 0 s left, loss 3",
    ]


def test_a_terminal_has_a_bar_with_rate_and_time_left(clock):
    """And no lines beside it."""
    lines, whole = shown(clock, terminal=True)
    assert not any("s left, loss" in line for line in lines)
    for word in ("candidate 1 of 3", "4/4", "40.0 s each", "0:02:40", "loss 3"):
        assert word in whole
