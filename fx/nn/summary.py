"""A table of a model's parts: output shapes, parameters, FLOPs; nothing is run."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import numpy as np

from fx.nn import describe
from fx.nn.module import Module, bind
from fx.nn.parameter import Parameter
from fx.nn.scope import Call


@dataclass(frozen=True)
class Row:
    """One part of a model, at its first call."""

    name: str
    kind: str
    output: Any
    parameters: int
    flops: int
    depth: int


@dataclass(frozen=True)
class Summary:
    """What `summary` found; prints as a table.

    Attributes:
        rows: a part each, in the order of their calls; its counts include its own parts'.
        parameters: number of trained values (tied ones once).
        buffers: number of values in state.
        flops: floating-point operations of one forward pass, a multiply-add being two.
        size_bytes: of the parameters.
    """

    rows: tuple[Row, ...]
    parameters: int
    buffers: int
    flops: int
    size_bytes: int

    def __str__(self) -> str:
        """The table."""
        cells = [("layer", "output shape", "parameters", "FLOPs")]
        for row in self.rows:
            label = "  " * row.depth + f"{row.kind} ({row.name})" if row.name else row.kind
            cells.append((label, str(row.output), f"{row.parameters:,}", f"{row.flops:,}"))
        widths = [max(len(line[i]) for line in cells) for i in range(4)]
        rule = "-" * (sum(widths) + 6)
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in cells
        ]
        totals = [
            f"parameters: {self.parameters:,} ({self.size_bytes / 2**20:.2f} MiB)",
            f"buffers: {self.buffers:,}",
            f"FLOPs: {self.flops:,} ({self.flops / 1e9:.3f} G)",
        ]
        return "\n".join([lines[0], rule, *lines[1:], rule, *totals])


def summary(model: Module, *inputs: Any, train: bool = False, **kwargs: Any) -> Summary:
    """Trace a model on abstract inputs and tabulate its parts.

    Args:
        model: the description.
        *inputs: arrays, or anything with a shape and dtype such as `jax.ShapeDtypeStruct`; a
            tuple of ints is the shape of a float32 input. A dict, or another tuple, holds several.
        train: whether to trace the training mode.
        **kwargs: passed to `forward`.

    Returns:
        A `Summary`. FLOPs are counted in the traced program: two for each multiply-add of a
        product or convolution, one for each element that another arithmetic operation makes.

    Raises:
        TypeError: no module, no input, or one that has no shape.
        ValueError: a size below 0; what the model itself raises for inputs of those shapes.

    Example:
        >>> import fx
        >>> fx.summary(fx.nn.Linear(8, 4), (2, 8)).flops
        136
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a module, got {model!r}; write summary(model, shape)")
    if not inputs and not kwargs:
        raise TypeError(
            "summary: expected an input or its shape, which the sizes of outputs follow from; "
            "write summary(model, (1, 3, 32, 32))"
        )
    key = jax.random.key(0)
    given = tuple(map(_abstract, inputs))
    params, state = jax.eval_shape(model.init, key)
    calls: dict[tuple[str, ...], tuple[str, Any]] = {}

    def note(path: tuple[str, ...], part: Module, _: Any, outputs: Any) -> None:
        calls.setdefault(path, (type(part).__name__, _shapes(outputs)))

    def run(params: dict, state: dict, inputs: tuple) -> Any:
        call = Call(train, key, (), describe.match(model, params, state), note)
        return bind(model, call, ())(*inputs, **kwargs)

    try:
        jaxpr = jax.make_jaxpr(run)(params, state, given).jaxpr
    except TypeError as error:
        if "positional argument" in str(error):
            error.add_note(
                f"summary got {len(inputs)} for the model's inputs; write one after the other, "
                "summary(model, a, b), and those with a name as name=..."
            )
        raise
    flops = _flops(jaxpr, ())
    counts = {
        path: (
            sum(_parameters(model, path).values()),
            sum(n for where, n in flops.items() if where[: len(path)] == path),
        )
        for path, _ in describe.modules(model)
    }
    order = [path for path, _ in describe.modules(model) if path in calls]
    rows = tuple(
        Row(".".join(path), *calls[path], *counts[path], depth=len(path)) for path in order
    )
    size_bytes = sum(p.size * np.dtype(p.dtype).itemsize for p in jax.tree.leaves(params))
    buffers = sum(b.size for b in jax.tree.leaves(state))
    parameters = sum(p.size for p in jax.tree.leaves(params))
    return Summary(rows, parameters, buffers, sum(flops.values()), size_bytes)


def _parameters(model: Module, path: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    """Sizes of the parameters below a path, tied ones once, those of all layers of a stack."""
    return {
        leaf.source: prod(leaf.declaration.shape)
        for leaf in describe.leaves(model)
        if isinstance(leaf.declaration, Parameter) and leaf.path[: len(path)] == path
    }


def _abstract(value: Any) -> Any:
    if isinstance(value, tuple) and all(isinstance(n, int) for n in value):
        if min(value, default=0) < 0:
            raise ValueError(
                f"summary: expected sizes of 0 or more, got {value}; give a batch size, such as 1"
            )
        return jax.ShapeDtypeStruct(value, np.float32)
    if isinstance(value, dict):
        return {name: _abstract(each) for name, each in value.items()}
    if type(value) is tuple:
        return tuple(map(_abstract, value))
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(
            f"summary: expected arrays, jax.ShapeDtypeStruct or shapes, got {value!r}; "
            "write summary(model, (1, 3, 32, 32))"
        )
    return jax.ShapeDtypeStruct(np.shape(value), value.dtype)


def _shapes(outputs: Any) -> Any:
    return jax.tree.map(lambda a: list(a.shape), outputs)


FREE = {
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "dynamic_slice", "gather",
    "iota", "pad", "platform_index", "reshape", "rev", "slice", "squeeze", "stop_gradient",
    "transpose",
}  # fmt: skip


def _flops(jaxpr: Any, outer: tuple[str, ...]) -> Counter:
    """FLOPs by the path of the part that asks for them, read off the name stacks."""
    counts: Counter = Counter()
    for equation in jaxpr.eqns:
        stack = str(equation.source_info.name_stack)
        where = tuple(stack.rpartition("/")[2].split(".")) if stack else outer
        inner = [v for v in jax.tree.leaves(tuple(equation.params.values())) if _is_program(v)]
        if inner:
            times = equation.params.get("length", 1)  # of a scan
            found = [_flops(getattr(sub, "jaxpr", sub), where) for sub in inner]
            if "branches" in equation.params:  # only one of them runs
                platforms = equation.params.get("branches_platforms")
                if platforms:  # others trade operations for speed
                    found = [found[platforms.index(None)]]
                found = [max(found, key=lambda each: sum(each.values()))]
            for each in found:
                counts.update({k: n * times for k, n in each.items()})
            continue
        counts[where] += _cost(equation)
    return counts


def _is_program(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def _cost(equation: Any) -> int:
    name, output = equation.primitive.name, equation.outvars[0].aval
    size = prod(getattr(output, "shape", ()))
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * size * prod(equation.invars[0].aval.shape[i] for i in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        spec = equation.params["dimension_numbers"].rhs_spec
        return 2 * size * prod(kernel[i] for i in spec[1:])
    if name.startswith(("reduce_", "arg", "cum")):
        return prod(getattr(equation.invars[0].aval, "shape", ()))
    return 0 if name in FREE or name.startswith(("random_", "threefry")) else size
