"""Every error that Wheatear raises on purpose.

    WheatearError
    ├── ConfigError            (ValueError)   a configuration file or option is wrong
    ├── ImageError             (ValueError)   bytes that are no usable picture
    ├── BundleError            (ValueError)   a model bundle is refused; leaves say why
    │   ├── BundleFormatError          not a readable bundle, or an unknown schema version
    │   ├── BundleMembersError         members missing, unexpected or with unsafe names
    │   ├── BundleTooLargeError        sizes beyond the limits (zip bombs)
    │   ├── BundleIntegrityError       sizes or hashes differ from the manifest
    │   ├── BundleSignatureError       a signature is absent, wrong or by an unknown key
    │   └── SelfTestError              golden images do not give the expected scores here
    ├── ModelError             (ValueError)   a TFLite model that cannot be run as asked
    ├── StoreError             (OSError)      the folder of installed models cannot be used
    ├── UpdateError            (ValueError)   a new model is not installed; leaves say why
    │   ├── UpdateBusyError            another one is under way
    │   ├── StoppedError               the device stops; it goes on at the next start
    │   ├── UpdateCancelledError       somebody asked for its end
    │   ├── UpdateExpiredError         its time is over
    │   ├── DownloadError              it cannot be fetched, or is not what was asked for
    │   │   └── UnreachableError           nothing of it came; only the device's own log says why
    │   ├── OtherModelError            it has another name than the device takes
    │   ├── DowngradeError             it is not newer than the one that runs
    │   │   └── SameVersionError           another content under the version that runs
    │   └── ProofError                 its golden images failed, crashed or hung in their process
    ├── RuntimeUnavailableError(ImportError)  an interpreter or delegate is not installed
    ├── CameraError            (OSError)      a camera cannot be opened or gave no frame
    ├── OutboxError            (OSError)      sightings cannot be written to disk
    │   ├── OutboxDamagedError             its file is no sound database
    │   ├── OutboxFullError                the disk has no room
    │   └── UnwritableError                a message cannot be encoded; the others can be
    ├── StateError             (OSError)      a folder of the device's state cannot be used
    │   └── StateBusyError             another program writes there
    ├── RecordError            (OSError)      a small file of the device's own cannot be used
    │   └── DamagedRecordError             it holds something else
    ├── ShortageError          (OSError)      no descriptors or memory are left just now
    ├── ThreadEndedError       (RuntimeError) a part of the running device failed for good
    ├── PictureStoreError      (OSError)      pictures to learn from cannot be kept
    ├── GpsError               (ConnectionError) gpsd cannot be reached or is none
    ├── PublishError           (ConnectionError) the broker refused or vanished
    │   ├── LostError                  the connection ended
    │   └── StalledError               the connection stands, and nothing is acknowledged
    ├── PacketError            (ValueError)   a packet of the broker is none
    ├── RequestError           (ValueError)   a request over MQTT is not carried out; leaves say why
    │   ├── MalformedRequestError      not what a request looks like, or too large
    │   ├── UnknownRequestError        no such verb
    │   ├── RequestDeniedError         not allowed here, or without the right token
    │   ├── ReplayedRequestError       asked before: carried out once, or too old to tell
    │   ├── StaleRevisionError         decided on a configuration that is not in force
    │   └── TooManyRequestsError       more than the device takes
    ├── DataError              (ValueError)   labelled photos or their CSV are wrong
    ├── TrainingError          (ValueError)   a recipe, run or weights file cannot be used
    └── QuantizeError          (ValueError)   no int8 model can be made of a run
        └── ParityError                the int8 model is not as good as the float one

A message says what is wrong, the value, and the cure.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class WheatearError(Exception):
    """Root of all errors raised on purpose."""


@contextmanager
def os_errors_as(kind: type[WheatearError], what: str, cure: str = "") -> Iterator[None]:
    """Raise what the system refuses meanwhile as `kind`: what failed, its reason, the cure.

    Errors that are ours already stay as they are.
    """
    try:
        yield
    except WheatearError:
        raise
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}{cure}") from error


class ConfigError(WheatearError, ValueError):
    """A configuration file or command-line option is wrong."""


class ImageError(WheatearError, ValueError):
    """Bytes that cannot be decoded into a picture."""


class BundleError(WheatearError, ValueError):
    """A model bundle is refused."""


class BundleFormatError(BundleError):
    """Not a readable bundle, or a schema version this software does not know."""


class BundleMembersError(BundleError):
    """Members are missing, unexpected or carry unsafe names."""


class BundleTooLargeError(BundleError):
    """The bundle or a member exceeds the size limits."""


class BundleIntegrityError(BundleError):
    """A member's size or SHA-256 differs from the manifest."""


class BundleSignatureError(BundleError):
    """The signature is absent where one is required, wrong, or by an unknown key."""


class SelfTestError(BundleError):
    """The golden images do not give the expected scores on this device."""


class ModelError(WheatearError, ValueError):
    """A TFLite model that cannot be run as asked."""


class StoreError(WheatearError, OSError):
    """The folder of installed models cannot be used."""


class UpdateError(WheatearError, ValueError):
    """A new model is not installed; the one before goes on."""


class UpdateBusyError(UpdateError):
    """Another update is under way or on probation."""


