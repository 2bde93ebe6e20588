"""`wheatear model`, in this process: what it does, prints, and ends with."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import sys
from pathlib import Path

import devices
import msgspec
import proofs
import pytest
from servers import Scripted, answer
from test_models import Place, proved_here  # noqa: F401 - a fixture

from edge.commands.cli import main
from edge.messages.updates import Chunk
from edge.model.runtimes.fake import Fault
from edge.updates.fetch import Source
from edge.updates.jobs import Job, Jobs, cancel
from edge.updates.upload import Upload

NOTICED = "a running device takes it within seconds, one that does not run at its next start"
OPEN = "[model.update]\nunsigned = true"


@pytest.fixture
def run(place, capsys):
    """A function that runs an action; it returns the status, and what was printed."""

    def ran(action: str, *arguments: object, config: bool = True):
        given = [str(one) for one in arguments]
        more = ["--config", str(place.path)] if config else []
        status = main(["model", action, *given, *more])
        told = capsys.readouterr()
        return status, told.out if not status else told.err

    return ran


def lines(told: str) -> list[list[str]]:
    """Take what was printed apart."""
    return [line.split("  ") for line in told.splitlines()]


def test_the_list_says_where_what_lies_and_what_runs(place, run):
    """The factory's first, then in the order of arrival; how the last update ended."""
    first = place.config.model.bundle.read_bytes()
    factory = ["colours 1", hashlib.sha256(first).hexdigest()[:12], f"{len(first)} bytes"]
    factory += ["3 labels"]
    assert run("list") == (0, "  ".join([*factory, "current", "factory"]) + "\n")
    second = place.install(place.bundle("2"))
    place.confirm()
    third = place.install(place.bundle("3"))
    _, told = run("list")
    found = lines(told)
    assert found[0] == [*factory, "factory"]
    assert found[1][0] == "colours 2"
    assert found[1][4:] == ["previous", str(place.store.path(second.id))]
    assert found[2][4:] == [
        "current, on probation (start 0)",
        str(place.store.path(third.id)),
    ]
    assert len(found) == 3
    assert run("rollback") == (0, f"back to {second.id}; {NOTICED}\n")
    _, told = run("list")
    assert told.splitlines()[-1] == "last update: colours 3 returned: asked for on the device"
    place.store.change(
        lambda record: msgspec.structs.replace(
            record, last=msgspec.structs.replace(record.last, reason="")
        )
    )
    assert run("list")[1].splitlines()[-1] == "last update: colours 3 returned"
    place.config.model.bundle.unlink()
    assert [line[0] for line in lines(run("list")[1])][:2] == ["colours 2", "colours 3"]
    assert run("rollback") == (0, f"back to the factory model; {NOTICED}\n")


def test_a_file_is_installed(place, run):
    """Labels that come and go are named; the file stays."""
    colours = {"leaf": (90, 90, 200), "mite": (250, 250, 250)}
    file = place.bundle("2", colours=colours)
    status, told = run("install", file)
    id = place.store.read().current
    assert (status, told.splitlines()) == (
        0,
        [
            f"{id} is proved here and goes on probation; {NOTICED}",
            "labels that are new: mite",
            "labels that are no more: aphid, beetle",
        ],
    )
    assert file.exists()
    assert not list(place.store.incoming.iterdir())
    status, told = run("install", place.bundle("3"))
    assert status == 1
    assert "is on probation; wait until it is confirmed" in told


def test_one_update_at_a_time_is_installed(place, run, monkeypatch):
    """None where somebody is at the store, or a model is on probation."""
    none, file = place.folder / "none.wtr", place.bundle("3")
    told = run("install", none)[1]
    assert f"cannot read {none}: No such file or directory" in told
    with place.store.installing():
        assert run("install", file)[0] == 1
    place.install(place.bundle("2"))
    assert "is on probation; wait until it is confirmed" in run("install", file)[1]
    became: list[Path] = []
    monkeypatch.setattr("edge.updates.store.become_owner", became.append)
    assert run("rollback")[0] == 0
    assert became == [place.config.model.store]  # as whose user it is changed


def test_a_file_is_held_against_what_was_asked_for(place, run):
    """Its hash, and whether it may be older."""
    file = place.bundle("0.9")
    status, told = run("install", file, "--sha256", "0" * 64)
    assert status == 1
    assert "as asked for" in told
    status, told = run("install", file)
    assert status == 1
    assert "not newer than 1" in told
    status, told = run("install", file, "--allow-downgrade")
    assert (status, len(told.splitlines())) == (0, 1)


