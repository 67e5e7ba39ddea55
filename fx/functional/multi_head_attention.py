"""Attention with several heads, between projections into them and out of them."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.attention import (
    apply_weights,
    as_bias,
    attention_weights,
    check_dropout,
    scaled_dot_product_attention,
)
from fx.functional.dropout import dropout
from fx.functional.dtypes import accumulate
from fx.functional.linear import linear

WHERE = "multi_head_attention_forward"


def multi_head_attention_forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: jax.Array | None,
    in_proj_bias: jax.Array | None,
    bias_k: jax.Array | None,
    bias_v: jax.Array | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: jax.Array,
    out_proj_bias: jax.Array | None,
    training: bool = True,
    key_padding_mask: jax.Array | None = None,
    need_weights: bool = True,
    attn_mask: jax.Array | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: jax.Array | None = None,
    k_proj_weight: jax.Array | None = None,
    v_proj_weight: jax.Array | None = None,
    static_k: jax.Array | None = None,
    static_v: jax.Array | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    dropout_key: jax.Array | None = None,
    implementation: str | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Multi-head attention, the function behind `nn.MultiheadAttention`.

    In both masks True means: takes no part. That is the opposite of
    `scaled_dot_product_attention`, as in torch.

    Args:
        query: [L, N, E], or [L, E] without a batch.
        key: [S, N, Ek]; `key` is what torch calls so, the array that queries are compared with.
        value: [S, N, Ev].
        embed_dim_to_check: E.
        num_heads: H, which divides E.
        in_proj_weight: [3 * E, E], for query, key and value; None with separate weights.
        in_proj_bias: [3 * E], or None.
        bias_k: [1, 1, E] or [E], a key more for every query; or None.
        bias_v: [1, 1, E], its value.
        add_zero_attn: Whether there is one more key, and value, of zeros.
        dropout_p: The probability that a weight is dropped in training.
        out_proj_weight: [E, E].
        out_proj_bias: [E], or None.
        training: Whether weights are dropped.
        key_padding_mask: [N, S] ([S] without a batch), booleans, or numbers to add to the scores.
        need_weights: Whether the attention weights are returned too. Without them the program is
            `scaled_dot_product_attention`. With them, a query for which nothing takes part gives
            NaN; without them, the output projection of 0.
        attn_mask: [L, S] or [N * H, L, S], booleans, or numbers to add to the scores.
        use_separate_proj_weight: Whether the next three are used in place of in_proj_weight.
        q_proj_weight: [E, E].
        k_proj_weight: [E, Ek].
        v_proj_weight: [E, Ev].
        static_k: [N * H, S, E / H], keys in place of the projected ones.
        static_v: [N * H, S, E / H], values in place of the projected ones.
        average_attn_weights: Whether the returned weights are their mean over heads.
        is_causal: That attn_mask is the causal mask. Where the weights are not needed and there is
            no key_padding_mask, only the mask's dtype and number of axes are then looked at;
            elsewhere this is not.
        dropout_key: A PRNG key; needed in training when 0 < dropout_p < 1.
        implementation: As `scaled_dot_product_attention`'s, where the weights are not needed.

    Returns:
        The output, [L, N, E] or [L, E], and the weights, [N, L, S] or [N, H, L, S] without the
        mean (N left out without a batch), or None.

    Raises:
        TypeError: query, key and value are not of one floating dtype, or a mask is neither
            boolean nor floating.
        ValueError: Shapes or weights do not fit each other; is_causal without attn_mask; the key
            of dropout is missing.

    Example:
        >>> import jax.numpy as jnp
        >>> x, weight = jnp.ones((6, 2, 8)), jnp.ones((24, 8))
        >>> output, weights = multi_head_attention_forward(
        ...     x, x, x, 8, 4, weight, None, None, None, False, 0.0, weight[:8], None)
        >>> output.shape, weights.shape
        ((6, 2, 8), (2, 6, 6))

    Source: torch.nn.functional.multi_head_attention_forward. Its layers in evaluation may take a
    faster program, which gives NaN where nothing takes part, weights or no weights.
    """
    same = query is key and key is value
    query, key, value = map(jnp.asarray, (query, key, value))
    _check_shapes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if is_causal and attn_mask is None:
        raise ValueError(
            f"{WHERE}: expected attn_mask beside is_causal=True, got none; give it "
            "nn.Transformer.generate_square_subsequent_mask(length)"
        )
    causal = is_causal and key_padding_mask is None and not need_weights
    batched = query.ndim == 3
    if not batched:
        key_padding_mask = None if key_padding_mask is None else jnp.asarray(key_padding_mask)[None]
    query, key, value = (x.swapaxes(0, 1) if batched else x[None] for x in (query, key, value))
    # From here on batches come first: attention wants them so, and so do most callers, whose own
    # transpose then falls away.
    sizes = (*query.shape[:1], num_heads, query.shape[1], key.shape[1])
    dtype = accumulate(query, WHERE).dtype
    if causal and (unread := _closing("attn_mask", attn_mask, dtype)).ndim not in (2, 3):
        raise ValueError(
            f"{WHERE}: expected attn_mask [L, S] or [N * num_heads, L, S], got {list(unread.shape)}"
        )
    bias = _bias(None if causal else attn_mask, key_padding_mask, sizes, dtype)

    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = separate if use_separate_proj_weight else in_proj_weight
    q, k, v = _project((query, key, value), weights, in_proj_bias, same)
    k, v = _append((k, v), (bias_k, bias_v), (static_k, static_v))
    q = _heads(q, num_heads)
    k = _heads(k, num_heads) if static_k is None else _static("static_k", static_k, q)
    v = _heads(v, num_heads) if static_v is None else _static("static_v", static_v, q)
    if add_zero_attn:
        k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))) for x in (k, v))
    if bias is not None:  # what came in addition to the keys is open to all
        more = (bias_k is not None) + bool(add_zero_attn)
        bias = jnp.pad(bias, ((0, 0), (0, 0), (0, 0), (0, more)))

    rate = dropout_p if training else 0.0
    check_dropout(rate, dropout_key, WHERE)
    if need_weights:
        output, found = _attend(q, k, v, bias, rate, dropout_key)
        found = found.mean(1) if average_attn_weights else found
    else:
        output = scaled_dot_product_attention(
            q, k, v, bias, rate, causal, dropout_key=dropout_key, implementation=implementation
        )
        found = None
    output = output.swapaxes(1, 2).reshape(query.shape)  # [N, L, E]
    output = linear(output, out_proj_weight, out_proj_bias)
    if batched:
        return output.swapaxes(0, 1), found
    return output[0], None if found is None else found[0]


