"""``wheatear classify`` and ``wheatear bench`` as a user runs them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import tiny

import edge.commands.cli
from edge.commands.cli import main

litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="ai-edge-litert is not installed",
)


@pytest.fixture
def bundle(tmp_path):
    """The path of the tiny bundle."""
    return str(tiny.write(tmp_path / "tiny-1.0.wtr"))


@pytest.fixture
def pictures(tmp_path):
    """The paths of a red and a blue picture."""
    paths = []
    for label in ("red", "blue"):
        paths.append(tmp_path / f"{label}.png")
        paths[-1].write_bytes(tiny.png(tiny.picture(label)))
    return [str(path) for path in paths]


@litert
def test_each_picture_gives_one_json_line(bundle, pictures, capsys):
    """Label, confidence, alternatives, model and timings stand in every line."""
    assert main(["classify", *pictures, "--bundle", bundle, "--top", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["file"], line["label"]) for line in lines] == [
        (pictures[0], "red"),
        (pictures[1], "blue"),
    ]
    first = lines[0]
    assert first["reason"] is None
    assert first["alternatives"][0]["label"] == "red"
    assert len(first["alternatives"]) == 2
    assert first["confidence"] == first["alternatives"][0]["confidence"] > 0.9
    assert first["model"]["name"] == "tiny"
    assert len(first["model"]["sha256"]) == 64
    assert set(first["timings"]) == {"load_ms", "preprocess_ms", "invoke_ms"}


@litert
def test_a_bad_picture_does_not_stop_the_others(bundle, pictures, tmp_path, capsys):
    """The bad file is one line on stderr; the rest is classified; the status is 1."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    files = [pictures[0], str(bad), str(tmp_path / "gone.jpg"), pictures[1]]
    assert main(["classify", *files, "--bundle", bundle]) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["label"] for line in captured.out.splitlines()] == ["red", "blue"]
    errors = captured.err.splitlines()
    assert len(errors) == 2
    assert "bad.jpg" in errors[0]
    assert "gone.jpg: no such file" in errors[1]


