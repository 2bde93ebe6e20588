"""Wheatear's device program: capture, classify, keep, publish. Importing it loads nothing heavy."""

__version__ = "0.1.0"
