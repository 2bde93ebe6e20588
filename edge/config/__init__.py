"""The configuration: one TOML file, read into frozen structs that check themselves.

Every setting has a docstring with its unit. An unknown key or a value out of range is a
:class:`~edge.errors.ConfigError` that names the path (``camera.interval_seconds``), never clamped.
Relative paths are relative to the file. Secrets come from files or the environment.

The sections stand beside what they go with: ``device``, ``camera``, ``trigger``, ``model``,
``decision``, ``pictures``, ``broker``, ``requests`` and ``report``. ``whole`` puts them together,
``checks`` holds them against each other, ``load`` reads the file and ``explain`` words a refusal.
"""

from edge.config.broker import Broker, Tls
from edge.config.camera import Camera, FolderCamera, Picamera2Camera, V4l2Camera, View
from edge.config.checks import check_view
from edge.config.decision import Decision
from edge.config.device import Gps
from edge.config.load import load_config, parse_broker, parse_config, redacted, secrets, settings
from edge.config.model import Drift, Model, Update
from edge.config.pictures import Images, Inbox
from edge.config.report import Report
from edge.config.requests import Requests
from edge.config.trigger import DutyCycle, Motion
from edge.config.whole import Config

__all__ = [
    "Broker",
    "Camera",
    "Config",
    "Decision",
    "Drift",
    "DutyCycle",
    "FolderCamera",
    "Gps",
    "Images",
    "Inbox",
    "Model",
    "Motion",
    "Picamera2Camera",
    "Report",
    "Requests",
    "Tls",
    "Update",
    "V4l2Camera",
    "View",
    "check_view",
    "load_config",
    "parse_broker",
    "parse_config",
    "redacted",
    "secrets",
    "settings",
]
