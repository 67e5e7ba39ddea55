"""Attributes that a forward assigns: left out where nothing reads them, else names of their own.

    self.attn = attn.detach()              (left out: nothing that ran reads it)
    self.shape = x.shape                   shape = x.shape
    y = self.mix(x).view(self.shape)       y = self.mix(x).reshape(shape)

What other methods of the same call read is `nn.Scratch`. What one call leaves for the next one is
state, which only a buffer can be.
"""

import ast
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fx.porting.model import bound as of_parts
from fx.porting.model.bound import Bound
from fx.porting.model.doubled import is_keyed, is_list
from fx.porting.model.numbers import is_numbers
from fx.porting.model.objects import is_plain
from fx.porting.read import flags as conditions
from fx.porting.read.flags import Flags
from fx.porting.read.live import plain as attributes
from fx.porting.read.live import stored
from fx.porting.read.live import tensors as tensors_of
from fx.porting.read.names import Obstacle
from fx.porting.read.record import Record, is_installed
from fx.porting.read.sources import local_names, source


@dataclass
class Held:
    """What forwards assign, by the attribute's name.

    Attributes:
        unread: Names that are written only.
        local: Names that one function writes and then reads, and that function.
        lines: What ran in a forward.
        tensors: Class and name of attributes that are tensors, which torch does not register.
        tables: "List" or "Dict" by class and name of attributes that hold so many tensors.
        nones: Class and name of attributes that are None in some part.
        lists: Class and name of attributes that are lists, which are tuples here.
        kernels: Class and name of attributes that make a context which chooses kernels.
        parts: Names of attributes that are modules.
        numbers: Class and name of attributes that are numbers, text or None.
        same: Of these, the value of those that have one in all parts of a class.
        scratch: Names that a call assigns before it reads them, and whether they were None before.
        owners: The classes whose methods assign them.
        weights: Class and name of attributes that are parameters.
        buffers: Class and name of attributes that are buffers.
        marks: Names of values that parts have, and whether from outside of their constructors.
        modules: Class and name of plain lists of parts that are registered by name, too.
        reserved: Names of values, `self.init = "normal"`, that are a module's own in fx.
        bound: Functions that parts hold, which are their own.
        flags: Tensors that conditions ask for.
    """

    unread: set[str] = field(default_factory=set)
    local: dict[str, Any] = field(default_factory=dict)
    lines: set[tuple[str, int]] = field(default_factory=set)
    tensors: set[tuple[str, str]] = field(default_factory=set)
    tables: dict[tuple[str, str], str] = field(default_factory=dict)
    nones: set[tuple[str, str]] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)  # attributes that are objects of the user's
    kinds: set[str] = field(default_factory=set)  # and the names of their classes
    lists: set[tuple[str, str]] = field(default_factory=set)
    kernels: set[tuple[str, str]] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    numbers: set[tuple[str, str]] = field(default_factory=set)
    same: dict[tuple[str, str], Any] = field(default_factory=dict)
    scratch: dict[str, bool] = field(default_factory=dict)
    owners: dict[str, list[Any]] = field(default_factory=dict)
    weights: set[tuple[str, str]] = field(default_factory=set)
    buffers: set[tuple[str, str]] = field(default_factory=set)
    marks: dict[str, bool] = field(default_factory=dict)
    modules: set[tuple[str, str]] = field(default_factory=set)
    keyed: set[tuple[str, str]] = field(default_factory=set)  # dicts of these, with other keys
    reserved: set[str] = field(default_factory=set)
    bound: Bound = field(default_factory=Bound)
    flags: Flags = field(default_factory=Flags)

    def is_context(self, node: ast.Attribute, functions: list[Any]) -> bool:
        """Whether `self.name` makes a context which chooses kernels."""
        names = {name for _, name in self.kernels}
        return bool(functions) and _of_self(node) and node.attr in names

    def scratch_of(self, node: ast.ClassDef) -> list[str]:
        """The attributes that a class declares as `nn.Scratch`."""
        return [name for name in self.scratch if node in self.owners[name]]

    def name(self, node: ast.Attribute, functions: list[Any]) -> str | None:
        """The local name for `self.name`; None where it stays."""
        if not functions or not _of_self(node):
            return None
        word = node.attr
        if word in self.reserved:
            return f"self.{word}_"
        unread = word in self.unread and isinstance(node.ctx, ast.Store)
        if functions[0].name == "__init__" or not (unread or self.local.get(word) is functions[0]):
            return None
        return word + "_" * (word in local_names(functions[0]))


