"""The reference of requests, ``docs/device/verbs.md``, made from the table of verbs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection
from typing import Any

from edge.messages.examples import REQUESTS
from edge.messages.field_table import fields, parameters
from edge.messages.requests import VERBS, Envelope, Verb

_TOPICS = "../topics.md"
_SENT = 1782034212345
_DEVICE, _BROKER = "cam-07", "broker.example"
_MORE = {
    "config/set": "[settings from afar](requests.md#settings-from-afar)",
    "drift": "[drift](operate.md#drift)",
    "inbox/get": "[pictures to learn from](configure.md#pictures-to-learn-from)",
    "model/install": "[new models](updates.md#new-models-over-the-air)",
}
"""Pages of the guide on what a verb belongs to, by verb."""


def markdown(allowed: Collection[str]) -> str:
    """The whole page; `allowed` are the verbs that a device carries out by default."""
    listed = json.dumps([*allowed, "restart"])
    lines = [
        _HEAD.strip().replace("ALLOW", listed),
        "",
        "| verb | what for | allowed | changes |",
        "|---|---|---|---|",
    ]
    for name, verb in VERBS.items():
        link = f"[`{name}`](#{name.replace('/', '')})"
        first = verb.what.partition(". ")[0].removesuffix(".")
        yes = "yes" if name in allowed else "no"
        lines.append(f"| {link} | {first} | {yes} | {'yes' if verb.changes else 'no'} |")
    lines += ["", _EVERY.strip(), "", *parameters(Envelope), "", _ANSWER.strip()]
    for verb in VERBS.values():
        lines += ["", *_section(verb, verb.name in allowed)]
    return "\n".join(lines) + "\n"


def _section(verb: Verb[Any, Any], allowed: bool) -> list[str]:
    """The section of a verb: what for, who may, how to ask, what it takes, what it gives."""
    may = "Allowed by default" if allowed else "Has to be listed in `requests.allow`"
    needs = "needs `sent`" if verb.changes else "changes nothing"
    terms = f"{may}; {needs}."
    if verb.setting:
        terms += f" Only where `{verb.setting}` is set."
    if more := _MORE.get(verb.name):
        terms += f" More: {more}."
    takes = ["**Takes** no parameters."]
    if verb.takes.__struct_fields__:
        takes = ["**Takes**", "", *parameters(verb.takes)]
    gives = ["**Gives** nothing: `data` is an empty object."]
    if verb.gives:
        gives = ["**Gives**", "", *fields(verb.gives, _TOPICS)]
    return [
        f"## `{verb.name}`",
        "",
        verb.what,
        "",
        terms,
        "",
        *_example(verb),
        "",
        *takes,
        "",
        *gives,
    ]


def _example(verb: Verb[Any, Any]) -> list[str]:
    """A request as a command, and as what goes over MQTT."""
    name, asked = verb.name, REQUESTS.get(verb.name, {})
    words = [
        shlex.quote(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
        for key, value in asked.items()
    ]
    command = " ".join(["wheatear request", _DEVICE, name, *words, "--broker", _BROKER])
    payload = {"transaction": "42"} | ({"sent": _SENT} if verb.changes else {}) | asked
    return [
        "```sh",
        command,
        "```",
        "",
        f"The same as a message on `wheatear/{_DEVICE}/request/{name}`:",
        "",
        "```json",
        json.dumps(payload),
        "```",
    ]


_HEAD = """
# Every request

Made from the program by `wheatear schema --requests`. Who may ask, and how requests are answered,
repeated and refused, stands in [requests.md](requests.md).

A device is asked for something by a *verb*: a message on `wheatear/<device>/request/<verb>`, whose
answer comes on `wheatear/<device>/response/<verb>`. `wheatear request` sends one and prints the
answer. (`wheatear` at the beginning of topics is `broker.base_topic`.)

What a device does when asked is listed in its configuration. *Allowed*, below, is what it does when
nothing is configured; another verb is added to those. *Changes* is what may leave something changed
on the device.

```toml
[requests]
allow = ALLOW
```
"""
_EVERY = """
## What every request carries

A request is a JSON object with these fields; the parameters of its verb stand beside them, and
nothing else does. *Needed*: there is no default. *Unset*: it may be left out.
`wheatear request` puts in `transaction` and `sent` by itself, and `token` with `--token-file`.
"""
_ANSWER = f"""
The answer is a [Response]({_TOPICS}#response): `status` is `ok`, and what the verb gives stands in
`data`; or it is `error`, and `error` says why.
"""
