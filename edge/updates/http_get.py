"""One GET over http or https, watched at every step: name, connection, TLS, head and body.

The connection is made here and not by :mod:`urllib`, so that no server can hold it up longer than
the pace allows, the address that is asked is the one that was checked, and no proxy of the
environment comes in between.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple

from edge.errors import ConfigError, UnreachableError, WheatearError
from edge.system.resource_limits import begin
from edge.text.pipes import refuse_pipe
from edge.text.url import Url, follow, parse, shown
from edge.updates.download_pace import STEP_SECONDS, BrokenError, Pace
from edge.updates.server_access import Access

MOST_REDIRECTS = 5
HEAD_BYTES = 64 << 10
"""Of a status line and all headers."""
_REDIRECTS = (301, 302, 303, 307, 308)

Sockaddr = tuple[Any, ...]


class Web(NamedTuple):
    """How servers are asked."""

    access: Access
    pace: Pace
    timeout: float
    """Seconds for a name, for a connection, for TLS."""
    ca: Path | None = None

    @contextlib.contextmanager
    def get(self, text: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Ask, follow redirects, give the answer with its body unread.

        Raises:
            BrokenError: this attempt failed; another may not.
            UnreachableError: no other attempt would do better.
            StoppedError, UpdateExpiredError: see :class:`~edge.updates.download_pace.Pace`.
        """
        first = url = checked(self.access, text)
        for _ in range(MOST_REDIRECTS + 1):
            login = self.access.login(url, first)
            sent = {**headers, **({"Authorization": login} if login else {})}
            with self._connected(url) as connection:
                with told(self.pace):
                    answer = _ask(connection, url, sent, self.pace)
                if answer.status not in _REDIRECTS:
                    yield answer
                    return
                location = answer.headers.get("Location", "")
            text, url = self._led(text, url, location)
        raise UnreachableError(f"{shown(text)} redirects more than {MOST_REDIRECTS} times")

    def _led(self, text: str, url: Url, location: str) -> tuple[str, Url]:
        """The address that a redirect leads to, if that is allowed. Raises UnreachableError."""
        try:
            target = follow(text, location)
            led = checked(self.access, target)
        except (ValueError, UnreachableError) as error:
            raise UnreachableError(f"{shown(text)} redirects to what is refused: {error}") from None
        if led.scheme == "http" and led.origin != url.origin:
            raise UnreachableError(
                f"{shown(text)} redirects to {shown(target)} over plain http, which is not followed"
            )
        return target, led

    @contextlib.contextmanager
    def _connected(self, url: Url) -> Iterator[socket.socket]:
        context = https_context(self.ca) if url.scheme == "https" else None
        with told(self.pace):
            connection = self._connect(url)
        if context is not None:
            with told(self.pace):
                connection = self._secured(connection, context, url)
        with contextlib.closing(connection):
            yield connection

    def _connect(self, url: Url) -> socket.socket:
        found = [
            (family, address)
            for family, address in _looked_up(url, self.timeout, self.pace)
            if self.access.reaches(url, ipaddress.ip_address(address[0]))
        ]
        if not found:
            raise UnreachableError(
                f"{url.host} stands for an address that nothing is fetched from; name hosts of the "
                "local network in model.update.hosts"
            )
        for family, address in found[:-1]:
            with contextlib.suppress(OSError, BrokenError):
                return _connect(family, address, self.timeout / len(found), self.pace)
        return _connect(*found[-1], self.timeout / len(found), self.pace)

    def _secured(self, plain: socket.socket, context: ssl.SSLContext, url: Url) -> ssl.SSLSocket:
        secured = context.wrap_socket(  # it takes the plain one over, and closes it if it fails
            plain, server_hostname=url.host, do_handshake_on_connect=False
        )
        with contextlib.ExitStack() as stack:
            stack.push(contextlib.closing(secured))

            def shaken() -> int:
                secured.do_handshake()
                return 1

            for _ in _steps(self.timeout, self.pace, "TLS"):
                if _tried(shaken, secured, select.POLLIN):
                    stack.pop_all()
                    return secured
        raise AssertionError  # the steps end with an error


def checked(access: Access, text: str) -> Url:
    """Take an address apart that may be asked. Raises UnreachableError."""
    try:
        url = parse(text)
        access.check(url)
    except ValueError as error:
        raise UnreachableError(f"{shown(text)}: {error}") from None
    return url


