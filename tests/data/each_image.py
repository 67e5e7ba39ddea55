"""What holds of every transform that draws for each image."""

import jax
import jax.numpy as jnp
import numpy as np

from fx.data import transforms as T

KEY = jax.random.key(0)


def check_each_image(transform, *size, least):
    """Equal images become at least so many, by the key alone; the transform is its own text.

    Returns:
        The transformed images.
    """
    values = np.random.default_rng(0).random((1, 3, *size), np.float32)
    images = jnp.broadcast_to(jnp.asarray(values), (16, 3, *size))
    apply = jax.jit(transform)
    out = apply(images, KEY)
    assert out.shape == images.shape and out.dtype == images.dtype
    np.testing.assert_array_equal(out, apply(images, KEY))
    assert not np.array_equal(out, apply(images, jax.random.key(1)))
    assert len({bytes(np.asarray(image)) for image in out}) >= least
    assert apply._cache_size() == 1
    assert transform == eval(repr(transform), vars(T) | vars(np)) and hash(transform) is not None
    return out
