"""The page of requests is made from the table of verbs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from edge.commands.cli import main
from edge.commands.request import parameter_of
from edge.config import Requests
from edge.messages.examples import REQUESTS
from edge.messages.field_table import parameters
from edge.messages.requests import VERBS, Envelope, read_params
from edge.messages.verb_reference import markdown

PAGE = Path(__file__).parents[1] / "docs" / "device" / "verbs.md"


def section(verb: str) -> str:
    """What the page says of a verb."""
    return markdown(Requests().allow).partition(f"## `{verb}`\n")[2].partition("\n## ")[0]


def test_the_reference_of_requests_is_up_to_date(capsys):
    """docs/device/verbs.md is what `wheatear schema --requests` prints."""
    if not PAGE.exists():
        pytest.skip("the documentation does not travel with the wheel")
    assert main(["schema", "--requests"]) == 0
    assert PAGE.read_text("utf-8") == capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_of_a_verb_can_be_sent_as_it_stands(verb):
    """The command line and the message carry the same, and the verb takes it."""
    text = section(verb)
    shown = msgspec.json.decode(text.partition("```json\n")[2].partition("\n```")[0])
    words = shlex.split(text.partition("```sh\n")[2].partition("\n```")[0])
    assert words[:4] == ["wheatear", "request", "cam-07", verb]
    typed = dict(map(parameter_of, words[4 : words.index("--broker")]))
    carried = {key: shown.pop(key) for key in Envelope.__struct_fields__ if key in shown}
    assert msgspec.convert(carried, Envelope).transaction == "42"
    assert ("sent" in carried) == VERBS[verb].changes
    assert typed == shown == REQUESTS.get(verb, {})
    read_params(VERBS[verb].takes, shown)


@pytest.mark.parametrize("verb", VERBS)
def test_every_parameter_and_every_field_of_an_answer_is_told(verb):
    """Each has its line, with words in the last column."""
    rows = re.findall(r"(?m)^\| `([^`]+)` \|.*\| (.*) \|$", section(verb))
    assert all(what.strip() for _, what in rows), [name for name, what in rows if not what.strip()]
    one = VERBS[verb]
    for struct in filter(None, (one.takes, one.gives)):
        assert set(struct.__struct_fields__) <= {name for name, _ in rows}


def test_bounds_and_defaults_are_told():
    """Of numbers, texts, lists and what has to be left out or given."""
    cells = {
        line.split(" | ")[0].strip("|` "): line.split(" | ")[1:3]
        for verb in ("log", "inbox/get", "model/install", "outbox/release", "model/chunk")
        for line in parameters(VERBS[verb].takes)[2:]
    }
    assert cells["lines"] == ["integer, 1 to 500", "`100`"]
    assert cells["id"] == ["string, 16 hexadecimal digits", "*needed*"]
    assert cells["url"] == ["string, 2000 characters at most", "*unset*"]
    assert cells["ids"] == ["list of string, 100 of them at most", "`[]`"]
    assert cells["offset"] == ["integer, 0 or more", "`0`"]
    assert cells["data"] == ["string, base64", '`""`']


def test_the_page_says_what_is_allowed_by_default():
    """In the table at its top, and where the verb is told."""
    text = markdown(["log"])
    rows = dict(re.findall(r"(?m)^\| \[`([^`]+)`\]\(.*\| (yes|no) \| (?:yes|no) \|$", text))
    assert rows == {verb: "yes" if verb == "log" else "no" for verb in VERBS}
    assert text.count("Allowed by default;") == 1
    assert 'allow = ["log", "restart"]' in text
