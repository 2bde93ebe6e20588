"""Times from a board: a real sshd on 127.0.0.1, the real `ssh`, the device program at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import tiny
from brokers import free_port
from sshd import DEVICE_PROGRAM as WHEATEAR
from sshd import TREE

from edge.errors import QuantizeError
from edge.model.timing import Hello
from edge.system.board import board
from quantize.options import Options
from quantize.timing import ssh as remote
from quantize.timing.open import open_timer
from quantize.timing.ssh import Remote, parse
from quantize.timing.timer import Local

SMALL, OTHER = tiny.model(), tiny.model() + bytes(16)


def script(folder, text):
    """A program on the board, in the place of `wheatear`."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def patched(statement):
    """The device program with something changed before it starts."""
    code = (
        f"import sys; {statement}; from edge.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return f'env PYTHONPATH={TREE} {sys.executable} -c "{code}"'


def test_times_come_from_the_machine_that_is_named(sshd):
    """Every model and round has its time, and the timer can say where they were measured."""
    with open_timer(sshd.on, WHEATEAR) as timer:
        ours, theirs = timer.milliseconds([SMALL, OTHER], rounds=3)
        assert len(ours) == len(theirs) == 3
        assert min(ours + theirs) > 0
        assert timer.ratio(SMALL, OTHER, rounds=3) > 0
        assert timer.where.startswith(f"{sshd.on} ({board()}, litert ")
        assert timer.board == Local().board


def test_a_model_that_is_there_is_not_sent_again(sshd, tmp_path):
    """Three requests name one model: its bytes cross once; another one crosses when it is new."""
    sent = tmp_path / "sent"
    command = script(tmp_path, f'tee {sent} | {WHEATEAR} "$@"')
    with Remote(sshd.on, command) as timer:
        timer.milliseconds([SMALL], rounds=1)
        timer.milliseconds([SMALL, SMALL], rounds=1)
        assert sent.read_bytes().count(SMALL) == 1
        timer.milliseconds([OTHER, SMALL], rounds=1)
    assert sent.read_bytes().count(SMALL) == 2
    assert sent.read_bytes().count(OTHER) == 1


def test_a_connection_that_breaks_in_a_request_is_made_anew(sshd, tmp_path):
    """The server's process is killed while the models come; the times come all the same."""
    cut = script(
        tmp_path,
        f"""
        [ -e {tmp_path}/cut ] && exec {WHEATEAR} "$@"
        touch {tmp_path}/cut
        {WHEATEAR} "$@" </dev/null
        head -c 100 >/dev/null
        pid=$PPID
        until grep -q sshd /proc/$pid/comm; do pid=$(cut -d' ' -f4 /proc/$pid/stat); done
        kill -9 $pid""",
    )
    said: list[str] = []
    with Remote(sshd.on, cut, said.append, pauses=(0.1,)) as timer:
        assert len(timer.milliseconds([SMALL, OTHER], rounds=2)) == 2
    (line,) = said
    assert line.startswith(f"{sshd.on}: connection lost (")
    assert line.endswith("again in 0.1 s")


def test_an_ssh_that_is_killed_is_started_again(sshd):
    """As a broken connection; the program at the other end has ended with it."""
    said: list[str] = []
    with Remote(sshd.on, WHEATEAR, said.append, pauses=(0.1,)) as timer:
        timer.milliseconds([SMALL], rounds=1)
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        for pid in map(int, children.split()):
            if b"bench --serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        assert len(timer.milliseconds([SMALL], rounds=2)[0]) == 2
    assert said == [f"{sshd.on}: connection lost (ssh was stopped by signal 9); again in 0.1 s"]


def test_a_machine_that_stays_away_is_an_error_that_says_to_repeat(sshd):
    """Every further try is told; then one error."""
    said: list[str] = []
    with Remote(sshd.on, WHEATEAR, said.append, pauses=(0.1, 0.1)) as timer:
        sshd.stop()
        with pytest.raises(QuantizeError, match=r"is lost \(.*2 more tries.*Repeat the command"):
            timer.milliseconds([SMALL], rounds=1)
    assert len(said) == 2


def test_another_machine_at_the_same_address_is_refused(sshd, tmp_path):
    """Times of two machines never meet in one search."""
    other = patched(
        "import edge.commands.bench_server as s; s.installed = lambda _: ('litert', '0.1')"
    )
    command = script(tmp_path, f'[ -e {tmp_path}/was ] && exec {other} "$@"\nexec {WHEATEAR} "$@"')
    with Remote(sshd.on, command) as timer:
        (tmp_path / "was").touch()
        timer.close()
        with pytest.raises(QuantizeError, match=r"litert [1-9].* and is .*litert 0\.1 now"):
            timer.milliseconds([SMALL], rounds=1)


def test_a_model_that_cannot_run_there_is_named_and_the_others_go_on(sshd):
    """The machine's own words; the connection stays."""
    with Remote(sshd.on, WHEATEAR) as timer:
        with pytest.raises(QuantizeError, match=r"model 2: this model is compiled for the Edge"):
            timer.milliseconds([SMALL, tiny.model("tiny_edgetpu")], rounds=1)
        assert len(timer.milliseconds([SMALL], rounds=2)[0]) == 2


def test_a_machine_that_is_held_back_is_told_once(sshd):
    """Under-voltage makes times longer: a line says so, not one a measurement."""
    command = patched("import edge.model.timing as t; t.throttled = lambda: ('under-voltage',)")
    said: list[str] = []
    with Remote(sshd.on, command, said.append) as timer:
        timer.milliseconds([SMALL], rounds=1)
        timer.milliseconds([SMALL], rounds=1)
    (line,) = said
    assert "is held back (under-voltage)" in line


def test_a_shell_that_talks_first_does_no_harm(sshd, tmp_path):
    """Lines of a login script before the program's own are passed over."""
    with Remote(sshd.on, script(tmp_path, f'echo Welcome!\nexec {WHEATEAR} "$@"')) as timer:
        assert len(timer.milliseconds([SMALL], rounds=1)) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nowhere/wheatear", r"'/nowhere/wheatear' does not start there \(.*--on-command"),
        (
            "sh -c 'echo wheatear: error: unrecognized arguments: --serve >&2; exit 2'",
            r"too old to be asked for times \(wheatear: error: unrecognized .*update it",
        ),
        (
            patched("sys.modules.update(ai_edge_litert=None, tflite_runtime=None)"),
            r"no TFLite interpreter found: runtime 'litert' needs ai_edge_litert",
        ),
        ("true", r"it ended without a message"),
    ],
)
def test_what_is_wrong_with_the_program_there_is_said(sshd, command, message):
    """Missing, too old, without an interpreter: told at once, with the cure."""
    with pytest.raises(QuantizeError, match=rf"^--on {sshd.on}: .*{message}"):
        Remote(sshd.on, command)


