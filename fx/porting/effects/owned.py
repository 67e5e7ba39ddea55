"""Writes into buffers under another name: the buffer gets what the name stands for afterwards.

mean = getattr(self, f"mean{n}")          mean = getattr(self, f"mean{n}")
mean.mul_(0.9)                            mean = mean * 0.9
                                          setattr(self, f"mean{n}", mean)

Which statements write into a model's buffers is known from the runs that are recorded.
"""

import ast
from typing import Any

from fx.porting.effects import shared
from fx.porting.read.names import Obstacle


def written(rw: Any, node: Any) -> set[str]:
    """The buffers and weights of the model that a statement, or a function, was seen to write."""
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return set().union(*(rw.record.written.get((rw.place.file, line), ()) for line in lines))


def after(rw: Any, node: ast.stmt, target: ast.expr) -> str:
    """What follows a write into a name that stands for a buffer; "" where nothing is to.

    Args:
        rw: the rewriter.
        node: the statement that writes.
        target: what it writes into, without indices.

    Raises:
        Obstacle: a buffer of the model is written into in a way that cannot be followed.
    """
    if isinstance(target, ast.Attribute) or not (names := written(rw, node)):
        return ""
    pad = shared.between(rw, node)
    if isinstance(target, ast.Name):
        function = rw.functions[-1]
        taken = {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)}
        given = shared.given(function, target.id, node)
        if given is None and target.id in taken:
            return ""  # the function returns it
        value = getattr(given, "value", None)
        if isinstance(value, ast.Attribute) and _is_own(rw, value):
            return f"{pad}{ast.unparse(value)} = {target.id}"
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "getattr":
            owner, name = (rw.source.segment(arg) for arg in value.args[:2])
            if owner == "self":
                return f"{pad}setattr({owner}, {name}, {target.id})"
    some = ", ".join(sorted(names)[:3])
    said = f"writes into {some}, which the model holds, under another name: arrays here do not"
    raise Obstacle(node, f"{ast.unparse(node)[:60]}: {said} change; write into self.<name> itself")


def _is_own(rw: Any, node: ast.Attribute) -> bool:
    """Whether it is a buffer of the module at hand."""
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    return ast.unparse(node.value) == "self" and (owner, node.attr) in rw.held.buffers


def given_to(rw: Any, node: ast.Call, function: Any, target: Any) -> bool:
    """Whether a call gives a buffer of the module at hand to a function that writes into it.

    Raises:
        Obstacle: what it gives is a buffer in another way, or several.
    """
    if isinstance(target, ast.Name) or not written(rw, function):
        return False
    if isinstance(target, ast.Attribute) and _is_own(rw, target):
        return True
    said = "which the model holds: arrays here do not change; give it self.<name> of a buffer"
    name = getattr(function, "name", "it")
    raise Obstacle(node, f"{ast.unparse(node)[:60]}: {name} writes into what it is given, {said}")
