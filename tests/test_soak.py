"""The scenarios of `make soak`, short."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import msgspec
import pytest

from soak.__main__ import main
from soak.ledger import Ledger
from soak.scenario import Options, load

SHORT = Options(
    kills=6,
    outages=6,
    patience=0.1,
    events=2_000,
    disks=1,
    readonly=1,
    damages=10,
    recoveries=60,
    clocks=1,
    pulls=2,
    inputs=2_000,
)


@pytest.mark.parametrize(
    "name", ["kills", "outages", "week", "disk", "readonly", "clock", "camera"]
)
def test_nothing_is_lost_doubled_or_disordered(tmp_path, name):
    """What the application at the other end took is all that was seen, once and in order."""
    if not shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin"):
        pytest.skip("NO BROKER: mosquitto is not installed")
    scenario = load(name)
    if name == "disk" and os.geteuid() != 0:
        pytest.skip("FULL DISK ABSENT: mounting a small one needs root")
    if name == "readonly" and not scenario.rounds(SHORT):
        pytest.skip("READ-ONLY DISK ABSENT: it needs root, mkfs.ext4 and loop devices")
    assert scenario.rounds(SHORT) == 1
    found = scenario.play(0, tmp_path, SHORT)
    assert found.problems == ()
    assert found.counts["sightings"] > 0
    assert found.counts["missing"] == found.counts["out of order"] == found.counts["wrong"] == 0


@pytest.mark.parametrize("name", ["damage", "fuzz"])
def test_damage_and_nonsense_do_no_more_harm_than_they_must(tmp_path, name):
    """What stood elsewhere is saved and counted; nonsense is refused by a named error."""
    scenario = load(name)
    assert scenario.rounds(SHORT) == 1
    assert scenario.play(0, tmp_path, SHORT).problems == ()


@pytest.mark.parametrize(("number", "files"), [(0, "cut"), (1, "damaged")])
def test_no_other_way_recovers_more(tmp_path, number, files):
    """Of the same files, ours keeps at least what SQLite does, and makes nothing up."""
    counts = load("recovery").play(number, tmp_path, SHORT).counts
    assert counts[f"{files}, ours: kept"] >= counts[f"{files}, plain: kept"] > 0
    assert not any(counts.get(f"{files}, ours: {what}") for what in ("wrong", "twice", "unopened"))


def sighting(seq: int, number: int | None = None, frame: int | None = None, **changes) -> bytes:
    """A payload as the device publishes it, as far as the ledger looks at it."""
    source = f"{seq - 1 if frame is None else frame:05d}-leaf.jpg"
    return json.dumps(
        {
            "seq": seq,
            "id": f"{seq if number is None else number:016x}",
            "time": f"2026-06-01T00:00:{seq:02d}Z",
            "historical": False,
            "frame": {"source": source},
            **changes,
        }
    ).encode()


@pytest.mark.parametrize(
    ("payloads", "given_out", "problem"),
    [
        ([sighting(1), sighting(3, frame=1)], 3, "numbers 2 to 2 are missing"),
        ([sighting(1), sighting(2)], 4, "numbers 3 to 4 never came"),
        ([sighting(1), sighting(2), sighting(1, 9, frame=2)], 2, "number 1 came with a new id"),
        ([sighting(1), sighting(2, frame=5)], 2, "frame 5 came after frame 0"),
        ([sighting(1), sighting(2, time="2026-05-31T00:00:00Z")], 2, "older than the one before"),
    ],
)
def test_the_ledger_names_what_is_wrong(payloads, given_out, problem):
    """Gaps, ends that never came, reused numbers, lost frames and changed times are seen."""
    ledger = Ledger()
    for payload in payloads:
        ledger.take("wheatear/cam-1/sighting", payload)
    assert problem in "\n".join(ledger.judge(given_out))


@pytest.mark.parametrize(("late", "wrong"), [(True, 1), (False, 0), (None, 0)])
def test_the_ledger_knows_which_sightings_are_late(late, wrong):
    """Where that is known, one that says otherwise is wrong."""
    ledger = Ledger(late=lambda _: late)
    ledger.take("wheatear/cam-1/sighting", sighting(1))
    ledger.judge(1)
    assert ledger.wrong == wrong


def test_the_ledger_takes_a_repetition_once():
    """The same id again is counted as such, and is no fault."""
    ledger = Ledger()
    for payload in (sighting(1), sighting(2), sighting(1), sighting(2), sighting(3)):
        ledger.take("wheatear/cam-1/sighting", payload)
    assert ledger.judge(3) == ()
    assert (ledger.taken, ledger.again) == (3, 2)


def test_an_interrupted_soak_goes_on_where_it_was(tmp_path):
    """Finished rounds are kept and not played again; those of other options go, with a word."""
    command = [sys.executable, "-m", "soak", "--only", "fuzz", "--out", str(tmp_path)]
    subprocess.run([*command, "--inputs", "300"], check=True, capture_output=True)
    path = tmp_path / "fuzz.json"
    kept = msgspec.json.decode(path.read_bytes())
    assert kept["total"]["problems"] == []
    kept["rounds"][0]["counts"]["inputs"] = 7
    path.write_bytes(msgspec.json.encode(kept))
    again = subprocess.run([*command, "--inputs", "300"], check=True, capture_output=True)
    assert b"7 inputs" in b" ".join(again.stdout.split())
    assert b"it is replaced" not in again.stdout
    other = subprocess.run([*command, "--inputs", "301"], check=True, capture_output=True)
    assert b"has other options; it is replaced" in b" ".join(other.stdout.split())
    assert msgspec.json.decode(path.read_bytes())["total"]["counts"]["inputs"] == 301


def test_help_explains_every_option(capsys, monkeypatch):
    """In words, with what it is when it is not given."""
    monkeypatch.setattr(sys, "argv", ["soak", "--help"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    for name, usual in msgspec.to_builtins(Options()).items():
        meaning = said.partition(f" --{name} N ")[2].partition(" --")[0]
        assert meaning.endswith(f"[{usual}]") or f"[{usual}] Interrupt" in meaning
        assert len(meaning.split()) > 3
