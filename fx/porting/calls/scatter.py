"""Calls that write to places given by indices or slices."""

import ast

from fx.porting.calls.calls import Call, simple, wrapped
from fx.porting.calls.named import named
from fx.porting.read.record import Shape

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
    mean = reduce is not None and getattr(reduce, "value", "") == "mean"
    if reduce is not None:
        method = "add" if mean else _METHODS.get(str(getattr(reduce, "value", "")), "")
    alone = own is not None and ast.unparse(own) == "False"
    if not method or not (own is None or alone or ast.unparse(own) == "True"):
        raise call.obstacle("this reduction has no counterpart here; write it with x.at[...]")
    x, value, place = call.receiver(), call.text(given), call.text(index)
    tensor, indices = _shapes(call)
    said = call.axis(dim)
    axis = int(said) % len(tensor) if said.lstrip("-").isdigit() else None
    if axis is None:
        raise call.obstacle("its axis is not known here; write it with x.at[...]")
    whole = all(a == b for n, (a, b) in enumerate(zip(tensor, indices)) if n != axis)
    if method == "set" and whole and len(tensor) > 1 and not simple(place):
        return f"jnp.put_along_axis({x}, {place}, {value}, axis={axis}, inplace=False)"
    text = again = _places(place, axis, len(tensor))
    if not simple(place) and (len(tensor) > 1 or alone or mean):
        name = "places" + "_" * ("places" in set().union(*call.rewriter.scopes))
        again = _places(name, axis, len(tensor))
        text = again.replace(name, f"({name} := {place})", 1)
    if not (alone or mean):
        return f"{x}.at[{text}].{method}({value})"
    return _reduced(call, (x, text, again, value), method, alone, mean)


_NEUTRAL = {"add": "0", "multiply": "1", "max": "-jnp.inf", "min": "jnp.inf"}


def _reduced(call: Call, texts: tuple[str, ...], method: str, alone: bool, mean: bool) -> str:
    """A reduction without what stood there before, or a mean."""
    x, text, again, value = texts
    kept = x
    if mean and not simple(x):
        x, kept = named(call, call.text(call.args[0]))
    if alone:
        x, text = f"{x}.at[{text}].set({_NEUTRAL[method]})", again
    total = f"{x}.at[{text}].{method}({value})"
    if not mean:
        return total
    start = "zeros" if alone else "ones"
    counts = f"jnp.{start}_like({kept}).at[{again}].add(1)"
    return f"{total} / {f'jnp.maximum({counts}, 1)' if alone else counts}"


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
    if dim is None or index is None or value is None:
        raise call.obstacle("no rule for these arguments; write it with x.at[...]")
    alpha = call.kwargs.get("alpha")
    times = f"{wrapped(call.text(alpha))} * " if alpha is not None else ""
    source = f"{times}{wrapped(call.text(value)) if times else call.text(value)}"
    method = "add" if word == "index_add" else "set"
    return f"{call.receiver()}.at[{_along(call, dim, call.text(index))}].{method}({source})"


def _along(call: Call, dim: ast.expr, place: str) -> str:
    """A place along one axis, all of the others."""
    text = call.axis(dim)
    if text[:1] == "-" and text[1:].isdigit():
        return f"..., {place}" + ", :" * (int(text[1:]) - 1)
    if not text.isdigit():
        raise call.obstacle("its axis is not known here; write it with x.at[...]")
    return ":, " * int(text) + place


def put(call: Call) -> str:
    """`x.index_put((i, j), values)`: `x.at[i, j].set(values)`."""
    indices, values = call.argument(1, "indices"), call.argument(2, "values")
    add = call.argument(3, "accumulate")
    adds = "False" if add is None else ast.unparse(add)
    if indices is None or values is None or adds not in ("True", "False"):
        raise call.obstacle("no rule for these arguments; write it with x.at[...]")
    places = f"tuple({call.text(indices)})"
    if isinstance(indices, ast.Tuple | ast.List):
        places = ", ".join(map(call.text, indices.elts))
    method = "add" if adds == "True" else "set"
    return f"{call.receiver()}.at[{places}].{method}({call.text(values)})"


def part(call: Call) -> str:
    """`x.slice_scatter(src, dim, start, end)` and `x.select_scatter(src, dim, index)`."""
    select = call.key.endswith("select_scatter")
    names = ("dim", "index") if select else ("dim", "start", "end", "step")
    given = {name: call.argument(place, name) for place, name in enumerate(names, 2)}
    source, dim = call.argument(1, "src"), given.pop("dim")
    texts = ["" if node is None or ast.unparse(node) == "None" else call.text(node)
             for node in given.values()]  # fmt: skip
    if source is None or (select and (dim is None or not texts[0])):
        raise call.obstacle("no rule for these arguments; write it with x.at[...]")
    place = texts[0] if select else ":".join(texts).removesuffix(":") or ":"
    place = place if select or ":" in place else f"{place}:"
    along = place if dim is None else _along(call, dim, place)
    return f"{call.receiver()}.at[{along}].set({call.text(source)})"
