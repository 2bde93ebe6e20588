"""Where trials run: what is done again, what a kill costs, Ray for real where it is installed."""

import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from there import there
from trials_here import Here

from edge.errors import QuantizeError, TrainingError
from quantize.commands.sweep import quantize_sweep
from quantize.commands.trial import check
from quantize.options import Options
from quantize.sweep import record, trials
from quantize.sweep.asked import EngineOptions, SweepOptions
from quantize.sweep.engines import Processes, choose
from quantize.sweep.jobs import Job
from training.runs import load_run

TREE = Path(__file__).parent.parent
QUICK = ("--epochs", "1", "--pruning-epochs", "2")
PATIENCE = 240
HELD = """
import os, sys, time

def hold(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(os.environ["HELD"]):
        while os.path.exists(os.environ["WHILE"]):
            time.sleep(0.05)

sys.addaudithook(hold)
"""
"""Run by Python at its start: whatever would put a file of a name in place waits before that."""


@pytest.fixture(scope="module")
def trained(discs_run, tmp_path_factory):
    """A finished run on coloured discs."""
    return shutil.copytree(discs_run, tmp_path_factory.mktemp("engines") / "discs")


@contextmanager
def sweep(run, out, *options, **environment):
    """The command, running; what it says is in `out`/said."""
    out.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(TREE), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "quantize", "sweep", str(run), "--out", str(out)]
    with (
        (out / "said").open("wb") as said,
        subprocess.Popen(
            [*command, *QUICK, *options],
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "500", **environment},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def held(out, name):
    """Environment in which no file of that name is finished while `out`/hold is there."""
    (out / "python").mkdir()
    (out / "python" / "sitecustomize.py").write_text(HELD)
    (out / "hold").touch()
    paths = os.pathsep.join([str(out / "python"), str(TREE), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": paths, "HELD": f"/{name}", "WHILE": str(out / "hold")}


def said(out):
    """What the last command said."""
    return (out / "said").read_text()


def wait_for(condition):
    """What the condition gives as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


def working(log):
    """Process ids of all beginnings of a trial that its log tells of."""
    return (
        re.findall(r"^trial on .*, process (\d+)$", log.read_text(), re.M) if log.exists() else []
    )


def pruned(run):
    """What finished prunings left."""
    return {path for path in run.glob("quantize/qat/pruned-*.keras") if "partial" not in path.name}


def alive(process_id):
    """Whether a process still runs; one that ended and was not asked how does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def interruptible():
    """Ctrl-C reaches what is started, also where these tests began in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_killed_trial_stops_no_other_and_goes_on_when_repeated(trained, tmp_path):
    """The trial, then the sweep is killed, then Ctrl-C is pressed; at last all is done."""
    log = tmp_path / trained.name / "zeros-50.log"
    options = ("--variants", "zeros-50,ptq", "--jobs", "2")
    hold = held(tmp_path, "zeros-50.wtr")
    with sweep(trained, tmp_path, *options, **hold) as process:
        wait_for(lambda: pruned(trained))
        (trial,) = working(log)
        os.kill(int(trial), signal.SIGKILL)
        assert process.wait(PATIENCE) == 0
    assert "zeros-50: failed: ended by signal 9" in said(tmp_path)
    assert "ptq: done (" in said(tmp_path)
    for number in (signal.SIGKILL, signal.SIGINT):
        with sweep(trained, tmp_path, *options, **hold) as process:
            (trial,) = wait_for(lambda old=trial: [each for each in working(log) if each != old])
            process.send_signal(number)
            process.wait(PATIENCE)
        wait_for(lambda trial=trial: not alive(trial))
        assert "zeros-50: not finished before, goes on" in said(tmp_path)
        assert not log.with_suffix(".wtr").exists()
    assert process.returncode == 130
    assert "interrupted; repeat the command to go on" in said(tmp_path)
    (tmp_path / "hold").unlink()
    with sweep(trained, tmp_path, *options) as process:
        assert process.wait(PATIENCE) == 0
    assert "ptq: done before" in said(tmp_path)
    assert "zeros-50: done (" in said(tmp_path)
    assert "2 of 2 after" in said(tmp_path)
    assert "pruned model taken from" in log.read_text()


def test_another_option_makes_a_trial_anew(trained, tmp_path):
    """The bundle of before is not taken for what is asked for now, and the reason is said."""
    for pruning_epochs, words in (
        (2, "ptq: begun, see"),
        (2, "ptq: done before"),
        (3, "ptq: not as before (options --method ptq --epochs 1"),
    ):
        said = io.StringIO()
        asked = SweepOptions(variants="ptq", epochs=1, pruning_epochs=pruning_epochs)
        quantize_sweep([trained], tmp_path, asked, Here(), Console(file=said, width=500))
        assert words in said.getvalue()
    bundle = tmp_path / trained.name / "ptq.wtr"
    assert there(record.read(bundle.with_suffix(".trial.json"))).facts.options[-1] == "3"


def test_a_process_that_fails_is_told_by_its_last_words(trained, tmp_path):
    """A trial that ends with an error: the line that a person reads, without what is before it."""
    path = tmp_path / "odd.trial.json"
    record.write(path, record.TrialRecord(facts=record.facts(trained, ()), ticket="ours"))
    command = ("run", str(trained), "--out", str(tmp_path / "odd.zip"))
    job = Job("discs odd", (str(path), "ours", *command), tmp_path / "odd.log", ())
    begun, ended = Processes(1).run([job])
    assert (begun.kind, ended.kind) == ("begun", "ended")
    assert ended.text == f"--out {tmp_path}/odd.zip: a bundle's name ends in .wtr"


def test_what_differs_is_named(tmp_path):
    """A model, options and versions, each in words."""
    (tmp_path / "model.keras").write_bytes(b"one")
    before = record.facts(tmp_path, ("--epochs", "1"))
    assert record.differences(before, before) == ""
    (tmp_path / "model.keras").write_bytes(b"two")
    now = record.facts(tmp_path, ())
    now = msgspec.structs.replace(now, versions={**now.versions, "numpy": "0"})
    assert record.differences(before, now) == (
        f"another model in the run; options --epochs 1 -> none; "
        f"numpy {before.versions['numpy']} -> 0"
    )
    with pytest.raises(TrainingError, match="not finished; repeat the same `fit`"):
        record.facts(tmp_path / "nowhere", ())


def test_a_machine_that_sees_other_files_is_told(trained, tmp_path):
    """Another folder at the same path, photos that are not there, another package."""
    path = tmp_path / "qat.trial.json"
    seen = record.TrialRecord(facts=record.facts(trained, ()), ticket="ours")
    with pytest.raises(QuantizeError, match=r"does not see what the sweep wrote .* share"):
        check(path, "ours", trained, patience=0)
    record.write(path, seen)
    check(path, "ours", trained, patience=0)
    with pytest.raises(QuantizeError, match="does not see what the sweep wrote"):
        check(path, "another", trained, patience=0)
    facts = msgspec.structs.replace(seen.facts, versions={**seen.facts.versions, "wheatear": "9"})
    record.write(path, msgspec.structs.replace(seen, facts=facts))
    with pytest.raises(QuantizeError, match=r"differs from where .*: wheatear 9 -> "):
        check(path, "ours", trained, patience=0)
    away = tmp_path / "away"
    away.mkdir()
    text, photos = (trained / "run.json").read_text(), load_run(trained).info.data
    (away / "run.json").write_text(text.replace(photos, str(tmp_path / "photos")))
    with pytest.raises(QuantizeError, match=r"photos: no such folder.*; the sweep's folder, the"):
        check(path, "ours", away, patience=0)


def test_options_of_the_other_engine_are_refused(monkeypatch):
    """Nothing given is overlooked; without Ray the message tells how to get it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    for given, words in (
        (("processes", 0, "", None), "--jobs 0: give 1 or more"),
        (("processes", None, "auto", None), "need --engine ray"),
        (("processes", None, "", 2), "need --engine ray"),
        (("ray", 2, "", None), "--jobs needs --engine processes"),
        (("ray", None, "", 0), "--cpus-per-trial 0: give 1 or more"),
        (("ray", None, "", None), "make cluster"),
        (("dask", None, "", None), "'dask' is unknown: choose from processes, ray"),
    ):
        asked = dict(zip(EngineOptions.__struct_fields__, given, strict=True))
        with pytest.raises(QuantizeError, match=words):
            choose(msgspec.convert(asked, EngineOptions))
    engine = choose(EngineOptions(jobs=3))
    assert isinstance(engine, Processes)
    assert engine.at_once == 3


def test_budgets_of_time_stay_on_this_machine(tmp_path, monkeypatch):
    """Shares of multiply-adds may be cut anywhere."""
    monkeypatch.setitem(trials.VARIANTS, "half-time", Options(budget="latency=0.5"))
    asked = SweepOptions(variants="macs-50,zeros-50,ptq")
    trials.refuse_timed(trials.plan([tmp_path], tmp_path, asked))
    with pytest.raises(QuantizeError, match="'half-time' measures time"):
        trials.refuse_timed(trials.plan([tmp_path], tmp_path, SweepOptions(variants="half-time")))


@pytest.mark.skipif(
    not importlib.util.find_spec("ray"), reason="RAY ABSENT: `make cluster` installs it"
)
def test_ray_begins_a_trial_anew_when_its_worker_dies(trained, tmp_path):
    """A Ray of our own: the worker is killed after pruning, another goes on from there."""
    log = tmp_path / trained.name / "zeros-75.log"
    (tmp_path / "home").mkdir()
    hold = held(tmp_path, "zeros-75.wtr")
    settings = {"RAY_ADDRESS": "local", "HOME": str(tmp_path / "home"), **hold}
    options = ("--variants", "zeros-75", "--engine", "ray", "--cpus-per-trial", "1")
    before = pruned(trained)
    with sweep(trained, tmp_path, *options, **settings) as process:
        wait_for(lambda: pruned(trained) - before)
        (trial,) = working(log)
        worker = re.search(r"^PPid:\t(\d+)$", Path(f"/proc/{trial}/status").read_text(), re.M)
        os.kill(int(there(worker)[1]), signal.SIGKILL)
        wait_for(lambda: not alive(trial))
        (tmp_path / "hold").unlink()
        assert process.wait(PATIENCE) == 0
    assert "zeros-75: begun again on " in said(tmp_path)
    assert "zeros-75: done (" in said(tmp_path)
    assert "pruned model taken from" in log.read_text()
    assert there(record.read(log.with_suffix(".trial.json"))).done
    assert (tmp_path / "sweep.html").exists()
