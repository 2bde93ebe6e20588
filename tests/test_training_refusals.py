"""What `fit` refuses before any photo is read and anything is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scenes import scenes
from typer.testing import CliRunner

from edge.errors import WheatearError
from training.commands.cli import app
from training.starts.origin import imagenet_file


@pytest.fixture
def broken(tmp_path):
    """Photos none of which can be read: whoever decodes one complains of that instead."""
    for label in ("aphid", "moth"):
        scenes(tmp_path / "photos" / label, 4, 0)
        for path in (tmp_path / "photos" / label).iterdir():
            path.write_bytes(b"broken")
    return tmp_path / "photos"


def fit(photos, out, *options):
    """What `fit` says when it refuses."""
    command = ["fit", str(photos), "--out", str(out), *map(str, options)]
    result = CliRunner().invoke(app, command)
    if isinstance(result.exception, WheatearError):
        return str(result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    return result.output


SMALL = ("--recipe", "small", "--set", "resolution=32")
REFUSED = {
    "recipe": (("--recipe", "huge"), "recipe 'huge' is unknown"),
    "learning rate": ((*SMALL, "--set", "learning_rate=10"), "learning_rate is 10"),
    "epochs": ((*SMALL, "--epochs", "-1"), "epochs is -1"),
    "no epochs": ((*SMALL, "--epochs", "0"), "nothing would be trained"),
    "key": ((*SMALL, "--set", "lerning_rate=1"), "perhaps learning_rate"),
    "seed": ((*SMALL, "--seed", "-1"), "Invalid value for '--seed'"),
    "model": ((*SMALL, "--set", "model=resnet"), "model 'resnet' is unknown"),
    "blocks": ((*SMALL, "--set", "freeze_blocks=50"), "freeze_blocks 50: the model has 6 blocks"),
    "weights for small": ((*SMALL, "--weights", "imagenet"), "the small net has none"),
    "weights file": (("--weights", "absent.h5"), "weights absent.h5"),
    "side": (("--weights", "none", "--set", "resolution=16"), "model mobilenet_v2: .*32"),
    "weights for Lite": (
        ("--recipe", "fast", "--set", "model=efficientnet_lite"),
        "are of MobileNetV2: give --weights efficientnet-lite0",
    ),
    "variant": (("--set", "variant=1"), "variant is 1: mobilenet_v2 has no such setting"),
    "width": (
        ("--recipe", "fast", "--set", "alpha=0.4"),
        "no ImageNet weights of MobileNetV2 0.4: choose one of 0.35",
    ),
    "start": (
        ("--weights", "inat-insects", "--set", "alpha=0.5"),
        "inat-insects is of mobilenet_v2 alpha 1.0: leave --set alpha=0.5 out",
    ),
    "accept": ((*SMALL, "--accept", "one-class"), "--accept one-class"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_settings_are_refused_before_photos_are_read(broken, tmp_path, options, message):
    """The message is about the setting, and there is no run folder."""
    said = fit(broken, tmp_path / "run", *options)
    assert re.search(message, said), said
    assert not (tmp_path / "run").exists()


def taken(path):
    """A file in the folder's place."""
    path.write_text("x")


def below_a_file(path):
    """A folder that cannot be made."""
    path.parent.write_text("x")


def other_things(path):
    """A folder of something else."""
    path.mkdir()
    (path / "letter.txt").write_text("x")


OUTS = {
    taken: ("run", "run cannot be written to"),
    below_a_file: ("x/run", "x cannot be written to"),
    other_things: ("run", "not empty and no run"),
}


@pytest.mark.parametrize(("make", "case"), OUTS.items(), ids=[make.__name__ for make in OUTS])
@pytest.mark.parametrize("option", ["--out", "--cache"])
def test_a_place_that_cannot_be_written_is_refused(broken, tmp_path, make, case, option):
    """Before photos are read; what is there stays as it is."""
    name, message = case
    place = tmp_path / name
    make(place)
    if option == "--cache":
        if make is other_things:
            pytest.skip("a cache may lie beside other things")
        said = fit(broken, tmp_path / "out", *SMALL, "--cache", place)
        assert not (tmp_path / "out").exists()
    else:
        said = fit(broken, place, *SMALL)
    assert message in said
    assert not place.is_dir() or [p.name for p in place.iterdir()] == ["letter.txt"]


def test_without_a_network_the_files_that_would_do_are_named(broken, tmp_path):
    """Where Keras looks, what may be given instead; nothing is read or written."""
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    environment = {**os.environ, **nowhere, "HOME": str(tmp_path), "no_proxy": ""}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "training",
            "fit",
            str(broken),
            "--out",
            str(tmp_path / "run"),
            "--recipe",
            "fast",
        ],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    name = imagenet_file(0.35).name
    assert str(tmp_path / ".keras" / "models" / name) in done.stderr
    assert "--weights FILE" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["check", "split"])
def test_a_place_for_results_that_cannot_be_written_is_one_clear_error(tmp_path, command):
    """A file where a folder is needed, a folder where a file is needed."""
    for label in ("aphid", "moth"):
        scenes(tmp_path / "photos" / label, 4, 0)
    place = tmp_path / "place"
    place.mkdir() if command == "split" else place.write_text("x")
    done = CliRunner().invoke(app, [command, str(tmp_path / "photos"), "--out", str(place)])
    assert isinstance(done.exception, WheatearError)
    assert str(place) in str(done.exception)


def test_make_train_checks_before_it_trains(tmp_path):
    """As its help says; what is accepted is accepted by both."""
    root = Path(__file__).parents[1]
    command = [
        "make",
        "-n",
        "-o",
        ".venv/desktop.ok",
        "train",
        f"DATA={tmp_path}",
        "ACCEPT=damaged",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    steps = re.findall(r"-m training (\w+).*?(--accept damaged)?$", done.stdout, re.M)
    assert [step for step, _ in steps] == ["check", "fit", "evaluate"]
    assert done.stdout.count("--accept damaged") == 2
