"""The calls of a running device's threads, each of which may be made to fail.

The classes that work on them are compiled anew when they are imported, with every call's callee
handed through :data:`POINTS`; so no call is missed, of whatever it is.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import threading
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType
from typing import Any, TypeVar

OWNERS = {
    "edge.device.agent": ("Agent",),
    "edge.outbox.writer": ("Writer",),
    "edge.mqtt.publisher": ("Publisher",),
    "edge.mqtt.session": ("Session",),
    "edge.mqtt.lane": ("Lane",),
    "edge.mqtt.introduction": ("Announcer",),
    "edge.mqtt.delivery": ("Delivery",),
    "edge.mqtt.request_channel": ("RequestChannel",),
    "edge.mqtt.idle_sender": ("IdleSender",),
    "edge.cameras.reader": ("Reader",),
    "edge.mqtt.requests": ("RequestServer",),
    "edge.feedback.inbox": ("PictureInbox",),
    "edge.device.health.prometheus": ("Exporter",),
    "edge.outbox.retime": ("Retimer",),
    "edge.system.systemd": ("Systemd",),
    "edge.updates.service": ("UpdateService",),
    "edge.updates.follower": ("Follower",),
    "edge.updates.updater": ("Updater",),
    "edge.system.gps": ("GpsReceiver",),
    "edge.system.counters": ("Episode",),
    "edge.system.threads": ("Patience",),
}
"""By module, the classes whose calls run on a thread of the device."""

Point = tuple[str, str]
"""A place in the source, and the name of a thread."""

Block = TypeVar("Block", ast.With, ast.Try)


class Marked(ast.NodeTransformer):
    """Hands what is called in some classes' methods through ``_fault``; building them is left out:
    what fails there ends the program before it runs.
    """

    def __init__(self, module: str, owners: tuple[str, ...]) -> None:
        self._module, self._owners = module, owners
        self._where: list[str] = []
        self._quiet = 0

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Leave all but classes as it is."""
        node.body = [self.visit(one) if isinstance(one, ast.ClassDef) else one for one in node.body]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Mark the methods of the classes asked for."""
        if node.name in self._owners:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name != "__init__":
                    self._where = [f"{self._module}.{node.name}.{method.name}"]
                    method.body = [self.visit(one) for one in method.body]
        return node

    def visit_With(self, node: ast.With) -> ast.With:
        """Know what is called where errors of the system are left out on purpose."""
        suppresses = any("suppress" in ast.unparse(one.context_expr) for one in node.items)
        return self._within(node, suppresses)

    def visit_Try(self, node: ast.Try) -> ast.Try:
        """The same, in a handler's words."""
        handles = any(one.type and "OSError" in ast.unparse(one.type) for one in node.handlers)
        return self._within(node, handles)

    def _within(self, node: Block, quiet: bool) -> Block:
        self._quiet += quiet
        self.generic_visit(node)
        self._quiet -= quiet
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Hand the callee through."""
        what = ast.unparse(node.func).split("\n")[0][:40]
        place = f"{self._where[0]}:{node.lineno}:{node.col_offset} {what}"
        POINTS.quiet[place] = bool(self._quiet)
        self.generic_visit(node)
        node.func = ast.Call(
            ast.Name("_fault", ast.Load()), [ast.Constant(place), node.func], keywords=[]
        )
        return node


class Points:
    """What was called, and what is to fail."""

    def __init__(self) -> None:
        self.quiet: dict[str, bool] = {}
        self.begin(None, None, False)

    def begin(
        self,
        point: Point | None,
        error: Callable[[], BaseException] | None,
        always: bool,
        day: str = "good",
    ) -> None:
        """Begin a replay in which a point fails."""
        self.point, self.error, self.always = point, error, always
        self.reached: set[Point] = set()
        self.fired = 0
        self._accidents = {} if day == "good" else accidents()

    @property
    def mistaken(self) -> list[str]:
        """Accidents that name no call of those classes."""
        return sorted(set(accidents()) - {_named(place) for place in self.quiet})

    def __call__(self, place: str, callee: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is to be called, or fail."""
        point = (place, threading.current_thread().name)
        self.reached.add(point)
        if point == self.point and (self.always or not self.fired):
            self.fired += 1
            assert self.error is not None
            raise self.error()
        accident = self._accidents.get(_named(place))
        if accident:
            error = accident.pop(0)
            if error is not None:
                raise error
        return callee


def _named(place: str) -> str:
    """Method and call, without the line."""
    return f"{place.split(':')[0]} {place.split(' ')[1]}"


POINTS = Points()


def accidents() -> dict[str, list[Exception | None]]:
    """What goes wrong on a bad day, all of which a device can handle: by method and call, in the
    order of the calls (None: well).
    """
    from edge.errors import (
        CameraError,
        ImageError,
        ModelError,
        OutboxError,
        PublishError,
        StoreError,
    )

    return {
        "edge.cameras.reader.Reader._capture camera.capture": [
            CameraError("unplugged"),
            ImageError("torn"),
        ],
        "edge.device.agent.Agent._see self._viewer.look": [ModelError("odd"), ValueError("odder")],
        "edge.device.agent.Agent._show watch": [ValueError("blind")],
        "edge.device.agent.Agent._report self._health": [ValueError("unwell")],
        "edge.outbox.writer.Writer._commit self._outbox.append_many": [
            OutboxError("refused"),
            ValueError("odd"),
        ],
        "edge.outbox.writer.Writer._tell self._committed": [ValueError("asleep")],
        "edge.mqtt.publisher.Publisher._once self._connect": [
            PublishError("away"),
            ValueError("odd"),
        ],
        "edge.mqtt.publisher.Publisher._mind_letters self.letters.collect": [OSError("torn")],
        "edge.mqtt.session.Session.turn delivery.fill": [None, PublishError("hung up")],
        "edge.updates.service.UpdateService._run follower.judge": [
            StoreError("full"),
            ValueError("odd"),
        ],
        "edge.outbox.retime.Retimer._run self.tick": [OutboxError("full"), ValueError("odd")],
        "edge.mqtt.requests.RequestServer._run self.carry_out_next": [ValueError("odd")],
        "edge.system.systemd.Systemd._run self.tick": [ValueError("odd")],
    }


class Finder(importlib.abc.MetaPathFinder):
    """Compiles the modules of :data:`OWNERS` with their calls marked."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find one of those modules."""
        if name not in OWNERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None, name
        assert spec.origin is not None, name
        spec.loader = Loader(name, spec.origin)
        return spec


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles with the calls marked, and keeps nothing of it."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile."""
        tree = ast.parse(self.get_data(self.path))
        marked = Marked(fullname, OWNERS[fullname]).visit(tree)
        return compile(ast.fix_missing_locations(marked), self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        module.__dict__["_fault"] = POINTS
        super().exec_module(module)
