"""Lists that constructors change: fx's descriptions hold tuples, which one part gives another.

    def __init__(self, n):        def __init__(self, n):
        self.n = n                    n = list(n) if isinstance(n, tuple) else n
        n[0] = 2 * n[0]               self.n = n

A list stays the one that the caller has, so that both see what changes.
"""

import ast
from typing import Any


def arguments(rw: Any, function: Any) -> list[str]:
    """Statements that a function begins with, for each argument of which it changes an entry."""
    if (rw.place.file, function.body[-1].lineno) in rw.held.lines:
        return []
    changed = {ast.unparse(target.value) for target in _entries(function)}
    given = _assigned(function)
    if function.name == "__init__":  # what other methods change of what is kept here
        owner = rw.parent(function)
        changed |= {ast.unparse(target.value) for target in _entries(owner)}
    wanted = changed | {value for target, value in given if target in changed}
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    return [
        f"{name} = list({name}) if isinstance({name}, tuple) else {name}"
        for name in names
        if name in wanted and list in rw.kinds(name) and rw.kinds(name) <= {list, type(None)}
    ]


def of_modules(rw: Any, node: ast.Assign, target: ast.expr) -> str | None:
    """The container in place of a plain list or dict of parts that are registered besides."""
    if not (isinstance(target, ast.Attribute) and rw.functions):
        return None
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    own = rw.functions[0].name == "__init__" and ast.unparse(target.value) == "self"
    if not own or (owner, target.attr) not in rw.held.modules:
        return None
    listed = isinstance(node.value, ast.List | ast.ListComp) or ast.unparse(node.value) == "list()"
    return "nn.ModuleList" if listed else "nn.ModuleDict"


def keyed(rw: Any, node: ast.Subscript) -> str | None:
    """`self.convs[("up", 1)]` of a dict that is a container here: `self.convs[str(("up", 1))]`."""
    owner = getattr(rw.parent(rw.functions[0]), "name", "") if rw.functions else ""
    own = isinstance(node.value, ast.Attribute) and ast.unparse(node.value.value) == "self"
    if not own or (owner, getattr(node.value, "attr", "")) not in rw.held.keyed:
        return None
    key = rw.text(node.slice)
    key = f"({key})" if isinstance(node.slice, ast.Tuple) and key[:1] != "(" else key
    return f"{rw.text(node.value)}[str({key})]"


def is_added(rw: Any, node: ast.expr) -> bool:
    """`[n] + self.sizes`: what is added to a list is one, and a tuple here if it is held."""
    parent = rw.parent(node)
    if not (isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add)):
        return False
    other = parent.left if node is parent.right else parent.right
    while isinstance(other, ast.BinOp) and isinstance(other.op, ast.Add):
        other = other.left
    held = isinstance(node, ast.Name | ast.Attribute) and not rw.resolve(node)[0]
    return held and isinstance(other, ast.List | ast.ListComp)


def _entries(node: Any) -> list[ast.Subscript]:
    """Where an entry of something is assigned."""
    stores = (n for n in ast.walk(node) if isinstance(n, ast.Subscript))
    return [n for n in stores if isinstance(n.ctx, ast.Store)]


def _assigned(function: Any) -> list[tuple[str, str]]:
    """Pairs of a name or an attribute, and the name that is assigned to it."""
    return [
        (ast.unparse(target), node.value.id)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)
        for target in node.targets
    ]


def copied(rw: Any, node: ast.Call) -> str | None:
    """`sizes.copy()`: the lists of a description are tuples here."""
    function = node.func
    if not (isinstance(function, ast.Attribute) and function.attr == "copy" and rw.functions):
        return None
    if isinstance(function.value, ast.Attribute):
        held = getattr(rw.parent(rw.functions[0]), "name", ""), function.value.attr
        known = ast.unparse(function.value.value) == "self" and held in rw.held.lists
        return f"list({rw.text(function.value)})" if known else None
    if not isinstance(function.value, ast.Name):
        return None
    return f"list({rw.text(function.value)})" if rw.kinds(function.value.id) == {list} else None
