"""Calls of other libraries' functions: `functools.partial` of torch's, NumPy's of arrays held here.

self.t = np.arange(4) / 4                 self.t = nn.Buffer(np.arange(4) / 4, persistent=False)
y = x @ torch.tensor(np.exp(self.t))      y = x @ jnp.array(jnp.exp(self.t))
"""

import ast
import functools
from typing import Any

from fx.porting.pairs import rules
from fx.porting.read.names import torch_name

_SPREADS = {"torch.var": "var", "torch.std": "std"}


def written(rw: Any, node: ast.Call) -> str | None:
    """The call as it is written here; None where its name stays."""
    known, function = rw.resolve(node.func)
    if known and function is functools.partial and node.args:
        return _partial(rw, node)
    named = known and (getattr(function, "__module__", "") or "").partition(".")[0] == "numpy"
    if named and isinstance(node.func, ast.Attribute) and _has_an_array(rw, node):
        given = [rw.text(arg) for arg in node.args]
        given += [f"{word.arg}={rw.text(word.value)}" for word in node.keywords if word.arg]
        return f"jnp.{node.func.attr}({', '.join(given)})"
    return None


def _partial(rw: Any, node: ast.Call) -> str | None:
    """`partial(torch.cat, dim=1)`: keywords as the function has them here."""
    known, value = rw.resolve(node.args[0])
    if known and "autocast" in (torch_name(value) or ""):  # a program has one precision
        return rw.uses("nullcontext", "from contextlib import nullcontext") or "nullcontext"
    if known and torch_name(value) in _SPREADS:
        return _spread(rw, node, _SPREADS[str(torch_name(value))])
    renamed = rules.function(torch_name(value) or "") if known else None
    if renamed is None:
        return None
    given = [rw.text(arg) for arg in node.args]
    given += [
        f"{renamed[1].get(word.arg or '', word.arg)}={rw.text(word.value)}"
        for word in node.keywords
    ]
    return f"{rw.text(node.func)}({', '.join(given)})"


def _spread(rw: Any, node: ast.Call, name: str) -> str | None:
    """`partial(torch.var, unbiased=False)`, as weights are standardised with einops."""
    given = {str(word.arg): word.value for word in node.keywords}
    less = given.pop("correction", given.pop("unbiased", ast.Constant(True)))
    value = less.value if isinstance(less, ast.Constant) else None
    if len(node.args) > 1 or given or not isinstance(value, int):
        return None
    return f"{rw.text(node.func)}(jnp.{name}, ddof={int(value)})"


def _has_an_array(rw: Any, node: ast.Call) -> bool:
    """Whether a forward gives NumPy what is a buffer here: an array in an attribute."""
    import jax.numpy as jnp

    if (rw.place.file, node.lineno) not in rw.held.lines or not rw.functions:
        return False
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    held = {
        part.attr for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self"
        if (owner, part.attr) in rw.held.tensors
    }  # fmt: skip
    return bool(held) and hasattr(jnp, getattr(node.func, "attr", ""))
