"""Text from a language model with a cache: pure functions, and a loop compiled as one program."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def left_pad(prompts: Sequence[Sequence[int]], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts of different lengths as one batch, padded on the left.

    Args:
        prompts: Tokens of each prompt, one at least.
        pad_token_id: What stands before shorter ones; any token will do.

    Returns:
        input_ids [N, T] int32 and attention_mask [N, T], True for tokens.

    Raises:
        ValueError: there is no prompt, or an empty one.

    Example:
        >>> ids, mask = left_pad([[5, 6, 7], [8]], pad_token_id=0)
        >>> ids.tolist(), mask.astype(int).tolist()
        ([[5, 6, 7], [0, 0, 8]], [[1, 1, 1], [0, 0, 1]])
    """
    if not len(prompts) or not all(len(prompt) for prompt in prompts):
        raise ValueError(
            "left_pad: expected prompts of one token or more, got none or an empty one"
        )
    length = max(map(len, prompts))
    ids = np.full((len(prompts), length), pad_token_id, np.int32)
    for row, prompt in zip(ids, prompts):
        row[length - len(prompt) :] = prompt
    lengths = np.array([[len(prompt)] for prompt in prompts])
    return ids, np.arange(length) >= length - lengths


def prefill(
    model: Any,
    params: dict,
    input_ids: jax.Array,
    attention_mask: jax.Array | None = None,
    *,
    length: int,
) -> tuple[jax.Array, Any]:
    """Run the prompts, and keep their keys and values.

    Args:
        model: `GPT2`, or what has its `apply` and `make_cache`.
        params: Its params.
        input_ids: [N, T] integers.
        attention_mask: [N, T], 0 or False for padding, on the left; None is no padding.
        length: How many positions the cache has room for, the prompts' included.

    Returns:
        Logits [N, vocab_size] of the token that comes next, and the cache.
    """
    cache = model.make_cache(params, input_ids.shape[0], length)
    (logits, cache), _ = model.apply(
        params, {}, input_ids, attention_mask, cache=cache, logits_to_keep=1
    )
    return logits[:, 0], cache


