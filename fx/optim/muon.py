"""Muon: momentum whose matrices are made orthogonal."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, at_least_float32, check, given


def muon(
    lr: Rate = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
    *,
    ns_dtype: Any = jnp.bfloat16,
) -> optax.GradientTransformation:
    """Momentum made orthogonal: all directions of a weight matrix move at about the same speed.

    For the matrices of hidden layers alone. Give embeddings, biases, norms, convolutions and the
    last layer to another optimizer through `groups`:
    `groups({"layers.*.weight": muon(0.02)}, default=adamw(3e-4))`.

    Args:
        lr: Learning rate, or a schedule.
        weight_decay: Share of a weight, times the learning rate, taken off at each step.
        momentum: Decay of the average of the gradient.
        nesterov: Use Nesterov's momentum.
        ns_coefficients: Of the Newton-Schulz iteration's polynomial.
        eps: Least norm by which a matrix is divided.
        ns_steps: Newton-Schulz iterations.
        adjust_lr_fn: "original" or None: steps times sqrt(max(1, rows / columns)).
            "match_rms_adamw": times 0.2 sqrt(max(rows, columns)), for learning rates and weight
            decays that were found for AdamW.
        ns_dtype: That of the Newton-Schulz iteration; None: the parameter's. bfloat16 is
            torch's, and fast on GPUs and TPUs; on CPUs float32 is as good or better.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, an unknown adjust_lr_fn, coefficients that are not three,
            ns_steps of 100 or more; at init, parameters that do not have two dimensions.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> optimizer = muon(0.02, weight_decay=0.0, ns_dtype=jnp.float32)
        >>> grads = jax.random.normal(jax.random.key(0), (3, 4))
        >>> updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
        >>> bool(jnp.all(jnp.abs(jnp.linalg.svd(updates)[1] / 0.02 - 1) < 0.4))
        True

    Source: torch.optim.Muon, whose iteration is always in bfloat16; Jordan,
    https://kellerjordan.github.io/posts/muon/; arXiv 2502.16982.
    """
    check("muon", lr=lr, weight_decay=weight_decay, momentum=momentum, eps=eps)
    if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
        raise ValueError(
            'muon: expected adjust_lr_fn None, "original" or "match_rms_adamw", '
            f"got {adjust_lr_fn!r}"
        )
    if len(ns_coefficients) != 3:
        raise ValueError(f"muon: expected three ns_coefficients, got {ns_coefficients}")
    if not 0 <= ns_steps < 100:
        raise ValueError(f"muon: expected ns_steps in [0, 100), got {ns_steps}")

    def init(params: Any) -> optax.TraceState:
        _check_matrices(params)
        return optax.TraceState(optax.tree_utils.tree_zeros_like(params))

    def update(updates: Any, state: Any, params: Any = None):
        del params
        mean = optax.tree_utils.tree_update_moment(updates, state.trace, momentum, 1)
        ahead = mean
        if nesterov:
            ahead = optax.tree_utils.tree_update_moment(updates, mean, momentum, 1)

        def orthogonal(g: jax.Array) -> jax.Array:
            iterated = _orthogonalize(g.astype(ns_dtype or g.dtype), ns_coefficients, eps, ns_steps)
            return _adjustment(adjust_lr_fn, *g.shape) * iterated.astype(g.dtype)

        return jax.tree.map(orthogonal, ahead), optax.TraceState(mean)

    links = [optax.GradientTransformation(init, update)]
    if given(weight_decay):
        links.append(optax.add_decayed_weights(weight_decay))
    return chain(*links, scale_by_learning_rate(lr))


def _orthogonalize(
    g: jax.Array, coefficients: tuple[float, float, float], eps: float, steps: int
) -> jax.Array:
    """Bring the singular values, whatever they were, to between about 0.5 and 1.5."""
    a, b, c = coefficients
    tall = g.shape[0] > g.shape[1]
    x = g.T if tall else g
    norm = jnp.sqrt(jnp.sum(jnp.square(x.astype(at_least_float32(x.dtype)))))
    x = x / jnp.maximum(norm, eps).astype(x.dtype)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


def _adjustment(adjust_lr_fn: str | None, rows: int, columns: int) -> float:
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / max(columns, 1)))


def _check_matrices(params: Any) -> None:
    others = [
        f"{jax.tree_util.keystr(path)} {list(jnp.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if jnp.ndim(leaf) != 2
    ]
    if others:
        raise ValueError(
            f"muon: expected parameters with two dimensions, got {', '.join(others[:3])}"
            + (f" and {len(others) - 3} more" if len(others) > 3 else "")
            + '; give those to another optimizer: optim.groups({"layers.*.weight": '
            "optim.muon(...)}, default=optim.adamw(...))"
        )
