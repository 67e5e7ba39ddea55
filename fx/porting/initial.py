"""Statements that give weights their first values: torch writes them in place, fx declares them."""

import ast
from typing import Any

from fx.porting.rewrite import DROP, Rewriter


def docstring(node: ast.stmt) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def left_out(rw: Rewriter, node: Any) -> str:
    """Drop statements that initialise, with a note."""
    rw.notes.append(
        f"{rw.place.module.rpartition('.')[2]}.py:{node.lineno}: initial values are left out; "
        "write them as nn.init.by_type"
    )
    return DROP


def initialises(rw: Rewriter, body: list[ast.stmt]) -> bool:
    """Whether statements do nothing but give weights their first values."""
    return bool(body) and all(_initialising(rw, node) for node in body)


def _initialising(rw: Rewriter, node: ast.stmt) -> bool:
    if isinstance(node, ast.Pass):
        return True
    if isinstance(node, ast.For | ast.With):
        looped = isinstance(node, ast.With) or "self" in ast.unparse(node.iter)
        return looped and initialises(rw, node.body)
    if isinstance(node, ast.If):
        return initialises(rw, node.body) and (not node.orelse or initialises(rw, node.orelse))
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return isinstance(node, ast.Assign) and ".data" in ast.unparse(node.targets[0])
    call = node.value
    text = ast.unparse(call.func)
    known, value = rw.resolve(call.func)
    if known and (getattr(value, "__module__", "") or "").startswith("torch.nn.init"):
        return True
    if known and getattr(value, "__name__", "") in ("trunc_normal_", "named_apply"):
        return True
    if text == "self.apply" or ".data." in text:
        return True
    last = text.rpartition(".")[2]
    if last.endswith("_") and (".weight." in text or ".bias." in text):
        return True
    if text.startswith("self.") and text.count(".") == 1:
        method = _method(rw, last)
        return method is not None and initialises(rw, [n for n in method.body if not docstring(n)])
    return False


def _method(rw: Rewriter, name: str) -> Any:
    owner = rw.parent(rw.functions[0]) if rw.functions else None
    found = [n for n in getattr(owner, "body", ()) if getattr(n, "name", None) == name]
    return found[0] if found and isinstance(found[0], ast.FunctionDef) else None
