"""An optimizer for each layer of `nn.Stack`, whose arrays hold all layers."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def layerwise(
    optimizer: optax.GradientTransformation, scale: Sequence[float] | jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """Let an optimizer see each layer of a stack as parameters of their own.

    `nn.Stack` and `nn.vmap` keep one array [n, ...] for n layers. Optimizers that look at one
    number at a time (SGD, Adam) do the same to it as to n arrays. Those that look at a parameter
    as a whole (Muon, Adafactor, LAMB, clipping by the norm of a block) take the layers together;
    with this around them they do what they do to layers that stand one by one. The program does
    not grow with n.

    Args:
        optimizer: Any optax transformation. What it keeps besides values of the parameters' own,
            a count, a rate or a key for noise, is one for all layers.
        scale: Factor of each layer's steps, weight decay included, [n], the first layer first:
            smaller rates for lower layers, as in fine-tuning, or 0 for layers that keep their bits
            (their gradients are computed all the same).

    Returns:
        An optax transformation, for parameters with one length n of their first axis: those of
        one stack. Name them through `groups`. Its state is the optimizer's own, values of the
        parameters with their axis in front, so that `current_lr` reads it as ever.

    Raises:
        ValueError: A scale that is negative or has more than one axis; at init or update,
            parameters without a first axis, with different lengths of it, or with another than
            that of `scale`; an optimizer that keeps one number which differs among layers.

    Example:
        >>> import jax
        >>> from fx import nn, optim
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.Stack(nn.Linear(8, 8), 12))
        >>> params, _ = model.init(jax.random.key(0))
        >>> params["1"]["block"]["weight"].shape
        (12, 8, 8)
        >>> muon = layerwise(optim.muon(0.02))
        >>> optimizer = optim.groups({"1.block.weight": muon}, default=optim.adamw(1e-3))
        >>> opt_state = optimizer.init(params)

        Fine-tuning, each layer at 0.8 times the rate of the one above it:

        >>> decayed = layerwise(optim.adamw(1e-4), scale=[0.8**k for k in reversed(range(12))])

    Source: there is none in torch, where a layer's parameters are its own. `optax.contrib.muon`
    has an option of its own for such axes, `muon_weight_dimension_numbers`.
    """
    inner = optax.with_extra_args_support(optimizer)
    factors = None if scale is None else _factors(scale)

    def init(params: Any) -> Any:
        if not jax.tree.leaves(params):  # optax asks with a placeholder
            return inner.init(params)
        return _map(inner.init, _axes(inner, params, factors))(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if not jax.tree.leaves(updates):
            return inner.update(updates, state, params, **extra)

        def step(updates: Any, state: Any, params: Any) -> Any:
            return inner.update(updates, state, params, **extra)

        axes = _axes(inner, updates, factors)
        mapped = _map(step, (0, axes), in_axes=(0, axes, None if params is None else 0))
        updates, state = mapped(updates, state, params)
        if factors is not None:
            updates = jax.tree.map(functools.partial(_scaled, factors), updates)
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)


def _factors(scale: Any) -> jax.Array:
    factors = jnp.asarray(scale, jnp.result_type(float))
    traced = isinstance(factors, jax.core.Tracer)
    if factors.ndim != 1 or (not traced and not bool(jnp.all(factors >= 0))):
        raise ValueError(f"layerwise: expected scale as factors [n] of 0 or more, got {scale}")
    return factors


def _scaled(factors: jax.Array, updates: jax.Array) -> jax.Array:
    each = factors.astype(updates.dtype).reshape(-1, *(1,) * (updates.ndim - 1))
    # x + -0.0 is x for every x.
    return jnp.where(each == 0, jnp.full_like(updates, -0.0), each * updates)


def _axes(optimizer: Any, params: Any, factors: jax.Array | None) -> Any:
    """Which leaves of the state have an axis of layers: 0, and None for the others."""
    _check(params, factors)
    layer = jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), params)
    state = jax.eval_shape(optimizer.init, layer)
    of_params = optax.tree_utils.tree_map_params(
        optimizer, lambda leaf: True, state, transform_non_params=lambda leaf: False
    )
    structure = jax.tree.structure(state)
    return structure.unflatten([0 if own else None for own in jax.tree.leaves(of_params)])


def _map(function: Any, out_axes: Any, in_axes: Any = 0) -> Any:
    mapped = jax.vmap(function, in_axes, out_axes)

    def call(*args: Any) -> Any:
        try:
            return mapped(*args)
        except ValueError as error:
            if "out_axes" not in str(error):
                raise
            raise ValueError(
                "layerwise: expected an optimizer whose state is values of the parameters' own and "
                "numbers that are the same for all layers, but it keeps one that differs from "
                "layer to layer; use it without layerwise, or models without nn.Stack"
            ) from error

    return call


def _check(params: Any, factors: jax.Array | None) -> None:
    named = jax.tree_util.tree_leaves_with_path(params)
    shapes = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in named}
    if len({shape[:1] for shape in shapes.values()}) > 1 or () in shapes.values():
        shown = [f"{name} {list(shape)}" for name, shape in shapes.items()]
        raise ValueError(
            "layerwise: expected parameters of one stack, with one length of the first axis, got "
            f"{', '.join(shown[:4])}{f' and {len(shown) - 4} more' * (len(shown) > 4)}; name those "
            'of each stack in a group: optim.groups({"layers.block.*": '
            "optim.layerwise(...)}, default=...)"
        )
    layers = next(iter(shapes.values()))[0]
    if factors is not None and len(factors) != layers:
        raise ValueError(
            f"layerwise: expected a factor in scale for each of {layers} layers, got {len(factors)}"
        )
