"""`wheatear request` against a device on a real broker."""

from __future__ import annotations

import json
import signal
import threading

import pytest
from brokers import Mosquitto, Subscriber, free_port
from desks import Served
from devices import start
from patience import PATIENCE
from senders import settings

from edge.commands.cli import main


@pytest.fixture
def served(tmp_path):
    """A broker, and a device that takes requests with a token; gives the options to reach it."""
    (tmp_path / "token").write_text("s3cret\n")
    with Mosquitto(tmp_path) as broker:
        device = Served(tmp_path, settings(broker.port), token_file=tmp_path / "token")
        options = ["--broker", f"127.0.0.1:{broker.port}", "--token-file", f"{tmp_path}/token"]
        with device:
            yield device, options


def test_the_answer_is_printed_as_json(served, capsys):
    """Parameters are JSON where they can be; the status is 0."""
    device, options = served
    assert main(["request", "cam-1", "log", "lines=7", "--transaction", "t", *options]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["transaction"], answer["data"]) == ("t", {"count": 1})
    assert device.desk.done == [("log", {"lines": 7})]


def test_a_clock_that_is_behind_that_of_another_asker_is_no_hindrance(served, capsys):
    """What the device names is exceeded."""
    device, options = served
    ahead = 4_000_000_000_000
    words = ["request", "cam-1", "restart", *options]
    assert main([*words, f"sent={ahead}"]) == 0
    assert main(words) == 0
    assert [verb for verb, _ in device.desk.done] == ["restart", "restart"]
    assert device.desk.memory.after == ahead + 1
    capsys.readouterr()


@pytest.mark.parametrize("text", ["1234567890123456", "12e4567890123456"])
def test_a_revision_that_reads_as_a_number_stays_text(served, capsys, text):
    """Sixteen hexadecimal digits may be decimal ones only, or have one `e` among them."""
    device, options = served
    assert main(["request", "cam-1", "inbox/get", f"id={text}", *options]) == 0
    assert device.desk.done == [("inbox/get", {"id": text})]
    capsys.readouterr()


@pytest.mark.parametrize(
    "words",
    [
        ["OPTIONS", "cam-1", "log", "lines=7"],
        ["cam-1", "OPTIONS", "log", "lines=7"],
        ["cam-1", "log", "OPTIONS", "lines=7"],
        ["cam-1", "log", "lines=1", "OPTIONS", "--timeout", "9", "lines=7"],
    ],
)
def test_parameters_may_stand_before_and_behind_options(served, words):
    """They reach the device; of two the last."""
    device, options = served
    at = words.index("OPTIONS")
    assert main(["request", *words[:at], *options, *words[at + 1 :]]) == 0
    assert device.desk.done == [("log", {"lines": 7})]


