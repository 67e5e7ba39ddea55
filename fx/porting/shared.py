"""Writes through a second name or a view: torch changes what the first name stands for, too.

part = y[:, :2]          y[:, :2] = y[:, :2].clamp(0, 1)     what can be ported instead
part.clamp_(0, 1)
return y
"""

import ast
from collections.abc import Iterator
from typing import Any

from fx.porting.names import Obstacle

_VIEWS = {
    "view", "view_as", "reshape", "transpose", "permute", "squeeze", "unsqueeze", "expand",
    "expand_as", "narrow", "select", "flatten", "t", "movedim", "swapaxes", "diagonal", "detach",
    "chunk", "split", "unbind", "unflatten",
}  # fmt: skip
_SIZES = {"shape", "size", "dim", "ndim", "dtype", "device"}  # of which a write changes nothing
_PARTS = {"T", "mT", "real", "imag", "data"}


def check(rw: Any, node: ast.stmt, target: ast.expr) -> None:
    """Raise where what is written into is a view of what is read later under another name.

    Args:
        rw: the rewriter.
        node: the statement that writes.
        target: what it writes into.

    Raises:
        Obstacle: it is.
    """
    if not (isinstance(target, ast.Name) and rw.functions):
        return
    name, before, function = target.id, node, rw.functions[-1]
    while (found := _given(function, name, before)) is not None:
        before, name = found, _root(found.value) or ""
        if name and name != target.id and _read_later(rw, name, found, node):
            raise Obstacle(
                node,
                f"writes into {target.id}, which shares its numbers with {name}, and {name} is "
                f"read afterwards: arrays here do not change; write into {name} itself",
            )


def _given(function: Any, name: str, before: ast.stmt) -> Any:
    """The last assignment of a name before a statement."""
    found = [
        part for part in ast.walk(function)
        if isinstance(part, ast.Assign) and part.lineno < before.lineno
        and any(name == each for each in _names(part.targets))
    ]  # fmt: skip
    return max(found, key=lambda part: part.lineno, default=None)


def _names(targets: list[ast.expr]) -> Iterator[str]:
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _root(node: ast.expr) -> str | None:
    """The name that an expression is, or is a view of."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in _VIEWS:
                return None
            node = node.func.value
        elif isinstance(node, ast.Attribute) and node.attr in _PARTS:
            node = node.value
        elif isinstance(node, ast.Subscript) and _is_plain(node.slice):
            node = node.value
        else:
            return None
    return node.id


def _is_plain(index: ast.expr) -> bool:
    """Whether an index makes a view: slices, numbers, dots, and new axes."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    kinds = ast.Slice | ast.Constant | ast.UnaryOp
    return all(isinstance(part, kinds) for part in parts)


def _read_later(rw: Any, name: str, given: ast.stmt, node: ast.stmt) -> bool:
    """Whether a name is read after a write, and still stands for what it stood for."""
    end, nodes = node.end_lineno or node.lineno, ast.walk(rw.functions[-1])
    uses = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
    uses = [n for n in uses if getattr(rw.parent(n), "attr", "") not in _SIZES]
    stores = [n.lineno for n in uses if isinstance(n.ctx, ast.Store) and n.lineno > given.lineno]
    until = min(stores, default=10**9)
    return any(isinstance(n.ctx, ast.Load) and end < n.lineno <= until for n in uses)