def _attend(q, k, v, bias, rate, dropout_key):
    """Attention that shows its weights: [N, H, L, E / H] and [N, H, L, S]."""
    weights = attention_weights(q, k, bias, 1 / math.sqrt(q.shape[-1])).astype(q.dtype)
    weights = dropout(weights, rate, key=dropout_key)
    return apply_weights(weights, v), weights


def _bias(attn_mask: Any, key_padding_mask: Any, sizes: tuple, dtype: Any) -> jax.Array | None:
    """Both masks as numbers to add to the scores, [N or 1, H or 1, L or 1, S], or None."""
    batch, heads, length, sources = sizes
    bias = None
    if attn_mask is not None:
        bias = _closing("attn_mask", attn_mask, dtype)
        if bias.shape == (length, sources):
            bias = bias[None, None]
        elif bias.shape == (batch * heads, length, sources):
            bias = bias.reshape(batch, heads, length, sources)
        else:
            raise ValueError(
                f"{WHERE}: expected attn_mask [{length}, {sources}] or "
                f"[{batch * heads}, {length}, {sources}], got {list(bias.shape)}; it is "
                "[L, S], or [N * num_heads, L, S]"
            )
    if key_padding_mask is not None:
        padding = _closing("key_padding_mask", key_padding_mask, dtype)
        if padding.shape != (batch, sources):
            raise ValueError(
                f"{WHERE}: expected key_padding_mask [{batch}, {sources}], got "
                f"{list(padding.shape)}; it is [N, S], or [S] without a batch"
            )
        padding = padding[:, None, None]  # [N, 1, 1, S]
        bias = padding if bias is None else bias + padding
    return bias


def _closing(name: str, mask: Any, dtype: Any) -> jax.Array:
    mask = jnp.asarray(mask)
    if mask.dtype != bool and not jnp.issubdtype(mask.dtype, jnp.floating):
        raise TypeError(
            f"{WHERE}: expected {name} of booleans or floats, got {mask.dtype}; True is what takes "
            "no part"
        )
    return as_bias(~mask if mask.dtype == bool else mask, dtype, causal=False, shape=())


