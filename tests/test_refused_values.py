"""What msgspec says of a value that it refuses, in plain words."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec
import pytest
from msgspec import Meta

from edge.text.refusals import refusal


class Pair(NamedTuple):
    """Two numbers, of which one may be left out."""

    first: int
    second: int = 0


class Left(msgspec.Struct, tag_field="kind", tag="left"):
    """One of two tables."""


class Right(msgspec.Struct, tag_field="kind", tag="right"):
    """The other."""


class Form(msgspec.Struct, forbid_unknown_fields=True):
    """A field for each kind of refusal."""

    number: Annotated[float, Meta(ge=0, le=0.9)] = 0
    whole: Annotated[int, Meta(gt=0, lt=5)] = 1
    open: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    eighth: Annotated[int, Meta(multiple_of=8)] = 8
    mixed: int | str | None = None
    yes: bool = True
    word: Literal["a", "b"] = "a"
    name: Annotated[str, Meta(min_length=1, max_length=3)] = "x"
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] = "0" * 64
    odd: Annotated[str, Meta(pattern="^o$")] = "o"
    entries: Annotated[tuple[int, ...], Meta(min_length=1, max_length=2)] = (1,)
    corner: tuple[float, float] = (0, 0)
    pair: Pair = Pair(1)
    limits: Annotated[dict[str, int], Meta(min_length=1)] = {}
    side: Left | Right | None = None


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"number": -1}, "number = -1: it must be 0 or more"),
        ({"number": 2}, "number = 2: it must be at most 0.9"),
        ({"whole": 0}, "whole = 0: it must be 1 or more"),
        ({"whole": 10**9}, "whole = 1000000000: it must be at most 4"),
        ({"open": 0.0}, "open = 0.0: it must be above 0"),
        ({"open": 1.0}, "open = 1.0: it must be below 1"),
        ({"eighth": 9}, "eighth = 9: it must be a multiple of 8"),
        ({"mixed": 1.5}, "mixed = 1.5: it must be a whole number or text"),
        ({"yes": 1}, "yes = 1: it must be true or false"),
        ({"word": "c"}, "word = 'c': it is not one of the choices"),
        ({"word": 5}, "word = 5: it must be text"),
        ({"name": ""}, "name = '': it must have at least 1 character"),
        ({"name": "long"}, "name = 'long': it must have at most 3 characters"),
        ({"digest": "x"}, "digest = 'x': it must be 64 hexadecimal digits (0-9, a-f)"),
        ({"odd": "x"}, "odd = 'x': it does not have the required form"),
        ({"entries": []}, "entries = []: it must have at least 1 entry"),
        ({"entries": [1, 2, 3]}, "entries = [1, 2, 3]: it must have at most 2 entries"),
        ({"entries": [1, "x"]}, "entries[1] = 'x': it must be a whole number"),
        ({"entries": 5}, "entries = 5: it must be a list"),
        ({"corner": [1]}, "corner = [1]: it must have 2 entries"),
        ({"pair": [1, 2, 3]}, "pair = [1, 2, 3]: it must have 1 to 2 entries"),
        ({"limits": {}}, "limits = {}: it must have at least 1 entry"),
        ({"side": 5}, "side = 5: it must be an object"),
        ({"side": {}}, "side.kind is missing"),
        ({"side": {"kind": "up"}}, "side.kind = 'up': it is not one of the choices"),
        ({"more": 1}, "more is not known"),
        (5, "it must be an object"),
    ],
)
def test_a_refusal_names_place_value_and_what_it_must_be(raw, told):
    """No word of a programming language is in it."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(raw, Form)
    assert refusal(caught.value, raw) == told


def test_a_value_that_is_not_at_hand_is_left_out():
    """The place is named all the same."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"side": 5}', type=Form)
    assert refusal(caught.value) == "side: it must be an object"


def test_a_long_value_is_cut():
    """An error stays a line."""
    raw = {"whole": "x" * 10_000}
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(raw, Form)
    told = refusal(caught.value, raw)
    assert told.startswith("whole = 'xxx")
    assert told.endswith("xxx': it must be a whole number")
    assert len(told) < 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "it is cut short"),
        (b"{}x", "JSON is malformed: trailing characters (byte 3)"),
    ],
)
def test_what_is_no_json_is_told_so(text, told):
    """With the place in the file."""
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text, type=Form)
    assert refusal(caught.value) == told


def test_a_sentence_of_our_own_stays():
    """Such as a type's own check says it."""
    error = msgspec.ValidationError("6-10 is not a window - at `$.trigger.windows[1]`")
    raw = {"trigger": {"windows": ["", "6-10"]}}
    assert refusal(error, raw) == "trigger.windows[1] = '6-10': 6-10 is not a window"