def test_an_option_that_does_not_exist_is_no_parameter(capsys):
    """Status 2, as for every command; so is a word too many elsewhere."""
    for words in (["request", "cam-1", "status", "--lines=7"], ["schema", "lines=7"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert f"unrecognized arguments: {words[-1]}" in capsys.readouterr().err


def test_only_what_is_missing_is_called_missing(capsys):
    """Parameters may be left out."""
    with pytest.raises(SystemExit, match="2"):
        main(["request", "cam-1"])
    assert capsys.readouterr().err.endswith("arguments are required: VERB\n")
    with pytest.raises(SystemExit, match="2"):
        main(["outbox", "release"])
    assert capsys.readouterr().err.endswith("arguments are required: --config\n")


@pytest.mark.parametrize(
    "words",
    [
        *(["request", "cam-1", "status", f"--timeout={n}"] for n in ("-3", "0", "nan", "1e300")),
        *(["model", "verify", "a.wtr", f"--seconds={n}"] for n in ("-1", "0", "x")),
        *(["model", "verify", "a.wtr", f"--memory-bytes={n}"] for n in ("-1", "0", "9" * 19)),
        *(["run", "--config", "c.toml", f"--drain-timeout={n}"] for n in ("-1", "inf")),
    ],
)
def test_a_number_that_cannot_be_used_is_refused_with_its_option(capsys, words):
    """Status 2, and the value is named, before anything is done."""
    with pytest.raises(SystemExit, match="2"):
        main(words)
    option, _, value = words[-1].partition("=")
    assert f"argument {option}: '{value}': give " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["log", "lines=x", "--unchecked"], "MalformedRequestError"),
        (["config/set", "revision=x"], "RequestDeniedError"),
        (["capture"], "CameraError"),
    ],
)
def test_an_error_is_printed_and_the_status_is_1(served, capsys, words, kind):
    """What the device refuses is its answer."""
    assert main(["request", "cam-1", *words, *served[1]]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == kind


def test_a_parameter_may_be_the_text_of_a_file(served, tmp_path, capsys):
    """`@file`, as for a whole configuration."""
    (tmp_path / "text").write_text("error")
    assert main(["request", "cam-1", "log", f"level=@{tmp_path}/text", *served[1]]) == 0
    assert served[0].desk.done == [("log", {"level": "error"})]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["statsu"], "no verb 'statsu'; known: capture, config/get"),
        (["log", "lines=x"], "lines = 'x': it must be a whole number; what is taken here: lines, "),
        (["status", "lines=7"], "lines is not known; what is taken here: nothing"),
        (["model/chunk", "size=7"], "sha256 is missing; what is taken"),
        (
            ["log", "level=loud"],
            "level = 'loud': it is not one of the choices (debug, info, warning, error); wh",
        ),
        (
            ["inbox/get", "id=0123456789ABCDEF"],
            "id = '0123456789ABCDEF': it must be 16 hexadecimal digits (0-9, a-f); wh",
        ),
        (
            ["inbox/get", "id=0123456789abcdef\n"],
            "it must be 16 hexadecimal digits (0-9, a-f); what",
        ),
    ],
)
def test_what_no_device_takes_is_refused_before_it_is_sent(capsys, words, says):
    """By this program's own table, without a broker; one that knows less than the device asks."""
    options = ["--broker", f"127.0.0.1:{free_port()}"]
    assert main(["request", "cam-1", *words, *options]) == 1
    told = capsys.readouterr().err
    assert says in told
    assert "; --unchecked asks all the same" in told
    assert main(["request", "cam-1", *words, *options, "--unchecked"]) == 1
    assert "; check --broker," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cam-2", "status", "--timeout", "0.5"], "no answer from wheatear/cam-2 within 0.5 s"),
        (["cam-1", "status", "--broker", f"127.0.0.1:{free_port()}"], "; check --broker,"),
        (["cam-1", "status", "--broker", "host:port"], "give HOST or HOST:PORT"),
        (["cam-1", "status", "lines"], "give key=value"),
        (["cam/#", "status"], "DEVICE 'cam/#' cannot be in a topic"),
        (["cam-1", "+"], "VERB '+' cannot be in a topic"),
        (["cam-1", "stat us"], "VERB 'stat us' cannot be in a topic"),
        (["cam-1", "\udcff"], "cannot be in a topic"),
        (["cam-1", "status", "--base", ""], "--base '' cannot be in a topic"),
        (["cam-1", "status", "toml=@/none/such"], "cannot read /none/such"),
        (["cam-1", "status", "--ca", "/none/such"], "--ca: cannot use /none/such"),
        (["cam-1", "status", "--token-file", "/none/such"], "cannot read /none/such"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_line(served, capsys, words, says):
    """No answer, no broker, options that cannot be used: status 1, the reason on stderr."""
    first = [word for word in words[:3] if "--" not in word]
    assert main(["request", *first, *served[1], *words[len(first) :]]) == 1
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.fixture
def deaf(tmp_path):
    """A broker, and all that is asked of a device that leaves it to the test to answer."""
    with (
        Mosquitto(tmp_path) as broker,
        Subscriber(broker.port, "wheatear/cam-1/request/#") as asked,
    ):
        yield asked, ["--broker", f"127.0.0.1:{broker.port}"]


def test_what_was_sent_twice_is_not_asked_anew(deaf, capsys):
    """The first may have been carried out: the refusal of the second is the answer."""
    asked, options = deaf
    problem = {"kind": "OldRequestError", "message": "used", "after": 4_000_000_000_000}
    refusal = json.dumps({"transaction": "t", "status": "error", "error": problem}).encode()

    def answer() -> None:
        asked.wait(lambda messages: len(messages) > 1)
        asked.publish("wheatear/cam-1/response/restart", refusal)

    device = threading.Thread(target=answer)
    device.start()
    assert main(["request", "cam-1", "restart", "--transaction", "t", *options]) == 1
    device.join()
    assert json.loads(capsys.readouterr().out)["error"] == problem
    assert len({bytes(message.payload) for message in asked.messages}) == 1


def test_whoever_stops_waiting_is_told_so_by_the_status_alone(deaf):
    """Ctrl-C: 130, as of a program that SIGINT ended, and no traceback."""
    asked, options = deaf
    process = start("request", "cam-1", "status", *options)
    asked.wait(lambda messages: bool(messages))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 130
