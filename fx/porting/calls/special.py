"""Calls of torch whose counterpart depends on what was seen, or has another form."""

import ast
import re
from collections.abc import Callable

from fx.porting.calls import creation, matrices, ordered, pieces, scatter, strided
from fx.porting.calls.calls import Call, ported, simple, tupled, wrapped
from fx.porting.calls.named import named
from fx.porting.read.names import DTYPES, Obstacle, need_twin
from fx.porting.read.record import Shape


def flatten(call: Call) -> str:
    """`x.flatten(1)`: `jax.lax.collapse`, whose end is the axis after the last."""
    start, end = call.argument(1, "start_dim"), call.argument(2, "end_dim")
    if start is None and end is None:
        return f"{call.receiver()}.reshape(-1)"
    first = call.text(start) if start is not None else "0"
    x = call.text(call.args[0])
    if end is None or ast.unparse(end) == "-1":
        return f"jax.lax.collapse({x}, {first})"
    last = ast.literal_eval(end) if isinstance(end, ast.Constant | ast.UnaryOp) else None
    after = str(last + 1) if last is not None else f"{wrapped(call.text(end))} + 1"
    return f"jax.lax.collapse({x}, {first}, {after})"


def expand(call: Call) -> str:
    """`x.expand(-1, 3)`: `jnp.broadcast_to`, which takes no -1."""
    sizes = call.args[1:]
    if len(sizes) == 1 and isinstance(sizes[0], ast.Tuple | ast.List):
        sizes = sizes[0].elts
    given, new = pieces.as_a_whole(call, sizes)
    if given:
        x, again = call.twice(call.args[0])
        own = f"{again}.shape" if not new else f"{(1,) * new} + {again}.shape"
        kept = f"own if n == -1 else n for n, own in zip({given}, {own}, strict=True)"
        return f"jnp.broadcast_to({x}, [{kept}])"
    x = call.text(call.args[0])
    texts = [call.text(size) for size in sizes]
    ranks = {len(shape) for shape in call.shapes()}
    if "-1" in texts and not (simple(x) and len(ranks) == 1):
        return _repeated(call, x, texts)
    for place, text in enumerate(texts):
        if text == "-1":
            texts[place] = f"{x}.shape[{place - len(texts) + min(ranks)}]"
    shape = texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
    return f"jnp.broadcast_to({x}, {shape})"


def _repeated(call: Call, x: str, texts: list[str]) -> str:
    """An expansion of what has no name: the axes of size 1 repeated, new ones put before."""
    ranks = {len(shape) for shape in call.shapes()}
    new = len(texts) - min(ranks, default=0)
    for axis, text in enumerate(texts):
        sizes = {shape[axis - new] for shape in call.shapes()} if axis >= new else {1}
        if len(ranks) != 1 or (text != "-1" and sizes != {1}):
            x, again = call.twice(call.args[0])
            kept = [f"{again}.shape[{n - len(texts)}]" for n in range(len(texts))]
            sizes = [own if text == "-1" else text for own, text in zip(kept, texts)]
            return f"jnp.broadcast_to({x}, ({', '.join(sizes)},))"
    if not new and sum(text != "-1" for text in texts) == 1:
        axis = next(axis for axis, text in enumerate(texts) if text != "-1")
        return f"jnp.repeat({x}, {texts[axis]}, axis={axis})"
    return f"jnp.tile({x}, ({', '.join('1' if text == '-1' else text for text in texts)}))"


def squeeze(call: Call) -> str:
    """`x.squeeze(1)`: torch leaves axes of another size alone, JAX raises."""
    dim = call.argument(1, "dim")
    if dim is None:
        return f"{call.receiver()}.squeeze()"
    axes = {fact.args[1] if len(fact.args) > 1 else fact.kwargs["dim"] for fact in call.facts}
    ones = {shape[axis] == 1 for shape in call.shapes() for axis in axes if isinstance(axis, int)}
    if ones == {False}:
        return call.text(call.args[0])
    if len(ones) == 2:
        raise call.obstacle("the axis was of size 1 in one call and not in another")
    return f"{call.receiver()}.squeeze({tupled(call.text(dim))})"