def where_it_is(rw: Any, node: ast.Assign, target: ast.expr) -> str | None:
    """`self.x = self.x.to(y.dtype) if self.x is not None else None`: nothing, where None is."""
    if not (isinstance(target, ast.Attribute) and _of_self(target) and rw.functions):
        return None
    if not isinstance(node.value, ast.IfExp):
        return None
    name, value = ast.unparse(target), node.value
    same = ast.unparse(value.test) in (name, f"{name} is not None")
    if not same or ast.unparse(value.orelse) != "None":
        return None
    pad = " " * node.col_offset
    return f"if {name} is not None:\n{pad}    {name} = {rw.text(value.body)}"


def found(record: Record, module: Any, passing: Callable[[set[str], set[str]], dict]) -> Held:
    """What the forwards of a model that ran assign, its parts and buffers aside.

    Args:
        record: What the model did.
        module: The model.
        passing: Given names, and those that are always assigned, says which a call does not need
            from the one before, and whether they are None before.
    """
    import torch

    stores: dict[str, list[tuple[Any, ast.stmt, ast.ClassDef]]] = {}
    reads: dict[str, list[Any]] = {}
    for file in {file for file, _ in record.lines}:
        for node in ast.walk(source(file).tree):
            if (file, getattr(node, "lineno", 0)) in record.lines:
                _note(file, node, record, stores, reads)
    known = {name for part in module.modules() for kind in ("_parameters", "_buffers", "_modules")
             for name in vars(part)[kind]}  # fmt: skip
    tensors = _where(module, lambda value: isinstance(value, torch.Tensor) or is_numbers(value))
    tensors -= _normed(module)
    lists = _where(module, lambda value: isinstance(value, list))
    kernels = _where(module, _makes_kernels)
    parts = {name for part in module.modules() for name in part._modules}
    held = Held(lines=record.lines, tensors=tensors, lists=lists, kernels=kernels, parts=parts)
    held.bound, held.flags = of_parts.found(module), conditions.found(record, module)
    before = list(record.tables.values())
    several = _where(
        module,
        lambda value: (
            id(value) in record.tables or [*map(id, tensors_of(value).values())] in before
        ),
    )
    named = _where(module, lambda value: isinstance(value, dict))
    held.tables = {pair: "Dict" if pair in named else "List" for pair in several}
    held.nones = _where(module, lambda value: value is None)
    registered = set(map(id, module.modules()))
    held.modules = _where(module, lambda value: is_list(value, registered))
    held.keyed = _where(module, lambda value: is_keyed(value, registered))
    own = {name for part in module.modules() for name in vars(part)}
    held.reserved = own & {"init", "apply", "functional"} - known
    made = {type(part): stored(type(part)) for part in module.modules()}
    outside = {
        (n, n not in made[type(part)]) for part in module.modules() for n in attributes(part)
    }
    held.marks = {n: new for n, new in outside if (n, not new) not in outside}
    held.weights, held.buffers = (
        {
            (kind.__name__, name)
            for part in module.modules()
            for name in vars(part)[names]
            for kind in type(part).__mro__
        }
        for names in ("_parameters", "_buffers")
    )
    plain = (int, float, bool, str, type(None))
    held.numbers = _where(module, lambda value: type(value) in plain)
    held.numbers -= _where(module, lambda value: type(value) not in plain)
    for pair in held.numbers:
        parts_of = (part for part in module.modules() if pair[1] in vars(part))
        kinds = ((part, {kind.__name__ for kind in type(part).__mro__}) for part in parts_of)
        values = [vars(part)[pair[1]] for part, names in kinds if pair[0] in names]
        held.same |= {pair: values[0]} if all(value == values[0] for value in values) else {}
    for name, value in (pair for part in module.modules() for pair in vars(part).items()):
        if is_plain(value):
            held.objects.add(name)
            held.kinds.add(type(value).__name__)
    for name in stores.keys() - known:
        alone = [each for _, each, _ in stores[name] if _assigns_one(each)]
        inside = {id(part) for statement in alone for part in ast.walk(statement)}
        others = [node for node in reads.get(name, ()) if id(node) not in inside]
        functions = {id(function): function for function, *_ in stores[name]}
        if not others:
            held.unread.add(name)
        elif len(functions) == 1:
            (function,) = functions.values()
            first = stores[name][0][1]
            parts = {id(part) for part in ast.walk(function)}
            after = all(id(n) in parts and n.lineno > (first.end_lineno or 0) for n in reads[name])
            whole = isinstance(first, ast.Assign) and any(first is each for each in function.body)
            if after and whole:
                held.local[name] = function
    _note_scratch(held, stores, known | held.unread | held.local.keys(), passing)
    return held


