"""How large gradients, updates and weights are, layer by layer; pure functions of pytrees."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

_TINY = 1e-12  # keeps the ratio of a layer whose weights are all zero finite


def gradient_norms(grads: Any) -> dict[str, jax.Array]:
    """Measure the Euclidean norm of each layer's gradients.

    Args:
        grads: Gradients, in the structure of the parameters; any other pytree of arrays.

    Returns:
        `{layer's dotted name: float32 []}`, over all of the layer's own parameters together.

    Example:
        >>> grads = {"fc": {"weight": jnp.full((2, 2), 2.0), "bias": jnp.full(2, 3.0)}}
        >>> print(f"{gradient_norms(grads)['fc']:.4f}")
        5.8310
    """
    return {layer: jnp.sqrt(_squares(arrays)) for layer, arrays in by_layer(grads).items()}


def update_ratios(params: Any, updates: Any) -> dict[str, jax.Array]:
    """Measure how far a step moves each layer: the norm of its update over that of its weights.

    About 1e-3 is usual. Far less and the layer hardly learns; more than 1e-1 and it jumps.

    Args:
        params: The parameters before the step.
        updates: What the optimizer adds to them, or the difference of two parameters.

    Returns:
        `{layer's dotted name: float32 []}`.

    Example:
        >>> weights, updates = {"w": jnp.full(4, 2.0)}, {"w": jnp.full(4, 0.01)}
        >>> print(f"{update_ratios({'fc': weights}, {'fc': updates})['fc']:.3f}")
        0.005
    """
    weights = by_layer(params)
    return {
        layer: jnp.sqrt(_squares(arrays)) / (jnp.sqrt(_squares(weights[layer])) + _TINY)
        for layer, arrays in by_layer(updates).items()
    }


def histograms(params: Any, bins: int = 64) -> dict[str, dict[str, jax.Array]]:
    """Count the values of each array of a pytree in bins of equal width.

    Args:
        params: Parameters, gradients or activations. Arrays of other kinds than floating point
            are left out.
        bins: How many.

    Returns:
        `{dotted name: {"counts": int32 [bins], "edges": float32 [bins + 1], "mean", "std": float32
        [] of the finite values, "nonfinite": int32 []}}`. The edges go from the smallest to the
        largest finite value.

    Raises:
        ValueError: bins below 1.

    Example:
        >>> found = histograms({"fc": {"weight": jnp.array([0.0, 0.1, 0.9, 1.0])}}, bins=2)
        >>> print(found["fc.weight"]["counts"], found["fc.weight"]["edges"])
        [2 2] [0.  0.5 1. ]
    """
    if bins < 1:
        raise ValueError(f"histograms: expected bins of 1 or more, got {bins}")
    return {name: _histogram(array, bins) for name, array in _named(params)}


def table(**columns: Mapping[str, Any]) -> str:
    """Lay out numbers by layer as text.

    Args:
        **columns: `{layer: number}` each, `gradient=gradient_norms(grads)` say.

    Example:
        >>> print(table(gradient={"fc1": 0.5, "fc2": 2e-7}))
        layer    gradient
        fc1           0.5
        fc2         2e-07
    """
    layers = list(dict.fromkeys(layer for column in columns.values() for layer in column))
    wide = max(5, *map(len, layers)) if layers else 5
    widths = {name: max(10, len(name)) for name in columns}
    lines = [f"{'layer':<{wide}}" + "".join(f"  {name:>{widths[name]}}" for name in columns)]
    for layer in layers:
        cells = (
            f"{float(column[layer]):.4g}" if layer in column else "" for column in columns.values()
        )
        lines.append(
            f"{layer:<{wide}}" + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths.values()))
        )
    return "\n".join(line.rstrip() for line in lines)


def by_layer(tree: Any) -> dict[str, list[jax.Array]]:
    """Group the floating point arrays of a pytree by the layer that holds them."""
    layers: dict[str, list[jax.Array]] = {}
    for name, array in _named(tree):
        layers.setdefault(name.rpartition(".")[0] or name, []).append(array)
    return layers


def _named(tree: Any) -> list[tuple[str, jax.Array]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = [(jax.tree_util.keystr(p, simple=True, separator="."), leaf) for p, leaf in leaves]
    return [(name, x) for name, x in named if jnp.issubdtype(jnp.result_type(x), jnp.floating)]


def _squares(arrays: list[jax.Array]) -> jax.Array:
    return sum((jnp.sum(jnp.square(x.astype(jnp.float32))) for x in arrays), jnp.float32(0))


def _histogram(array: jax.Array, bins: int) -> dict[str, jax.Array]:
    values = jnp.ravel(array).astype(jnp.float32)
    finite = jnp.isfinite(values)
    count = jnp.maximum(jnp.sum(finite, dtype=jnp.int32), 1).astype(jnp.float32)
    low = jnp.where(jnp.any(finite), jnp.min(values, where=finite, initial=jnp.inf), 0.0)
    high = jnp.where(jnp.any(finite), jnp.max(values, where=finite, initial=-jnp.inf), 0.0)
    high = jnp.where(high > low, high, low + jnp.maximum(jnp.abs(low) * 1e-3, 1e-6))
    shares = jnp.where(finite, (values - low) / (high - low), 0.0)
    places = jnp.clip((shares * bins).astype(jnp.int32), 0, bins - 1)
    counts = jnp.zeros(bins, jnp.int32).at[places].add(finite.astype(jnp.int32))
    mean = jnp.sum(jnp.where(finite, values, 0.0)) / count
    spread = jnp.sum(jnp.where(finite, jnp.square(values - mean), 0.0)) / count
    edges = low + (high - low) * jnp.arange(bins + 1, dtype=jnp.float32) / bins
    nonfinite = jnp.sum(~finite, dtype=jnp.int32)
    return {
        "counts": counts, "edges": edges, "mean": mean, "std": jnp.sqrt(spread),
        "nonfinite": nonfinite,
    }  # fmt: skip
