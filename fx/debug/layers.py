"""A step un-jitted, layer by layer: shapes, statistics, gradients."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.data.batch import as_arguments, split_batch, targets_of, transformed
from fx.debug.diagnostics import gradient_norms
from fx.debug.report import floats
from fx.evaluate.mean import Mean, divided
from fx.nn import describe
from fx.nn.module import Module, bind
from fx.nn.scope import Call


@dataclass(frozen=True)
class Layer:
    """What one call of a layer gave; of one that gives several arrays, one of them.

    Attributes:
        name: Dotted name; "" for the model itself.
        place: Where in the output the array is: "[1]", "['mask']"; "" where it is the output.
        kind: The layer's class.
        shape: Of the array.
        dtype: The same array's.
        mean: Of its finite values, as are std, low and high; nan where there are none.
        std: Their standard deviation.
        low: The smallest.
        high: The largest.
        zeros: The share of zeros.
        bad: How many values are not finite.
        output: The array itself, on the host.
    """

    name: str
    place: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    mean: float
    std: float
    low: float
    high: float
    zeros: float
    bad: int
    output: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Inspection:
    """What `inspect_step` saw; prints as a table.

    Attributes:
        layers: An array each, in the order in which calls ended: a part before what holds it.
        loss: The loss.
        gradients: Norm of each layer's gradients by dotted name.
    """

    layers: tuple[Layer, ...]
    loss: float
    gradients: dict[str, float]

    def __getitem__(self, name: str) -> Layer:
        """The first array of the first call of a layer, by its dotted name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(repr(layer.name) for layer in self.layers)
        raise KeyError(f"no layer {name!r} was called; there are {known}")

    def __str__(self) -> str:
        head = ("layer", "output", "mean", "std", "min", "max", "zeros", "not finite", "gradient")
        rows: list[tuple[str, ...]] = [head]
        shown: set[str] = set()
        for layer in self.layers:
            norm = None if layer.name in shown else self.gradients.get(layer.name)
            shown.add(layer.name)
            rows.append((*_cells(layer), "" if norm is None else f"{norm:.4g}"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = []
        for row in rows:
            left = [f"{cell:<{width}}" for cell, width in zip(row[:2], widths)]
            right = [f"{cell:>{width}}" for cell, width in zip(row[2:], widths[2:])]
            lines.append("  ".join(left + right).rstrip())
        return "\n".join([*lines, f"loss {self.loss:.6g}"])


def inspect_step(
    model: Module,
    loss_fn: Callable[[Any, Any], jax.Array | Mean],
    ts: Any,
    batch: Any,
    *,
    transform: Callable[[Any, jax.Array], Any] | None = None,
) -> Inspection:
    """Run the forward pass and the gradients of a training step un-jitted, and look at each layer.

    Nothing is compiled as a whole and nothing is traced in the forward pass: in a layer's
    `forward`, `print` shows numbers, `breakpoint()` stops, and an error comes with its values.
    Random numbers are those that the step draws at `ts.step`. Slow; meant for one step.

    Args:
        model: A model of `fx.nn`.
        loss_fn: `(outputs, targets) -> loss`, as for `make_step`.
        ts: The state; it is not changed.
        batch: `(inputs, targets)`.
        transform: As for `make_step`.

    Returns:
        An `Inspection`: print it, read `inspection["conv1"].mean`, or give it to
        `draw_activations`.

    Raises:
        TypeError: The model is not of `fx.nn`; `xray` and `debug.layer_flags` take any.

    Example:
        >>> import fx, optax
        >>> model = fx.nn.Sequential(fx.nn.Linear(2, 4), fx.nn.ReLU())
        >>> ts = fx.train.create(model, optax.sgd(0.1), jax.random.key(0))
        >>> found = inspect_step(model, lambda y, t: jnp.mean(y), ts, (jnp.ones((3, 2)), None))
        >>> [(layer.name, layer.kind, layer.shape) for layer in found.layers]
        [('0', 'Linear', (3, 4)), ('1', 'ReLU', (3, 4)), ('', 'Sequential', (3, 4))]
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"inspect_step: expected a model of fx.nn, got {type(model).__name__}; "
            "fx.debug.xray takes any"
        )
    inputs, targets = split_batch(batch)
    augment_key, key = jax.random.split(jax.random.fold_in(ts.key, ts.step))
    layers: list[Layer] = []

    def note(path: tuple[str, ...], part: Module, _: Any, outputs: Any) -> None:
        layers.extend(_layers(".".join(path), type(part).__name__, outputs))

    def objective(params: Any) -> jax.Array:
        outputs, _ = model.apply(params, ts.state, *arguments, train=True, key=key)
        return divided(loss_fn(outputs, targets))

    with jax.disable_jit():
        inputs = jax.tree.map(jnp.asarray, inputs)
        inputs, targets = transformed(transform, inputs, targets, augment_key)
        arguments, targets = as_arguments(inputs), targets_of(inputs, targets)
        call = Call(True, key, (), describe.match(model, ts.params, ts.state), note)
        loss = divided(loss_fn(bind(model, call, ())(*arguments), targets))
        grads = jax.grad(objective)(ts.params)
    norms = {name: float(norm) for name, norm in gradient_norms(grads).items()}
    return Inspection(tuple(layers), float(loss), norms)


def _layers(name: str, kind: str, outputs: Any) -> list[Layer]:
    """A row for each array; inside of a vmap there are no values, and no rows."""
    return [
        _layer(name, jax.tree_util.keystr(path), kind, np.asarray(array))
        for path, array in jax.tree_util.tree_leaves_with_path(outputs)
        if hasattr(array, "dtype") and not isinstance(array, jax.core.Tracer)
    ]


def _layer(name: str, place: str, kind: str, array: np.ndarray) -> Layer:
    numbers = floats(array)
    finite = numbers[np.isfinite(numbers)]
    some = finite if finite.size else np.full(1, np.nan)
    zeros = float((numbers == 0).mean()) if numbers.size else 0.0
    return Layer(
        name, place, kind, array.shape, str(array.dtype), float(some.mean()), float(some.std()),
        float(some.min()), float(some.max()), zeros, numbers.size - finite.size, array,
    )  # fmt: skip


def _cells(layer: Layer) -> tuple[str, ...]:
    label = f"{layer.kind} ({layer.name})" if layer.name else layer.kind
    label += f" {layer.place}" if layer.place else ""
    numbers = (layer.mean, layer.std, layer.low, layer.high)
    return (
        label,
        f"{layer.dtype}{list(layer.shape)}",
        *(f"{number:.4g}" for number in numbers),
        f"{layer.zeros:.1%}",
        str(layer.bad or ""),
    )
