"""Text of unknown encoding: names of files, and errors that name them."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import devices
import msgspec
import pytest
from brokers import Mosquitto, Subscriber
from samples import sighting
from there import there

import edge
from edge.device.log_tail import LogTail
from edge.messages.base import encode
from edge.messages.updates import Outcome
from edge.messages.verbs import LogParams
from edge.outbox.outbox import Outbox
from edge.system.counters import Counters, Episode
from edge.text.printable import encoded, printable
from edge.updates.store import Store

ODD = os.fsdecode(b"02_K\xe4fer.jpg")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Käfer.jpg", "Käfer.jpg"),
        (ODD, r"02_K\xe4fer.jpg"),
        ("\udcc3\udcb6", "ö"),
        ("half \ud800, byte \udce4", r"half \ud800, byte \xe4"),
    ],
)
def test_text_is_told_in_printable_form(text, shown):
    """Bytes that are UTF-8 stay, others are told by their number, whatever else is in the text."""
    assert printable(text) == shown
    shown.encode()


def test_a_message_with_unprintable_text_is_encoded_all_the_same():
    """The last defence: what got into a message by a way that nobody thought of."""
    message = sighting()
    odd = msgspec.structs.replace(message, label=ODD)
    assert json.loads(encode(odd))["label"] == r"02_K\xe4fer.jpg"
    assert encode(odd).endswith(b'"historical":false}')


def test_problems_notes_and_the_journal_tell_odd_names():
    """What the state and the log verb say can be encoded."""
    counters, log = Counters(), logging.getLogger("odd")
    Episode("picture", counters, log).failed(OSError(f"cannot read {ODD}"))
    counters.note("asleep", ODD)
    journal = LogTail()
    journal.emit(logging.LogRecord("a", logging.WARNING, "", 0, "bad: %s", (ODD,), None))
    told = [*counters.problems(), counters.noted("asleep"), journal.log(LogParams()).lines[0].text]
    assert told == [
        r"picture: cannot read 02_K\xe4fer.jpg",
        r"02_K\xe4fer.jpg",
        r"bad: 02_K\xe4fer.jpg",
    ]


def test_an_error_that_cannot_be_printed_is_told_by_its_class():
    """An error whose text fails must not fail whoever tells it."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    counters = Counters()
    Episode("picture", counters, logging.getLogger("odd")).failed(Mute())
    assert counters.problems() == ("picture: Mute",)


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_replayed_picture_with_a_name_that_is_not_utf8_arrives(tmp_path, locale):
    """All pictures become sightings, the odd name is told printably, and all is well."""
    devices.photos(tmp_path / "photos", 8)
    folder = os.fsencode(tmp_path / "photos")
    os.rename(folder + b"/00002-leaf.jpg", folder + b"/00002-K\xe4fer.jpg")
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        config = devices.config(tmp_path, broker.port)
        done = subprocess.run(
            [sys.executable, "-m", "edge", "run", "--once", "--config", str(config)],
            env=os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 8)
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
        states = [json.loads(payload) for payload in subscriber.on("/state")]
    assert [one["seq"] for one in found] == list(range(1, 9))
    assert found[2]["frame"]["source"] == r"00002-K\xe4fer.jpg"
    assert states[-1]["health"]["ok"] is True


def test_a_bad_picture_with_an_odd_name_is_named_and_the_others_arrive(tmp_path):
    """The name stands in an error, which stands in log and state."""
    devices.photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / os.fsdecode(b"00001-K\xe4fer.jpg")).write_bytes(b"no picture")
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        run = devices.start("run", "--once", "--config", str(devices.config(tmp_path, broker.port)))
        _, told = run.communicate(timeout=60)
        assert run.returncode == 0, told
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) >= 3)
    assert r"00001-K\xe4fer.jpg" in told
    assert "3 frames classified (1 bad" in told


def test_classify_tells_an_odd_name(tmp_path, capsys):
    """A line of JSON for a file whose name is no UTF-8."""
    from edge.commands.cli import main

    devices.bundle(tmp_path / "model.wtr")
    odd = tmp_path / ODD
    odd.write_bytes(devices.photo("aphid"))
    assert (
        main(["classify", str(odd), "--bundle", str(tmp_path / "model.wtr"), "--runtime", "fake"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["file"].endswith(r"02_K\xe4fer.jpg")


def test_a_terminal_that_knows_only_ascii_ends_nothing(monkeypatch):
    """Lines with other letters are written with escapes."""
    from edge.commands.cli import main

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", errors="strict"))
    assert main(["schema", "--markdown"]) == 0


def test_a_sighting_with_an_odd_label_is_written_counted_and_read(tmp_path):
    """Also where the outbox counts by label."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append(msgspec.structs.replace(sighting(), label="\udce4\ud800"))
    with Outbox(tmp_path / "o.db") as outbox:
        (row,) = outbox.page()
        assert json.loads(row.payload)["label"] == r"\xe4\ud800"
        assert outbox.depth().waiting == 1


def test_all_that_is_written_as_json_takes_text_that_cannot_be_encoded():
    """Whatever its depth; with what has no JSON of its own, too."""
    value = {ODD: [{"why": f"{ODD} \ud800"}, (1, None, True)], "folder": Path(ODD)}
    text = encoded(value, str).decode()
    assert json.loads(text) == {
        r"02_K\xe4fer.jpg": [{"why": r"02_K\xe4fer.jpg \ud800"}, [1, None, True]],
        "folder": r"02_K\xe4fer.jpg",
    }
    assert encoded({"b": "käfer", "a": 1}) == '{"b":"käfer","a":1}'.encode()


RAW = {
    "text/printable.py": "it is what the others call",
    "mqtt/transactions.py": "what was decoded from JSON; its order is that of a digest",
    "model/runtimes/fake.py": "a model for tests, of numbers",
    "updates/fetch.py": "the digest of an address, which is ASCII",
    "model/bundle/manifest.py": "read from JSON, or refused by the programs that make bundles",
}


def test_nothing_is_encoded_that_might_not_be():
    """Every other file that writes JSON does it by the way that takes any text."""
    folder = Path(edge.__file__).parent
    found = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*.py")
        if "json.encode(" in file.read_text() or "json.Encoder" in file.read_text()
    }
    assert found == set(RAW)


def test_a_reason_with_an_odd_path_is_written_into_the_record_of_models(tmp_path):
    """Why an update came to nothing may name a file; not to be able to write that down would have
    the update tried for ever.
    """
    last = Outcome(
        name="", version="", result="refused", reason=f"cannot read {ODD}", time=datetime.now(UTC)
    )
    store = Store(tmp_path)
    store.change(lambda record: msgspec.structs.replace(record, last=last))
    assert there(store.read().last).reason == r"cannot read 02_K\xe4fer.jpg"
