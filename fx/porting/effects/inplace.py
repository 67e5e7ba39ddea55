"""Statements that change a tensor in place: here they give its name another array."""

import ast
from collections.abc import Iterator
from typing import Any

from fx.porting.calls.calls import Call, simple, wrapped
from fx.porting.calls.named import free, named
from fx.porting.effects import declared, held, lost, owned, rows, shared
from fx.porting.read.names import Obstacle
from fx.porting.read.record import Shape

AUGMENTED = {ast.Add: "add", ast.Mult: "multiply", ast.Div: "divide"}
IN_PLACE = {
    "copy_": "set", "fill_": "set", "zero_": "set", "add_": "add", "mul_": "multiply",
    "div_": "divide",
}  # fmt: skip


def call(rw: Any, node: ast.Call) -> str:
    """`x.mul_(2)` and `x.mul_(2).add_(1)`, standing alone, as assignments."""
    assert isinstance(node.func, ast.Attribute)
    target, word = node.func.value, node.func.attr
    while _changes(rw, target):
        target = target.func.value  # type: ignore[attr-defined]
    if not (isinstance(target, ast.Subscript) and _is_part(rw, target)):
        return put(rw, rw.parent(node), target, rw.text(node))
    if _chosen(rw, target):
        raise Obstacle(
            node,
            f"{word} changes a copy, as an index of arrays makes one, and PyTorch leaves the "
            "tensor as it was; leave the line out, or write x[...] += ...",
        )
    plain = target is node.func.value and not node.keywords and len(node.args) < 2
    if word not in IN_PLACE or not plain:
        return _stored(rw, rw.parent(node), target, "set", rw.text(node))
    value = rw.text(node.args[0]) if node.args else "0"
    return _stored(rw, rw.parent(node), target, IN_PLACE[word], value)


def function(key: str | None, node: ast.Call) -> bool:
    """Whether a call is of a function that changes its first argument."""
    head, _, word = (key or "").rpartition(".")
    asked = any(k.arg == "inplace" and ast.unparse(k.value) != "False" for k in node.keywords)
    return head in ("F", "torch") and bool(node.args) and (asked or shared.in_place(word))


def kept(rw: Any, node: ast.Call, key: str, text: str | None) -> str | None:
    """`z = y.clamp_(0)`, where y is read afterwards: `z = (y := jnp.maximum(y, 0))`."""
    method = key.startswith("Tensor.") and shared.in_place(key)
    if text is None or isinstance(rw.parent(node), ast.Expr) or not rw.functions:
        return text
    if not (method or function(key, node)):
        return text
    target: ast.expr = node.func.value if method else node.args[0]  # type: ignore[attr-defined]
    if not isinstance(target, ast.Name) or target.id in lost.bound(rw, node):
        return text
    shared.check(rw, shared.statement(rw, node), target)
    arguments = {arg.arg for arg in ast.walk(rw.functions[-1]) if isinstance(arg, ast.arg)}
    if target.id in arguments:
        lost.writes(rw, target.id)
    if not shared.read_again(rw, target.id, node):
        return text
    if target.id in {name for each in _comprehensions(rw, node) for name in shared.stored([each])}:
        raise Obstacle(
            node,
            f"{ast.unparse(node)[:60]} writes into the variable of a comprehension, which reads it "
            "again; write a loop, with the write on a line of its own",
        )
    return f"({target.id} := {text})"


def _comprehensions(rw: Any, node: Any) -> Iterator[ast.expr]:
    """The comprehensions that an expression stands in."""
    while not isinstance(node, ast.stmt):
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            yield node
        node = rw.parent(node)


