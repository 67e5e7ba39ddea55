"""Linear maps and lookups in tables."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fx.functional.dtypes import as_array, as_index, check_same_dtype
from fx.functional.rows import add_bias


def linear(input: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Affine map: x @ weight.T + bias.

    Args:
        input: [..., in].
        weight: [out, in], or [in] for a single output without an axis.
        bias: [out], or None.

    Returns:
        [..., out].

    Raises:
        TypeError: weight or bias is not of the input's dtype.
        ValueError: the weight has more than two axes; the last axis of the input is not that of the
            weight; bias is not [out].

    Example:
        >>> import jax.numpy as jnp
        >>> linear(jnp.ones((8, 3)), jnp.ones((5, 3)), jnp.zeros(5)).shape
        (8, 5)
    """
    input, weight = as_array(input, "linear"), jnp.asarray(weight)
    if weight.ndim not in (1, 2):
        raise ValueError(f"linear: expected weight [out, in] or [in], got {list(weight.shape)}")
    if not input.ndim or input.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"linear: expected input [..., {weight.shape[-1]}], got {list(input.shape)}; "
            "flatten it, or change in_features"
        )
    check_same_dtype("linear", input=input, weight=weight, bias=bias)
    return _plus(jnp.tensordot(input, weight, axes=((-1,), (-1,))), bias, "linear")


