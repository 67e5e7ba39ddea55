"""Statements of PyTorch that have another form here."""

import ast
import re
from typing import Any, NamedTuple

from fx.porting.calls import above, constant, listed, moved, observed, statistics, unseen
from fx.porting.calls.calls import DROP, MARK, whole
from fx.porting.calls.decided import decided
from fx.porting.effects import cached, declared, held, inplace, lost, replaced, shared
from fx.porting.model import bound
from fx.porting.read.names import Obstacle
from fx.porting.text import checked, contexts  # fmt: skip
from fx.porting.text.blocks import block, loop
from fx.porting.text.heads import annotation, default, kept
from fx.porting.text.initial import docstring, initialises, is_reported, left_out, reports
from fx.porting.text.rewrite import Rewriter


def statement(rw: Rewriter, node: ast.stmt) -> str | None:
    """The ported text of a statement, DROP to leave it out, None to write it as its parts are."""
    if checked.asks_values(rw, node):
        rw.notes.append(f"{rw.where(node)} checks values, and was left out")
        return DROP
    held.check(rw, node)
    if held.left_out(rw, node):
        return _effect(rw, node)
    if held.settled(rw, node):
        return DROP
    if isinstance(node, ast.FunctionDef):
        return _function(rw, node)
    if isinstance(node, ast.If):
        return _if(rw, node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _call(rw, node.value)
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        if isinstance(node.targets[0], ast.Tuple) and (
            made := replaced.tuples(rw, node, node.targets[0])
            or inplace.tuples(rw, node, node.targets[0])
        ):
            return made
        return _assign(rw, node, node.targets[0])
    if isinstance(node, ast.AugAssign):
        if initialises(rw, [node]):
            return left_out(rw, node)
        return inplace.augmented(rw, node, node.target)
    if isinstance(node, ast.AnnAssign):
        return _annotated(rw, node)
    if isinstance(node, ast.Return) and rw.functions:
        if (both := lost.both(rw, node)) is not None:
            return both
        if node.value is not None:
            return statistics.statement(rw, node)
        argument = lost.returned(rw, rw.functions[-1])
        return f"return {argument}" if argument else None
    if isinstance(node, ast.With) and contexts.dropped(rw, node):
        with constant.Constant(rw, [item.context_expr for item in node.items], node):
            return _dedented(rw, node) + constant.condition(rw, node)
    if isinstance(node, ast.Import | ast.ImportFrom) and rw.functions:
        names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        return DROP if all(name in rw.imports for name in names) else None
    if isinstance(node, ast.For) and initialises(rw, [node]):
        return left_out(rw, node)
    return loop(rw, node) if isinstance(node, ast.For | ast.While) else None


def _effect(rw: Rewriter, node: Any) -> str:
    """What is left of an assignment that is left out: a call of a part may have state."""
    calls = [part for part in ast.walk(node.value) if isinstance(part, ast.Call)]
    parts = any("self" in ast.unparse(c.func) and rw.torch_key(c)[0] is None for c in calls)
    return rw.text(node.value) if parts else DROP


def _function(rw: Rewriter, node: ast.FunctionDef) -> str:
    """A function without torch's decorators; what it did not run may be left out."""
    with rw.inside(node), constant.Constant(rw, node.decorator_list, node):
        parts = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parts += [arg for arg in (node.args.vararg, node.args.kwarg) if arg]
        written = {id(arg): _argument(rw, arg) for arg in parts}
        defaults = [d for d in [*node.args.defaults, *node.args.kw_defaults] if d is not None]
        start, end = rw.source.span(node)
        at = rw.source.starts[node.lineno - 1] + node.col_offset
        pieces = [f"@{rw.text(d)}\n{' ' * node.col_offset}" for d in kept(rw, node)]
        pieces_of: list[tuple[Any, str]] = [(arg, written[id(arg)]) for arg in parts]
        pieces_of += [(each, default(rw, each)) for each in defaults]
        if node.returns is not None:
            pieces_of.append((node.returns, annotation(rw, node.returns)))
        body = _without_devices(node, block(rw, node.body))
        pad = "\n" + " " * node.body[0].col_offset
        first = "".join(f"{line}{pad}" for line in listed.arguments(rw, node))
        if first and docstring(node.body[0]):
            said = rw.source.segment(node.body[0])
            body = body.replace(said, f"{said}{pad}{first}".removesuffix(pad), 1)
        else:
            body = first + body
        if rw.takes_key(node) and (parts or defaults):
            pieces_before = [(c, t) for c, t in pieces_of if c is not node.args.kwarg]
            last = max(
                pieces_before[: len(parts) + len(defaults) - (node.args.kwarg is not None)],
                key=lambda each: rw.source.span(each[0]),
            )
            pieces_of[pieces_of.index(last)] = (last[0], f"{last[1]}, key=None")
        for child, text in sorted(pieces_of, key=lambda each: rw.source.span(each[0])):
            first, last = rw.source.span(child)
            pieces += [rw.source.text[at:first].decode(), text]
            at = last
        if argument := lost.returned(rw, node):
            body = f"{body}\n{' ' * node.body[0].col_offset}return {argument}"
        first = rw.source.span(node.body[0])[0]
        return "".join([*pieces, rw.source.text[at:first].decode(), body])


def _without_devices(node: ast.FunctionDef, body: str) -> str:
    """The body without `device = x.device` where nothing reads it any more."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assign) and getattr(part.value, "attr", "") == "device":
            name = ast.unparse(part.targets[0])
            if len(re.findall(rf"\b{re.escape(name)}\b", body)) == 1:
                body = body.replace(f"{name} = None", DROP)
    return body


def _argument(rw: Rewriter, node: ast.arg) -> str:
    return node.arg if node.annotation is None else f"{node.arg}: {annotation(rw, node.annotation)}"


def _annotated(rw: Rewriter, node: ast.AnnAssign) -> str:
    if node.value is None and not rw.functions and not _is_data(rw, node):
        return DROP
    value = f" = {rw.text(node.value)}" if node.value is not None else ""
    return f"{rw.text(node.target)}: {annotation(rw, node.annotation)}{value}"


def _is_data(rw: Rewriter, node: ast.stmt) -> bool:
    parent = rw.parent(node)
    if not isinstance(parent, ast.ClassDef):
        return False
    return bool(kept(rw, parent)) or NamedTuple in [rw.resolve(base)[1] for base in parent.bases]


def _if(rw: Rewriter, node: ast.If) -> str | None:
    """An `if` whose test torch's compilers decide is decided; branches that did not run may go."""
    filled = cached.filled(rw, node)
    if filled is not None:
        return _shifted(rw, node, filled)
    value = decided(rw, node.test)
    if value is True:
        return _dedented(rw, node)
    if value is False and not node.orelse:
        return DROP
    if value is False:
        if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            return rw.text(node.orelse[0])
        return _shifted(rw, node, node.orelse)
    try:
        test = rw.text(node.test) if value is None else value
    except Obstacle:
        taken = observed.way(rw, node)
        if taken is None:
            raise
        return _shifted(rw, node, taken) if taken else DROP
    pieces = [f"if ({test}):" if "\n" in test else f"if {test}:"]
    head = rw.source.span(node.test)[1]
    first = rw.source.span(node.body[0])[0]
    between = rw.source.text[head:first].decode()
    body = block(rw, node.body)
    if body.strip(f"pas{DROP} \n") == "" and body.startswith("pass") and not node.orelse:
        return DROP
    pieces += [between[between.index(":") + 1 :], body]
    if node.orelse:
        last = rw.source.span(node.body[-1])[1]
        first = rw.source.span(node.orelse[0])[0]
        between = rw.source.text[last:first].decode()
        if rw.source.text[first : first + 4] == b"elif":
            pieces += _elif(node, between, rw.text(node.orelse[0]))
        else:
            pieces += [between, block(rw, node.orelse)]
    return "".join(pieces)


def _elif(node: ast.If, between: str, inner: str) -> list[str]:
    """What follows an `if`, where its text may have become another statement, or none."""
    bare = inner.split(MARK, 2)[-1]
    if bare.startswith("if "):
        return [between, f"el{bare}"]
    if inner == DROP:
        return []
    return [between, f"else:\n{' ' * node.col_offset}    ", _indented(inner)]


def _call(rw: Rewriter, node: ast.Call) -> str | None:
    """A call that stands alone."""
    if (made := above.constructor(rw, node)) is not None:
        return made or DROP
    if (declaration := declared.buffer(rw, node) or declared.appended(rw, node)) is not None:
        return declaration
    key, _ = rw.torch_key(node)
    if key is None and moved.module_of(rw, node) is not None:
        return DROP
    word = (key or "").rpartition(".")[2]
    if word.startswith(("_check_tensor_all", "_assert_async")):
        rw.notes.append(f"{rw.where(rw.parent(node))} checks values, and was left out")
        return DROP
    if key in ("torch._assert", "torch._check") or word in ("_assert", "_check"):
        return checked.asserted(rw, node)
    if rw.trying and key is None and getattr(node.func, "attr", "") in inplace.IN_PLACE:
        raise Obstacle(node, "did not run, so that what it writes to is not known")
    if key == "Tensor.requires_grad_":
        return DROP
    if (assigned := lost.taken(rw, node)) is not None:
        return assigned
    known, value = rw.resolve(node.func)
    if known and getattr(value, "__name__", "") == "_log_api_usage_once":
        return DROP
    if isinstance(node.func, ast.Attribute) and observed.is_log(rw, node.func.value):
        return DROP
    if initialises(rw, [ast.Expr(node)]):
        return left_out(rw, node)
    if ast.unparse(node) in ("self.train()", "self.eval()") and rw.functions[0].name == "__init__":
        return DROP  # whether it trains is said where it is called
    hooks = re.fullmatch(r"register_\w*hook", getattr(node.func, "attr", ""))
    if reports(rw, node) or (hooks and rw.functions[0].name == "__init__"):  # a note tells of hooks
        return DROP
    if key and key.startswith("Tensor.") and shared.in_place(word):
        return inplace.call(rw, node)
    if inplace.function(key, node):  # F.relu_(x), F.relu(x, inplace=True)
        return inplace.put(rw, rw.parent(node), node.args[0], rw.text(node))
    return None


def _assign(rw: Rewriter, node: ast.Assign, target: ast.expr) -> str | None:
    if rw.trying and isinstance(target, ast.Subscript) and unseen.store(rw, target):
        raise Obstacle(node, "did not run, so that what it writes is not known")
    if constant.is_so_already(rw, node, target) or moved.itself(node, target):
        return DROP
    if bound.is_made(rw, target) or is_reported(rw, node):
        return DROP
    if (changed := replaced.statement(rw, node, target)) is not None:
        return changed
    if isinstance(target, ast.Subscript) and initialises(rw, [node]):
        return left_out(rw, node)
    if isinstance(target, ast.Subscript) and inplace.stores(rw, target):
        return inplace.stored(rw, node, target)
    if (put := held.where_it_is(rw, node, target)) is not None:
        return put
    if (kind := listed.of_modules(rw, node, target)) is not None:
        return f"{rw.text(target)} = {kind}({rw.text(node.value)})"
    if (table := declared.table(rw, node, target)) is not None:
        return table
    stored = cached.stored(rw, target)
    if stored is not None:
        return f"{stored} = {rw.text(node.value)}"
    if declared.is_tensor(rw, node, target) and held.is_begun(rw, target):
        return DROP
    if declared.is_tensor(rw, node, target):
        return f"{rw.text(target)} = {declared.unregistered(rw, node.value, target)}"
    if cached.is_key(rw, node):
        return DROP
    if declared.is_anew(rw, node, target):
        return f"{rw.text(target)} = {declared.anew(rw, node, target, rw.text(node.value))}"
    if initialises(rw, [node]):
        return left_out(rw, node)
    if isinstance(target, ast.Attribute) and target.attr == "data":
        return inplace.put(rw, node, target, rw.text(node.value))
    if (normed := statistics.statement(rw, node)) is not None:
        return normed
    both = _path(node.value), _path(target)
    if all(both) and both[0] != both[1] and str(both[0]).rpartition(".")[2] in ("weight", "bias"):
        if "." in str(both[1]):
            return declared.tie(rw, node, str(both[1]), str(both[0]))
    if isinstance(target, ast.Name | ast.Attribute) and isinstance(node.value, ast.Call):
        written = whole(rw.text(node.value))
        return DROP if written == rw.text(target) else f"{rw.text(target)} = {written}"
    return None


def _path(node: ast.expr) -> str | None:
    """`self.a.b` as "a.b"."""
    text = ast.unparse(node)
    dotted = all(isinstance(n, ast.Attribute | ast.Name | ast.expr_context) for n in ast.walk(node))
    return text.removeprefix("self.") if dotted and text.startswith("self.") else None


def _dedented(rw: Rewriter, node: Any) -> str:
    """The body of a block in place of the block."""
    return _shifted(rw, node, node.body)


def _shifted(rw: Rewriter, node: Any, body: list[ast.stmt]) -> str:
    less = body[0].col_offset - node.col_offset
    text = block(rw, body)
    if text.strip(f"{DROP} \n") == "pass" and not isinstance(body[0], ast.Pass):
        return DROP
    return text.replace("\n" + " " * body[0].col_offset, "\n" + " " * (body[0].col_offset - less))


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")
