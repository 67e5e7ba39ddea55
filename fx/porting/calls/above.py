"""What a class calls of the one above it.

nn.Module.__init__(self)               (left out)
nn.LayerNorm.forward(self, x)          super().forward(x)
"""

import ast
from typing import Any

from fx.porting.read.names import torch_name


def written(rw: Any, node: ast.Call) -> str | None:
    """A call of a torch class's method by the class's name; None for any other call."""
    function = node.func
    if not (isinstance(function, ast.Attribute) and _named(rw, node)):
        return None
    return f"super().{function.attr}({_given(rw, node.args[1:], node.keywords)})"


def constructor(rw: Any, node: ast.Call) -> str | None:
    """`super().__init__(...)`, however it is written; "" where there is nothing to do."""
    function = node.func
    if not (isinstance(function, ast.Attribute) and function.attr == "__init__"):
        return None
    owner = function.value
    if isinstance(owner, ast.Call) and ast.unparse(owner.func) == "super":
        args = node.args
    elif _named(rw, node):
        args = node.args[1:]
    else:
        return None
    above = [torch_name(base) for base in _bases(rw)]
    if above == ["nn.Module"] and not args and not node.keywords:
        return ""
    return f"super().__init__({_given(rw, args, node.keywords)})"


def _bases(rw: Any) -> list[Any]:
    """The classes above the one that is written."""
    kind = rw.parent(rw.functions[0]) if rw.functions else None
    return [rw.resolve(base)[1] for base in getattr(kind, "bases", ())]


def _named(rw: Any, node: ast.Call) -> bool:
    """Whether a method is called by the name of the class above, which is torch's."""
    assert isinstance(node.func, ast.Attribute)
    known, value = rw.resolve(node.func.value)
    on_self = node.args and ast.unparse(node.args[0]) == "self"
    return bool(known and on_self and torch_name(value) and _bases(rw)[:1] == [value])


def _given(rw: Any, args: list[ast.expr], keywords: list[ast.keyword]) -> str:
    named = [f"{k.arg}={rw.text(k.value)}" if k.arg else f"**{rw.text(k.value)}" for k in keywords]
    return ", ".join([*map(rw.text, args), *named])
