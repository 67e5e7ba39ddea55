"""Statements that give weights their first values: torch writes them in place, fx declares them."""

import ast
import logging
import re
from typing import Any

from fx.porting.calls.calls import DROP
from fx.porting.effects import shared
from fx.porting.read.names import torch_name
from fx.porting.text.rewrite import Rewriter

# Loops over these, and over those of that name: named_modules().
_WEIGHTS = ("parameters()", "modules()", "children()", "state_dict()")


def docstring(node: ast.stmt) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def left_out(rw: Rewriter, node: Any) -> str:
    """Drop statements that initialise, with a note."""
    text = ast.unparse(node)
    said = "initial values are left out; write them as nn.init.by_name"
    if ".requires_grad" in text:
        said = "requires_grad is left out; choose what is trained with fx.partition"
    elif _marks(rw, node):
        said = "the mark on a weight is left out"
    rw.notes.append(f"{rw.place.module.rpartition('.')[2]}.py:{node.lineno}: {said}")
    return DROP


def initialises(rw: Rewriter, body: list[ast.stmt]) -> bool:
    """Whether statements do nothing but give weights their first values."""
    lines = {
        (rw.place.file, part.lineno)
        for n in body
        for part in ast.walk(n)
        if isinstance(part, ast.expr)
    }
    if not lines.isdisjoint(rw.held.lines):
        return False  # a forward does it
    rest = [node for node in body if not _names_a_value(node)]
    return bool(rest) and all(_initialising(rw, node) for node in rest)


