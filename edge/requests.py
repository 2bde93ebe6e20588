"""What others ask of the device over MQTT: checked, carried out on a thread of its own, answered.

The publisher hands over what comes in (:meth:`Requests.offer`) and takes answers away
(:meth:`Requests.answers`); neither waits. Everything between runs on the request thread, one
request after the other.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from edge.clock import Clock
from edge.config import Requests as Settings
from edge.counters import Counters
from edge.errors import (
    MalformedRequestError,
    RequestDeniedError,
    RequestError,
    TooManyRequestsError,
    UnknownRequestError,
    WheatearError,
)
from edge.messages import Problem, Response, encode
from edge.mqtt import Incoming
from edge.transactions import Memory

log = logging.getLogger(__name__)

BURST = 20
"""Requests that may come at once."""
_WAITING = 32
_ANSWERS = 64
_ANSWER_SECONDS = 60.0
"""An answer that could not be sent for so long helps nobody any more."""
_MOST_CORRELATION = 1024
_CLOSE_SECONDS = 10.0


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a verb takes beside ``transaction`` and ``token``: the base of all parameters; itself
    for a verb that takes none.
    """


P = TypeVar("P", bound=Params)


class Answer(NamedTuple):
    """A payload to publish, QoS 1, not retained."""

    topic: str
    """The whole topic."""
    payload: bytes
    correlation: bytes | None
    since: float
    """Monotonic seconds."""


class Verb(NamedTuple):
    """A verb that something on the device carries out."""

    params: type[Params]
    handler: Callable[[Any], object]


class _Envelope(msgspec.Struct, frozen=True):
    """What every request carries; the rest belongs to the verb."""

    transaction: Annotated[str, Meta(min_length=1, max_length=64)]
    token: str | None = None


