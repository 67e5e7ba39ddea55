"""Keys by name: each part's and each array's own, alike in every process."""

from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np

Path = tuple[str, ...]
Copies = tuple[tuple[int, int, Any], ...]
"""For each step of a path that stands for n parts: the step's position, n, and which of them."""


def check_key(where: str, key: Any) -> None:
    """Raise a TypeError unless it is one PRNG key, typed or as two words."""
    kind = getattr(key, "dtype", None)
    typed = kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key)
    if not typed and kind != jnp.uint32:
        raise TypeError(f"{where}: expected a PRNG key, got {key!r}; pass jax.random.key(0)")
    if jnp.ndim(key) != (0 if typed else 1):
        raise TypeError(
            f"{where}: expected one PRNG key, got keys of shape {list(jnp.shape(key))}; "
            "jax.vmap takes one after the other"
        )


def named_key(key: jax.Array, path: Path, copies: Copies = ()) -> jax.Array:
    """Derive a key from a path, so that parts do not shift each other's keys.

    Where one program runs n parts (the layers of a `Stack`), each gets the key of its own name,
    "layers.3.drop", looked up by the number of the part, which may be traced.
    """
    sizes = tuple(n for _, n, _ in copies)
    names = np.zeros(sizes, np.uint32)
    for numbers in np.ndindex(*sizes):
        steps = list(path)
        for (step, _, _), number in zip(copies, numbers):
            steps[step] = str(number)
        names[numbers] = crc32(".".join(steps).encode())
    which = tuple(index for *_, index in copies)
    return jax.random.fold_in(key, jnp.asarray(names)[which] if which else int(names))
