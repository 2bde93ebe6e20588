"""Where real photographs and models are, for the tests that want them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from edge.system.volatile_storage import storage

if TYPE_CHECKING:
    from connections import Connections
    from delivery_bench import Bench
    from session_bench import Talk
    from sshd import Sshd

# No example is wrong for being slow: the machine may be busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

HAVE_DESKTOP = all(importlib.util.find_spec(name) for name in ("training", "quantize"))
DESKTOP_IMPORT = re.compile(r"(?m)^\s*(from|import) (training|quantize|benchmarks|demo|soak)\b")
LEFT_OUT: list[str] = []
#: Files that take a minute or so, longest first: begun first, so that no core idles at the end.
LONG = (
    "test_quantize_budgets",
    "test_tfmot_family",
    "test_quantize_run",
    "test_quantize_teachers",
    "test_quantize_networks",
    "test_sweep_engines",
    "test_sweep",
    "test_training_judgement",
    "test_channels",
    "test_install",
    "test_injected_faults",
    "test_soak",
    "test_data_grouping",
    "test_training_fit",
    "test_training_final",
    "test_check_report",
    "test_benchmarks",
    "test_models",
    "test_rounding",
    "test_folded_weights",
    "test_start_weights",
    "test_motion_scenes",
)

# Two tests that compute share two cores: threads of one that wait for the other gain nothing.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--data=PATH`` (or the environment variable ``WHEATEAR_DATA``) and ``--system``."""
    parser.addoption(
        "--data",
        default=os.environ.get("WHEATEAR_DATA"),
        help="folder with jute_pest/, bean_leaf/, coral_models/, backbone_weights/",
    )
    parser.addoption(
        "--system", help="unpacked Debian system on which the README's steps are tried"
    )


def pytest_configure() -> None:
    """Make folders for tests on a disk: where they were in memory, each device would say so."""
    if storage(Path(tempfile.gettempdir())).fleeting and not storage(Path("/var/tmp")).fleeting:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/var/tmp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; the order within a file stays as it was shuffled."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def data(pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """A function ``data(name) -> Path`` that skips the test where that material is absent."""
    root = pytestconfig.getoption("--data")

    def find(name: str) -> Path:
        path = Path(root or "").expanduser() / name
        if not root or not path.exists():
            pytest.skip(f"REAL DATA ABSENT: {name} (pass --data=PATH or set WHEATEAR_DATA)")
        return path.resolve()

    return find


@pytest.fixture(scope="session")
def discs_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on coloured discs; whoever writes to it takes a copy."""
    import discs

    return discs.train(tmp_path_factory.mktemp("discs"))


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are not measured by `make coverage`, which needs memory where there is none."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def no_device_outlives_its_test() -> Iterator[None]:
    """End the devices that a failed test left running."""
    yield
    if (devices := sys.modules.get("devices")) is not None:
        devices.stop_all()


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A real SSH server that the `ssh` on PATH knows; the test is skipped where there is none."""
    from sshd import Sshd

    folder = tmp_path / "ssh"
    folder.mkdir()
    with Sshd(folder) as server:
        monkeypatch.setenv("PATH", f"{folder}/bin", prepend=os.pathsep)
        yield server


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """The two connections of the outbox that is opened last."""
    from connections import Connections

    return Connections(monkeypatch)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with a certificate authority of its own, and certificates made by it."""
    import certificates

    return certificates.authority(tmp_path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A delivery with a window of 4."""
    from delivery_bench import Bench

    made = Bench(tmp_path)
    yield made
    made.outbox.close()


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    """A session just connected."""
    from session_bench import Talk

    made = Talk(tmp_path)
    yield made
    made.outbox.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the order of the tests; list loudly what was not tested for want of data, a server or a
    package.
    """
    if (seed := terminalreporter.config.getoption("randomly_seed", None)) is not None:
        terminalreporter.line(f"this order again: --randomly-seed={seed}")
    absent = re.compile("ABSENT|NO BROKER|NO SSH|NO CONTAINER")
    skipped = [
        r for r in terminalreporter.stats.get("skipped", []) if absent.search(str(r.longrepr))
    ]
    if skipped:
        terminalreporter.section("NOT TESTED: absent here", sep="!")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2]}")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave desktop tests out, and say so, where only the device wheel is installed."""
    if collection_path.suffix == ".py" and not HAVE_DESKTOP:
        text = collection_path.read_text(encoding="utf-8")
        if DESKTOP_IMPORT.search(text):
            LEFT_OUT.append(collection_path.name)
            return True
    return None


def pytest_report_collectionfinish() -> str:
    """Name the files that were left out."""
    return f"desktop packages absent, left out: {', '.join(LEFT_OUT)}" if LEFT_OUT else ""


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """An architecture by that name, which is built and fitted at once."""
    from training.architectures import ARCHITECTURES, Architecture

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "shallow", Architecture("shallow:build"))
        yield