def _changes(rw: Any, node: ast.expr) -> bool:
    """Whether an expression is a call that changes its tensor and returns it."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    word = node.func.attr
    key, _ = rw.torch_key(node)
    return key == f"Tensor.{word}" and shared.in_place(word)


def put(rw: Any, node: ast.stmt, target: ast.expr, value: str) -> str:
    """The assignment that has a name or a part of one stand for a new value."""
    if isinstance(target, ast.Attribute) and target.attr == "data":
        target = target.value
    if isinstance(target, ast.Subscript) and _is_part(rw, target) and not _chosen(rw, target):
        return _stored(rw, node, target, "set", value)
    found = rows.row(rw, node, target.id) if isinstance(target, ast.Name) else None
    if found is not None:
        tensor, place, again = found
        if not again:
            return put(rw, node, tensor, f"{tensor.id}.at[{place}].set({value})")
        whole = put(rw, node, tensor, f"{tensor.id}.at[{place}].set({target.id})")
        return f"{target.id} = {value}{shared.between(rw, node)}{whole}"
    lost.check(rw, node, target)
    rest, name = owned.after(rw, node, target), rw.text(target)
    if held.shadows(rw, node, target):
        return f"{name} = {name} + jax.lax.stop_gradient({wrapped(value)} - {name})"
    if not simple(name) and not (isinstance(target, ast.Subscript) and not _is_part(rw, target)):
        raise Obstacle(
            node,
            f"writes through {ast.unparse(target)[:60]!r}, and arrays here do not change; write "
            "into what has a name",
        )
    if (declaration := declared.anew(rw, node, target, value)) is not None:
        return f"{name} = {declaration}"
    return f"{name} = {f'jax.lax.stop_gradient({value})' if rw.constant else value}{rest}"


def _stored(rw: Any, node: ast.stmt, target: ast.Subscript, method: str, value: str) -> str:
    """The assignment that changes a part of an array."""
    name, index = rw.text(target.value), rw.text(target.slice)
    if isinstance(target.value, ast.Name) and (found := rows.row(rw, node, target.value.id)):
        tensor, place, again = found
        if not again:
            stored = f"{tensor.id}.at[{place}, {index}].{method}({value})"
            return put(rw, node, tensor, stored)
    return put(rw, node, target.value, f"{wrapped(name)}.at[{index}].{method}({value})")


def _is_part(rw: Any, target: ast.Subscript) -> bool:
    """Whether `x[i]` is a part of a tensor, and no entry of a list."""
    return (
        not rw.seen(target)
        .keys()
        .isdisjoint({"torch.Tensor.__getitem__", "torch.Tensor.__setitem__"})
    )


def _chosen(rw: Any, target: ast.Subscript) -> bool:
    """Whether an index has arrays or lists in it, so that it copies and may name a place twice."""
    seen = rw.seen(target)
    facts = [*seen.get("torch.Tensor.__getitem__", ()), *seen.get("torch.Tensor.__setitem__", ())]
    indices = [fact.args[1] for fact in facts]
    parts = [part for index in indices for part in (index if type(index) is tuple else (index,))]
    return any(isinstance(part, Shape | list) and getattr(part, "shape", 1) != () for part in parts)


def stores(rw: Any, target: ast.Subscript) -> bool:
    """Whether an assignment to `x[i]` writes into a tensor."""
    return bool(_writes(rw, target))


def stored(rw: Any, node: ast.Assign, target: ast.Subscript) -> str:
    """`x[i] = y`."""
    if _overlap(node.value, target):
        said = "may read what it writes, and then PyTorch's numbers depend on the order: clone() it"
        rw.notes.append(f"{rw.where(node)}: {ast.unparse(node)[:60]} {said}")
    value, values = rw.text(node.value), [fact.args[2] for fact in _writes(rw, target)]
    mask = _mask(rw, target, values, node.value)
    if mask is None and (other := _same_places(target, node.value, values, rw)) is not None:
        mask = _mask(rw, target, [])
        value = value if mask is None else rw.text(other)
    if mask is not None:
        name = rw.text(target.value)
        return put(rw, node, target.value, f"jnp.where({mask}, {value}, {name})")
    return _stored(rw, node, target, "set", value)


def tuples(rw: Any, node: ast.Assign, target: ast.Tuple) -> str | None:
    """`a[:2], b = f(x)`: what is given gets a name, and its parts go where they belong."""
    into = [each for each in target.elts if isinstance(each, ast.Subscript) and stores(rw, each)]
    if not into:
        return None
    if any(_mask(rw, each, []) is not None or _chosen(rw, each) for each in into):
        raise Obstacle(
            node,
            f"{ast.unparse(node)[:60]}: a mask or an array chooses where several values go; write "
            "them one by one, with torch.where",
        )
    name = free(rw, "parts")
    lines = [f"{name} = {rw.text(node.value)}"]
    for place, each in enumerate(target.elts):
        value = f"{name}[{place}]"
        if each in into:
            lines.append(_stored(rw, node, each, "set", value))  # type: ignore[arg-type]
        else:
            lines.append(f"{rw.text(each)} = {value}")
    return shared.between(rw, node).join(lines)


def _overlap(value: ast.expr, target: ast.Subscript) -> bool:
    """Whether `y[:, 1:] = y[:, :-1]`: two different slices of one tensor."""
    if not isinstance(value, ast.Subscript):
        return False
    parts = ast.unparse(value.slice), ast.unparse(target.slice)
    same = ast.unparse(value.value) == ast.unparse(target.value)
    return same and parts[0] != parts[1] and all(":" in part for part in parts)


def _same_places(target: Any, node: ast.expr, values: list, rw: Any) -> ast.expr | None:
    """What `x[mask] = y[mask]` reads of, y, where it has x's dtype; None of anything else."""
    if not isinstance(node, ast.Subscript) or not _is_part(rw, node):
        return None
    if ast.unparse(node.slice) != ast.unparse(target.slice):
        return None
    kinds = {fact.args[0].dtype for fact in _writes(rw, target)}
    kinds |= {value.dtype for value in values if isinstance(value, Shape)}
    return node.value if len(kinds - {"torch.bool"}) == 1 else None  # the mask is among them


