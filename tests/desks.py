"""A device that takes requests, with verbs for tests."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from senders import Sender

from edge.config import Broker
from edge.config import Requests as Settings
from edge.errors import CameraError
from edge.messages.base import Params
from edge.messages.requests import VERBS
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestServer
from edge.mqtt.transactions import Memory
from edge.system.bell import Bell
from edge.system.clock import Clock, SystemClock
from edge.system.counters import Counters

BASE = "wheatear/cam-1"
EVERY = ("status", "capture", "log", "restart", "drift", "inbox/get", "outbox/discard")


class Desk:
    """Requests with handlers for tests: what was carried out is in `done`, with what it took;
    `capture` fails, `drift` has a bug.
    """

    def __init__(
        self,
        tell: Callable[[], None] = lambda: None,
        memory: Memory | None = None,
        clock: Clock | None = None,
        **more: Any,
    ) -> None:
        self.counters = Counters()
        self.done: list[tuple[str, dict[str, Any]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.memory = memory or Memory()
        self.requests = RequestServer(
            Settings(**{"allow": EVERY, "per_second": 1000.0, "unnumbered": True, **more}),
            BASE,
            self.counters,
            clock or SystemClock(),
            tell,
            self.memory,
        )
        for verb in ("status", "log", "restart", "config/set", "inbox/get", "outbox/discard"):
            self.requests.on(VERBS[verb], functools.partial(self._count, verb))
        self.requests.on(VERBS["capture"], self._fail)
        self.requests.on(VERBS["drift"], self._break)

    def _count(self, verb: str, params: Params) -> dict[str, int]:
        self.gate.wait(10)
        self.done.append((verb, given(params)))
        return {"count": len(self.done)}

    def _fail(self, _: Params) -> None:
        raise CameraError("the lens cap is on")

    def _break(self, _: Params) -> None:
        raise KeyError("a bug")

    def ask(self, verb: str, payload: object, **more: Any) -> dict[str, Any]:
        """Carry out a request at once; give its answer."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.requests.carry_out(Incoming(f"{BASE}/request/{verb}", data, **more))
        (answer,) = self.requests.answers()
        return {"topic": answer.topic, **json.loads(answer.payload)}

    def offered(
        self, verb: str, payload: object, count: int = 1, **more: Any
    ) -> list[dict[str, Any]]:
        """Have messages come in as from the broker; give what is answered before any is carried
        out.
        """
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        for _ in range(count):
            self.requests.offer(Incoming(f"{BASE}/request/{verb}", data, **more))
        return [json.loads(answer.payload) for answer in self.requests.answers()]

    def waiting(self) -> list[str]:
        """Carry out what came in; give the transactions."""
        while self.requests.carry_out_next(0):
            pass
        return [json.loads(one.payload)["transaction"] for one in self.requests.answers()]


def given(params: Params) -> dict[str, Any]:
    """The parameters that differ from their defaults."""
    default = {field.name: field.default for field in msgspec.structs.fields(params)}
    return {k: v for k, v in msgspec.to_builtins(params).items() if v != default[k]}


def refused(answer: dict[str, Any]) -> str:
    """The kind of error of an answer that says no."""
    assert answer["status"] == "error"
    assert answer["data"] is None
    assert answer["error"]["message"]
    return answer["error"]["kind"]


class Served:
    """A device that takes requests over a broker."""

    def __init__(self, folder: Path, broker: Broker, **more: Any) -> None:
        bell = Bell()
        self.desk = Desk(bell.ring, **more)
        self.device = Sender(folder, broker, requests=self.desk.requests, bell=bell)

    def __enter__(self) -> Self:
        self.desk.requests.start()
        self.device.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.desk.gate.set()
        self.desk.requests.close()
        self.device.__exit__()