class Requests:
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
        self._token = settings.token()
        self._counters, self._clock, self._tell = counters, clock, tell
        self._memory = memory or Memory()
        self._verbs: dict[str, Verb] = {}
        self._queue: Queue[Incoming] = Queue(_WAITING)
        self._answers: deque[Answer] = deque(maxlen=_ANSWERS)
        self._room, self._filled = float(BURST), clock.monotonic()
        self._complained = -1.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)

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
        return tuple(verb for verb in self._settings.allow if verb in self._verbs)

    def on(self, verb: str, params: type[P], handler: Callable[[P], object]) -> None:
        """Carry out `verb` with `handler`, called on the request thread.

        It gives what :mod:`msgspec` can encode. A WheatearError becomes an error response.
        """
        self._verbs[verb] = Verb(params, handler)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Let the request under way end, for a while, and start no other; twice is fine."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def offer(self, message: Incoming) -> None:
        """Take a message in without waiting; called on the publisher's thread."""
        self._counters.add("requests")
        if not self._within_rate():
            self._too_many(message, f"more than {self._settings.per_second:g} requests a second")
            return
        try:
            self._queue.put_nowait(message)
        except Full:
            self._too_many(message, f"{_WAITING} requests are waiting")

    def answers(self) -> list[Answer]:
        """Take the answers that are still worth sending."""
        taken = []
        while self._answers:
            answer = self._answers.popleft()
            if self._clock.monotonic() - answer.since <= _ANSWER_SECONDS:
                taken.append(answer)
        return taken

    def _within_rate(self) -> bool:
        """Take a token from the bucket, if there is one."""
        now, rate = self._clock.monotonic(), self._settings.per_second
        self._room = min(float(BURST), self._room + (now - self._filled) * rate)
        self._filled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _too_many(self, message: Incoming, why: str) -> None:
        """Drop a request; one in a second is told so, lest a flood comes back as a flood."""
        self._counters.add("requests_dropped")
        now = self._clock.monotonic()
        if now - self._complained >= 1:
            self._complained = now
            self._fail(message, None, TooManyRequestsError(f"{why}; ask again later"))

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                message = self._queue.get(timeout=0.2)
            except Empty:
                continue
            self.carry_out(message)

    def carry_out(self, message: Incoming) -> None:
        """Check a request, carry it out and queue the answer; never raises."""
        transaction = None
        try:
            self._check_size(message)
            fields = _decode(message.payload)
            transaction = _envelope(fields).transaction
            self._check_right(message, fields)
            self._carry_out(message, transaction, fields)
        except RequestError as error:
            log.warning("request %r is not carried out: %s", self._verb(message), error)
            self._fail(message, transaction, error)

    def _check_size(self, message: Incoming) -> None:
        size, most = len(message.payload), self._settings.max_bytes
        if size > most:
            raise MalformedRequestError(
                f"a request of {size} bytes is larger than requests.max_bytes = {most}"
            )

    def _check_right(self, message: Incoming, fields: dict[str, Any]) -> None:
        """See that this may be asked here, by whoever asks."""
        verb, token = self._verb(message), _envelope(fields).token
        if self._token is not None and not hmac.compare_digest(
            (token or "").encode(), self._token.encode()
        ):
            raise RequestDeniedError("`token` is missing or wrong; requests.token_file holds it")
        if message.retained:
            raise RequestDeniedError(
                "a retained request would be carried out again and again; publish it without "
                "retain, and clear the topic"
            )
        if verb not in self._verbs:
            raise UnknownRequestError(f"no verb {verb!r}; known: {', '.join(sorted(self._verbs))}")
        if verb not in self._settings.allow:
            raise RequestDeniedError(
                f"requests.allow does not list {verb!r}; this device allows "
                f"{', '.join(self._settings.allow)}"
            )
        self._answer_topic(message)

    def _carry_out(self, message: Incoming, transaction: str, fields: dict[str, Any]) -> None:
        name = self._verb(message)
        earlier = self._memory.find(name, transaction, message.payload)
        if earlier is not None:
            self._send(message, earlier)
            return
        verb = self._verbs[name]
        params = _convert({k: v for k, v in fields.items() if k not in _OURS}, verb.params)
        log.info("%s, transaction %s", name, transaction)
        try:
            data = verb.handler(params)
            answer = encode(self._response(message, transaction, data=msgspec.Raw(_json(data))))
            self._counters.add("requests_carried_out")
        except WheatearError as error:
            log.warning("%s failed: %s", name, error)
            answer = self._error(message, transaction, error)
        except Exception as error:  # a bug in one verb must not end the others
            log.exception("%s failed", name)
            answer = self._error(message, transaction, error)
        self._memory.keep(name, transaction, message.payload, answer)
        self._send(message, answer)

    def _fail(self, message: Incoming, transaction: str | None, error: Exception) -> None:
        self._send(message, self._error(message, transaction, error))

    def _error(self, message: Incoming, transaction: str | None, error: Exception) -> bytes:
        self._counters.error(error)
        problem = Problem(kind=type(error).__name__, message=str(error))
        return encode(self._response(message, transaction, error=problem))

    def _response(
        self,
        message: Incoming,
        transaction: str | None,
        data: msgspec.Raw | None = None,
        error: Problem | None = None,
    ) -> Response:
        return Response(
            device=self._device,
            verb=self._verb(message),
            transaction=transaction,
            time=self._clock.now(),
            status="ok" if error is None else "error",
            data=data,
            error=error,
        )

    def _send(self, message: Incoming, payload: bytes) -> None:
        try:
            topic = self._answer_topic(message)
        except RequestDeniedError:
            topic = self._plain_topic(message)
        correlation = message.correlation
        if correlation is not None and len(correlation) > _MOST_CORRELATION:
            correlation = None
        self._answers.append(Answer(topic, payload, correlation, self._clock.monotonic()))
        self._tell()

    def _answer_topic(self, message: Incoming) -> str:
        """Give where the answer goes. Raises RequestDeniedError.

        Anybody who may ask could otherwise make the device publish wherever it has the right to.
        """
        wanted = message.response_topic
        if wanted is None:
            return self._plain_topic(message)
        if not wanted.startswith(f"{self._base}/response/") or set(wanted) & set("+#\0"):
            raise RequestDeniedError(
                f"the Response Topic {wanted!r} is not below {self._base}/response/; leave it out "
                "or choose one there"
            )
        return wanted

    def _plain_topic(self, message: Incoming) -> str:
        """Answer below the verb that was asked for; one that does not exist has no topic."""
        verb = self._verb(message)
        return f"{self._base}/response/{verb if verb in self._verbs else 'unknown'}"

    def _verb(self, message: Incoming) -> str:
        return message.topic.removeprefix(f"{self._base}/request/")[:64]


_OURS = set(_Envelope.__struct_fields__)
_decoder = msgspec.json.Decoder(dict[str, Any])
T = TypeVar("T", bound=msgspec.Struct)


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(
            f'no request: {error}; send a JSON object such as {{"transaction": "42"}}'
        ) from error


def _envelope(fields: dict[str, Any]) -> _Envelope:
    return _convert({k: v for k, v in fields.items() if k in _OURS}, _Envelope)


def _convert(fields: dict[str, Any], struct: type[T]) -> T:
    try:
        return msgspec.convert(fields, struct)
    except msgspec.ValidationError as error:
        text = f"{error}".replace("`$.", "`").replace("`$`", "top")
        known = ", ".join(struct.__struct_fields__) or "nothing"
        raise MalformedRequestError(f"{text}; what is taken here: {known}") from error


def _json(data: object) -> bytes:
    return msgspec.json.encode(data, enc_hook=str)
