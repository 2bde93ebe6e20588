"""Sees that the tests that pytest is asked for exist: a test that is not there notices nothing."""

from __future__ import annotations

from collections.abc import Generator

import pytest


class Existing:
    """A plugin of pytest that lists in `missing` what was asked for, or left out, and is not there.

    Where a file cannot be imported, its tests are missed for that: such a run fails of itself.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._broken = False
        self._left_out: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note that a file cannot be imported."""
        self._broken = self._broken or report.failed

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Note what is left out."""
        self._left_out += [item.nodeid for item in items]

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """List the tests that pytest does not find, and those left out that are none."""
        try:
            result = yield
        except pytest.UsageError as error:
            if not self._broken:
                self.missing += [str(one).split("\n")[0] for one in error.args]
            raise
        for name in session.config.getoption("deselect") or ():
            if not any(one.startswith(name) for one in self._left_out):
                self.missing.append(f"not found: --deselect={name}")
        if self.missing:
            raise pytest.UsageError(*self.missing)
        return result
