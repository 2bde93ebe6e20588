"""``python -m training inbox``: pictures from the field, collected to be labelled."""

from __future__ import annotations

import csv
import json
import signal
import ssl
import subprocess
import sys

import devices
import msgspec
import paho.mqtt.client as paho
import pytest
from brokers import Mosquitto, end, locked
from paho.mqtt.enums import CallbackAPIVersion
from patience import wait_for
from pictures import item
from typer.testing import CliRunner

from edge.errors import ConfigError, DataError, WheatearError
from edge.feedback.inbox import picture
from edge.messages.base import encode
from training.commands.asked import Login
from training.commands.cli import app
from training.commands.inbox import broker_from, write
from training.data.sources import load_dataset
from training.inbox.store import Store
from training.inbox.tables import LOCAL_FILES, read_annotations, tasks

TLS = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key"}


@pytest.fixture(autouse=True)
def _shorter_quiet(monkeypatch):
    """End sooner after the last message: brokers on this machine answer at once."""
    monkeypatch.setattr("training.inbox.collect.QUIET_SECONDS", 1.0)


def made(number: int, label: str = "aphid", **changes):
    """The two messages of a picture as a camera sends them: (topic, payload) each."""
    jpeg = devices.photo(label, seed=number)
    id = f"{number:016x}"
    about = msgspec.structs.replace(
        item("low-confidence", 3600.0 * number, id),
        **{"picture": picture(jpeg), "probabilities": {label: 0.55, "leaf": 0.4}} | changes,
    )
    return (
        (f"wheatear/cam-1/inbox/{id}/meta", encode(about)),
        (f"wheatear/cam-1/inbox/{id}", jpeg),
    )


def filled(folder, count: int) -> Store:
    """A store with pictures in it."""
    store = Store(folder)
    for number in range(count):
        for message in made(number):
            store.take(*message)
    write(store, LOCAL_FILES)
    return store


def rows(folder) -> list[dict[str, str]]:
    """Read the CSV."""
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def send(port: int, messages, tls: ssl.SSLContext | None = None) -> None:
    """Publish as a camera does, and wait for the acknowledgements."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if tls:
        client.tls_set_context(tls)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for topic, payload in messages:
        client.publish(topic, payload, qos=1).wait_for_publish(10)
    end(client)


def collect(port: int, out, *options: str, status: int = 0) -> str:
    """Run the command to its end; give what it said, or the error it ended with."""
    done = CliRunner().invoke(app, ["inbox", f"127.0.0.1:{port}", str(out), *options])
    if status == 2:
        assert isinstance(done.exception, WheatearError), done.output
        return str(done.exception)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output.replace("\n", " ")


def training(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run another command of training."""
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_from_a_camera_to_a_folder_that_can_be_checked_labelled_and_trained(tmp_path):
    """`wheatear run` over a real broker, `training inbox`, `training check`, labels, load."""
    out, folder = tmp_path / "field", tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        label = list(devices.COLOURS)[number % 3]
        (folder / f"{number}.jpg").write_bytes(devices.photo(label, seed=number))
    inbox = "keep = true\nsend = true\nrandom_share = 1.0\nspacing_seconds = 0.0"
    with Mosquitto(tmp_path) as broker:
        assert "first visit" in collect(broker.port, out, "--seconds", "0.1")
        path = devices.config(tmp_path, broker.port, f"[inbox]\nmin_free_bytes = 0\n{inbox}")
        _, told = devices.start("run", "--once", "--config", str(path)).communicate(timeout=60)
        said = collect(broker.port, out, "--once")
    assert "4 new, 4 in all, 0 labelled" in said, said + told
    found = rows(out)
    assert {row["label"] for row in found} == {"unlabelled"}
    assert {row["proposal"] for row in found} == set(devices.COLOURS)
    (group,) = {row["group"] for row in found}  # which one, this computer's clock decides
    assert group.startswith("cam-1/")
    checked = training("check", str(out), "--out", str(tmp_path / "check"))
    assert checked.returncode == 1, checked.stdout + checked.stderr  # nothing to train on yet
    assert "4 photos without a label yet" in checked.stdout
    with pytest.raises(DataError, match="none of the 4 photos has a label yet"):
        load_dataset(out)
    text = (out / "labels.csv").read_text().replace("unlabelled", "aphid", 3)
    (out / "labels.csv").write_text(text)
    dataset = load_dataset(out)
    assert dataset.counts() == {"aphid": 3}
    assert "1 photo not labelled yet, not used" in [note.title for note in dataset.notes]


def test_what_comes_while_nobody_collects_is_kept_by_the_broker_and_taken_once(tmp_path):
    """A second visit takes what came meanwhile; the same again changes nothing."""
    out = tmp_path / "field"
    with Mosquitto(tmp_path) as broker:
        collect(broker.port, out, "--seconds", "0.1")
        send(broker.port, [m for n in range(3) for m in made(n)])
        assert "3 new, 3 in all" in collect(broker.port, out, "--once")
        before = (out / "labels.csv").read_bytes()
        send(broker.port, [m for n in range(3) for m in made(n)])
        assert "0 new, 3 in all" in collect(broker.port, out, "--once")
    assert (out / "labels.csv").read_bytes() == before
    assert len(list(out.rglob("*.jpg"))) == 3


