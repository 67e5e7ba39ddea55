"""What a step expects of the things it is given, checked once, while it is traced."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fx.evaluate.mean import Mean, Sums
from fx.nn import spelled
from fx.train.state import TrainState

Metrics = dict[str, jax.Array]
RESERVED = (
    "loss", "learning_rate", "grad_norm", "loss_scale", "skipped", "finite", "epoch", "step",
    "kind",
)  # fmt: skip
REPORTED_BY_PART = ("finite", "gradient_norm", "learning_rate", "sums", "update_ratio", "weight")

SHOWN = 6
"""Faults that an error lists."""

_ARRAYS = jax.Array, np.ndarray, np.generic, int, float, complex


def read_metrics(metrics: Callable[[Any, Any], dict[str, Any]] | None, outputs: Any, targets: Any):
    """Compute the user's metrics: a dictionary of scalars, `Mean`s and `Sums`, checked."""
    if metrics is None:
        return {}
    with _explained("metrics", outputs):
        values = metrics(outputs, targets)
    if not isinstance(values, dict):
        raise TypeError(
            f"metrics: expected a dictionary of scalars, got {type(values).__name__}; "
            'return {"accuracy": ...}'
        )
    for name in values:
        if name in RESERVED or name.partition("/")[0] in REPORTED_BY_PART:
            raise ValueError(f"metrics: {name!r} is reported already; use another name")
    for name, value in values.items():
        check_scalars("metrics", _parts(name, value))
    return dict(values)


def read_loss(
    loss_fn: Callable[[Any, Any], Any], outputs: Any, targets: Any, of_part: bool = False
) -> Any:
    """Compute the loss, and check that it is a scalar or a `Mean` of two.

    With `of_part` it will be averaged with others. A module that knows what its mean divides by
    what, as `nn.CrossEntropyLoss` does, then gives both: the weights of classes and of what is
    ignored would be lost in a mean of means.
    """
    split = getattr(loss_fn, "sum_and_weight", None) if of_part else None
    with _explained("loss_fn", outputs):
        both = None if split is None else split(outputs, targets)
        loss = loss_fn(outputs, targets) if both is None else Mean(*both)
    if isinstance(loss, Sums):
        raise TypeError(
            "loss_fn: expected a scalar or a train.Mean, got Sums, which are for metrics"
        )
    check_scalars("loss_fn", _parts("loss", loss))
    return loss


@contextlib.contextmanager
def _explained(where: str, outputs: Any) -> Iterator[None]:
    """Say of a loss or metrics that fail what they may compute with, and what they were given."""
    try:
        yield
    except spelled.ASKS_FOR_VALUES as error:
        raise TypeError(
            f"{where}: expected a function that can be traced, but it asks for values (`if`, "
            "`float`, NumPy, scikit-learn), which are not known while the step is compiled; write "
            "it in jax.numpy, or compute it from train.predict, in a validate of your own "
            "(docs/training.md has one)"
        ) from error
    except Exception as error:
        if said := spelled.hint(error):
            error.add_note(f"{where}{said}")
        if isinstance(error, TypeError) and "positional argument" in str(error):
            error.add_note(
                f"{where} is called as {where}(outputs, targets); what it wants beside, a key or "
                "parameters, is used in the model's forward, which returns what comes of it, or in "
                "a step of your own (docs/recipes.md)"
            )
        if isinstance(outputs, dict | tuple | list):
            names = f" with {', '.join(map(repr, outputs))}" * isinstance(outputs, dict)
            error.add_note(
                f"{where} gets what the model returns, a {type(outputs).__name__} of "
                f"{len(outputs)}{names}; take from it what is wanted, "
                f"lambda outputs, targets: f(outputs[...], targets)"
            )
        raise


def _parts(name: str, value: Any) -> Metrics:
    if isinstance(value, Sums):
        return {name: value.value()}
    return value._asdict() if isinstance(value, Mean) else {name: value}


def check_scalars(where: str, values: Metrics) -> None:
    """Raise unless every value is a scalar."""
    for name, value in values.items():
        if isinstance(value, tuple | list | dict):
            raise TypeError(
                f"{where}: expected {name!r} to be a scalar, got a {type(value).__name__} of "
                f"{len(value)}; return the number alone"
                + ("; what else is to be reported is for metrics=" if where == "loss_fn" else "")
            )
        if jnp.shape(value) != ():
            raise ValueError(
                f"{where}: expected {name!r} to be a scalar, got shape {list(jnp.shape(value))}; "
                "take the mean over the batch"
            )