def extreme(call: Call) -> str:
    """`x.max()`, `x.max(dim)`, `torch.max(x, y)`."""
    word = call.key.rpartition(".")[2]
    x, second = call.receiver(), call.argument(1, "dim")
    if second is None and "other" not in call.kwargs:
        return f"{x}.{word}()"
    if any(len(f.args) > 1 and isinstance(f.args[1], Shape) for f in call.facts):
        return f"jnp.{word}imum({call.text(call.args[0])}, {call.text(call.args[1])})"
    if not call.facts and not isinstance(second, ast.Constant | ast.UnaryOp):
        raise call.obstacle("it did not run, so that its second argument is not known")
    assert second is not None
    keep = call.argument(2, "keepdim")
    rest = f"axis={call.text(second)}" + (f", keepdims={call.text(keep)}" if keep else "")
    part = ordered.picked(call)  # the rewriter drops the [0] or .values around it
    if part is not None:
        return f"{x}.{'arg' * part}{word}({rest})"
    x, again = call.twice(call.args[0])
    return f"({wrapped(x)}.{word}({rest}), {again}.arg{word}({rest}))"


def to(call: Call) -> str:
    """`x.to(dtype)`, `x.to(device)`, `x.to(y)`; `x.type(dtype)`."""
    x = call.receiver()
    dtype = call.kwargs.get("dtype")
    if call.key == "Tensor.type" and len(call.args) == 1 and dtype is None:
        return creation.kind(call)
    for place, arg in enumerate(call.args[1:], 1):
        seen = {type(f.args[place]).__name__ for f in call.facts if len(f.args) > place}
        if "dtype" in seen or ast.unparse(arg).removeprefix("torch.") in DTYPES:
            dtype = arg
        elif "Shape" in seen:
            return f"{x}.astype({wrapped(call.text(arg))}.dtype)"
        elif not call.facts:
            raise call.obstacle("it did not run, so that its argument is not known")
    return call.text(call.args[0]) if dtype is None else f"{x}.astype({call.text(dtype)})"


def summed(call: Call) -> str:
    """`x.sum()`: of bytes signed numbers, as torch's are."""
    text = ported(call)
    firsts = (next(iter(fact.args), None) for fact in call.facts)
    bytes_ = any(getattr(first, "dtype", "") == "torch.uint8" for first in firsts)
    if not bytes_ or "dtype" in call.kwargs:
        return text
    return f"{text[:-1]}{', ' * (text[-2] != '(')}dtype=jnp.int32)"


def spread(call: Call) -> str:
    """`x.var()` and `x.std()`, which divide by n - 1 unless told."""
    text = f"{call.receiver()}.var({_over(call)})"
    return _root(call, text) if call.key.endswith("std") else text


def both(call: Call) -> str:
    """`torch.var_mean(x, dim)`: a pair."""
    x, again = call.twice(call.args[0])
    given = _over(call)
    var = f"{wrapped(x)}.var({given})"
    var = _root(call, var) if call.key.endswith("std_mean") else var
    mean = re.sub(r"(, )?ddof=[^,)]*", "", given)
    return f"({var}, {again}.mean({mean}))"


def _over(call: Call) -> str:
    """The axes of a variance, and what its sum is divided by."""
    args, kwargs = list(call.args[1:]), dict(call.kwargs)
    if args and isinstance(args[0], ast.Constant) and isinstance(args[0].value, bool):
        kwargs["unbiased"] = args.pop(0)
    for name, value in zip(("dim", "unbiased", "keepdim"), args):
        kwargs[name] = value
    unbiased = kwargs.get("unbiased", kwargs.get("correction"))
    ddof = "1" if unbiased is None else call.text(unbiased)
    ddof = {"False": "0", "True": "1"}.get(ddof, ddof)
    given = [f"axis={tupled(call.text(kwargs['dim']))}"] if "dim" in kwargs else []
    given += [f"keepdims={call.text(kwargs['keepdim'])}"] if "keepdim" in kwargs else []
    given += [f"ddof={ddof}"] if ddof != "0" else []
    return ", ".join(given)


def _root(call: Call, var: str) -> str:
    """The root of a variance: of 0 torch's gradient is 0, that of jax.numpy's is not a number."""
    try:
        var, again = named(call, var, "var")
    except Obstacle:  # where no name can stand
        return f"jnp.sqrt({var})"
    return f"jnp.where({var} == 0, 0, jnp.sqrt(jnp.where({again} == 0, 1, {again})))"


