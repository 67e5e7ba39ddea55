"""One training step: augmentation, forward, loss, gradients, update, compiled as one program."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fx.data.loader import as_integer
from fx.optim import current_lr
from fx.train.precision import check_precision, matmul_precision, to_compute, to_output
from fx.train.state import TrainState, is_donated

Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Step:
    """A compiled training step: `step(ts, batch) -> (ts, metrics)`.

    Attributes:
        function: The same as a pure function, not compiled; to transform or to read.
        compiled: `jax.jit(function)`; what a call runs.
        steps_per_call: Training steps that one call runs, over the leading axis of its batch.
    """

    function: Callable[[TrainState, Any], tuple[TrainState, Metrics]]
    compiled: Callable[[TrainState, Any], tuple[TrainState, Metrics]] = dataclasses.field(
        repr=False
    )
    steps_per_call: int = 1

    def __call__(self, ts: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        """Run `steps_per_call` steps.

        Raises:
            ValueError: `ts` went into an earlier call, which reused its memory.
        """
        if is_donated(ts.step):
            raise ValueError(
                "train step: expected a state whose arrays are there, but this one went into an "
                "earlier call, which reused its memory; use the state that the call returned, or "
                "make the step with donate=False"
            )
        return self.compiled(ts, batch)


def make_step(
    model: Any,
    loss_fn: Callable[[Any, Any], jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    metrics: Callable[[Any, Any], Metrics] | None = None,
    transform: Callable[[Any, jax.Array], Any] | None = None,
    precision: str = "float32",
    steps_per_call: int = 1,
    donate: bool = True,
) -> Step:
    """Make a compiled training step.

    A batch is `(inputs, targets)`. Inputs that are a tuple become several arguments of the model.
    A step's randomness comes from `fold_in(ts.key, ts.step)`, split into a key for `transform` and
    one for the model, so it does not depend on how the run got there.

    Args:
        model: Any object with `apply(params, state, *inputs, train, key) -> (outputs, state)`.
        loss_fn: `(outputs, targets) -> loss`, a scalar.
        optimizer: An optax transformation, those of `fx.optim` included.
        metrics: `(outputs, targets) -> {name: scalar}`, to report beside the loss.
        transform: `(inputs, key) -> inputs`, compiled into the step: augmentation, normalisation.
        precision: "float32": real float32, on GPUs and TPUs too. "tf32": products as TF32 on
            GPUs. "bf16": parameters and inputs are cast to bfloat16 for the forward pass and its
            gradient; weights, the model's state, the optimizer, outputs, loss and metrics stay
            float32.
        steps_per_call: k > 1 runs k steps in one call: every leaf of the batch has a leading axis
            of at most k, and metrics come back stacked, `[k]`. Good on GPUs and TPUs; on CPUs XLA
            runs convolutions inside of loops slowly.
        donate: Reuse the memory of the state that goes in; it cannot be read afterwards.

    Returns:
        A `Step`. Metrics hold "loss", what `metrics` returns, and "learning_rate" where the
        optimizer's state has it (see `fx.optim.current_lr`).

    Raises:
        ValueError: An unknown precision, or steps_per_call below 1; at the first call, a batch
            that is not a pair, a loss or metric that is not a scalar, a model whose state changes
            structure, shape or dtype, an optimizer state of another optimizer; at any call, a
            state that was donated.
        TypeError: A steps_per_call that is not an integer; at the first call, metrics that are
            not a dictionary.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> class Line:
        ...     def init(self, key):
        ...         return {"weight": jnp.zeros(())}, {}
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return params["weight"] * x, state
        >>> optimizer = fx.optim.sgd(0.5)
        >>> ts = fx.train.create(Line(), optimizer, jax.random.key(0))
        >>> step = make_step(Line(), lambda y, target: jnp.mean((y - target) ** 2), optimizer)
        >>> ts, metrics = step(ts, (jnp.ones(4), jnp.ones(4)))
        >>> print(metrics["loss"], metrics["learning_rate"], ts.params["weight"])
        1.0 0.5 1.0
    """
    check_precision(precision)
    steps_per_call = as_integer("make_step", "steps_per_call", steps_per_call)
    if steps_per_call < 1:
        raise ValueError(f"make_step: expected steps_per_call of 1 or more, got {steps_per_call}")

    def one_step(ts: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        inputs, targets = split_batch(batch)
        augment_key, model_key = jax.random.split(jax.random.fold_in(ts.key, ts.step))
        if transform is not None:
            inputs = transform(inputs, augment_key)

        def objective(params: Any) -> tuple[jax.Array, tuple[Any, Any]]:
            arguments = as_arguments(to_compute(inputs, precision))
            compute = to_compute(params, precision)
            outputs, state = model.apply(compute, ts.state, *arguments, train=True, key=model_key)
            outputs = to_output(outputs, precision)
            loss = loss_fn(outputs, targets)
            check_scalars("loss_fn", {"loss": loss})
            return loss, (outputs, state)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, (outputs, state)), grads = gradient(ts.params)
        _check_same("the model's state", ts.state, state)
        params, opt_state = _update(optimizer, ts, grads, loss, lambda p: objective(p)[0])
        report = {"loss": loss, **read_metrics(metrics, outputs, targets)}
        rate = current_lr(opt_state)
        if rate is not None:
            report["learning_rate"] = rate
        new = dataclasses.replace(
            ts, step=ts.step + 1, params=params, state=state, opt_state=opt_state
        )
        return new, report

    def function(ts: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        _check_optimizer(optimizer, ts)
        with matmul_precision(precision):
            if steps_per_call == 1:
                return one_step(ts, batch)
            _check_stacked(batch, steps_per_call)
            return jax.lax.scan(one_step, ts, batch)

    compiled = jax.jit(function, donate_argnums=0 if donate else ())
    return Step(function, compiled, steps_per_call)


def split_batch(batch: Any) -> tuple[Any, Any]:
    """Return inputs and targets, or say what came instead."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        shape = getattr(batch, "shape", None)
        came = type(batch).__name__ if shape is None else f"an array {list(shape)}"
        if isinstance(batch, tuple | list | dict):
            came += f" of {len(batch)}"
        raise ValueError(
            f"train step: expected a batch (inputs, targets), got {came}; several inputs go in as "
            "one tuple, ((a, b), targets)"
        )
    return batch[0], batch[1]


