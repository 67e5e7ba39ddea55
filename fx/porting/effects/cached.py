"""Dicts of a module in which a forward keeps what it computed: here it is computed each time.

    if key not in self.cache:            cache = self.table[:, self.index]
        self.cache[key] = self.table[:, self.index]
    return self.cache[key]               return cache

The two are the same where the value depends on nothing but the key and the module's own parts. So
is an entry of a list, made anew where a shape has changed, that depends on shapes alone:

    if self.grid[i].shape[2:4] != x.shape[2:4]:         grid = self.make_grid(*x.shape[2:4])
        self.grid[i] = self.make_grid(*x.shape[2:4])
    return x + self.grid[i]                             return x + grid
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fx.porting.read.sources import local_names


@dataclass(frozen=True)
class Cache:
    """A dict that a function fills: which, under what key, where, and what is read in its place."""

    attribute: str  # "self.cache"
    key: str
    fills: ast.If
    name: str


def of(rw: Any) -> tuple[Cache, ...]:
    """The caches of the function that is being written."""
    if not rw.functions:
        return ()
    listed = [each for each in _lists(rw.functions[-1]) if _by_shapes(rw, each.fills.body[-1])]
    return *_caches(rw.functions[-1]), *listed


def filled(rw: Any, node: ast.If) -> list[ast.stmt] | None:
    """What stands in an `if` that fills a cache, the last statement of which does; else None."""
    found = next((each for each in of(rw) if each.fills is node), None)
    return None if found is None or _elsewhere(rw, found) else node.body


def stored(rw: Any, target: ast.expr) -> str | None:
    """The name that is read in place of an entry of a cache; None for anything else."""
    if not isinstance(target, ast.Subscript):
        return None
    text = ast.unparse(target.value), ast.unparse(target.slice)
    found = next((each for each in of(rw) if (each.attribute, each.key) == text), None)
    return None if found is None or _elsewhere(rw, found) else found.name


def is_key(rw: Any, node: ast.Assign) -> bool:
    """Whether a statement makes the key of a cache, which nothing else reads."""
    name = ast.unparse(node.targets[0])
    for each in of(rw):
        if each.key == name and not _elsewhere(rw, each):
            loads = _count(rw.functions[-1], name)
            return loads == sum(_count(use, name) for use in _uses(rw.functions[-1], each))
    return False


@cache
def _caches(function: Any) -> tuple[Cache, ...]:
    return tuple(
        found
        for node in ast.walk(function)
        if isinstance(node, ast.If) and (found := _cache(function, node)) is not None
    )


def _cache(function: Any, node: ast.If) -> Cache | None:
    """The cache that an `if` fills, where that is all that is done with it in the function."""
    test, last = node.test, node.body[-1]
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotIn)):
        return None
    if node.orelse or not isinstance(last, ast.Assign) or len(last.targets) != 1:
        return None
    attribute, key = ast.unparse(test.comparators[0]), ast.unparse(test.left)
    own = attribute.startswith("self.") and attribute.count(".") == 1
    if not own or ast.unparse(last.targets[0]) != f"{attribute}[{key}]":
        return None
    known = _names(test.left) | {"self"}
    for each in ast.walk(function):
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == key:
            known |= _names(each.value)
    if not _names(node) & local_names(function) <= known | _bound(node):
        return None  # it depends on more than its key
    name = attribute.removeprefix("self.").lstrip("_")
    name += "_" * (name in local_names(function))
    found = Cache(attribute, key, node, name)
    uses = sum(_count(use, attribute) for use in _uses(function, found))
    return found if uses == _count(function, attribute) else None


@cache
def _lists(function: Any) -> tuple[Cache, ...]:
    """The lists of which an `if` fills an entry that it looks at, and which nothing else uses."""
    found: list[Any] = []
    for node in (each for each in ast.walk(function) if isinstance(each, ast.If)):
        last = node.body[-1] if len(node.body) == 1 else None
        if not isinstance(last, ast.Assign) or node.orelse or len(last.targets) != 1:
            continue
        (target,) = last.targets
        entries = target.elts if isinstance(target, ast.Tuple) else [target]
        made = [_entry(function, node, each) for each in entries]
        if all(made) and ast.unparse(entries[0]) in ast.unparse(node.test):
            found += made
    return tuple(found)


def _entry(function: Any, node: ast.If, target: ast.expr) -> Cache | None:
    if not (isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Name)):
        return None
    attribute, key = ast.unparse(target.value), target.slice.id
    if not (attribute.startswith("self.") and attribute.count(".") == 1):
        return None
    name = attribute.removeprefix("self.").lstrip("_")
    name += "_" * (name in local_names(function))
    uses = [each for each in ast.walk(function) if isinstance(each, ast.Subscript)]
    own = sum(ast.unparse(each) == f"{attribute}[{key}]" for each in uses)
    found = Cache(attribute, key, node, name)
    return found if own == _count(function, attribute) else None


def _by_shapes(rw: Any, node: Any) -> bool:
    """Whether what is assigned depends on shapes, numbers and parts alone."""
    import torch

    def fine(part: ast.AST) -> bool:
        if isinstance(part, ast.Attribute) and part.attr in ("shape", "device", "dtype", "ndim"):
            return True
        if isinstance(part, ast.Name):
            return not any(issubclass(kind, torch.Tensor) for kind in rw.kinds(part.id))
        return all(map(fine, ast.iter_child_nodes(part)))

    return fine(node.value)


def _elsewhere(rw: Any, found: Cache) -> bool:
    """Whether another method that ran looks at the cache, too."""
    owner = rw.parent(rw.functions[0])
    others = [n for n in getattr(owner, "body", ()) if isinstance(n, ast.FunctionDef)]
    return any(
        _count(other, found.attribute) > 0
        for other in others
        if other is not rw.functions[0]
        and other.name != "__init__"
        and (rw.place.file, other.body[-1].lineno) in rw.record.lines
    )


def _uses(function: Any, found: Cache) -> Iterator[Any]:
    """Where a cache is asked for its key, filled and read."""
    yield found.fills.test
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript):
            if ast.unparse(node) == f"{found.attribute}[{found.key}]":
                yield node


def _count(node: Any, text: str) -> int:
    """How often an expression is read in a node, or stored into."""
    kinds = ast.Name | ast.Attribute
    return sum(
        isinstance(each, kinds) and isinstance(each.ctx, ast.Load) and ast.unparse(each) == text
        for each in ast.walk(node)
    )


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _bound(node: ast.If) -> set[str]:
    """Names that the statements before the last one bind."""
    return {
        n.id
        for each in node.body[:-1]
        for n in ast.walk(each)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