def _assigns_one(node: ast.stmt) -> bool:
    """Whether an assignment has one target, so that what it reads of that goes nowhere else."""
    if isinstance(node, ast.Assign):
        return len(node.targets) == 1 and isinstance(node.targets[0], ast.Attribute)
    return isinstance(node, ast.AugAssign | ast.AnnAssign)


def _note_scratch(held: Held, stores: dict, known: set[str], passing: Callable) -> None:
    """Note what several methods of a call share."""
    rest = {
        name
        for name in stores.keys() - known
        if not any(_of_class(owner, name) for *_, owner in stores[name])
    }
    always = {
        name
        for name in rest
        if all(any(at is each for each in function.body) for function, at, _ in stores[name])
    }
    held.scratch = passing(rest, always) if rest else {}
    held.owners = {name: [owner for *_, owner in stores[name]] for name in held.scratch}


def _of_class(owner: ast.ClassDef, name: str) -> bool:
    """Whether the body of a class gives a name a value."""
    return any(
        isinstance(target, ast.Name) and target.id == name
        for node in owner.body
        for target in getattr(node, "targets", [getattr(node, "target", None)])
    )


def _makes_kernels(value: Any) -> bool:
    """Whether a value is torch's `sdpa_kernel`, or a `partial` of it."""
    made = value.func if isinstance(value, functools.partial) else value
    word = getattr(made, "__name__", "") if callable(made) else ""
    return word in ("sdp_kernel", "sdpa_kernel")


def _normed(module: Any) -> set[tuple[str, str]]:
    """Class and name of what `weight_norm` and its kin compute of other weights."""
    return {
        (kind.__name__, name)
        for part in module.modules()
        for name in vars(part)
        if {f"{name}_v", f"{name}_orig"} & part._parameters.keys()
        for kind in type(part).__mro__
    }


def _where(module: Any, asked: Callable[[Any], bool]) -> set[tuple[str, str]]:
    """Class and name of the attributes of parts whose value is as asked."""
    return {
        (kind.__name__, name)
        for part in module.modules()
        for name, value in vars(part).items()
        if asked(value)
        for kind in type(part).__mro__
    }


