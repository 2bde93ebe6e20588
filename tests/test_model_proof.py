"""Proofs in another process: what it is told, how long it has, and what is made of its end."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace

import devices
import msgspec
import pytest
from proofs import PROOF

from edge.config import Model, Update
from edge.errors import ProofError, StoppedError
from edge.updates.proof import prove_apart, restrain, try_here

MODEL = Model(
    runtime="fake",
    threads=2,
    trusted_keys=(Path("one.pem"), Path("two.pem")),
    update=Update(proof_seconds=20.0, proof_bytes=100_000_000),
)


@pytest.fixture
def prove(tmp_path):
    """A function that proves a model by an interpreter that does as a script says."""

    def proved(script: str, stop=lambda: False, model=MODEL):
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        python.chmod(0o755)
        return prove_apart(Path("new.wtr"), model, stop, str(python))

    return proved


def test_a_proof_is_what_the_process_says(prove, tmp_path):
    """It is told all that the configuration says of models, and has longer than we wait."""
    verdict = msgspec.json.encode({"proof": PROOF}).decode()
    assert prove(f"echo \"$@\" >told\necho '{verdict}'") == PROOF
    assert (tmp_path / "told").read_text().split() == [
        *("-m", "edge", "model", "verify", "new.wtr", "--json"),
        *("--runtime", "fake", "--threads", "2", "--memory-bytes", "100000000", "--seconds", "25"),
        *("--trusted-key", "one.pem", "--trusted-key", "two.pem"),
    ]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            """echo '{"refusal":{"kind":"BundleError","message":"torn"}}'; exit 1""",
            "BundleError: torn",
        ),
        ("echo '{}'; echo why >&2; exit 3", "ProofError: status 3: why"),
        ("echo; echo why >&2; exit 3", "the trial ended with status 3 and no verdict: why"),
        ("echo hello", "the trial ended with status 0 and no verdict: "),
        ("kill -SEGV $$", "the interpreter crashed (SIGSEGV) with this model; it ran in a process"),
        ("kill -KILL $$", "the interpreter crashed (SIGKILL) with this model"),
    ],
)
def test_any_other_end_is_a_refusal_with_a_reason(prove, script, said):
    """Refused there, crashed, or ended without a word."""
    with pytest.raises(ProofError) as refused:
        prove(script)
    assert str(refused.value).startswith(said)


def test_only_the_end_of_a_long_complaint_is_told(prove):
    """The last four hundred characters, whatever bytes there are."""
    script = r"head -c 9000 /dev/zero | tr '\0' x >&2; printf '\377 end\n' >&2; exit 1"
    with pytest.raises(ProofError) as refused:
        prove(script)
    told = str(refused.value).partition("verdict: ")[2]
    assert told == "x" * 395 + "\ufffd end"


def test_a_process_that_takes_too_long_is_ended(prove, tmp_path):
    """And so is one that nobody waits for any more."""
    model = msgspec.structs.replace(MODEL, update=Update(proof_seconds=0.1))
    script = "echo $$ >pid.new; mv pid.new pid; exec sleep 60"
    with pytest.raises(ProofError, match=r"took longer than model\.update\.proof_seconds = 0\.1"):
        prove(script, model=model)
    (tmp_path / "pid").unlink(missing_ok=True)
    with pytest.raises(StoppedError):
        prove(script, stop=(tmp_path / "pid").exists)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_process_has_all_of_its_seconds(prove, tmp_path, monkeypatch):
    """Half a second before their end it goes on still."""
    seconds, looks = [1000.0], []
    monkeypatch.setattr("edge.updates.proof.time", SimpleNamespace(monotonic=lambda: seconds[0]))

    def stop():
        looks.append(seconds[0])
        seconds[0] = 1019.5
        if len(looks) == 2:
            (tmp_path / "go").touch()
        return False

    verdict = msgspec.json.encode({"proof": PROOF}).decode()
    assert prove(f"while [ ! -e go ]; do sleep 0.01; done; echo '{verdict}'", stop) == PROOF
    assert looks[:2] == [1000.0, 1019.5]


def test_a_process_that_nobody_ends_goes_on(tmp_path):
    """Unless somebody says when to stop, nothing but its seconds ends it."""
    python = tmp_path / "python"
    verdict = msgspec.json.encode({"proof": PROOF}).decode()
    python.write_text(f"#!/bin/sh\nsleep 0.3; echo '{verdict}'\n")
    python.chmod(0o755)
    assert prove_apart(Path("new.wtr"), MODEL, python=str(python)) == PROOF


def test_a_process_that_cannot_be_started_is_said():
    """There is no such interpreter."""
    with pytest.raises(ProofError, match="the trial cannot be started"):
        prove_apart(Path("new.wtr"), MODEL, python="/nowhere/python")


def bounds(memory, seconds, told):
    """Bound this process, and tell how."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    before = os.nice(0)
    restrain(memory, seconds)
    adjusted = Path("/proc/self/oom_score_adj").read_text()
    told.send(
        {
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "data": resource.getrlimit(resource.RLIMIT_DATA),
            "left": signal.getitimer(signal.ITIMER_REAL)[0],
            "nice": os.nice(0) - before,
            "oom": int(adjusted),
        }
    )


@pytest.mark.parametrize(("memory", "seconds"), [(None, None), (900_000_000, 50.0)])
def test_a_process_that_proves_is_bounded_and_gives_way(memory, seconds):
    """By memory and time where that is asked for; no core is left, and it is the first to go."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=bounds, args=[memory, seconds, theirs])
    child.start()
    assert ours.poll(60)
    told = ours.recv()
    child.join()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert told["core"] == (0, 0)
    assert told["data"] == ((memory, memory) if memory else before)
    assert told["left"] == pytest.approx(seconds or 0.0, abs=5.0)
    assert told["nice"] == min(10, 19 - os.nice(0))
    assert told["oom"] == 1000


def test_a_bundle_is_proved_in_this_process(tmp_path):
    """As the other one does: what it is, on what it ran, how well."""
    file = devices.bundle(tmp_path / "a.wtr", version="3")
    proof = try_here(file, "fake", 1, [])
    assert (proof.name, proof.version, proof.labels) == ("colours", "3", tuple(devices.COLOURS))
    assert (proof.bytes, proof.runtime, proof.goldens) == (file.stat().st_size, "fake", 1)
    assert proof.worst_difference < 0.01
    assert json.loads(msgspec.json.encode(proof))["sha256"] == proof.sha256