def _project(inputs: tuple, weights: Any, bias: Any, same: bool) -> list[jax.Array]:
    """Query, key and value as [N, L, E] and [N, S, E]; one product where they are one array."""
    packed = not isinstance(weights, tuple)
    if weights is None or (not packed and any(w is None for w in weights)):
        missing = "in_proj_weight" if packed else "q_proj_weight, k_proj_weight and v_proj_weight"
        raise ValueError(
            f"{WHERE}: expected {missing}, got None; use_separate_proj_weight says which are used"
        )
    size = inputs[0].shape[-1]
    wanted = {"in_proj_bias": (bias, [3 * size])}
    if packed:
        wanted["in_proj_weight"] = (weights, [3 * size, size])
    for name, (array, shape) in wanted.items():
        if array is not None and list(jnp.shape(array)) != shape:
            raise ValueError(f"{WHERE}: expected {name} {shape}, got {list(jnp.shape(array))}")
    if packed and same:
        return jnp.split(linear(inputs[0], weights, bias), 3, axis=-1)
    weights = jnp.split(weights, 3) if packed else weights
    biases = (None, None, None) if bias is None else jnp.split(bias, 3)
    return [linear(x, w, b) for x, w, b in zip(inputs, weights, biases)]


def _append(arrays: tuple, more: tuple, static: tuple) -> tuple:
    """Keys and values [N, S, E] with one more, learned, at their ends."""
    if all(m is None for m in more):
        return arrays
    if any(m is None for m in more) or any(s is not None for s in static):
        raise ValueError(
            f"{WHERE}: expected bias_k and bias_v both or neither, and neither beside static_k or "
            "static_v"
        )
    size = arrays[0].shape[2]
    if any(jnp.shape(m) != (1, 1, size)[-jnp.ndim(m) :] for m in more):
        shapes = " and ".join(str(list(jnp.shape(m))) for m in more)
        raise ValueError(f"{WHERE}: expected bias_k and bias_v [1, 1, {size}], got {shapes}")
    ends = (jnp.broadcast_to(m, (x.shape[0], 1, x.shape[2])) for x, m in zip(arrays, more))
    return tuple(jnp.concatenate([x, end], axis=1) for x, end in zip(arrays, ends))


def _heads(x: jax.Array, heads: int) -> jax.Array:
    batch, length, size = x.shape
    return x.reshape(batch, length, heads, size // heads).swapaxes(1, 2)  # [N, H, L, E / H]


def _static(name: str, x: Any, q: jax.Array) -> jax.Array:
    x = jnp.asarray(x)
    batch, heads, _, size = q.shape
    if x.ndim != 3 or x.shape[0] != batch * heads or x.shape[2] != size:
        raise ValueError(
            f"{WHERE}: expected {name} [{batch * heads}, S, {size}], got {list(x.shape)}; it is "
            "[N * num_heads, S, E / num_heads]"
        )
    return x.reshape(batch, heads, *x.shape[1:])


def _check_shapes(query, key, value, embed_dim, num_heads, separate):
    shapes = f"got {list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise ValueError(
            f"{WHERE}: expected query [L, N, E], key [S, N, Ek] and value [S, N, Ev], or all three "
            f"without N, {shapes}"
        )
    if query.shape[-1] != embed_dim or num_heads < 1 or embed_dim % num_heads:
        raise ValueError(
            f"{WHERE}: expected query [..., {embed_dim}] and num_heads to divide {embed_dim}, got "
            f"{list(query.shape)} and {num_heads} heads; the last axis is embed_dim"
        )
    if key.shape[:-1] != value.shape[:-1] or query.shape[1:-1] != key.shape[1:-1]:
        raise ValueError(
            f"{WHERE}: expected key and value of one length, and one batch size for all, {shapes}; "
            "sequences come first, batches second, unless batch_first=True"
        )
    if not separate and not embed_dim == key.shape[-1] == value.shape[-1]:
        raise ValueError(
            f"{WHERE}: expected key and value [..., {embed_dim}], {shapes}; for other sizes set "
            "kdim and vdim"
        )
