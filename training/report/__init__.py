"""report.html: one self-contained page about a run, for people who want to know what to trust."""

from training.report.page import write_report

__all__ = ["write_report"]