@pytest.mark.parametrize("stdin", [True, False])
def test_an_address_is_fetched_where_that_is_open(tmp_path, capsys, monkeypatch, stdin):
    """From the command, or from stdin, where nobody reads it; nothing of it stays."""
    place = Place(tmp_path, OPEN)
    monkeypatch.setattr("edge.updates.install.prove_apart", proofs.prove_here)
    data = place.bundle("2").read_bytes()
    with Scripted(lambda _: [answer(data)]) as server:
        monkeypatch.setattr("sys.stdin", io.StringIO(f" {server.url}\n"))
        source = "-" if stdin else server.url
        digest = hashlib.sha256(data).hexdigest()
        given = ["--config", str(place.path), "--sha256", digest]
        assert main(["model", "install", source, *given]) == 0
    assert place.store.read().current is not None
    assert not list(place.store.incoming.iterdir())
    assert "is proved here" in capsys.readouterr().out


def test_an_address_needs_a_key_or_a_word(run):
    """Before anything is asked."""
    status, told = run("install", "http://127.0.0.1:1/a.wtr")
    assert status == 1
    assert "model.trusted_keys is empty" in told


def test_what_is_under_way_is_cancelled(place, run, monkeypatch):
    """An update, an upload, an update that somebody is at for longer than ten seconds."""
    jobs = Jobs(place.store)
    job = Job(update="u1", source=Source(url="http://a/"), sha256=None, allow_downgrade=False)
    jobs.put(job)
    assert run("cancel") == (0, "update u1 is cancelled\n")
    upload = Upload(place.store.incoming, 100.0)
    upload.take(Chunk(sha256="1" * 64, size=9, data=b"x"))
    assert run("cancel") == (0, f"the upload {'1' * 12} is dropped\n")
    jobs.put(msgspec.structs.replace(job, update="u2"))
    slept: list[float] = []
    monkeypatch.setattr(cancel, "__defaults__", (slept.append,))
    with place.store.installing():
        said = "update u2 ends as soon as the device comes to it\n"
        assert run("cancel") == (0, said)
    assert sum(slept) == pytest.approx(10.0)


def test_without_a_store_there_is_nothing_to_list(tmp_path, capsys):
    """The setting is named."""
    devices.bundle(tmp_path / "model.wtr")
    path = devices.config(tmp_path, 1)
    assert main(["model", "list", "--config", str(path)]) == 1
    assert "model.store is not set; name a folder" in capsys.readouterr().err


def test_a_bundle_is_verified(place, run):
    """As the configuration says, or as is said here."""
    said = "colours 1, 3 labels, on fake 0.1.0: 1 golden pictures, at most 0 levels off\n"
    assert run("verify", place.config.model.bundle) == (0, said)
    assert run("verify", place.config.model.bundle, "--runtime", "fake", config=False) == (0, said)
    status, told = run("verify", place.folder / "none.wtr")
    assert status == 1
    assert "none.wtr" in told


def in_a_child(arguments, told):
    """Run the command where it may bound its process; tell how it ended, and what it gave way."""
    sys.stdout, before = io.StringIO(), os.nice(0)
    status = main(arguments)
    told.send((status, sys.stdout.getvalue(), os.nice(0) - before))


def room() -> int:
    """900 MB more than a child has from this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE") + 900_000_000


def apart(*arguments: object):
    """Run the command in a child; give its status, what it printed, and how far it gave way."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    given = ["model", "verify", *map(str, arguments), "--runtime", "fake"]
    child = fork.Process(target=in_a_child, args=[given, theirs])
    child.start()
    assert ours.poll(300)
    told = ours.recv()
    child.join(20)
    return told


def test_a_verdict_is_one_line_for_a_program(place):
    """The proof, or what was refused and why."""
    status, told, nice = apart(place.config.model.bundle, "--json")
    verdict = json.loads(told)
    assert (status, verdict["proof"]["version"], verdict["refusal"]) == (0, "1", None)
    assert nice == min(10, 19 - os.nice(0))
    status, told, _ = apart(place.folder / "none.wtr", "--json")
    verdict = json.loads(told)
    assert (status, verdict["proof"]) == (1, None)
    assert verdict["refusal"]["kind"] == "BundleFormatError"
    assert "none.wtr" in verdict["refusal"]["message"]


def test_a_model_that_takes_all_memory_is_refused_with_what_it_may_take(place):
    """Where the interpreter says nothing of its own."""
    hungry, most = place.bundle("2", fault=Fault(kind="memory")), room()
    _, told, _ = apart(hungry, "--json", "--memory-bytes", most)
    assert json.loads(told)["refusal"] == {
        "kind": "MemoryError",
        "message": f"more than {most} bytes of memory",
    }


@pytest.mark.parametrize("bound", ["--memory-bytes", "--seconds", None])
def test_a_process_that_is_bounded_gives_way(place, bound):
    """Another one does not."""
    bound = {"--memory-bytes": (bound, room()), "--seconds": (bound, 50)}.get(bound, ())
    status, told, nice = apart(place.config.model.bundle, *bound)
    assert (status, told[:9]) == (0, "colours 1")
    assert nice == (min(10, 19 - os.nice(0)) if bound else 0)
