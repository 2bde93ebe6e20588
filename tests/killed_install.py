"""Installs a model, starts, confirms, rolls back; killed around each durable step in turn.

``python killed_install.py CONFIG BUNDLE FOLDER`` prints one JSON object a kill: what step it was,
which version ran after the next start, and what was wrong then (empty: nothing).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from edge.clock import SystemClock
from edge.config import load_config
from edge.errors import WheatearError
from edge.models.choice import open_current
from edge.models.install import bring, install, roll_back
from edge.models.load import load_bundle
from edge.models.store import Store

CLOCK = SystemClock()


def main() -> None:
    """Kill at step after step until a run comes to its end."""
    config, bundle, folder = map(Path, sys.argv[1:])
    model = load_config(config).model
    for number in range(1000):
        shutil.rmtree(folder, ignore_errors=True)
        store = Store(folder)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            kill_at(number, writing)
            live(store, model, bundle)
            os._exit(0)
        os.close(writing)
        step = os.read(reading, 200).decode()
        os.close(reading)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return
        sys.stdout.write(json.dumps({"step": step, **look(store, model)}) + "\n")
        sys.stdout.flush()


def kill_at(number: int, told: int) -> None:
    """Have the process kill itself before (even) or after (odd) its durable step `number` // 2."""
    count = 0

    def wrapped(name: str, real):
        def step(*arguments, **options):
            nonlocal count
            at, count = 2 * count, count + 1
            die(at, f"before {name} {arguments[0]}")
            result = real(*arguments, **options)
            die(at + 1, f"after {name} {arguments[0]}")
            return result

        return step

    def die(at: int, what: str) -> None:
        if at == number:
            os.write(told, what[-200:].encode())
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, wrapped(name, getattr(os, name)))


def live(store: Store, model, bundle: Path) -> None:
    """Install, start on probation, be confirmed, go back."""
    with store.installing():
        with bundle.open("rb") as opened:
            copied = bring(store, opened)
        install(store, model, copied)
    start(store, model)
    store.change(lambda record: msgspec.structs.replace(record, probation=None))
    start(store, model)
    roll_back(store, "a test", CLOCK.now())


def start(store: Store, model) -> str:
    """Give the version that a start takes, after it has classified."""
    load = lambda path: load_bundle(path, model)  # noqa: E731 - proved by its golden pictures
    classifier, _ = open_current(store, model, load, CLOCK)
    with classifier:
        return classifier.model_info.version


def look(store: Store, model) -> dict:
    """Start after the power came back, and hold the record against the folder."""
    try:
        version = start(store, model)
        with store.installing():
            store.prune()
        record = store.read()
    except (WheatearError, OSError) as error:
        return {"version": "", "wrong": repr(error)}
    files = {file.name for file in store.bundles.iterdir()}
    wrong = ""
    if files != {f"{one}.wtr" for one in record.models}:
        wrong = f"{files} are there, {list(record.models)} are known"
    expected = "1" if record.current is None else record.models[record.current].version
    return {"version": version, "wrong": wrong or ("" if version == expected else "another runs")}


if __name__ == "__main__":
    main()