def meshgrid(call: Call) -> str:
    """`torch.meshgrid`, whose default is "ij" where NumPy's is "xy"."""
    args = call.args
    if len(args) == 1 and isinstance(args[0], ast.List | ast.Tuple):
        args = args[0].elts
    texts = [call.text(arg) for arg in args]
    alone = any(isinstance(fact.args[0], Shape) for fact in call.facts)
    if len(args) == 1 and isinstance(args[0], ast.Starred) and not alone:  # it may hold a list
        several = call.text(args[0].value)
        texts = [f"*({several}[0] if isinstance({several}[0], list | tuple) else {several})"]
    if len(args) == 1 and not isinstance(args[0], ast.Starred) and not alone:
        texts = [f"*{wrapped(texts[0])}"]
    indexing = call.kwargs.get("indexing")
    return f"jnp.meshgrid({', '.join(texts)}, indexing={call.text(indexing) if indexing else repr('ij')})"  # noqa: E501


def view(call: Call) -> str:
    """`x.view(torch.int32)` is about bits, all others about shape."""
    if any(len(f.args) == 2 and type(f.args[1]).__name__ == "dtype" for f in call.facts):
        return f"{call.receiver()}.view({call.text(call.args[1])})"
    return ported(call)


def view_as_complex(call: Call) -> str:
    """Pairs of numbers as complex ones."""
    x = call.receiver()
    if not simple(x):
        return f"jax.lax.complex(*jnp.unstack({call.text(call.args[0])}, axis=-1))"
    return f"jax.lax.complex({x}[..., 0], {x}[..., 1])"


def view_as_real(call: Call) -> str:
    """Complex numbers as pairs."""
    x = call.receiver()
    if not simple(x):
        x = call.text(call.args[0])
        return f"jnp.stack([part({x}) for part in (jnp.real, jnp.imag)], axis=-1)"
    return f"jnp.stack([{x}.real, {x}.imag], axis=-1)"


def unflatten(call: Call) -> str:
    """One axis as several."""
    dim, sizes = call.axis(call.args[1]), call.text(call.args[2])
    if not dim.lstrip("-").isdigit():
        raise call.obstacle("its axis is not known here; write it with x.reshape")
    x, again = call.twice(call.args[0])
    after = f", *{again}.shape[{int(dim) + 1}:]" if int(dim) != -1 else ""
    return f"{wrapped(x)}.reshape(*{again}.shape[:{dim}], *{sizes}{after})"


def unfold(call: Call) -> str:
    """`x.unfold(dim, size, step)`: windows of one axis, as a last axis."""
    dim, size, step = (call.argument(n, name) for n, name in
                       enumerate(("dimension", "size", "step"), 1))  # fmt: skip
    ranks = {len(shape) for shape in call.shapes()}
    if dim is None or size is None or step is None or len(ranks) != 1:
        raise call.obstacle("it did not run, so that its axes are not known")
    try:
        axis = ast.literal_eval(dim) % min(ranks)
    except ValueError:
        raise call.obstacle("the axis is no number") from None
    given = x = call.receiver()
    if not simple(x):
        x = "windows" + "_" * ("windows" in set().union(*call.rewriter.scopes))
        given = f"{x} := {given}"
    width = call.text(size)
    places = f"jnp.arange(0, {x}.shape[{axis}] - {wrapped(width)} + 1, {call.text(step)})[:, None]"
    taken = f"jnp.take({given}, {places} + jnp.arange({width}), axis={axis})"
    return f"jnp.moveaxis({taken}, {axis + 1}, -1)"


def bernoulli(call: Call) -> str:
    """`x.new_empty(shape).bernoulli_(p)`: what is filled need not be made."""
    made = call.args[0]
    new = isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute)
    if not new or made.func.attr not in ("new_empty", "new_zeros", "new_ones"):
        return ported(call)
    sizes = [call.text(size) for size in made.args]
    shape = sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"
    p, key = call.text(call.args[1]), call.rewriter.key(call.node)
    dtype = f"{wrapped(call.text(made.func.value))}.dtype"
    return f"jax.random.bernoulli({key}, {p}, {shape}).astype({dtype})"


