"""GPT-2 with Hugging Face's names; `fx.models.generate` writes text with it."""

import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F
from fx import nn
from fx.models import published

Cache = dict[str, jax.Array]

_ARGUMENTS = (
    "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
    "resid_pdrop", "embd_pdrop", "attn_pdrop", "layer_norm_epsilon", "initializer_range",
)  # fmt: skip
_FIXED = {
    "add_cross_attention": False,
    "reorder_and_upcast_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
}
# Causal masks, which are no weights; old files list them.
_IGNORED = (r".*h\.\d+\.attn\.(bias|masked_bias)",)


class Conv1D(nn.Module):
    """x @ weight + bias: a linear layer whose weight is [in, out].

    Args:
        nf: out.
        nx: in.
        std: of the initial weights.

    Source: transformers.pytorch_utils.Conv1D.
    """

    def __init__(self, nf: int, nx: int, std: float = 0.02):
        self.weight = nn.Parameter((nx, nf), nn.init.normal(std=std))
        self.bias = nn.Parameter((nf,), nn.init.zeros)

    def forward(self, x: Any) -> Any:
        """[..., in] in; [..., out] out."""
        return F.linear(x, self.weight.T, self.bias)


class Attention(nn.Module):
    """Causal attention in n_head heads, with a cache of keys and values if there is one.

    Args:
        n_embd: the size of a position, which n_head divides.
        n_head: the number of heads.
        attn_pdrop: the probability that an attention weight is dropped.
        resid_pdrop: the same for the output.
        std: of the initial weights.
        out_std: of those of the last layer.
        attn_implementation: of `F.scaled_dot_product_attention`, in training only.
    """

    def __init__(
        self, n_embd: int, n_head: int, attn_pdrop: float, resid_pdrop: float, std: float,
        out_std: float, attn_implementation: str | None,
    ):  # fmt: skip
        self.n_head, self.attn_pdrop = n_head, attn_pdrop
        self.attn_implementation = attn_implementation
        self.c_attn = Conv1D(3 * n_embd, n_embd, std)
        self.c_proj = Conv1D(n_embd, n_embd, out_std)
        self.resid_dropout = nn.Dropout(resid_pdrop)

    def forward(
        self, x: Any, mask: Any = None, cache: Cache | None = None, start: Any = None
    ) -> tuple[Any, Cache | None]:
        """[N, T, n_embd] in; the same out, and the cache with T more positions."""
        n, t, c = x.shape
        heads = self.c_attn(x).reshape(n, t, 3, self.n_head, c // self.n_head)
        query, key, value = heads.transpose(2, 0, 3, 1, 4)  # each [N, H, T, C / H]
        if cache is not None:
            cache, key, value = _append(cache, key, value, start)
        rate = self.attn_pdrop if self.training else 0.0
        output = F.scaled_dot_product_attention(
            query, key, value, mask, rate, is_causal=cache is None,
            dropout_key=self.next_key() if 0 < rate < 1 else None,
            implementation=self.attn_implementation if self.training else None,
        )  # fmt: skip
        output = output.transpose(0, 2, 1, 3).reshape(n, t, c)
        return self.resid_dropout(self.c_proj(output)), cache


class MLP(nn.Module):
    """Two layers with an activation between them, position by position.

    Args:
        n_embd: the size of a position.
        n_inner: the size between.
        activation_function: Hugging Face's name of it.
        resid_pdrop: the probability that an output is dropped.
        std: of the initial weights.
        out_std: of those of the last layer.
    """

    def __init__(
        self, n_embd: int, n_inner: int, activation_function: str, resid_pdrop: float, std: float,
        out_std: float,
    ):  # fmt: skip
        self.c_fc, self.c_proj = Conv1D(n_inner, n_embd, std), Conv1D(n_embd, n_inner, out_std)
        self.act = published.activation(activation_function, "GPT2: activation_function")
        self.dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Any) -> Any:
        """[N, T, n_embd] in, the same out."""
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class Block(nn.Module):
    """A layer of GPT-2: attention and an MLP, each after a normalisation and with a way around.

    Args:
        attn: makes the attention.
        mlp: makes the MLP.
        n_embd: the size of a position.
        eps: of the normalisations.
    """

    def __init__(self, attn: Attention, mlp: MLP, n_embd: int, eps: float):
        self.ln_1, self.attn = nn.LayerNorm(n_embd, eps), attn
        self.ln_2, self.mlp = nn.LayerNorm(n_embd, eps), mlp

    def forward(self, hidden: Any, mask: Any = None, start: Any = None) -> Any:
        """[N, T, n_embd] in, the same out; with a cache, a pair of both in and out."""
        x, cache = hidden if isinstance(hidden, tuple) else (hidden, None)
        attended, cache = self.attn(self.ln_1(x), mask, cache, start)
        x = x + attended
        x = x + self.mlp(self.ln_2(x))
        return x if cache is None else (x, cache)