def test_no_model_is_loaded_for_pictures_that_are_not_there(tmp_path, capsys):
    """The files are named; the bundle, which is not there either, is not opened."""
    files = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert main(["classify", *files, "--bundle", str(tmp_path / "none.wtr")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"wheatear: {file}: no such file" for file in files
    ]


@litert
def test_a_folder_is_classified_by_name_and_what_is_left_out_is_told(bundle, tmp_path, capsys):
    """Pictures in folders below too; hidden ones and other files are named on stderr."""
    folder = tmp_path / "photos"
    for name in ("b/2.png", "a.png", ".thumbnails/a.png", "c.jfif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tiny.png(tiny.picture("red")))
    (folder / "notes.txt").write_text("x")
    assert main(["classify", str(folder), "--bundle", bundle]) == 0
    captured = capsys.readouterr()
    files = [json.loads(line)["file"] for line in captured.out.splitlines()]
    assert files == [str(folder / name) for name in ("a.png", "b/2.png", "c.jfif")]
    assert "hidden file or folder, not used: .thumbnails" in captured.err
    assert "notes.txt" in captured.err
    (tmp_path / "empty").mkdir()
    assert main(["classify", str(tmp_path / "empty"), "--bundle", bundle]) == 1
    assert "no picture there" in capsys.readouterr().err


@litert
def test_a_third_party_model_with_its_labels(pictures, tmp_path, capsys):
    """--model and --labels run a TFLite file that is no bundle."""
    labels = tmp_path / "labels.txt"
    labels.write_text("0  rot\n1  gruen\n2  blau\n")
    model = str(tiny.MODELS / "tiny_int8.tflite")
    assert main(["classify", *pictures, "--model", model, "--labels", str(labels)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["rot", "blau"]


@litert
def test_only_trusted_bundles_where_a_key_is_given(bundle, pictures, tmp_path, capsys):
    """An unsigned bundle is refused in one line, and nothing is classified."""
    key = tmp_path / "key.pub"
    key.write_bytes(bytes(32))
    status = main(["classify", *pictures, "--bundle", bundle, "--trusted-key", str(key)])
    captured = capsys.readouterr()
    assert (status, captured.out) == (1, "")
    assert "the bundle is not signed" in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --bundle FILE or --model FILE"),
        (["--bundle", "none.wtr"], "none.wtr: No such file"),
        (["--bundle", "none.wtr", "--model", "m"], "give either --bundle"),
        (["--model", "none.tflite"], "none.tflite: No such file"),
        (["--bundle", "b", "--top", "0"], "--top must be at least 1"),
        (["--model", "m", "--trusted-key", "k"], "--trusted-key is for bundles"),
        (["--bundle", "b", "--labels", "l"], "--labels goes with --model"),
        (["--bundle", "b", "--mean", "0", "--std", "255"], "--mean goes with --model"),
        (["--bundle", "b", "--crop", "pad"], "--crop goes with --model"),
        (["--bundle", "b", "--background", "add"], "--background goes with --model"),
        (["--bundle", "b", "--output", "logits"], "--output goes with --model"),
    ],
)
def test_mistakes_are_one_line_and_status_1(arguments, message, tmp_path, capsys):
    """A mistake is told without a traceback."""
    (tmp_path / "x.jpg").touch()
    assert main(["classify", str(tmp_path / "x.jpg"), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("wheatear: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["classify"], ["bench", "--runs", "many"]])
def test_a_wrong_command_line_is_status_2(arguments, capsys):
    """Usage errors have the status that shells expect."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: wheatear" in capsys.readouterr().err


def test_other_errors_are_not_swallowed(monkeypatch):
    """A programming error keeps its traceback."""

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("edge.commands.classify.main", broken)
    with pytest.raises(ZeroDivisionError):
        main(["classify", "x.jpg"])


@litert
def test_bench_tells_where_the_time_goes(bundle, pictures, capsys):
    """Percentiles of every step, images per second and memory, as JSON and as a table."""
    assert main(["bench", *pictures, "--bundle", bundle, "--runs", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    steps = [report[name]["p50"] for name in ("decode", "preprocess", "invoke")]
    assert all(step > 0 for step in steps)
    assert report["total"]["p99"] >= report["total"]["p50"] >= max(steps)
    assert (report["runs"], report["images"]) == (5, 2)
    assert report["images_per_second"] > 0
    assert report["peak_memory_bytes"] > 1 << 20
    assert main(["bench", "--bundle", bundle, "--runs", "2"]) == 0
    table = capsys.readouterr().out
    assert "images/s over 2 runs" in table
    assert "XNNPACK" in table


@litert
def test_bench_takes_a_folder_of_pictures(bundle, pictures, tmp_path, capsys):
    """The same files as for classify; what is left out is told."""
    (tmp_path / ".hidden.png").touch()
    command = ["bench", str(tmp_path), "--bundle", bundle, "--runs", "2", "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == len(pictures)
    assert "1 hidden file or folder, not used" in captured.err


@litert
def test_the_command_runs_as_a_process(bundle, pictures):
    """``python -m edge`` prints the line on stdout and ends with status 0."""
    command = [sys.executable, "-m", "edge", "classify", pictures[0], "--bundle", bundle]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] == "red"


def test_help_and_version_load_nothing_heavy():
    """The command line answers at once: no numerics, no imaging, no messaging is imported."""
    code = (
        "import sys, edge.commands.cli\n"
        "try: edge.commands.cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'PIL', 'msgspec', 'paho', 'pathlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("wheatear ")


@litert
def test_one_picture_waits_for_no_module_that_it_does_not_need(bundle, pictures):
    """What tiles, refusals, settings and paths need is loaded where they are met."""
    code = (
        "import sys, numpy, PIL.Image, msgspec, ai_edge_litert.interpreter\n"
        "theirs = set(sys.modules)\n"
        "from edge.commands.cli import main\n"
        "main(sys.argv[1:])\n"
        "spared = {'pathlib', 'secrets', 'urllib.parse', 'edge.config', 'edge.text.refusals',\n"
        "          'edge.sightings.findings'} & set(sys.modules) - theirs\n"
        "sys.exit(', '.join(spared) or 0)"
    )
    command = [sys.executable, "-c", code, "classify", pictures[0], "--bundle", bundle]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] == "red"


@litert
def test_pipes_and_devices_are_refused_before_they_are_waited_for(
    bundle, pictures, tmp_path, capsys
):
    """A pipe that nobody writes to, a device that never ends; the next picture is classified."""
    os.mkfifo(tmp_path / "pipe.png")
    waiting = [str(tmp_path / "pipe.png"), "/dev/zero"]
    assert main(["classify", *waiting, pictures[0], "--bundle", bundle]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("a pipe or a device, not a file; save the picture first") == 2
    assert json.loads(captured.out)["label"] == "red"


def test_numbers_that_are_none_are_told_as_such(capsys):
    """Not by the name of the function that reads them."""
    with pytest.raises(SystemExit):
        main(["classify", "x.png", "--bundle", "b", "--region", "left"])
    assert "--region: 'left': give numbers with commas between" in capsys.readouterr().err


def _parsers(parser):
    yield parser
    for action in parser._actions:
        for inner in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from _parsers(inner)


def test_help_says_what_every_command_and_option_is_for():
    """No option, argument or command is left without a word, and none speaks of the code."""
    for parser in _parsers(edge.commands.cli.parser_of([])):
        assert parser.description, parser.prog
        assert "``" not in parser.format_help()
        for action in parser._actions:
            assert action.help or isinstance(action.choices, dict), (parser.prog, action)
