"""``wheatear check``: tries every part of a configuration and says what cures what fails."""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from edge.cameras import open_camera
from edge.cameras.triggers import open_schedule
from edge.cameras.triggers.duty import outlook
from edge.commands.console import Console
from edge.config import Broker, Config, load_config
from edge.device.config_changes import ChangedConfiguration
from edge.errors import ConfigError, OutboxError, PublishError, StateError, WheatearError
from edge.feedback.feedback import inbox_folder
from edge.model.image.preprocessing import InputSpec
from edge.model.missing_labels import by_decision
from edge.model.tiled_classifier import Plan
from edge.model.tiles import in_parts
from edge.mqtt.addresses import addresses
from edge.mqtt.connection import Connection
from edge.mqtt.connection_errors import unreachable
from edge.mqtt.dial import connect
from edge.mqtt.tls import tls_context
from edge.mqtt.wire import Will
from edge.outbox.inspection import waiting
from edge.system.clock import SystemClock, describe
from edge.system.gps import ask
from edge.system.identity import device_id
from edge.system.place import place
from edge.system.service_user import become_owner
from edge.system.state_lock import holder, is_held
from edge.system.volatile_storage import storage
from edge.updates.load import load_bundle, open_classifier
from edge.updates.record import read as read_record
from edge.updates.server_access import Access
from edge.updates.startup import current_path
from edge.updates.store import RECORD

_ANY_SIZE = InputSpec(width=224, height=224)
"""For the camera, where the model cannot be loaded."""


class Steps:
    """Runs steps and says how each went."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.failed = 0

    def step(self, name: str, action: Callable[[], str]) -> bool:
        """Run one step, whether it went well; `action` gives a word on what was found."""
        started = time.perf_counter()
        try:
            found = action()
        except Exception as error:  # what nobody thought of is found by other steps, too
            self.failed += 1
            known = isinstance(error, WheatearError | OSError)
            self._say(f"{name:<20} FAILED  {'' if known else type(error).__name__ + ': '}{error}")
            return False
        self._say(f"{name:<20} ok      {found} ({(time.perf_counter() - started) * 1e3:.0f} ms)")
        return True


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Check everything; 0 where all is well, 1 where anything failed."""
    steps = Steps(console.out)
    configs: list[Config] = []

    def read() -> str:
        configuration = ChangedConfiguration(arguments.config)
        configs.append(configuration.peek())
        changed = configuration.changed()
        found = f"{arguments.config}, device {device_id(configs[0])}"
        return f"{found}; changed from afar: {changed}" if changed else found

    if user := _as_its_user(arguments.config, console):
        steps.step("program", lambda: readable(user, (sys.executable, os.__file__, __file__)))
    if steps.step("config", read):
        check(configs[0], steps)
    console.out("all is well" if not steps.failed else f"{steps.failed} failed")
    return 1 if steps.failed else 0


def _as_its_user(file: Path, console: Console) -> str | None:
    """Go on as the user who runs the device, where root asks; a bad file is told by its step."""
    with contextlib.suppress(WheatearError):
        if user := become_owner(load_config(file).outbox.path.parent):
            console.out(f"as user {user}, who owns the device's state")
            return user
    return None


def readable(user: str, files: Iterable[str]) -> str:
    """See that `user`, who runs this, can read the files of the program. Raises StateError."""
    for file in files:
        if not os.access(file, os.R_OK):
            raise StateError(
                f"user {user} cannot read {file}, so no device can run as that user; make the "
                "environment again where it can, with a Python that it can read"
            )
    return f"can be read by {user}"


