"""What ``inbox`` and ``inbox-labels`` do on the terminal."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge.config import Broker, parse_broker
from edge.config.explain import as_options
from edge.errors import ConfigError, DataError
from edge.system.files import write_whole
from training.commands.asked import Login
from training.inbox.collect import Collector
from training.inbox.page import render
from training.inbox.store import Record, Store
from training.inbox.tables import interface, read_annotations, tasks, write_labels

_OPTIONS = {
    "broker.host": "the address",
    "broker.port": "the port",
    "broker.username": "--username",
    "broker.password_file": "--password-file",
    "broker.password_env": "--password-env",
    "broker.tls": "mqtts://",
    "broker.tls.ca": "--ca",
    "broker.tls.certificate": "--certificate",
    "broker.base_topic": "--base-topic",
}


def inbox(
    address: str,
    out: Path,
    login: Login,
    seconds: float | None,
    once: bool,
    image_prefix: str,
) -> None:
    """Collect until told to stop, then write what a person labels with."""
    console = Console(highlight=False, soft_wrap=True)
    broker = broker_from(address, login)
    store = Store(out)
    before = len(store)
    with _stoppable() as stop, _shown(console) as show:
        collector = Collector(
            broker,
            store,
            _client_id(out),
            saw=lambda record: show(record, len(store) - before),
            say=lambda text: console.print(text, style="yellow", markup=False),
        )
        try:
            with as_options(_OPTIONS):
                collector.run(stop, seconds, once)
        finally:
            labelled = write(store, image_prefix)
    if not collector.resumed:
        console.print(
            "This was the first visit. From now on the broker keeps what comes while nobody "
            f"collects, for {out} (mosquitto: up to max_queued_messages).",
            markup=False,
        )
    _summary(console, store, len(store) - before, labelled)


def inbox_labels(out: Path, export: Path, image_prefix: str) -> None:
    """Take the labels of Label Studio's export into labels.csv."""
    console = Console(highlight=False, soft_wrap=True)
    if not (out / "meta").is_dir():
        raise DataError(f"{out}: not a folder that `inbox` filled (it holds no folder meta)")
    store = Store(out)
    given = read_annotations(export)
    known = {record.file for record in store.records}
    ours = {file: label for file, label in given.items() if file in known}
    if given and not ours:
        raise DataError(
            f"{export}: its {len(given)} labels are of other pictures than those in {out}, as "
            f"{next(iter(given))}; check the folder and --image-prefix"
        )
    labelled = write(store, image_prefix, ours)
    console.print(
        f"{out / 'labels.csv'}: {len(ours)} labels taken from {export}, {labelled} of "
        f"{len(store)} pictures are labelled"
        + (f"; {len(given) - len(ours)} are of other pictures" if len(given) > len(ours) else ""),
        markup=False,
    )


def write(store: Store, image_prefix: str, given: Mapping[str, str] | None = None) -> int:
    """Write the CSV, Label Studio's files and the page; give how many rows have a label."""
    records, root = store.records, store.root
    labelled = write_labels(root / "labels.csv", records, given or {})
    classes = dict.fromkeys(name for r in records for name in sorted(r.item.probabilities))
    text = json.dumps(tasks(records, image_prefix), indent=1, ensure_ascii=False) + "\n"
    write_whole(root / "label-studio.json", text.encode())
    write_whole(root / "label-studio.xml", interface(sorted(classes)).encode())
    write_whole(root / "index.html", render(records).encode())
    return labelled


def broker_from(address: str, login: Login) -> Broker:
    """The broker at ``host``, ``host:port``, ``mqtt://host`` or ``mqtts://host`` (TLS).

    Raises:
        ConfigError: no such address, or a setting is out of range.
    """
    files = {name: getattr(login, name) for name in ("ca", "certificate", "key")}
    tls = {name: str(path.absolute()) for name, path in files.items() if path is not None}
    whole = urlsplit(address if "//" in address else f"mqtt://{address}")
    try:
        host, port = whole.hostname, whole.port
    except ValueError as error:
        raise ConfigError(f"{address}: {error}; give host:port") from error
    if whole.scheme not in ("mqtt", "mqtts") or not host or whole.path.strip("/"):
        raise ConfigError(
            f"{address}: not a broker's address; give host, host:port or mqtts://host:port"
        )
    if whole.password:
        raise ConfigError("a password in the address ends up in lists of processes; see --help")
    if tls and whole.scheme == "mqtt" and "//" in address:
        raise ConfigError(f"{address} says no TLS, --ca and --certificate say TLS; use mqtts://")
    raw: dict[str, object] = {"host": host, "base_topic": login.base_topic}
    for name in ("username", "password_file", "password_env"):
        raw |= {} if (value := getattr(login, name)) is None else {name: str(value)}
    raw |= {"port": port} if port is not None else {}
    raw |= {"username": whole.username} if whole.username else {}
    if tls or whole.scheme == "mqtts":
        raw["tls"] = tls
    return parse_broker(raw)


def _client_id(out: Path) -> str:
    """The name of this folder's session at the broker, the same every time."""
    path = out / "inbox.json"
    try:
        return str(msgspec.json.decode(path.read_bytes(), type=dict[str, str])["client_id"])
    except FileNotFoundError:
        name = f"wheatear-inbox-{secrets.token_hex(6)}"
        write_whole(path, msgspec.json.encode({"client_id": name}) + b"\n")
        return name
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: {error!r}; remove it to begin a new session") from error


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM end the collecting in good order; a second one ends it at once."""
    stop = threading.Event()

    def asked(number: int, _frame: object) -> None:
        if stop.is_set():
            signal.default_int_handler(number, None)
        stop.set()

    before = {n: signal.signal(n, asked) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Record, int], None]]:
    """What the terminal shows while it goes on: which picture came last, and how many are new."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("waiting for pictures", total=None)

        def show(record: Record, count: int) -> None:
            item = record.item
            last = f"{item.device} {item.kept} {record.proposal} {item.confidence:.0%}"
            bars.update(task, description=f"{count} new; last {last}")

        yield show


def _summary(console: Console, store: Store, new: int, labelled: int) -> None:
    counts = Counter((r.item.device, r.item.kept) for r in store.records)
    reasons = sorted({kept for _, kept in counts})
    table = Table("camera", *reasons, show_edge=False)
    for device in sorted({device for device, _ in counts}):
        table.add_row(device, *(str(counts[device, kept]) for kept in reasons))
    if counts:
        console.print(table)
    console.print(
        f"{new} new, {len(store)} in all, {labelled} labelled: {store.root / 'labels.csv'}, "
        f"{store.root / 'label-studio.json'}, {store.root / 'index.html'}",
        markup=False,
    )