def _names_a_value(node: ast.stmt) -> bool:
    """Whether a statement only gives a number a name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node]
    parts = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return all(isinstance(each, ast.Name) for each in parts)


def _initialising(rw: Rewriter, node: ast.stmt) -> bool:
    if isinstance(node, ast.Pass):
        return True
    if isinstance(node, ast.For):
        over = ast.unparse(node.iter)
        weights = over.endswith(_WEIGHTS)
        if not weights and "self" not in over:  # a list of modules
            return all(isinstance(n, ast.For) and _initialising(rw, n) for n in node.body)
        inside = [
            n for each in node.body for n in (each.body if isinstance(each, ast.If) else [each])
        ]
        return initialises(rw, node.body) or (weights and all(_fills(node, n) for n in inside))
    if isinstance(node, ast.With):
        return initialises(rw, node.body)
    if isinstance(node, ast.If):
        return initialises(rw, node.body) and (not node.orelse or initialises(rw, node.orelse))
    if isinstance(node, ast.AugAssign):
        counts = ".parameters(" in ast.unparse(node.value)
        return counts or _into_a_weight(rw, node.target)
    if isinstance(node, ast.Assign):
        into = isinstance(node.targets[0], ast.Subscript) and _into_a_weight(rw, node.targets[0])
        return into or _of_a_weight(node.targets[0]) or _marks(rw, node) or _anew(rw, node)
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    call = node.value
    text = ast.unparse(call.func)
    known, value = rw.resolve(call.func)
    if isinstance(call.func, ast.Name) and not known and call.args:  # a function that is given
        return ast.unparse(call.args[0]).removesuffix(".data").endswith((".weight", ".bias"))
    if known and (getattr(value, "__module__", "") or "").startswith("torch.nn.init"):
        return True
    if known and getattr(value, "__name__", "") in ("trunc_normal_", "named_apply"):
        return True
    if known and torch_name(value) == "torch.manual_seed":
        return True
    if known and value is setattr and getattr(call.args[1], "value", "x")[:1] == "_":
        owner = call.args[0]  # a weight, or one under a name that is put together
        return _is_parameter(rw, owner) or ast.unparse(owner).startswith("getattr(self")
    written = re.search(r"\.data(\[.*\])?\.", text)
    if (text.startswith("self.") and text.endswith(".apply")) or written:
        return True
    last = text.rpartition(".")[2]
    if last == "reset_parameters" and text.count(".") > 1 and not call.args:  # a part's
        return True
    if last.endswith("reset_parameters") and known and torch_name(value):  # nn.Linear's, of self
        return True
    if last.endswith("_") and re.search(r"\.(weight|bias)(\[.*\])?\.", text):
        return True
    if isinstance(call.func, ast.Name) and known:
        function = rw.source.names.get(text)
        return isinstance(function, ast.FunctionDef) and _only_fills(rw, function)
    if text.startswith("self.") and text.count(".") == 1:
        method = _method(rw, last)
        body = [n for n in getattr(method, "body", ()) if not docstring(n)]
        return initialises(rw, body) or _fills_with_noise(rw, body)
    return False


def _fills_with_noise(rw: Rewriter, body: list[ast.stmt]) -> bool:
    """Whether a method draws numbers and copies them into buffers: `self.epsilon.copy_(noise)`."""
    rest = [node.value for node in body if isinstance(node, ast.Expr)]
    if len(rest) < len([node for node in body if not _names_a_value(node)]) or not rest:
        return False
    owner = getattr(rw.parent(rw.functions[0]), "name", "") if rw.functions else ""
    for call in rest:
        into = call.func if isinstance(call, ast.Call) else None
        if not (isinstance(into, ast.Attribute) and shared.in_place(into.attr)):
            return False
        if (owner, ast.unparse(into.value).removeprefix("self.")) not in rw.held.buffers:
            return False
    parts = [part for node in body for part in ast.walk(node)]
    calls = [ast.unparse(part.func) for part in parts if isinstance(part, ast.Call)]
    methods = [_method(rw, name.removeprefix("self.")) for name in calls]
    text = "".join(ast.unparse(node) for node in (*body, *methods) if node is not None)
    return any(word in text for word in ("torch.rand", "torch.normal", ".normal_(", ".uniform_("))


def _only_fills(rw: Rewriter, function: ast.FunctionDef, around: tuple = ()) -> bool:
    """Whether a function does nothing but write numbers into weights of what it is given.

    `w = up.weight.data`, and a loop around `w[0, 0, i, j] = ...`.
    """
    names = {
        target.id
        for node in ast.walk(function) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
        if ast.unparse(node.value).endswith((".weight.data", ".bias.data", ".weight", ".bias"))
    }  # fmt: skip

    def fills(node: ast.stmt) -> bool:
        if isinstance(node, ast.For | ast.If):
            return all(map(fills, [*node.body, *node.orelse]))
        if isinstance(node, ast.Assign):
            return all(isinstance(t, ast.Name) or of_a_weight(t) for t in node.targets)
        if isinstance(node, ast.AugAssign):
            return of_a_weight(node.target)
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(node, ast.Raise | ast.FunctionDef):  # of what `net.apply` is given
            return True
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            if call.func.attr == "apply" and len(call.args) == 1:
                return True
            return call.func.attr.endswith("_") and of_a_weight(call.func.value)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            other = rw.source.names.get(call.func.id)
            if not isinstance(other, ast.FunctionDef) or other in (*around, function):
                return False
            return _only_fills(rw, other, (*around, function))
        return docstring(node) or isinstance(node, ast.Pass)

    def of_a_weight(node: ast.expr) -> bool:
        while isinstance(node, ast.Subscript):
            node = node.value
        text = ast.unparse(node)
        return text in names or ".weight" in text or ".bias" in text

    writes = [node for node in ast.walk(function) if isinstance(node, ast.AugAssign | ast.Call)]
    gives = any(isinstance(node, ast.Return) for node in ast.walk(function))
    return bool(names or writes) and not gives and all(map(fills, function.body))


def _fills(loop: ast.For, node: ast.stmt) -> bool:
    """Whether a statement in a loop over weights writes into one: `p.detach().zero_()`."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return False
    root: ast.expr = call.func.value
    while isinstance(root, ast.Call | ast.Attribute):
        root = root.func if isinstance(root, ast.Call) else root.value
    named = [each.id for each in ast.walk(loop.target) if isinstance(each, ast.Name)]
    return call.func.attr.endswith("_") and ast.unparse(root) in named


def _of_a_weight(target: ast.expr) -> bool:
    """Whether an assignment is to a weight's data, or freezes it."""
    names = {node.attr for node in ast.walk(target) if isinstance(node, ast.Attribute)}
    return "data" in names or getattr(target, "attr", "") == "requires_grad"


def _anew(rw: Rewriter, node: ast.Assign) -> bool:
    """Whether a part is given another weight: `self.fc.weight = nn.Parameter(torch.ones(2, 3))`."""
    target = node.targets[0]
    if not isinstance(target, ast.Attribute) or target.attr not in ("weight", "bias"):
        return False
    own = isinstance(target.value, ast.Name) and target.value.id == "self"
    made = isinstance(node.value, ast.Call) and rw.torch_key(node.value)[0]
    return made in ("nn.Parameter", "nn.parameter.Parameter") and not own