def check(config: Config, steps: Steps) -> None:
    """Check model, camera, outbox and broker; a failure in one leaves the others to be checked."""
    specs, store = [_ANY_SIZE], config.model.store
    steps.step("model", lambda: _model(config, specs))
    steps.step("camera", lambda: _camera(config, specs[-1]))
    if config.trigger.windows:
        schedule = open_schedule(config, lambda: place(config))
        steps.step("windows", lambda: outlook(schedule, SystemClock()))
    steps.step("outbox", lambda: _outbox(config))
    if (
        store is not None
        and steps.step("models", lambda: _store(store, config))
        and current_path(config.model) != config.model.bundle
    ):
        steps.step("factory model", lambda: _last_resort(config))
    if wake := config.trigger.wake_file:
        steps.step("wake file", lambda: _file(wake))
    if prometheus := config.report.prometheus_file:
        steps.step("prometheus file", lambda: _file(prometheus))
    steps.step("clock", lambda: describe(SystemClock()))
    if config.gps.enabled:
        steps.step("gps", lambda: ask(config.gps))
    if config.inbox.keep:
        steps.step("inbox", lambda: _inbox(config))
    if config.requests.allow:
        steps.step("requests", lambda: _requests(config))
    _broker(config, steps)


def _model(config: Config, specs: list[InputSpec]) -> str:
    with open_classifier(config) as classifier:
        specs.append(classifier.input)
        model = classifier.model_info
        if problem := by_decision(config.decision, classifier.labels):
            raise ConfigError(problem)
        proved = "reproduces its golden pictures" if config.model.bundle else "no self-test"
        proved = proved if config.model.self_test else "self-test is switched off"
        return (
            f"{model.name} {model.version}".strip()
            + f", {len(classifier.labels)} labels, on {model.runtime} {model.runtime_version}, "
            + proved
        )


def _camera(config: Config, spec: InputSpec) -> str:
    camera = open_camera(config.camera, spec, config.view, config.trigger.time_zone)
    try:
        frame = camera.capture()
    finally:
        camera.close()
    if frame is None:
        return "no frame"
    found = f"{frame.source}, {frame.width} x {frame.height} pixels"
    if in_parts(config.view):
        size = (frame.width, frame.height)
        found += f", looked at in {len(Plan(config.view).cuts(size, size))} parts"
    return found


def _outbox(config: Config) -> str:
    """Look into the outbox, if there is one, and see that its folder takes files and keeps them."""
    path = config.outbox.path
    count, free = waiting(path), _free(path.parent)
    if lost := storage(path.parent).fleeting:
        raise OutboxError(lost)
    held = f", in use by {holder(path.parent)}" if is_held(path.parent) else ""
    return f"{path}, {count} waiting, {free / 1e9:.1f} GB free{held}"


def _store(folder: Path, config: Config) -> str:
    """Read which model is the current one, see that the folder takes a file, and that secrets for
    web servers can be read.
    """
    Access(config.model.update)
    record = read_record(folder / RECORD)
    _free(folder)
    return f"{folder}, {len(record.models)} in it; {record.current or 'the factory model'} is used"


def _last_resort(config: Config) -> str:
    """See that the bundle of the configuration could be loaded, should no other do."""
    assert config.model.bundle is not None  # held by the configuration
    with load_bundle(config.model.bundle, config.model) as classifier:
        model = classifier.model_info
        return f"model.bundle, {model.name} {model.version}"


def _file(path: Path) -> str:
    """See that the folder of a file that others read is there (nobody makes it) and takes one."""
    _free(path.parent)
    if not path.parent.exists():
        raise StateError(f"there is no folder {path.parent}; make it, or name another")
    return str(path)


def _inbox(config: Config) -> str:
    """See that the folder of pictures to learn from takes a file, with room for sightings left."""
    folder, least = inbox_folder(config), config.inbox.min_free_bytes
    free = _free(folder)
    if free < least:
        raise OutboxError(
            f"{folder}: {free / 1e9:.1f} GB free, inbox.min_free_bytes asks for {least / 1e9:.1f}; "
            "no picture would be kept. Make room, or lower it"
        )
    return f"{folder}, {'thumbnails are sent' if config.inbox.send else 'nothing is sent'}"


