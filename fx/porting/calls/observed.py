"""What cannot be written, and was one thing whenever it was seen: a branch, a name, a yes or no.

if isinstance(mask, BlockMask):          (left out: nothing was one, and nothing here can be)
attend = REGISTRY[self.config.kind]      attend = eager_attention
if not is_tracing(mask):                 (left out: a compiler looks on, XLA)
"""

import ast
import contextlib
import inspect
import logging
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

from fx.porting.calls import keys
from fx.porting.calls.calls import DROP
from fx.porting.model.numbers import literal
from fx.porting.model.objects import is_kind
from fx.porting.pairs import rules
from fx.porting.read.names import Obstacle, need, torch_name, translated, twin
from fx.porting.read.record import COMPILES, file_of, is_installed, is_packaged, is_users

# Functions of installed packages that say how a model runs: compiled, traced, with which library.
_ASKS = re.compile(
    r"is_(\w+_)?(tracing|compiling|exporting|scripting|capturing)$|(is_\w+_available|is_torch_\w+)$"
)


def kinds(rw: Any, node: ast.Call) -> str | None:
    """`isinstance(x, Kind)` without classes of which there is no object; None where it stays."""
    if len(node.args) != 2 or rw.resolve(node.func)[1] is not isinstance:
        return None
    given = node.args[1]
    each = given.elts if isinstance(given, ast.Tuple) else _united(given)
    stay = [kind for kind in each if _occurs(rw, kind)]
    for kind in (value for known, value in map(rw.resolve, stay) if known):
        if isinstance(kind, type) and any(is_kind(s) and kind in _users(s) for s in rw.record.held):
            said = "asks for a kind of settings, which are a namespace here; ask for what they hold"
            raise Obstacle(node, f"{ast.unparse(node)[:80]}: {said}")
    if len(stay) == len(each):
        return None
    texts = [rw.text(kind) for kind in stay]
    several = f"({', '.join(texts)})" if len(texts) > 1 else "".join(texts)
    return f"isinstance({rw.text(node.args[0])}, {several})" if texts else "False"


def _users(kind: type) -> list[type]:
    """A class and those of its bases that are of no library of Python's."""
    return [each for each in kind.__mro__ if is_users(file_of(each))]


def _united(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _united(node.left) + _united(node.right)
    return [node]


def _occurs(rw: Any, node: ast.expr) -> bool:
    """Whether a class can be written, or has objects in what ran."""
    known, kind = rw.resolve(node)
    if not known or not isinstance(kind, type) or twin(kind):
        return True
    name = torch_name(kind)
    if name is not None:
        lost = not (translated(name) or rules.function(name))
    else:
        lost = is_packaged(kind)
    return not lost or any(issubclass(seen, kind) for seen in rw.record.seen)


def answer(rw: Any, node: ast.Call) -> bool | None:
    """What an installed package's question, such as `is_tracing()`, was answered with."""
    known, value = rw.resolve(node.func)
    if not (known and callable(value) and _ASKS.match(getattr(value, "__name__", ""))):
        return None
    code = getattr(inspect.unwrap(value), "__code__", None)
    if code is None:
        return None
    if not is_installed(code.co_filename) or torch_name(value):
        return None
    if COMPILES.match(value.__name__):
        return True
    given = [*node.args, *(word.value for word in node.keywords)]
    if not all(isinstance(each, ast.Constant) for each in given):
        return None
    seen = rw.record.values.get((code.co_filename, code.co_firstlineno, ""), [])
    if not seen and _ASKS.match(value.__name__)[2]:  # type: ignore[index]
        seen = [value(*(each.value for each in given if isinstance(each, ast.Constant)))]
    said = seen[0] if len(seen) == 1 else False if not seen else None
    return said if isinstance(said, bool) else None


def is_there(rw: Any, node: ast.Compare) -> bool | None:
    """`name is None` of one of torch's functions, which packages import where there is one."""
    if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Is | ast.IsNot):
        return None
    other = node.comparators[0]
    known, value = rw.resolve(node.left)
    if not (known and isinstance(other, ast.Constant) and other.value is None):
        return None
    if value is not None and torch_name(value) is None:
        return None
    return (value is None) == isinstance(node.ops[0], ast.Is)


def as_compiled(run: Callable[[], Any]) -> None:
    """Run a model as if it was compiled, which lets it choose what does not depend on values."""
    import torch

    with mock.patch.object(torch.compiler, "is_compiling", lambda: True):
        with contextlib.suppress(Exception):  # what only a compiler can do is not needed
            run()


def own(rw: Any, node: ast.Attribute) -> str | None:
    """`self.dtype`, `self.device` and a part's, in an installed package: those of the weights."""
    if node.attr not in ("dtype", "device") or not is_installed(rw.place.file):
        return None
    module = ast.unparse(node.value)
    if module == "self":
        owner = rw.parent(rw.functions[0]) if rw.functions else None
        kind = rw.names.get(getattr(owner, "name", ""))
        if not (isinstance(kind, type) and isinstance(getattr(kind, node.attr, None), property)):
            return None
        if not hasattr(kind, "register_forward_hook"):
            return None
    elif not (module.startswith("self.") and getattr(node.value, "attr", "") in rw.held.parts):
        return None
    weights = f"jax.tree.leaves({module}.functional()[1][0])[0]"
    return f"{weights}.dtype" if node.attr == "dtype" else "None"


