"""Functions of no global name that a model holds: lambdas, and those made inside others.

What such a function reads of the one around it is given to a function that makes it anew:

    def always(value):                        def always_function(value):
        return lambda *args: value                return lambda *args: value
    self.head = always(None)                  head=always_function(value=None)
"""

import ast
import types
from dataclasses import dataclass
from typing import Any

from fx.porting.read.names import Obstacle
from fx.porting.read.sources import Place, local_names, source


@dataclass(frozen=True)
class Inner:
    """A function without a global name, where it is defined, and what it reads around it."""

    function: types.FunctionType
    place: Place
    reads: tuple[str, ...]

    def text(self, rw: Any, name: str) -> str:
        """Its definition under a global name, or that of a function that makes it."""
        node, own = self.place.node, self.function.__name__
        pad = " " * node.col_offset
        rw.scopes.append({*self.reads, *local_names(node)})
        written = rw.text(node)
        rw.scopes.pop()
        head = f"def {name}({', '.join(self.reads)}):\n{pad}    "
        if isinstance(node, ast.Lambda):
            written = f"({written})" if "\n" in written else written
            return f"{head}return {written}" if self.reads else f"{name} = {written}"
        if not self.reads:
            return written.replace(f"def {own}(", f"def {name}(", 1)
        inside = written.replace("\n", "\n    ")
        return f"{head}{inside}\n{pad}    return {own}"


def made(function: types.FunctionType, tree: Any) -> str:
    """The expression for a function that a live model holds; notes that its definition is needed.

    Raises:
        Obstacle: its text is not found, or it reads what has no form in source.
    """
    node, name, owner = node_of(function), _name(function), function.__module__
    if node is None or name is None:
        raise Obstacle(None, "a lambda has no form in source; write it as a function")
    defaults = [each for each in [*node.args.defaults, *node.args.kw_defaults] if each is not None]
    if not all(isinstance(each, ast.Constant) for each in defaults):
        said = "a function within another has defaults that are computed; write them as arguments"
        raise Obstacle(None, said)
    cells = zip(function.__code__.co_freevars, function.__closure__ or ())
    given = []
    for word, value in ((word, cell.cell_contents) for word, cell in cells):
        if hasattr(value, "register_forward_hook") or hasattr(value, "untyped_storage"):
            said = f"reads {word!r}, which is made where it is: make it a module"
            raise Obstacle(None, f"a function within another {said}")
        given.append(f"{word}={tree.text(value)}")
    place = Place(function.__code__.co_filename, node, owner)
    value = Inner(function, place, function.__code__.co_freevars)
    name = tree.needs.define(id(function.__code__), name, value, owner)
    return f"{name}({', '.join(given)})" if given else name


def _name(function: types.FunctionType) -> str | None:
    """A name for the global definition: its own, or one after where it is made."""
    parts = [part for part in function.__qualname__.split(".") if part != "<locals>"]
    outer = [part for part in parts[:-1] if part != "__init__" and part.isidentifier()]
    if function.__name__ != "<lambda>":
        return function.__name__
    return f"{outer[-1].lower()}_function" if outer else None


def node_of(function: types.FunctionType) -> Any:
    """The lambda or definition in the function's file; None where it is not found."""
    code = function.__code__
    if not code.co_filename.endswith(".py"):
        return None
    file = source(code.co_filename)
    if function.__name__ != "<lambda>":
        node = file.find(function.__qualname__, code.co_firstlineno)
        return node if node and file.first_line(node) == code.co_firstlineno else None
    ran = {at for at in code.co_positions() if None not in at and at[2:] != (0, 0)}
    found = [n for n in ast.walk(file.tree) if isinstance(n, ast.Lambda)]
    around = [n for n in found if all(_within(at, n.body) for at in ran)]
    return max(around, key=file.span, default=None)  # the innermost


def _within(at: tuple, node: ast.expr) -> bool:
    """Whether a place of code is a part of an expression."""
    line, end_line, column, end_column = at
    first, last = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    return first <= (line, column) and (end_line, end_column) <= last
