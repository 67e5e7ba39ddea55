"""Compiled prediction, over batches that are padded to one size."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fx.data.batch import as_arguments, explained, split_batch, transformed
from fx.data.listed import as_padded
from fx.data.transforms.mixing import takes_targets
from fx.donated import check_present
from fx.nn.keys import check_key
from fx.train.precision import check_precision, matmul_precision, to_compute, to_output

RUN_AHEAD = 8
"""Calls that may be on their way to the device at once."""


class Padded(Protocol):
    """What evaluation needs of a loader."""

    def padded(self) -> Iterable[tuple[Any, Any]]:
        """Yield `((inputs, targets), mask)`, batches of one size with mask False on padding.

        Each call begins anew.
        """
        ...


def predict(
    model: Any,
    params: Any,
    state: Any,
    loader: Padded | list[Any],
    *,
    transform: Callable[[Any, Any], Any] | None = None,
    precision: str = "float32",
    key: jax.Array | None = None,
) -> tuple[Any, Any]:
    """Run a model over a data set, and return what came out beside the targets.

    Args:
        model: Any object with `apply(params, state, *inputs, train) -> (outputs, state)`.
        params: Parameters.
        state: State.
        loader: Whose `padded()` yields `((inputs, targets), mask)`; or a list of batches.
        transform: As for `make_eval`.
        precision: As for `make_step`; outputs are float32.
        key: As for `make_eval`.

    Returns:
        Outputs and targets as NumPy arrays (or trees of these), `[N, ...]`, without padding, in
        the data set's order.

    Raises:
        ValueError: Outputs whose first axis is not the batch's, batches of sequences that were
            padded to different lengths, or a loader that yields nothing.
        TypeError: A loader without `padded` that is no list; a key that is none.

    Example:
        >>> import jax.numpy as jnp
        >>> class Double:
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return 2 * x, state
        >>> class Three:
        ...     def padded(self):
        ...         yield (jnp.arange(4.0), jnp.arange(4)), jnp.array([True, True, True, False])
        >>> predict(Double(), {}, {}, Three())
        (array([0., 2., 4.], dtype=float32), array([0, 1, 2], dtype=int32))
    """
    loader = as_padded("predict", loader)
    check_present("predict", params=params, state=state)
    forward = forward_of("predict", model, precision, key)

    changes = takes_targets(transform)  # else they need not pass through it

    @jax.jit
    def run(params: Any, state: Any, number: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
        with matmul_precision(precision):
            inputs, targets = transformed(transform, inputs, targets, transform_key(key, number))
            return forward(params, state, inputs, number), targets

    parts = []
    for number, (batch, mask) in enumerate(loader.padded()):
        inputs, targets = split_batch(batch)
        given = targets if changes else None
        outputs, changed = run(params, state, np.int32(number), inputs, given)
        targets = changed if changes else targets
        check_rows(outputs, np.shape(mask)[0])
        found, rows = _to_host(((outputs, targets), mask))
        parts.append(jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], found))
    if not parts:
        raise ValueError("predict: the loader yielded no batch")
    return jax.tree.map(_joined, *parts)


def forward_of(
    where: str, model: Any, precision: str, key: jax.Array | None
) -> Callable[[Any, Any, Any, Any], Any]:
    """Make `(params, state, inputs, number of the batch) -> outputs`, float32."""
    check_precision(precision)
    if key is not None:
        check_key(where, key)

    def forward(params: Any, state: Any, inputs: Any, number: Any) -> Any:
        arguments = as_arguments(to_compute(inputs, precision))
        drawn = {} if key is None else {"key": jax.random.fold_in(key, number)}
        with explained(inputs):
            outputs, _ = model.apply(
                to_compute(params, precision), state, *arguments, train=False, **drawn
            )
        return to_output(outputs, precision)

    return forward


def transform_key(key: jax.Array | None, number: Any) -> jax.Array | None:
    """The key of a batch's transform, another than its model's; None without one."""
    return None if key is None else jax.random.split(jax.random.fold_in(key, number))[0]


def check_rows(outputs: Any, rows: int) -> None:
    """Raise unless every output has the batch as its first axis."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(outputs):
        if jnp.shape(leaf)[:1] != (rows,):
            raise ValueError(
                f"evaluation: expected the model's output{jax.tree_util.keystr(path)} to have the "
                f"batch of {rows} as its first axis, got shape {list(jnp.shape(leaf))}; give each "
                "example the value, jnp.full(len(x), value), or evaluate a model around this one "
                "that leaves it out"
            )


def _joined(*batches: np.ndarray) -> np.ndarray:
    shapes = sorted({batch.shape[1:] for batch in batches})
    if len(shapes) > 1:
        raise ValueError(
            "predict: expected outputs and targets of one shape in all batches, got "
            f"{' and '.join(str([len(batches[0]), *shape]) for shape in shapes[:2])}; pad all "
            "batches to one length, fx.data.PadCollate(buckets=(length,))"
        )
    return np.concatenate(batches)


def _to_host(tree: Any) -> Any:
    """NumPy arrays; of several processes each gets all rows."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)
