"""The topics reference, ``docs/topics.md``, made from the table of topics and the payloads."""

from __future__ import annotations

import msgspec

from edge.messages.base import SCHEMA_VERSION, encode
from edge.messages.examples import EXAMPLES
from edge.messages.field_table import fields
from edge.messages.payloads import PAYLOADS
from edge.messages.topics import TOPICS


def markdown() -> str:
    """The whole of ``docs/topics.md``."""
    lines = [
        _HEAD.strip(),
        "",
        "| topic | retained | QoS | payload | what |",
        "|---|---|---|---|---|",
    ]
    for topic in TOPICS:
        payload = (
            f"[{topic.payload}](#{topic.payload.lower()})" if topic.described else topic.payload
        )
        retained = "yes" if topic.retained else "no"
        lines.append(f"| `{topic.suffix}` | {retained} | {topic.qos} | {payload} | {topic.what} |")
    lines += ["", _RULES.strip()]
    for struct in PAYLOADS:
        lines += ["", f"## {struct.__name__}", "", *_describe(struct)]
    return "\n".join([*lines, "", _REQUESTS.strip()]) + "\n"


def _describe(struct: type[msgspec.Struct]) -> list[str]:
    """Describe a payload: text, fields with those of the structs in it, an example."""
    schema = msgspec.json.schema(struct)
    text = schema["$defs"][struct.__name__]["description"]
    example = msgspec.json.format(encode(EXAMPLES[struct.__name__]), indent=2).decode()
    return [text, "", *fields(struct), "", "```json", example, "```"]


_REQUESTS = """
## Requests

What a device can be asked for on `request/<verb>`, and what it answers, stands on a page of its
own: [every request](device/verbs.md).
"""
_HEAD = """
# Topics

<!-- Written by `wheatear schema --markdown`; a test holds it to edge/messages/. -->

Everything is below `wheatear/<device>/` (`broker.base_topic` and `device.id` in the configuration),
but for what Home Assistant wants below its own prefix. Payloads are UTF-8 JSON except where the
table says otherwise. `wheatear schema` prints the JSON Schema of every message, and
[asyncapi.json](asyncapi.json), by `wheatear schema --asyncapi`, holds it all for programs (AsyncAPI
3). MQTT 5 is spoken where the broker speaks it, else 3.1.1; which one was agreed stands in `info`.
"""

_RULES = f"""
## Rules

- **Times** are UTC, ISO 8601 with `Z`. `time` of a sighting is when the frame was taken. A
  sighting that was sent late (`broker.historical_after_seconds`, 60 s by default) has
  `historical: true`.
- **What to key on.** An event by its `id`, which no other device ever draws. A device by `device`
  and `installation`: of a card that was copied, each board and card draws an `installation` of its
  own, so that the same `device` and `seq` of the two are not taken for one. What was waiting when
  the card was copied comes from both, with the same `id`.
- **Order and loss.** Sightings arrive in the order of `seq`, which rises by one per `installation`
  (a new one goes on counting where the copied one stood) and is never reused, not even after the
  queue on the device was emptied, damaged or replaced: a gap means that something was lost, and
  `health` says how much was dropped for want of space.
  After a power cut or a kill the first sighting may leave numbers out, and says how many in
  `skipped`: with the number `seq` − `skipped` − 1 in your books nothing is missing. (A card that
  acknowledges what it then loses may have had some of them given out; the device leaves them out
  so that none is given twice, and holds no message with them.)
  A gap may also be a message that the broker does not take, and that is set aside on the device: a
  dead letter, counted in `health`, named with its `seq` in `state.health.problems`. Released, it
  comes late, out of order. So does a sighting that was left out while the broker refused all.
- **Delivery** is at least once: after a broken connection, what the broker had taken but not yet
  acknowledged comes again, and after a kill or a power cut what the device had not yet deleted (of
  a minute, or 500 messages, at most), each with the same `id`. De-duplicate by `id`.
- **Visits.** By default a sighting is a visit: a message with `phase: "begin"`, an `update` at most
  every `decision.update_seconds`, and an `end` with `duration_seconds`, the reason (`ended`) and
  the best frame; `event` is the same in all. Count `begin` and `single` (all there is where
  `decision.mode` is not `visits`), as `state` does: an update or end is nothing new. For one row a
  visit, keep the newest message of each `event`. `state.present` lists the visits that go on.
  A program that stops ends them before it says `offline`; one that was killed ends them at its next
  start, with `ended: "cut"` and what was known. A picture follows the begin, and the end where a
  later frame was surer.
- **No label.** `label: null` has a `reason`: `unknown` (none of the classes the model was taught),
  `below-threshold` or `background` (the last two only when every frame is reported).
- **Access lists.** Under MQTT 5 a publish that the broker denies (0x87, 0x90; 0x97, a quota) stays
  on the device and is tried again; everything behind it waits. A picture or health message that an
  access list denies is given up and counted. Under 3.1.1 no device can notice a denial.
- **Versions.** `schema` is {SCHEMA_VERSION}. New fields may appear at any time; a change of meaning
  raises the number.
"""
