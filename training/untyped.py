"""What TensorFlow's values are called in signatures: it carries no types."""

from __future__ import annotations

from typing import Any

Layer = Any
Model = Any
Tensor = Any
