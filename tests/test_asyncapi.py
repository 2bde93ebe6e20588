"""The AsyncAPI document: held to the code, sound in itself, and true of what a device sends."""

from __future__ import annotations

import json
import re
import subprocess
import typing
from datetime import datetime
from pathlib import Path
from typing import Any

import devices
import pytest
from brokers import Mosquitto, Subscriber
from patience import PATIENCE

from edge.messages import payloads
from edge.messages.asyncapi import document, draft_07
from edge.messages.requests import VERBS, VerbName

jsonschema = pytest.importorskip("jsonschema")

DOCS = Path(__file__).parents[1] / "docs" / "asyncapi.json"
MORE: dict[str, dict[str, object]] = {
    "config/set": {"revision": "as it is", "changes": {"report.health_seconds": 60}},
    "inbox/get": {"id": "0" * 16},
    "log": {"lines": 5, "level": "warning"},
    "model/chunk": {"sha256": "0" * 64, "size": 9},
    "model/install": {"sha256": "0" * 64},
    "outbox/discard": {"ids": ["none"]},
    "outbox/release": {"all": True},
}
"""What verbs are asked with."""
REQUESTS = {
    verb: json.dumps({"transaction": "1", **MORE.get(verb, {})}).encode()
    for verb in VERBS
    if verb != "restart"  # which would end the program
}
FORMATS = jsonschema.FormatChecker()
EVERYTHING = f"""
[images]
send = true
[inbox]
keep = true
send = true
random_share = 1.0
spacing_seconds = 0.0
min_free_bytes = 0
[requests]
allow = {json.dumps([*VERBS])}
unnumbered = true
[homeassistant]
enabled = true
[device.location]
lat = 23.81
lon = 90.41
"""


@FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def _time(text: object) -> bool:
    """Hold times to RFC 3339; jsonschema by itself does not look at them."""
    return not isinstance(text, str) or (
        bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text))
        and datetime.fromisoformat(text) is not None
    )


class Document:
    """The document as a program reads it: from the topic of a message to its schema."""

    def __init__(self) -> None:
        self.tree = document()
        self.channels = self.tree["channels"]

    def resolve(self, reference: str) -> dict[str, Any]:
        """Follow ``#/a/b``."""
        found = self.tree
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return found

    def channel(self, topic: str) -> str:
        """The one channel whose address a topic matches."""
        values = {"base": "wheatear", "prefix": "homeassistant", "verb": "[a-z]+(/[a-z]+)?"}
        found = []
        for key, channel in self.channels.items():
            pattern = re.sub(
                r"{(\w+)}", lambda m: values.get(m[1], "[A-Za-z0-9_.-]+"), channel["address"]
            )
            found += [key] if re.fullmatch(pattern, topic) else []
        assert len(found) == 1, f"{topic} is {found or 'in no channel'}"
        return found[0]

    def message(self, key: str, verb: str = "") -> dict[str, Any]:
        """The message of a channel; of requests and answers, that of their verb."""
        messages = self.channels[key]["messages"]
        name = f"{key.partition('_')[0]}_{verb.replace('/', '_')}" if verb else next(iter(messages))
        return self.resolve(messages[name]["$ref"])

    def validate(self, key: str, payload: bytes, topic: str = "") -> None:
        """Hold a payload to the schema of a channel."""
        by_verb = key in ("request_verb", "response_verb")
        message = self.message(key, topic.split("/", 3)[3] if by_verb else "")
        kind = message.get("contentType", self.tree["defaultContentType"])
        if kind == "image/jpeg":
            assert payload[:3] == b"\xff\xd8\xff"
            return
        value = payload.decode() if kind == "text/plain" else json.loads(payload)
        schema = message["payload"] | {"components": self.tree["components"]}
        if "$ref" in schema:  # of which draft 07 reads no neighbour
            schema = self.resolve(schema["$ref"]) | {"components": self.tree["components"]}
        jsonschema.Draft7Validator(schema, format_checker=FORMATS).validate(value)


def test_the_document_is_up_to_date():
    """docs/asyncapi.json is what `wheatear schema --asyncapi` prints."""
    if not DOCS.exists():
        pytest.skip("the documentation does not travel with the wheel")
    assert DOCS.read_text("utf-8") == json.dumps(document(), indent=2) + "\n"


def test_references_lead_somewhere_and_examples_hold():
    """Every reference resolves; every example satisfies its schema; every channel is used."""
    found = Document()
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(found.tree))
    for reference in references:
        found.resolve(reference)
    for key in found.channels:
        assert f"#/channels/{key}" in references
        if not key.endswith("_verb"):
            for example in found.message(key).get("examples", ()):
                found.validate(key, json.dumps(example["payload"]).encode())


