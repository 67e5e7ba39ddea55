"""Calls that write to places given by indices, and those that give values and places."""

import ast

from fx.porting.calls import Call, simple, wrapped
from fx.porting.named import named
from fx.porting.record import Shape

_METHODS = {"add": "add", "sum": "add", "multiply": "multiply", "prod": "multiply", "amax": "max",
            "amin": "min"}  # fmt: skip


def scatter(call: Call) -> str:
    """`x.scatter(1, index, src)` and its kin: `x.at[jnp.arange(n)[:, None], index].set(src)`."""
    dim, index = call.argument(1, "dim"), call.argument(2, "index")
    given = call.kwargs.get("value", call.argument(3, "src"))
    reduce, own = call.argument(4, "reduce"), call.argument(5, "include_self")
    if dim is None or index is None or given is None or not call.facts:
        raise call.obstacle("it did not run, so that its axes are not known")
    word = call.key.rpartition(".")[2]
    method = "add" if word.startswith("scatter_add") else "set"
    if reduce is not None:
        method = _METHODS.get(str(getattr(reduce, "value", "")), "")
    if not method or (own is not None and ast.unparse(own) != "True"):
        raise call.obstacle("this reduction has no counterpart here; write it with x.at[...]")
    x, value, place = call.receiver(), call.text(given), call.text(index)
    tensor, indices = _shapes(call)
    axis = int(call.text(dim)) % len(tensor) if call.text(dim).lstrip("-").isdigit() else None
    if axis is None:
        raise call.obstacle("its axis is not known here; write it with x.at[...]")
    whole = all(a == b for n, (a, b) in enumerate(zip(tensor, indices)) if n != axis)
    if method == "set" and whole and len(tensor) > 1 and not simple(place):
        return f"jnp.put_along_axis({x}, {place}, {value}, axis={axis}, inplace=False)"
    text = _places(place, axis, len(tensor))
    if len(tensor) > 1 and not simple(place):
        name = "places" + "_" * ("places" in set().union(*call.rewriter.scopes))
        text = _places(name, axis, len(tensor)).replace(name, f"({name} := {place})", 1)
    return f"{x}.at[{text}].{method}({value})"


def _shapes(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the tensor and of the index, as they were seen first."""
    for fact in call.facts:
        values = [*fact.args, *fact.kwargs.values()]
        tensor, index, *source = (v.shape for v in values if isinstance(v, Shape))
        if source and source[0] != index and source[0]:
            raise call.obstacle("the source is larger than the index; cut it to its shape first")
    return tensor, index


def _places(index: str, axis: int, rank: int) -> str:
    """The index along one axis, and along every other the place itself."""
    found = []
    for n in range(rank):
        after = f"[:{', None' * (rank - 1 - n)}]" if n < rank - 1 else ""
        found.append(index if n == axis else f"jnp.arange({index}.shape[{n}]){after}")
    return ", ".join(found)


def at(call: Call) -> str:
    """`x.index_add(1, index, source)`: `x.at[:, index].add(source)`."""
    word = call.key.rpartition(".")[2].removesuffix("_")
    dim, index = call.argument(1, "dim"), call.argument(2, "index")
    value = call.argument(3, "value" if word == "index_fill" else "source")
    if dim is None or index is None or value is None or "alpha" in call.kwargs:
        raise call.obstacle("no rule for these arguments; write it with x.at[...]")
    if not call.text(dim).isdigit():
        raise call.obstacle("its axis is not known here; write it with x.at[...]")
    place = ":, " * int(call.text(dim)) + call.text(index)
    method = "add" if word == "index_add" else "set"
    return f"{call.receiver()}.at[{place}].{method}({call.text(value)})"


def topk(call: Call) -> str:
    """`x.topk(k, dim)`: `jax.lax.top_k`, which is about the last axis and the largest."""
    k, dim, largest = (call.argument(*each) for each in ((1, "k"), (2, "dim"), (3, "largest")))
    smallest = largest is not None and ast.unparse(largest) == "False"
    if k is None or not (smallest or largest is None or ast.unparse(largest) == "True"):
        raise call.obstacle("whether the largest are meant is not known here")
    x, axis = call.text(call.args[0]), "-1" if dim is None else call.text(dim)
    last = axis == "-1" or {axis} == {str(len(shape) - 1) for shape in call.shapes()}
    moved = x if last else f"jnp.moveaxis({x}, {axis}, -1)"
    text = f"jax.lax.top_k({'-' * smallest}{wrapped(moved) if smallest else moved}, {call.text(k)})"
    if not smallest:
        return text if last else f"[jnp.moveaxis(part, -1, {axis}) for part in {text}]"
    pair, again = named(call, text, "smallest")
    if last:
        return f"(-{pair}[0], {again}[1])"
    return f"(jnp.moveaxis(-{pair}[0], -1, {axis}), jnp.moveaxis({again}[1], -1, {axis}))"


def kth(call: Call) -> str:
    """`x.median(dim)` and `x.kthvalue(k, dim)`: of sorted values one, and its place."""
    median = call.key.endswith("median")
    dim, keep = call.argument(2 - median, "dim"), call.argument(3 - median, "keepdim")
    if median and dim is None:
        return f'jnp.quantile({call.text(call.args[0])}, 0.5, method="lower")'
    x, again = call.twice(call.args[0])
    axis = "-1" if dim is None else call.text(dim)
    place = f"({again}.shape[{axis}] - 1) // 2"
    if not median:
        k = call.text(call.args[1] if len(call.args) > 1 else call.kwargs["k"])
        place = str(int(k) - 1) if k.isdigit() else f"{wrapped(k)} - 1"
    kept = f", keepdims={'False' if keep is None else call.text(keep)}"
    parts = (f"jnp.sort({x}, axis={axis})", f"jnp.argsort({again}, axis={axis})")
    values, places = (f"jax.lax.index_in_dim({part}, {place}, {axis}{kept})" for part in parts)
    return f"({values}, {places})"
