"""Going through the parts of a module, which are among its attributes here.

for part in self.net.children():     for part in [part for part in vars(self.net).values() if ...]:
"""

import ast
from typing import Any

_WHICH = "if isinstance(part, nn.Module)"
_WALKS = {
    "children": f"[part for part in vars({{}}).values() {_WHICH}]",
    "named_children": f"[(name, part) for name, part in vars({{}}).items() {_WHICH}]",
    "modules": "[part for _, part in {}.named_modules()]",
}


def written(rw: Any, node: ast.Call) -> str | None:
    """`x.children()` and the like; None for any other call."""
    if ast.unparse(node.func) == "next" and len(node.args) == 1:
        weights = _weights(rw, node.args[0])
        return f"{weights}[0]" if weights else None
    if (weights := _weights(rw, node)) is not None:
        return weights
    word = getattr(node.func, "attr", "")
    if word not in _WALKS or node.args or node.keywords or _own(rw, word):
        return None
    assert isinstance(node.func, ast.Attribute)
    return _WALKS[word].format(rw.text(node.func.value))


def _weights(rw: Any, node: ast.expr) -> str | None:
    """`self.parameters()` and a part's, in what runs: the arrays; None for anything else."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    module = ast.unparse(node.func.value)
    runs = rw.functions and rw.functions[0].name != "__init__"
    if node.func.attr != "parameters" or node.args or node.keywords or not runs:
        return None
    if module != "self" and not (
        module.startswith("self.") and getattr(node.func.value, "attr", "") in rw.held.parts
    ):
        return None
    return f"jax.tree.leaves({module}.functional()[1][0])"


def parts(rw: Any, node: ast.Attribute) -> str | None:
    """`x._modules`, the dict of parts; None for any other attribute."""
    if node.attr != "_modules":
        return None
    return f"{{name: part for name, part in vars({rw.text(node.value)}).items() {_WHICH}}}"


def _own(rw: Any, name: str) -> bool:
    """Whether the file has a method of that name itself."""
    nodes = ast.walk(rw.source.tree)
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in nodes)
