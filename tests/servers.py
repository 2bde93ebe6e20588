"""Servers that behave badly, on a plain socket: whatever is scripted is what they send."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator

Script = Callable[[bytes], Iterable[bytes]]


class Scripted:
    """Answers each connection with what `script` gives for the request, piece by piece."""

    def __init__(
        self, script: Script, context: ssl.SSLContext | None = None, hears: bool = True
    ) -> None:
        self._script, self._context, self._hears = script, context, hears
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}/new.wtr"
        self.asked: list[bytes] = []
        self.closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._threads.append(
                    threading.Thread(target=self._serve, args=[connection], daemon=True)
                )
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                stack.enter_context(connection)
            request = b""
            while self._hears and b"\r\n\r\n" not in request:
                if not (piece := connection.recv(4096)):
                    return
                request += piece
            self.asked.append(request)
            for piece in self._script(request):
                connection.sendall(piece)
                if self.closing.is_set():
                    return
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()

    def trickle(self, piece: bytes, seconds: float = 0.02) -> Iterable[bytes]:
        """Yield `piece` again and again, slowly, until the test is over."""
        while not self.closing.wait(seconds):
            yield piece

    def silence(self) -> Iterable[bytes]:
        """Yield nothing until the test is over."""
        self.closing.wait()
        return []

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def answer(body: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """A whole HTTP answer; `length` is what it claims."""
    fields = {"Content-Length": str(len(body) if length is None else length), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body
