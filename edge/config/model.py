"""``[model]`` and ``[drift]``: what it recognises, and whether that still fits what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge.config.section import Section


class Update(Section, frozen=True, kw_only=True):
    """``[model.update]``: how new models are fetched, tried and taken back."""

    unsigned: bool = False
    """Take bundles over the network without any ``model.trusted_keys``."""
    keep: Annotated[int, Meta(ge=3, le=1000)] = 4
    """Bundles in the store at most; the current and the previous one always stay."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 200_000_000
    """Bytes of all bundles in the store; beyond, the oldest go."""
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Seconds without a byte from a web server, until the download is tried again."""
    attempts: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Attempts in a row that bring no byte of a download or are too slow, until the download is
    given up."""
    download_seconds: Annotated[float, Meta(ge=0.1, le=2_592_000)] = 21_600.0
    """Seconds for a whole update, up to its probation, over all attempts and restarts."""
    least_bytes_per_second: Annotated[float, Meta(ge=0, le=1e9)] = 50.0
    """Bytes a second from a web server; an attempt that is slower is ended ..."""
    least_window_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0
    """... when it was so for so many seconds."""
    upload_seconds: Annotated[float, Meta(ge=0.1, le=2_592_000)] = 86_400.0
    """Seconds without a new chunk, until an upload is dropped."""
    hosts: tuple[str, ...] = ()
    """Web servers that models may come from: ``models.example``, ``*.models.example``, with a port
    other than the scheme's ``models.example:8443``. Empty: any on the public network, by https, and
    this device itself; one of the local network has to be named."""
    plain_http: bool = False
    """Fetch by http, too, from others than this device itself. Anybody on the way can read and
    change what comes."""
    ca: Path | None = None
    """Certificate authority (PEM) for https, instead of the system's."""
    username: str | None = None
    """User name for web servers (Basic), with ``password_file``."""
    password_file: Path | None = None
    """File whose first line is the password of ``username``."""
    token_file: Path | None = None
    """File whose first line is a token (Bearer), in place of name and password."""
    login_hosts: tuple[str, ...] = ()
    """Web servers that get password or token, as in ``hosts``. Empty: those of ``hosts``."""
    proof_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 120.0
    """Seconds for the golden pictures in their process."""
    proof_bytes: Annotated[int, Meta(ge=50_000_000, le=1_000_000_000_000)] = 512_000_000
    """Bytes of memory for that process."""
    starts: Annotated[int, Meta(ge=1, le=100)] = 3
    """Starts on probation without a good end in between, until the model is taken back."""
    frames: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    """Frames that a new model must classify to be confirmed ..."""
    seconds: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    """... and seconds that it must run."""
    rate: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Least share of the frame rate before; below it, the model is taken back."""
    hang_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds on one frame from which a model on probation counts as hanging."""


class Model(Section, frozen=True, kw_only=True):
    """``[model]``: what it recognises."""

    bundle: Path | None = None
    """The model bundle, a ``.wtr`` file."""
    tflite: Path | None = None
    """In place of a bundle: a TFLite classifier from elsewhere."""
    labels: Path | None = None
    """The labels of ``tflite``, one a line; may be left out where the model holds them."""
    mean: tuple[float, ...] = ()
    """Of ``tflite``: pixel levels that stand for 0, one for all colours or one for each; go before
    what the model says. Needed where a float model says nothing."""
    std: tuple[float, ...] = ()
    """Of ``tflite``: pixel levels that stand for 1; goes with ``mean``."""
    crop: Literal["stretch", "centre", "pad"] = "stretch"
    """Of ``tflite``: how a picture becomes as wide and high as the model's input."""
    background: Literal["none", "add", "drop"] = "none"
    """Of ``tflite``: the first score is a class that the labels lack (``add``), or the first label
    has no score (``drop``)."""
    output: Literal["auto", "logits", "probabilities"] = "auto"
    """Of ``tflite``: what the scores are. ``auto``: probabilities where the model ends in a softmax
    or sigmoid, else logits."""
    runtime: str = "litert"
    """Interpreter: ``litert``, ``tflite_runtime``, ``edgetpu``, ``fake``, or ``auto``: ``litert``
    where it is installed, else ``tflite_runtime``."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads for inference."""
    trusted_keys: tuple[Path, ...] = ()
    """Ed25519 public keys (PEM files). With any given, an unsigned bundle is refused."""
    self_test: bool = True
    """Try the bundle's golden images before use; leave this on."""
    store: Path | None = None
    """Folder for models that come later, by request or ``wheatear model install``; ``bundle`` is
    then used when all else fails."""
    name: str | None = None
    """Name that bundles must have to be taken into ``store``. Unset: that of ``bundle``; name
    another one to change the device to another model."""
    update: Update = Update()
    """How new models are taken."""


class Drift(Section, frozen=True, kw_only=True):
    """``[drift]``: comparing frames with the photos that the model was judged on."""

    measure: bool = True
    """Compare, where the bundle says what its photos look like."""
    half_life_frames: Annotated[int, Meta(ge=10, le=1_000_000_000)] = 20_000
    """Frames after which one counts half. Make it several days, or each evening counts as drift."""
    min_frames: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000
    """Frames before drift is reported."""
