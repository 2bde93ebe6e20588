"""A thread ends by an error while allocations fail; says of each child whether that was noticed.

Run as a program of its own, never by pytest: a child that fails must end here.
``python memoryless_thread.py COUNT`` prints the exit statuses of its children as JSON.
"""

from __future__ import annotations

import _testcapi
import faulthandler
import json
import logging
import os
import sys
import threading

from edge.system.counters import Counters

NOTICED, UNNOTICED, FAILED = 3, 4, 5


def end_a_thread(at: int, count: int) -> int:
    """Let `count` allocations fail from the `at`-th on, in a thread that ends by an error."""
    counters, rang = Counters(), threading.Event()
    counters.crew.alarm(rang.set)
    error = ValueError("a bug")

    def loop() -> None:
        _testcapi.set_nomemory(at, at + count)
        raise error

    thread = counters.crew.worker("scout", loop, lambda: False)
    while True:
        try:  # who starts the thread, and waits for it, has no memory either
            if thread.ident is None:
                thread.start()
            thread.join(0.1)
            if not thread.is_alive():
                break
        except Exception:  # MemoryError, or ours of it
            continue
    _testcapi.remove_mem_hooks()
    return NOTICED if rang.is_set() and counters.crew.ended else UNNOTICED


def main(count: int) -> None:
    """Try it for allocations from the first to the fiftieth."""
    children = []
    for at in range(0, 50, 5):
        child = os.fork()
        if not child:
            status = FAILED
            try:
                faulthandler.disable()
                logging.disable()
                status = end_a_thread(at, count)
            finally:
                os._exit(status)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.stdout.write(json.dumps(statuses))


if __name__ == "__main__":
    main(int(sys.argv[1]))