def decode(model: Any, params: dict, cache: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
    """One token more for each row.

    Args:
        model: As in `prefill`.
        params: Its params.
        cache: From `prefill` or `decode`; with no room left the logits are NaN.
        tokens: [N] integers.

    Returns:
        Logits [N, vocab_size] of the token after, and the new cache.
    """
    (logits, cache), _ = model.apply(params, {}, tokens[:, None], cache=cache)
    return logits[:, 0], cache


def sample(
    logits: jax.Array,
    key: jax.Array,
    temperature: float | jax.Array = 1.0,
    top_k: int | None = None,
    top_p: float | jax.Array | None = None,
) -> jax.Array:
    """Draw tokens.

    Args:
        logits: [..., vocab_size].
        key: A PRNG key.
        temperature: The logits are divided by it; above 0.
        top_k: Only the k likeliest tokens, and those as likely as the k-th.
        top_p: Only the likeliest tokens that together have this probability, after `top_k`; the
            first is always among them.

    Returns:
        Tokens [...], int32.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> sample(jnp.array([[1.0, 3.0, 2.0]]), jax.random.key(0), top_k=1).tolist()
        [1]

    Source: transformers' logits processors, in their order.
    """
    logits = filter_logits(logits, temperature, top_k, top_p)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def filter_logits(
    logits: jax.Array,
    temperature: float | jax.Array = 1.0,
    top_k: int | None = None,
    top_p: float | jax.Array | None = None,
) -> jax.Array:
    """What `sample` draws from: the logits of tokens left out are -inf. In float32."""
    logits = logits.astype(jnp.float32) / jnp.asarray(temperature, jnp.float32)
    if top_k is not None:
        least = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if top_p is not None:
        ranked = jnp.sort(logits, axis=-1, descending=True)
        chances = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(chances, axis=-1) - chances
        kept = (before < top_p).at[..., 0].set(True)
        least = jnp.where(kept, ranked, jnp.inf).min(-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def generate(
    model: Any,
    params: dict,
    input_ids: Any,
    attention_mask: Any = None,
    *,
    max_new_tokens: int,
    key: jax.Array | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
) -> jax.Array:
    """Continue prompts, token by token, in one compiled program.

    It is compiled once for each shape of the prompts, `max_new_tokens` and `top_k`. Without a key
    each token is the likeliest one (greedy), with a key it is drawn.

    Args:
        model: `GPT2`, or what has its `apply`, `make_cache` and `n_positions`.
        params: Its params.
        input_ids: Prompts [N, T], integers; shorter ones padded on the left, see `left_pad`.
        attention_mask: [N, T], 0 or False for padding; None is no padding.
        max_new_tokens: How many tokens are added.
        key: A PRNG key; None takes the likeliest token.
        temperature: See `sample`.
        top_k: See `sample`.
        top_p: See `sample`.
        eos_token_id: A row ends with this token, and the program when all rows have.
        pad_token_id: What follows in rows that have ended; eos_token_id unless told.

    Returns:
        [N, T + max_new_tokens], int32: the prompts and what was added.

    Raises:
        ValueError: sizes are less than 1, or more than the model has positions; padding that is
            not on the left; temperature, top_k or top_p without a key, or out of their range;
            pad_token_id without eos_token_id.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> model = fx.models.GPT2(vocab_size=99, n_positions=16, n_embd=8, n_layer=1, n_head=2)
        >>> params, state = model.init(jax.random.key(0))
        >>> prompts, mask = left_pad([[5, 6, 7], [8]], pad_token_id=0)
        >>> generate(model, params, prompts, mask, max_new_tokens=4).shape
        (2, 7)

    Source: transformers.GenerationMixin.generate.
    """
    input_ids = jnp.asarray(input_ids)
    _check_sizes(model, input_ids, max_new_tokens)
    _check_sampling(key, temperature, top_k, top_p)
    if attention_mask is not None:
        attention_mask = _left_padding(jnp.asarray(attention_mask), input_ids)
    if pad_token_id is not None and eos_token_id is None:
        raise ValueError("generate: pad_token_id follows eos_token_id, which was not given")
    pad = eos_token_id if pad_token_id is None else pad_token_id
    return _generate(
        model, params, input_ids.astype(jnp.int32), attention_mask, key, temperature, top_p,
        max_new_tokens=max_new_tokens, top_k=top_k, eos=eos_token_id, pad=pad,
    )  # fmt: skip


@partial(jax.jit, static_argnums=0, static_argnames=("max_new_tokens", "top_k", "eos", "pad"))
def _generate(
    model, params, input_ids, attention_mask, key, temperature, top_p,
    *, max_new_tokens, top_k, eos, pad,
):  # fmt: skip
    def choose(logits, i):
        if key is None:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return sample(logits, jax.random.fold_in(key, i), temperature, top_k, top_p)

    def put(i, tokens, logits, ended):
        new = choose(logits, i)
        if eos is not None:
            new = jnp.where(ended, jnp.int32(pad), new)
            ended = ended | (new == eos)
        return jax.lax.dynamic_update_slice_in_dim(tokens, new[:, None], i, 1), new, ended

    def add(i, carry):
        tokens, last, ended, cache = carry
        logits, cache = decode(model, params, cache, last)
        return *put(i, tokens, logits, ended), cache

    rows, length = input_ids.shape[0], input_ids.shape[1] + max_new_tokens
    tokens = jnp.full((rows, max_new_tokens), 0 if pad is None else pad, jnp.int32)
    logits, cache = prefill(model, params, input_ids, attention_mask, length=length - 1)
    carry = *put(0, tokens, logits, jnp.zeros(rows, bool)), cache
    if eos is None:
        tokens, *_ = jax.lax.fori_loop(1, max_new_tokens, add, carry)
    else:
        _, (tokens, *_) = jax.lax.while_loop(
            lambda at: (at[0] < max_new_tokens) & ~at[1][2].all(),
            lambda at: (at[0] + 1, add(*at)),
            (jnp.int32(1), carry),
        )
    return jnp.concatenate([input_ids, tokens], axis=1)


def _check_sizes(model: Any, input_ids: jax.Array, new: int) -> None:
    if input_ids.ndim != 2 or not input_ids.size or new < 1:
        raise ValueError(
            "generate: expected prompts [N, T] of one token or more and max_new_tokens of 1 or "
            f"more, got {list(input_ids.shape)} and {new}"
        )
    if input_ids.shape[1] + new > model.n_positions:
        raise ValueError(
            f"generate: expected prompts and max_new_tokens within the model's {model.n_positions} "
            f"positions, got {input_ids.shape[1]} + {new}; shorten the prompts"
        )


def _check_sampling(key: Any, temperature: Any, top_k: Any, top_p: Any) -> None:
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    if key is None:
        if (temperature, top_k, top_p) != (1.0, None, None):
            raise ValueError(
                f"generate: expected a key to draw tokens with, got none with {given}; give "
                "key=jax.random.key(0), or leave these out for the likeliest tokens"
            )
        return
    known = {n: v for n, v in given.items() if v is not None and not isinstance(v, Tracer)}
    if known.get("temperature", 1) <= 0 or known.get("top_k", 1) < 1:
        raise ValueError(
            f"generate: expected temperature above 0 and top_k of 1 or more, got {given}; for the "
            "likeliest tokens leave the key out"
        )
    if not 0 < known.get("top_p", 1) <= 1:
        raise ValueError(f"generate: expected top_p above 0 and at most 1, got {top_p}")


def _left_padding(mask: jax.Array, input_ids: jax.Array) -> jax.Array:
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"generate: expected attention_mask {list(input_ids.shape)}, as input_ids, got "
            f"{list(mask.shape)}"
        )
    mask = mask.astype(bool)
    if not isinstance(mask, Tracer):
        rows = np.asarray(mask)
        if not rows[:, -1].all() or (rows[:, :-1] > rows[:, 1:]).any():
            raise ValueError(
                "generate: expected padding on the left of each prompt, and a token in each; got "
                "an attention_mask with padding elsewhere; use fx.models.left_pad"
            )
    return mask
