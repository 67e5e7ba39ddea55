"""Modules that are moved to a device: `nn.Linear(3, 4).to(device)` is `nn.Linear(3, 4)`."""

import ast
from typing import Any

from fx.porting.read.names import Obstacle

_MOVES = ("to", "cuda", "cpu", "xpu", "float", "share_memory")


def module_of(rw: Any, node: ast.expr) -> ast.expr | None:
    """The module that a call moves; None for any other call.

    Raises:
        Obstacle: it changes the dtype of the module's weights.
    """
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    if node.func.attr not in _MOVES or not _is_module(rw, node.func.value):
        return None
    for given in [*node.args, *(keyword.value for keyword in node.keywords)]:
        known, value = rw.resolve(given)
        if known and type(value).__name__ == "dtype" and str(value) != "torch.float32":
            raise Obstacle(
                node, f"{ast.unparse(node)[:80]}: weights have the dtype that they are loaded with"
            )
    return node.func.value


def itself(node: ast.Assign, target: ast.expr) -> bool:
    """Whether a list of tensors is moved: `self.anchors = [a.to(device) for a in self.anchors]`."""
    made = node.value
    if not (isinstance(made, ast.ListComp) and isinstance(target, ast.Attribute)):
        return False
    loop, call = made.generators[0], made.elt
    if len(made.generators) > 1 or loop.ifs or ast.unparse(loop.iter) != ast.unparse(target):
        return False
    moves = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    moves = moves and call.func.attr in ("to", "cuda", "cpu")
    return moves and ast.unparse(call.func.value) == ast.unparse(loop.target)


def _is_module(rw: Any, node: ast.expr) -> bool:
    """Whether an expression stands for a module."""
    import torch

    if isinstance(node, ast.Call):
        known, value = rw.resolve(node.func)
        made = known and isinstance(value, type) and issubclass(value, torch.nn.Module)
        return made or module_of(rw, node) is not None
    if isinstance(node, ast.Name):
        kinds = rw.kinds(node.id)
        return bool(kinds) and all(issubclass(kind, torch.nn.Module) for kind in kinds)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id == "self" and node.attr in rw.held.parts
    return False
