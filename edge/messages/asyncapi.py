"""One AsyncAPI 3 document of everything that goes over MQTT, made from the table of topics.

``send`` and ``receive`` are seen from the device. Payload schemas are those of
:mod:`edge.messages.payloads`, written in JSON Schema draft 07, which is what AsyncAPI's own are.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from edge import __version__
from edge.messages.base import encode
from edge.messages.examples import EXAMPLES
from edge.messages.payloads import PAYLOADS
from edge.messages.requests import VERBS, Envelope
from edge.messages.topics import TOPICS, Topic

Object = dict[str, Any]

_BINDING = "0.2.0"
_CORRELATED: Object = {"correlationId": {"location": "$message.payload#/transaction"}}
_MORE: dict[str, Object] = {
    "availability": {"enum": ["online", "offline"]},
    "<prefix>/device/<name>/config": {"required": ["device", "origin", "components"]},
}
"""What else is known of payloads that have no struct, by the topic's suffix."""

_PARAMETERS: dict[str, Object] = {
    "base": {
        "description": "`broker.base_topic` of the configuration.",
        "default": "wheatear",
    },
    "prefix": {
        "description": "`homeassistant.discovery_prefix` of the configuration.",
        "default": "homeassistant",
    },
    "device": {"description": "`device.id` of the configuration."},
    "id": {"description": "The `id` of the message that this goes with."},
    "verb": {
        "description": "What is asked for; `requests.allow` lists what a device does.",
        "enum": list(VERBS),
    },
    "name": {"description": "The device's name within Home Assistant."},
}


def document() -> Object:
    """The document."""
    structs = {struct for verb in VERBS.values() for struct in (verb.takes, verb.gives) if struct}
    _, schemas = msgspec.json.schema_components(
        (*PAYLOADS, *sorted(structs, key=lambda one: one.__name__), Envelope),
        ref_template="#/components/schemas/{name}",
    )
    carried = schemas.pop(Envelope.__name__)
    messages = {_message_key(topic): _message(topic) for topic in TOPICS if not topic.by_verb}
    for name, verb in VERBS.items():
        messages[f"request_{_words(name)}"] = _request(carried, schemas[verb.takes.__name__])
        messages[f"response_{_words(name)}"] = _response(verb.gives)
    operations = {_key(topic): _operation(topic) for topic in TOPICS if not topic.by_verb}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wheatear",
            "version": __version__,
            "description": "A field camera that classifies on the spot. docs/topics.md has the "
            "rules of delivery: at least once, in order, de-duplicated by `id`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_key(topic): _channel(topic) for topic in TOPICS},
        "operations": operations | {f"request_{_words(verb)}": _asked(verb) for verb in VERBS},
        "components": {
            "messages": {key: {"name": key, **one} for key, one in messages.items()},
            "schemas": {name: draft_07(schema) for name, schema in schemas.items()},
        },
    }


def _request(carried: Object, params: Object) -> Object:
    """The message of a request: what every one carries, and what its verb takes."""
    payload = params | {
        "properties": carried["properties"] | params["properties"],
        "required": [*carried["required"], *params["required"]],
    }
    return {"payload": draft_07(payload), **_CORRELATED}


def _response(gives: type | None) -> Object:
    """The message of an answer, whose ``data`` is what its verb gives, or null."""
    data = {"$ref": f"#/components/schemas/{gives.__name__}"} if gives else {"type": "object"}
    response = {"$ref": "#/components/schemas/Response"}
    narrowed = {"properties": {"data": {"anyOf": [{"type": "null"}, data]}}}
    return {"payload": {"allOf": [response, narrowed]}, **_CORRELATED}


def _asked(verb: str) -> Object:
    """The operation of a request: the device receives and answers it."""
    asks = next(topic for topic in TOPICS if topic.asks)
    answers = next(topic for topic in TOPICS if topic.answers)
    words = _words(verb)

    def within(topic: Topic, message: str) -> Object:
        return {
            "channel": {"$ref": f"#/channels/{_key(topic)}"},
            "messages": [{"$ref": f"#/channels/{_key(topic)}/messages/{message}"}],
        }

    return {
        "action": "receive",
        **within(asks, f"request_{words}"),
        "summary": VERBS[verb].what,
        "bindings": {"mqtt": {"qos": asks.qos, "retain": False, "bindingVersion": _BINDING}},
        "reply": within(answers, f"response_{words}"),
    }


def _key(topic: Topic) -> str:
    """The name of a channel and its operation: ``sighting_id_image``."""
    return re.sub(r"[^a-z]+", "_", topic.suffix.lower()).strip("_")


def _words(verb: str) -> str:
    return verb.replace("/", "_")


def _channel(topic: Topic) -> Object:
    address = re.sub(r"<(\w+)>", r"{\1}", topic.address)
    keys = [_message_key(topic)]
    if topic.by_verb:
        keys = [f"{topic.suffix.partition('/')[0]}_{_words(verb)}" for verb in VERBS]
    return {
        "address": address,
        "description": topic.what,
        "parameters": {name: _PARAMETERS[name] for name in re.findall(r"{(\w+)}", address)},
        "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in keys},
    }


def _operation(topic: Topic) -> Object:
    """The operation of a topic: the device sends there."""
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{_key(topic)}"},
        "summary": topic.what,
        "bindings": {
            "mqtt": {"qos": topic.qos, "retain": topic.retained, "bindingVersion": _BINDING}
        },
    }


def _message_key(topic: Topic) -> str:
    return topic.payload if topic.described else _key(topic)


def _message(topic: Topic) -> Object:
    if topic.described:
        example = msgspec.json.decode(encode(EXAMPLES[topic.payload]))
        return {
            "payload": {"$ref": f"#/components/schemas/{topic.payload}"},
            "examples": [{"payload": example}],
        }
    if topic.payload == "JPEG":
        return {
            "contentType": "image/jpeg",
            "payload": {"type": "string", "contentMediaType": "image/jpeg"},
        }
    more = _MORE.get(topic.suffix, {})
    if topic.payload == "text":
        return {"contentType": "text/plain", "payload": {"type": "string", **more}}
    return {"payload": {"type": "object", **more}}


def draft_07(schema: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Convert a schema from draft 2020-12, as msgspec writes it, to draft 07: tuples differ."""
    if isinstance(schema, list):
        return [draft_07(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: draft_07(value) for key, value in schema.items() if key != "prefixItems"}
    if "prefixItems" in schema:
        found["additionalItems"] = found.pop("items", True)
        found["items"] = draft_07(schema["prefixItems"])
    return found
