"""Start weights by name: fetched once, held to a hash, and brought to the network they are of."""

from __future__ import annotations

import hashlib
import ssl

import numpy as np
import pytest
from networks import network
from scenes import scenes
from servers import Scripted, answer, nobody
from there import there
from typer.testing import CliRunner

from edge.errors import TrainingError
from quantize.int8.convert import to_float_tflite
from training.commands.cli import app
from training.models import build_model, owner
from training.recipe import Recipe
from training.recipes import load_recipe
from training.runs import load_run
from training.starts.files import content_of, file_of
from training.starts.folded import unfold
from training.starts.origin import imagenet_file, origin
from training.starts.table import STARTS, Hosted, Start, names, with_start

PATH = "models/net.tflite"
CONTENT = b"a file of weights"


def start(content: bytes = CONTENT) -> Start:
    """An entry of the table for a file of MobileNetV2 0.35."""
    return Start(
        settings={"model": "mobilenet_v2", "alpha": 0.35},
        taught="noise at 64 pixels",
        scaling="pixel / 127.5 - 1",
        licence="CC0-1.0",
        where=Hosted("somebody/nets", "c0ffee", PATH),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """A folder for weights, and an entry `noise` in the table; nothing goes through a proxy."""
    monkeypatch.setenv("WHEATEAR_WEIGHTS", str(tmp_path / "shelf"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(STARTS, "noise", start())
    return tmp_path / "shelf"


@pytest.fixture
def mirror(monkeypatch, request):
    """A function that starts a server in the host's place; it sends what it is given."""
    servers = []
    request.getfixturevalue("shelf")

    def begin(sent: bytes, context: ssl.SSLContext | None = None) -> Scripted:
        servers.append(Scripted(lambda _: [sent], context))
        address = servers[-1].url.rpartition("/")[0]
        monkeypatch.setenv("WHEATEAR_WEIGHTS_MIRROR", f"{address}/kept/")
        return servers[-1]

    yield begin
    for server in servers:
        server.__exit__()


def test_a_file_is_fetched_once_by_repository_commit_and_path(mirror, shelf):
    """The second time it comes from the folder, and nobody is asked."""
    server, told = mirror(answer(CONTENT)), []
    assert content_of("noise", lambda came, size: told.append((came, size))) == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert content_of("noise") == CONTENT
    (asked,) = server.asked
    assert asked.startswith(b"GET /kept/somebody/nets/c0ffee/models/net.tflite HTTP/1.1\r\n")
    assert [path.name for path in shelf.iterdir()] == ["net.tflite"]


WRONG = {
    "another file": (answer(b"another file"), "damaged or another file"),
    "cut short": (answer(CONTENT[:5], length=len(CONTENT)), "damaged or another file"),
    "not there": (answer(b"", "404 Not Found"), "Not Found"),
    "no http": (b"what?\r\n\r\n", "could not be fetched"),
    "nothing": (b"", "could not be fetched"),
}


@pytest.mark.parametrize(("sent", "said"), WRONG.values(), ids=WRONG)
def test_what_is_not_the_file_is_not_kept(mirror, shelf, sent, said):
    """The address is named, and nothing is left."""
    server = mirror(sent)
    with pytest.raises(TrainingError) as caught:
        content_of("noise")
    assert said in str(caught.value)
    assert f"127.0.0.1:{server.port}/kept/somebody/nets/c0ffee/models/net.tflite" in str(
        caught.value
    )
    assert not shelf.exists()


def test_without_a_network_it_is_said_what_to_do_by_hand(monkeypatch, shelf):
    """What could not be had, from where, where to put it, what else there is."""
    with nobody() as port:
        monkeypatch.setenv("WHEATEAR_WEIGHTS_MIRROR", f"http://127.0.0.1:{port}")
        with pytest.raises(TrainingError) as caught:
            content_of("noise")
    said = str(caught.value)
    assert said.startswith("weights noise: net.tflite could not be fetched from http://127.0.0.1")
    assert f"put it at {shelf / 'net.tflite'} by hand, or give --weights FILE" in said


def test_a_file_put_there_by_hand_is_used(monkeypatch, shelf):
    """With its hash right; a damaged one stays, and is named with both hashes."""
    monkeypatch.setenv("WHEATEAR_WEIGHTS_MIRROR", "ftp://nowhere")
    shelf.mkdir()
    (shelf / "net.tflite").write_bytes(CONTENT)
    assert content_of("noise") == CONTENT
    (shelf / "net.tflite").write_bytes(CONTENT[::-1])
    with pytest.raises(TrainingError) as caught:
        content_of("noise")
    for content in (CONTENT, CONTENT[::-1]):
        assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert f"{shelf / 'net.tflite'} is damaged or another file" in str(caught.value)
    assert (shelf / "net.tflite").read_bytes() == CONTENT[::-1]


@pytest.mark.usefixtures("shelf")
def test_only_http_is_spoken_to_a_mirror(monkeypatch):
    """Another address is refused by the name of the setting."""
    monkeypatch.setenv("WHEATEAR_WEIGHTS_MIRROR", "file:///etc")
    with pytest.raises(TrainingError, match=r"WHEATEAR_WEIGHTS_MIRROR is 'file:///etc': give"):
        content_of("noise")


def test_certificates_are_looked_at(mirror, authority, monkeypatch):
    """Of an authority that is trusted, the file comes; of another, nothing does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    mirror(answer(CONTENT), context)
    with pytest.raises(TrainingError, match="certificate verify failed"):
        content_of("noise")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    assert content_of("noise") == CONTENT


def test_a_folder_that_cannot_be_written_is_named(mirror, shelf):
    """With the setting that names another."""
    shelf.write_text("a file in its place")
    mirror(answer(CONTENT))
    with pytest.raises(
        TrainingError, match=r"shelf/net\.tflite: .*WHEATEAR_WEIGHTS names a folder"
    ):
        content_of("noise")


def test_the_folder_is_that_of_the_desktops_caches(monkeypatch, tmp_path, shelf):
    """Unless it is named; a relative one in XDG_CACHE_HOME counts as none."""
    assert file_of("noise") == shelf / "net.tflite"
    monkeypatch.delenv("WHEATEAR_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    usual, other = tmp_path / ".cache", tmp_path / "other"
    for given, base in ((str(other), other), ("other", usual), ("", usual)):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert file_of("noise") == base / "wheatear" / "weights" / "net.tflite"


def test_a_name_brings_its_network():
    """Over a recipe of another one, too; what says the same is no contradiction."""
    recipe = load_recipe("fast", with_start(["weights=inat-insects"]))
    assert (recipe.model, recipe.alpha, recipe.weights) == ("mobilenet_v2", 1.0, "inat-insects")
    recipe = load_recipe("accurate", with_start(["weights=inat-insects", "alpha=1"]))
    assert (recipe.model, recipe.alpha, recipe.variant) == ("mobilenet_v2", 1.0, None)
    for given in (["weights=imagenet"], ["weights=a.h5", "alpha=0.5"], ["epochs=3"]):
        assert with_start(given) == given


@pytest.mark.parametrize("other", ["alpha=0.5", "alpha=wide", "model=efficientnet_lite"])
def test_another_network_than_the_weights_are_of_is_refused(other):
    """By the option that asks for it, and with what the weights are of."""
    with pytest.raises(TrainingError) as caught:
        with_start(["weights=inat-insects", other])
    assert "--weights inat-insects is of mobilenet_v2 alpha 1.0" in str(caught.value)
    assert f"leave --set {other} out" in str(caught.value)


@pytest.mark.usefixtures("shelf")
def test_a_recipe_that_contradicts_its_weights_is_refused():
    """Before anything is fetched."""
    with pytest.raises(TrainingError, match=r"of mobilenet_v2 alpha 0\.35, .* alpha 0\.5"):
        build_model(Recipe(alpha=0.5, weights="noise"), 2)


def test_a_name_that_nobody_knows_is_told_from_a_missing_file():
    """The names that are known are listed."""
    with pytest.raises(TrainingError) as caught:
        build_model(Recipe(alpha=0.35, resolution=32, weights="inat-insect"), 2)
    assert f"no start weights of that name ({', '.join(names())})" in str(caught.value)


def test_the_table_is_complete_and_can_be_listed():
    """Each entry is of a network that takes it, has a hash and a licence, and is shown."""
    shown = CliRunner().invoke(app, ["starts"]).output
    for name, entry in STARTS.items():
        recipe = owner(name)
        assert {key: getattr(recipe, key) for key in entry.settings} == entry.settings
        known = there(origin(recipe))
        assert (known.name, known.sha256, known.licence) == (name, entry.sha256, entry.licence)
        assert known.source == str(entry.where)
        assert f"{name}: {entry.network}, on {entry.taught}; {entry.licence}\n" in shown
        assert f"    {entry.where}\n" in shown
    assert owner("imagenet") == Recipe(weights="imagenet")


def test_what_keras_downloads_is_written_down_too(monkeypatch, tmp_path):
    """The file that it keeps, by its hash; of a width as Keras writes it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = Recipe(alpha=1.0, weights="imagenet")
    with pytest.raises(TrainingError, match=r"kernels_1\.0_224_no_top\.h5: No such file"):
        origin(recipe)
    imagenet_file(1).parent.mkdir(parents=True)
    imagenet_file(1).write_bytes(CONTENT)
    known = there(origin(recipe))
    assert (known.name, known.licence) == ("imagenet", "Apache-2.0")
    assert known.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert known.source == f"Keras Applications, {imagenet_file(1).name}"


@pytest.fixture(scope="module")
def noise():
    """MobileNetV2 0.35 as a float TFLite file."""
    return to_float_tflite(network("mobilenet_v2", whole=True))


def photos(folder):
    """Twelve pictures of two classes."""
    scenes(folder / "photos" / "aphid", 6, 0)
    scenes(folder / "photos" / "moth", 6, 6)


def test_a_run_begins_with_weights_by_name(mirror, monkeypatch, noise, tmp_path):
    """Fetched once and said so, loaded, and written down with source, licence and hash."""
    monkeypatch.setitem(STARTS, "noise", start(noise))
    server = mirror(answer(noise))
    photos(tmp_path)
    command = ["fit", str(tmp_path / "photos"), "--weights", "noise", "--epochs", "0"]
    for one in ("resolution=32", "head_views=1", "batch=4"):
        command += ["--set", one]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "fetched somebody/nets @ c0ffee, models/net.tflite, CC0-1.0: " in done.output
    run = load_run(tmp_path / "run")
    [begun], digest = run.info.starts, hashlib.sha256(noise).hexdigest()
    assert (begun.name, begun.licence, begun.sha256) == ("noise", "CC0-1.0", digest)
    assert begun.source == "somebody/nets @ c0ffee, models/net.tflite"
    kernel = run.model().get_layer("block_3_expand").get_weights()[0]
    np.testing.assert_array_equal(kernel, unfold(noise).tensors["conv2d_6"][0])

    # What `check` measures with is there already.
    command = ["check", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--weights"]
    refused = CliRunner().invoke(app, [*command, "nois"])
    assert "--weights nois: no such file; known names: imagenet, " in str(refused.exception)
    done = CliRunner().invoke(app, [*command, "noise"])
    assert done.exit_code == 0, done.output
    assert "fetched" not in done.output
    assert len(server.asked) == 1
    assert "features of a frozen network (noise)" in (tmp_path / "out" / "check.html").read_text()
