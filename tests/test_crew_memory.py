"""A thread that ends for want of memory, and has none to say so."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import threading

import pytest

from edge.counters import Counters

LONG = 10_000
NOTICED, UNNOTICED = 3, 4


def end_a_thread(at: int, count: int) -> int:
    """Have a thread end by an error while allocations fail; say whether that was noticed."""
    import _testcapi

    counters, rang = Counters(), threading.Event()
    counters.crew.alarm(rang.set)

    def loop():
        _testcapi.set_nomemory(at, at + count)
        raise error

    error = ValueError("a bug")
    thread = counters.crew.worker("scout", loop, lambda: False)
    thread.start()
    thread.join(10)
    _testcapi.remove_mem_hooks()
    return NOTICED if rang.is_set() and counters.crew.ended else UNNOTICED


@pytest.mark.parametrize("count", [1, LONG])
def test_a_thread_that_ends_without_memory_never_ends_unnoticed(count):
    """Whichever allocation fails first, and for how long: the alarm rings, or the program ends."""
    pytest.importorskip("_testcapi")
    children = []
    for at in range(0, 50, 5):
        child = os.fork()
        if not child:
            faulthandler.disable()
            logging.disable()
            with contextlib.suppress(MemoryError):  # who waits for the thread has no more of it
                os._exit(end_a_thread(at, count))
            os._exit(1)
        children.append(child)
    outcomes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    assert outcomes <= {NOTICED, 1, -6, -11}
    assert NOTICED in outcomes or count == LONG
