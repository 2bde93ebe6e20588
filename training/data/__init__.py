"""Labelled photos: where they come from, what is wrong with them, and honest splits."""
