"""Small changes of a module, one at a time: what a slip of the hand would do to it.

Comparisons move by one, conditions turn round, numbers grow and shrink by one, statements that do
something go missing. What no test could notice is left out: annotations, docstrings, texts, what is
written to the log, assertions made for the type checker.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Pow: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitXor: ast.BitOr,
}  # fmt: skip
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
LOGS = ("log", "logger", "logging", "warnings")
Apply = Callable[[], None]


@dataclass(frozen=True)
class Change:
    """One change; `apply` makes it in the tree of its module."""

    name: str
    """Where, the line as it is, and what becomes of it: the same while that code is the same."""
    lines: range
    """Of the statement; whoever runs none of them cannot notice."""
    in_function: bool
    """False: it is made when the module is imported."""
    apply: Apply


@dataclass(frozen=True)
class Source:
    """A module, and what can be changed in it."""

    path: Path
    tree: ast.Module
    changes: tuple[Change, ...]


def read(path: Path) -> Source:
    """Read a module."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    return Source(path, tree, tuple(_named(_Finder(text).module(tree))))


def _named(changes: Iterator[Change]) -> Iterator[Change]:
    """Add a number to each name that occurred before."""
    seen: Counter[str] = Counter()
    for one in changes:
        seen[one.name] += 1
        again = seen[one.name]
        yield one if again == 1 else replace(one, name=f"{one.name} #{again}")


