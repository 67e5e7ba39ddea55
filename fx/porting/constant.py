"""What torch takes no gradients of: values made under `torch.no_grad()`, and `x.data`.

with torch.no_grad():
    target = self.teacher(x)         target = jax.lax.stop_gradient(self.teacher(x))
"""

import ast
from typing import Any

from fx.porting.names import torch_name


def is_off(rw: Any, node: ast.expr) -> bool | None:
    """Whether a context or a decorator stops gradients; None where it does not say."""
    called = node.func if isinstance(node, ast.Call) else node
    known, value = rw.resolve(called)
    name = torch_name(value) or "" if known else ""
    given = [ast.unparse(arg) for arg in node.args] if isinstance(node, ast.Call) else []
    if name.endswith("enable_grad") or given == ["True"]:
        return False
    if name.endswith(("no_grad", "inference_mode")):
        return given in ([], ["True"])
    return given == ["False"] if name.endswith("set_grad_enabled") else None


class Constant:
    """While a block is written whose values have no gradients, in a forward."""

    def __init__(self, rw: Any, nodes: list[ast.expr], node: Any):
        self.rw, self.before = rw, rw.constant
        said = [off for each in nodes if (off := is_off(rw, each)) is not None]
        ran = any((rw.place.file, n.lineno) in rw.held.lines for n in node.body)
        self.now = (said[-1] and ran) if said else rw.constant

    def __enter__(self) -> None:
        self.rw.constant = self.now

    def __exit__(self, *_: Any) -> None:
        self.rw.constant = self.before


def stopped(rw: Any, node: ast.expr, text: str) -> str:
    """The text of a value, its gradient stopped where the block it is given a name in has none."""
    parent = rw.parent(node)
    if not rw.constant or getattr(parent, "value", None) is not node:
        return text
    if not isinstance(parent, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return):
        return text
    if isinstance(node, ast.Name | ast.Constant) or "stop_gradient(" == text[8:22]:
        return text
    return f"jax.lax.stop_gradient({text})" if _is_array(rw, parent) else text


def data(rw: Any, node: ast.Attribute, text: str) -> str:
    """`x.data`: without gradients where it is read, as it is where something is written into it."""
    outer = rw.parent(node)
    writes = isinstance(outer, ast.Attribute) and outer.attr.endswith("_")
    if writes or (rw.place.file, node.lineno) not in rw.held.lines:
        return text
    return f"jax.lax.stop_gradient({text})"


def _is_array(rw: Any, node: Any) -> bool:
    """Whether a statement gives a name to an array, or returns what a call made."""
    import torch

    if isinstance(node, ast.Return):
        return any(isinstance(part, ast.Call | ast.BinOp) for part in ast.walk(node))
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    first = rw.source.first_line(rw.functions[-1])
    kinds = set().union(*(rw.record.locals.get((rw.place.file, first, n.id), ()) for n in names))
    stored = any(isinstance(target, ast.Attribute) for target in targets)
    return stored or torch.Tensor in kinds
