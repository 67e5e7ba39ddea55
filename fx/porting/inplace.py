"""Statements that change a tensor in place: here they give its name another array."""

import ast

from fx.porting import lost
from fx.porting.calls import simple, wrapped
from fx.porting.names import Obstacle
from fx.porting.record import Shape
from fx.porting.rewrite import Rewriter

AUGMENTED = {ast.Add: "add", ast.Mult: "multiply", ast.Div: "divide"}
IN_PLACE = {
    "copy_": "set", "fill_": "set", "zero_": "set", "add_": "add", "mul_": "multiply",
    "div_": "divide",
}  # fmt: skip


def call(rw: Rewriter, node: ast.Call) -> str:
    """`x.mul_(2)` and `x.mul_(2).add_(1)`, standing alone, as assignments."""
    assert isinstance(node.func, ast.Attribute)
    target, word = node.func.value, node.func.attr
    while _changes(rw, target):
        target = target.func.value  # type: ignore[attr-defined]
    part = isinstance(target, ast.Subscript)
    lost.check(rw, rw.parent(node), target.value if part else target)
    if part:
        name, index = rw.text(target.value), rw.text(target.slice)
        if word not in IN_PLACE or target is not node.func.value:
            raise Obstacle(node, f"{word} on a part of an array; write x = x.at[...]")
        value = rw.text(node.args[0]) if node.args else "0"
        return f"{name} = {name}.at[{index}].{IN_PLACE[word]}({value})"
    if not simple(rw.text(target)):
        raise Obstacle(node, f"{word} on what has no name")
    return f"{rw.text(target)} = {rw.text(node)}"


def _changes(rw: Rewriter, node: ast.expr) -> bool:
    """Whether an expression is a call that changes its tensor and returns it."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    word = node.func.attr
    key, _ = rw.torch_key(node)
    return key == f"Tensor.{word}" and word.endswith("_") and not word.endswith("__")


def stores(rw: Rewriter, target: ast.Subscript) -> bool:
    """Whether an assignment to `x[i]` writes into a tensor."""
    seen = rw.record.at(rw.place.file, target.end_lineno or 0, target.end_col_offset or 0)
    return "torch.Tensor.__setitem__" in seen


def stored(rw: Rewriter, node: ast.Assign, target: ast.Subscript) -> str:
    """`x[i] = y`."""
    lost.check(rw, node, target.value)
    name, index, value = rw.text(target.value), rw.text(target.slice), rw.text(node.value)
    mask = _mask(rw, target, index)
    if mask is not None:
        return f"{name} = jnp.where({mask}, {value}, {name})"
    return f"{name} = {name}.at[{index}].set({value})"


def _mask(rw: Rewriter, target: ast.Subscript, index: str) -> str | None:
    """An index that is a mask, as a condition; None where each chosen place has its own value."""
    seen = rw.record.at(rw.place.file, target.end_lineno or 0, target.end_col_offset or 0)
    facts = seen.get("torch.Tensor.__setitem__", [])
    new = set()
    for tensor, chosen, value in (fact.args for fact in facts):
        if not isinstance(chosen, Shape) or chosen.dtype != "torch.bool":
            return None
        rest = tensor.shape[len(chosen.shape) :]
        if isinstance(value, Shape) and value.shape not in ((), rest):
            return None
        new.add(len(rest))
    if len(new) != 1:
        return None
    return f"{wrapped(index)}[...{', None' * new.pop()}]" if new != {0} else index


def augmented(rw: Rewriter, node: ast.AugAssign, target: ast.expr) -> str | None:
    """`x[i] += y`; None where Python's own statement does the same."""
    if not isinstance(target, ast.Subscript):
        seen = rw.record.at(rw.place.file, node.end_lineno or 0, node.end_col_offset or 0)
        if any(name.startswith("torch.Tensor.") and name.endswith("_") for name in seen):
            lost.check(rw, node, target)
        return None
    if not stores(rw, target):
        return None
    lost.check(rw, node, target.value)
    name, index, value = rw.text(target.value), rw.text(target.slice), rw.text(node.value)
    if isinstance(node.op, ast.Sub):
        return f"{name} = {name}.at[{index}].add(-{wrapped(value)})"
    word = AUGMENTED.get(type(node.op))
    if word is None:
        raise Obstacle(node, "this operator on a part of an array; write x = x.at[...]")
    return f"{name} = {name}.at[{index}].{word}({value})"
