"""Python files as text and tree together, and where a global name of one is defined."""

import ast
import inspect
import sys
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fx.porting.read.names import imported


class Source:
    """One file. Positions are in bytes, as those of `ast` are.

    Attributes:
        names: What binds each global name, the last in the text.
        several: Names that are bound more than once at the top, in `try` and `except`, say, or
            whose values are changed there: `SIZES += [3]`, `CONFIG["a"] = 5`, `SIZES.append(3)`.
    """

    def __init__(self, file: str):
        self.file = file
        self.text = Path(file).read_bytes()
        self.tree = ast.parse(self.text)
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }
        bound = list(self._bound(self.tree.body))
        self.names = dict(bound)
        said = Counter(name for name, _ in bound)
        self.several = {name for name, times in said.items() if times > 1}
        self.several |= {name for node in self.tree.body for name in _changed(node)}

    def span(self, node: Any) -> tuple[int, int]:
        """First byte of a node and the one after its last; decorators belong to what follows."""
        first = min([node, *getattr(node, "decorator_list", ())], key=lambda n: n.lineno)
        at = self.starts[first.lineno - 1] + first.col_offset
        if first is not node:
            at -= 1  # the @
        return at, self.starts[node.end_lineno - 1] + node.end_col_offset

    def segment(self, node: Any) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end].decode()

    def find(self, qualname: str, line: int = 0) -> Any:
        """The definition of a class or function by its qualified name, the one at `line` first."""
        last = qualname.rpartition(".")[2]
        kinds = ast.ClassDef | ast.FunctionDef
        found = [n for n in ast.walk(self.tree) if isinstance(n, kinds) and n.name == last]
        exact = [n for n in found if line and self.first_line(n) == line]
        exact = exact or [n for n in found if n.lineno <= line <= n.end_lineno]
        top = [n for n in found if self.names.get(last) is n]
        return next(iter(exact or top or found), None)

    def setters(self, name: str) -> list[int]:
        """The first lines of the functions that assign a global name."""
        told = [n for n in ast.walk(self.tree) if isinstance(n, ast.Global) and name in n.names]
        return [self.first_line(node) for each in told for node in self._around(each)]

    def _around(self, node: Any) -> Iterator[Any]:
        while (node := self.parents.get(node)) is not None:
            if isinstance(node, ast.FunctionDef):
                yield node

    def first_line(self, node: Any) -> int:
        """Where Python says that a definition begins: at its first decorator."""
        return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])

    def _bound(self, body: list) -> Iterator[tuple[str, Any]]:
        """Names that the file binds at its top level, with what binds them."""
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield node.name, node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    yield alias.asname or alias.name.partition(".")[0], (node, alias)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    for part in ast.walk(target):
                        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                            yield part.id, node
            elif isinstance(node, ast.If | ast.Try):
                for part in ("body", "orelse", "handlers", "finalbody"):
                    for inner in getattr(node, part, ()):
                        yield from self._bound(getattr(inner, "body", None) or [inner])


def _changed(node: ast.AST) -> Iterator[str]:
    """The names whose values a statement at the top of a file changes."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
        return
    target = None
    if isinstance(node, ast.AugAssign):
        target = node.target
    elif isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        target = node.value
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        target = node.value.func.value if isinstance(node.value.func, ast.Attribute) else None
    while isinstance(target, ast.Subscript | ast.Attribute):
        target = target.value
    if isinstance(target, ast.Name):
        yield target.id
    for child in ast.iter_child_nodes(node):
        yield from _changed(child)


@cache
def source(file: str) -> Source:
    """A file, read once."""
    return Source(file)


@dataclass(frozen=True)
class Place:
    """Where something global is defined: its file, its node there, and its module."""

    file: str
    node: Any
    module: str


def definition(value: Any) -> Place | None:
    """Where a class or a function is defined."""
    module = sys.modules.get(getattr(value, "__module__", "") or "")
    code = getattr(inspect.unwrap(value) if callable(value) else value, "__code__", None)
    file = code.co_filename if code else getattr(module, "__file__", None)
    if module is None or not file or not Path(file).is_file() or not file.endswith(".py"):
        return None
    line = code.co_firstlineno if code else _line_inside(value, file)
    node = source(file).find(getattr(value, "__qualname__", ""), line)
    return Place(file, node, module.__name__) if node is not None else None


def _line_inside(kind: Any, file: str) -> int:
    """A line of a class: there may be two of its name, in the arms of a condition."""
    own = vars(kind).values() if isinstance(kind, type) else ()
    codes = [each.__code__ for each in own if isinstance(each, types.FunctionType)]
    return next((each.co_firstlineno for each in codes if each.co_filename == file), 0)


def constant(module: str, name: str) -> Place | None:
    """Where a module assigns a name, imports followed; None where it is bound in another way."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    if not file.endswith(".py"):
        return None
    bound = source(file).names.get(name)
    if isinstance(bound, tuple):
        node, alias = bound
        if isinstance(node, ast.Import):
            return None
        return constant(absolute(module, node), alias.name)
    return Place(file, bound, module) if isinstance(bound, ast.Assign | ast.AnnAssign) else None


def absolute(module: str, node: ast.ImportFrom) -> str:
    """The full name of the module that a `from ... import` in another one names."""
    if not node.level:
        return node.module or ""
    is_package = hasattr(sys.modules[module], "__path__")
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, node.module] if node.module else parts)


def local_names(function: Any) -> set[str]:
    """Names that a function binds itself, its arguments and those of functions inside included."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not function:
            found.add(node.name)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
    told = [node for node in ast.walk(function) if isinstance(node, ast.Global)]
    return found.difference(*(node.names for node in told))


def imports(function: Any, module: str) -> dict[str, Any]:
    """What import statements inside a function bind, but for what stays imported."""
    found: dict[str, Any] = {}

    def bind(name: str, value: Any) -> None:
        same = name not in found or found[name] is value
        found[name] = value if same else None  # one of two: it stays a name of the function's

    for node in ast.walk(function):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                bind(alias.asname or name, sys.modules.get(name))
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(module, node)
            for alias in node.names:
                value = getattr(sys.modules.get(origin), alias.name, None)
                value = value if value is not None else sys.modules.get(f"{origin}.{alias.name}")
                bind(alias.asname or alias.name, None if imported(origin) else value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = None
    return {
        name: value
        for name, value in found.items()
        if value is not None and not imported(getattr(value, "__name__", "") or "")
    }