def _into_a_weight(rw: Rewriter, target: ast.expr) -> bool:
    """Whether what is written into, or a part of it, is a weight: `self.fc.weight *= 0.5`."""
    while isinstance(target, ast.Subscript):
        target = target.value
    if ast.unparse(target) == "self.state_dict()":
        return True
    named = isinstance(target, ast.Attribute) and target.attr in ("weight", "bias")
    own = named and ast.unparse(target.value) == "self"  # which may be a number: a loss's weight
    return (named and not own) or _of_a_weight(target) or _is_parameter(rw, target)


def _marks(rw: Rewriter, node: ast.stmt) -> bool:
    """Whether a statement puts an attribute of the user's on a parameter made before."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return isinstance(target, ast.Attribute) and _is_parameter(rw, target.value)


def _is_parameter(rw: Rewriter, node: ast.expr) -> bool:
    """Whether the function at hand has made a parameter of it."""
    if not rw.functions:
        return False
    owner = ast.unparse(node)
    if owner.startswith("self.") and owner.endswith((".weight", ".bias")):
        return owner.count(".") > 1
    if (getattr(rw.parent(rw.functions[0]), "name", ""), owner[5:]) in rw.held.weights:
        return owner.startswith("self.")
    made = [
        part.value for part in ast.walk(rw.functions[-1])
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == owner
    ]  # fmt: skip
    return any(isinstance(m, ast.Call) and rw.torch_key(m)[0] == "nn.Parameter" for m in made)


def reports(rw: Rewriter, node: ast.Call) -> bool:
    """Whether a call prints what only weights tell, which a constructor does not have here."""
    known, value = rw.resolve(node.func)
    owner = rw.resolve(node.func.value)[1] if isinstance(node.func, ast.Attribute) else None
    says = (known and value is print) or isinstance(owner, logging.Logger)
    if not (says and rw.functions and rw.functions[0].name == "__init__"):
        return False
    calls = [ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)]
    methods = [_method(rw, name.removeprefix("self.")) for name in calls]
    named = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    counts = [each.value for n in named for each in _assigned(rw, n.id)]
    return any(".parameters(" in ast.unparse(n) for n in [node, *methods, *counts] if n is not None)


def is_reported(rw: Rewriter, node: ast.Assign) -> bool:
    """Whether a constructor counts its weights under a name that it only prints."""
    target = node.targets[0]
    if not (isinstance(target, ast.Name) and ".parameters(" in ast.unparse(node.value)):
        return False
    if not rw.functions or rw.functions[0].name != "__init__":
        return False
    reads = [
        part for part in ast.walk(rw.functions[0])
        if isinstance(part, ast.Name) and part.id == target.id and isinstance(part.ctx, ast.Load)
    ]  # fmt: skip
    around = [shared.statement(rw, part) for part in reads]
    calls = [part.value for part in around if isinstance(part, ast.Expr)]
    said = [call for call in calls if isinstance(call, ast.Call) and reports(rw, call)]
    return len(said) == len(reads) and len(_assigned(rw, target.id)) == 1


def _assigned(rw: Rewriter, name: str) -> list[ast.Assign]:
    """The assignments to a name in the function at hand."""
    parts = ast.walk(rw.functions[0]) if rw.functions else ()
    return [n for n in parts if isinstance(n, ast.Assign) and name in map(ast.unparse, n.targets)]


def _method(rw: Rewriter, name: str) -> Any:
    owner = rw.parent(rw.functions[0]) if rw.functions else None
    found = [n for n in getattr(owner, "body", ()) if getattr(n, "name", None) == name]
    return found[0] if found and isinstance(found[0], ast.FunctionDef) else None


def makes_a_global(rw: Rewriter, body: list[ast.stmt]) -> bool:
    """Whether it makes a global object that was there: `if _cache is None: _cache = Cache()`."""
    if not rw.functions:
        return False
    told = [node for node in ast.walk(rw.functions[-1]) if isinstance(node, ast.Global)]
    names = {name for node in told for name in node.names if rw.names.get(name) is not None}
    made = [n.targets[0] for n in body if isinstance(n, ast.Assign)]
    return len(made) == len(body) and all(getattr(t, "id", None) in names for t in made)


def never_ran(rw: Rewriter, body: list[ast.stmt]) -> bool:
    """Whether the first of some statements did not run, of those that do anything."""
    runs = [node for node in body if not isinstance(node, ast.Global | ast.Nonlocal)]
    return bool(runs) and not rw.ran(runs[0])
