"""Runs tests in children of a process that has imported and collected everything already.

A child costs a fork and the tests that reach the changed lines, the quickest first; the code of the
changed function is exchanged where it lies. What runs while the project is imported (a constant, a
default) is tried in a child that imports it anew. That is why there is no framework here: one that
starts an interpreter for every change spends its time on importing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from changes import Change, Source
from existing import Existing
from lines import Lines
from live import exchange, functions

GREEN, RED, BROKEN, ANEW, MISSING = 0, 1, 70, 71, 72
OPTIONS = [
    *("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=native"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    "--randomly-dont-reorganize",
]
WHOLE_SECONDS = 36_000
WAIT_TIMES, WAIT_SECONDS = 4, 5
"""A test that waits has so many times as long as it took unchanged, and so much more."""
END_SECONDS = 5
"""A child that is to end has so long for that before it is killed."""
MOST_BYTES = 4_000_000_000
"""Of memory in a child: a loop without end may fill it."""
Try = tuple[Source, Change]


class Covered:
    """Which tests run which lines of the modules, and how long each takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.lines: dict[tuple[str, int], set[str]] = {}
        self.foreign: list[str] = []
        """Modules that the tests import and that are not the project's."""

    def of(self, path: Path, change: Change) -> list[str]:
        """The tests that run any of its lines, the quickest first."""
        found = set(self.seconds)
        if change.in_function:
            reached = (self.lines.get((str(path), line), set()) for line in change.lines)
            found = set[str]().union(*reached)
        return sorted(found, key=lambda test: (self.seconds[test], test))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """End this process where a test takes far longer than unchanged: it may wait for ever."""
        _limit(self.seconds.get(item.nodeid, WHOLE_SECONDS))
        return (yield)


def _limit(seconds: float) -> None:
    """End this process where what takes so long unchanged takes far longer."""
    signal.setitimer(signal.ITIMER_REAL, WAIT_TIMES * seconds + WAIT_SECONDS)


class Children:
    """Tries changes of the modules of a project; a child may compute for so many seconds."""

    def __init__(self, root: Path, tests: list[str], seconds: int) -> None:
        self._root, self._tests, self._seconds = root, tests, seconds
        self._import_seconds = 0.0
        sys.path.insert(0, str(root))
        os.chdir(root)

    def unnoticed(self, tries: list[Try]) -> list[Try]:
        """The changes that no test noticed. Ends the program where tests fail as it is, or are not
        there.
        """
        screen = os.dup(2)
        _tidy_when_ended()
        with tempfile.NamedTemporaryFile() as told:

            def collected(folder: str) -> int:
                _tidy_when_ended()
                plugin = _Forks(self._root, tries, self._seconds, screen, folder)
                existing, options = Existing(), [*OPTIONS, f"--basetemp={folder}"]
                code = pytest.main([*options, *self._tests], [plugin, existing])
                if existing.missing:
                    Path(told.name).write_text("\n".join(existing.missing))
                    return MISSING
                Path(told.name).write_bytes(
                    pickle.dumps((plugin.covered, plugin.missed, plugin.anew))
                )
                return code

            if (code := _fork(collected, WHOLE_SECONDS, WHOLE_SECONDS)) == MISSING:
                sys.exit(f"the tests named do not exist:\n{Path(told.name).read_text()}")
            if code != GREEN:
                sys.exit(f"the tests fail as it is ({code}): pytest {' '.join(self._tests)}")
            found: tuple[Covered, list[int], list[int]] = pickle.loads(Path(told.name).read_bytes())
            covered, missed, anew = found
        for name in covered.foreign:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        if anew:
            self._try_unchanged(covered)
        for number in anew:
            _count(screen, number, len(tries))
            if not self._noticed(*tries[number], covered):
                missed.append(number)
        os.close(screen)
        return [tries[number] for number in sorted(missed)]

    def _try_unchanged(self, covered: Covered) -> None:
        """See that all tests pass in a child that imports the project, and how long that takes."""
        if self._anew(sorted(covered.seconds), lambda: None, WHOLE_SECONDS) != GREEN:
            sys.exit(f"the tests fail one by one: pytest {' '.join(self._tests)}")
        quickest = min(covered.seconds, key=lambda test: covered.seconds[test])
        started = time.monotonic()
        self._anew([quickest], lambda: None, WHOLE_SECONDS)
        self._import_seconds = time.monotonic() - started

    def _noticed(self, source: Source, change: Change, covered: Covered) -> bool:
        if not (tests := covered.of(source.path, change)):
            return False

        def install() -> None:
            code = _changed(source, change)
            sys.meta_path.insert(0, _Changed(source.path, self._root, code))

        code = self._anew(tests, install, self._import_seconds, covered)
        if code == BROKEN:
            sys.exit(f"pytest itself fails with: {change.name}")
        if code == MISSING:
            sys.exit(f"the tests named do not exist with: {change.name}\n{' '.join(tests)}")
        return code != GREEN

    def _anew(
        self, tests: list[str], install: Callable[[], None], usual: float, *plugins: object
    ) -> int:
        """Run tests in a child that imports the project, which takes `usual` seconds."""

        # Their parameters may be made of what is changed: then they have other names.
        named = dict.fromkeys(test.partition("[")[0] for test in tests)

        def child(folder: str) -> int:
            install()
            existing, folder = Existing(), f"--basetemp={folder}"
            code = pytest.main([*OPTIONS, folder, *named], [existing, *plugins])
            return MISSING if existing.missing else code

        return _fork(child, self._seconds, usual)


def _count(screen: int, number: int, of: int) -> None:
    """Show a person how far it is."""
    if os.isatty(screen):
        os.write(screen, f"\r{number + 1} of {of} ".encode())


