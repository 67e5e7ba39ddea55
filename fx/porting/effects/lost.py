"""Writes into an argument that only the caller would see: arrays here do not change.

A function that returns nothing returns that argument here, and its callers take it:

    def add_positions(self, x):      def add_positions(self, x):
        x.add_(self.positions)           x = x + self.positions
                                         return x
    self.add_positions(x)            x = self.add_positions(x)

One that returns something returns both, if a caller reads the argument afterwards.
"""

import ast
import types
from collections.abc import Iterator
from typing import Any

from fx.porting.calls import keys
from fx.porting.calls.named import free
from fx.porting.effects import owned, shared
from fx.porting.read.names import Obstacle
from fx.porting.read.record import is_users
from fx.porting.read.sources import definition


def check(rw: Any, node: ast.stmt, target: ast.expr) -> None:
    """Raise an obstacle where a function writes into what it does not read again.

    Into an argument: its caller reads that. Into a name of its own: it is another name's too.

    Args:
        rw: the rewriter.
        node: the statement that writes.
        target: what it writes into.
    """
    shared.check(rw, node, target)
    if not (isinstance(target, ast.Name) and rw.functions):
        return
    function, name = rw.functions[-1], target.id
    given = function.args
    taken = {arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    own = name not in taken - {"self"} or _bound_before(rw, node, name)
    if _read_again(rw, function, node, name):
        if not own:
            writes(rw, name)
        return
    if own:
        if name not in shared.stored([function]) or shared.is_copy(function, name, node):
            return  # of the function around this one; or nobody sees it
        raise Obstacle(
            node,
            f"writes into {name}, which is not read again: what else has these numbers is changed "
            "in PyTorch, and arrays here do not change; write into what is read afterwards (and a "
            "weight outside of forward, in the training step)",
        )
    if _returned(rw, function, name):
        return
    raise Obstacle(
        node,
        f"{function.name} writes into its argument {name}, which only its caller reads; return "
        f"{name} from it, and take it where it is called",
    )


def writes(rw: Any, name: str) -> None:
    """Note that a function writes into its argument, and gives something else, or the same."""
    rw.returns["writes", rw.functions[-1]] = name


def given_to_writer(rw: Any, node: ast.Call) -> str | None:
    """A call of a function that writes into an argument and returns something else.

    Where some caller reads the argument afterwards the function returns both.

    Args:
        rw: the rewriter.
        node: the call of a function or a method of the user's.

    Raises:
        Obstacle: the argument is read afterwards, and no statement can stand before the call's.
    """
    function = _callee(rw, node.func)
    written = rw.returns.get(("writes", function)) if rw.functions else None
    if written is None or (isinstance(rw.parent(node), ast.Expr) and _gives_back(rw, function)):
        return None  # an assignment here
    target = _given_as(function, node, written)
    named = isinstance(target, ast.Name) and target.id not in bound(rw, node)
    again = named and shared.read_again(rw, target.id, node)  # type: ignore[union-attr]
    again = again or owned.given_to(rw, node, function, target)
    if again and not (_is_alone(rw, node, target) and _always_returns(function)):
        raise Obstacle(
            node,
            f"{function.name} writes into its argument {written}, and {ast.unparse(target)} is "  # type: ignore[arg-type]
            f"read afterwards: arrays here do not change; give it {ast.unparse(target)}.clone()",  # type: ignore[arg-type]
        )
    if again:
        check(rw, shared.statement(rw, node), target)  # type: ignore[arg-type]
    if again and _gives_back(rw, function):
        rw.before.append(f"{ast.unparse(target)} = {keys.passed(rw, node) or rw.copy(node)}")  # type: ignore[arg-type]
        return ast.unparse(target)  # type: ignore[arg-type]
    if again:
        rw.returns["both", function] = written
    elif ("both", function) not in rw.returns:
        return None
    call = keys.passed(rw, node) or rw.copy(node)
    if not again:
        return f"{call}[0]"
    name = free(rw, "result")
    rw.before.append(f"{name}, {ast.unparse(target)} = {call}")  # type: ignore[arg-type]
    return name


def given_back(rw: Any, node: ast.Call) -> ast.expr | None:
    """The argument that a call changes and gives back; None of any other call."""
    function = _callee(rw, node.func)
    name = _gives_back(rw, function) if function is not None else None
    return _given_as(function, node, name) if name is not None else None


def both(rw: Any, node: ast.Return) -> str | None:
    """A return of what a function gives and of the argument that it has written into, or None."""
    name = rw.returns.get(("both", rw.functions[-1]))
    if name is None or node.value is None:
        return None
    value = rw.text(node.value)
    return f"return {f'({value})' if isinstance(node.value, ast.Tuple) else value}, {name}"


def _always_returns(function: Any) -> bool:
    """Whether a function ends with a value, and gives one wherever it ends."""
    ends = [node for node in _own(function) if isinstance(node, ast.Return)]
    return isinstance(function.body[-1], ast.Return) and all(node.value for node in ends)


def _is_alone(rw: Any, node: ast.Call, target: Any) -> bool:
    """Whether a call may be a statement before its own: always made, its argument read once."""
    statement, outer = shared.statement(rw, node), rw.parent(node)
    while outer is not statement:
        if isinstance(outer, ast.IfExp | ast.BoolOp | ast.Lambda | ast.comprehension):
            return False
        if isinstance(outer, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            return False
        outer = rw.parent(outer)
    text = ast.unparse(target)
    parts = [
        n for n in ast.walk(statement) if isinstance(n, type(target)) and ast.unparse(n) == text
    ]
    simple = isinstance(statement, ast.Assign | ast.AugAssign | ast.Return | ast.Expr)
    return simple and len(parts) == 1


def bound(rw: Any, node: ast.expr) -> set[str]:
    """The names that the statement around an expression binds."""
    statement = shared.statement(rw, node)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return set(shared.stored(targets))


def _given_as(function: Any, node: ast.Call, name: str) -> ast.expr | None:
    """What a call gives as the argument of a name."""
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    names = names[names[:1] == ["self"] :]
    return (dict(zip(names, node.args)) | {k.arg: k.value for k in node.keywords}).get(name)


def _read_again(rw: Any, function: Any, node: ast.stmt, name: str) -> bool:
    """Whether a name is read after a write; a loop reads again what stands before it there."""
    outer, again = rw.parent(node), node
    while outer is not None and outer is not function:
        if isinstance(outer, ast.For) and name in shared.stored([outer.target]):
            break  # each time it is another one
        again = outer if isinstance(outer, ast.For | ast.While) else again
        outer = rw.parent(outer)
    end = node.end_lineno, node.end_col_offset
    return any(
        (again is not node and any(part is read for part in ast.walk(again)))
        or (read.lineno, read.col_offset) > end
        for read in _reads(rw, function, name)
    )


def _returned(rw: Any, function: Any, name: str) -> bool:
    """Note that a function is to return an argument, where it returns nothing else.

    Its callers know when all is written once more.
    """
    gives = any(isinstance(n, ast.Return) and n.value is not None for n in _own(function))
    if gives or function is not rw.functions[0]:
        return False
    return rw.returns.setdefault(function, name) == name


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _callee(rw: Any, function: ast.expr) -> Any:
    """The definition of what is called: of this file, or of the class that this stands in."""
    if isinstance(function, ast.Name) and isinstance(
        own := rw.source.names.get(function.id), ast.FunctionDef
    ):
        return own
    known, value = rw.resolve(function)
    if known:
        place = definition(value) if isinstance(value, types.FunctionType) else None
        return place.node if place is not None and is_users(place.file) else None
    if not (isinstance(function, ast.Attribute) and ast.unparse(function.value) == "self"):
        return None
    owner = rw.parent(rw.functions[0]) if rw.functions else None
    inside = [*getattr(owner, "body", ()), *ast.walk(rw.source.tree)]
    kind = ast.FunctionDef
    return next((n for n in inside if isinstance(n, kind) and n.name == function.attr), None)


def returned(rw: Any, function: Any) -> str | None:
    """The argument that a function returns here, having changed it in torch."""
    return rw.returns.get(function)


def taken(rw: Any, node: ast.Call) -> str | None:
    """A call, standing alone, of a function that returns an argument here, as an assignment."""
    function = _callee(rw, node.func)
    if not isinstance(function, ast.FunctionDef):
        return None
    written = returned(rw, function) or _gives_back(rw, function)
    if written is None:
        return None
    target = _given_as(function, node, written)
    owner = getattr(rw.parent(rw.functions[0]), "name", "") if rw.functions else ""
    own = isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
    if own and (owner, getattr(target, "attr", "")) in rw.held.buffers:
        return f"{rw.text(target)} = {rw.text(node)}"
    if not isinstance(target, ast.Name):
        said = f"{function.name} writes into its argument {written}; give what it is a name first"
        raise Obstacle(node, said)
    check(rw, rw.parent(node), target)
    return f"{target.id} = {rw.text(node)}"


def _gives_back(rw: Any, function: Any) -> str | None:
    """The argument that a function changes and returns, and nothing else."""
    name = rw.returns.get(("writes", function))
    given = [ast.unparse(n.value) for n in _own(function) if isinstance(n, ast.Return) and n.value]
    return name if set(given) == {name} else None


def _bound_before(rw: Any, node: ast.stmt, name: str) -> bool:
    """Whether the name is of the function's own by then."""
    return any(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store)
        and part.lineno < node.lineno and not isinstance(rw.parent(part), ast.AugAssign)
        for part in ast.walk(rw.functions[-1])
    )  # fmt: skip


def _reads(rw: Any, function: Any, name: str) -> Iterator[ast.Name]:
    """Where the name is read, other than to write into it."""
    for part in ast.walk(function):
        if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load):
            owner = rw.parent(part)
            if isinstance(owner, ast.Subscript) and owner.value is part:
                if isinstance(owner.ctx, ast.Store):
                    continue
                owner = rw.parent(owner)
            call = rw.parent(owner)
            alone = isinstance(call, ast.Call) and isinstance(rw.parent(call), ast.Expr)
            writes = isinstance(owner, ast.Attribute) and owner.attr.endswith("_")
            if not (writes and alone and call.func is owner):
                yield part