class GPT2Model(nn.Module):
    """GPT-2 without its head; the arguments are those of `GPT2`, and so are the weights.

    Of a `GPT2`, its params are ``params["transformer"]``.

    Source: transformers.GPT2Model.
    """

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        n_inner: int | None = None,
        activation_function: str = "gelu_new",
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
        *,
        scan_layers: bool = False,
        attn_implementation: str | None = None,
    ):
        if n_embd % n_head:
            raise ValueError(f"GPT2: expected n_head to divide n_embd, got {n_head} and {n_embd}")
        self.n_layer, self.n_head, self.n_positions = n_layer, n_head, n_positions
        std = initializer_range
        out_std = std / math.sqrt(2 * n_layer)  # of what is added to the ways around

        def block() -> Block:
            attn = Attention(
                n_embd, n_head, attn_pdrop, resid_pdrop, std, out_std, attn_implementation
            )
            inner = 4 * n_embd if n_inner is None else n_inner
            mlp = MLP(n_embd, inner, activation_function, resid_pdrop, std, out_std)
            return Block(attn, mlp, n_embd, layer_norm_epsilon)

        normal = {nn.Embedding: nn.init.normal(std=std)}
        self.wte = nn.init.by_type(nn.Embedding(vocab_size, n_embd), normal)
        self.wpe = nn.init.by_type(nn.Embedding(n_positions, n_embd), normal)
        self.drop = nn.Dropout(embd_pdrop)
        layers = (block() for _ in range(n_layer))
        self.h = nn.Stack(block(), n_layer) if scan_layers else nn.ModuleList(layers)
        self.ln_f = nn.LayerNorm(n_embd, layer_norm_epsilon)

    def forward(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        cache: Cache | None = None,
    ) -> Any:
        """As `GPT2.forward`, with [N, T, n_embd] out."""
        seen = 0 if cache is None else cache["mask"].sum(1, keepdims=True, dtype=jnp.int32)
        if position_ids is None:
            position_ids = seen + _count(input_ids, attention_mask, self.n_positions)
        x = self.drop(self.wte(input_ids) + self.wpe(position_ids))
        if cache is None:
            mask = None if attention_mask is None else attention_mask.astype(bool)[:, None, None]
            return self.ln_f(self._layers(x, mask))
        start, end = cache["length"], cache["length"] + input_ids.shape[1]
        new = jnp.ones(input_ids.shape) if attention_mask is None else attention_mask
        slots = jax.lax.dynamic_update_slice_in_dim(cache["mask"], new.astype(bool), start, 1)
        upto = _numbers(slots) <= (start + _numbers(input_ids))[:, None]  # [T, S]
        arrays = {"key": cache["key"], "value": cache["value"], "layer": jnp.int32(0)}
        x, arrays = self._layers((x, arrays), upto & slots[:, None, None], start)
        x = jnp.where(end <= slots.shape[1], self.ln_f(x), jnp.full_like(x, jnp.nan))
        return x, {"key": arrays["key"], "value": arrays["value"], "mask": slots, "length": end}

    def _layers(self, hidden: Any, *args: Any) -> Any:
        if isinstance(self.h, nn.Stack):
            return self.h(hidden, *args)
        for block in self.h:
            hidden = block(hidden, *args)
        return hidden


