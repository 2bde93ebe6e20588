"""What others may ask: checked, carried out once, answered."""

from __future__ import annotations

import json

import pytest
from desks import BASE, Desk, refused
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.mqtt.packets import Incoming
from edge.mqtt.request_refusals import ANSWERS
from edge.mqtt.requests import BURST


def test_a_request_is_answered_with_its_transaction():
    """The answer names device, verb and transaction, and holds what the handler gave."""
    answer = Desk().ask("log", {"transaction": "t1", "lines": 7})
    assert answer["topic"] == f"{BASE}/response/log"
    assert (answer["device"], answer["verb"], answer["transaction"]) == ("cam-1", "log", "t1")
    assert (answer["status"], answer["data"], answer["error"]) == ("ok", {"count": 1}, None)


@pytest.mark.parametrize(
    ("verb", "payload", "kind", "says"),
    [
        ("status", b"", "MalformedRequestError", "send a JSON object"),
        ("status", b"[" * 100_000, "MalformedRequestError", "not a request"),
        ("status", b"\xff\xfe", "MalformedRequestError", "not a request"),
        ("status", [1], "MalformedRequestError", "not a request"),
        ("status", {}, "MalformedRequestError", "transaction"),
        ("status", {"transaction": 5}, "MalformedRequestError", "transaction"),
        ("status", {"transaction": "x" * 65}, "MalformedRequestError", "transaction"),
        ("log", {"transaction": "t", "lines": "7"}, "MalformedRequestError", "lines"),
        (
            "log",
            {"transaction": "t", "zeilen": 7},
            "MalformedRequestError",
            "zeilen is not known; what is taken here: lines, level",
        ),
        ("status", {"transaction": "t", "x": 1}, "MalformedRequestError", "here: nothing"),
        ("status", b" " * 262_145, "MalformedRequestError", "requests.max_bytes = 262144"),
        ("self-destruct", {"transaction": "t"}, "UnknownRequestError", "known: capture"),
        ("config/set", {"transaction": "t"}, "RequestDeniedError", "requests.allow does not list"),
        ("capture", {"transaction": "t"}, "CameraError", "the lens cap is on"),
        ("drift", {"transaction": "t"}, "KeyError", "a bug"),
    ],
)
def test_what_is_not_carried_out_is_answered_with_an_error(verb, payload, kind, says):
    """Every refusal has a name, the reason in words, and changes nothing."""
    desk = Desk()
    answer = desk.ask(verb, payload)
    assert refused(answer) == kind
    assert says in answer["error"]["message"]
    assert desk.counters.errors() == {kind: 1}
    assert desk.done == []


def test_what_is_no_text_is_no_repetition_of_what_was_asked():
    """It ends no connection: whoever hands requests over goes on."""
    desk = Desk()
    desk.ask("status", {"transaction": "t"})
    for more in (b'"\xff"', b"[" * 100_000):
        answer = desk.ask("status", b'{"transaction": "t", "x": ' + more + b"}")
        assert refused(answer) == "MalformedRequestError"


def test_the_end_wakes_whoever_waits_for_requests_and_is_none():
    """A stop need not wait for the next look, and is no error."""
    desk = Desk()
    desk.requests.start()
    desk.requests.close()
    assert desk.counters.errors() == {}
    assert desk.counters.problems() == ()
    assert not desk.requests.carry_out_next(0)
    desk.counters.crew.check()


def test_with_a_token_file_each_request_needs_the_token(tmp_path):
    """A missing or wrong token is refused, whatever else is in the request."""
    (tmp_path / "token").write_text("s3cret\n")
    desk = Desk(token_file=tmp_path / "token")
    assert refused(desk.ask("restart", {"transaction": "1"})) == "RequestDeniedError"
    wrong = {"transaction": "1", "token": "S3cret"}
    assert refused(desk.ask("restart", wrong)) == "RequestDeniedError"
    assert refused(desk.ask("nonsense", wrong)) == "RequestDeniedError"
    assert desk.done == []
    answer = desk.ask("restart", {"transaction": "1", "token": "s3cret"})
    assert answer["status"] == "ok"
    assert "s3cret" not in json.dumps(answer)


def test_without_its_token_file_a_device_does_not_start(tmp_path):
    """It would otherwise take requests of anybody, or of nobody, in silence."""
    with pytest.raises(ConfigError, match=r"requests\.token_file: cannot read .*token"):
        Desk(token_file=tmp_path / "token")
    (tmp_path / "token").write_text("\nsecond line\n")
    with pytest.raises(ConfigError, match="has no token in its first line"):
        Desk(token_file=tmp_path / "token")


def test_a_retained_request_is_refused():
    """It would be carried out on every connection."""
    desk = Desk()
    answer = desk.ask("restart", {"transaction": "t"}, retained=True)
    assert refused(answer) == "RequestDeniedError"
    assert desk.done == []


def test_answers_go_where_mqtt_5_asks_within_the_device_only():
    """A Response Topic below the device's own responses is honoured, any other refused."""
    desk = Desk()
    wanted = f"{BASE}/response/status/office-1"
    answer = desk.ask("status", {"transaction": "1"}, response_topic=wanted)
    assert (answer["topic"], answer["status"]) == (wanted, "ok")
    for other in ("wheatear/cam-2/response/status", f"{BASE}/state", f"{BASE}/response/#", ""):
        answer = desk.ask("status", {"transaction": "2"}, response_topic=other)
        assert answer["topic"] == f"{BASE}/response/status"
        assert refused(answer) == "RequestDeniedError"


@pytest.mark.parametrize(("size", "kept"), [(0, True), (1024, True), (1025, False)])
def test_correlation_data_of_some_size_come_back(size, kept):
    """A kilobyte; nobody makes a device carry more about."""
    desk = Desk()
    message = Incoming(f"{BASE}/request/status", b'{"transaction": "t"}', correlation=b"c" * size)
    desk.requests.carry_out(message)
    (answer,) = desk.requests.answers()
    assert answer.correlation == (b"c" * size if kept else None)


def test_more_than_the_rate_is_dropped_and_told_within_bounds():
    """Beyond the burst requests are not carried out, and the answers are no flood either."""
    desk = Desk(per_second=0.1)
    told = []
    for i in range(500):
        told += desk.offered("status", {"transaction": str(i)})
    assert desk.counters["requests_dropped"] == 500 - BURST
    assert {refused(one) for one in told} == {"TooManyRequestsError"}
    assert len(told) <= ANSWERS
    assert desk.waiting() == [str(i) for i in range(BURST)]


@examples(deadline=None)
@given(
    verb=st.sampled_from(["status", "log", "restart", "config/set", "x", "", "a/b/c"]) | st.text(),
    payload=st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["transaction", "token", "lines", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ).map(lambda fields: json.dumps(fields).encode()),
    retained=st.booleans(),
    response_topic=st.none() | st.text(),
    correlation=st.none() | st.binary(),
)
def test_whatever_comes_in_gets_an_answer_with_a_named_error(
    verb, payload, retained, response_topic, correlation
):
    """Arbitrary requests never break the thread, and all of them are answered below response/."""
    answer = Desk().ask(
        verb,
        payload,
        retained=retained,
        response_topic=response_topic,
        correlation=correlation,
    )
    assert answer["topic"].startswith(f"{BASE}/response/")
    assert not set(answer["topic"]) & set("+#\0")
    if answer["status"] == "error":
        assert refused(answer) in {
            "MalformedRequestError",
            "UnknownRequestError",
            "RequestDeniedError",
        }
