"""Loss and gradients of one step: forward in the step's precision, in one piece or in parts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fx.data.batch import as_arguments, explained
from fx.debug.finite import layer_flags
from fx.evaluate.mean import Mean, Sums, quotient, reported
from fx.functional.layout import as_weights_lie
from fx.train.checks import Metrics, check_same, read_loss, read_metrics
from fx.train.precision import to_compute, to_output
from fx.train.sharding import Sharding

Policy = Callable[..., Any]


def make_gradient(
    model: Any,
    loss_fn: Callable[[Any, Any], jax.Array | Mean],
    metrics: Callable[[Any, Any], dict[str, Any]] | None,
    *,
    precision: str,
    accumulate: int,
    remat: bool | Policy,
    flags: bool,
    sharding: Sharding | None,
) -> Callable[..., tuple[Any, Any, Metrics]]:
    """Make the function that a step calls for its gradients.

    Returns:
        `(params, state, inputs, targets, key, scale) -> (grads, state, report)`, where `report`
        has "loss", the metrics, and with `flags` "finite/<layer>" for every layer. `scale`
        multiplies the loss before it is differentiated, and divides the gradients afterwards;
        None leaves it out.
    """

    def objective(params: Any, state: Any, inputs: Any, targets: Any, key: Any, scale: Any):
        arguments = as_arguments(to_compute(inputs, precision))
        compute = to_compute(params, precision)
        with explained(inputs):
            outputs, new_state = model.apply(compute, state, *arguments, train=True, key=key)
        outputs = to_output(outputs, precision)
        found = read_loss(loss_fn, outputs, targets, of_part=True)
        if isinstance(found, Mean):
            loss, weight = found if accumulate > 1 else (quotient(*found), found.weight)
        else:
            loss, weight = found, None
        scaled = loss if scale is None else loss * scale.astype(loss.dtype)
        return scaled, (loss, weight, outputs, new_state)

    if flags:
        objective = layer_flags(objective)
    if remat:
        # Products and convolutions are kept, what is cheap between them is computed again.
        policy = remat if callable(remat) else _keep_products
        objective = jax.checkpoint(objective, policy=policy)

    def part(params: Any, state: Any, inputs: Any, targets: Any, key: Any, scale: Any = None):
        reached: list[bool] = []

        def watched(params: Any) -> Any:
            return objective(_noting(reached)(params), state, inputs, targets, key, scale)

        (_, aux), grads = jax.value_and_grad(watched, has_aux=True)(params)
        _check_reached(reached, params)
        grads = as_weights_lie(grads)
        (loss, weight, outputs, new_state), finite = aux if flags else (aux, {})
        check_same("the model's state", state, new_state)
        if scale is not None:
            grads = jax.tree.map(lambda g: g * (1 / scale).astype(g.dtype), grads)
        named = read_metrics(metrics, outputs, targets)
        report = {"loss": loss, **named}
        if accumulate == 1:
            report = {} if weight is None else {"weight/loss": weight}
            for name, value in {"loss": loss, **named}.items():
                report |= reported(name, value)
        report |= {f"finite/{name}": flag for name, flag in finite.items()}
        return grads, new_state, report, weight

    if accumulate > 1:
        return _in_parts(part, accumulate, sharding)
    return lambda *arguments: part(*arguments)[:3]


def _noting(reached: list[bool]) -> Callable[[Any], Any]:
    """The identity; what it is given grows while it is traced and a gradient goes back through."""

    @jax.custom_vjp
    def identity(params: Any) -> Any:
        return params

    def backward(_: None, grads: Any) -> tuple[Any]:
        reached.append(True)
        return (grads,)

    identity.defvjp(lambda params: (params, None), backward)
    return identity


def _check_reached(reached: list[bool], params: Any) -> None:
    if jax.tree.leaves(params) and not reached:
        raise ValueError(
            "train step: expected a loss with a gradient to the parameters, but it has none; "
            "argmax, round, comparisons, integers and stop_gradient let none through, nor does a "
            "loss that is not computed from the model's outputs: take one that can be "
            "differentiated, cross_entropy in place of an accuracy say, which is for metrics="
        )


def _in_parts(
    part_of: Callable[..., tuple[Any, Any, Metrics, Any]],
    parts: int,
    sharding: Sharding | None,
):
    """Split a batch, divide the sums of losses and gradients by the weight, average the rest."""

    def accumulated(
        params: Any, state: Any, inputs: Any, targets: Any, key: Any, scale: Any = None
    ):
        def one(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], Any]:
            (state, total), (index, inputs, targets) = carry, part
            own_key = jax.random.fold_in(key, index)
            grads, state, *rest = part_of(params, state, inputs, targets, own_key, scale)
            return (state, jax.tree.map(jnp.add, total, grads)), rest

        inputs, targets = _split(inputs, parts), _split(targets, parts)
        if sharding is not None:  # each part over all devices, instead of each device a part
            inputs, targets = sharding.split((inputs, targets), stacked=True)
        zeros = jax.tree.map(jnp.zeros_like, params)
        # XLA runs convolutions inside of loops slowly on CPUs, so that there the parts are laid
        # out one after the other.
        unroll = parts if jax.default_backend() == "cpu" else 1
        indices = jnp.arange(parts, dtype=jnp.int32)
        xs = (indices, inputs, targets)
        (state, total), (report, weights) = jax.lax.scan(one, (state, zeros), xs, unroll=unroll)
        weight = jnp.float32(parts) if weights is None else jnp.sum(weights)
        grads = jax.tree.map(lambda g: quotient(g, weight), total)
        found = {"loss": quotient(jnp.sum(report.pop("loss")), weight)}
        found |= {} if weights is None else {"weight/loss": weight}
        for name, each in report.items():
            found |= reported(name, _over_parts(name, each))
        return grads, state, found

    return accumulated


def _split(tree: Any, parts: int) -> Any:
    def split(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        rows = leaf.shape[0] if leaf.ndim else 0
        if rows == 0 or rows % parts:
            raise ValueError(
                f"train step: accumulate={parts} expected batches whose number of examples it "
                f"divides, got an array {list(leaf.shape)}; choose another batch_size, and "
                "drop_last=True where the last batch is shorter"
            )
        return leaf.reshape(parts, rows // parts, *leaf.shape[1:])  # [parts, B / parts, ...]

    return jax.tree.map(split, tree)


def _over_parts(name: str, values: Any) -> Any:
    if isinstance(values, Mean | Sums):
        return jax.tree.map(lambda part: jnp.sum(part, 0), values)
    if name.startswith("finite/"):
        return jnp.all(values, 0)
    if not jnp.issubdtype(values.dtype, jnp.inexact):
        values = values.astype(jnp.float32)
    return jnp.mean(values, 0)


def _keep_products(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in ("dot_general", "conv_general_dilated")
