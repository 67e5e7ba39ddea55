"""All arrays of a tree as one vector, and back."""

from typing import Any

import jax
import jax.numpy as jnp


def parameters_to_vector(parameters: Any) -> jax.Array:
    """All arrays of a tree, one behind the other.

    Args:
        parameters: params, or any tree of arrays. Their order is that of `jax.tree.leaves`, which
            sorts the names of a dict; torch's is ``list(fx.state_dict(model, params).values())``.

    Returns:
        A vector, of the dtype that all fit into.

    Raises:
        ValueError: there is no array.

    Example:
        >>> import jax.numpy as jnp
        >>> parameters_to_vector({"b": jnp.zeros(1), "a": jnp.ones((1, 2))}).tolist()
        [1.0, 1.0, 0.0]

    Source: torch.nn.utils.parameters_to_vector.
    """
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(parameters)]
    if not leaves:
        raise ValueError("parameters_to_vector: expected an array or more, got none")
    dtype = jnp.result_type(*(leaf.dtype for leaf in leaves))
    return jnp.concatenate([leaf.astype(dtype).ravel() for leaf in leaves])


def vector_to_parameters(vec: jax.Array, parameters: Any) -> Any:
    """A tree of the shapes and dtypes of another, from a vector.

    Args:
        vec: [all elements], in the order of `parameters_to_vector`.
        parameters: the tree that gives the structure; it stays as it is.

    Returns:
        The tree.

    Raises:
        ValueError: the vector has another length than the tree.

    Example:
        >>> import jax.numpy as jnp
        >>> vector_to_parameters(jnp.arange(2.0), {"a": jnp.ones(1), "b": jnp.ones((1, 1))})
        {'a': Array([0.], dtype=float32), 'b': Array([[1.]], dtype=float32)}

    Source: torch.nn.utils.vector_to_parameters, which writes into the parameters.
    """
    leaves, form = jax.tree.flatten(parameters)
    total = sum(leaf.size for leaf in leaves)
    if jnp.shape(vec) != (total,):
        raise ValueError(
            f"vector_to_parameters: expected vec [{total}], as many elements as the parameters "
            f"have, got {list(jnp.shape(vec))}"
        )
    made, start = [], 0
    for leaf in leaves:
        part = vec[start : start + leaf.size]
        made.append(part.reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(form, made)
