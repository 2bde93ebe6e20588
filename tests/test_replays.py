"""A request is carried out once: repeated, recorded and sent again, over restarts and kills."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from desks import Desk, refused
from there import there

from edge.errors import ReplayedRequestError
from edge.messages.base import MOST_SENT
from edge.messages.requests import OUTBOX_DISCARD, VERBS
from edge.messages.verbs import LettersDone, WhichLetters
from edge.mqtt.transactions import MOST_JUMP, NAME, Memory
from edge.system.clock import WRITTEN

FIRST = {"transaction": "t", "ids": ["1"], "sent": 1000}


@pytest.fixture
def path(tmp_path):
    """Where requests are noted."""
    return tmp_path / NAME


def again(path, **more) -> Desk:
    """The device as the next start of the program makes it."""
    return Desk(memory=Memory(path), **{"unnumbered": False, **more})


def test_a_request_that_comes_twice_is_carried_out_once(path):
    """A second delivery gets the first answer, also after a restart."""
    desk = again(path)
    first = desk.ask("outbox/discard", FIRST)
    assert desk.ask("outbox/discard", FIRST) == first
    assert desk.done == [("outbox/discard", {"ids": ("1",)})]
    later = again(path)
    assert later.ask("outbox/discard", FIRST) == first
    assert later.done == []
    assert desk.ask("status", {"transaction": "t"})["data"] == {"count": 2}


def test_the_same_question_asked_later_gets_the_same_answer(path):
    """Another `sent` and another order of its fields make no other request of a transaction."""
    desk = again(path)
    first = desk.ask("outbox/discard", FIRST)
    for more in ({"sent": 2000}, {"sent": 500}, {"token": "unused"}):
        assert (
            desk.ask("outbox/discard", {"ids": ["1"], "transaction": "t", "sent": 1000, **more})
            == first
        )
    assert desk.done == [("outbox/discard", {"ids": ("1",)})]
    assert desk.memory.after == 1000


def test_a_transaction_belongs_to_one_request(path):
    """Other parameters under the same one are refused."""
    desk = again(path)
    desk.ask("outbox/discard", FIRST)
    other = desk.ask("outbox/discard", {**FIRST, "ids": ["2"], "sent": 2000})
    assert refused(other) == "MalformedRequestError"
    assert "was used for another outbox/discard" in other["error"]["message"]


def test_a_delivery_while_the_first_waits_is_passed_over(path):
    """Neither carried out nor refused: the answer is on its way."""
    desk = again(path)
    assert desk.offered("outbox/discard", FIRST, 3) == []
    assert desk.waiting() == ["t"]
    assert desk.done == [("outbox/discard", {"ids": ("1",)})]


def test_a_delivery_after_the_first_was_carried_out_is_answered(path):
    """As it comes from the broker; the answer may have been lost."""
    desk = again(path)
    desk.offered("outbox/discard", FIRST)
    assert desk.waiting() == ["t"]
    (answer,) = desk.offered("outbox/discard", FIRST)
    assert answer["data"] == {"count": 1}


def test_a_delivery_while_the_first_is_carried_out_is_passed_over(path):
    """It is known, and not yet answered."""
    desk = again(path)
    seen = []

    def discard(_: WhichLetters) -> LettersDone:
        seen.append(desk.offered("outbox/discard", FIRST))
        return LettersDone(count=0)

    desk.requests.on(OUTBOX_DISCARD, discard)
    desk.ask("outbox/discard", FIRST)
    assert seen == [[]]


@pytest.mark.parametrize("verb", ["outbox/discard", "status"])
def test_what_is_not_newer_than_the_last_is_refused_with_what_it_has_to_exceed(path, verb):
    """Whatever was sent before, in this run."""
    desk = again(path)
    desk.ask("outbox/discard", FIRST)
    for sent in (1000, 999, 1):
        answer = desk.ask(verb, {"transaction": f"other-{sent}", "sent": sent})
        assert refused(answer) == "ReplayedRequestError"
        assert answer["error"]["after"] == 1000
    assert desk.ask(verb, {"transaction": "new", "sent": 1001})["status"] == "ok"


def test_a_request_forgotten_by_its_transaction_is_refused_by_its_number(path):
    """After many others, and after a restart; nothing is carried out again."""
    desk = again(path)
    for i in range(200):
        desk.ask("outbox/discard", {"transaction": str(i), "sent": 1000 + i})
    for later in (desk, again(path)):
        done = len(later.done)
        answer = later.ask("outbox/discard", {"transaction": "0", "sent": 1000})
        assert refused(answer) == "ReplayedRequestError"
        assert len(later.done) == done


def test_reading_pushes_no_change_out_of_the_memory(path):
    """However often the status is asked for in between."""
    desk = again(path, unnumbered=True)
    first = desk.ask("outbox/discard", {"transaction": "t"})
    for i in range(200):
        desk.ask("status", {"transaction": str(i)})
    assert desk.ask("outbox/discard", {"transaction": "t"}) == first


def test_what_changes_something_needs_a_number_unless_the_configuration_says_else(path):
    """Reading does not."""
    answer = again(path).ask("outbox/discard", {"transaction": "t"})
    assert refused(answer) == "RequestDeniedError"
    assert "requests.unnumbered = true accepts requests without it" in answer["error"]["message"]
    assert again(path).ask("status", {"transaction": "t"})["status"] == "ok"
    desk = Desk(memory=Memory(path), unnumbered=True)
    assert desk.ask("outbox/discard", {"transaction": "t"})["status"] == "ok"


def test_every_verb_is_known_to_read_or_to_change():
    """A new one is thought of, and put here where it only reads."""
    reads = {"status", "capture", "config/get", "drift", "inbox/get", "log", "models"}
    reads.add("outbox/letters")
    assert {verb for verb, one in VERBS.items() if not one.changes} == reads
    assert {verb for verb, one in VERBS.items() if one.knows_repeats} == {"model/chunk"}


@pytest.mark.parametrize("sent", [0, -1, MOST_SENT + 1, 1.5, "5", True, MOST_JUMP + 1])
def test_a_number_that_makes_no_sense_is_refused_and_shuts_nobody_out(path, sent):
    """Too large a one would leave nothing above it."""
    desk = again(path)
    assert refused(desk.ask("outbox/discard", {**FIRST, "sent": sent})) == "MalformedRequestError"
    assert desk.ask("outbox/discard", {"transaction": "u", "sent": 1})["status"] == "ok"


def test_of_two_that_wait_with_one_number_the_first_is_carried_out(path):
    """Both came in before either was begun."""
    desk = again(path)
    assert desk.offered("outbox/discard", FIRST) == []
    assert desk.offered("outbox/discard", {**FIRST, "transaction": "u", "ids": ["2"]}) == []
    assert desk.waiting() == ["t", "u"]
    assert desk.done == [("outbox/discard", {"ids": ("1",)})]


def test_the_largest_number_is_one_that_every_reader_of_json_keeps():
    """Beyond 2^53 some round."""
    assert MOST_SENT == 9_007_199_254_740_991


def test_the_largest_jump_is_taken(path):
    """And the one after it, counted from there."""
    desk = again(path)
    assert desk.ask("outbox/discard", {"transaction": "1", "sent": MOST_JUMP})["status"] == "ok"
    assert desk.ask("outbox/discard", {"transaction": "2", "sent": 2 * MOST_JUMP})["status"] == "ok"


def test_replays_take_nothing_of_the_rate(path):
    """Whoever recorded a request cannot keep the operator out with it."""
    desk = again(path, per_second=0.1)
    desk.ask("outbox/discard", FIRST)
    desk.ask("outbox/discard", {"transaction": "u", "sent": 2000})
    desk.offered("outbox/discard", FIRST, 500)
    desk.offered("outbox/discard", {"transaction": "old", "sent": 5}, 500)
    assert desk.offered("status", {"transaction": "ours"}) == []
    assert desk.waiting() == ["ours"]


def test_the_memory_is_bounded():
    """The newest answers stay, within a number and within bytes."""
    memory = Memory(most=3, most_bytes=100)
    for i in range(10):
        memory.begin("status", str(i), b"", None)
        memory.keep("status", str(i), b"x" * 30)
    assert [i for i in range(10) if memory.find("status", str(i), b"")] == [7, 8, 9]
    assert memory.after == 0
    memory.begin("status", "small", b"", None)
    memory.keep("status", "small", b"x" * 10)
    assert there(memory.find("status", "8", b"")).answer == "x" * 30
    memory.begin("status", "fits", b"", None)
    memory.keep("status", "fits", b"x" * 60)
    assert there(memory.find("status", "9", b"")).answer == "x" * 30
    memory.begin("status", "large", b"", None)
    memory.keep("status", "large", b"x" * 190)
    assert memory.find("status", "9", b"") is None
    assert there(memory.find("status", "large", b"")).answer == "x" * 190


def test_what_was_cut_off_and_forgotten_is_new(path):
    """Its transaction may be used again, and has an answer then."""
    Memory(path).begin("outbox/discard", "0", b"", None)
    memory = Memory(path, most=3)
    for transaction in "12340":
        memory.begin("outbox/discard", transaction, b"", None)
        memory.keep("outbox/discard", transaction, b"{}")
    assert there(memory.find("outbox/discard", "0", b"")).answer == "{}"


def test_the_file_is_bounded_too(path):
    """A hundred large answers: each too long to be kept is looked up by whoever asks again."""
    memory = Memory(path)
    for i in range(100):
        memory.begin("config/set", str(i), b"", None)
        memory.keep("config/set", str(i), b"x" * (4000 if i % 2 else 4001))
    assert path.stat().st_size < 64 * 4300
    later = Memory(path)
    assert there(later.find("config/set", "99", b"")).answer == "x" * 4000
    with pytest.raises(ReplayedRequestError, match="its answer is not kept"):
        later.find("config/set", "98", b"")


@pytest.mark.parametrize(("verb", "noted"), [("status", 0), ("model/chunk", 0), ("restart", 1)])
def test_only_what_changes_something_is_written_down(path, verb, noted):
    """A poll every second must not wear a card out."""
    memory = Memory(path)
    memory.begin(verb, "t", b"", 5)
    memory.keep(verb, "t", b"{}")
    assert path.exists() == bool(noted)


def test_what_cannot_be_noted_is_not_carried_out(tmp_path):
    """It could be carried out again later; once the disk takes it, the same request is."""
    folder = tmp_path / "data"
    folder.mkdir()
    desk = again(folder / NAME)
    folder.rmdir()
    answer = desk.ask("outbox/discard", FIRST)
    assert refused(answer) == "RequestDeniedError"
    assert f"cannot be recorded (cannot write {folder / NAME}: " in answer["error"]["message"]
    assert desk.done == []
    assert desk.ask("status", {"transaction": "t"})["status"] == "ok"
    folder.mkdir()
    assert desk.ask("outbox/discard", FIRST)["status"] == "ok"


def test_an_answer_that_cannot_be_noted_is_given_all_the_same(tmp_path):
    """It was carried out."""
    folder = tmp_path / "data"
    folder.mkdir()
    desk = again(folder / NAME)

    def discard(_: WhichLetters) -> LettersDone:
        shutil.rmtree(folder)
        return LettersDone(count=0)

    desk.requests.on(OUTBOX_DISCARD, discard)
    assert desk.ask("outbox/discard", FIRST)["status"] == "ok"
    assert desk.ask("outbox/discard", FIRST)["status"] == "ok"


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff" * 40, b"[]", b'{"schema": 1, "new": 1}', b'{"schema": 2, "after": 1}'],
)
def test_after_a_damaged_file_only_requests_from_now_on_are_carried_out(path, damage, caplog):
    """Which ones came before is not known, but that they came before is."""
    path.write_bytes(damage)
    desk = again(path)
    assert "earlier requests are forgotten" in caplog.text
    answer = desk.ask("outbox/discard", FIRST)
    after = answer["error"]["after"]
    assert refused(answer) == "ReplayedRequestError"
    assert 1_700_000_000_000 < after <= time.time() * 1000
    assert desk.ask("outbox/discard", {"transaction": "new", "sent": after + 1})["status"] == "ok"
    assert again(path).ask("outbox/discard", FIRST)["error"]["after"] == after + 1


@pytest.mark.parametrize(("written", "least"), [(0, WRITTEN.timestamp()), (2e9, 2e9)])
def test_a_clock_that_is_not_set_lets_nothing_from_before_a_damaged_file_in(
    path, monkeypatch, written, least
):
    """In 1970 all that was ever asked would be of later: the file's own time counts then."""
    path.write_bytes(b"{")
    os.utime(path, (written, written))
    monkeypatch.setattr(time, "time", lambda: 60.0)
    assert again(path).ask("outbox/discard", FIRST)["error"]["after"] == least * 1000


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_a_torn_new_file_leaves_the_old_one(path, cut):
    """The power went while it was written under its other name."""
    again(path).ask("outbox/discard", FIRST)
    path.with_name(f"{NAME}.new").write_bytes(path.read_bytes()[:cut])
    assert again(path).ask("outbox/discard", FIRST)["status"] == "ok"
    assert again(path).done == []


