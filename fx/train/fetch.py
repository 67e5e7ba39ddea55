"""What steps report, from the device to the host: many calls' metrics as a few arrays."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.evaluate.mean import Sums

# Values that are joined on the device: a transfer, and on a CPU the making of an array, costs more
# than all else that is done for a value. More of them would not be waited for in short epochs.
CHUNK = 16


def as_arrays(calls: Sequence[tuple[dict[str, Any], int]], stacked: bool = False) -> dict[str, Any]:
    """Turn the metrics of calls of a step into float64 arrays [steps of all calls].

    Args:
        calls: Metrics of the same names, scalars or arrays [steps], and the steps of each call.
            Leaves of a `Sums` have any shape; they come back as [steps of all calls, ...].
        stacked: The leaves of a `Sums` have the steps as their first axis.

    Raises:
        ValueError: A metric of another number of values.
    """
    parts, sums = {}, {}
    for name, value in calls[0][0].items():
        if isinstance(value, Sums):
            each = [jax.tree.leaves(metrics[name]) for metrics, _ in calls]
            _check_alike(name, each, stacked)
            sums[name] = [_joined(leaves) for leaves in map(list, zip(*each, strict=True))]
            continue
        values = [metrics[name] for metrics, _ in calls]
        values = [value if isinstance(value, jax.Array) else np.asarray(value) for value in values]
        for value, (_, steps) in zip(values, calls):
            if value.size != steps:
                raise ValueError(
                    f"fit: expected metric {name!r} to have one value for each of {steps} steps, "
                    f"got shape {list(value.shape)}"
                )
        parts[name] = _joined(values)
    lists = [*parts.values(), *itertools.chain.from_iterable(sums.values())]
    _start_copies(itertools.chain.from_iterable(lists))
    found: dict[str, Any] = {name: _numbers(values) for name, values in parts.items()}
    for name, leaves in sums.items():
        form = calls[0][0][name]
        shapes = [np.shape(leaf)[1 if stacked else 0 :] for leaf in jax.tree.leaves(form)]
        rows = [_numbers(leaf).reshape(-1, *shape) for leaf, shape in zip(leaves, shapes)]
        found[name] = jax.tree.unflatten(jax.tree.structure(form), rows)
    return found


def _check_alike(name: str, calls: list[list[Any]], stacked: bool) -> None:
    shapes = [[np.shape(leaf)[1 if stacked else 0 :] for leaf in leaves] for leaves in calls]
    if other := next((each for each in shapes if each != shapes[0]), None):
        raise ValueError(
            f"fit: expected the sums of {name!r} to have the same shapes in every batch, got "
            f"{[list(shape) for shape in shapes[0]]} and {[list(shape) for shape in other]}; sum "
            "over the examples"
        )


def _numbers(values: list[Any]) -> np.ndarray:
    flat = [np.asarray(value).reshape(-1) for value in values]
    return np.concatenate(flat).astype(np.float64)


def _joined(values: list[Any]) -> list[Any]:
    """The same values in order, whole chunks of them in one array each."""
    whole = len(values) // CHUNK * CHUNK
    if not all(isinstance(value, jax.Array) for value in values[:whole]):
        return values
    chunks = [_join(values[at : at + CHUNK]) for at in range(0, whole, CHUNK)]
    return [*chunks, *values[whole:]]


@jax.jit
def _join(values: list[jax.Array]) -> jax.Array:
    return jnp.concatenate([value.reshape(-1) for value in values])


def _start_copies(values: Iterable[Any]) -> None:
    """Have every copy to the host under way before the first is waited for."""
    arrays = [value for value in values if isinstance(value, jax.Array)]
    # On a CPU there is nothing to copy, and to ask for it costs more than all else in a call.
    if arrays and next(iter(arrays[0].devices())).platform != "cpu":
        for array in arrays:
            array.copy_to_host_async()