def dropout(call: Call) -> str:
    """What is random in training draws a key there."""
    given = [call.text(arg) for arg in call.args]
    given += [
        f"{name}={call.text(value)}" if name else f"**{call.text(value)}"
        for name, value in call.kwargs.items()
        if name != "inplace"
    ]
    word = call.key.rpartition(".")[2].removesuffix("_")
    training = call.argument(3 if word == "rrelu" else 2, "training")
    said = "True" if training is None else ast.unparse(training)  # the default, as torch's
    drops = said == "True" and word.startswith("dropout")
    always = drops or word == "gumbel_softmax"
    key = call.rewriter.key(call.node, trains=not always)
    module = key.removesuffix(".next_key()") if key.endswith(".next_key()") else "self"
    mode = f"{module}.training" if training is None else call.text(training)
    if word == "rrelu" and training is None:
        mode = "False"
    if always:  # in evaluation, too
        return f"F.{word}({', '.join(given)}, key={key})"
    name = "dropout_key" if word == "scaled_dot_product_attention" else "key"
    if word == "scaled_dot_product_attention":
        drop = call.argument(4, "dropout_p")
        if drop is None or ast.unparse(drop) in ("0", "0.0"):
            return f"F.{word}({', '.join(given)})"
        mode = f"{module}.training"
    return f"F.{word}({', '.join(given)}, {name}={key} if {mode} else None)"


def divide(call: Call) -> str:
    """`torch.div(x, y, rounding_mode="trunc")`, which rounds towards 0 where `//` rounds down."""
    mode = call.kwargs.get("rounding_mode")
    if mode is None:
        return ported(call)
    if ast.unparse(mode) not in ("'floor'", "'trunc'") or len(call.args) < 2:
        raise call.obstacle("its rounding is not known here; write it with // or jnp.trunc")
    y = wrapped(call.text(call.args[1]))
    if ast.unparse(mode) == "'floor'":
        return f"{call.receiver()} // {y}"
    dtypes = [part.dtype for fact in call.facts for part in fact.args if isinstance(part, Shape)]
    if any("float" in dtype for dtype in dtypes) or re.fullmatch(r"\(?-?\d*\.\d*\)?", y):
        return f"jnp.trunc({call.receiver()} / {y})"
    x, again = call.twice(call.args[0])
    return f"({wrapped(x)} - jnp.fmod({again}, {y})) // {y}"


def norm(call: Call) -> str:
    """`x.norm(dim=1)`: torch's gradient is 0 where the norm is, jax.numpy's is not a number."""
    order = call.argument(1, "ord" if "linalg" in call.key else "p")
    dim, keep = call.argument(2, "dim"), call.argument(3, "keepdim")
    p = "None" if order is None else ast.unparse(order)
    spectral = call.key == "torch.linalg.norm" and p != "None"  # where there are two axes
    several = isinstance(dim, ast.Tuple | ast.List) and len(dim.elts) > 2
    known = {"p", "ord", "dim", "axis", "keepdim", "input", "x", "A"}
    if p not in ("None", "2", "2.0", "'fro'") or spectral or several or call.kwargs.keys() - known:
        return ported(call)
    call.rewriter.uses("optax", "import optax")
    given = [call.text(call.args[0]), "0.0"]
    given += [f"axis={tupled(call.text(dim))}"] if dim is not None else []
    given += [f"keepdims={call.text(keep)}"] if keep is not None else []
    return f"optax.safe_norm({', '.join(given)})"


def einsum(call: Call) -> str:
    """`torch.einsum(text, (x, y))` takes its arrays in a tuple, too."""
    if len(call.args) == 2 and isinstance(call.args[1], ast.Tuple | ast.List):
        call.args = [call.args[0], *call.args[1].elts]
    elif isinstance(call.args[-1], ast.Starred):
        return ported(call)
    elif any(isinstance(fact.args[1], list | tuple) for fact in call.facts):
        return f"jnp.einsum({call.text(call.args[0])}, *{wrapped(call.text(call.args[1]))})"
    return ported(call)


