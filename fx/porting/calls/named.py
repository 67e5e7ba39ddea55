"""Values that are read twice: they get a name where they are read first.

torch.max(F.softmax(x, 1), 1)

(values := F.softmax(x, 1)).max(axis=1), values.argmax(axis=1)
"""

import ast
from typing import Any


def named(call: Any, text: str, hint: str = "values") -> tuple[str, str]:
    """A text that gives its value a name, and that name.

    Raises:
        Obstacle: Python allows no name to be given where the call stands.
    """
    rw = call.rewriter
    if not _allowed(rw, call.node):
        raise call.obstacle(f"{text!r} would be written twice; give it a name first")
    name = free(rw, hint)
    return f"({name} := {text})", name


def free(rw: Any, hint: str) -> str:
    """A name that no scope at hand has, given away with this call."""
    taken = set().union(*rw.scopes) | rw.given
    tries = [hint, *(f"{hint}{n}" for n in range(2, 100))]
    name = next(each for each in tries if each not in taken)
    rw.given.add(name)
    return name


def _allowed(rw: Any, node: Any) -> bool:
    """Whether `:=` may stand at a place: in a function, and not in what a comprehension is over."""
    if not getattr(rw, "functions", None):
        return False
    while node is not None and not isinstance(node, ast.stmt):
        outer = rw.parent(node)
        if isinstance(outer, ast.comprehension) and outer.iter is node:
            return False
        node = outer
    return True
