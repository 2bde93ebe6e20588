"""Whether a request may come in at all: its size, form, token and verb. Pure, and cheap.

The order matters: nothing but that a request is none is said to whoever lacks the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from edge.config import Requests as Settings
from edge.errors import MalformedRequestError, RequestDeniedError
from edge.messages.requests import Envelope, unknown_verb
from edge.mqtt.packets import Incoming
from edge.text.json_text import from_json
from edge.text.refusals import refusal


class Asked(NamedTuple):
    """A request that can be read."""

    message: Incoming
    verb: str
    transaction: str
    token: str | None
    sent: int | None


class Admission:
    """Checks requests below `base` (``wheatear/<device>``); `verbs` are those that there are.

    Raises:
        ConfigError: the token file cannot be read.
    """

    def __init__(self, settings: Settings, base: str, verbs: Mapping[str, object]) -> None:
        self._settings, self._base, self._verbs = settings, base, verbs
        self._token = settings.token()

    def read(self, message: Incoming) -> Asked:
        """Read what every request carries. Raises MalformedRequestError."""
        size, most = len(message.payload) + message.left_out, self._settings.max_bytes
        if size > most:
            raise MalformedRequestError(
                f"a request of {size} bytes is larger than requests.max_bytes = {most}"
            )
        found = _envelope(message.payload)
        return Asked(message, self.verb(message), found.transaction, found.token, found.sent)

    def knows(self, asked: Asked) -> bool:
        """Whether the token is right, or none is needed."""
        if self._token is None:
            return True
        return hmac.compare_digest((asked.token or "").encode(), self._token.encode())

    def check(self, asked: Asked) -> None:
        """See that this may be asked here, by whoever asks.

        Raises RequestDeniedError, UnknownRequestError.
        """
        verb, allowed = asked.verb, self._settings.allow
        if not self.knows(asked):
            raise RequestDeniedError("`token` is missing or wrong; requests.token_file holds it")
        if asked.message.retained:
            raise RequestDeniedError(
                "a retained request would be carried out again and again; publish it without "
                "retain, and clear the topic"
            )
        if verb not in self._verbs:
            raise unknown_verb(verb, self._verbs)
        if verb not in allowed:
            raise RequestDeniedError(
                f"requests.allow does not list {verb!r}; this device allows {', '.join(allowed)}"
            )
        self.answer_topic(asked.message)

    def verb(self, message: Incoming) -> str:
        """The verb that a request asks for."""
        return message.topic.removeprefix(f"{self._base}/request/")[:64]

    def answer_topic(self, message: Incoming) -> str:
        """The topic that the answer goes to. Raises RequestDeniedError.

        Anybody who may ask could otherwise make the device publish wherever it has the right to.
        """
        wanted = message.response_topic
        if wanted is None:
            return self.plain_topic(message)
        if not wanted.startswith(f"{self._base}/response/") or set(wanted) & set("+#\0"):
            raise RequestDeniedError(
                f"the Response Topic {wanted!r} is not below {self._base}/response/; leave it out "
                "or choose one there"
            )
        return wanted

    def plain_topic(self, message: Incoming) -> str:
        """Answer below the verb that was asked for; one that does not exist has no topic."""
        verb = self.verb(message)
        return f"{self._base}/response/{verb if verb in self._verbs else 'unknown'}"


_decoder = msgspec.json.Decoder(Envelope)


def _envelope(payload: bytes) -> Envelope:
    """Read only what is needed: a large request costs little until its token is seen."""
    try:
        return from_json(payload, _decoder)
    except msgspec.DecodeError as error:
        raise MalformedRequestError(
            f'not a request: {refusal(error)}; send a JSON object such as {{"transaction": "42"}}'
        ) from error
