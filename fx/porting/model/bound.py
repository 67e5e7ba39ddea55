"""Functions that a part holds, which are its own: a method's name, or a method.

self.fusion = self.add if sums else self.mix     self.fusion = "add" if sums else "mix"
x = self.fusion(x, y)                            x = getattr(self, self.fusion)(x, y)

m = self.mlp                                     def mlpf(self, x):
self.mlpf = lambda x: m.c_proj(m.act(x))             m = self.mlp
                                                     return m.c_proj(m.act(x))
"""

import ast
import types
from dataclasses import dataclass, field
from typing import Any

from fx.porting.model.numbers import literal
from fx.porting.read import live
from fx.porting.read.closures import node_of

Pair = tuple[str, str]  # a class and an attribute


@dataclass
class Bound:
    """Such functions by class and attribute: those held by name, and those that become methods."""

    named: set[Pair] = field(default_factory=set)
    methods: dict[Pair, tuple[Any, dict[str, str]]] = field(default_factory=dict)


def found(module: Any) -> Bound:
    """What the parts of a model hold."""
    bound = Bound()
    held: dict[Pair, list[Any]] = {}
    for part in module.modules():
        for name, value in live.plain(part).items():
            if name != "forward" and isinstance(value, types.MethodType | types.FunctionType):
                for kind in type(part).__mro__:
                    held.setdefault((kind.__name__, name), []).append((part, value))
    for pair, each in held.items():
        if all(_is_method(part, value) for part, value in each):
            bound.named.add(pair)
            continue
        made = [_made(part, value) for part, value in each]
        if made[0] is not None and all(one == made[0] for one in made):
            bound.methods[pair] = made[0]
    return bound


def anew(module: Any, copies: dict[int, Any]) -> Any:
    """A copy of a model, whose functions read its own parts, and not those of the original.

    Args:
        module: what `copy.deepcopy` has made.
        copies: its memo: the copies by the identity of what was copied.
    """
    for part in module.modules():
        for name, value in live.plain(part).items():
            if not isinstance(value, types.FunctionType) or not value.__closure__:
                continue
            cells = [
                types.CellType(copies.get(id(cell.cell_contents), cell.cell_contents))
                for cell in value.__closure__
            ]
            own = value.__code__, value.__globals__, value.__name__, value.__defaults__
            function = types.FunctionType(*own, tuple(cells))
            function.__kwdefaults__ = value.__kwdefaults__
            setattr(part, name, function)
    return module


def plain(module: Any, bound: Bound) -> dict[str, Any]:
    """The attributes of a part that are neither parts nor torch's, methods of its own by name."""
    kind, values = type(module).__name__, live.plain(module)
    values = {name: each for name, each in values.items() if (kind, name) not in bound.methods}
    methods = {name: each for name, each in values.items() if isinstance(each, types.MethodType)}
    named = {name: each for name, each in methods.items() if (kind, name) in bound.named}
    return values | {name: each.__name__ for name, each in named.items()}


def written(rw: Any, node: ast.Attribute) -> str | None:
    """`self.fusion` as the method that it names, or, where it is made, as its name; else None."""
    if ast.unparse(node.value) != "self" or not rw.functions:
        return None
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    at = rw.parent(node)
    if (owner, node.attr) in rw.held.bound.named and rw.functions[0].name != "__init__":
        asked = isinstance(at, ast.Compare | ast.BoolOp | ast.If | ast.IfExp | ast.UnaryOp)
        return None if asked else f"getattr(self, self.{node.attr})"
    while isinstance(at, ast.IfExp):
        at = rw.parent(at)
    target = at.targets[0] if isinstance(at, ast.Assign) else None
    if isinstance(target, ast.Attribute) and (owner, target.attr) in rw.held.bound.named:
        return f'"{node.attr}"'
    return None


def is_made(rw: Any, target: ast.expr) -> bool:
    """Whether a constructor assigns what is a method here."""
    if not (isinstance(target, ast.Attribute) and rw.functions):
        return False
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    return rw.functions[0].name == "__init__" and (owner, target.attr) in rw.held.bound.methods


def methods(rw: Any, owner: ast.ClassDef) -> list[str]:
    """The methods that a class has for such functions."""
    found, pad = [], " " * (owner.col_offset + 4)
    for (kind, name), (node, reads) in rw.held.bound.methods.items():
        if kind != owner.name or rw.source.parents.get(node) is None:
            continue
        body: Any = node.body
        value = ast.copy_location(ast.Return(body), body)
        method = ast.FunctionDef(name, node.args, [value], [])
        method = ast.copy_location(method, node)
        rw.source.parents[method] = owner
        with rw.inside(method):
            rw.scopes[-1] |= reads.keys()
            text = rw.text(body)
        text = f"({text})" if "\n" in text else text
        given = ast.unparse(node.args)
        lines = [f"def {name}(self{', ' * bool(given)}{given}):"]
        lines += [f"    {word} = {path}" for word, path in reads.items() if word != path]
        found.append(f"\n{pad}".join([*lines, f"    return {text}"]))
    return found


def _is_method(part: Any, value: Any) -> bool:
    """Whether it is a method of the part itself, under the name that its class has for it."""
    own = isinstance(value, types.MethodType) and value.__self__ is part
    return own and getattr(type(part), value.__name__, None) is value.__func__


def _made(part: Any, value: Any) -> tuple[Any, dict[str, str]] | None:
    """A lambda that a constructor has made of parts of the object, and what these are called."""
    if not isinstance(value, types.FunctionType) or "__init__.<locals>" not in value.__qualname__:
        return None
    reads, parts = {}, False
    for word, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
        path = _path(part, cell.cell_contents)
        parts |= path is not None
        text = path or literal(cell.cell_contents)
        if text is None:
            return None
        reads[word] = text
    node = node_of(value) if parts else None
    return (node, reads) if isinstance(node, ast.Lambda) and not value.__defaults__ else None


def _path(part: Any, value: Any) -> str | None:
    """What a part of an object, or itself, is called there."""
    names = [name for name, each in part.named_modules() if each is value]
    if not names:
        return None
    return "self" + "".join(f"[{n}]" if n.isdigit() else f".{n}" for n in names[0].split(".") if n)
