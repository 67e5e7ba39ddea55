"""Statements that raise where values of arrays are not as they should: no compiled program can."""

import ast
from typing import Any

from fx.porting.calls.calls import whole


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


def asserted(rw: Any, node: ast.Call) -> str:
    """`torch._assert(condition, message)`, whose message may be a function, as an `assert`."""
    given = [*node.args, *(word.value for word in node.keywords)]
    message = given[1].body if len(given) > 1 and isinstance(given[1], ast.Lambda) else given[1:]
    words = [message] if isinstance(message, ast.expr) else message
    return "assert " + ", ".join(whole(rw.text(each)) for each in [given[0], *words])
