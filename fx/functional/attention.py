"""Scaled dot-product attention.

Which program runs is decided by what is written, never by the machine. It is the one below, which
XLA compiles for every platform and every export, unless the caller asks for cuDNN's flash
attention. Then that stands in the program's CUDA branch, and the one below in all others. An export
cannot hold calls of cuDNN's, so a model that is trained with it asks for it in training only.

`jax.nn.dot_product_attention` is how cuDNN is called, and is not used for the rest: it takes the
softmax of float64 in float32, has no dropout and no Ev other than E, its bfloat16 gradient fails
under strict promotion, and compiled for a CPU it took 1.1 times as long as this.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.dropout import dropout
from fx.functional.dtypes import accumulate


def scaled_dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    attn_mask: jax.Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    dropout_key: jax.Array | None = None,
    implementation: str | None = None,
) -> jax.Array:
    """Attention: softmax(query @ key.T * scale + mask) @ value.

    `key` is what torch calls so, the array that queries are compared with; the random numbers of
    dropout come from `dropout_key`. The softmax is taken in float32, or in float64 for such input.

    Args:
        query: [..., H, L, E], floating; [L, E] at least.
        key: [..., H, S, E], the query's dtype.
        value: [..., H, S, Ev], the query's dtype.
        attn_mask: Broadcastable to [..., H, L, S]. Booleans: True takes part. Numbers, float32 or
            the query's dtype, are added to the scores; -inf takes no part. Where nothing takes
            part, the output is 0, and so are the gradients.
        dropout_p: The probability that a weight is dropped, always; give 0.0 in evaluation.
        is_causal: Whether query i takes keys 0 to i only, also where L and S differ. A mask holds
            as well.
        scale: Factor of the scores; None is 1 / sqrt(E).
        enable_gqa: Whether key and value may have fewer heads, which consecutive heads of the
            query share.
        dropout_key: A PRNG key; needed when 0 < dropout_p < 1.
        implementation: None or "xla" is XLA's program. "cudnn" is cuDNN's flash attention where
            the program runs on an NVIDIA GPU, XLA's elsewhere. It takes float16 and bfloat16
            without dropout, Ev = E being a multiple of 8; it has no forward-mode derivatives and
            cannot be exported. In a module, ask for it in training only:
            ``implementation="cudnn" if self.training else None``. Under ``jax.vmap``, jax 0.11
            takes no mask that heads share: broadcast it to [..., H, L, S].

    Returns:
        [..., H, L, Ev], the query's dtype.

    Raises:
        TypeError: The three are not of one floating dtype; the mask is neither boolean, float32
            nor of their dtype; "cudnn" with a dtype that it does not take.
        ValueError: Shapes do not fit each other; heads that do not divide; dropout_p outside
            [0, 1], or its key is missing; an unknown implementation; "cudnn" with dropout or a
            size that it does not take.

    Example:
        >>> import jax.numpy as jnp
        >>> query, key = jnp.ones((8, 4, 6, 16)), jnp.ones((8, 4, 10, 16))
        >>> scaled_dot_product_attention(query, key, jnp.ones((8, 4, 10, 32))).shape
        (8, 4, 6, 32)
        >>> x = jnp.arange(3.0).reshape(3, 1)
        >>> scaled_dot_product_attention(0 * x, x, x, is_causal=True)[:, 0].tolist()
        [0.0, 0.5, 1.0]

    Source: torch.nn.functional.scaled_dot_product_attention. Its documentation forbids a mask
    beside is_causal, which its CPU kernel takes, as this does; scale and enable_gqa it takes by
    keyword alone, whatever its documentation shows. With key and value of different
    lengths its CPU kernel cuts the longer one; here it is an error.
    """
    where = "scaled_dot_product_attention"
    query, key, value = map(jnp.asarray, (query, key, value))
    _check_kinds(query, key, value, where)
    query, key, value = _share_axes(query, key, value, enable_gqa, where)
    wide = accumulate(query, where).dtype
    length, sources = query.shape[-2], key.shape[-2]
    bias = alive = None
    if attn_mask is not None:
        _check_mask(attn_mask, query, sources, where)
        bias, alive = _open_rows(
            as_bias(attn_mask, wide, causal=is_causal, shape=(length, sources))
        )
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1] or 1)
    check_dropout(dropout_p, dropout_key, where)
    _check_implementation(implementation, query, key, value, dropout_p, where)

    def xla(query, key, value, bias):
        if bias is None and is_causal:
            bias = as_bias(True, wide, causal=True, shape=(length, sources))
        weights = attention_weights(query, key, bias, scale)
        weights = dropout(weights, dropout_p, key=dropout_key).astype(query.dtype)
        return apply_weights(weights, value)

    if implementation == "cudnn":
        cudnn = functools.partial(_cudnn, scale=scale, is_causal=is_causal, otherwise=xla)
        output = jax.lax.platform_dependent(query, key, value, bias, cuda=cudnn, default=xla)
    else:
        output = xla(query, key, value, bias)
    return output if alive is None else jnp.where(alive, output, jnp.zeros((), output.dtype))


def as_bias(mask: Any, dtype: Any, *, causal: bool, shape: tuple) -> jax.Array:
    """A mask (True takes part) as numbers to add to the scores: -inf takes no part.

    Args:
        mask: Broadcastable to [..., L, S], booleans or numbers.
        dtype: Of the result.
        causal: Whether what lies above the diagonal takes no part as well.
        shape: L and S.
    """
    mask = jnp.asarray(mask)
    bias = jnp.where(mask, 0.0, -jnp.inf) if mask.dtype == bool else mask
    bias = bias.astype(dtype)
    if not causal:
        return bias
    below = jnp.arange(shape[0])[:, None] >= jnp.arange(shape[1])  # [L, S]
    return jnp.where(below, bias, jnp.asarray(-jnp.inf, dtype))


def attention_weights(
    query: jax.Array, key: jax.Array, bias: jax.Array | None, scale: float
) -> jax.Array:
    """The softmax of the scores, [..., L, S], in float32 or wider; heads may be grouped."""
    wide = accumulate(query, "attention_weights").dtype
    products = _per_head("...le,...se->...ls", query, key, wide)
    scores = _rounded(products * jnp.asarray(scale, wide))
    if not scores.shape[-1]:  # the maximum of nothing, which softmax takes, is an error
        return scores
    return jax.nn.softmax(scores if bias is None else scores + bias, axis=-1)


@jax.custom_jvp
def _rounded(products):
    """Products that no compiler fuses, unrounded, with a sum that follows.

    The softmax subtracts from scores their maximum, which is rounded. Fused, what is left of the
    largest is not 0 but the rounding, and of large scores more than exp takes. XLA removes what
    rounds to a dtype's own digits, but not a maximum, which costs nothing measurable.
    """
    return jnp.maximum(products, jnp.finfo(products.dtype).min)


@_rounded.defjvp
def _rounded_jvp(primals, tangents):
    return _rounded(*primals), tangents[0]


def apply_weights(weights: jax.Array, value: jax.Array) -> jax.Array:
    """[..., L, S] weights of [..., S, Ev] values: [..., L, Ev]; heads may be grouped."""
    return _per_head("...ls,...se->...le", weights, value, value.dtype)


def _per_head(equation: str, x: jax.Array, y: jax.Array, dtype: Any) -> jax.Array:
    """Products for each head; consecutive heads of x share one of y where y has fewer."""

    def product(x):
        return jnp.einsum(equation, x, y, preferred_element_type=dtype)

    if x.ndim < 3 or x.shape[-3] == y.shape[-3]:
        return product(x)
    every, heads = x.shape[-3], y.shape[-3]
    x = x.reshape(*x.shape[:-3], heads, every // heads, *x.shape[-2:])
    output = jax.vmap(product, -3, -3)(x)  # [..., heads, group, L, S or Ev]
    return output.reshape(*x.shape[:-4], every, *output.shape[-2:])


def _cudnn(query, key, value, bias, *, scale, is_causal, otherwise):
    """Flash attention by cuDNN, in jax's layout [B, L, H, E]; its gradient wants even lengths."""
    lead, length, sources = query.shape[:-3], query.shape[-2], key.shape[-2]
    batch, more, more_keys = math.prod(lead), length % 2, sources % 2

    def to_jax(x):
        x = x.reshape(batch, *(1, *x.shape)[-3:]).swapaxes(1, 2)
        return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))

    mask, lengths = bias, None
    if mask is not None:  # finite, because a block of -inf is inf - inf in an online softmax
        closed = float(jnp.finfo(query.dtype).min) / 2
        mask = jnp.maximum(mask, closed).astype(query.dtype)
        mask = mask.reshape(*(1,) * (len(lead) + 3 - mask.ndim), *mask.shape)
        mask = jnp.broadcast_to(mask, (*lead, *mask.shape[len(lead) :]))
        mask = mask.reshape(batch, *mask.shape[len(lead) :])  # [B, H or 1, L or 1, S or 1]
        if more or more_keys:
            mask = jnp.broadcast_to(mask, (*mask.shape[:2], length, sources))
            around = ((0, 0), (0, 0), (0, more), (0, more_keys))
            mask = jnp.pad(mask, around, constant_values=closed)
    elif more_keys:
        lengths = jnp.full(batch, sources, jnp.int32)
    try:
        with jax.numpy_dtype_promotion("standard"):
            output = jax.nn.dot_product_attention(
                to_jax(query),
                to_jax(key),
                to_jax(value),
                mask,
                scale=scale,
                is_causal=is_causal and bias is None,
                key_value_seq_lengths=lengths,
                implementation="cudnn",
            )
    except RuntimeError as error:
        if "cuDNN is not detected" not in str(error):
            raise
        # Compiled where there is no cuDNN, so for another machine: for an export, which has none.
        return otherwise(query, key, value, bias)
    return output[:, :length].swapaxes(1, 2).reshape(query.shape)


