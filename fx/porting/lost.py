"""Writes into an argument that only the caller would see: arrays here do not change."""

import ast
from collections.abc import Iterator
from typing import Any

from fx.porting.names import Obstacle


def check(rw: Any, node: ast.stmt, target: ast.expr) -> None:
    """Raise an obstacle where a function writes into its argument and does not read it again.

    Args:
        rw: the rewriter.
        node: the statement that writes.
        target: what it writes into.
    """
    if not (isinstance(target, ast.Name) and rw.functions):
        return
    function, name = rw.functions[-1], target.id
    given = function.args
    taken = {arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    if name not in taken - {"self"} or _bound_before(rw, node, name):
        return
    outer = rw.parent(node)
    again = node  # a loop reads again what stands before the write in it
    while outer is not None and outer is not function:
        again = outer if isinstance(outer, ast.For | ast.While) else again
        outer = rw.parent(outer)
    for read in _reads(rw, function, name):
        inside = any(part is read for part in ast.walk(again)) and again is not node
        if inside or (read.lineno, read.col_offset) > (node.end_lineno, node.end_col_offset):
            return
    raise Obstacle(
        node,
        f"{function.name} writes into its argument {name}, which only its caller reads; return "
        f"{name} from it, and take it where it is called",
    )


def _bound_before(rw: Any, node: ast.stmt, name: str) -> bool:
    """Whether the name is of the function's own by then."""
    return any(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store)
        and part.lineno < node.lineno and not isinstance(rw.parent(part), ast.AugAssign)
        for part in ast.walk(rw.functions[-1])
    )  # fmt: skip


def _reads(rw: Any, function: Any, name: str) -> Iterator[ast.Name]:
    """Where the name is read, other than to write into it."""
    for part in ast.walk(function):
        if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load):
            owner = rw.parent(part)
            if isinstance(owner, ast.Subscript) and owner.value is part:
                if isinstance(owner.ctx, ast.Store):
                    continue
                owner = rw.parent(owner)
            call = rw.parent(owner)
            alone = isinstance(call, ast.Call) and isinstance(rw.parent(call), ast.Expr)
            writes = isinstance(owner, ast.Attribute) and owner.attr.endswith("_")
            if not (writes and alone and call.func is owner):
                yield part