def check_optimizer(
    optimizer: optax.GradientTransformation,
    ts: TrainState,
    where: str = "train step",
    name: str = "step.optimizer",
) -> None:
    """Raise unless the state's `opt_state` is that of the optimizer, called `name`."""
    with jax.numpy_dtype_promotion("standard"):
        fresh = jax.eval_shape(optimizer.init, ts.params)
    if jax.tree.structure(fresh) == jax.tree.structure(ts.opt_state):
        return
    expected, came = named_leaves(fresh), named_leaves(ts.opt_state)
    faults = [f"{name} is missing" for name in expected if name not in came]
    faults += [f"{name} is not its" for name in came if name not in expected]
    raise ValueError(
        f"{where}: expected ts.opt_state to be that of the step's optimizer, but "
        + (_some(faults, ", ") or "its containers differ")
        + f"; make it with train.create(model, {name}, key), or with "
        f"ts.replace(opt_state={name}.init(ts.params))"
    )


def check_returned(number: int, found: Any) -> None:
    """Raise unless a step that somebody wrote gave a state that counts, and metrics.

    Args:
        number: Steps taken before it.
        found: What it returned.
    """
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(
            f"fit: expected step to return (ts, metrics), got {type(found).__name__}; write "
            'return ts, {"loss": loss}'
        )
    ts, metrics = found
    if not hasattr(ts, "step") or not isinstance(metrics, dict):
        raise TypeError(
            "fit: expected step to return the new training state and a dict of scalars, got "
            f"{type(ts).__name__} and {type(metrics).__name__}; write "
            'return ts.replace(step=ts.step + 1, params=params, ...), {"loss": loss}'
        )
    stopped = not jnp.all(jnp.asarray(metrics.get("finite", True)))  # by its own check
    if int(jax.device_get(ts.step)) == number and not stopped:
        raise ValueError(
            f"fit: expected step to count, but ts.step is {number} as it was before; checkpoints "
            "and random numbers go by it: write ts.replace(step=ts.step + 1, ...)"
        )


def check_validation(found: Any) -> Any:
    """Return what a validation found, or raise where it is no dictionary of numbers."""
    if not isinstance(found, Mapping):
        raise TypeError(
            f"fit: expected validate to return a dictionary of numbers, got "
            f'{type(found).__name__}; write return {{"loss": loss}}'
        )
    for name, value in found.items():
        if np.ndim(value) != 0 or not is_number(value):
            came = f"shape {list(np.shape(value))}" if np.ndim(value) else repr(value)
            raise TypeError(f"fit: expected validate's {name!r} to be a number, got {came}")
    return found


def is_number(value: Any) -> bool:
    """Whether it is a number or an array of them, true and false included."""
    kind = getattr(value, "dtype", None) or np.asarray(value).dtype
    return bool(kind.kind in "biuf" or jnp.issubdtype(kind, jnp.floating))


def check_same(what: str, before: Any, after: Any, where: str = "train step") -> None:
    """Raise unless two trees have the same names, shapes and dtypes."""
    old, new = named_leaves(before), named_leaves(after)
    faults = [f"{name} is gone" for name in old if name not in new]
    faults += [f"{name} is new" for name in new if name not in old]
    for name in old:
        if name in new:
            was, now = _kind(old[name]), _kind(new[name])
            faults += [f"{name} was {was} and is {now}"] if was != now else []
    if faults:
        raise ValueError(
            f"{where}: expected {what} to keep structure, shapes and dtypes, but "
            + _some(faults, "; ")
        )


def check_updates(params: Any, updates: Any) -> None:
    """Raise unless an optimizer's updates have the parameters' shapes: others are broadcast."""
    old, new = named_leaves(params), named_leaves(updates)
    for name in old:
        if name in new and jnp.shape(old[name]) != jnp.shape(new[name]):
            raise ValueError(
                f"train step: expected the optimizer's update of {name} to have the parameter's "
                f"shape {list(jnp.shape(old[name]))}, got {list(jnp.shape(new[name]))}; one that "
                "wants a gradient for each example (optax.contrib.dpsgd) needs a step of your own"
            )


def check_stacked(batch: Any, steps_per_call: int) -> None:
    """Raise unless every array of a batch has a leading axis of 1 to `steps_per_call` steps."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batch)]
    lengths = {shape[0] if shape else None for shape in shapes}
    if len(lengths) != 1 or None in lengths or not 1 <= max(lengths) <= steps_per_call:  # type: ignore[type-var]
        raise ValueError(
            f"train step: steps_per_call={steps_per_call} expected every array of the batch to "
            f"have a leading axis of the same 1 to {steps_per_call} steps, got shapes "
            f"{[list(shape) for shape in shapes]}; use "
            f"loader.epoch(epoch, steps_per_call={steps_per_call})"
        )


def _some(faults: list[str], between: str) -> str:
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return between.join(faults[:SHOWN] + more)


def check_arrays(batch: Any) -> None:
    """Raise where a leaf of a batch is no array, a torch tensor for example."""
    for name, leaf in named_leaves(batch).items():
        if not isinstance(leaf, _ARRAYS):
            raise TypeError(
                f"train step: expected a batch of arrays, got {type(leaf).__module__}."
                f"{type(leaf).__name__} at batch{name}; convert it with np.asarray"
            )


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path as text."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _kind(leaf: Any) -> str:
    return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
