"""All sections together."""

from __future__ import annotations

from edge.config.broker import Broker, OutboxSettings
from edge.config.camera import Camera, View
from edge.config.decision import Decision
from edge.config.device import Device, Gps
from edge.config.model import Drift, Model
from edge.config.pictures import Images, Inbox
from edge.config.report import HomeAssistant, Report
from edge.config.requests import Requests
from edge.config.section import Section
from edge.config.trigger import Trigger


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    device: Device = Device()
    """Who this device is."""
    model: Model
    """What the device recognises."""
    camera: Camera
    """Where frames come from."""
    view: View = View()
    """Which parts of a picture are looked at."""
    trigger: Trigger = Trigger()
    """Which frames are taken and looked at."""
    decision: Decision = Decision()
    """When frames become a sighting."""
    outbox: OutboxSettings = OutboxSettings()
    """The queue on disk."""
    broker: Broker = Broker()
    """Where sightings go."""
    images: Images = Images()
    """Pictures behind sightings."""
    inbox: Inbox = Inbox()
    """Pictures to learn from."""
    requests: Requests = Requests()
    """What others may ask."""
    drift: Drift = Drift()
    """Frames compared with the model's photos."""
    report: Report = Report()
    """State and health."""
    gps: Gps = Gps()
    """Where the camera is."""
    homeassistant: HomeAssistant = HomeAssistant()
    """Showing up in Home Assistant."""
