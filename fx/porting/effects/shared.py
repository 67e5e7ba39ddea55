"""Writes through a second name or a view: torch changes what the first name stands for, too.

part = y[:, :2]          y[:, :2] = y[:, :2].clamp(0, 1)     what can be ported instead
part.clamp_(0, 1)
return y
"""

import ast
from collections.abc import Iterator
from typing import Any

from fx.porting.read.names import Obstacle

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
    while isinstance(target, ast.Subscript):  # an entry of a list: of tensors, others stand here
        target = target.value
    if not (isinstance(target, ast.Name) and rw.functions):
        return
    for other in _second_names(rw, target.id, node):
        if read_later(rw, other, node, node):
            raise Obstacle(
                node,
                f"writes into {target.id}, whose numbers {other} shares, and {other} is read "
                f"afterwards: arrays here do not change; make {other} of {target.id}.clone()",
            )
    looked: set[str] = {target.id}
    rest: list[tuple[str, Any]] = [(target.id, node)]
    while rest:
        name, before = rest.pop()
        found = given(rw.functions[-1], name, before)
        for other in _roots(rw, found.value) - looked if found is not None else ():
            looked.add(other)
            rest.append((other, found))
            if read_later(rw, other, found, node):
                raise Obstacle(
                    node,
                    f"writes into {target.id}, which shares its numbers with {other}, and {other} "
                    f"is read afterwards: arrays here do not change; write into {other} itself",
                )


def given(function: Any, name: str, before: ast.stmt) -> Any:
    """The last assignment of a name before a statement."""
    found = [
        part for part in ast.walk(function)
        if isinstance(part, ast.Assign) and _start(part) < _start(before)
        and any(name == each for each in stored(part.targets))
    ]  # fmt: skip
    return max(found, key=_start, default=None)


def _second_names(rw: Any, name: str, node: ast.stmt) -> set[str]:
    """Names that stand for what another one stands for, or a view of it, where a statement is."""
    found, function = set(), rw.functions[-1]
    for part in ast.walk(function):
        if not isinstance(part, ast.Assign) or _start(part) >= _start(node):
            continue
        if name not in _roots(rw, part.value):
            continue
        last = given(function, name, node)
        if last is not None and _start(last) >= _start(part):
            continue  # the name stands for something else by now
        found |= {each for each in stored(part.targets) if given(function, each, node) is part}
    return found - {name}


def in_place(word: str) -> bool:
    """Whether a method or function of torch's changes its tensor: `clamp_`, and no `__iadd__`."""
    return word.endswith("_") and not word.endswith(("__", "requires_grad_"))


def is_copy(function: Any, name: str, node: ast.stmt) -> bool:
    """Whether a name stands for a copy, `x.clone()`, where a statement writes into it."""
    found = given(function, name, node)
    return found is not None and ".clone()" in ast.unparse(found.value)


def stored(targets: list[Any]) -> Iterator[str]:
    """The names that are bound in some nodes."""
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _roots(rw: Any, node: ast.expr) -> set[str]:
    """The names that an expression is, is a view of, or is one or a list of."""
    if isinstance(node, ast.IfExp):
        return _roots(rw, node.body) | _roots(rw, node.orelse)
    if isinstance(node, ast.List | ast.Tuple):
        return set().union(*(_roots(rw, each) for each in node.elts))
    if isinstance(node, ast.Dict):
        return set().union(*(_roots(rw, each) for each in node.values))
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call) and (given := rw.given_back(node)) is not None:
            node = given
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in _VIEWS and not in_place(node.func.attr):
                return set()
            of_module = rw.resolve(node.func.value)[0]  # torch.squeeze(x)
            if of_module and not node.args:
                return set()
            node = node.args[0] if of_module else node.func.value
        elif isinstance(node, ast.Attribute) and node.attr in _PARTS:
            node = node.value
        elif isinstance(node, ast.Subscript) and _is_plain(node.slice):
            node = node.value
        else:
            return set()
    return {node.id}


def _is_plain(index: ast.expr) -> bool:
    """Whether an index makes a view: slices, numbers, dots, and new axes."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    kinds = ast.Slice | ast.Constant | ast.UnaryOp
    return all(isinstance(part, kinds) for part in parts)


def read_again(rw: Any, name: str, node: ast.expr) -> bool:
    """Whether a name is read after an expression, or by it in the next turn of a loop."""
    outer = rw.parent(node)
    while outer is not rw.functions[-1]:
        if isinstance(outer, ast.For | ast.While | ast.comprehension | ast.ListComp):
            return name not in stored([outer]) or read_later(rw, name, node, node)
        outer = rw.parent(outer)
    return read_later(rw, name, node, node)


def read_later(rw: Any, name: str, given: Any, node: Any) -> bool:
    """Whether a name is read after a write, and still stands for what it stood for."""
    end, nodes = (node.end_lineno, node.end_col_offset), ast.walk(rw.functions[-1])
    uses = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
    uses = [n for n in uses if getattr(rw.parent(n), "attr", "") not in _SIZES]
    stores = [_start(statement(rw, n)) for n in uses if isinstance(n.ctx, ast.Store)]
    until = min((at for at in stores if at > _start(given)), default=(10**9, 0))
    reads = [n for n in uses if isinstance(n.ctx, ast.Load) and _start(n) > end]
    return any(_start(statement(rw, n)) <= until for n in reads)


def _start(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def between(rw: Any, node: ast.stmt) -> str:
    """What stands between two statements that take the place of one."""
    outer = rw.parent(node)
    return "; " if getattr(outer, "lineno", 0) == node.lineno else "\n" + " " * node.col_offset


def statement(rw: Any, node: Any) -> Any:
    """The statement that a node stands in."""
    while not isinstance(node, ast.stmt):
        node = rw.parent(node)
    return node