def _open_rows(bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Open the rows in which nothing takes part, whose softmax would be NaN, and say which."""
    alive = (bias != -jnp.inf).any(-1, keepdims=True)
    return jnp.where(alive, bias, jnp.zeros((), bias.dtype)), alive


def _check_kinds(query, key, value, where):
    accumulate(query, where)
    if not query.dtype == key.dtype == value.dtype:
        raise TypeError(
            f"{where}: expected query, key and value of one dtype, got {query.dtype}, "
            f"{key.dtype} and {value.dtype}; convert them with .astype"
        )
    shapes = f"got {list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ValueError(
            f"{where}: expected query [..., L, E], key [..., S, E] and value [..., S, Ev], {shapes}"
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"{where}: expected query and key with the same last axis, key and value with the same "
            f"length, {shapes}; the order is query [..., L, E], key [..., S, E], value [..., S, Ev]"
        )


def _share_axes(query, key, value, grouped, where):
    """Give all three the same leading axes; grouped heads stay fewer, alike for key and value."""
    arrays = (query, key, value)
    if grouped:
        heads = [x.shape[-3] if x.ndim > 2 else 0 for x in arrays]
        if 0 in heads or heads[0] % heads[1] or heads[0] % heads[2]:
            raise ValueError(
                f"{where}: expected the heads (axis -3) of key and value to divide the query's, "
                f"got {', '.join(str(list(x.shape)) for x in arrays)}; with enable_gqa all three "
                "are [..., heads, length, E]"
            )
    kept = 3 if grouped else 2
    try:
        lead = jnp.broadcast_shapes(*(x.shape[:-kept] for x in arrays))
    except ValueError:
        mend = "" if grouped else "; where key and value have fewer heads, set enable_gqa=True"
        raise ValueError(
            f"{where}: expected query, key and value with leading axes that fit, got "
            f"{', '.join(str(list(x.shape)) for x in arrays)}{mend}"
        ) from None
    return [jnp.broadcast_to(x, (*lead, *x.shape[-kept:])) for x in arrays]


def _check_mask(mask: Any, query: jax.Array, sources: Any, where: str) -> None:
    mask = jnp.asarray(mask)
    if mask.dtype not in (bool, jnp.float32, query.dtype):
        raise TypeError(
            f"{where}: expected attn_mask of booleans, float32 or {query.dtype}, got {mask.dtype}; "
            "True is what takes part"
        )
    scores = (*query.shape[:-1], sources)
    fits = 1 <= mask.ndim <= len(scores) and all(
        size in (1, full) for size, full in zip(mask.shape[::-1], scores[::-1])
    )
    if not fits:
        raise ValueError(
            f"{where}: expected attn_mask broadcastable to {list(scores)}, got {list(mask.shape)}; "
            "its last two axes are those of queries and of keys"
        )


def check_dropout(dropout_p: float, dropout_key: Any, where: str) -> None:
    """Raise where dropout cannot be done: a p that is no probability, or no key."""
    if not 0 <= dropout_p <= 1:
        raise ValueError(
            f"{where}: expected dropout_p between 0 and 1, got {dropout_p}; it is what is dropped"
        )
    if 0 < dropout_p < 1 and dropout_key is None:
        raise ValueError(
            f"{where}: expected a PRNG key with dropout_p={dropout_p}, got None; in "
            "forward pass dropout_key=self.next_key(), elsewhere a fresh key for every step, or "
            "dropout_p=0.0"
        )


def _check_implementation(name, query, key, value, dropout_p, where):
    if name not in (None, "xla", "cudnn"):
        raise ValueError(f'{where}: expected implementation None, "xla" or "cudnn", got {name!r}')
    if name != "cudnn":
        return
    if query.dtype not in (jnp.float16, jnp.bfloat16):
        raise TypeError(
            f'{where}: implementation="cudnn" takes float16 and bfloat16, got {query.dtype}; '
            'convert, train with precision="bf16", or leave implementation out'
        )
    if dropout_p or query.shape[-1] % 8 or key.shape != value.shape:
        raise ValueError(
            f'{where}: implementation="cudnn" takes no dropout, E a multiple of 8, and key and '
            f"value of one shape; got dropout_p={dropout_p}, key {list(key.shape)} and value "
            f"{list(value.shape)}; leave implementation out"
        )