def _requests(config: Config) -> str:
    """Read the token, and say what the device can be asked for."""
    guard = (
        "with a token" if config.requests.token() else "from everybody whom the broker lets publish"
    )
    return f"{', '.join(config.requests.allow)}; {guard}"


def _free(folder: Path) -> int:
    """See that files can be made in a folder, or where it would be made; give the bytes that are
    free there. Nothing is written.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = os.statvfs(folder)
    if disk.f_flag & os.ST_RDONLY:
        raise StateError(f"cannot write to {folder}: it lies on a read-only file system")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise StateError(
            f"cannot write to {folder} as user {_user()}; give this user the right to (chown, "
            "chmod), or name another folder"
        )
    return disk.f_bavail * disk.f_frsize


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _broker(config: Config, steps: Steps) -> None:
    """Connect, step by step; what needs a step that failed is left out."""
    broker, plain, opened = config.broker, list[socket.socket](), list[Connection]()
    with contextlib.ExitStack() as stack:
        reached = (
            steps.step("broker name", lambda: _resolve(broker))
            and steps.step("broker TCP", lambda: _reach(broker, plain, stack))
            and (
                broker.tls is None
                or steps.step("broker TLS", lambda: _encrypt(broker, plain[0], stack))
            )
        )
        stack.close()  # the connection itself is made anew
        if not (reached and steps.step("broker connect", lambda: _connect(config, opened, stack))):
            return
        if config.requests.allow and not steps.step(
            "broker subscription", lambda: _subscribe(config, opened[0])
        ):
            return
        steps.step("broker acknowledges", lambda: _publish(config, opened[0]))


def _resolve(broker: Broker) -> str:
    host, port = broker.address
    return f"{host} is {', '.join(addresses(host, port))}"


def _reach(broker: Broker, opened: list[socket.socket], stack: contextlib.ExitStack) -> str:
    address = "{}:{}".format(*broker.address)
    try:
        opened.append(
            stack.enter_context(
                socket.create_connection(broker.address, timeout=broker.timeout_seconds)
            )
        )
    except OSError as error:
        raise PublishError(unreachable(address, error)) from error
    return address


def _encrypt(broker: Broker, sock: socket.socket, stack: contextlib.ExitStack) -> str:
    assert broker.tls is not None
    try:
        wrapped = tls_context(broker.tls).wrap_socket(sock, server_hostname=broker.host)
    except (OSError, ssl.SSLError) as error:
        raise PublishError(unreachable("{}:{}".format(*broker.address), error)) from error
    stack.enter_context(wrapped)
    return f"{wrapped.version()}, {(wrapped.cipher() or ('?',))[0]}"


def _connect(config: Config, opened: list[Connection], stack: contextlib.ExitStack) -> str:
    """Connect under a name of its own, so that a running device keeps its connection."""
    will = Will(f"{config.broker.base_topic}/{device_id(config)}/check", b"", retain=False)
    opened.append(
        stack.enter_context(connect(config.broker, f"wheatear-check-{device_id(config)}", will))
    )
    note = "" if opened[0].protocol == "5" else " (a denied publish goes unnoticed)"
    return f"MQTT {opened[0].protocol}{note}"


def _subscribe(config: Config, connection: Connection) -> str:
    base = f"{config.broker.base_topic}/{device_id(config)}/request"
    wanted = [f"{base}/#"]
    if not connection.limits.wildcards:
        wanted = [f"{base}/{verb}" for verb in config.requests.allow]
    topics = ", ".join(wanted)
    deadline = time.monotonic() + config.broker.timeout_seconds
    connection.accepted(connection.subscribe(wanted), f"the subscription to {topics}", deadline)
    return topics


def _publish(config: Config, connection: Connection) -> str:
    topic = f"{config.broker.base_topic}/{device_id(config)}/check"
    deadline = time.monotonic() + config.broker.timeout_seconds
    connection.accepted(connection.publish(topic, b"check", qos=1), topic, deadline)
    connection.disconnect()
    return topic