def is_device(rw: Any, node: ast.expr) -> bool:
    """Whether an expression stands for where an array is."""
    if not isinstance(node, ast.Name) or not rw.functions:
        return ast.unparse(node).endswith(".device")
    kinds = rw.kinds(node.id)
    return bool(kinds) and {kind.__name__ for kind in kinds} == {"device"}


def is_log(rw: Any, node: ast.expr) -> bool:
    """Whether a name is an installed package's log, to which a compiled program writes nothing."""
    known, log = rw.resolve(node)
    return known and isinstance(log, logging.Logger) and is_installed(rw.place.file)


def value(rw: Any, node: ast.stmt) -> str | None:
    """`name = ...` of what cannot be written, with what the name was seen to stand for."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if isinstance(target, ast.Attribute) and (given := _attribute(rw, node, target)) is not None:
        return given
    if isinstance(target, ast.Attribute) and _is_unread(rw, target):
        rw.notes.append(f"{rw.where(node)}: {ast.unparse(target)} is not read, and was left out")
        return DROP
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name):
        return None
    function = rw.functions[-1] if rw.functions else None
    if function is None or _bound(function, target.id) != 1 or _computes(rw, node):
        return None
    outer = rw.parent(node)
    while outer is not function:
        if isinstance(outer, ast.For | ast.While):
            return None  # another one each time, perhaps
        outer = rw.parent(outer)
    place = rw.place.file, rw.source.first_line(function), target.id
    seen = rw.record.values.get(place, [])
    if len(seen) != 1 or seen[0] is ...:
        return None
    text = written(rw, seen[0], node)
    if text is None:
        return None
    rw.notes.append(f"{rw.where(node)}: {target.id} is {text} here, which it was when this ran")
    return f"{target.id} = {text}"


def _is_unread(rw: Any, target: ast.Attribute) -> bool:
    """Whether a constructor gives itself what its file reads nowhere."""
    made = rw.functions and rw.functions[0].name == "__init__"
    if not made or ast.unparse(target.value) != "self":
        return False
    reads = [n for n in ast.walk(rw.source.tree) if isinstance(n, ast.Attribute | ast.Constant)]
    names = {n.value for n in reads if isinstance(n, ast.Constant)}
    reads = [n for n in reads if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)]
    return target.attr not in names | {n.attr for n in reads if not rw.resolve(n)[0]}


def _attribute(rw: Any, node: Any, target: ast.Attribute) -> str | None:
    """`self.heads = heads // world_size()` of a constructor: what it is in all parts of a class."""
    if len(rw.functions) != 1:
        return None
    owner = rw.parent(rw.functions[0])
    pair, text = (getattr(owner, "name", ""), target.attr), ast.unparse(target)
    if rw.functions[0].name != "__init__" or pair not in rw.held.same or _computes(rw, node):
        return None
    stored = [n for n in ast.walk(owner) if isinstance(n, ast.Attribute) and ast.unparse(n) == text]
    if sum(isinstance(each.ctx, ast.Store) for each in stored) != 1 or not text.startswith("self."):
        return None
    said = f"{text} = {literal(rw.held.same[pair])}"
    rw.notes.append(f"{rw.where(node)}: {said} here, which it was when this ran")
    return said


def _computes(rw: Any, node: Any) -> bool:
    """Whether a tensor is read there, or torch was called, other than for a shape or a dtype."""
    import torch

    for name in (each.id for each in ast.walk(node) if isinstance(each, ast.Name)):
        if any(issubclass(kind, torch.Tensor) for kind in rw.kinds(name)):
            return True
    return any(
        not name.endswith(".__get__")
        for (file, line, _), seen in rw.record.calls.items()
        if file == rw.place.file and node.lineno <= line <= (node.end_lineno or 0)
        for name in seen
    )


def written(rw: Any, seen: Any, node: Any) -> str | None:
    """A function or a plain value as text; None where it has none."""
    if seen is None or isinstance(seen, bool | str):
        return repr(seen)
    seen = getattr(seen, "__wrapped__", seen)
    if "<" in seen.__qualname__ or torch_name(seen):
        return None
    try:
        return need(seen, seen.__name__, {}, seen.__module__, rw.needs, node)
    except Obstacle:
        return None


def _bound(function: Any, name: str) -> int:
    """How often a function gives a name to something."""
    nodes = (n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == name)
    return sum(isinstance(n.ctx, ast.Store) for n in nodes)


def way(rw: Any, node: ast.If) -> list[ast.stmt] | None:
    """The branch of an `if` that was always taken, maybe none, where its test cannot be written.

    None where both were, where it is not known, and where values of arrays may decide, or chance.
    """
    if _computes(rw, node.test) or keys.decide(rw, node.test):
        return None
    ran = (rw.place.file, node.lineno) in rw.record.lines
    first = (rw.place.file, node.body[0].lineno) in rw.record.lines
    other = bool(node.orelse) and (rw.place.file, node.orelse[0].lineno) in rw.record.lines
    always = bool(node.orelse) and first and not other
    if rw.trying or not ran or (first and not always):
        return None
    rw.notes.append(f"{rw.where(node)}: its condition is left out, which went one way")
    return node.body if first else node.orelse