def _writes(rw: Any, target: ast.Subscript) -> list:
    return rw.seen(target).get("torch.Tensor.__setitem__", [])


def _mask(
    rw: Any, target: ast.Subscript, values: list, written: ast.expr | None = None
) -> str | None:
    """An index that is a mask, as a condition; None where each chosen place has its own value.

    What a part holds, `self.embedding.weight` [1, C], is one value for all, and no row for each.
    """
    new, one = set(), written is not None and _of_self(written)
    for tensor, chosen, *_ in (fact.args for fact in _writes(rw, target)):
        if not isinstance(chosen, Shape) or chosen.dtype != "torch.bool":
            return None
        rest = tensor.shape[len(chosen.shape) :]
        allowed = ((), rest, (1, *rest)) if one else ((), rest)
        if any(isinstance(value, Shape) and value.shape not in allowed for value in values):
            return None
        new.add(len(rest))
    if len(new) != 1:
        return None
    index = rw.text(target.slice)
    return f"{wrapped(index)}[...{', None' * new.pop()}]" if new != {0} else index


def _of_self(node: ast.expr) -> bool:
    """Whether it is what a part holds: `self.embeddings[0].weight`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
            return False
        node = node.value
    return isinstance(node, ast.Name) and node.id == "self"


def augmented(rw: Any, node: ast.AugAssign, target: ast.expr) -> str | None:
    """`x[i] += y`; None where Python's own statement does the same."""
    seen = rw.seen(node)
    facts = [f for name, each in seen.items() if name.startswith("torch.Tensor.") for f in each]
    if not isinstance(target, ast.Subscript):
        if any(name.startswith("torch.Tensor.") and name.endswith("_") for name in seen):
            if isinstance(target, ast.Name) and rows.row(rw, node, target.id):
                value = f"{target.id} {_operator(node)} {wrapped(rw.text(node.value))}"
                return put(rw, node, target, value)
            lost.check(rw, node, target)
            if rest := owned.after(rw, node, target):
                return f"{rw.copy(node)}{rest}"
        if isinstance(target, ast.Attribute) and target.attr == "data":
            value = f"{rw.text(target.value)} {_operator(node)} {wrapped(rw.text(node.value))}"
            return put(rw, node, target, value)
        if declared.anew(rw, node, target, "") is not None:
            value = f"{rw.text(target)} {_operator(node)} {wrapped(rw.text(node.value))}"
            return put(rw, node, target, value)
        return None
    if not stores(rw, target):
        return None
    value, values = rw.text(node.value), [fact.args[1] for fact in facts if len(fact.args) > 1]
    mask = _mask(rw, target, values, node.value)
    if mask is None and (other := _same_places(target, node.value, values, rw)) is not None:
        mask = _mask(rw, target, [])
        value = value if mask is None else rw.text(other)
    if mask is not None:
        name = rw.text(target.value)
        text = f"jnp.where({mask}, {name} {_operator(node)} {wrapped(value)}, {name})"
        return put(rw, node, target.value, text)
    if _chosen(rw, target) or type(node.op) not in (*AUGMENTED, ast.Sub):
        return _once(rw, node, target, value)
    if isinstance(node.op, ast.Sub):
        return _stored(rw, node, target, "add", f"-{wrapped(value)}")
    return _stored(rw, node, target, AUGMENTED[type(node.op)], value)


def _operator(node: ast.AugAssign) -> str:
    return ast.unparse(node).removeprefix(ast.unparse(node.target)).split("=")[0].strip()


def _once(rw: Any, node: ast.AugAssign, target: ast.Subscript, value: str) -> str:
    """`x[index] += y` for an index that may name a place twice: torch adds there once."""
    name, index = rw.text(target.value), rw.text(target.slice)
    first = again = index
    parts = list(ast.walk(target.slice))
    if any(isinstance(part, ast.Call) for part in parts):
        if any(isinstance(part, ast.Slice) for part in parts):
            raise Obstacle(node, f"[{index}] would be written twice; give its arrays names first")
        whole = f"({index})" if isinstance(target.slice, ast.Tuple) else index
        given: Any = Call("", node, [], {}, [], rw)  # type: ignore[arg-type]
        first, again = named(given, whole, "places")
    value = f"{wrapped(name)}[{again}] {_operator(node)} {wrapped(value)}"
    return put(rw, node, target.value, f"{wrapped(name)}.at[{first}].set({value})")
