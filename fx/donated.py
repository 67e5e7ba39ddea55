"""Arrays whose memory went into a training step that reused it."""

from typing import Any

import jax
from jax.core import Tracer


def is_donated(leaf: Any) -> bool:
    """Whether an array's memory went into a later step."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, Tracer):
        return False
    return leaf.is_deleted()


def check_present(where: str, **trees: Any) -> None:
    """Raise where an array of some trees, by name, is gone.

    Raises:
        ValueError: naming the first that is.
    """
    for word, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if is_donated(leaf):
                raise ValueError(
                    f"{where}: expected arrays that are there, but {word}"
                    f"{jax.tree_util.keystr(path)} went into a training step, which reused its "
                    "memory; take params and state from what the step or fit returned "
                    "(result.ts), or make the step with donate=False"
                )