class _Finder:
    def __init__(self, text: str) -> None:
        self._text = text.splitlines()
        self._where: list[str] = []
        self._in_function = False

    def module(self, tree: ast.Module) -> Iterator[Change]:
        yield from self._block(tree.body)

    def _block(self, body: list[ast.stmt]) -> Iterator[Change]:
        for index, statement in enumerate(body):
            if _says_nothing(statement):
                continue
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._definition(statement)
                continue
            yield from self._removed(body, index)
            yield from self._expressions(statement)
            for name in ("body", "orelse", "finalbody"):
                yield from self._block(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from self._block(handler.body)
            for case in getattr(statement, "cases", []):
                yield from self._block(case.body)

    def _definition(
        self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ) -> Iterator[Change]:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases
        ):
            return
        self._where.append(node.name)
        outer = self._in_function
        if not isinstance(node, ast.ClassDef):
            yield from self._expressions(node)
            self._in_function = True
        yield from self._block(node.body)
        self._in_function = outer
        self._where.pop()

    def _removed(self, body: list[ast.stmt], index: int) -> Iterator[Change]:
        """Let a statement go missing; a return gives None."""
        node = body[index]
        new: ast.stmt = ast.copy_location(ast.Pass(), node)
        if isinstance(node, ast.Return):
            if node.value is None or _is_nothing(node.value):
                return
            new = ast.copy_location(
                ast.Return(ast.copy_location(ast.Constant(None), node.value)), node
            )
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            if node.value is None or self._where[-1:] == ["__init__"] or _only_names(node):
                return  # without it there is no such name, and everything fails
        elif not isinstance(
            node.value if isinstance(node, ast.Expr) else node,
            ast.Call | ast.AugAssign | ast.Raise | ast.Continue | ast.Break | ast.Delete,
        ):
            return

        def apply() -> None:
            body[index] = new

        after = "return None" if isinstance(new, ast.Return) else "nothing"
        yield self._change(node, node, after, apply)

    def _expressions(self, statement: ast.stmt) -> Iterator[Change]:
        """Change what stands in a statement itself, not in the blocks below it."""
        for field, value in ast.iter_fields(statement):
            if field in ("annotation", "returns", "target", "type_comment"):
                continue
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, ast.expr | ast.withitem | ast.arguments | ast.match_case):
                    yield from self._inside(statement, one)
        for test in _conditions(statement):
            yield from self._negated(statement, test)
        if isinstance(statement, ast.AugAssign) and (new := OPERATORS.get(type(statement.op))):
            yield self._set(statement, statement, "op", new())

    def _inside(self, statement: ast.stmt, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.JoinedStr) or _logs(node):
            return
        yield from self._here(statement, node)
        for field, value in ast.iter_fields(node):
            if field == "annotation" or isinstance(node, ast.match_case):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._inside(statement, child)

    def _here(self, statement: ast.stmt, node: ast.AST) -> Iterator[Change]:
        """Change this node."""
        if isinstance(node, ast.Compare):
            for index, operator in enumerate(node.ops):
                yield self._compared(statement, node, index, COMPARISONS[type(operator)]())
        elif isinstance(node, ast.BoolOp):
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield self._set(statement, node, "op", other)
        elif isinstance(node, ast.BinOp) and (new := OPERATORS.get(type(node.op))):
            if not isinstance(node.left, ast.Constant) or not isinstance(node.left.value, str):
                yield self._set(statement, node, "op", new())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            double = ast.copy_location(ast.UnaryOp(ast.Not(), node.operand), node)
            yield self._set(statement, node, "operand", double, after=ast.unparse(node.operand))
        elif isinstance(node, ast.Constant):
            for value in _other_values(node.value):
                yield self._set(statement, node, "value", value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in FUNCTIONS:
                yield self._set(statement, node.func, "id", FUNCTIONS[node.func.id], whole=node)
        elif isinstance(node, ast.IfExp):
            yield from self._negated(statement, node.test)
        elif isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield from self._negated(statement, test)
        elif isinstance(node, ast.Lambda) and not isinstance(node.body, ast.Constant):
            none = ast.copy_location(ast.Constant(None), node.body)
            yield self._set(statement, node, "body", none)

    def _negated(self, statement: ast.stmt, test: ast.expr) -> Iterator[Change]:
        """Turn a condition round, where nothing else here does."""
        turned = (
            isinstance(test, ast.Compare)
            and len(test.ops) == 1
            and not isinstance(test.ops[0], ORDER)
        )
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if turned or negated or isinstance(test, ast.Constant):
            return

        def apply() -> None:
            new = ast.copy_location(ast.UnaryOp(ast.Not(), test), test)
            for node in ast.walk(statement):
                for field, value in ast.iter_fields(node):
                    if value is test:
                        setattr(node, field, new)
                    elif isinstance(value, list):
                        value[:] = [new if part is test else part for part in value]

        yield self._change(statement, test, f"not ({_short(test)})", apply)

    def _compared(
        self, statement: ast.stmt, node: ast.Compare, index: int, new: ast.cmpop
    ) -> Change:
        def apply() -> None:
            node.ops[index] = new

        after = ast.Compare(
            node.left, [*node.ops[:index], new, *node.ops[index + 1 :]], node.comparators
        )
        return self._change(statement, node, _short(after), apply)

    def _set(
        self,
        statement: ast.stmt,
        node: ast.AST,
        field: str,
        value: object,
        whole: ast.AST | None = None,
        after: str | None = None,
    ) -> Change:
        shown = whole or node
        before = getattr(node, field)
        old = _short(shown)
        if after is None:
            setattr(node, field, value)
            after = _short(shown)
            setattr(node, field, before)
        return self._change(statement, shown, after, lambda: setattr(node, field, value), old)

    def _change(
        self, statement: ast.stmt, node: ast.AST, after: str, apply: Apply, before: str = ""
    ) -> Change:
        line = self._text[getattr(node, "lineno", statement.lineno) - 1].strip()
        before = before or _short(node)
        where = ".".join(self._where) or "module"
        shown = f"{where}: {line}"
        if node is statement or before == line:
            shown += f" => {after}"
        else:
            shown += f" => {before} -> {after}"
        body = getattr(statement, "body", None)
        end = body[0].lineno if body else (statement.end_lineno or statement.lineno) + 1
        lines = range(statement.lineno, max(end, statement.lineno + 1))
        inside = self._in_function and not isinstance(statement, ast.FunctionDef)
        return Change(shown, lines, inside, apply)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _other_values(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1] if value > 0 else [value + 1]
    return []


def _is_nothing(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


def _only_names(node: ast.Assign | ast.AnnAssign) -> bool:
    """Whether an assignment only makes names, and sets nothing of an object."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return not any(
        isinstance(one, ast.Attribute | ast.Subscript) for top in targets for one in ast.walk(top)
    )


def _conditions(statement: ast.stmt) -> list[ast.expr]:
    return [statement.test] if isinstance(statement, ast.If | ast.While) else []


def _logs(node: ast.AST) -> bool:
    """Whether this is a call that writes to the log."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in LOGS
    )


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is only for readers, for the type checker, or for the log."""
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Assert | ast.Pass | ast.Global):
        return True
    if isinstance(statement, ast.If):
        return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
    if not isinstance(statement, ast.Expr):
        return False
    return isinstance(statement.value, ast.Constant) or _logs(statement.value)