def test_ctrl_c_and_kill_lose_nothing(tmp_path):
    """Ctrl-C ends in good order with everything written; after a kill the rest still comes."""
    out = tmp_path / "field"
    with Mosquitto(tmp_path) as broker:
        collect(broker.port, out, "--seconds", "0.1")
        command = [sys.executable, "-m", "training", "inbox", f"127.0.0.1:{broker.port}", str(out)]
        for number, end in ((0, signal.SIGKILL), (1, signal.SIGINT)):
            running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            send(broker.port, made(number))
            picture = out / "images" / "cam-1" / f"{number:016x}.jpg"
            wait_for(picture.exists)
            send(broker.port, made(number + 10))
            running.send_signal(end)
            said, _ = running.communicate(timeout=20)
            if end is signal.SIGINT:
                assert running.returncode == 0
                assert "in all" in said
        collect(broker.port, out, "--once")
    assert {int(row["id"], 16) for row in rows(out)} == {0, 1, 10, 11}


def test_a_broker_that_refuses_or_denies_is_one_error_with_the_cure(tmp_path):
    """Nobody there, a wrong password, an access list: told apart, and exit status 2."""
    (tmp_path / "secret").write_text("wrong\n")
    with locked(tmp_path, "sighting") as broker:
        who = ("--username", "reader", "--password-file", str(tmp_path / "secret"))
        assert "check the user name" in collect(broker.port, tmp_path / "a", *who, status=2)
        (tmp_path / "secret").write_text("other\n")
        collect(broker.port, tmp_path / "a", *who, "--seconds", "0.1")
    assert "; check the port," in collect(broker.port, tmp_path / "a", status=2)


def test_pictures_come_over_tls_with_a_client_certificate(authority):
    """An authority of one's own, and a certificate that says who collects."""
    listener = (
        f"cafile {authority}/ca.pem\ncertfile {authority}/server.pem\n"
        f"keyfile {authority}/server.key\nrequire_certificate true"
    )
    for file in authority.iterdir():
        file.chmod(0o644)
    own = [f"--{name}={authority}/{file}" for name, file in TLS.items()]
    context = ssl.create_default_context(cafile=authority / "ca.pem")
    context.load_cert_chain(authority / "client.pem", authority / "client.key")
    with Mosquitto(authority, listener=listener) as broker:
        collect(broker.port, authority / "out", *own, "--seconds", "0.1")
        send(broker.port, made(1), context)
        assert "1 new, 1 in all" in collect(broker.port, authority / "out", *own, "--once")


def test_labels_that_a_person_wrote_stay(tmp_path):
    """New pictures are added below; label, split, group, own columns and own rows are kept."""
    store = filled(tmp_path, 2)
    found = rows(tmp_path)
    found[0] |= {"label": "mite", "split": "test", "group": "row 12", "note": "lovely"}
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*found[0]])
        writer.writeheader()
        writer.writerows([*found, {"file": "mine.jpg", "label": "leaf"}])
    for message in made(2):
        store.take(*message)
    assert write(store, LOCAL_FILES) == 2
    after = {row["file"]: row for row in rows(tmp_path)}
    assert len(after) == 4
    kept = after[found[0]["file"]]
    assert (kept["label"], kept["split"], kept["group"], kept["note"]) == (
        "mite",
        "test",
        "row 12",
        "lovely",
    )
    assert after["mine.jpg"]["label"] == "leaf"


def test_a_csv_that_cannot_be_read_is_left_as_it_is(tmp_path):
    """Hours of labelling are not overwritten because of one stray comma."""
    store = filled(tmp_path, 1)
    (tmp_path / "labels.csv").write_text("file,label\nx.jpg,a,b,c\n")
    with pytest.raises(DataError, match="more fields than the header"):
        write(store, LOCAL_FILES)
    assert (tmp_path / "labels.csv").read_text() == "file,label\nx.jpg,a,b,c\n"


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        ("wheatear/../inbox/0000000000000001", devices.photo("leaf"), "not a topic of an inbox"),
        ("wheatear/cam-1/inbox/..%2fx", devices.photo("leaf"), "not a topic of an inbox"),
        ("wheatear/cam-1/inbox/0000000000000001", b"<html>", "not a picture"),
        ("wheatear/cam-1/inbox/0000000000000001/meta", b"{}", "is missing"),
        ("wheatear/cam-2/inbox/0000000000000001/meta", made(1)[0][1], "it says it is cam-1"),
    ],
)
def test_what_is_no_message_of_a_camera_writes_nothing(tmp_path, topic, payload, why):
    """Names that lead elsewhere, broken pictures and foreign JSON are refused by what is wrong."""
    store = Store(tmp_path / "out")
    with pytest.raises(DataError, match=why):
        store.take(topic, payload)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_messages_come_in_any_order_and_a_picture_must_be_the_one_described(tmp_path):
    """The JPEG may come first; one that is not what the JSON describes makes nothing whole."""
    store = Store(tmp_path)
    meta, image = made(1)
    assert store.take(*image) is None
    assert store.take(*meta) is not None
    meta, image = made(2)
    assert store.take(*meta) is None
    assert store.take(image[0], devices.photo("beetle")) is None
    assert store.take(*meta) is None
    assert store.take(*image) is not None
    assert [int(r.item.id, 16) for r in Store(tmp_path).records] == [1, 2]


