"""Running statistics for averaged weights, which no training step has run."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fx import nn


def update_bn(
    loader: Iterable[Any],
    model: nn.Module,
    params: Any,
    state: Any,
    *,
    transform: Callable[[Any, Any], Any] | None = None,
    key: jax.Array | None = None,
) -> Any:
    """Recompute the running statistics of every BatchNorm as plain averages over batches.

    Args:
        loader: Batches `(inputs, targets)` or inputs alone; inputs that are a tuple inside of a
            batch become several arguments of the model.
        model: The description. One without BatchNorm leaves the state as it is.
        params: The weights to compute with: `averaged_params(ts.opt_state)`.
        state: The model's state.
        transform: `(inputs, key) -> inputs`, called with None as the key, as in evaluation.
        key: For layers that draw random numbers in training, as Dropout does; default
            `jax.random.key(0)`.

    Returns:
        The state with new statistics; other buffers, and parts in `nn.eval_mode`, are as they were.
        `num_batches_tracked` is the number of batches.

    Raises:
        ValueError: The loader yielded no batch.
        TypeError: The model is not one of `fx.nn`, whose BatchNorms can be found.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn, optim
        >>> model = nn.BatchNorm1d(1)
        >>> params, state = model.init(jax.random.key(0))
        >>> batches = [jnp.array([[1.0], [3.0]]), jnp.array([[3.0], [5.0]])]
        >>> state = optim.update_bn(batches, model, params, state)
        >>> print(state["running_mean"], state["running_var"])
        [3.] [2.]

    Source: torch.optim.swa_utils.update_bn, which changes the model. Dropout is on, as there.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"update_bn: expected a model of fx.nn, got {type(model).__name__}")
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    parts = [(name, part) for name, part in model.named_modules() if isinstance(part, kinds)]
    fixed = tuple(name for name, part in model.named_modules() if nn.always_evaluates(part))
    names = [
        name
        for name, part in parts
        if part.track_running_stats and not any(_is_in(name, outer) for outer in fixed)
    ]
    if not names:
        return state
    averaging, new = model, state
    for name in names:
        path = tuple(name.split(".")) if name else ()
        averaging = nn.replace(averaging, ".".join((*path, "momentum")), None)
        new = _reset(new, path)
    key, count = jax.random.key(0) if key is None else key, 0
    for batch in loader:
        inputs = batch[0] if isinstance(batch, tuple | list) else batch
        new = _forward(averaging, transform, params, new, inputs, jax.random.fold_in(key, count))
        count += 1
    if count == 0:
        raise ValueError("update_bn: expected batches, but the loader yielded none")
    return _only(names, new, state)


def _is_in(name: str, outer: str) -> bool:
    return not outer or name == outer or name.startswith(outer + ".")


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(model: nn.Module, transform: Any, params: Any, state: Any, inputs: Any, key: Any):
    if transform is not None:
        inputs = transform(inputs, None)
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    return model.apply(params, state, *arguments, train=True, key=key)[1]


def _reset(state: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The state with the statistics at `path` as those of a new layer."""
    if path:
        return {**state, path[0]: _reset(state[path[0]], path[1:])}
    return {
        "running_mean": jnp.zeros_like(state["running_mean"]),
        "running_var": jnp.ones_like(state["running_var"]),
        "num_batches_tracked": jnp.zeros_like(state["num_batches_tracked"]),
    }


def _only(names: list[str], new: Any, old: Any, path: tuple[str, ...] = ()) -> Any:
    """The new state of the parts called `names`, and the old one of all others."""
    if ".".join(path) in names:
        return new
    if isinstance(old, Mapping):
        return {name: _only(names, new[name], old[name], (*path, name)) for name in old}
    return old
