"""A network between device and broker that fails as networks do: refuses, is silent, slow, cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self

from soak.broker import free_port

_BLOCK = 65_536


class Proxy:
    """A TCP port on 127.0.0.1 that forwards to another one, as long as it is told to."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self._rate: float | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.forward()

    def forward(self, bytes_per_second: float | None = None) -> None:
        """Let everything through, at full speed or so slowly."""
        self._do(self._forward(bytes_per_second))

    def silence(self) -> None:
        """Take connections and bytes, and answer nothing."""
        self._do(self._silence())

    def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        self._do(self._refuse())

    def cut(self) -> None:
        """Reset all connections; new ones are taken."""
        self._do(self._cut())

    def close(self) -> None:
        """Cut everything and end."""
        self.refuse()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _forward(self, rate: float | None) -> None:
        self._rate = rate
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _silence(self) -> None:
        await self._forward(None)
        self._flowing.clear()

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server:
            server.close()
        await self._cut()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        pumps = {
            asyncio.ensure_future(self._pump(reader, far_writer)),
            asyncio.ensure_future(self._pump(far_reader, writer)),
        }
        self._tasks |= pumps
        # Whichever side ends, the other one must learn of it.
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in pair:
            end.transport.abort()
        await asyncio.wait(pumps)
        self._writers -= pair
        self._tasks -= pumps

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while block := await reader.read(_BLOCK if self._rate is None else 512):
                await self._flowing.wait()
                if self._rate is not None:
                    await asyncio.sleep(len(block) / self._rate)
                writer.write(block)
                await writer.drain()
