"""What torch takes no gradients of: values made under `torch.no_grad()`, and `x.data`.

with torch.no_grad():
    target = self.teacher(x)         target = jax.lax.stop_gradient(self.teacher(x))

with torch.set_grad_enabled(tuned):
    x = self.body(x)                 x = self.body(x)
                                     if not tuned:
                                         x = jax.lax.stop_gradient(x)
"""

import ast
from typing import Any

from fx.porting.calls.calls import wrapped
from fx.porting.read.names import Obstacle, is_function, torch_name


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
    return True if name.endswith("set_grad_enabled") and given == ["False"] else None


class Constant:
    """While a block is written whose values have no gradients, in a forward."""

    def __init__(self, rw: Any, nodes: list[ast.expr], node: Any):
        self.rw, self.before = rw, rw.constant
        said = [off for each in nodes if (off := is_off(rw, each)) is not None]
        ran = any((rw.place.file, n.lineno) in rw.held.lines for n in node.body)
        ran = ran and not _has_a_backward(rw)
        self.now = (said[-1] and ran) if said else rw.constant

    def __enter__(self) -> None:
        self.rw.constant = self.now

    def __exit__(self, *_: Any) -> None:
        self.rw.constant = self.before


def _has_a_backward(rw: Any) -> bool:
    """Whether the class at hand is a torch.autograd.Function: gradients are its `backward`'s."""
    owner = rw.parent(rw.functions[0]) if rw.functions else None
    if not isinstance(owner, ast.ClassDef):
        return False
    return is_function(rw.resolve(ast.Name(owner.name, ast.Load()))[1])


def condition(rw: Any, node: ast.With) -> str:
    """Stops the gradients of what a block gave names to, where a condition says so; or ""."""
    said = [item.context_expr for item in node.items if is_off(rw, item.context_expr) is None]
    for call in said:
        known, value = rw.resolve(call.func) if isinstance(call, ast.Call) else (False, None)
        if not known or not (torch_name(value) or "").endswith("set_grad_enabled"):
            continue
        if any(isinstance(part, ast.Return) for each in node.body for part in ast.walk(each)):
            said = f"{ast.unparse(call)}: cannot be written around a return; return after the block"
            raise Obstacle(call, said)
        assert isinstance(call, ast.Call)
        asked = (call.args or [keyword.value for keyword in call.keywords])[0]
        if isinstance(asked, ast.UnaryOp) and isinstance(asked.op, ast.Not):
            test = rw.text(asked.operand)
        else:
            test = f"not {wrapped(rw.text(asked))}"
        indent = "\n" + " " * node.col_offset
        lines = [f"{indent}    {n} = jax.lax.stop_gradient({n})" for n in _given(rw, node.body)]
        return "".join([f"{indent}if {test}:", *lines]) if lines else ""
    return ""


def _given(rw: Any, body: list[ast.stmt]) -> list[str]:
    """The names of tensors that statements assign, in order."""
    parts = [part for each in body for part in ast.walk(each)]
    names = [n.id for n in parts if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return [name for name in dict.fromkeys(names) if _is_tensor(rw, name)]


def stopped(rw: Any, node: ast.expr, text: str) -> str:
    """The text of a value, its gradient stopped where the block it is given a name in has none."""
    parent = rw.parent(node)
    if not rw.constant or getattr(parent, "value", None) is not node:
        return text
    if not isinstance(parent, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return):
        return text
    if isinstance(node, ast.Name | ast.Constant) or "stop_gradient(" == text[8:22]:
        return text
    text = f"({text})" if isinstance(node, ast.Tuple) and text[:1] != "(" else text
    return f"jax.lax.stop_gradient({text})" if _is_array(rw, parent) else text


def data(rw: Any, node: ast.Attribute, text: str) -> str:
    """`x.data`: without gradients where it is read, as it is where something is written into it."""
    outer = rw.parent(node)
    writes = isinstance(outer, ast.Attribute) and outer.attr.endswith("_")
    if writes or (rw.place.file, node.lineno) not in rw.held.lines:
        return text
    return f"jax.lax.stop_gradient({text})"


def is_so_already(rw: Any, node: ast.Assign, target: ast.expr) -> bool:
    """Whether it says `grid.requires_grad = False` of a tensor that a forward has made."""
    if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)):
        return False
    import torch

    said = target.attr == "requires_grad" and ast.unparse(node.value) == "False"
    return said and rw.kinds(target.value.id) == {torch.Tensor}


def _is_array(rw: Any, node: Any) -> bool:
    """Whether a statement gives a name to an array, or returns what a call made."""
    if isinstance(node, ast.Return):
        return any(isinstance(part, ast.Call | ast.BinOp) for part in ast.walk(node))
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    stored = any(isinstance(target, ast.Attribute) for target in targets)
    return stored or any(_is_tensor(rw, name.id) for name in names)


def _is_tensor(rw: Any, name: str) -> bool:
    """Whether a name of the function was seen to stand for a tensor."""
    import torch

    return torch.Tensor in rw.kinds(name)
