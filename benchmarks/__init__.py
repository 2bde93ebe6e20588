"""Measurements, each a ratio whose two sides run side by side."""