def test_pictures_are_grouped_by_day_or_where_the_clock_was_not_set_by_boot(tmp_path):
    """A wrong date would part pictures of one morning, or join those of different months."""
    store = Store(tmp_path)
    for number, clock in ((0, "synced"), (30, "synced"), (60, "unsynced"), (90, "unsynced")):
        for message in made(number, clock=clock, boot="5f0c"):
            store.take(*message)
    groups = [record.group for record in store.records]
    assert groups == ["cam-1/2026-06-21", "cam-1/2026-06-22", *["cam-1/boot-5f0c"] * 2]


def test_tasks_and_labels_go_to_label_studio_and_come_back(tmp_path):
    """A proposal is a prediction; skipped tasks stay unlabelled; both kinds of export are read."""
    store = filled(tmp_path, 3)
    (first, *_) = made_tasks = tasks(store.records)
    assert first["data"]["image"] == f"{LOCAL_FILES}images/cam-1/{0:016x}.jpg"
    assert first["predictions"][0]["result"][0]["value"] == {"choices": ["aphid"]}
    assert "annotations" not in first
    assert json.loads((tmp_path / "label-studio.json").read_text()) == made_tasks
    answer = {"from_name": "label", "to_name": "image", "type": "choices"}
    result = [{**answer, "value": {"choices": ["mite"]}}]
    exported = [
        {"data": first["data"], "annotations": [{"result": result, "was_cancelled": False}]},
        {"data": made_tasks[1]["data"], "annotations": [{"result": [], "was_cancelled": True}]},
        {"data": {"image": made_tasks[2]["data"]["image"]}, "annotations": [{"result": result}]},
    ]
    export = tmp_path / "export.json"
    export.write_text(json.dumps(exported))
    done = training("inbox-labels", str(tmp_path), str(export))
    assert done.returncode == 0, done.stderr
    assert "2 labels taken" in done.stdout
    assert [row["label"] for row in rows(tmp_path)] == ["mite", "unlabelled", "mite"]
    export.write_text(json.dumps([{**first["data"], "label": "leaf", "annotator": 1}]))
    assert read_annotations(export) == {first["data"]["file"]: "leaf"}
    export.write_text("[1]")
    with pytest.raises(DataError, match="choose JSON or JSON-MIN"):
        read_annotations(export)


def test_the_page_shows_every_picture_and_trusts_no_text(tmp_path):
    """Pictures by reason with the proposal; what a camera writes is text, never markup."""
    store = Store(tmp_path)
    for message in made(1, probabilities={"<script>": 0.55}):
        store.take(*message)
    write(store, LOCAL_FILES)
    page = (tmp_path / "index.html").read_text()
    assert f'src="images/cam-1/{1:016x}.jpg"' in page
    assert "&lt;script&gt;</bdi> 40%" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("address", "host", "port", "tls"),
    [
        ("field.example", "field.example", 1883, False),
        ("10.0.0.7:1884", "10.0.0.7", 1884, False),
        ("mqtt://[::1]:1885", "::1", 1885, False),
        ("mqtts://field.example", "field.example", 8883, True),
    ],
)
def test_a_broker_is_named_as_people_do(address, host, port, tls):
    """Host, host and port, or an address with its scheme."""
    broker = broker_from(address, Login())
    assert (broker.address, broker.tls is not None) == ((host, port), tls)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://x", "give host"),
        ("x:99999", "give host:port"),
        ("mqtt://u:secret@x", "lists of processes"),
        ("mqtt://x/path", "not a broker's address"),
    ],
)
def test_an_address_that_is_none_is_refused(address, why):
    """With the cure, and never with the password."""
    with pytest.raises(ConfigError, match=why) as error:
        broker_from(address, Login())
    assert "secret" not in str(error.value)


def test_labels_of_a_mistyped_folder_or_of_other_pictures_are_an_error(tmp_path):
    """No empty folder is made, and nothing is written where no label belongs."""
    export = tmp_path / "export.json"
    export.write_text(json.dumps([{"file": "images/cam/1.jpg", "label": "moth"}]))
    done = training("inbox-labels", str(tmp_path / "feild"), str(export))
    assert done.returncode == 2
    assert "feild: not a folder that `inbox` filled" in done.stderr
    assert not (tmp_path / "feild").exists()
    Store(tmp_path / "field")
    done = training("inbox-labels", str(tmp_path / "field"), str(export))
    assert done.returncode == 2
    assert "its 1 labels are of other pictures" in done.stderr
    assert not (tmp_path / "field" / "labels.csv").exists()
