"""Loads the model that the configuration names."""

from __future__ import annotations

import logging
from pathlib import Path

from edge.config import Config, Model
from edge.model.bundle.signing import load_public_key
from edge.model.classifier import Classifier
from edge.system.files import stamp
from edge.system.handover import Handover
from edge.updates.startup import Load, current_path

log = logging.getLogger(__name__)


def open_classifier(config: Config, load: Load | None = None) -> Classifier:
    """Load the configured model, a bundle through `load` if given.

    Raises BundleError, ModelError, RuntimeUnavailableError, ...
    """
    model = config.model
    if model.tflite:
        from edge.model.tflite.foreign import open_as_named

        return open_as_named(model.tflite, model)
    path = current_path(model)
    return load(path) if load else load_bundle(path, model)


def load_bundle(path: Path, model: Model) -> Classifier:
    """Load a bundle as `model` says. Raises BundleError, ModelError, ..."""
    classifier = Classifier.from_bundle(
        path,
        model.runtime,
        model.threads,
        trusted_keys=[load_public_key(path) for path in model.trusted_keys],
        self_test=model.self_test,
    )
    log.info("%s is loaded", path.name)
    return classifier


def kept_bundles(kept: Handover, model: Model) -> Load:
    """Return what loads bundles as `model` says, or takes them over from the run before."""

    def load(path: Path) -> Classifier:
        key = (model, path, stamp(path))
        return kept.take("model", key, lambda: load_bundle(path, model))

    return load
