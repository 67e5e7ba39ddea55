"""Methods that were not seen to run: those of a tensor have another form here."""

import ast
from functools import cache
from typing import Any

# Methods that nothing but a tensor has: these are known without having run.
TENSORS_OWN = {
    "view", "permute", "unsqueeze", "contiguous", "expand", "expand_as", "view_as", "numel",
    "reshape", "softmax", "sigmoid", "masked_fill", "detach", "flatten", "transpose", "type_as",
    "unbind", "float", "half", "double", "long", "bool", "cpu", "cuda", "repeat_interleave", "mean",
    "argmax", "tanh", "exp", "sqrt", "matmul", "bmm", "new_zeros", "new_ones", "log_softmax",
    "bernoulli_", "normal_", "uniform_", "mul_", "add_", "div_", "zero_", "fill_", "relu_", "sum",
    "rsqrt", "pow", "clamp", "tril", "triu", "clone", "item", "masked_fill_", "dim", "chunk",
}  # fmt: skip
NO_TENSORS = {
    "size", "dim", "ndimension", "item", "tolist", "numel", "nelement", "stride", "element_size",
    "numpy", "type", "get_device", "data_ptr", "untyped_storage", "storage",
}  # fmt: skip


def of_a_tensor(rw: Any, node: ast.Call, line_ran: bool) -> bool | None:
    """Whether a method that was not seen to run is a tensor's; None where that is not known.

    Args:
        rw: the rewriter.
        node: the call.
        line_ran: whether its statement ran: had it been a tensor's, it would have been seen.
    """
    function = node.func
    if not isinstance(function, ast.Attribute) or function.attr not in _methods():
        return False
    if isinstance(function.value, ast.Constant | ast.JoinedStr | ast.List | ast.Dict):
        return False
    if isinstance(function.value, ast.Name) and function.value.id in ("self", "cls"):
        return False
    if kinds := kinds_of(rw, function.value):
        return all(_is_tensor(kind) for kind in kinds)
    if not line_ran and _gives_a_tensor(rw, function.value):
        return True
    if function.attr in TENSORS_OWN and not line_ran:
        return True
    texts = [arg for arg in node.args if isinstance(getattr(arg, "value", None), str)]
    plain = function.attr in ("add", "index", "values")  # no array of JAX's has them
    plain = plain or (function.attr in ("sort", "split") and not node.args)
    return False if texts or plain else None


def _gives_a_tensor(rw: Any, node: ast.expr) -> bool:
    """Whether an expression is the call of a tensor's method that gives a tensor, or a part of."""
    while isinstance(node, ast.Subscript | ast.BinOp):
        node = node.value if isinstance(node, ast.Subscript) else node.left
    key = rw.torch_key(node)[0] if isinstance(node, ast.Call) else None
    head, _, word = (key or "").partition(".")
    said = word.startswith(("is_", "has_")) or word in NO_TENSORS
    return head == "Tensor" and not said


def in_an_arm(rw: Any, node: ast.AST) -> bool:
    """Whether a node may not have run in a line that did: `a if b else c`, `b and c`, `if b: a`."""
    outer = rw.parent(node)
    while outer is not None and not isinstance(node, ast.stmt):
        if isinstance(outer, ast.IfExp) and node is not outer.test:
            return True
        if isinstance(outer, ast.BoolOp) and node is not outer.values[0]:
            return True
        if isinstance(outer, ast.Lambda | ast.comprehension) or hasattr(outer, "generators"):
            return True
        node, outer = outer, rw.parent(outer)
    inside = isinstance(outer, ast.If | ast.For | ast.While | ast.With)
    return inside and getattr(node, "lineno", 0) == outer.lineno


def kinds_of(rw: Any, node: ast.expr) -> set[type]:
    """The types that a name of the function, or of a lambda, was seen to stand for, but None's."""
    if not (isinstance(node, ast.Name) and rw.functions):
        return set()
    outer = rw.parent(node)
    while outer is not None and outer is not rw.functions[-1]:
        if isinstance(outer, ast.Lambda) and node.id in [arg.arg for arg in outer.args.args]:
            place = rw.place.file, outer.lineno, node.id
            return rw.record.locals.get(place, set()) - {type(None)}
        outer = rw.parent(outer)
    return rw.kinds(node.id) - {type(None)}


def store(rw: Any, target: ast.Subscript) -> bool:
    """Whether `x[i] = y`, which did not run, is known to write into a tensor."""
    kinds = kinds_of(rw, target.value)
    if not kinds and isinstance(target.slice, ast.Slice | ast.Tuple):
        return True  # hardly a list's
    return bool(kinds) and all(_is_tensor(kind) for kind in kinds)


def _is_tensor(kind: type) -> bool:
    import torch

    return issubclass(kind, torch.Tensor)


@cache
def _methods() -> frozenset[str]:
    import torch

    return frozenset(name for name in dir(torch.Tensor) if not name.startswith("_"))