@contextlib.contextmanager
def told(pace: Pace) -> Iterator[None]:
    """Turn what the system and the protocol say into BrokenError."""
    try:
        yield
    except WheatearError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        pace.check()
        raise BrokenError(f"{type(error).__name__}: {error}") from error


def https_context(ca: Path | None) -> ssl.SSLContext:
    """Trust one certificate authority (PEM), None: the system's. Raises ConfigError."""
    try:
        if ca:
            refuse_pipe(ca)
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.update.ca: {ca} holds no certificate authority ({error}); name a PEM file"
        ) from error


def _steps(seconds: float, pace: Pace, what: str) -> Iterator[None]:
    """Look at the pace again and again; raises BrokenError when `seconds` are over."""
    until = pace.now() + seconds
    while pace.now() < until:
        pace.check()
        yield
    raise BrokenError(f"{what} took longer than {seconds:g} s")


def _looked_up(url: Url, seconds: float, pace: Pace) -> list[tuple[int, Sockaddr]]:
    """Look a name up on a thread of its own: nothing else can leave a resolver that hangs."""
    answers: Queue[list[tuple[int, Sockaddr]] | OSError] = Queue()

    def look() -> None:
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            answers.put([(family, address) for family, _, _, _, address in found])
        except (OSError, UnicodeError) as error:
            answers.put(OSError(str(error)))

    begin(threading.Thread(target=look, name="names", daemon=True))
    for _ in _steps(seconds, pace, f"looking {url.host} up"):
        with contextlib.suppress(Empty):
            found = answers.get(timeout=STEP_SECONDS)
            if isinstance(found, OSError):
                raise found
            return found
    raise AssertionError  # the steps end with an error


def _connect(family: int, address: Sockaddr, seconds: float, pace: Pace) -> socket.socket:
    """Open a socket that does not block. Raises OSError, BrokenError."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.connect_ex(address)
        for _ in _steps(seconds, pace, f"connecting to {address[0]}"):
            if _ready(made, select.POLLOUT):
                break
        if trouble := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(trouble, f"connecting to {address[0]} failed ({trouble})")
    except BaseException:
        made.close()
        raise
    return made


def _ask(
    connection: socket.socket, url: Url, headers: Mapping[str, str], pace: Pace
) -> http.client.HTTPResponse:
    asked = http.client.HTTPConnection(url.host, url.port)
    asked.default_port = 443 if url.scheme == "https" else 80
    asked.sock = _Wire(connection, pace)
    pace.begin(HEAD_BYTES)
    asked.request("GET", url.target, headers=headers)
    return asked.getresponse()


class _Wire:
    """What :mod:`http.client` needs of a socket, watched."""

    def __init__(self, connection: socket.socket, pace: Pace) -> None:
        self._socket, self._pace = connection, pace

    def sendall(self, data: bytes) -> None:
        """Send a request."""
        left = memoryview(data)
        while left:
            self._pace.check_flow()
            sent = _tried(partial(self._socket.send, left), self._socket, select.POLLOUT)
            left = left[sent or 0 :]

    def makefile(self, *_: object) -> io.BufferedReader:
        """The stream that answers are read from."""
        return io.BufferedReader(_SocketReader(self._socket, self._pace), 16 << 10)

    def close(self) -> None:
        """Nothing: whoever opened the socket closes it."""


class _SocketReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, pace: Pace) -> None:
        self._socket, self._pace = connection, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as the base
        while True:
            self._pace.check_flow()
            # No more than belongs to the head, whatever comes in one piece with it. Where no room
            # is left, 0 asks for whatever there is: any byte is one too many.
            most = min(len(buffer), self._pace.room)
            receive = partial(self._socket.recv_into, buffer, most)
            count = _tried(receive, self._socket, select.POLLIN)
            if count is not None:
                self._pace.got(count)
                return count


def _tried(step: Callable[[], int], connection: socket.socket, event: int) -> int | None:
    """Do what a socket without blocking can; None: it waited a little, and is to be tried again.

    `event` is what a plain socket waits for; TLS says so itself, as it may have to read to send.
    """
    try:
        return step()
    except ssl.SSLWantReadError:
        event = select.POLLIN
    except ssl.SSLWantWriteError:
        event = select.POLLOUT
    except BlockingIOError:
        pass
    _ready(connection, event)
    return None


def _ready(connection: socket.socket, event: int) -> bool:
    """Wait a little for a socket; True where it is ready."""
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(1000 * STEP_SECONDS))
