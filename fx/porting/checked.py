"""Statements that raise where values of arrays are not as they should: no compiled program can."""

import ast
from typing import Any


def asks_values(rw: Any, node: ast.stmt) -> bool:
    """Whether a statement does nothing but raise where values of arrays are not as they should."""
    raises = isinstance(node, ast.If) and not node.orelse
    raises = raises and all(isinstance(each, ast.Raise) for each in node.body)
    if not (raises or isinstance(node, ast.Assert)):
        return False
    asked = {
        name.rpartition(".")[2]
        for (file, line, _), seen in rw.record.calls.items()
        if file == rw.place.file and node.lineno <= line <= (node.end_lineno or 0)
        for name in seen
    }  # Python says of some jumps that they are where they go to
    return not asked.isdisjoint({"__bool__", "allclose", "equal"})
