"""Timing on a board over SSH: `wheatear bench --serve` there, the system's `ssh` here.

One connection serves a whole search; a model that the board has from the last request is not sent
again. Nothing is written to the board. A connection that worked and breaks is made anew.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event
from threading import Timer as Watchdog
from typing import NamedTuple, TypeVar

import msgspec

from edge.errors import QuantizeError
from edge.model.timing import PICTURES, PROTOCOL, Hello, Request, SentModel, Times, TimingAnswer
from edge.text.refusals import refusal
from quantize.timing.timer import Timer, describe, ignore

T = TypeVar("T", Hello, TimingAnswer)

#: Starts `wheatear` from PATH, or from where the README installs it.
COMMAND = 'env PATH="$PATH:/opt/wheatear/bin" wheatear'
#: Seconds until it must have answered; a board may take ten to import NumPy.
HELLO_SECONDS = 60.0
#: Seconds for one model, with its way there: 160 pictures of 750 ms.
MODEL_SECONDS = 120.0
#: Seconds before a lost connection is tried again: a board needs a while to start.
PAUSES = (2.0, 10.0, 30.0)
#: Without questions, without waiting for ever; everything else is the user's own ssh_config.
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
}
_TARGET = re.compile(
    r"(?:(?P<user>\w[\w.+-]*)@)?"
    r"(?P<host>\w[\w.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
#: Exit status of ssh itself; all others are the remote command's (ssh(1)).
_SSH_FAILED = 255


class Target(NamedTuple):
    """A machine that ssh reaches."""

    host: str
    """With the user, if one was given; an alias of ssh_config is one too."""
    port: int | None

    @property
    def words(self) -> list[str]:
        """As ssh wants to be told."""
        return [*([] if self.port is None else ["-p", str(self.port)]), "--", self.host]

    def ssh(self, command: str) -> list[str]:
        """The command line that runs `command` in the shell there."""
        options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
        return ["ssh", "-T", *options, *self.words, command]


def parse(text: str) -> Target:
    """Read [user@]host[:port]; an IPv6 address stands in brackets.

    Raises:
        QuantizeError: anything else, such as an option for ssh.
    """
    match = _TARGET.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise QuantizeError(
            f"--on {text}: give [user@]host[:port], such as pi@cam-07.local; put what else ssh "
            "needs to know into ~/.ssh/config"
        )
    user = f"{match['user']}@" if match["user"] else ""
    return Target(user + match["host"].strip("[]"), port)


class Remote(Timer):
    """A machine reached over SSH, with the device program on it."""

    def __init__(
        self,
        on: str,
        command: str = COMMAND,
        say: Callable[[str], None] = ignore,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """Connect.

        Args:
            on: [user@]host[:port].
            command: what starts `wheatear` there, for the shell there.
            say: told of lost connections and of what makes times doubtful.
            pauses: seconds before each further try.

        Raises:
            QuantizeError: the machine cannot be used; the message has the cure.
        """
        super().__init__(on, say)
        self._target, self._command, self._pauses = parse(on), command, tuple(pauses)
        self._session: _Session | None = None
        try:
            self._session, self._hello = self._connect()
        except _Ended as ended:
            raise self._trouble(ended) from None

    @property
    def board(self) -> str:
        """What the machine said that it is."""
        return _described(self._hello)

    def close(self) -> None:
        """End the program there."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _measure(self, models: Sequence[bytes], rounds: int) -> Times:
        for pause in (*self._pauses, None):
            try:
                if self._session is None:
                    self._session, hello = self._connect()
                    self._check_same(hello)
                return self._session.times(models, rounds)
            except _Refused as refused:
                raise QuantizeError(f"{self.name}: {refused}") from None
            except _Ended as ended:
                self.close()
                if ended.status is None or 0 <= ended.status != _SSH_FAILED:
                    raise self._trouble(ended) from None
                if pause is None:
                    raise QuantizeError(
                        f"the connection to {self.name} is lost ({ended}), and "
                        f"{len(self._pauses)} more tries did not bring it back. Repeat the "
                        "command once the machine answers: finished phases are kept"
                    ) from None
                self._say(f"{self.name}: connection lost ({ended}); again in {pause:g} s")
                time.sleep(pause)
            except BaseException:  # an answer may still be on its way
                self.close()
                raise
        raise AssertionError("unreachable")

    def _connect(self) -> tuple[_Session, Hello]:
        session = _Session(self._target.ssh(f"{self._command} bench --serve --runtime auto"))
        try:
            hello = session.hello()
        except BaseException:
            session.close()
            raise
        if hello.protocol != PROTOCOL:
            session.close()
            raise QuantizeError(
                f"{self.name}: wheatear {hello.wheatear} there times by protocol "
                f"{hello.protocol}, this one by {PROTOCOL}; install the same version on both"
            )
        return session, hello

    def _check_same(self, hello: Hello) -> None:
        if _described(hello) != self.board:
            raise QuantizeError(
                f"{self.name} was {self.board} and is {_described(hello)} now: times of two "
                "machines cannot be compared. Repeat the command"
            )

    def _trouble(self, ended: _Ended) -> QuantizeError:
        """What an end means, and the cure."""
        host = " ".join(word for word in self._target.words if word != "--")
        if ended.status in (126, 127):
            told = (
                f"{self._command!r} does not start there ({ended}); install the device program "
                "(docs/device/install.md), or say with --on-command where it is"
            )
        elif ended.status == 2 and "unrecognized arguments" in str(ended):
            told = f"the wheatear there is too old to be asked for times ({ended}); update it"
        elif ended.status != _SSH_FAILED:
            told = str(ended).removeprefix("wheatear: ")
        elif "Permission denied" in str(ended):
            told = f"it accepts none of this user's keys ({ended}); try: ssh-copy-id {host}"
        elif "Host key verification failed" in str(ended):
            told = f"its host key is not known here, or has changed; look at it: ssh {host}"
        else:
            told = f"cannot be reached: {ended}. Try by hand: ssh {host}"
        return QuantizeError(f"--on {self.name}: {told}")