def _note(file: str, node: Any, record: Record, stores: dict, reads: dict) -> None:
    """Sort one node that ran under what it writes or reads."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        reads.setdefault(node.value, []).append(node)  # getattr(self, "name")
    if not isinstance(node, ast.Attribute):
        return
    if not isinstance(node.ctx, ast.Store):
        seen = record.at(file, node.end_lineno or 0, node.end_col_offset or 0)
        if f"torch.Tensor.{node.attr}.__get__" in seen:
            return  # of a tensor
        reads.setdefault(node.attr, []).append(node)
        return
    statement: Any = _around(file, node, ast.stmt)
    function: Any = _around(file, node, ast.FunctionDef)
    if function is None or function.name == "__init__" or not _of_self(node):
        return
    owner = source(file).parents.get(function)
    if isinstance(owner, ast.ClassDef):
        stores.setdefault(node.attr, []).append((function, statement, owner))


def _around(file: str, node: Any, kind: type) -> Any:
    """The nearest node of a kind that a node stands in."""
    while node is not None and not isinstance(node, kind):
        node = source(file).parents.get(node)
    return node


def check(rw: Any, node: ast.stmt) -> None:
    """Raise an obstacle where a forward changes an object that a part holds: it is traced once.

    Args:
        rw: the rewriter.
        node: the statement.
    """
    if not isinstance(node, ast.Assign | ast.AugAssign) or not rw.functions:
        return
    target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
    if not isinstance(target, ast.Attribute) or (rw.place.file, node.lineno) not in rw.held.lines:
        return
    inner = target.value
    part = isinstance(inner, ast.Attribute) and _of_self(inner) and inner.attr in rw.held.objects
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    if part or (_of_self(target) and owner in rw.held.kinds):
        said = "changes an object that is no module, which compiled code does once; use nn.Buffer"
        raise Obstacle(node, f"{ast.unparse(node)[:60]}: {said}")


def left_out(rw: Any, node: ast.stmt) -> bool:
    """Whether a statement does nothing but write what nothing reads; notes that it goes."""
    if not isinstance(node, ast.Assign | ast.AugAssign):
        return False
    target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
    if not isinstance(target, ast.Attribute):
        return False
    if not (target.attr in rw.held.unread and rw.held.name(target, rw.functions)):
        return False
    said = f"self.{target.attr} is written and not read, and was left out; apply's capture="
    rw.notes.append(f"{rw.where(node)}: {said} returns what parts give")
    return True


def is_begun(rw: Any, target: ast.expr) -> bool:
    """Whether a constructor gives a value to what each call assigns first, or nothing reads."""
    if not (isinstance(target, ast.Attribute) and _of_self(target) and rw.functions):
        return False
    if rw.functions[0].name != "__init__":
        return False
    owners = rw.held.owners.get(target.attr, ())
    return target.attr in rw.held.unread or rw.parent(rw.functions[0]) in owners


def shadows(rw: Any, node: ast.stmt, target: ast.expr) -> bool:
    """Whether a forward masks a parameter of its own, `self.weight.data *= self.mask`.

    The product holds for the rest of the call, under the parameter's name; a note says that the
    weights stay.

    Raises:
        Obstacle: it writes something else into a parameter, which in torch stays there.
    """
    if not (isinstance(target, ast.Attribute) and _of_self(target) and rw.functions):
        return False
    owner, function = rw.parent(rw.functions[0]), rw.functions[0]
    if (getattr(owner, "name", ""), target.attr) not in rw.held.weights:
        return False
    if function.name == "__init__" or (rw.place.file, node.lineno) not in rw.held.lines:
        return False
    if not _is_product(node) or rw.record.steady is None or not rw.record.steady():
        said = "writes into a weight, which keeps it for the optimizer; change params in the step, "
        said += "use what it gives under a name, or, if a first call alone does, make that before"
        raise Obstacle(node, f"{ast.unparse(node)[:60]}: {said}")
    rw.held.scratch.setdefault(target.attr, False)
    rw.held.owners.setdefault(target.attr, []).append(owner)
    said = f"self.{target.attr} is changed for the rest of the call; the weights stay as they are"
    rw.notes.append(f"{rw.place.module.rpartition('.')[2]}.py:{target.lineno}: {said}")
    return True


def _is_product(node: ast.stmt) -> bool:
    """Whether a statement multiplies what it writes into."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Mult)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func).endswith((".mul_", ".multiply_"))
    value = getattr(node, "value", None)
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult)


def settled(rw: Any, node: ast.stmt) -> bool:
    """Whether a forward assigns a number that is there since the example ran; notes that it goes.

    `if min(x.shape) <= self.window: self.shift = 0` in a method, which others read.
    """
    if not (isinstance(node, ast.Assign) and rw.functions and rw.functions[0].name != "__init__"):
        return False
    target, ran = node.targets[0], (rw.place.file, node.lineno) in rw.held.lines
    if not (ran and isinstance(target, ast.Attribute) and _of_self(target)):
        return False
    if target.attr in rw.held.scratch:
        return False
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    name = ast.unparse(target)
    reads = [part for part in ast.walk(node.value) if ast.unparse(part) == name]
    if (owner, target.attr) not in rw.held.numbers or reads or target.attr in rw.held.local:
        return False
    parts = [part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)]
    if set(parts) & set().union(*rw.scopes) and not is_installed(rw.place.file):
        return False  # of an input's sizes, say
    rw.notes.append(f"{rw.where(node)}: {name} is what it was after the example ran")
    return True


def _of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"
