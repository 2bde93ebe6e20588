"""What goes over MQTT."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from edge.messages.base import encode, new_id
from edge.messages.examples import EXAMPLES
from edge.messages.payloads import PAYLOADS, schemas
from edge.messages.reference import markdown
from edge.messages.sighting import Sighting, mark_historical
from edge.messages.topics import TOPICS

DOCS = Path(__file__).parents[1] / "docs" / "topics.md"


def test_the_topics_reference_is_up_to_date():
    """docs/topics.md is what `wheatear schema --markdown` prints."""
    if not DOCS.exists():
        pytest.skip("the documentation does not travel with the wheel")
    assert DOCS.read_text("utf-8") == markdown()


@pytest.mark.parametrize("struct", PAYLOADS, ids=lambda struct: struct.__name__)
def test_every_payload_satisfies_its_own_json_schema(struct):
    """An independent validator accepts the examples, and refuses one with a field missing."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = schemas()[struct.__name__.lower()]
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(encode(EXAMPLES[struct.__name__]))
    validator.validate(document)
    del document["device"]
    assert not validator.is_valid(document)


def test_every_field_of_a_sighting_is_documented():
    """Subscribers find every field of the main message in the reference."""
    text = markdown()
    part = text[text.index("## Sighting") :]
    for field in msgspec.structs.fields(Sighting):
        assert f"| `{field.name}` |" in part


def test_a_late_sighting_is_marked_without_touching_the_rest():
    """Marking changes `historical` only, once, and leaves other bytes alone."""
    payload = encode(EXAMPLES["Sighting"])
    late = mark_historical(payload)
    before, after = json.loads(payload), json.loads(late)
    assert before.pop("historical") is False
    assert after.pop("historical") is True
    assert before == after
    assert mark_historical(late) == late
    assert mark_historical(b"\xff\xd8jpeg") == b"\xff\xd8jpeg"


def test_times_are_utc_with_a_z():
    """Every time ends in Z."""
    assert json.loads(encode(EXAMPLES["Sighting"]))["time"] == "2026-06-21T09:30:12.345000Z"


def test_ids_do_not_repeat():
    """A hundred thousand ids are all different."""
    assert len({new_id() for _ in range(100_000)}) == 100_000


def test_each_topic_has_a_known_payload():
    """The table of topics names messages that exist."""
    known = {struct.__name__ for struct in PAYLOADS} | {"text", "JPEG", "JSON"}
    assert {topic.payload for topic in TOPICS} <= known
