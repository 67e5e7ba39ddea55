"""Where random numbers get their key: from the module at hand, or from who calls a function."""

import ast
import random
from typing import Any

import numpy as np

from fx.porting.calls import listed
from fx.porting.read.names import Obstacle
from fx.porting.read.record import unscripted


def text(rw: Any, node: Any, trains: bool = False) -> str:
    """The text that draws a key for random numbers: a module's, or the function's own.

    Args:
        rw: What is written.
        node: The call that draws.
        trains: Whether it draws where the model trains, and not in evaluation.
    """
    function = rw.functions[0] if rw.functions else None
    if function is None:
        raise Obstacle(node, "draws random numbers outside of a function")
    if function.name == "__init__":
        nth = rw.drawn[function] = rw.drawn.get(function, -1) + 1
        where = f"{rw.place.module.rpartition('.')[2]}.py:{node.lineno}"
        rw.notes.append(f"{where}: numbers drawn in a constructor are the same each time; nn.init")
        return f"jax.random.key({nth})"
    if (module := _module(rw, function)) is not None:
        return f"{module}.next_key()"
    if isinstance(rw.parent(function), ast.ClassDef):
        raise Obstacle(node, "draws random numbers without self; draw them where it is called")
    which = id(unscripted(rw.names.get(function.name)))
    ran = any((rw.place.file, n) in rw.record.evaluated for n in lines(node))
    rw.draws[which] = rw.draws.get(which, False) or (ran and not trains)
    nth = rw.drawn[function] = rw.drawn.get(function, -1) + 1
    return f"jax.random.fold_in(key, {nth})" if nth else "key"


def passed(rw: Any, node: ast.Call) -> str | None:
    """A call of a function that draws random numbers, with a key; None for any other."""
    known, value = rw.resolve(node.func)
    if _samples(rw, node):
        key = text(rw, node)
    elif not known or id(value) not in rw.draws:
        return listed.copied(rw, node)
    else:
        trains = not rw.draws[id(value)]
        key = text(rw, node, trains)
        key += " if self.training else None" * (trains and key.startswith("self"))
    written = rw.copy(node)[:-1].rstrip().rstrip(",")
    return f"{written}{', ' if node.args or node.keywords else ''}key={key})"


def _samples(rw: Any, node: ast.Call) -> bool:
    """Whether a call draws from one of `torch.distributions`: `Normal(mean, std).rsample()`."""
    function = node.func
    if not (isinstance(function, ast.Attribute) and function.attr in ("sample", "rsample")):
        return False
    if not rw.functions or ast.unparse(function.value) in ("self", "super()"):
        return False
    owner = function.value
    if isinstance(owner, ast.Name) and (kinds := rw.kinds(owner.id)):
        return all(kind.__module__.startswith("torch.distributions") for kind in kinds)
    reads = [value for name, value in rw.names.items() if not name.startswith("__")]
    owners = (getattr(value, "__module__", None) or "" for value in reads)
    names = ast.walk(rw.source.tree)
    written = any(isinstance(n, ast.Attribute) and n.attr == "distributions" for n in names)
    return written or any(str(each).startswith("torch.distributions") for each in owners)


def _module(rw: Any, function: Any) -> str | None:
    """The argument of a function that is a module: itself, or one it is given."""
    first, given = rw.source.first_line(function), function.args.args
    if given and given[0].arg == "self":
        return "self"
    for name in (arg.arg for arg in given):
        kinds = rw.record.locals.get((rw.place.file, first, name), set())
        if kinds and all(hasattr(kind, "register_forward_hook") for kind in kinds):
            return name
    return None


def refuse_others(rw: Any, node: ast.Call) -> None:
    """Say where a forward draws Python's or NumPy's numbers.

    Raises:
        Obstacle: It does in evaluation; a note says where it does in training alone.
    """
    if not rw.functions or rw.functions[0].name == "__init__":
        return
    if _draws_elsewhere(rw, node):
        said = (
            f"{ast.unparse(node)[:80]}: what is compiled would draw this number once, for all "
            "calls; draw it with torch.rand, and choose by torch.where"
        )
        if rw.trying or any((rw.place.file, n) in rw.record.evaluated for n in lines(node)):
            raise Obstacle(node, said)
        rw.notes.append(f"{rw.place.module.rpartition('.')[2]}.py:{node.lineno}: {said}")


def _draws_elsewhere(rw: Any, node: ast.Call) -> bool:
    """Whether a call draws one of Python's or NumPy's numbers."""
    known, value = rw.resolve(node.func)
    owner = getattr(value, "__self__", None) if known else None
    python = isinstance(owner, random.Random) or getattr(value, "__module__", "") == "secrets"
    return known and (python or isinstance(owner, np.random.RandomState))


def decide(rw: Any, test: ast.expr) -> bool:
    """Whether a condition draws a number that no program draws anew: `random.random() < p`."""
    return any(_draws_elsewhere(rw, n) for n in ast.walk(test) if isinstance(n, ast.Call))


def lines(node: ast.expr) -> range:
    """The lines that an expression is on."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