def _changed(source: Source, change: Change) -> CodeType:
    """Make a change, in this process for good, and give the code of the module."""
    change.apply()
    return compile(source.tree, str(source.path), "exec")


def _fork(run: Callable[[str], int], seconds: float, usual: float) -> int:
    """Run something in a child with a folder of its own; give its exit status, or minus the signal
    that ended it: it may compute for `seconds`, and takes `usual` seconds unless told better.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="mutants-", dir=memory)
    sys.stdout.flush()
    if not (child := os.fork()):
        code = BROKEN
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            _limit(usual)
            resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            code = int(run(f"{folder}/tests"))
        finally:
            os._exit(code)
    status = None
    try:
        _, status = os.waitpid(child, 0)
    finally:
        if status is None:  # this process is to end itself
            _end(child)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests started
        _remove(folder)
    return os.waitstatus_to_exitcode(status)


def _tidy_when_ended() -> None:
    """Have this process end its child and remove its folder when it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end(child: int) -> None:
    """Have a child end what it started itself, and wait for that a while."""
    until = time.monotonic() + END_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)


def _remove(folder: str) -> None:
    """Remove a folder, and what is mounted in it still: a test that was killed left it so."""
    table = Path("/proc/self/mountinfo").read_text()
    points = [line.split()[4] for line in table.splitlines()]
    for point in reversed([one for one in points if one.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", point], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)


def _name(path: Path, root: Path) -> str:
    """The name under which a module is imported."""
    return ".".join(path.relative_to(root).with_suffix("").parts)


class _Changed(  # type: ignore[misc]  # both have `source_to_code`, each its own kind
    importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader
):
    """Finds one module, with other code than its file has."""

    def __init__(self, path: Path, root: Path, code: CodeType) -> None:
        super().__init__(_name(path, root), str(path))
        self._code = code

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """Find it."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, _name: str) -> CodeType:
        """The other code."""
        return self._code


class _Forks:
    """A plugin of pytest that runs the tests it collected in children: once to see which lines each
    reaches, and once for each change. `missed` are the numbers of those that nothing noticed, and
    `anew` of those that are to be tried with modules imported anew.
    """

    def __init__(
        self, root: Path, tries: list[Try], seconds: int, screen: int, folder: str
    ) -> None:
        self._root, self._tries, self._seconds, self._screen = root, tries, seconds, screen
        self._folder = folder
        self.covered, self.missed, self.anew = Covered(), list[int](), list[int]()
        self._paths = {str(source.path) for source, _ in tries}
        self._imports = Lines(self._paths)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every change."""
        self._imports.end()
        items = {item.nodeid: item for item in session.items}
        if not self._record(session, list(items.values())):
            session.testsfailed = 1
            return True
        for path in sorted(self._paths):  # or a test would import it in a child, unchanged
            importlib.import_module(_name(Path(path), self._root))
        live = functions(self._paths)
        for number, (source, change) in enumerate(self._tries):
            _count(self._screen, number, len(self._tries))
            if not change.in_function or self._imports.ran(source.path, change):
                self.anew.append(number)
                continue
            tests = [items[name] for name in self.covered.of(source.path, change)]
            code = self._try(session, live, number, tests) if tests else GREEN
            if code == ANEW:
                self.anew.append(number)
            elif code == GREEN:
                self.missed.append(number)
        return True

    def _record(self, session: pytest.Session, tests: list[pytest.Item]) -> bool:
        """See which lines each test reaches; False: one fails."""
        with tempfile.NamedTemporaryFile() as told:

            def child(_folder: str) -> int:
                recorder = _Recorder(self._paths)
                session.config.pluginmanager.register(recorder)
                code = _in_turn(session, tests)
                recorder.covered.foreign = _foreign(self._root)
                Path(told.name).write_bytes(pickle.dumps(recorder.covered))
                return code

            if self._child(child, self._seconds * 10, WHOLE_SECONDS) != GREEN:
                return False
            self.covered = pickle.loads(Path(told.name).read_bytes())
            return True

    def _try(
        self,
        session: pytest.Session,
        live: list[FunctionType],
        number: int,
        tests: list[pytest.Item],
    ) -> int:
        def child(_folder: str) -> int:
            if not exchange(_changed(*self._tries[number]), live):
                return ANEW
            session.config.pluginmanager.register(self.covered)
            return _in_turn(session, tests)

        return self._child(child, self._seconds, 0.0)

    def _child(self, run: Callable[[str], int], seconds: float, usual: float) -> int:
        """Run tests in a child, and empty the folder that was named when they were collected."""
        try:
            return _fork(run, seconds, usual)
        finally:
            _remove(self._folder)


def _in_turn(session: pytest.Session, tests: Iterable[pytest.Item]) -> int:
    """Run tests until one fails."""
    tests = list(tests)
    for test, following in zip(tests, [*tests[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        if session.testsfailed:
            return RED
    return GREEN


def _foreign(root: Path) -> list[str]:
    """The modules that were imported and are not the project's."""
    ours, theirs = f"{root}/", f"{root}/.venv/"
    return [
        name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and (file := getattr(module, "__file__", None)) is not None
        and (not str(file).startswith(ours) or str(file).startswith(theirs))
    ]


class _Recorder:
    """A plugin of pytest: which test runs which lines, and how long each takes."""

    def __init__(self, paths: set[str]) -> None:
        self.covered, self._lines = Covered(), Lines(paths)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note what it runs."""
        self._lines.seen, started = set(), time.monotonic()
        result = yield
        self.covered.seconds[item.nodeid] = time.monotonic() - started
        for line in self._lines.seen:
            self.covered.lines.setdefault(line, set()).add(item.nodeid)
        return result