class GPT2(nn.Module):
    """GPT-2 as a language model; its head has the weights of the embedding.

    Args:
        vocab_size: number of tokens.
        n_positions: how long a sequence can be.
        n_embd: the size of a position: 768, or 1024, 1280, 1600 for medium, large and XL.
        n_layer: 12, or 24, 36, 48.
        n_head: 12, or 16, 20, 25.
        n_inner: the size inside of an MLP; 4 * n_embd unless told.
        activation_function: "gelu_new", "gelu", "relu", "silu" or "tanh".
        resid_pdrop: dropout before each way around ends.
        embd_pdrop: dropout of the embeddings.
        attn_pdrop: dropout of attention weights.
        layer_norm_epsilon: of all normalisations.
        initializer_range: standard deviation of the initial weights; that of the layers before a
            way around ends is divided by sqrt(2 * n_layer).
        scan_layers: whether the layers are one `nn.Stack`, compiled once for all; names in
            `fx.state_dict` stay.
        attn_implementation: of `F.scaled_dot_product_attention`, in training only. "cudnn" needs
            bfloat16 or float16 and attn_pdrop=0.

    Raises:
        ValueError: n_head does not divide n_embd; an unknown activation.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> model = fx.models.GPT2(vocab_size=99, n_positions=16, n_embd=8, n_layer=2, n_head=2)
        >>> params, state = model.init(jax.random.key(0))
        >>> jax.jit(model.apply)(params, state, jnp.zeros((3, 5), int))[0].shape
        (3, 5, 99)

    Source: transformers.GPT2LMHeadModel; Radford et al. 2019.
    """

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        n_inner: int | None = None,
        activation_function: str = "gelu_new",
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
        *,
        scan_layers: bool = False,
        attn_implementation: str | None = None,
    ):
        self.transformer = GPT2Model(
            vocab_size, n_positions, n_embd, n_layer, n_head, n_inner, activation_function,
            resid_pdrop, embd_pdrop, attn_pdrop, layer_norm_epsilon, initializer_range,
            scan_layers=scan_layers, attn_implementation=attn_implementation,
        )  # fmt: skip
        self.n_positions = n_positions
        head = nn.Linear(n_embd, vocab_size, bias=False)
        normal = nn.init.normal(std=initializer_range)
        self.lm_head = nn.init.by_type(head, {nn.Linear: normal})
        nn.tie(self, "lm_head.weight", "transformer.wte.weight")

    def forward(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        cache: Cache | None = None,
        logits_to_keep: int = 0,
    ) -> Any:
        """Logits of the token after each position.

        Args:
            input_ids: [N, T] integers.
            attention_mask: [N, T], 1 or True for tokens, 0 for padding on either side.
            position_ids: [N, T]; unless told, tokens count from 0 and padding does not count.
            cache: What came before, from `make_cache` or an earlier call. More than it has room
                for gives NaN.
            logits_to_keep: For how many last positions; 0 is all.

        Returns:
            Logits [N, T, vocab_size]; with a cache, a pair of them and the new cache.

        Raises:
            ValueError: T is over n_positions. With a mask, a token beyond them gives NaN instead.

        Source: transformers, which counts padding on the left among the positions unless told.
        """
        x = self.transformer(input_ids, attention_mask, position_ids, cache)
        x, cache = x if isinstance(x, tuple) else (x, None)
        logits = self.lm_head(x[:, -logits_to_keep:])
        return logits if cache is None else (logits, cache)

    def make_cache(self, params: dict, batch_size: int, length: int) -> Cache:
        """An empty cache of keys and values.

        Args:
            params: The model's, for the dtype.
            batch_size: N.
            length: S, how many positions it has room for.

        Returns:
            A dict: "key" and "value" [n_layer, N, n_head, S, n_embd / n_head], "mask" [N, S], True
            where there is a token, and "length", how many positions are taken.
        """
        trunk, table = self.transformer, params["transformer"]["wte"]["weight"]
        size = table.shape[1] // trunk.n_head
        empty = jnp.zeros((trunk.n_layer, batch_size, trunk.n_head, length, size), table.dtype)
        mask = jnp.zeros((batch_size, length), bool)
        return {"key": empty, "value": empty, "mask": mask, "length": jnp.int32(0)}

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, dtype: Any = None, **options: Any
    ) -> tuple["GPT2", dict, dict]:
        """A model and its weights from a folder as Hugging Face's hub has it.

        Args:
            folder: Holds `config.json`, and `model.safetensors` or what else `fx.read_weights`
                finds. Nothing is downloaded.
            dtype: Of the weights; float32 unless told.
            **options: Arguments of `GPT2`, in place of what the configuration says.

        Returns:
            ``model, params, state``.

        Raises:
            FileNotFoundError: there is no config.json, or there are no weights.
            ValueError: the configuration asks for what this model lacks, or the weights do not fit.
        """
        config = published.read_config(folder)
        given = published.arguments(config, _ARGUMENTS, _FIXED, "GPT2.from_pretrained")
        model = cls(**{**given, **options})
        return model, *model.load_weights(folder, dtype=dtype)

    def load_weights(
        self, weights: Mapping[str, Any] | str | os.PathLike[str], *, dtype: Any = None
    ) -> tuple[dict, dict]:
        """Params and state from Hugging Face's weights, with "transformer." in front or without.

        Args:
            weights: Arrays by name, or what `fx.read_weights` takes.
            dtype: Of the weights; float32 unless told.

        Raises:
            ValueError: names or shapes are not those of the model; every one is listed.
        """
        return published.load(self, weights, trunk="transformer", ignored=_IGNORED, dtype=dtype)


def _append(
    cache: Cache, key: jax.Array, value: jax.Array, start: jax.Array
) -> tuple[Cache, jax.Array, jax.Array]:
    """Put a layer's new keys and values into the cache; returns all that it has of that layer."""
    layer, rows, zero = cache["layer"], {}, jnp.int32(0)
    new = {"layer": layer + 1}
    for name, array in (("key", key), ("value", value)):
        place = (layer, zero, zero, start, zero)
        new[name] = jax.lax.dynamic_update_slice(cache[name], array[None], place)
        rows[name] = jax.lax.dynamic_index_in_dim(new[name], layer, keepdims=False)
    return new, rows["key"], rows["value"]


def _numbers(rows: jax.Array) -> jax.Array:
    return jnp.arange(rows.shape[1], dtype=jnp.int32)


def _count(input_ids: jax.Array, mask: jax.Array | None, most: int) -> jax.Array:
    """How many tokens stand before each, [N, T] or [T]; 0 for padding on the left."""
    if mask is None:
        published.check_length(input_ids, most, "GPT2")
        return _numbers(input_ids)
    return jnp.maximum(jnp.cumsum(mask, 1, dtype=jnp.int32) - 1, 0)