def spectrum(call: Call) -> str:
    """`torch.stft` and `torch.istft`: functions in the ported file."""
    word = call.key.rpartition(".")[2]
    complex_ = call.kwargs.pop("return_complex", None)
    call.kwargs.pop("align_to_window", None)
    name, needs = need_twin(word, call.rewriter.needs), call.rewriter.needs
    need_twin("centred_window", needs)
    given = [call.text(arg) for arg in call.args]
    given += [f"{key}={call.text(value)}" for key, value in call.kwargs.items()]
    text = f"{name}({', '.join(given)})"
    wanted = "False" if complex_ is None else ast.unparse(complex_)
    if word == "istft" and wanted != "False":
        raise call.obstacle("complex signals are not written; leave return_complex out")
    if word == "istft" or wanted == "True":
        return text
    raise call.obstacle("pairs of numbers are not written; pass return_complex=True")


def flexible(call: Call) -> str:
    """`flex_attention` and `create_block_mask`: functions in the ported file."""
    word = call.key.rpartition(".")[2]
    places = {"B": "batch", "H": "heads", "Q_LEN": "queries", "KV_LEN": "keys"}
    unused = ("device", "BLOCK_SIZE", "_compile", "kernel_options")
    given = [call.text(arg) for arg in call.args]
    given += [f"{places.get(name, name)}={call.text(value)}"
              for name, value in call.kwargs.items() if name not in unused]  # fmt: skip
    return f"{need_twin(word, call.rewriter.needs)}({', '.join(given)})"


SPECIAL: dict[str, Callable[[Call], str]] = {
    "einsum": einsum, "norm": norm, "vector_norm": norm,
    "div": divide, "div_": divide, "divide": divide,
    "flatten": flatten, "expand": expand, "squeeze": squeeze, "squeeze_": squeeze,
    "max": extreme, "min": extreme,
    "cat": pieces.joined, "concat": pieces.joined, "split": pieces.parts, "chunk": pieces.parts,
    "to": to, "type": to, "var": spread, "std": spread,
    "meshgrid": meshgrid, "rand": creation.uniform, "randint": creation.integers, "view": view,
    "tensor": creation.copied, "new_tensor": creation.copied,
    "view_as_complex": view_as_complex, "view_as_real": view_as_real,
    "unflatten": unflatten, "unfold": unfold, "sort": ordered.sort, "bernoulli_": bernoulli,
    "var_mean": both, "std_mean": both, "topk": ordered.topk,
    "median": ordered.kth, "kthvalue": ordered.kth, "cummax": ordered.running,
    "cummin": ordered.running, "logcumsumexp": ordered.running, "searchsorted": ordered.bins,
    "bucketize": ordered.bins,
    "solve_triangular": matrices.triangular, "cholesky_solve": matrices.triangular,
    "split_with_sizes": pieces.parts, "unsafe_split": pieces.parts, "unsafe_chunk": pieces.parts,
    "stride": strided.strides, "as_strided": strided.as_strided,
    "flex_attention": flexible, "create_block_mask": flexible,
    "stft": spectrum, "istft": spectrum, "svd": matrices.svd,
    "abs": ordered.absolute, "absolute": ordered.absolute,
    **{f"{word}{end}": ordered.clamp for word in ("clamp", "clip", "clamp_min", "clamp_max")
       for end in ("", "_")},
    "index_put": scatter.put, "index_put_": scatter.put,
    "sum": summed, "prod": summed, "cumsum": summed,
    "slice_scatter": scatter.part, "select_scatter": scatter.part,
    "Variable": creation.variable, "new": creation.new, "arange": creation.arange,
    **{f"{kind}Tensor": creation.made for kind in creation.KINDS},
    **{f"{word}{end}": scatter.scatter for word in ("scatter", "scatter_add", "scatter_reduce")
       for end in ("", "_")},
    **{f"{word}{end}": scatter.at for word in ("index_add", "index_copy", "index_fill")
       for end in ("", "_")},
}  # fmt: skip
VARIADIC = {"expand", "view", "meshgrid", "rand", "einsum"}
VARIADIC |= {name for name, function in SPECIAL.items() if function is creation.made}
HEADS = ("torch", "Tensor", "torch.linalg", "torch.nn.attention.flex_attention")
HEADS += ("torch.autograd.variable",)
PICKED = ("max", "min", "cummax", "cummin")  # which write no pair where a part of it is taken
RANDOM = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    "scaled_dot_product_attention", "gumbel_softmax", "rrelu",
}  # fmt: skip
