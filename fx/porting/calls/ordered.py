"""Calls about order: sorted values and their places, the largest, extremes, bins, limits."""

import ast
from collections.abc import Callable, Iterable

from fx.porting.calls.calls import Call, simple, wrapped
from fx.porting.calls.named import named
from fx.porting.read.names import need_twin


def picked(call: Call) -> int | None:
    """Which part of a pair is taken where it is made: `[0]` and `.values`, `[1]` and `.indices`."""
    parent = call.rewriter.parent(call.node)
    index = ast.unparse(parent.slice) if isinstance(parent, ast.Subscript) else ""
    names = {"0": 0, "values": 0, "1": 1, "indices": 1}
    return names.get(index, names.get(getattr(parent, "attr", "")))


def sort(call: Call) -> str:
    """Values and places."""
    (x, again), dim = call.twice(call.args[0]), call.argument(1, "dim")
    rest = f", axis={call.text(dim)}" if dim is not None else ""
    down = call.argument(2, "descending")
    rest += f", descending={call.text(down)}" if down is not None else ""
    return f"(jnp.sort({x}{rest}), jnp.argsort({again}{rest}))"


def topk(call: Call) -> str:
    """`x.topk(k, dim)`: `jax.lax.top_k`, which is about the last axis and the largest."""
    k, dim, largest = (call.argument(*each) for each in ((1, "k"), (2, "dim"), (3, "largest")))
    if k is None:
        raise call.obstacle("how many are meant is not known here")
    said = "True" if largest is None else ast.unparse(largest)
    if said in ("True", "False"):
        return _top(call, k, dim, said == "False")
    assert largest is not None
    most, least = (_top(call, k, dim, smallest) for smallest in (False, True))
    return f"({most} if {call.text(largest)} else {least})"


def _top(call: Call, k: ast.expr, dim: ast.expr | None, smallest: bool) -> str:
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


def running(call: Call) -> str:
    """`x.cummax(dim)`: values and places, of equal values the last one's, as in torch.

    Of `x.logcumsumexp(dim)` there are only values.
    """
    dim, word = call.argument(1, "dim"), call.key.rpartition(".")[2]
    if dim is None:
        raise call.obstacle("its axis is not known here; write it with jax.lax")
    rest = f", axis={_counted(call, dim)}"
    if word == "logcumsumexp":
        return f"jax.lax.cumlogsumexp({call.text(call.args[0])}{rest})"
    if (part := picked(call)) == 0:
        return f"jax.lax.{word}({call.text(call.args[0])}{rest})"
    x, again = call.twice(call.args[0])
    values = f"jax.lax.{word}({x}{rest})"
    values, once_more = (values, values) if part else named(call, values)
    steps = f"jnp.cumsum(jnp.ones_like({again}, dtype=int){rest}) - 1"
    same = f"{once_more} == {again}"
    places = f"jax.lax.cummax(jnp.where({same}, {steps}, 0){rest})"
    return places if part else f"({values}, {places})"


def _counted(call: Call, dim: ast.expr) -> str:
    """An axis counted from the first: those functions of `jax.lax` take none from the last."""
    text, ranks = call.text(dim), {len(shape) for shape in call.shapes()}
    if text.isdigit():
        return text
    if text.lstrip("-").isdigit() and len(ranks) == 1:
        return str(int(text) % min(ranks))
    x = call.receiver()
    return f"{wrapped(text)} % {x}.ndim" if simple(x) else text


def bins(call: Call) -> str:
    """`torch.searchsorted(edges, x)` and `torch.bucketize(x, edges)`."""
    names = ["sorted_sequence", "input"]
    names = names if call.key.endswith("searchsorted") else ["input", "boundaries"]
    given = [call.argument(place, name) for place, name in enumerate(names)]
    edges, x = given if call.key.endswith("searchsorted") else given[::-1]
    sorter, side, right = (call.kwargs.get(name) for name in ("sorter", "side", "right"))
    if edges is None or x is None or sorter is not None:
        raise call.obstacle("no rule for these arguments; write it with jnp.searchsorted")
    text = "'left'" if side is None else call.text(side)
    if right is not None and ast.unparse(right) != "False":
        text = f"'right' if {call.text(right)} else {text}"
        text = "'right'" if ast.unparse(right) == "True" else text
    after = "" if text.strip("\"'") == "left" else f", side={text}"
    place = 0 if call.key.endswith("searchsorted") else 1
    firsts = [fact.args[place] for fact in call.facts if len(fact.args) > place]
    if {len(getattr(first, "shape", (0,))) for first in firsts} <= {1}:
        return f"jnp.searchsorted({call.text(edges)}, {call.text(x)}{after})"
    row = f"lambda edges, x: jnp.searchsorted(edges, x{after})"
    given = f"{call.text(edges)}, {call.text(x)}"
    return f'jnp.vectorize({row}, signature="(n),(m)->(m)")({given})'


def clamp(call: Call) -> str:
    """`x.clamp(0, 1)`: a function in the ported file, for jnp.clip has another gradient at 0, 1."""
    word = call.key.rpartition(".")[2].removesuffix("_").removeprefix("clamp_")
    low, high = call.argument(1, "min"), call.argument(2, "max")
    if word == "max":
        low, high = None, call.argument(1, "max")
    given = [f"{name}={call.text(limit)}" for name, limit in (("min", low), ("max", high))
             if limit is not None and ast.unparse(limit) != "None"]  # fmt: skip
    name = "jnp.clip" if _dtypes(call) and not _is_float(call, any) else ""
    name = name or need_twin("clamp", call.rewriter.needs)
    return f"{name}({', '.join([call.text(call.args[0]), *given])})"


def absolute(call: Call) -> str:
    """`x.abs()`: of real numbers a function in the file, for the gradient at 0 is another."""
    if len(call.args) != 1 or call.kwargs:
        raise call.obstacle("no rule for these arguments; write it with jnp.abs")
    name = "jnp.abs"
    if _is_float(call, all):
        name = need_twin("absolute", call.rewriter.needs)
    return f"{name}({call.text(call.args[0])})"


def _dtypes(call: Call) -> set[str]:
    """The dtypes of what a function was called with."""
    firsts = (fact.args[0] for fact in call.facts if fact.args)
    return {first.dtype for first in firsts if hasattr(first, "dtype")}


def _is_float(call: Call, asked: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether all, or any, of those are real numbers."""
    return bool(_dtypes(call)) and asked("float" in dtype for dtype in _dtypes(call))
