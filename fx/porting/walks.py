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
    if ast.unparse(node) == "next(self.parameters())":
        return "jax.tree.leaves(self.functional()[1][0])[0]"
    word = getattr(node.func, "attr", "")
    if word not in _WALKS or node.args or node.keywords or _own(rw, word):
        return None
    assert isinstance(node.func, ast.Attribute)
    return _WALKS[word].format(rw.text(node.func.value))


def parts(rw: Any, node: ast.Attribute) -> str | None:
    """`x._modules`, the dict of parts; None for any other attribute."""
    if node.attr != "_modules":
        return None
    return f"{{name: part for name, part in vars({rw.text(node.value)}).items() {_WHICH}}}"


def _own(rw: Any, name: str) -> bool:
    """Whether the file has a method of that name itself."""
    nodes = ast.walk(rw.source.tree)
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in nodes)