class StoppedError(UpdateError):
    """The device stops; the update goes on at its next start."""

    def __init__(self) -> None:
        """Make the error with its one sentence."""
        super().__init__("the device stops; the update goes on at its next start")


class DownloadError(UpdateError):
    """A bundle cannot be fetched, or is another one than was asked for."""


class UpdateCancelledError(UpdateError):
    """Somebody asked for the end of an update that was under way."""


class UpdateExpiredError(UpdateError):
    """An update was not over within its time."""


class UnreachableError(DownloadError):
    """A server gave no bundle. The text is for people at the device: whoever asks from afar must
    not learn from it what listens where.
    """


class OtherModelError(UpdateError):
    """A bundle has another name than the device takes."""


class DowngradeError(UpdateError):
    """A bundle is not newer than the model that runs."""


class SameVersionError(DowngradeError):
    """A bundle has the version of the model that runs, and other contents."""


class ProofError(UpdateError):
    """A bundle's golden images failed, crashed or hung in the process that tried them."""


class RuntimeUnavailableError(WheatearError, ImportError):
    """An interpreter or accelerator library is not installed."""


class CameraError(WheatearError, OSError):
    """A camera cannot be opened or gave no frame."""


class OutboxError(WheatearError, OSError):
    """Sightings cannot be written to disk."""


class OutboxDamagedError(OutboxError):
    """The outbox's file is no sound database any more."""


class UnwritableError(OutboxError, ValueError):
    """A message that cannot be encoded, whatever the disk does; trying again is of no use."""

    def __init__(self, message: object, why: Exception) -> None:
        """Take the message as it was handed over, which is named by its kind and id."""
        name = type(message).__name__.lower()
        super().__init__(f"a {name} ({getattr(message, 'id', None)!a}) cannot be encoded: {why!a}")
        self.message = message


class StateError(WheatearError, OSError):
    """A folder in which the device keeps its state cannot be used."""


class StateBusyError(StateError):
    """Another program writes to a folder of state; two would spoil each other's work."""


class RecordError(WheatearError, OSError):
    """A small file of the device's own cannot be read, written or deleted: `act` says which."""

    def __init__(self, act: str, path: Path, error: OSError) -> None:
        self.why = str(error.strerror or error)
        super().__init__(f"cannot {act} {path}: {self.why}")
        self.errno = error.errno


class DamagedRecordError(RecordError):
    """A small file of the device's own holds something else than it should."""

    def __init__(self, path: Path, error: Exception) -> None:
        self.why = str(error)
        OSError.__init__(self, f"{path} is damaged ({error})")


class ShortageError(WheatearError, OSError):
    """The computer has no file descriptors or memory left just now; it is worth trying again."""


class ThreadEndedError(WheatearError, RuntimeError):
    """A thread that the device cannot do without has ended; a new start may help."""


class PictureStoreError(WheatearError, OSError):
    """Pictures to learn from cannot be written to disk, or read again."""


class GpsError(WheatearError, ConnectionError):
    """gpsd cannot be reached, closed the connection, or is something else."""


class OutboxFullError(OutboxError):
    """The disk has no room for what is to be written."""


class PublishError(WheatearError, ConnectionError):
    """The broker refused, or the connection to it failed."""


class LostError(PublishError):
    """The connection ended, or was not accepted."""

    def __init__(
        self,
        text: str,
        why: str = "",
        code: int | None = None,
        hung_up: bool = False,
        quiet_seconds: float | None = None,
    ) -> None:
        """Take the reason, the reason code of MQTT 5 where the broker gave one, whether it was the
        broker that ended it, and for how long nobody had said anything."""
        super().__init__(text)
        self.why, self.code, self.hung_up = why or text, code, hung_up
        self.quiet_seconds = quiet_seconds


class StalledError(PublishError):
    """The connection stands, and the oldest message under way is not acknowledged."""


class PacketError(WheatearError, ValueError):
    """A packet of the broker is shorter than it says."""


class RequestError(WheatearError, ValueError):
    """A request over MQTT is not carried out, and has changed nothing."""


class MalformedRequestError(RequestError):
    """A payload that is no request, is too large, or holds parameters the verb does not take."""


class UnknownRequestError(RequestError):
    """No such verb."""


class RequestDeniedError(RequestError):
    """The configuration does not allow it, or the token is missing or wrong."""


class ReplayedRequestError(RequestError):
    """It was asked before, or is not newer than one that was."""

    def __init__(self, message: str, after: int | None = None) -> None:
        """`after` is what a new request's ``sent`` has to exceed; None: it does not help."""
        super().__init__(message)
        self.after = after


class StaleRevisionError(RequestError):
    """The change was decided on a configuration that is not, or not yet, in force."""


class TooManyRequestsError(RequestError):
    """More requests than the device takes; this one was not looked at."""


class DataError(WheatearError, ValueError):
    """Labelled photos or their CSV cannot be used as they are."""


class TrainingError(WheatearError, ValueError):
    """A recipe, run folder or weights file cannot be used."""


class QuantizeError(WheatearError, ValueError):
    """No int8 model can be made of this run."""


class ParityError(QuantizeError):
    """The int8 model is not as good as the float one."""