def test_a_program_that_speaks_otherwise_is_refused(sshd, tmp_path):
    """Another protocol, or words that this version does not know: the same version on both."""
    hello = msgspec.json.encode(Hello(protocol=2, board=board(), runtime="x", runtime_version="1"))
    command = script(tmp_path, f"echo '{hello.decode()}'")
    with pytest.raises(QuantizeError, match="by protocol 2, this one by 1; install the same"):
        Remote(sshd.on, command)
    with pytest.raises(QuantizeError, match="speaks another protocol"):
        Remote(sshd.on, script(tmp_path, """echo '{"type":"bonjour"}'"""))


def test_a_program_that_never_answers_is_stopped(sshd, monkeypatch):
    """No wait without an end."""
    monkeypatch.setattr(remote, "HELLO_SECONDS", 1.0)
    with pytest.raises(QuantizeError, match="no answer within 1 s"):
        Remote(sshd.on, "sh -c 'exec cat >/dev/null' --")


def test_keys_that_do_not_fit_are_told_apart(sshd):
    """The user's key is not taken; the machine's key is not known."""
    sshd.offer("other")
    with pytest.raises(
        QuantizeError, match=r"accepts none of this user's keys.*ssh-copy-id -p \d+"
    ):
        Remote(sshd.on, WHEATEAR)
    sshd.offer("mine")
    sshd.trust("")
    with pytest.raises(QuantizeError, match="host key is not known here"):
        Remote(sshd.on, WHEATEAR)


@pytest.mark.usefixtures("sshd")
def test_a_machine_that_is_not_there_is_an_error_at_once():
    """Nobody listens at that port; what ssh said is in the message."""
    with pytest.raises(QuantizeError, match=r"cannot be reached: .*refused.*ssh -p \d+ pi@127"):
        Remote(f"pi@127.0.0.1:{free_port()}")


def test_without_ssh_the_message_says_what_to_install(monkeypatch, tmp_path):
    """The system's program is used, so it must be there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QuantizeError, match=r"needs the program ssh .*openssh-client"):
        Remote("pi@host")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("cam-07", "cam-07", None),
        ("pi@cam-07.local:2222", "pi@cam-07.local", 2222),
        ("pi@192.168.1.7", "pi@192.168.1.7", None),
        ("pi@[fe80::1%eth0]:22", "pi@fe80::1%eth0", 22),
    ],
)
def test_a_target_is_a_host_with_user_and_port(text, host, port):
    """It stands behind `--`, where ssh looks for no options."""
    target = parse(text)
    assert (target.host, target.port) == (host, port)
    assert target.ssh("true")[-3:] == ["--", host, "true"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=touch x",
        "-oProxyCommand=x@host",
        "pi@-oProxyCommand=x",
        "host -v",
        "host\n-v",
        "pi@host;reboot",
        "host:0",
        "host:65536",
        "fe80::1",
        "a@b@c",
    ],
)
def test_what_is_no_host_is_refused(text):
    """Above all what ssh would take for an option of its own."""
    with pytest.raises(QuantizeError, match=r"give \[user@\]host\[:port\]"):
        parse(text)


def test_options_without_use_are_refused():
    """A command without a machine; a machine without anything to time."""
    with pytest.raises(QuantizeError, match="say on which machine, with --on"):
        open_timer("", "/opt/wheatear/bin/wheatear")
    with pytest.raises(QuantizeError, match="only budgets are timed"):
        Options(on="pi@host")