KILLED = """
import json, os, signal, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[3])
from desks import Desk
from edge.messages.requests import OUTBOX_DISCARD
from edge.mqtt.transactions import Memory
path, where = Path(sys.argv[1]), sys.argv[2]
desk = Desk(memory=Memory(path), unnumbered=False)
def handler(_):
    if where == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    (path.parent / "done").write_text("x")
    if where == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return {}
desk.requests.on(OUTBOX_DISCARD, handler)
desk.ask("outbox/discard", {"transaction": "t", "ids": ["1"], "sent": 1000})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("where", "done", "says"),
    [
        ("before", False, "its answer is not kept"),
        ("after", True, "its answer is not kept"),
        ("answered", True, None),
    ],
)
def test_a_program_killed_around_a_request_does_not_carry_it_out_again(path, where, done, says):
    """SIGKILL before, in and after it: the next start answers from the file, or says to look."""
    arguments = [str(path), where, json.dumps(sys.path)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60, check=False)
    assert killed.returncode == -9
    assert (path.parent / "done").exists() == done
    desk = again(path)
    answer = desk.ask("outbox/discard", FIRST)
    if says:
        assert says in answer["error"]["message"]
        assert answer["error"]["after"] is None
    else:
        assert answer["status"] == "ok"
    assert (
        refused(desk.ask("outbox/discard", {**FIRST, "transaction": "u"})) == "ReplayedRequestError"
    )
    assert desk.done == []