class _Refused(Exception):
    """The machine is well, but cannot time these models."""


class _Ended(Exception):
    """The program there, or the connection, ended before it answered."""

    def __init__(self, status: int | None, text: str) -> None:
        """`status`: of ssh; None: stopped after too long; negative: by another's signal.

        `text`: what was said last.
        """
        super().__init__(text)
        self.status = status


class _Session:
    """One connection, with `wheatear bench --serve` at its other end."""

    def __init__(self, command: list[str]) -> None:
        self._held: frozenset[str] = frozenset()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the session
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError as error:
            self._errors.close()
            raise QuantizeError(
                f"--on needs the program ssh ({error.strerror}): apt install openssh-client"
            ) from error

    def hello(self) -> Hello:
        """Who is there."""
        return self._exchange(b"", Hello, HELLO_SECONDS)

    def times(self, models: Sequence[bytes], rounds: int) -> Times:
        """Send what is not there yet, and have all timed."""
        names = tuple(hashlib.sha256(model).hexdigest() for model in models)
        new = {
            name: model for name, model in zip(names, models, strict=True) if name not in self._held
        }
        request = Request(
            models=names,
            parcels=tuple(SentModel(name, len(model)) for name, model in new.items()),
            rounds=rounds,
            pictures=PICTURES,
        )
        sent = b"".join([msgspec.json.encode(request), b"\n", *new.values()])
        answer = self._exchange(sent, TimingAnswer, MODEL_SECONDS * len(models))
        self._held = frozenset(names)
        if answer.times is None:
            raise _Refused(answer.error)
        return answer.times

    def _exchange(self, sent: bytes, kind: type[T], seconds: float) -> T:
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None
        assert pipes[1] is not None
        late = Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        watchdog = Watchdog(seconds, stop)
        watchdog.start()
        try:
            with suppress(BrokenPipeError):  # it ended; why, is asked below
                pipes[0].write(sent)
                pipes[0].flush()
            for line in pipes[1]:
                if line.startswith(b'{"type":'):  # a login shell may have its say before
                    return msgspec.json.decode(line, type=kind)
            status = self._process.wait()
        except msgspec.MsgspecError as error:
            raise QuantizeError(
                f"the wheatear there speaks another protocol ({refusal(error)}); install the same "
                "version here and there"
            ) from error
        finally:
            watchdog.cancel()
        if late.is_set():
            raise _Ended(None, f"no answer within {seconds:.0f} s")
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").split("\n")
        # LiteRT's own lines (INFO: Created ... delegate) are none about an end.
        lines = [line.strip() for line in said if line.strip() and not line.startswith("INFO: ")]
        if status < 0:
            lines.append(f"ssh was stopped by signal {-status}")
        raise _Ended(status, lines[-1] if lines else "it ended without a message")

    def close(self) -> None:
        """Let the program there come to its end; a second call does nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # unsent bytes of a broken connection
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def _described(hello: Hello) -> str:
    return describe(str(hello.board), hello.runtime, hello.runtime_version)
