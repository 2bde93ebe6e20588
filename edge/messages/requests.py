"""The contract of requests: what each carries, the table of verbs, the answer.

What handles a verb registers by its name, and is handed the struct that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta

from edge.errors import MalformedRequestError, UnknownRequestError
from edge.messages import feedback, updates, verbs
from edge.messages.base import MOST_SENT, SCHEMA_VERSION, Message, Params, Time
from edge.text.refusals import apart, refusal


class Envelope(msgspec.Struct, frozen=True):
    """What every request carries; the rest belongs to its verb."""

    transaction: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="Of your own making, new for each request; the answer has it too.",
        ),
    ]
    token: Annotated[str | None, Meta(description="Where `requests.token_file` is set.")] = None
    sent: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_SENT)] | None,
        Meta(
            description="Milliseconds since 1970, larger in each request than in the one before; "
            "needed where something is changed, unless `requests.unnumbered` is set.",
        ),
    ] = None


CARRIED = frozenset(Envelope.__struct_fields__)
"""The fields of a request that do not belong to its verb."""


class Problem(Message, frozen=True, kw_only=True):
    """Why a request was not carried out."""

    kind: Annotated[str, Meta(description="The error's name, such as `RequestDeniedError`.")]
    message: Annotated[str, Meta(description="What is wrong, the value, and the cure.")]
    after: Annotated[
        int | None, Meta(description="What `sent` has to exceed, where it was too small.")
    ] = None


class Response(Message, frozen=True, kw_only=True):
    """The answer to a request. What a verb gives stands in `data`, or `error` says why not."""

    schema: int = SCHEMA_VERSION
    device: str
    verb: Annotated[str, Meta(description="What was asked for.")]
    transaction: Annotated[
        str | None, Meta(description="As in the request; null: the request had none.")
    ]
    time: Annotated[Time, Meta(description="When it was answered.")]
    status: Literal["ok", "error"]
    data: Annotated[Any, Meta(description="What the verb gives; null after an error.")] = None
    error: Annotated[Problem | None, Meta(description="Null: it went well.")] = None


VerbName = Literal[
    "status",
    "capture",
    "config/get",
    "config/set",
    "drift",
    "inbox/get",
    "log",
    "model/cancel",
    "model/chunk",
    "model/install",
    "model/rollback",
    "models",
    "outbox/discard",
    "outbox/letters",
    "outbox/release",
    "restart",
]
"""What a device can be asked for."""


Taken = TypeVar("Taken", bound=Params)
Given = TypeVar("Given")


class Verb(NamedTuple, Generic[Taken, Given]):
    """What is known of a verb wherever it is named; by it a handler is held to what it takes and
    returns.
    """

    name: VerbName
    takes: type[Taken]
    gives: type[Given] | None
    """The ``data`` of its answer; None: an empty object."""
    what: str
    """What it is asked for; the first sentence stands for it in tables."""
    changes: bool = False
    """It may leave something changed, so that a request needs ``sent``."""
    knows_repeats: bool = False
    """It sees itself what it has taken already: a note on disk for each of a thousand pieces would
    only wear the card out."""
    setting: str | None = None
    """Without which it is not answered, or refused."""

    @property
    def noted(self) -> bool:
        """A request is written down before it is carried out, so that it is never done again."""
        return self.changes and not self.knows_repeats


STATUS = Verb(
    "status",
    Params,
    verbs.Status,
    "How the device is now: what it also says on `info`, `state`, `health`.",
)
CAPTURE = Verb(
    "capture",
    verbs.CaptureParams,
    verbs.Captured,
    "Take a picture now and say what is in it. Interval, windows, bursts and motion play no "
    "part; the picture counts for sightings like any other.",
)
CONFIG_GET = Verb(
    "config/get",
    Params,
    verbs.ConfigNow,
    "The configuration in force, and what of it was changed from afar. Passwords, tokens and "
    "the broker's user name are left out.",
)
CONFIG_SET = Verb(
    "config/set",
    verbs.ConfigSetParams,
    verbs.ConfigTaken,
    "Change settings, on trial: what does not prove itself is taken back. Give `changes` or "
    "`toml`.",
    changes=True,
)
DRIFT = Verb(
    "drift",
    Params,
    feedback.DriftReport,
    "How much the frames here differ from the model's validation photos, with histograms.",
    setting="drift.measure",
)
INBOX_GET = Verb(
    "inbox/get",
    feedback.PictureParams,
    feedback.PicturePart,
    "A piece of a picture that was kept to learn from, at full size. Go on at `offset` plus "
    "the bytes that came, until none come.",
    setting="inbox.keep",
)
LOG = Verb(
    "log",
    verbs.LogParams,
    verbs.LogLines,
    "The newest lines of the log since the program started, without secrets. Fewer come where "
    "they are long.",
)
OUTBOX_LETTERS = Verb(
    "outbox/letters",
    Params,
    verbs.LetterList,
    "The messages that were set aside because the broker does not take them (dead letters).",
)
OUTBOX_RELEASE = Verb(
    "outbox/release",
    verbs.WhichLetters,
    verbs.LettersDone,
    "Send dead letters again. Give `ids` or `all`.",
    changes=True,
)
OUTBOX_DISCARD = Verb(
    "outbox/discard",
    verbs.WhichLetters,
    verbs.LettersDone,
    "Delete dead letters for good. Give `ids` or `all`.",
    changes=True,
)
MODELS = Verb(
    "models",
    Params,
    updates.Listed,
    "The models on the device: which runs, which ran before, and how the last update ended.",
    setting="model.store",
)
MODEL_INSTALL = Verb(
    "model/install",
    updates.InstallParams,
    updates.Accepted,
    "Fetch a new model, try it and change to it. It is answered at once; the rest is told on the "
    "topic `update`. Give `url`, or the `sha256` of what came by `model/chunk`.",
    changes=True,
    setting="model.store",
)
MODEL_CHUNK = Verb(
    "model/chunk",
    updates.Chunk,
    updates.UploadProgress,
    "Send a piece of a new model, for devices that reach no web server. Then `model/install` "
    "with its `sha256`.",
    changes=True,
    setting="model.store",
    knows_repeats=True,
)
MODEL_CANCEL = Verb(
    "model/cancel",
    Params,
    updates.Cancelled,
    "End an update that is under way, or drop an upload. Not a model on probation: for that "
    "there is `model/rollback`.",
    changes=True,
    setting="model.store",
)
MODEL_ROLLBACK = Verb(
    "model/rollback",
    Params,
    updates.RolledBack,
    "Go back to the previous model.",
    changes=True,
    setting="model.store",
)
RESTART: Verb[Params, object] = Verb(
    "restart",
    Params,
    None,
    "End the program in good order and start it again, after this is answered.",
    changes=True,
)

VERBS: Mapping[str, Verb[Any, Any]] = {
    one.name: one for one in list(globals().values()) if isinstance(one, Verb)
}
"""Every verb above by its name, with what it takes and gives, and what for."""


def read_params(takes: type[Params], fields: Mapping[str, Any]) -> Params:
    """Read what a verb takes from the fields of a request, its own and those of all.

    Raises MalformedRequestError.
    """
    own = {name: value for name, value in fields.items() if name not in CARRIED}
    try:
        return msgspec.convert(own, takes)
    except msgspec.ValidationError as error:
        known = ", ".join(takes.__struct_fields__) or "nothing"
        text = f"{refusal(error, own)}{_choices(error, takes)}; what is taken here: {known}"
        raise MalformedRequestError(text) from error


def _choices(error: Exception, takes: type[Params]) -> str:
    """What there is to choose from, where only some words are taken."""
    _, path = apart(str(error))
    hint = get_type_hints(takes).get(path[0]) if path else None
    return f" ({', '.join(map(str, get_args(hint)))})" if get_origin(hint) is Literal else ""


def unknown_verb(verb: str, known: Mapping[str, object]) -> UnknownRequestError:
    """The error for a verb that does not exist."""
    return UnknownRequestError(f"no verb {verb!r}; known: {', '.join(sorted(known))}")
