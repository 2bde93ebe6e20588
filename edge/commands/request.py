"""``wheatear request``: asks a device over MQTT, and prints its answer."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import msgspec

from edge.commands.console import Console
from edge.config import Broker, Tls
from edge.config.explain import as_options
from edge.errors import ConfigError, PublishError, RequestError
from edge.messages.base import new_id
from edge.messages.requests import VERBS, read_params, unknown_verb
from edge.mqtt.connection import Connection
from edge.mqtt.dial import connect
from edge.text.encodings import read_text
from edge.text.json_text import from_json
from edge.text.printable import encoded

_EXACT_DIGITS = 15
"""So many a number of JSON may have and be the same everywhere; a revision has one more."""
_REPEAT_SECONDS = 1.0
"""After which it is published again, then after twice as long: a device that is just connecting
misses what was published before it subscribed."""

_OPTIONS = {
    "broker.host": "--broker",
    "broker.port": "--broker",
    "broker.username": "--username",
    "broker.password_file": "--password-file",
    "broker.tls": "--tls",
    "broker.tls.ca": "--ca",
    "broker.base_topic": "--base",
    "device.id": "DEVICE",
}

_PARTS = {"base": "--base", "device": "DEVICE", "verb": "VERB"}
"""What makes the topic of a request, as a person types it."""


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Ask and print the answer as JSON; 0 where it was carried out, 1 where not.

    Raises:
        ConfigError: an option cannot be used.
        RequestError: there is no such verb, or it does not take that.
        PublishError: the broker cannot be reached, or no answer came in time.
    """
    request: dict[str, Any] = {"transaction": arguments.transaction or new_id()}
    request |= dict(map(parameter_of, arguments.parameters))
    if arguments.token_file:
        request["token"] = _read(arguments.token_file, "--token-file").split("\n", 1)[0]
    for what in ("base", "device", "verb"):
        _check_topic(_PARTS[what], getattr(arguments, what))
    if not arguments.unchecked:
        _check(arguments.verb, request)
    base = f"{arguments.base}/{arguments.device}"
    with as_options(_OPTIONS):
        answer = ask(_broker(arguments), base, arguments.verb, request, arguments.timeout)
    console.out(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0 if answer.get("status") == "ok" else 1


def ask(
    broker: Broker, base: str, verb: str, request: dict[str, Any], timeout_seconds: float
) -> dict[str, Any]:
    """Publish a request below `base` (``wheatear/<device>``) and give the answer.

    It is repeated under the same transaction while none comes: the device carries it out once.
    Where `request` has no `sent`, it is the time here; where that is behind the clock of one that
    asked before, it is raised to what the device names.

    Raises:
        PublishError: the broker cannot be reached or denies it, or no answer came in time.
        ConfigError: the password or a TLS file cannot be read.
        RequestError: the request is larger than the broker takes.
    """
    request = {"sent": int(time.time() * 1000), **request}
    topic, payload = f"{base}/request/{verb}", encoded(request)
    deadline = time.monotonic() + timeout_seconds
    with connect(broker, f"wheatear-request-{new_id()}", None) as connection:
        if not connection.limits.fits(topic, payload):
            raise RequestError(
                f"{len(payload)} bytes are more than the broker's limit of "
                f"{connection.limits.maximum_packet_size}"
            )
        wanted = [f"{base}/response/#"]
        if not connection.limits.wildcards:
            wanted = [f"{base}/response/{verb}", f"{base}/response/unknown"]
        connection.accepted(connection.subscribe(wanted), wanted[0], deadline)
        pause, times = _REPEAT_SECONDS, 0
        while time.monotonic() < deadline:
            connection.accepted(connection.publish(topic, payload, 1), topic, deadline)
            until = min(deadline, time.monotonic() + pause)
            pause *= 2
            times += 1
            if answer := _answer(connection, request["transaction"], until):
                after = (answer.get("error") or {}).get("after")
                # Sent twice, the first may have been carried out and forgotten.
                if times == 1 and isinstance(after, int):
                    request = {**request, "sent": after + 1}
                    payload, pause = encoded(request), _REPEAT_SECONDS
                    continue
                connection.disconnect()
                return answer
    raise PublishError(
        f"no answer from {base} within {timeout_seconds:g} s; is the device connected "
        f"({base}/availability), and does the broker let it read {base}/request/#?"
    )


def _answer(connection: Connection, transaction: str, until: float) -> dict[str, Any] | None:
    while True:
        for message in connection.incoming():
            answer = _object(message.payload)
            if answer.get("transaction") == transaction:
                return answer
        if time.monotonic() >= until:
            return None
        connection.poll(max(0.0, min(0.2, until - time.monotonic())))


def _object(payload: bytes) -> dict[str, Any]:
    try:
        return from_json(payload, msgspec.json.Decoder(dict[str, Any]))
    except msgspec.DecodeError:
        return {}


def _check_topic(what: str, text: str) -> None:
    if not text or not text.isprintable() or set(text) & set("+# "):
        raise ConfigError(
            f"{what} {text!r} cannot be in a topic: it is empty, or has a blank, +, # or the like"
        )


def _check(verb: str, request: dict[str, Any]) -> None:
    """See that this program knows the verb, and that it takes what is given."""
    try:
        if verb not in VERBS:
            raise unknown_verb(verb, VERBS)
        read_params(VERBS[verb].takes, request)
    except RequestError as error:
        raise type(error)(
            f"{error}. A device with a newer program may know more; --unchecked asks all the same"
        ) from None


def _broker(arguments: argparse.Namespace) -> Broker:
    host, _, port = arguments.broker.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ConfigError(f"--broker {arguments.broker}: give HOST or HOST:PORT")
    return Broker(
        host=host,
        port=int(port) if port else None,
        username=arguments.username,
        password_file=arguments.password_file,
        tls=Tls(ca=arguments.ca) if arguments.tls or arguments.ca else None,
        timeout_seconds=arguments.timeout,
    )


def parameter_of(text: str) -> tuple[str, object]:
    """Read ``key=value``: the value is JSON, else text; ``@file`` gives a file's text.

    What only looks like a number, such as some revisions, is text.
    """
    key, found, value = text.partition("=")
    if not key or not found:
        raise ConfigError(f"{text!r} is not a parameter: give key=value")
    if value.startswith("@"):
        return key, _read(Path(value[1:]), key)
    return key, _json(value)


def _json(value: str) -> object:
    try:
        found: object = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(found, int | float) and len(value) > _EXACT_DIGITS else found


def _read(file: Path, what: str) -> str:
    try:
        return read_text(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: cannot read {file}: {error}") from error