def bilinear(
    input1: jax.Array, input2: jax.Array, weight: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
    """Bilinear map: x1 @ weight[o] @ x2 + bias[o] for every output o.

    Args:
        input1: [..., in1].
        input2: [..., in2].
        weight: [out, in1, in2].
        bias: [out], or None.

    Returns:
        [..., out].

    Raises:
        TypeError: an argument is not of the first one's dtype.
        ValueError: shapes do not fit each other; bias is not [out].
    """
    input1, input2, weight = map(jnp.asarray, (input1, input2, weight))
    if weight.ndim != 3:
        raise ValueError(f"bilinear: expected weight [out, in1, in2], got {list(weight.shape)}")
    fits = input1.shape[-1:] == weight.shape[1:2] and input2.shape[-1:] == weight.shape[2:]
    if not fits or input1.shape[:-1] != input2.shape[:-1]:
        raise ValueError(
            f"bilinear: expected inputs [..., {weight.shape[1]}] and [..., {weight.shape[2]}] "
            f"with equal leading axes, got {list(input1.shape)} and {list(input2.shape)}"
        )
    check_same_dtype("bilinear", input1=input1, input2=input2, weight=weight, bias=bias)
    return _plus(jnp.einsum("...i,oij,...j->...o", input1, weight, input2), bias, "bilinear")


def _plus(output, bias, where):
    if bias is None:
        return output
    bias = jnp.asarray(bias)
    ends = zip(reversed(bias.shape), reversed(output.shape))
    if bias.ndim > output.ndim or not all(size in (1, wanted) for size, wanted in ends):
        raise ValueError(
            f"{where}: expected bias {list(output.shape[-1:])}, got {list(bias.shape)}; "
            "one value per output"
        )
    return add_bias(output, bias)


def embedding(
    input: jax.Array,
    weight: jax.Array,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> jax.Array:
    """Rows of a table.

    Args:
        input: [...], integers in [0, num). One outside gives a row of NaN: a compiled function
            cannot raise on a value, and NaN is seen where a clamped index is not.
        weight: [num, dim].
        padding_idx: the row that gets no gradient; negative counts from the end.
        max_norm: the norm to which longer rows are shortened; their gradient is as if they had not
            been.
        norm_type: the p of that norm.
        scale_grad_by_freq: whether a row's gradient is divided by how often the input names it.
        sparse: accepted, no effect: XLA has dense gradients only.

    Returns:
        [..., dim].

    Raises:
        TypeError: the input is not of an integer dtype.
        ValueError: the weight has not two axes; padding_idx is not a row of it; it has no rows
            and the input is not empty.

    Example:
        >>> import jax.numpy as jnp
        >>> embedding(jnp.array([2, 0]), jnp.arange(6.0).reshape(3, 2)).tolist()
        [[4.0, 5.0], [0.0, 1.0]]

    Source: torch.nn.functional.embedding, whose max_norm also changes the weight in place: an
    update starts from the shortened row there, and from the row as it is here.
    """
    input, weight = jnp.asarray(input), jnp.asarray(weight)
    if not jnp.issubdtype(input.dtype, jnp.integer):
        raise TypeError(
            f"embedding: expected integer input, got {input.dtype}; "
            "the indices come first, the weight second"
        )
    if weight.ndim != 2:
        raise ValueError(f"embedding: expected weight [num, dim], got {list(weight.shape)}")
    num = weight.shape[0]
    if padding_idx is not None and not -num <= padding_idx < num:
        raise ValueError(
            f"embedding: expected padding_idx within the {num} rows of the weight, "
            f"got {padding_idx}"
        )
    if num == 0 and input.size:
        raise ValueError(
            f"embedding: expected an empty input for a weight without rows, got {list(input.shape)}"
        )
    # Indexing lets a negative index count from the end; in torch it is an error like any other.
    input = as_index(input)
    index = jnp.where(input < 0, num, input)
    rows = weight.at[index].get(mode="fill", fill_value=jnp.nan)
    if scale_grad_by_freq:
        often = jnp.maximum(jnp.bincount(index.ravel(), length=num)[index], 1)
        rows = _with_gradient_of(rows, rows / often[..., None].astype(rows.dtype))
    if max_norm is not None:
        norm = jnp.linalg.norm(rows, ord=norm_type, axis=-1, keepdims=True)
        shorter = rows * (max_norm / (norm + 1e-7))  # torch's constant
        rows = _with_gradient_of(jnp.where(norm > max_norm, shorter, rows), rows)
    if padding_idx is None:
        return rows
    padding = (input == padding_idx % num)[..., None]
    return jnp.where(padding, jax.lax.stop_gradient(rows), rows)


@jax.custom_jvp
def _with_gradient_of(value, other):
    """The value, to the bit, with another's derivatives."""
    return value


@_with_gradient_of.defjvp
def _with_gradient_of_jvp(primals, tangents):
    return _with_gradient_of(*primals), tangents[1]


def one_hot(tensor: jax.Array, num_classes: int = -1) -> jax.Array:
    """Rows of the identity matrix.

    Args:
        tensor: [...], integers in [0, num_classes). One outside gives a row of zeros under a
            transformation (jit, say), where no value is known that could be refused.
        num_classes: the number of classes; -1 takes the largest value plus one, which needs the
            values and so does not work under jit.

    Returns:
        [..., num_classes], int64 where x64 is on, else int32.

    Raises:
        TypeError: the input is not of an integer dtype.
        ValueError: num_classes is -1 under jit, or neither -1 nor positive; a value is known and
            outside of [0, num_classes).

    Example:
        >>> import jax.numpy as jnp
        >>> one_hot(jnp.array([1, 0]), 3).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    traced = isinstance(tensor, Tracer)
    known = np.zeros(0, int) if traced else np.asarray(tensor)
    tensor = jnp.asarray(tensor)
    if not jnp.issubdtype(tensor.dtype, jnp.integer):
        raise TypeError(f"one_hot: expected integer input, got {tensor.dtype}")
    if num_classes == -1 and traced:
        raise ValueError(
            "one_hot: expected num_classes, got -1 under a transformation, where the largest value "
            "is not known; say how many classes there are"
        )
    least, most = (int(known.min()), int(known.max())) if known.size else (0, -1)
    num_classes = most + 1 if num_classes == -1 else num_classes
    if num_classes < 1:
        raise ValueError(f"one_hot: expected num_classes of 1 or more, got {num_classes}")
    if least < 0 or most >= num_classes:
        raise ValueError(
            f"one_hot: expected values in [0, {num_classes}), got {least} to {most}; give a larger "
            "num_classes, or leave out what is no class"
        )
    return jax.nn.one_hot(as_index(tensor), num_classes, dtype=jax.dtypes.canonicalize_dtype(int))
