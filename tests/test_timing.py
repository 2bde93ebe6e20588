"""Bare models in turn, as files and over stdin, and what a machine says about itself."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import select
import socket
import subprocess
import sys

import pytest
import tiny
from there import there

from edge.commands.cli import main
from edge.errors import ModelError, RuntimeUnavailableError
from edge.model.runtimes import installed
from edge.model.timing import measure
from edge.system import board

litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="ai-edge-litert is not installed",
)
MODEL = str(tiny.MODELS / "tiny_int8.tflite")


@litert
def test_bench_times_bare_models_in_turn(tmp_path, capsys):
    """Each file with its hash and a time a round; the interpreter and the machine beside them."""
    other = tmp_path / "other.tflite"
    other.write_bytes(tiny.model() + bytes(16))
    command = ["bench", "--models", MODEL, str(other), "--rounds", "3", "--pictures", "2"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["file"] for each in found["models"]] == [MODEL, str(other)]
    for each, file in zip(found["models"], (tiny.model(), other.read_bytes()), strict=True):
        assert each["sha256"] == hashlib.sha256(file).hexdigest()
        assert len(each["milliseconds"]) == 3
        assert min(each["milliseconds"]) > 0
        assert each["delegate"] == "XNNPACK"
    assert (found["runtime"], found["runtime_version"]) == installed("litert")
    assert (found["threads"], found["pictures"]) == (1, 2)
    assert found["board"]["cpus"] >= 1
    assert main(command) == 0
    table = capsys.readouterr().out
    assert str(other) in table
    assert "medians of 3 rounds of 2 pictures, models in turn" in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "gone.tflite"], "model gone.tflite: No such file"),
        (["--models", MODEL, "--rounds", "0"], "rounds must be at least 1, not 0"),
        (["--models", MODEL, "--pictures", "0"], "pictures must be at least 1, not 0"),
        (["--models", MODEL, "--runtime", "lite"], "unknown runtime 'lite'"),
        (["--models", MODEL, "--bundle", "b.wtr"], "--models times bare models and takes no --bun"),
        (["--models", MODEL, "--runs", "3"], "--models times bare models and takes no --runs"),
        (["photo.jpg", "--models", MODEL], "--models times bare models and takes no pictures"),
        (["--serve", "--models", MODEL], "give either --models or --serve"),
        (["--bundle", "b.wtr", "--rounds", "3"], "--rounds and --pictures are for --models"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message, capsys):
    """One line on stderr and status 1; nothing is timed."""
    assert main(["bench", *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@litert
def test_the_model_that_cannot_be_loaded_is_named():
    """By its file, or by its place among those that have none."""
    with pytest.raises(ModelError, match=r"^b\.tflite: not a TFLite model"):
        measure([tiny.model(), b"none" * 10], files=["a.tflite", "b.tflite"])
    with pytest.raises(ModelError, match=r"^model 2: not a TFLite model"):
        measure([tiny.model(), b"none" * 10])


def request(names, parcels=()):
    """A line as the desktop sends it, and the bytes behind it."""
    listed = [
        {"sha256": hashlib.sha256(model).hexdigest(), "size": len(model)} for model in parcels
    ]
    wanted = [hashlib.sha256(model).hexdigest() for model in names]
    line = {"models": wanted, "parcels": listed, "rounds": 2, "pictures": 1}
    return json.dumps(line).encode() + b"\n" + b"".join(parcels)


def serve(sent, *options):
    """Run the real service; give its status, lines of answers and stderr."""
    command = [sys.executable, "-m", "edge", "bench", "--serve", *options]
    done = subprocess.run(command, input=sent, capture_output=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@litert
def test_the_service_keeps_what_the_last_request_named():
    """Hello, then an answer a request; the end of input ends it, also amid a model."""
    ours, other = tiny.model(), tiny.model() + bytes(16)
    sent = [request([ours], [ours]), request([ours, other], [other]), request([other])]
    status, lines, _ = serve(b"".join(sent) + request([ours], [ours])[:-10])
    assert status == 0
    hello, *answers = lines
    assert (hello["protocol"], hello["runtime"]) == (1, "litert")
    assert [len(answer["times"]["models"]) for answer in answers] == [1, 2, 1]
    assert len(answers[1]["times"]["models"][1]["milliseconds"]) == 2
    status, lines, errors = serve(b"".join([*sent, request([ours])]))
    assert (status, len(lines)) == (1, 4)
    assert b"stdin is not a request for times" in errors


@litert
@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\n", request([tiny.model()]), request([], [b"x"]).replace(b"x", b"y")]
)
def test_other_words_end_the_service(sent):
    """What is no request, a model that was not sent, or one that changed on its way."""
    status, lines, errors = serve(sent)
    assert (status, len(lines)) == (1, 1)
    assert errors.splitlines()[-1].startswith(
        b"wheatear: --serve: stdin is not a request for times"
    )


@litert
def test_two_services_do_not_measure_at_once():
    """While another holds the turn nothing is timed; then it is."""
    command = [sys.executable, "-m", "edge", "bench", "--serve"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service,
        socket.socket(socket.AF_UNIX) as other,
    ):
        other.bind("\0wheatear-bench")
        assert json.loads(there(service.stdout).readline())["type"] == "hello"
        there(service.stdin).write(request([tiny.model()], [tiny.model()]))
        there(service.stdin).flush()
        assert select.select([there(service.stdout)], [], [], 1.5)[0] == []
        other.close()
        assert json.loads(there(service.stdout).readline())["times"] is not None
        there(service.stdin).close()


@litert
def test_a_model_that_cannot_run_is_an_answer():
    """The service says why, and goes on."""
    bad, good = tiny.model("tiny_edgetpu"), tiny.model()
    _, (_, refused, timed), _ = serve(request([bad], [bad]) + request([good], [good]))
    assert "compiled for the Edge TPU" in refused["error"]
    assert refused["times"] is None
    assert len(timed["times"]["models"]) == 1


def test_the_interpreter_is_looked_for_before_any_model(monkeypatch):
    """`auto` names what was found; a missing one is the error that opening it would be."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'ai-edge-litert"):
        installed("litert")
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(RuntimeUnavailableError, match=r"litert.*tflite_runtime"):
        installed("auto")
    assert installed("fake")[0] == "fake"


def test_a_machine_says_what_it_is_and_how_it_does(tmp_path):
    """The device tree's name before the processor's; what is not told is None or left away."""
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some  Processor\n",
        "sys/class/thermal/thermal_zone0/temp": "51300\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = board.board(tmp_path)
    assert str(found) == f"Raspberry Pi 4 Model B Rev 1.4, {found.machine}"
    assert board.governor(tmp_path) == "ondemand"
    assert board.temperature(tmp_path) == 51.3
    assert there(board.throttled(tmp_path))[:2] == ("under-voltage", "throttled")
    (tmp_path / "proc/device-tree/model").unlink()
    assert board.board(tmp_path).name == "Some Processor"
    (tmp_path / "proc/cpuinfo").unlink()
    assert str(board.board(tmp_path)) == found.machine
    assert board.governor(tmp_path / "nowhere") is None
    assert board.throttled(tmp_path / "nowhere") is None
