"""Conditions that buffers alone decide, which no call changes: `if self.initialized.item() == 0:`.

What is compiled does not know an array's values, and those of the model that is ported are known.
"""

import ast
import types
from dataclasses import dataclass, field
from typing import Any

from fx.porting.read import live
from fx.porting.read.record import Record
from fx.porting.read.sources import source

_NODES = (
    ast.Attribute, ast.Name, ast.Load, ast.Call, ast.Compare, ast.cmpop, ast.Constant,
    ast.UnaryOp, ast.unaryop, ast.Subscript,
)  # fmt: skip
_METHODS = {"item", "any", "all", "bool", "int", "sum", "data", "numel", "max", "min", "tolist"}
_FUNCTIONS = {"bool": bool, "int": int, "float": float, "all": all, "any": any}


@dataclass
class Flags:
    """The tensors of parts by class and name, and which names what runs may write into."""

    tensors: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)


def found(record: Record, module: Any) -> Flags:
    """The buffers of a model, and what its forwards write."""
    import torch

    flags = Flags()
    for part in module.modules():
        tensors = {n: v for n, v in live.plain(part).items() if isinstance(v, torch.Tensor)}
        tensors |= {name: value for name, value in part._buffers.items() if value is not None}
        for kind in type(part).__mro__:
            flags.tensors.setdefault(kind.__name__, []).append(tensors)
    names = {name for each in flags.tensors.values() for tensors in each for name in tensors}
    for file in {file for file, _ in record.lines}:
        for node in ast.walk(source(file).tree):
            if isinstance(node, ast.Attribute) and node.attr in names:
                if (file, node.lineno) in record.lines and _may_write(source(file), node):
                    flags.written.add(node.attr)
    return flags


def decided(rw: Any, node: ast.expr) -> bool | None:
    """What a condition is in all parts of the class at hand; None where inputs or calls decide."""
    reads = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and _of_self(n)]
    if not reads or not all(isinstance(each, _NODES) for each in ast.walk(node)):
        return None
    if any(isinstance(each, ast.Is | ast.IsNot) for each in ast.walk(node)):
        return None
    if not rw.functions or rw.functions[0].name == "__init__":
        return None
    names = {each.attr for each in reads}
    rest = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and not _of_self(n)]
    others = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - {"self", *_FUNCTIONS}
    if others or names & rw.held.flags.written or not {n.attr for n in rest} <= _METHODS:
        return None
    parts = rw.held.flags.tensors.get(getattr(rw.parent(rw.functions[0]), "name", ""), [])
    if not parts or not all(names <= tensors.keys() for tensors in parts):
        return None
    code = compile(ast.Expression(node), rw.place.file, "eval")
    given = {"__builtins__": {}, **_FUNCTIONS}
    try:
        said = {bool(eval(code, given, {"self": types.SimpleNamespace(**t)})) for t in parts}
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return None
    if len(said) != 1:
        return None
    note = f"{rw.where(node)}: {ast.unparse(node)[:60]} is {said.copy().pop()} for good, as in what"
    note += " is ported; no call that ran changes it"
    rw.notes += [note] if note not in rw.notes else []
    return said.pop()


def _of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _may_write(file: Any, node: ast.Attribute) -> bool:
    """Whether a buffer is assigned, changed in place, or given to a function of the user's."""
    if not isinstance(node.ctx, ast.Load):
        return True
    outer, inner = file.parents[node], node
    while isinstance(outer, ast.Attribute | ast.Subscript):
        writes = isinstance(outer, ast.Attribute) and outer.attr.endswith("_")
        if writes or not isinstance(outer.ctx, ast.Load):
            return True
        outer, inner = file.parents[outer], outer
    given = isinstance(outer, ast.Call) and inner in outer.args
    return given and not (isinstance(outer.func, ast.Attribute | ast.Name) and _torchs(outer.func))


def _torchs(function: ast.expr) -> bool:
    """Whether what is called is torch's own, or Python's, by its name."""
    text = ast.unparse(function)
    return text.startswith(("torch.", "F.", "nn.")) or text in (*_FUNCTIONS, "len", "print")
