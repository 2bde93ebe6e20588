"""``wheatear model``: what a running device does by request, on the command line."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import BinaryIO

from edge.commands.console import Console
from edge.device.config_changes import ChangedConfiguration
from edge.errors import StoreError, WheatearError, os_errors_as
from edge.messages.updates import ModelEntry
from edge.system.clock import SystemClock
from edge.text.printable import encoded
from edge.updates.fetch import Source, fetch, forget
from edge.updates.install import bring, check_free, check_keys, factory, install, roll_back
from edge.updates.jobs import Jobs, cancel
from edge.updates.proof import Proof, ProofAnswer, Refusal, restrain, try_here
from edge.updates.record import read
from edge.updates.store import RECORD, bundle_path, open_store, store_folder
from edge.updates.upload import Upload

_NOTICED = "a running device takes it within seconds, one that does not run at its next start"

_CANCEL_SECONDS = 10.0


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out one action; 0 where it went well.

    Raises:
        WheatearError: it did not.
    """
    actions = {
        "list": _list,
        "install": _install,
        "cancel": _cancel,
        "rollback": _roll_back,
        "verify": _verify,
    }
    return actions[arguments.action](arguments, console)


def _list(arguments: argparse.Namespace, console: Console) -> int:
    config = ChangedConfiguration(arguments.config).peek()
    folder = store_folder(config)
    record = read(folder / RECORD)
    mark = {record.previous: "previous", record.current: "current"}
    if record.probation is not None:
        mark[record.current] = f"current, on probation (start {record.probation.starts})"
    first = factory(config.model)
    if first is not None:
        console.out(_line(first, mark.get(None, ""), "factory"))
    for id, entry in record.models.items():
        console.out(_line(entry, mark.get(id, ""), str(bundle_path(folder, id))))
    if (last := record.last) is not None:
        reason = f": {last.reason}" if last.reason else ""
        console.out(f"last update: {last.name} {last.version} {last.result}{reason}")
    return 0


def _line(entry: ModelEntry, mark: str, where: str) -> str:
    what = f"{entry.name} {entry.version}  {entry.sha256[:12]}  {entry.bytes} bytes"
    return "  ".join(part for part in (what, f"{len(entry.labels)} labels", mark, where) if part)


def _install(arguments: argparse.Namespace, console: Console) -> int:
    config = ChangedConfiguration(arguments.config).peek()
    source = arguments.source
    if source == "-":
        source = sys.stdin.readline().strip()
    with contextlib.ExitStack() as stack:
        here = None if "://" in source else stack.enter_context(_opened(Path(source)))
        store = open_store(config)
        stack.enter_context(store.installing())
        check_free(store)
        if here is None:
            check_keys(config.model)
            file = fetch(
                Source(url=source, sha256=arguments.sha256), store.incoming, config.model.update
            )
        else:
            file = bring(store, here)
        done = install(
            store,
            config.model,
            file,
            sha256=arguments.sha256,
            allow_downgrade=arguments.allow_downgrade,
        )
        forget(store.incoming)
    console.out(f"{done.id} is proved here and goes on probation; {_NOTICED}")
    for word, labels in (("new", done.labels_added), ("no more", done.labels_removed)):
        if labels:
            console.out(f"labels that are {word}: {', '.join(labels)}")
    return 0


def _opened(file: Path) -> BinaryIO:
    """Open a bundle while we still are who was asked: it may lie where the device's user cannot
    read. Raises StoreError.
    """
    with os_errors_as(StoreError, f"cannot read {file}"):
        return file.open("rb")


def _cancel(arguments: argparse.Namespace, console: Console) -> int:
    config = ChangedConfiguration(arguments.config).peek()
    store = open_store(config)
    upload = Upload(store.incoming, config.model.update.upload_seconds)
    done = cancel(store, Jobs(store), upload, SystemClock().now(), _CANCEL_SECONDS)
    if done.upload is not None:
        console.out(f"the upload {done.upload[:12]} is dropped")
    elif done.ended:
        console.out(f"update {done.update} is cancelled")
    else:
        console.out(f"update {done.update} ends as soon as the device comes to it")
    return 0


def _roll_back(arguments: argparse.Namespace, console: Console) -> int:
    config = ChangedConfiguration(arguments.config).peek()
    store = open_store(config)
    record = roll_back(store, "asked for on the device", SystemClock().now())
    console.out(f"back to {record.current or 'the factory model'}; {_NOTICED}")
    return 0


def _verify(arguments: argparse.Namespace, console: Console) -> int:
    runtime, threads, keys = arguments.runtime, arguments.threads, arguments.trusted_key
    if arguments.config is not None:
        model = ChangedConfiguration(arguments.config).peek().model
        runtime, threads, keys = model.runtime, model.threads, list(model.trusted_keys)
    if arguments.json or arguments.memory_bytes or arguments.seconds:
        restrain(arguments.memory_bytes, arguments.seconds)
    try:
        proof = try_here(arguments.file, runtime, threads, keys)
    except (WheatearError, MemoryError) as error:
        if not arguments.json:
            raise
        message = str(error) or f"more than {arguments.memory_bytes} bytes of memory"
        refusal = Refusal(kind=type(error).__name__, message=message)
        _print(console, ProofAnswer(refusal=refusal))
        return 1
    if arguments.json:
        _print(console, ProofAnswer(proof=proof))
    else:
        console.out(_told(proof))
    return 0


def _print(console: Console, verdict: ProofAnswer) -> None:
    console.out(encoded(verdict).decode())
    sys.stdout.flush()


def _told(proof: Proof) -> str:
    return (
        f"{proof.name} {proof.version}, {len(proof.labels)} labels, on {proof.runtime} "
        f"{proof.runtime_version}: {proof.goldens} golden pictures, at most "
        f"{proof.worst_difference:g} levels off"
    )
