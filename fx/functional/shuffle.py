"""Pixels from channels, channels from pixels, and channels in another order."""

import jax
import jax.numpy as jnp


def pixel_shuffle(input: jax.Array, upscale_factor: int) -> jax.Array:
    """Makes an image r times as large of r * r as many channels.

    Args:
        input: [..., C * r * r, H, W].
        upscale_factor: r.

    Returns:
        [..., C, H * r, W * r].

    Raises:
        ValueError: the input has fewer than 3 axes; r * r does not divide the channels; r is below
            1.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_shuffle(jnp.arange(4).reshape(4, 1, 1), 2).tolist()
        [[[0, 1], [2, 3]]]
    """
    input, r = jnp.asarray(input), upscale_factor
    _check(input, r, "pixel_shuffle", "upscale_factor")
    *batch, channels, height, width = input.shape
    if channels % (r * r):
        raise ValueError(
            f"pixel_shuffle: expected channels that {r} * {r} divides, got {list(input.shape)}"
        )
    x = input.reshape(*batch, channels // (r * r), r, r, height, width)
    x = jnp.moveaxis(x, (-4, -3), (-3, -1))  # [..., C, H, r, W, r]
    return x.reshape(*batch, channels // (r * r), height * r, width * r)


def pixel_unshuffle(input: jax.Array, downscale_factor: int) -> jax.Array:
    """Makes r * r as many channels of an image, each r times as small.

    Args:
        input: [..., C, H * r, W * r].
        downscale_factor: r.

    Returns:
        [..., C * r * r, H, W].

    Raises:
        ValueError: the input has fewer than 3 axes; r does not divide its sizes; r is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_unshuffle(jnp.arange(4).reshape(1, 2, 2), 2).tolist()
        [[[0]], [[1]], [[2]], [[3]]]

    Source: torch.nn.functional.pixel_unshuffle, which leaves an empty batch as it is.
    """
    input, r = jnp.asarray(input), downscale_factor
    _check(input, r, "pixel_unshuffle", "downscale_factor")
    *batch, channels, height, width = input.shape
    if height % r or width % r:
        raise ValueError(
            f"pixel_unshuffle: expected a height and width that {r} divides, "
            f"got {list(input.shape)}"
        )
    x = input.reshape(*batch, channels, height // r, r, width // r, r)
    x = jnp.moveaxis(x, (-3, -1), (-4, -3))  # [..., C, r, r, H, W]
    return x.reshape(*batch, channels * r * r, height // r, width // r)


def channel_shuffle(input: jax.Array, groups: int) -> jax.Array:
    """Takes channels from every group in turn.

    Args:
        input: [N, C, ...] with a spatial axis at least.
        groups: number of groups that the channels stand in.

    Returns:
        The same shape: channel i of group g comes to be channel i * groups + g.

    Raises:
        ValueError: the input has fewer than 3 axes, or groups does not divide its channels.

    Example:
        >>> import jax.numpy as jnp
        >>> channel_shuffle(jnp.arange(4).reshape(1, 4, 1), 2).ravel().tolist()
        [0, 2, 1, 3]
    """
    input = jnp.asarray(input)
    _check(input, groups, "channel_shuffle", "groups")
    count, channels, *spatial = input.shape
    if channels % groups:
        raise ValueError(
            f"channel_shuffle: expected channels that groups={groups} divides, "
            f"got {list(input.shape)}"
        )
    x = input.reshape(count, groups, channels // groups, *spatial)
    return jnp.swapaxes(x, 1, 2).reshape(input.shape)


def _check(input, number, where, name):
    if input.ndim < 3:
        raise ValueError(
            f"{where}: expected input with 3 axes or more, channels first, got {list(input.shape)}"
        )
    if number < 1:
        raise ValueError(f"{where}: expected {name} of 1 or more, got {number}")
