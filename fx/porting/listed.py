"""Lists that constructors change: fx's descriptions hold tuples, which one part gives another.

def __init__(self, channels):               def __init__(self, channels):
self.channels = channels                    channels = list(channels) if isinstance(...
channels[0] = 2 * channels[0]
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