def test_requests_are_received_and_answered():
    """Seen from the device: it receives requests, and each names the channel of its answer."""
    operations = document()["operations"]
    asked = {key for key, one in operations.items() if one["action"] == "receive"}
    assert asked == {key for key in operations if key.startswith("request_")}
    assert {"request_capture", "request_config_set", "request_model_install"} <= asked
    for key in asked:
        assert operations[key]["reply"]["channel"]["$ref"].startswith("#/channels/response")


def test_every_verb_that_can_be_allowed_is_in_the_table():
    """The names that a configuration may list, and what is known of each."""
    assert sorted(VERBS) == sorted(typing.get_args(VerbName))


def test_schemas_speak_of_no_module_and_of_nothing_that_python_alone_reads():
    """Each is named after its struct; patterns mean the same to those who read ECMA-262."""
    tree = document()
    told = json.dumps([tree, payloads.schemas()])
    for name in tree["components"]["schemas"]:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), name
    assert not re.search(r"\b(edge|training|quantize)\.[a-z_]+", told)
    assert not re.search(r":(mod|class|meth|func|data):", told)
    patterns = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', told)
    assert patterns
    for pattern in map(json.loads, patterns):
        assert not re.search(r"\\[AZz]|\(\?[P<#i]", pattern), pattern
        assert not re.search(pattern, "0" * 64 + "\n"), pattern
        assert not re.search(pattern, "0" * 16 + "\n"), pattern


def test_tuples_are_written_as_draft_07_has_them():
    """A list of four numbers refuses three, five and words, under draft 07 as under 2020-12."""
    new = {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "items": False,
    }
    old = draft_07(new)
    for value in ([1, "a"], [1], [1, 2], ["a", "a"], [1, "a", "b"]):
        expected = jsonschema.Draft202012Validator(new).is_valid(value)
        assert jsonschema.Draft7Validator(old).is_valid(value) == expected, value


def test_everything_a_running_device_sends_is_as_documented(tmp_path):
    """Each message of a run, on whatever topic, satisfies its schema, QoS and retention."""
    devices.photos(tmp_path / "photos", 10)
    found = Document()
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        camera = "frames_per_second = 4.0\nloop = true"
        path = devices.config(tmp_path, broker.port, EVERYTHING, camera)
        path.write_text(path.read_text().replace("[report]", "[report]\nhealth_seconds = 1"))
        with_store(path)
        process = devices.start("run", "--config", str(path))
        assert subscriber.wait(lambda _: subscriber.on("/sighting"))
        for verb, request in REQUESTS.items():
            subscriber.publish(f"wheatear/cam-1/request/{verb}", request)
        for verb in REQUESTS:
            assert subscriber.wait(lambda _, v=verb: subscriber.on(f"/response/{v}")), verb
        everything = set(found.channels)
        await_channels(found, subscriber, everything - {"check"})
        process.terminate()
        end(process)
        end(devices.start("check", "--config", str(path)))
        await_channels(found, subscriber, everything)
    verbs = found.channels["request_verb"]["parameters"]["verb"]["enum"]
    assert sorted(json.loads(subscriber.on("/info")[-1])["requests"]) == sorted(verbs)
    operations = found.tree["operations"]
    for message in subscriber.messages:
        found.validate(found.channel(message.topic), bytes(message.payload), message.topic)
        key = found.channel(message.topic)
        if key in operations:  # an answer belongs to the operation of its request
            assert message.qos == operations[key]["bindings"]["mqtt"]["qos"], message.topic


def test_what_is_retained_is_what_a_newcomer_gets(tmp_path):
    """After a run, a new subscriber gets the channels that say so, and no other."""
    devices.photos(tmp_path / "photos", 2)
    found = Document()
    operations = found.tree["operations"]
    expected = {key for key, one in operations.items() if one["bindings"]["mqtt"]["retain"]}
    with Mosquitto(tmp_path) as broker:
        path = with_store(devices.config(tmp_path, broker.port, EVERYTHING))
        end(devices.start("run", "--once", "--config", str(path)))
        with Subscriber(broker.port) as newcomer:
            assert newcomer.wait(lambda _: seen(found, newcomer) >= expected)
            assert all(one.retain for one in newcomer.messages)
            assert seen(found, newcomer) == expected


def with_store(path: Path) -> Path:
    """Have a configuration keep models that come later."""
    path.write_text(path.read_text().replace("[model]", '[model]\nstore = "models"'))
    return path


def end(process: subprocess.Popen[str]) -> None:
    """Wait until a program has ended well."""
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told


def seen(found: Document, subscriber: Subscriber) -> set[str]:
    """The channels on which something came."""
    return {found.channel(message.topic) for message in list(subscriber.messages)}


def await_channels(found: Document, subscriber: Subscriber, expected: set[str]) -> None:
    """Wait until something came on all of these channels."""
    came = subscriber.wait(lambda _: seen(found, subscriber) >= expected)
    assert came, expected - seen(found, subscriber)
