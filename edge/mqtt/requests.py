"""What others ask of the device over MQTT: checked, carried out on a thread of its own, answered.

The publisher hands over what comes in (:meth:`RequestServer.offer`) and takes answers away
(:meth:`RequestServer.answers`); neither waits. Everything between runs on the request thread, one
request after the other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Any, NamedTuple

import msgspec

from edge.config import Requests as Settings
from edge.errors import (
    MalformedRequestError,
    RequestDeniedError,
    RequestError,
    TooManyRequestsError,
    WheatearError,
)
from edge.messages.base import Params, encode
from edge.messages.requests import VERBS, Given, Problem, Response, Taken, Verb, read_params
from edge.mqtt.packets import Incoming
from edge.mqtt.request_admission import Admission, Asked
from edge.mqtt.request_refusals import Refusals
from edge.mqtt.transactions import Memory
from edge.system.clock import Clock
from edge.system.counters import Counters, Episode
from edge.system.token_bucket import Bucket
from edge.text.json_text import from_json
from edge.text.printable import encoded, printable
from edge.text.refusals import refusal

log = logging.getLogger(__name__)

BURST = 20
"""Requests that may come at once."""
_WAITING = 32
_ANSWERS = 64
_ANSWER_SECONDS = 60.0
"""An answer that could not be sent for so long helps nobody any more."""
_MOST_CORRELATION = 1024
_CLOSE_SECONDS = 10.0


class RequestAnswer(NamedTuple):
    """A payload to publish, QoS 1, not retained."""

    topic: str
    """The whole topic."""
    payload: bytes
    correlation: bytes | None
    since: float
    """Monotonic seconds."""


class RequestServer:
    """The verbs of the device, and the thread that carries them out.

    `base` is ``wheatear/<device>``; `tell` is called when there is an answer to send.

    Raises:
        ConfigError: the token file cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        base: str,
        counters: Counters,
        clock: Clock,
        tell: Callable[[], None],
        memory: Memory | None = None,
    ) -> None:
        self._settings, self._base, self._device = settings, base, base.rpartition("/")[2]
        self._counters, self._clock, self._tell = counters, clock, tell
        self._memory = memory or Memory()
        self._handlers: dict[str, Callable[[Any], object]] = {}
        self._gate = Admission(settings, base, self._handlers)
        self._queue: Queue[Asked | None] = Queue(_WAITING)
        self._queued: set[tuple[str, str]] = set()
        self._answers: deque[RequestAnswer] = deque(maxlen=_ANSWERS)
        self._rate = Bucket(settings.per_second, BURST)
        self._repeats = Bucket(settings.per_second, BURST)
        self._refusals = Refusals(f"{base}/request/", counters, clock)
        self._closing = threading.Event()
        self._trouble = Episode("requests", counters, log)
        self._thread = counters.crew.worker("requests", self._run, self._closing.is_set)

    @property
    def topics(self) -> str | None:
        """What to subscribe to; None where the configuration allows no request."""
        return f"{self._base}/request/#" if self._settings.allow else None

    @property
    def most_bytes(self) -> int:
        """What is larger is not even worth an answer."""
        return 4 * self._settings.max_bytes

    @property
    def verbs(self) -> tuple[str, ...]:
        """What the device can be asked for: known here, and allowed."""
        return tuple(verb for verb in self._settings.allow if verb in self._handlers)

    def on(self, verb: Verb[Taken, Given], handler: Callable[[Taken], Given]) -> None:
        """Carry out `verb` with `handler`, called on the request thread.

        It takes and gives what :data:`VERBS` says. A WheatearError becomes an error response.
        """
        self._handlers[verb.name] = handler

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Let the request under way end, for a while, and start no other; twice is fine."""
        self._closing.set()
        with contextlib.suppress(Full):  # it is awake then
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def offer(self, message: Incoming) -> None:
        """Take a message in without waiting; called on the publisher's thread.

        What may not be asked, and what was asked before, takes nothing of the rate. What is no
        request is passed over: a broker may subscribe us to more on its own account, also to our
        own answers, and an answer to those would come back for ever.
        """
        if not message.topic.startswith(f"{self._base}/request/"):
            return
        asked = self._admit(message)
        if asked is None:
            return
        if not self._rate.take(self._clock.monotonic()):
            self._drop(asked, f"more than {self._settings.per_second:g} requests a second")
            return
        key = (asked.verb, asked.transaction)
        self._queued.add(key)
        try:
            self._queue.put_nowait(asked)
        except Full:
            self._queued.discard(key)
            self._drop(asked, f"{_WAITING} requests are waiting")

    def answers(self) -> list[RequestAnswer]:
        """Take the answers that are still worth sending."""
        taken = []
        while self._answers:
            answer = self._answers.popleft()
            if self._clock.monotonic() - answer.since <= _ANSWER_SECONDS:
                taken.append(answer)
        return taken

    def _admit(self, message: Incoming) -> Asked | None:
        """Check a request; None where it is not to be carried out, or was before."""
        self._counters.add("requests")
        asked = None
        try:
            asked = self._gate.read(message)
            self._gate.check(asked)
            # Before the memory, which holds it from when it is no longer queued.
            if (asked.verb, asked.transaction) in self._queued:
                return None
            earlier = self._memory.find(asked.verb, asked.transaction, message.payload)
            if earlier is None:
                self._check_new(asked)
                return asked
        except RequestError as error:
            self._refuse(message, asked, error)
            return None
        if earlier.answer is not None and self._repeats.take(self._clock.monotonic()):
            self._send(message, earlier.answer.encode())
        return None

    def _check_new(self, asked: Asked) -> None:
        """See that a request is no replay of one that was answered long ago."""
        if asked.sent is None and VERBS[asked.verb].changes and not self._settings.unnumbered:
            raise RequestDeniedError(
                f"{asked.verb} changes something, so it needs `sent`: milliseconds since 1970, "
                "larger in each request than in the one before, as `wheatear request` fills in. "
                "requests.unnumbered = true accepts requests without it"
            )
        self._memory.check(asked.sent)

    def _refuse(self, message: Incoming, asked: Asked | None, error: RequestError) -> None:
        self._counters.error(error)
        known = asked is not None and self._gate.knows(asked)
        if self._refusals.add(self._gate.verb(message), error, known):
            transaction = asked.transaction if asked else None
            self._send(message, self._failed(message, transaction, error))

    def _drop(self, asked: Asked, why: str) -> None:
        """Drop what is too much."""
        self._counters.add("requests_dropped")
        self._refuse(asked.message, asked, TooManyRequestsError(f"{why}; ask again later"))

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self.carry_out_next(0.2)
            except Exception as error:  # one request must not end all that follow
                log.exception("a request failed")
                self._trouble.failed(error)
                self._closing.wait(0.2)  # where it goes on and on
            else:
                self._trouble.recovered()

    def carry_out_next(self, timeout_seconds: float) -> bool:
        """Carry out what was offered and waits longest; False where nothing came in time."""
        self._refusals.look()
        try:
            asked = self._queue.get(timeout_seconds > 0, timeout_seconds)
        except Empty:
            return False
        if asked is None:  # the end
            return False
        self._carry_out(asked)
        return True

    def carry_out(self, message: Incoming) -> None:
        """Check a request, carry it out and queue the answer, at once; never raises."""
        asked = self._admit(message)
        if asked is not None:
            self._carry_out(asked)

    def _carry_out(self, asked: Asked) -> None:
        name, transaction, message = asked.verb, asked.transaction, asked.message
        try:
            params = self._params(asked)
            self._memory.begin(name, transaction, message.payload, asked.sent)
        except RequestError as error:
            log.warning("request %r is not carried out: %s", name, error)
            self._counters.error(error)
            self._send(message, self._failed(message, transaction, error))
            return
        finally:
            self._queued.discard((name, transaction))
        log.info("%s, transaction %s", name, transaction)
        try:
            data = self._handlers[name](params)
            answer = self._answer(message, transaction, data=msgspec.Raw(_json(data)))
            self._counters.add("requests_carried_out")
        except WheatearError as error:
            log.warning("%s failed: %s", name, error)
            self._counters.error(error)
            answer = self._failed(message, transaction, error)
        except Exception as error:  # a bug in one verb must not end the others
            log.exception("%s failed", name)
            self._counters.error(error)
            answer = self._failed(message, transaction, error)
        self._memory.keep(name, transaction, answer)
        self._send(message, answer)

    def _params(self, asked: Asked) -> Params:
        """Read what the verb takes. Raises MalformedRequestError."""
        try:
            fields = from_json(asked.message.payload, _decoder)
        except msgspec.DecodeError as error:
            raise MalformedRequestError(
                f"not a request: {refusal(error)}; send a JSON object"
            ) from error
        return read_params(VERBS[asked.verb].takes, fields)

    def _failed(self, message: Incoming, transaction: str | None, error: Exception) -> bytes:
        problem = Problem(
            kind=type(error).__name__, message=str(error), after=getattr(error, "after", None)
        )
        return self._answer(message, transaction, error=problem)

    def _answer(
        self,
        message: Incoming,
        transaction: str | None,
        data: msgspec.Raw | None = None,
        error: Problem | None = None,
    ) -> bytes:
        response = Response(
            device=self._device,
            verb=self._gate.verb(message),
            transaction=transaction,
            time=self._clock.now(),
            status="ok" if error is None else "error",
            data=data,
            error=error,
        )
        return encode(response)

    def _send(self, message: Incoming, payload: bytes) -> None:
        try:
            topic = self._gate.answer_topic(message)
        except RequestDeniedError:
            topic = self._gate.plain_topic(message)
        correlation = message.correlation
        if correlation is not None and len(correlation) > _MOST_CORRELATION:
            correlation = None
        self._answers.append(RequestAnswer(topic, payload, correlation, self._clock.monotonic()))
        self._tell()


_decoder = msgspec.json.Decoder(dict[str, Any])


def _json(data: object) -> bytes:
    return encoded(data, lambda one: printable(str(one)))
