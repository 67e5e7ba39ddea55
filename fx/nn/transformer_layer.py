"""One layer of a transformer's encoder, and one of its decoder."""

from collections.abc import Callable
from typing import Any

import jax

from fx import functional as F
from fx.nn.attention import MultiheadAttention
from fx.nn.checks import no_device
from fx.nn.dropout import Dropout
from fx.nn.linear import Linear
from fx.nn.module import Module
from fx.nn.normalization import LayerNorm

Activation = str | Callable[[jax.Array], jax.Array]


def _activation(module: Module, activation: Any) -> Any:
    """The function that torch means by a name; functions and modules stay."""
    if isinstance(activation, str):
        if activation not in ("relu", "gelu"):
            raise ValueError(
                f'{type(module).__name__}: expected activation "relu", "gelu" or a function, got '
                f"{activation!r}; give the function, fx.functional.silu for example"
            )
        return {"relu": F.relu, "gelu": F.gelu}[activation]
    if not callable(activation):
        raise TypeError(
            f"{type(module).__name__}: expected activation a name or a function, got {activation!r}"
        )
    return activation


class TransformerEncoderLayer(Module):
    """Self-attention and a feed-forward network, each with a residual and a normalisation.

    Args:
        d_model: E, the size of input and output.
        nhead: the number of heads.
        dim_feedforward: the size inside of the feed-forward network.
        dropout: the probability of being dropped, of attention weights too.
        activation: "relu", "gelu", a function or a module.
        layer_norm_eps: of the normalisations.
        batch_first: whether arrays are [N, S, E] instead of [S, N, E].
        norm_first: whether parts normalise what goes into them instead of what comes out.
        bias: whether linear layers and normalisations have biases.
        device: must be None.
        dtype: of all parameters; float32 unless told.

    Raises:
        TypeError: a size is not an integer, or the activation cannot be called.
        ValueError: a size is less than 1; nhead does not divide d_model; an unknown activation;
            dropout is outside [0, 1]; device is not None; at a call, shapes do not fit, or in
            training no key was given to `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.TransformerEncoderLayer(16, nhead=4, norm_first=True, batch_first=True)
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.ones((8, 10, 16)))[0].shape
        (8, 10, 16)

    Source: torch.nn.TransformerEncoderLayer.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = _activation(self, activation)

    def forward(
        self,
        src: jax.Array,
        src_mask: jax.Array | None = None,
        src_key_padding_mask: jax.Array | None = None,
        is_causal: bool = False,
    ) -> jax.Array:
        """Run the layer. In both masks True means: takes no part; numbers are added to the scores.

        Args:
            src: [N, S, E] with batch_first, else [S, N, E]; or [S, E] without a batch.
            src_mask: [S, S] or [N * nhead, S, S].
            src_key_padding_mask: [N, S], or [S] without a batch.
            is_causal: that src_mask is the causal mask.

        Returns:
            The same shape.
        """
        masks = src_mask, src_key_padding_mask, is_causal
        if self.norm_first:
            x = src + self._sa_block(self.norm1(src), *masks)
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(src + self._sa_block(src, *masks))
        return self.norm2(x + self._ff_block(x))

    # By torch's names, which forwards of subclasses call.
    def _sa_block(
        self, x: jax.Array, attn_mask: Any, key_padding_mask: Any, is_causal: bool = False
    ) -> jax.Array:
        masks: Any = (key_padding_mask, False, attn_mask)
        return self.dropout1(self.self_attn(x, x, x, *masks, is_causal=is_causal)[0])

    def _ff_block(self, x: jax.Array) -> jax.Array:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    """Self-attention, attention to an encoder's output, and a feed-forward network.

    Arguments and errors as those of `TransformerEncoderLayer`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.TransformerDecoderLayer(16, nhead=4, batch_first=True)
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.ones((8, 6, 16)), jnp.ones((8, 10, 16)))[0].shape
        (8, 6, 16)

    Source: torch.nn.TransformerDecoderLayer.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)

        def attention() -> MultiheadAttention:
            return MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.self_attn, self.multihead_attn = attention(), attention()
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.norm_first = norm_first
        self.norm1, self.norm2, self.norm3 = norm(), norm(), norm()
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(3))
        self.activation = _activation(self, activation)

    def forward(
        self,
        tgt: jax.Array,
        memory: jax.Array,
        tgt_mask: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        tgt_key_padding_mask: jax.Array | None = None,
        memory_key_padding_mask: jax.Array | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Run the layer. In all masks True means: takes no part; numbers are added to the scores.

        Args:
            tgt: [N, T, E] with batch_first, else [T, N, E]; or [T, E] without a batch.
            memory: [N, S, E], [S, N, E] or [S, E].
            tgt_mask: [T, T] or [N * nhead, T, T].
            memory_mask: [T, S] or [N * nhead, T, S].
            tgt_key_padding_mask: [N, T], or [T] without a batch.
            memory_key_padding_mask: [N, S] or [S].
            tgt_is_causal: that tgt_mask is the causal mask.
            memory_is_causal: that memory_mask is the causal mask.

        Returns:
            The shape of tgt.
        """
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        back = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        if self.norm_first:
            x = tgt + self._sa_block(self.norm1(tgt), *own)
            x = x + self._mha_block(self.norm2(x), *back)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(tgt + self._sa_block(tgt, *own))
        x = self.norm2(x + self._mha_block(x, *back))
        return self.norm3(x + self._ff_block(x))

    # By torch's names, which forwards of subclasses call.
    def _sa_block(
        self, x: jax.Array, attn_mask: Any, key_padding_mask: Any, is_causal: bool = False
    ) -> jax.Array:
        masks: Any = (key_padding_mask, False, attn_mask)
        return self.dropout1(self.self_attn(x, x, x, *masks, is_causal=is_causal)[0])

    def _mha_block(
        self, x: jax.Array, mem: jax.Array, attn_mask: Any, key_padding_mask: Any,
        is_causal: bool = False,
    ) -> jax.Array:  # fmt: skip
        masks: Any = (key_padding_mask, False, attn_mask)
        return self.dropout2(self.multihead_attn(x, mem, mem, *masks, is_causal=is_causal)[0])

    def _ff_block(self, x: jax.Array) -> jax.Array:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))
