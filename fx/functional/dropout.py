"""Dropout of elements and of channels.

Masks come from `key`, a keyword that torch does not have; the same key gives the same mask, jitted,
mapped or neither. `inplace` is accepted and has no effect.
"""

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate
from fx.functional.layout import channels_last

# The limit of selu for large negative inputs: -scale * alpha.
SELU_LIMIT = -1.7580993408473766


def dropout(
    input: jax.Array,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Sets elements to 0 with probability p, and divides the others by 1 - p.

    Args:
        input: [...], floating.
        p: the probability, a Python number.
        training: False returns the input.
        inplace: accepted, no effect.
        key: a PRNG key; needed when training and 0 < p < 1.

    Returns:
        [...], the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: p is outside [0, 1], or the key is missing.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> bool((dropout(jnp.ones(1000), 0.5, key=jax.random.key(0)) == 2).sum() > 400)
        True
    """
    _check_probability(p, "dropout")
    return _drop(input, p, key, jnp.shape(input), "dropout") if training else input


def dropout1d(
    input: jax.Array,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Sets whole channels of [N, C, L] or [C, L] to 0; arguments as `dropout`."""
    return _drop_channels(input, p, training, key, 1)


def dropout2d(
    input: jax.Array,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Sets whole channels of [N, C, H, W] to 0; arguments as `dropout`.

    Three axes are read as [N, C, L], not as [C, H, W]. Source: torch, which does so with a warning,
    and warns only of other numbers of axes, too, which are an error here.
    """
    return _drop_channels(input, p, training, key, 1 if jnp.ndim(input) == 3 else 2, "dropout2d")


def dropout3d(
    input: jax.Array,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Sets whole channels of [N, C, D, H, W] or [C, D, H, W] to 0; arguments as `dropout`.

    Source: torch, which warns only of other numbers of axes, which are an error here.
    """
    return _drop_channels(input, p, training, key, 3)


def alpha_dropout(
    input: jax.Array,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Sets elements to selu's lower limit, then restores mean 0 and variance 1.

    Arguments as `dropout`, but training is False by default, as in torch.
    """
    return _alpha(input, p, training, key, jnp.shape(input), "alpha_dropout")


def feature_alpha_dropout(
    input: jax.Array,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """`alpha_dropout` of whole channels of [N, C, ...]; arguments as there.

    Raises:
        ValueError: the input has less than two axes; see `dropout` for the others.
    """
    shape = jnp.shape(input)
    if training and 0 < p < 1 and len(shape) < 2:
        raise ValueError(
            f"feature_alpha_dropout: expected input [N, C, ...], got {list(shape)}; "
            "add the batch's axis, x[None]"
        )
    mask = (*shape[:2], *(1,) * (len(shape) - 2))
    return _alpha(input, p, training, key, mask, "feature_alpha_dropout")


def _alpha(input, p, training, key, mask_shape, where):
    _check_probability(p, where)
    if not training or p == 0:
        return input
    x = accumulate(input, where)
    if p == 1:
        return input * jnp.zeros((), jnp.asarray(input).dtype)  # NaN stays
    a = ((1 - p) * (1 + p * SELU_LIMIT**2)) ** -0.5
    kept = _bernoulli(key, p, mask_shape, where)
    # A product, as in `_drop`, so that NaN stays.
    y = x * jnp.where(kept, a, 0) + (jnp.where(kept, 0, a * SELU_LIMIT) - a * SELU_LIMIT * p)
    return y.astype(jnp.asarray(input).dtype)


def _drop_channels(input, p, training, key, dims, where=None):
    where = where or f"dropout{dims}d"
    _check_probability(p, where)
    if dims == 1 and jnp.ndim(input) not in (2, 3):  # in evaluation too, unlike the others
        raise ValueError(
            f"{where}: expected input [N, C, L] or [C, L], got {list(jnp.shape(input))}"
        )
    if not training:
        return input

    def drop(x):  # [N, *spatial, C]
        return _drop(x, p, key, (x.shape[0], *(1,) * dims, x.shape[-1]), where)

    return channels_last(drop, input, dims, where)


def _drop(input, p, key, mask_shape, where):
    if p == 0:
        return input
    x = accumulate(input, where)
    if p == 1:
        return input * jnp.zeros((), jnp.asarray(input).dtype)  # NaN stays
    kept = _bernoulli(key, p, mask_shape, where)
    # A product, not a choice: what is NaN stays NaN, as in torch, and is not hidden by the mask.
    return (x * jnp.where(kept, 1 / (1 - p), 0)).astype(jnp.asarray(input).dtype)


def _bernoulli(key, p, shape, where):
    """True with probability 1 - p."""
    if key is None:
        raise ValueError(
            f"{where}: expected a PRNG key when training, got None; in forward pass "
            "key=self.next_key(), elsewhere a fresh key for every step, or training=False"
        )
    # float32 with x64 too: the mask must not depend on that flag.
    return jax.random.bernoulli(key, jnp.float32(1 - p), shape)


def _check_probability(p, where):
    if not 0 <= p <= 1:
        raise ValueError(f"{where}: expected p between 0 and 1, got {p}; p is what is dropped")
