"""What `load_state_dict(strict=False)` gives: params and state, and which names did not fit."""

from typing import Any

import jax


class Loaded(tuple[dict, dict]):
    """The pair ``(params, state)``, to be unpacked as any, which knows how it came about.

    Attributes:
        missing_keys: names of the model that the weights lack: as `init` makes them, in order.
        unexpected_keys: names of the weights that the model has not: passed over.

    Example:
        >>> import fx, numpy as np
        >>> weights = {"weight": np.ones((2, 3), np.float32), "scale": np.ones(2)}
        >>> loaded = fx.load_state_dict(fx.nn.Linear(3, 2), weights, strict=False)
        >>> loaded.missing_keys, loaded.unexpected_keys
        (['bias'], ['scale'])
        >>> params, state = loaded

    Source: what torch.nn.Module.load_state_dict returns.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]

    @classmethod
    def of(cls, trees: Any, missing: list[str], unexpected: list[str]) -> "Loaded":
        """Make one of the pair and the names."""
        pair = cls(trees)
        pair.missing_keys, pair.unexpected_keys = missing, unexpected
        return pair


# Else it would be a leaf to jax.tree.map and jax.device_put.
jax.tree_util.register_pytree_node(
    Loaded,
    lambda pair: (tuple(pair), (tuple(pair.missing_keys), tuple(pair.unexpected_keys))),
    lambda names, trees: Loaded.of(trees, *map(list, names)),
)