def as_arguments(inputs: Any) -> tuple:
    """Inputs as the model's positional arguments: a tuple is several, anything else is one."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def read_metrics(metrics: Callable[[Any, Any], Metrics] | None, outputs: Any, targets: Any):
    """Compute the user's metrics, and check that they are a dictionary of scalars."""
    if metrics is None:
        return {}
    values = metrics(outputs, targets)
    if not isinstance(values, dict):
        raise TypeError(
            f"metrics: expected a dictionary of scalars, got {type(values).__name__}; "
            'return {"accuracy": ...}'
        )
    taken = {"loss", "learning_rate"} & set(values)
    if taken:
        raise ValueError(f"metrics: {sorted(taken)[0]!r} is reported already; use another name")
    check_scalars("metrics", values)
    return values


def check_scalars(where: str, values: Metrics) -> None:
    """Raise unless every value is a scalar."""
    for name, value in values.items():
        if jnp.shape(value) != ():
            raise ValueError(
                f"{where}: expected {name!r} to be a scalar, got shape {list(jnp.shape(value))}; "
                "take the mean over the batch"
            )


def _update(optimizer, ts: TrainState, grads: Any, loss: jax.Array, value_fn: Callable):
    # Some optimizers of optax need the loss (reduce_on_plateau) or a line search (lbfgs).
    update = optax.with_extra_args_support(optimizer).update
    extra = {"value": loss, "grad": grads, "value_fn": value_fn}
    # Optimizers of optax mix floats and integers, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = update(grads, ts.opt_state, ts.params, **extra)
        params = optax.apply_updates(ts.params, updates)
    _check_same("the parameters", ts.params, params)
    return params, opt_state


def _check_optimizer(optimizer: optax.GradientTransformation, ts: TrainState) -> None:
    with jax.numpy_dtype_promotion("standard"):
        fresh = jax.eval_shape(optimizer.init, ts.params)
    if jax.tree.structure(fresh) == jax.tree.structure(ts.opt_state):
        return
    expected, came = _named(fresh), _named(ts.opt_state)
    faults = [f"{name} is missing" for name in expected if name not in came]
    faults += [f"{name} is not its" for name in came if name not in expected]
    raise ValueError(
        "train step: expected ts.opt_state to be that of the optimizer given to make_step, but "
        + (", ".join(faults) or "its containers differ")
        + "; give train.create the same optimizer, or ts.replace(opt_state=optimizer.init(params))"
    )


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _check_same(what: str, before: Any, after: Any) -> None:
    old, new = _named(before), _named(after)
    faults = [f"{name} is gone" for name in old if name not in new]
    faults += [f"{name} is new" for name in new if name not in old]
    for name in old:
        if name in new:
            was, now = _kind(old[name]), _kind(new[name])
            faults += [f"{name} was {was} and is {now}"] if was != now else []
    if faults:
        raise ValueError(
            f"train step: expected {what} to keep structure, shapes and dtypes, but "
            + "; ".join(faults)
        )


def _kind(leaf: Any) -> str:
    return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"


def _check_stacked(batch: Any, steps_per_call: int) -> None:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batch)]
    lengths = {shape[0] if shape else None for shape in shapes}
    if len(lengths) != 1 or None in lengths or not 1 <= max(lengths) <= steps_per_call:  # type: ignore[type-var]
        raise ValueError(
            f"train step: steps_per_call={steps_per_call} expected every array of the batch to "
            f"have a leading axis of the same 1 to {steps_per_call} steps, got shapes "
            f"{[list(shape) for shape in shapes]}; use "
            f"loader.epoch(epoch, steps_per_call={steps_per_call})"
        )
